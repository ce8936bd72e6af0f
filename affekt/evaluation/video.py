"""A video as the metrics take it: frames at 25 per second, landmarks, sound; and whether two match.

Landmarks of the main face are found once for each content and detector, and kept on disk. A result
and its truth must have one frame rate, size and length: nothing is resampled, scaled or cut to fit,
since each of them moves the figures by more than methods differ.
"""

import abc
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.audio.reader import fitted, read_audio
from affekt.media.constants import FRAME_RATE, SAMPLES_PER_FRAME
from affekt.media.corpus import Clip
from affekt.media.faces.detector import Detector
from affekt.media.faces.points import COUNT
from affekt.media.video.container import MediaError
from affekt.media.video.video import VideoInfo, probe, read_video
from affekt.runtime.files import DamagedFileError, sha256
from affekt.runtime.npz_files import load_npz, save_npz

log = logging.getLogger(__name__)

HELD_BYTES = 256 * 2**20  # a clip whose frames fit in here is decoded once, else each time
SAME_RATE = 0.01  # frames per second that containers may round away


@dataclass(frozen=True)
class VideoShape:
    """Frame rate, size and length of a video."""

    fps: float
    size: tuple[int, int]  # width, height, pixels
    frames: int


class MismatchError(ValueError):
    """A result that cannot be compared with its truth; `reason` is rate, size or length."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def mismatch(result: VideoShape, truth: VideoShape, slack: int) -> dict[str, str]:
    """Return what differs: {rate, size or length: a sentence}; empty if they can be compared.

    Args:
        result: of a method.
        truth: that it is compared with.
        slack: frames by which the lengths may differ.
    """
    found = {}
    # Frame rate
    if abs(result.fps - truth.fps) > SAME_RATE:
        found["rate"] = (
            f"the result has {result.fps:g} frames per second, the truth {truth.fps:g}; convert "
            "one of them before comparing"
        )
    # Picture size
    if result.size != truth.size:
        (width, height), (true_width, true_height) = result.size, truth.size
        found["size"] = (
            f"the result is {width} x {height}, the truth {true_width} x {true_height} pixels; "
            "crop and scale both alike before comparing"
        )
    # Number of frames
    if abs(result.frames - truth.frames) > slack:
        found["length"] = (
            f"the result has {result.frames} frames, the truth {truth.frames}; both must show the "
            "same frames" + (f", give or take {slack}" if slack else "")
        )
    return found


class VideoView(abc.ABC):
    """The frames of a video, their landmarks, and the sound: what every metric takes."""

    @property
    @abc.abstractmethod
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""

    @property
    @abc.abstractmethod
    def length(self) -> int:
        """Number of frames."""

    @abc.abstractmethod
    def frames(self) -> Iterator[Image]:
        """Yield the frames, (H, W, 3) RGB; may be called again."""

    @abc.abstractmethod
    def landmarks(self) -> Array:
        """Return (T, 68, 2 or 3) float64, pixels; NaN where there is no face."""

    @abc.abstractmethod
    def sound(self) -> Array | None:
        """Return (640 T,) float32 in [-1, 1], 16 kHz; None for a silent file."""


def _kept(path: Path) -> Array | None:
    """Return kept landmarks, with NaN where there is no face; None: they are to be found anew."""
    try:
        return load_npz(path, "it is made anew")["points"]
    except FileNotFoundError:
        return None
    except (DamagedFileError, KeyError) as error:
        log.warning("%s", error)
        return None


@dataclass(frozen=True)
class FaceFinder:
    """Finds the landmarks of videos and keeps them in a folder, by content and detector."""

    detector: Detector
    folder: Path

    def find(self, key: str, frames: Callable[[], Iterable[Image]]) -> Array:
        """Return (T, 68, 2 or 3) float64, NaN where no face is found.

        Args:
            key: of the content.
            frames: gives the frames; called only if the landmarks are not cached yet.
        """
        path = self.folder / digest(self.detector.version) / f"{key}.npz"
        found = _kept(path)
        if found is None:
            found = np.stack([self._points(frame) for frame in frames()]).astype(np.float32)
            save_npz(path, points=found)
        # Without the third coordinate where the detector gives none.
        has_face = np.isfinite(found[..., 0])
        return (found if np.isfinite(found[has_face]).all() else found[..., :2]).astype(float)

    def _points(self, frame: Image) -> Array:
        face = self.detector.detect(frame)
        if face is not None and face.points3d is not None:
            return face.points3d
        flat = np.full((COUNT, 3), np.nan)
        if face is not None:
            flat[:, :2] = face.points
        return flat


class VideoOnDisk(VideoView):
    """A video that lies on disk; equal keys mean equal frames and sound."""

    finder: FaceFinder

    @property
    @abc.abstractmethod
    def key(self) -> str:
        """A hash of the content."""

    @property
    def fps(self) -> float:
        """The frame rate that the file declares."""
        return float(FRAME_RATE)

    @property
    def shape(self) -> VideoShape:
        """Frame rate, size, and the counted frames."""
        return VideoShape(self.fps, self.size, self.length)

    @cached_property
    def _landmarks(self) -> Array:
        return self.finder.find(self.key, self.frames)

    def landmarks(self) -> Array:
        return self._landmarks


@dataclass(frozen=True, eq=False)
class VideoFile(VideoOnDisk):
    """A video file; its key is its SHA-256."""

    path: Path
    finder: FaceFinder

    @cached_property
    def key(self) -> str:
        return sha256(self.path)

    @cached_property
    def _info(self) -> VideoInfo:
        return probe(self.path)

    @property
    def fps(self) -> float:
        return self._info.fps

    @property
    def size(self) -> tuple[int, int]:
        return self._info.width, self._info.height

    @cached_property
    def _held(self) -> list[Image] | None:
        estimate = self._info.frames * self._info.width * self._info.height * 3
        return list(read_video(self.path)) if estimate <= HELD_BYTES else None

    @cached_property
    def length(self) -> int:
        return len(self._held) if self._held is not None else sum(1 for _ in read_video(self.path))

    def frames(self) -> Iterator[Image]:
        return iter(self._held) if self._held is not None else read_video(self.path)

    @cached_property
    def _sound(self) -> Array | None:
        try:
            return fitted(read_audio(self.path), self.length * SAMPLES_PER_FRAME)
        except MediaError as error:
            if error.reason != "no_audio":
                raise
            return None

    def sound(self) -> Array | None:
        return self._sound  # cut, or padded with zeros, to the frames' length


@dataclass(frozen=True, eq=False)
class StoredVideo(VideoOnDisk):
    """The stored frames of a prepared clip, with its sound; its key is their SHA-256.

    Faces are looked for in the stored frames as in a result's, not taken from the corpus, whose
    landmarks were found in the source video: one detector must find both sides alike.
    """

    clip: Clip
    finder: FaceFinder

    @cached_property
    def key(self) -> str:
        files = [*sorted(self.clip.folder.glob("frames.*")), self.clip.folder / "audio.wav"]
        return digest(*(sha256(path) for path in files))

    @cached_property
    def size(self) -> tuple[int, int]:
        return self.clip.crop().size

    @property
    def length(self) -> int:
        return self.clip.frames

    def frames(self) -> Iterator[Image]:
        store = self.clip.store()
        return (store[k] for k in range(self.clip.frames))

    def sound(self) -> Array | None:
        return self.clip.audio()


def opened(content: Path | Clip, finder: FaceFinder) -> VideoOnDisk:
    """Return a video file or a prepared clip as the metrics take it."""
    return VideoFile(content, finder) if isinstance(content, Path) else StoredVideo(content, finder)


def digest(*parts: str) -> str:
    """Return 32 hexadecimal digits of a hash of these texts, in this order."""
    joined = "\0".join(parts).encode()
    return hashlib.sha256(joined).hexdigest()[:32]
