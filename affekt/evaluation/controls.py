"""Control rows of every table: videos that are no method's, to compare every figure with.

The truth against itself gives the ends of every scale, the truth re-encoded what a perfect method
scores, the detector floor how near to the truth a result can measurably be. LVD rewards a frozen
frame (on real clips it can beat the truth shown 40 ms late), LD the mean face.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.evaluation.video import VideoOnDisk, VideoView
from affekt.media.faces.geometry import RIGID_TEMPLATE, apply, invert, similarity
from affekt.media.faces.points import RIGID
from affekt.media.video.video import CRF, VideoWriter, read_video

RESULT, TRUTH = "result", "truth"
RE_ENCODED, LATE, FROZEN = "truth re-encoded", "truth one frame late", "frozen first frame"
OTHER, MEAN_FACE, FLOOR = "another speaker", "mean face", "detector floor"
CONTROLS = {  # in the order of a table: what each row is
    RE_ENCODED: "the truth compressed again (H.264 crf 23), as a perfect method would be",
    LATE: "the truth, each frame 40 ms later",
    FROZEN: "the truth's first frame, standing still",
    OTHER: "a true video of somebody else, started again where it is too short",
    MEAN_FACE: "the mean landmarks of all truths, standing still",
    FLOOR: "the truth's landmarks found again in a visually lossless copy (crf 18)",
}
# The first frame of these equals the truth's, which counts 100 dB: picture metrics leave it out.
FIRST_IS_THE_TRUTHS = (LATE, FROZEN)
COMMON_CRF = 23  # x264's default: what most published videos are compressed with
COPY_CRF = {RE_ENCODED: COMMON_CRF, FLOOR: CRF}


@dataclass(frozen=True, eq=False)
class Reordered(VideoView):
    """The frames of a video in another order, with its own sound or another's."""

    base: VideoView
    order: tuple[int, ...]  # of each frame, its place in `base`
    sound_of: VideoView

    @property
    def size(self) -> tuple[int, int]:
        return self.base.size

    @property
    def length(self) -> int:
        return len(self.order)

    def frames(self) -> Iterator[Image]:
        """Yield the frames in their new order; one is held, and going back reads anew."""
        at, frames = -1, self.base.frames()
        for k in self.order:
            if k < at:
                at, frames = -1, self.base.frames()
            while at < k:
                frame, at = next(frames), at + 1
            yield frame

    def landmarks(self) -> Array:
        return self.base.landmarks()[list(self.order)]

    def sound(self) -> Array | None:
        return self.sound_of.sound()


@dataclass(frozen=True, eq=False)
class Copy(VideoView):
    """A video encoded again at another quality; its sound is not."""

    base: VideoOnDisk
    path: Path
    name: str  # RE_ENCODED or FLOOR

    @property
    def size(self) -> tuple[int, int]:
        return self.base.size

    @property
    def length(self) -> int:
        return self.base.length

    def frames(self) -> Iterator[Image]:
        """Yield the frames of the copy, which is written at the first call."""
        if not self.path.is_file():
            copy_video(self.base.frames(), self.path, COPY_CRF[self.name])
        width, height = self.size  # without the lines that `copy_video` adds
        return (frame[:height, :width] for frame in read_video(self.path))

    def landmarks(self) -> Array:
        key = f"{self.base.key}-crf{COPY_CRF[self.name]}"  # the copy need not be written for it
        return self.base.finder.find(key, self.frames)

    def sound(self) -> Array | None:
        return self.base.sound()


def controls_of(truth: VideoOnDisk, other: VideoView | None, folder: Path) -> dict[str, VideoView]:
    """Return the controls of a clip that need no other clip but, perhaps, `other`.

    Args:
        truth: the clip.
        other: another speaker's clip of the same size, or None.
        folder: for copies.
    """
    T = truth.length
    rows: dict[str, VideoView] = {TRUTH: truth}
    for number, name in enumerate(COPY_CRF):
        rows[name] = Copy(truth, folder / f"{number}.mp4", name)
    rows[LATE] = Reordered(truth, (0, *range(T - 1)), truth)
    rows[FROZEN] = Reordered(truth, (0,) * T, truth)
    if other is not None:
        rows[OTHER] = Reordered(other, tuple(k % other.length for k in range(T)), truth)
    return rows


def mean_faces(truths: Sequence[Array]) -> list[Array]:
    """Return, for each clip, the mean face of all clips' frames, put on the clip's head.

    Every frame is moved to the template by a similarity on its rigid points, the mean is taken
    there, and moved back for each frame: after alignment it stands still.

    Args:
        truths: landmarks (T, 68, D), NaN where there is no face.
    """
    D = min(points.shape[-1] for points in truths)
    # Align every frame to the template; the mean over all frames of all clips
    onto = [
        similarity(points[:, RIGID, :D], RIGID_TEMPLATE[:, :D]) for points in map(_detected, truths)
    ]
    aligned = [
        apply(move, _detected(points)[..., :D]) for move, points in zip(onto, truths, strict=True)
    ]
    mean = np.concatenate(aligned).mean(axis=0)
    # Put the mean face back under each frame's head pose
    faces = []
    for points, move in zip(truths, onto, strict=True):
        face = np.full((len(points), *mean.shape), np.nan)
        face[_found(points)] = apply(
            invert(move), np.broadcast_to(mean, (len(move.scale), *mean.shape))
        )
        faces.append(face)
    return faces


def copy_video(frames: Iterable[Image], path: Path, crf: int) -> None:
    """Write the frames as H.264; an odd side grows by repeating its last line."""
    rest = iter(frames)
    first = next(rest)
    height, width = first.shape[:2]
    margins = ((0, height % 2), (0, width % 2), (0, 0))
    with VideoWriter(path, (width + width % 2, height + height % 2), crf=crf) as writer:
        for frame in chain([first], rest):
            writer.write(np.pad(frame, margins, mode="edge"))


def _found(points: Array) -> Array:
    return np.isfinite(points).all(axis=(1, 2))


def _detected(points: Array) -> Array:
    return points[_found(points)]
