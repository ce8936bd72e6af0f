"""What the metrics say of videos that are no method's: the rows to read every table against.

    truth                the truth against itself: the ends of every scale, and what sync, identity
                         and emotion figures say of a real video
    truth re-encoded     the truth compressed again (H.264 crf 23): what a perfect method scores
    truth one frame late the truth, each frame shown 40 ms later: the price of a small lag
    frozen first frame   the first frame of the truth, standing still: LVD rewards it
    another speaker      somebody else's true video, started again if it is shorter: what any
                         face is worth
    mean face            the mean aligned landmarks of all truth clips, on the truth's head: LD
                         rewards it
    detector floor       the truth's landmarks, detected again in a visually lossless copy (crf 18,
                         as generate.py writes): no video can be told nearer to the truth than this

On real clips a frozen frame can have a better LVD than the truth shown 40 ms late.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.evaluation.control_rows import FLOOR, FROZEN, LATE, OTHER, RE_ENCODED, TRUTH
from affekt.evaluation.video import Content, FaceFinder, Shown
from affekt.media.faces.geometry import RIGID_TEMPLATE, apply, invert, similarity
from affekt.media.faces.points import RIGID
from affekt.media.video.video import CRF, VideoWriter, read_video

# The first picture of these equals the truth's, which counts 100 dB: picture metrics leave it out.
FIRST_IS_THE_TRUTHS = (LATE, FROZEN)
COMMON_CRF = 23  # x264's default: what most published videos are compressed with
COPY_CRF = {RE_ENCODED: COMMON_CRF, FLOOR: CRF}


@dataclass(frozen=True, eq=False)
class Reordered:
    """The pictures of a video in another order, under its own sound or another's."""

    base: Shown
    order: tuple[int, ...]  # which picture of `base` is shown, for every picture shown
    heard: Shown  # whose sound it is

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.base.size

    @property
    def length(self) -> int:
        """How many pictures."""
        return len(self.order)

    def frames(self) -> Iterator[Image]:
        """Yield the pictures in their new order; one is held, and going back reads anew."""
        at, pictures = -1, self.base.frames()
        for k in self.order:
            if k < at:
                at, pictures = -1, self.base.frames()
            while at < k:
                picture, at = next(pictures), at + 1
            yield picture

    def landmarks(self) -> Array:
        """Return the landmarks in their new order."""
        return self.base.landmarks()[list(self.order)]

    def sound(self) -> Array | None:
        """Return the sound."""
        return self.heard.sound()


@dataclass(frozen=True, eq=False)
class Copy:
    """A video that was written anew at another quality."""

    base: Content
    path: Path
    name: str  # RE_ENCODED or FLOOR
    finder: FaceFinder

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.base.size

    @property
    def length(self) -> int:
        """How many pictures."""
        return self.base.length

    def frames(self) -> Iterator[Image]:
        """Yield the pictures of the copy, which is written at the first call."""
        if not self.path.is_file():
            copy_video(self.base.frames(), self.path, COPY_CRF[self.name])
        return cut(read_video(self.path), self.size)

    def landmarks(self) -> Array:
        """Return the landmarks found in the copy."""
        key = f"{self.base.key}-crf{COPY_CRF[self.name]}"  # the copy need not be written for it
        return self.finder.find(key, self.frames)

    def sound(self) -> Array | None:
        """Return the sound, which is not compressed again."""
        return self.base.sound()


def controls_of(
    truth: Content, other: Shown | None, folder: Path, finder: FaceFinder
) -> dict[str, Shown]:
    """Return the controls of a clip that need no other clip but, perhaps, `other`.

    Args:
        truth: the clip.
        other: another speaker's clip of the same size, or None.
        folder: for copies.
        finder: of faces in the copies.
    """
    T = truth.length
    rows: dict[str, Shown] = {TRUTH: truth}
    for number, name in enumerate(COPY_CRF):
        rows[name] = Copy(truth, folder / f"{number}.mp4", name, finder)
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
    onto = [
        similarity(points[:, RIGID, :D], RIGID_TEMPLATE[:, :D]) for points in map(_known, truths)
    ]
    aligned = [
        apply(move, _known(points)[..., :D]) for move, points in zip(onto, truths, strict=True)
    ]
    mean = np.concatenate(aligned).mean(axis=0)
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


def cut(frames: Iterable[Image], size: tuple[int, int]) -> Iterator[Image]:
    """Yield the frames at (width, height), without the lines that `copy_video` added."""
    for frame in frames:
        yield frame[: size[1], : size[0]]


def _found(points: Array) -> Array:
    return np.isfinite(points).all(axis=(1, 2))


def _known(points: Array) -> Array:
    return points[_found(points)]
