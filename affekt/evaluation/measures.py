"""The groups of metrics of an evaluation, each a function of a clip's rows: name -> figures.

A measure sees all rows of a clip at once (the result and the controls), so that what belongs to
the truth is worked out once. It returns {row: {metric: value}}; a row that it cannot speak of is
left out, and a metric that has no value for this clip is None.
"""

import abc
import typing as tp
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.evaluation.control_rows import CONTROLS, FROZEN, LATE, OTHER, RE_ENCODED, RESULT, TRUTH
from affekt.evaluation.controls import FIRST_IS_THE_TRUTHS
from affekt.evaluation.protocol import Landmarks, Pictures
from affekt.evaluation.video import Shown
from affekt.media.faces.crop import Crop, cut, square_crop
from affekt.metrics.image import picture_scores
from affekt.metrics.landmark import landmark_distances, shared_frames
from affekt.metrics.temporal import flicker, jitter, warp_errors

Rows = Mapping[str, Shown]
Scores = dict[str, float | None]

SCALED = ("evp", "makeittalk")  # conventions whose unit does not depend on the picture's size
FACE_MARGIN = 0.25  # of the face's larger side, around it on every side


@dataclass(frozen=True)
class Facts:
    """What is known of a clip beside its videos."""

    clip: str
    emotion: str = ""  # label; empty: unknown
    source: Path | None = None  # the picture that the result was made from


class Measure(abc.ABC):
    """A group of metrics.

    Attributes:
        name: what a protocol calls it.
        identity: its version, and the checksum of its weights: what its figures depend on.
        rows: those that it may speak of.
    """

    name: str
    identity: str
    rows: tuple[str, ...]

    @abc.abstractmethod
    def of(self, rows: Rows, facts: Facts, key: str) -> dict[str, Scores]:
        """Return the figures of every row that it can speak of.

        Args:
            rows: the clip's.
            facts: of the clip.
            key: of the clip's contents and this measure, to keep arrays under.
        """

    def depends_on(self, facts: Facts) -> str:
        """Return what of these facts its figures depend on."""
        del facts
        return ""

    def is_kept(self, key: str) -> bool:
        """Say whether the arrays that it keeps under a key are there."""
        del key
        return True


@dataclass(frozen=True)
class FormMeasure(Measure):
    """What a clip is: its size, its length, and in how many frames both sides have a face."""

    name: str = "form"
    identity: str = "1"
    rows: tuple[str, ...] = (RESULT,)

    def of(self, rows: Rows, facts: Facts, key: str) -> dict[str, Scores]:
        """Return frames, width, height, and covered, a share, of the result or else the truth."""
        truth = rows[TRUTH]
        shown = rows.get(RESULT, truth)
        share = float(shared_frames(shown.landmarks(), truth.landmarks()).mean())
        width, height = truth.size
        scores: Scores = {"frames": truth.length, "width": width, "height": height}
        return {RESULT: scores | {"covered": share}}


@dataclass(frozen=True)
class LandmarkMeasure(Measure):
    """LD and LVD on mouth and face, by a convention."""

    rules: Landmarks
    name: str = "landmarks"
    identity: str = "2"
    rows: tuple[str, ...] = (RESULT, TRUTH, *CONTROLS)

    def of(self, rows: Rows, facts: Facts, key: str) -> dict[str, Scores]:
        """Return m_ld, m_lvd, f_ld, f_lvd, and what else the convention has.

        None for a result without two frames in a row with a face on both sides: it has no figure,
        and lowers the coverage.
        """
        truth = rows[TRUTH]
        return {
            name: self.between(shown.landmarks(), truth.landmarks())
            for name, shown in rows.items()
            if self.rules.convention in SCALED or shown.size == truth.size
        }

    def between(self, landmarks: Array, truth: Array) -> Scores:
        """Return the figures of one row."""
        rules = self.rules
        shared = shared_frames(landmarks, truth)
        if not (shared[1:] & shared[:-1]).any():
            return dict.fromkeys(("m_ld", "m_lvd", "f_ld", "f_lvd"))
        bug = rules.eat_flvd_bug
        return dict(landmark_distances(landmarks, truth, rules.convention, rules.view, bug))


@dataclass(frozen=True)
class PictureMeasure(Measure):
    """SSIM and PSNR, means over the frames."""

    rules: Pictures
    device: str
    name: str = "pictures"
    identity: str = "1"
    rows: tuple[str, ...] = (RESULT, TRUTH, RE_ENCODED, LATE, FROZEN, OTHER)

    def of(self, rows: Rows, facts: Facts, key: str) -> dict[str, Scores]:
        """Return ssim, ssim_wang, psnr and psnr_u8wrap."""
        truth = rows[TRUTH]
        crop = face_square(truth, self.rules.size) if self.rules.region == "face" else None
        return {
            name: self._means(shown, truth, crop, int(name in FIRST_IS_THE_TRUTHS))
            for name, shown in chosen(rows, self.rows, truth.size).items()
        }

    def _means(self, shown: Shown, truth: Shown, crop: Crop | None, first: int) -> Scores:
        if truth.length <= first:
            return {}
        ours, theirs = (islice(seen(each, crop), first, None) for each in (shown, truth))
        scores = picture_scores(ours, theirs, self.device)
        return {metric: float(values.mean()) for metric, values in scores.items()}


@dataclass(frozen=True)
class TemporalMeasure(Measure):
    """How steadily pictures and landmarks move."""

    rules: Landmarks
    name: str = "temporal"
    identity: str = "2"
    rows: tuple[str, ...] = (RESULT, TRUTH, RE_ENCODED, LATE, FROZEN, OTHER)

    def of(self, rows: Rows, facts: Facts, key: str) -> dict[str, Scores]:
        """Return warp_error under the truth's flow, flicker, and the landmarks' jitter."""
        truth = rows[TRUTH]
        same = chosen(rows, self.rows, truth.size)
        errors = warp_errors({name: each.frames() for name, each in same.items()}, truth.frames())
        return {
            name: {
                "warp_error": errors[name],
                "flicker": flicker(shown.frames()) if shown.length > 1 else None,
                "jitter": self._jitter(shown),
            }
            for name, shown in same.items()
        }

    def _jitter(self, shown: Shown) -> float | None:
        """Return the jitter; None where no four frames in a row have a face."""
        try:
            return jitter(shown.landmarks(), self.rules.view)
        except ValueError:
            return None


def chosen(rows: Rows, names: tp.Iterable[str], size: tuple[int, int]) -> dict[str, Shown]:
    """Return the rows of these names that there are, with pictures of this size."""
    return {name: rows[name] for name in names if name in rows and rows[name].size == size}


def seen(shown: Shown, crop: Crop | None) -> Iterator[Image]:
    """Yield the pictures, cut where a crop is given."""
    return shown.frames() if crop is None else (cut(frame, crop) for frame in shown.frames())


def face_square(truth: Shown, size: int) -> Crop:
    """Return the square around the truth's face, one for the clip, for both sides alike.

    The median box of its landmarks, with a quarter of its larger side around it.

    Raises:
        ValueError: no face in any frame of the truth.
    """
    points = truth.landmarks()[..., :2]
    found = points[np.isfinite(points).all(axis=(1, 2))]
    if not len(found):
        raise ValueError("no face in any frame of the truth")
    low, high = np.median(found.min(axis=1), axis=0), np.median(found.max(axis=1), axis=0)
    side = int(np.ceil((1 + 2 * FACE_MARGIN) * (high - low).max()))
    left, top = np.round((low + high) / 2 - side / 2).astype(int)
    return square_crop(int(left), int(top), side, truth.size, size)
