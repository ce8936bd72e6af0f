"""Measures: groups of metrics of a clip, as functions of its rows (the result and the controls).

A measure takes all rows of a clip at once, so that what belongs to the truth is computed once. It
returns {row: {metric: value}}; a row that it does not apply to is left out, and a metric without a
value for this clip is None. `Cache` keeps them, keyed by everything that they depend on.

Measures with a network are in networks.py, which also lists which measures there are
(`measures_of`). A new metric of one that is here needs its function in affekt/metrics, and its
column in affekt/evaluation/tables/papers.yaml.
"""

import abc
import json
import logging
import typing as tp
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.evaluation.controls import (
    CONTROLS,
    FIRST_IS_THE_TRUTHS,
    FROZEN,
    LATE,
    OTHER,
    RE_ENCODED,
    RESULT,
    TRUTH,
)
from affekt.evaluation.pairing import ClipPair
from affekt.evaluation.protocol import Landmarks, Pictures
from affekt.evaluation.video import VideoView
from affekt.media.faces.crop import Crop, cut, square_crop
from affekt.metrics.landmark import METRICS, landmark_distances, shared_frames
from affekt.metrics.temporal import flicker, jitter, sharpness, sound_lag, warp_errors

log = logging.getLogger(__name__)

RowViews = Mapping[str, VideoView]
Scores = dict[str, float | None]  # metric: value; None: no value for this clip

SCALED = ("evp", "makeittalk")  # conventions whose unit does not depend on the picture's size
FACE_MARGIN = 0.25  # of the face's larger side, around it on every side


class Measure(abc.ABC):
    """A group of metrics.

    Attributes:
        name: what a protocol calls it.
        identity: its version, and the checksum of its weights: what its figures depend on.
        rows: those that it applies to.
    """

    name: str
    identity: str
    rows: tuple[str, ...]

    @abc.abstractmethod
    def of(self, rows: RowViews, pair: ClipPair, key: str) -> dict[str, Scores]:
        """Return the metrics of every row that it applies to.

        Args:
            rows: the clip's.
            pair: the clip, for its label and source picture.
            key: of the clip's contents and this measure, to keep arrays under.
        """

    def depends_on(self, pair: ClipPair) -> str:
        """Return what of the clip's metadata its metrics depend on."""
        del pair
        return ""

    def is_kept(self, key: str) -> bool:
        """Return whether the arrays that it keeps under a key are there."""
        del key
        return True


@dataclass(frozen=True)
class ShapeMeasure(Measure):
    """The clip's size and length, and the share of frames with a face on both sides."""

    name: str = "video_shape"
    identity: str = "1"
    rows: tuple[str, ...] = (RESULT,)

    def of(self, rows: RowViews, pair: ClipPair, key: str) -> dict[str, Scores]:
        """Return frames, width, height, and covered, a share, of the result or else the truth."""
        truth = rows[TRUTH]
        view = rows.get(RESULT, truth)
        share = float(shared_frames(view.landmarks(), truth.landmarks()).mean())
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

    def of(self, rows: RowViews, pair: ClipPair, key: str) -> dict[str, Scores]:
        """Return m_ld, m_lvd, f_ld, f_lvd, and what else the convention has.

        None for a result without two frames in a row with a face on both sides: it has no figure,
        and lowers the coverage.
        """
        truth = rows[TRUTH]
        return {
            name: self.between(view.landmarks(), truth.landmarks())
            for name, view in rows.items()
            if self.rules.convention in SCALED or view.size == truth.size
        }

    def between(self, landmarks: Array, truth: Array) -> Scores:
        """Return the figures of one row."""
        rules = self.rules
        shared = shared_frames(landmarks, truth)
        if not (shared[1:] & shared[:-1]).any():
            return dict.fromkeys(METRICS)
        bug = rules.eat_flvd_bug
        return dict(landmark_distances(landmarks, truth, rules.convention, rules.view, bug))


@dataclass(frozen=True)
class PictureMeasure(Measure):
    """SSIM and PSNR, means over the frames."""

    rules: Pictures
    name: str = "pictures"
    identity: str = "1"
    rows: tuple[str, ...] = (RESULT, TRUTH, RE_ENCODED, LATE, FROZEN, OTHER)

    def of(self, rows: RowViews, pair: ClipPair, key: str) -> dict[str, Scores]:
        """Return ssim, psnr and psnr_u8wrap."""
        truth = rows[TRUTH]
        crop = face_square(truth, self.rules.size) if self.rules.region == "face" else None
        return {
            name: self._means(view, truth, crop, int(name in FIRST_IS_THE_TRUTHS))
            for name, view in same_size(rows, self.rows, truth.size).items()
        }

    def _means(self, view: VideoView, truth: VideoView, crop: Crop | None, first: int) -> Scores:
        from affekt.metrics.image import picture_scores  # with numba, which no cached figure needs

        if truth.length <= first:
            return {}
        ours, theirs = (islice(cropped(each, crop), first, None) for each in (view, truth))
        scores = picture_scores(ours, theirs)
        return {metric: float(values.mean()) for metric, values in scores.items()}


@dataclass(frozen=True)
class TemporalMeasure(Measure):
    """How steadily pictures and landmarks move."""

    rules: Landmarks
    name: str = "temporal"
    identity: str = "3"
    rows: tuple[str, ...] = (RESULT, TRUTH, RE_ENCODED, LATE, FROZEN, OTHER)

    def of(self, rows: RowViews, pair: ClipPair, key: str) -> dict[str, Scores]:
        """Return warp_error under the truth's flow, sharpness, flicker, the landmarks' jitter; of
        the result also the lag of its own sound behind the truth's, ms: all else takes the truth's.
        """
        truth = rows[TRUTH]
        same = same_size(rows, self.rows, truth.size)
        errors = warp_errors({name: each.frames() for name, each in same.items()}, truth.frames())
        sharp = sharpness(truth.frames())
        return {
            name: {
                "warp_error": errors[name],
                "sharpness": sharpness(view.frames()) / sharp if sharp else None,
                "flicker": flicker(view.frames()) if view.length > 1 else None,
                "jitter": self._jitter(view),
                "sound_lag": lag_of(view, truth) if name == RESULT else None,
            }
            for name, view in same.items()
        }

    def _jitter(self, view: VideoView) -> float | None:
        """Return the jitter; None where no four frames in a row have a face."""
        try:
            return jitter(view.landmarks(), self.rules.view)
        except ValueError:
            return None


def lag_of(view: VideoView, truth: VideoView) -> float | None:
    """Return the lag of a video's own sound behind the truth's, ms; None where one is silent."""
    sound, wanted = view.sound(), truth.sound()
    return None if sound is None or wanted is None else sound_lag(sound, wanted)


def same_size(
    rows: RowViews, names: tp.Iterable[str], size: tuple[int, int]
) -> dict[str, VideoView]:
    """Return the rows of these names whose frames have this size."""
    return {name: rows[name] for name in names if name in rows and rows[name].size == size}


def cropped(view: VideoView, crop: Crop | None) -> Iterator[Image]:
    """Yield the frames, cut where a crop is given."""
    return view.frames() if crop is None else (cut(frame, crop) for frame in view.frames())


def face_square(truth: VideoView, size: int) -> Crop:
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


@dataclass(frozen=True)
class Line:
    """One figure of one row of one clip."""

    clip: str
    measure: str
    key: str  # of both videos' content, the protocol, the detector, the weights
    row: str
    metric: str
    value: float | None


class Cache:
    """The lines of a file; each holds all rows of a clip and measure, so that it counts whole."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a line that is damaged is left out, and measured again."""
        self.path = path
        self._scores: dict[tuple[str, str, str], dict[str, Scores]] = {}  # by clip, measure, key
        self._whole = True
        if path.is_file():
            self._read()

    def has(self, clip: str, measure: str, key: str) -> bool:
        """Return whether a clip was measured under this key."""
        return (clip, measure, key) in self._scores

    def lines(self, clip: str, measure: str, key: str) -> list[Line]:
        """Return the figures of a clip, none where it was not measured so."""
        rows = self._scores.get((clip, measure, key), {})
        return [
            Line(clip, measure, key, row, metric, value)
            for row, scores in rows.items()
            for metric, value in scores.items()
        ]

    def add(self, clip: str, measure: str, key: str, rows: dict[str, Scores]) -> None:
        """Append the figures of a clip."""
        self._scores[clip, measure, key] = rows
        found = {"clip": clip, "measure": measure, "key": key, "rows": rows}
        line = json.dumps(found | {"crc": _crc(found)}, allow_nan=False)
        start = "" if self._whole else "\n"  # ends a line that a stopped run left half written
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{start}{line}\n")
        self._whole = True

    def _read(self) -> None:
        text = self.path.read_text(encoding="utf-8", errors="replace")
        self._whole = text.endswith("\n") or not text
        bad = 0
        for line in filter(str.strip, text.split("\n")):
            try:
                found = json.loads(line)
                if found.pop("crc", None) not in (None, _crc(found)):  # of before it has none
                    raise ValueError("the checksum is another")
                self._scores[found["clip"], found["measure"], found["key"]] = found["rows"]
            except (ValueError, KeyError, TypeError, AttributeError):
                bad += 1
        if bad:
            log.warning("%s: %d damaged lines are left out and measured again", self.path, bad)


def _crc(found: dict[str, tp.Any]) -> int:
    """Return the CRC-32 of a line's text without it."""
    return zlib.crc32(json.dumps(found).encode())
