"""The groups of metrics of an evaluation, each a function of a clip's rows: name -> figures.

A measure sees all rows of a clip at once (the result and the controls), so that what belongs to
the truth is worked out once. It returns {row: {metric: value}}; a row that it cannot speak of is
left out, and a metric that has no value for this clip is None.
"""

import typing as tp
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from media.corpus import Crop
from media.crop import cut, square_crop
from metrics.controls import FIRST_IS_THE_TRUTHS
from metrics.image_batch import picture_scores
from metrics.landmark import landmark_distances, shared_frames
from metrics.protocol import Landmarks, Pictures
from metrics.rows import FLOOR, FROZEN, LATE, OTHER, RE_ENCODED, RESULT, TRUTH
from metrics.shown import Shown
from metrics.temporal import jitter, warp_errors

Array = NDArray[tp.Any]
Image = NDArray[np.uint8]
Rows = Mapping[str, Shown]
Scores = dict[str, float | None]

FACE_MARGIN = 0.25  # of the face's larger side, around it on every side


@dataclass(frozen=True)
class Facts:
    """What is known of a clip beside its videos."""

    clip: str
    emotion: str = ""  # label; empty: unknown
    source: Path | None = None  # the picture that the result was made from


class Measure(tp.Protocol):
    """A group of metrics."""

    @property
    def name(self) -> str:
        """What a protocol calls it."""

    @property
    def identity(self) -> str:
        """Its version, and the checksum of its weights: what its figures depend on."""

    def of(self, rows: Rows, facts: Facts, key: str) -> dict[str, Scores]:
        """Return the figures of every row that it can speak of.

        Args:
            rows: the clip's.
            facts: of the clip.
            key: of the clip's contents and this measure, to keep arrays under.
        """


@dataclass(frozen=True)
class FormMeasure:
    """What a clip is: its size, its length, and in how many frames both sides have a face."""

    name: str = "form"
    identity: str = "1"

    def of(self, rows: Rows, facts: Facts, key: str) -> dict[str, Scores]:
        """Return frames, width, height, and covered, a share, of the result or else the truth."""
        truth = rows[TRUTH]
        shown = rows.get(RESULT, truth)
        share = float(shared_frames(shown.landmarks(), truth.landmarks()).mean())
        width, height = truth.size
        scores: Scores = {"frames": truth.length, "width": width, "height": height}
        return {RESULT: scores | {"covered": share}}


@dataclass(frozen=True)
class LandmarkMeasure:
    """LD and LVD on mouth and face, by a convention."""

    rules: Landmarks
    name: str = "landmarks"
    identity: str = "1"

    def of(self, rows: Rows, facts: Facts, key: str) -> dict[str, Scores]:
        """Return m_ld, m_lvd, f_ld, f_lvd, and what else the convention has."""
        truth = rows[TRUTH].landmarks()
        return {name: self.between(shown.landmarks(), truth, name) for name, shown in rows.items()}

    def between(self, landmarks: Array, truth: Array, row: str = RESULT) -> Scores:
        """Return the figures of one row.

        Raises:
            ValueError: of the result: no two consecutive frames with a face on both sides.
        """
        convention, view = self.rules.convention, self.rules.view
        try:
            return dict(landmark_distances(landmarks, truth, convention, view))
        except ValueError:
            if row == RESULT:
                raise
            return {}


@dataclass(frozen=True)
class PictureMeasure:
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
        found = {}
        for name in self.rows:
            if name in rows and rows[name].size == truth.size:
                found[name] = self._means(rows[name], truth, crop, int(name in FIRST_IS_THE_TRUTHS))
        return found

    def _means(self, shown: Shown, truth: Shown, crop: Crop | None, first: int) -> Scores:
        if truth.length <= first:
            return {}
        ours, theirs = (islice(seen(each, crop), first, None) for each in (shown, truth))
        scores = picture_scores(ours, theirs, self.device)
        return {metric: float(values.mean()) for metric, values in scores.items()}


@dataclass(frozen=True)
class TemporalMeasure:
    """How steadily pictures and landmarks move."""

    rules: Landmarks
    name: str = "temporal"
    identity: str = "1"
    rows: tuple[str, ...] = (RESULT, TRUTH, RE_ENCODED, LATE, FROZEN, OTHER)

    def of(self, rows: Rows, facts: Facts, key: str) -> dict[str, Scores]:
        """Return warp_error under the truth's flow, and the landmarks' jitter."""
        truth = rows[TRUTH]
        same = {
            name: rows[name] for name in self.rows if name in rows and rows[name].size == truth.size
        }
        errors = warp_errors({name: each.frames() for name, each in same.items()}, truth.frames())
        scores: dict[str, Scores] = {name: {"warp_error": errors[name]} for name in same}
        for name, shown in rows.items():
            if name != FLOOR:
                value = jitter(shown.landmarks(), self.rules.view)
                scores.setdefault(name, {})["jitter"] = None if np.isnan(value) else value
        return scores


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
