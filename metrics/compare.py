"""Hold a folder of result videos against a folder of truth, clip by clip, paired by name.

A clip's id is its file name without the ending. Both files must have one frame rate, one size and
one length: nothing is resampled, scaled or cut here, since each of these moves the figures by more
than methods differ. A clip that cannot be compared is listed with its reason; the others go on.
"""

import logging
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from media.geometry import View
from media.landmarks import Detector
from media.video import probe, read_video
from metrics import controls
from metrics.image import psnr, psnr_u8wrap, ssim
from metrics.landmark import Scores, Track, coverage, landmark_scores, track

log = logging.getLogger(__name__)

Image = NDArray[np.uint8]

RESULT = "result"  # the row of the method that is evaluated; the others are controls
VIDEO_ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg")
IMAGE_METRICS = {"ssim": ssim, "psnr": psnr, "psnr_u8wrap": psnr_u8wrap}
SAME_RATE = 0.01  # frames per second that containers may round away


@dataclass(frozen=True)
class Pair:
    """A result and its truth."""

    id: str
    result: Path
    truth: Path


@dataclass(frozen=True)
class Pairing:
    """Which clips there are: in both folders, in the truth alone, in the results alone."""

    pairs: list[Pair]
    missing: list[str]
    extra: list[str]


@dataclass(frozen=True)
class ClipScores:
    """The figures of one clip: of the result, and of each control."""

    id: str
    frames: int
    size: tuple[int, int]  # width, height
    coverage: float  # share of frames with a face in both
    rows: dict[str, Scores]


@dataclass(frozen=True)
class Failure:
    """A clip without figures, and why."""

    id: str
    reason: str  # a MediaError's code, or the kind of error
    message: str


@dataclass(frozen=True)
class Comparison:
    """All clips of two folders."""

    pairing: Pairing
    clips: list[ClipScores]
    failures: list[Failure]


def pair_by_id(results: Path, truth: Path) -> Pairing:
    """Match the videos of two folders by file name without its ending.

    Raises:
        FileNotFoundError: not a folder.
        ValueError: two videos of one id in a folder, or no id in both folders.
    """
    ours, theirs = _videos(results), _videos(truth)
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        raise ValueError(
            f"no clip of {results} ({len(ours)} videos) is named like one of {truth} "
            f"({len(theirs)} videos); a result must have the file name of its truth"
        )
    return Pairing(
        [Pair(clip, ours[clip], theirs[clip]) for clip in shared],
        missing=sorted(theirs.keys() - ours.keys()),
        extra=sorted(ours.keys() - theirs.keys()),
    )


def compare_folders(
    pairing: Pairing,
    detector: Detector,
    view: View = "2d",
    with_controls: bool = True,
    progress: bool = True,
) -> Comparison:
    """Return the figures of every pair, and of the controls; failures are listed, not raised."""
    clips, failures, truths = [], [], []
    for pair in tqdm(pairing.pairs, desc="compare", unit="clip", disable=not progress):
        try:
            scores, truth = compare_clip(pair, detector, view, with_controls)
        except (OSError, ValueError) as error:
            log.warning("%s is left out: %s", pair.id, error)
            reason = str(getattr(error, "reason", type(error).__name__))
            failures.append(Failure(pair.id, reason, str(error)))
        else:
            clips.append(scores)
            truths.append(truth)
    if with_controls and clips:
        still = controls.mean_face_tracks(truths)
        for scores, mean, truth in zip(clips, still, truths, strict=True):
            scores.rows[controls.MEAN_FACE] = landmark_scores(mean, truth)
    return Comparison(pairing, clips, failures)


def compare_clip(
    pair: Pair, detector: Detector, view: View = "2d", with_controls: bool = True
) -> tuple[ClipScores, Track]:
    """Return the figures of one pair and the truth's landmarks.

    Raises:
        MediaError: a file cannot be read.
        ValueError: other frame rate, size or length, or no face to compare.
    """
    size = _same_form(pair)
    truth = track(read_video(pair.truth), detector, view)
    result = track(read_video(pair.result), detector, view)
    if len(result.points) != len(truth.points):
        raise ValueError(
            f"{pair.id}: the result has {len(result.points)} frames, the truth "
            f"{len(truth.points)}; both must show the same frames"
        )
    rows = {RESULT: landmark_scores(result, truth)}
    with TemporaryDirectory() as folder:
        copies = _copies(pair.truth, Path(folder)) if with_controls else {}
        for name, path in copies.items():
            copy = track(controls.cut(read_video(path), size), detector, view)
            rows[name] = landmark_scores(copy, truth)
        if with_controls:
            rows[controls.LATE] = landmark_scores(controls.late_track(truth), truth)
            rows[controls.FROZEN] = landmark_scores(controls.frozen_track(truth), truth)
        for name, figures in _image_scores(pair, size, copies.get(controls.RE_ENCODED)).items():
            rows[name] |= figures
    clip = ClipScores(pair.id, len(truth.points), size, coverage(result, truth), rows)
    return clip, truth


def _videos(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder of videos")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in VIDEO_ENDINGS or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ValueError(f"{found[path.stem]} and {path} have one clip id; keep one of them")
        found[path.stem] = path
    return found


def _same_form(pair: Pair) -> tuple[int, int]:
    """Return the width and height of both videos."""
    result, truth = probe(pair.result), probe(pair.truth)
    if abs(result.fps - truth.fps) > SAME_RATE:
        raise ValueError(
            f"{pair.id}: the result has {result.fps:g} frames per second, the truth {truth.fps:g}; "
            "convert one of them before comparing"
        )
    if (result.width, result.height) != (truth.width, truth.height):
        raise ValueError(
            f"{pair.id}: the result is {result.width} x {result.height}, the truth "
            f"{truth.width} x {truth.height} pixels; crop and scale both alike before comparing"
        )
    return truth.width, truth.height


def _copies(truth: Path, folder: Path) -> dict[str, Path]:
    """Write the truth anew at each quality that a control needs."""
    paths = {}
    for name, crf in controls.COPY_CRF.items():
        paths[name] = folder / f"{crf}.mp4"
        controls.copy_video(read_video(truth), paths[name], crf)
    return paths


def _image_scores(pair: Pair, size: tuple[int, int], copy: Path | None) -> dict[str, Scores]:
    """Return SSIM and PSNR against the truth, means over the frames; of the controls if `copy`."""
    truth = read_video(pair.truth)
    others = {RESULT: read_video(pair.result)}
    if copy is not None:
        truth, before, still = tee(truth, 3)  # read in step: each frame is held once
        others[controls.RE_ENCODED] = controls.cut(read_video(copy), size)
        others |= {controls.LATE: controls.late(before), controls.FROZEN: controls.frozen(still)}
    values: dict[str, list[list[float]]] = {name: [] for name in others}
    for number, (picture, *pictures) in enumerate(zip(truth, *others.values(), strict=True)):
        for name, other in zip(others, pictures, strict=True):
            if number or name not in controls.FIRST_IS_THE_TRUTHS:
                values[name].append([measure(other, picture) for measure in IMAGE_METRICS.values()])
    return {
        name: dict(zip(IMAGE_METRICS, np.mean(rows, axis=0).tolist(), strict=True))
        for name, rows in values.items()
    }
