"""A video as the metrics see it: a result, a truth, or a control that is made of one.

Pictures at 25 frames a second, the main face's landmarks in every one, and the sound. Landmarks
are found once for each content and detector, and kept on disk.
"""

import hashlib
import logging
import typing as tp
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.audio.reader import fitted, read_audio
from affekt.media.constants import SAMPLES_PER_FRAME
from affekt.media.corpus import Clip
from affekt.media.faces.detector import Detector
from affekt.media.faces.points import COUNT
from affekt.media.video.container import MediaError
from affekt.media.video.video import probe, read_video
from affekt.runtime.files import save_npy, sha256

log = logging.getLogger(__name__)


HELD_BYTES = 256 * 2**20  # a clip whose pictures fit in here is decoded once, else each time


class Shown(tp.Protocol):
    """What every metric takes."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""

    @property
    def length(self) -> int:
        """How many pictures."""

    def frames(self) -> Iterator[Image]:
        """Yield the pictures, (H, W, 3) RGB; may be called again."""

    def landmarks(self) -> Array:
        """Return (T, 68, 2 or 3) float64, pixels; NaN where there is no face."""

    def sound(self) -> Array | None:
        """Return (640 T,) float32 in [-1, 1], 16 kHz; None for a silent file."""


class Content(Shown, tp.Protocol):
    """A video that lies on disk."""

    @property
    def key(self) -> str:
        """What the content is known by: equal keys, equal pictures and sound."""


@dataclass(frozen=True)
class FaceFinder:
    """Finds the landmarks of videos and keeps them in a folder, by content and detector."""

    detector: Detector
    folder: Path

    def find(self, key: str, frames: Callable[[], Iterable[Image]]) -> Array:
        """Return (T, 68, 2 or 3) float64, NaN where no face is found.

        Args:
            key: of the content.
            frames: gives the pictures; asked only if the landmarks are not known yet.
        """
        path = self.folder / digest(self.detector.version) / f"{key}.npy"
        found = _kept(path)
        if found is None:
            found = np.stack([self._points(frame) for frame in frames()]).astype(np.float32)
            save_npy(path, found)
        return flat_or_deep(found.astype(float))

    def _points(self, frame: Image) -> Array:
        face = self.detector.detect(frame)
        if face is None:
            return np.full((COUNT, 3), np.nan)
        if face.points3d is not None:
            return face.points3d
        flat = np.full((COUNT, 3), np.nan)
        flat[:, :2] = face.points
        return flat


def flat_or_deep(points: Array) -> Array:
    """Return landmarks (T, 68, 3) without their third coordinate where the detector gives none."""
    found = np.isfinite(points[..., 0])
    return points if np.isfinite(points[found]).all() else points[..., :2]


@dataclass(frozen=True, eq=False)
class VideoFile:
    """A video file."""

    path: Path
    finder: FaceFinder

    @cached_property
    def key(self) -> str:
        """The file's SHA-256."""
        return sha256(self.path)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        info = probe(self.path)
        return info.width, info.height

    @cached_property
    def _held(self) -> list[Image] | None:
        width, height = self.size
        estimate = probe(self.path).frames * width * height * 3
        return list(read_video(self.path)) if estimate <= HELD_BYTES else None

    @cached_property
    def length(self) -> int:
        """How many pictures there are, by counting them."""
        return len(self._held) if self._held is not None else sum(1 for _ in read_video(self.path))

    def frames(self) -> Iterator[Image]:
        """Yield the pictures, (H, W, 3) RGB."""
        return iter(self._held) if self._held is not None else read_video(self.path)

    @cached_property
    def _landmarks(self) -> Array:
        return self.finder.find(self.key, self.frames)

    def landmarks(self) -> Array:
        """Return (T, 68, 2 or 3) float64, pixels; NaN where there is no face."""
        return self._landmarks

    @cached_property
    def _sound(self) -> Array | None:
        try:
            return fitted(read_audio(self.path), self.length * SAMPLES_PER_FRAME)
        except MediaError as error:
            if error.reason != "no_audio":
                raise
            return None

    def sound(self) -> Array | None:
        """Return the sound, cut or padded with zeros to the pictures' length; None without one."""
        return self._sound


@dataclass(frozen=True, eq=False)
class StoredVideo:
    """The stored frames of a prepared clip, with its sound.

    Faces are looked for in the stored pictures as in a result's, not taken from the corpus, whose
    landmarks were found in the source video: both sides must be seen by one detector alike.
    """

    clip: Clip
    finder: FaceFinder

    @cached_property
    def key(self) -> str:
        """The SHA-256 of the stored frames and sound."""
        files = [*sorted(self.clip.folder.glob("frames.*")), self.clip.folder / "audio.wav"]
        return digest(*(sha256(path) for path in files))

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the stored pictures."""
        return self.clip.crop().size

    @property
    def length(self) -> int:
        """How many pictures."""
        return self.clip.frames

    def frames(self) -> Iterator[Image]:
        """Yield the stored pictures, (H, W, 3) RGB."""
        store = self.clip.store()
        return (store[k] for k in range(self.clip.frames))

    @cached_property
    def _landmarks(self) -> Array:
        return self.finder.find(self.key, self.frames)

    def landmarks(self) -> Array:
        """Return (T, 68, 2 or 3) float64, stored pixels; NaN where there is no face."""
        return self._landmarks

    def sound(self) -> Array | None:
        """Return the clip's sound."""
        return self.clip.audio()


def digest(*parts: str) -> str:
    """Return 32 hexadecimal digits that stand for these texts, in this order."""
    joined = "\0".join(parts).encode()
    return hashlib.sha256(joined).hexdigest()[:32]


def _kept(path: Path) -> Array | None:
    """Return the landmarks that were kept, or None: none, or a damaged file."""
    if not path.is_file():
        return None
    try:
        kept: Array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        kept = np.empty(0)
    if kept.ndim == 3 and kept.shape[1:] == (COUNT, 3):
        return kept
    log.warning("%s is damaged; the faces are found again", path)
    return None
