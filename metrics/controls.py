"""What the metrics say of results that are no method's: the rows to read every table against.

    re-encoded      the truth compressed again (H.264 crf 23): what a perfect method would score
    one frame late  the truth, each frame shown 40 ms later: the price of a small lag
    frozen frame    the first frame of the truth, standing still: LVD rewards it
    mean face       every frame the mean landmarks of all truth clips: LD rewards it
    detector floor  the truth's landmarks, detected again in a visually lossless copy (crf 18, as
                    generate.py writes): no video can be told nearer to the truth than this

On real clips a frozen frame can have a better LVD than the truth shown 40 ms late.
"""

import typing as tp
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from media.video import CRF, VideoWriter
from metrics.landmark import Track

Array = NDArray[tp.Any]
Image = NDArray[np.uint8]

RE_ENCODED, LATE, FROZEN = "truth re-encoded", "truth one frame late", "frozen first frame"
MEAN_FACE, FLOOR = "mean face", "detector floor"
CONTROLS = (RE_ENCODED, LATE, FROZEN, MEAN_FACE, FLOOR)  # in the order of the table
# The first picture of these equals the truth's, which counts 100 dB: picture metrics leave it out.
FIRST_IS_THE_TRUTHS = (LATE, FROZEN)
COMMON_CRF = 23  # x264's default: what most published videos are compressed with
COPY_CRF = {RE_ENCODED: COMMON_CRF, FLOOR: CRF}


def late(frames: Iterable[Image]) -> Iterator[Image]:
    """Yield the frames one later: the first twice, the last not at all."""
    before = None
    for frame in frames:
        yield frame if before is None else before
        before = frame


def frozen(frames: Iterable[Image]) -> Iterator[Image]:
    """Yield the first frame once for every frame."""
    first = None
    for frame in frames:
        first = frame if first is None else first
        yield first


def late_track(truth: Track) -> Track:
    """Return the landmarks of `late` frames."""
    return Track(truth.points[np.maximum(np.arange(len(truth.points)) - 1, 0)])


def frozen_track(truth: Track) -> Track:
    """Return the landmarks of the first frame with a face, standing still."""
    first = int(truth.found.argmax())
    return Track(np.broadcast_to(truth.points[first], truth.points.shape))


def mean_face_tracks(truths: list[Track]) -> list[Track]:
    """Return, for each clip, the mean landmarks of all clips' frames, standing still."""
    everything = np.concatenate([truth.points[truth.found] for truth in truths])
    mean = everything.mean(axis=0)
    return [Track(np.broadcast_to(mean, truth.points.shape)) for truth in truths]


def copy_video(frames: Iterable[Image], path: Path, crf: int) -> None:
    """Write the frames as H.264; an odd side grows by repeating its last line."""
    rest = iter(frames)
    first = next(rest)
    height, width = first.shape[:2]
    margins = ((0, height % 2), (0, width % 2), (0, 0))
    with VideoWriter(path, (width + width % 2, height + height % 2), crf=crf) as writer:
        for frame in chain([first], rest):
            writer.write(np.pad(frame, margins, mode="edge"))


def cut(frames: Iterable[Image], size: tuple[int, int]) -> Iterator[Image]:
    """Yield the frames at (width, height), without the lines that `copy_video` added."""
    for frame in frames:
        yield frame[: size[1], : size[0]]
