"""Aligned faces of the emotion classifier, and the data set that it is trained on.

Each frame is aligned on its own, by the similarity that takes nose bridge and eye corners to the
template of affekt.media.faces.geometry: the same for true and generated videos, for a crop of a
face and for a full frame, whatever the size. Per frame and not per clip, because a clip's first
frame may be the odd one, and a head that moves or turns up elsewhere in a result must not look like
an emotion. The rigid points alone, because brows or mouth among them would be aligned away. The
published FAN aligns per frame too, on dlib's five points.

Letters: T frames of a clip, N faces, F frames of an item, S pixels of a side.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from affekt.arrays import Array, Image
from affekt.media.corpus import Clip, Corpus
from affekt.media.faces.crop import Crop, cut
from affekt.media.faces.geometry import RIGID_TEMPLATE, affine, similarity
from affekt.media.faces.points import RIGID
from affekt.media.video.frames import FrameStore
from affekt.media.video.tensors import channels_first
from affekt.runtime.config import ConfigError

# The square that is cut out, in pixels of the 256 px aligned face. It holds the face from the
# highest brows (y 30) to the chin under an open mouth (y 266), on rendered and on real people.
FACE_CENTRE = (128.0, 144.0)
FACE_SIDE = 272.0
MOST_OPEN = 1024  # clips whose index and landmarks are kept, about 100 kB each


@dataclass(frozen=True)
class FaceAugmentation:
    """Random augmentation of an item, the same for all frames of an item; strengths of 0 change
    nothing."""

    shift: float = 0.04  # of the side, at most
    scale: float = 0.08  # of the logarithm, at most
    rotation: float = 6.0  # degrees to either side, at most
    flip: float = 0.5  # probability
    brightness: float = 0.2  # of the factor of all channels, at most
    tint: float = 0.1  # of each channel's own factor, at most: lamps and skins differ in colour
    contrast: float = 0.2  # of the factor about the mean, at most
    blur: float = 0.0  # sigma in pixels of the face, at most: videos differ in sharpness

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"{name} is {value}, wanted 0 or more")
        if self.flip > 1:
            raise ValueError(f"flip is {self.flip}, wanted a probability from 0 to 1")


@dataclass(frozen=True)
class FaceDataConfig:
    """What an item is; the defaults are the published code's."""

    frames: int = 3  # F, one from each of as many equal parts of the clip
    size: int = 224  # S
    augmentation: FaceAugmentation = field(default_factory=FaceAugmentation)

    def __post_init__(self) -> None:
        if self.frames < 1 or self.size < 32:
            raise ValueError(
                f"frames is {self.frames} and size {self.size}, wanted a frame and 32 pixels at "
                "least: the network halves a face five times"
            )


class FaceClips(Dataset[dict[str, Tensor]]):
    """An item is F frames of a clip: faces (F, 3, S, S) uint8, label () int64.

    Every emotion is sampled as often as every other, however many clips it has.
    """

    def __init__(self, corpus: Corpus, split: str, config: FaceDataConfig, seed: int = 0) -> None:
        """Take the clips of a split.

        Raises:
            ConfigError: an emotion has no clip in it.
        """
        self.config, self.seed = config, seed
        self._opened: dict[Path, tuple[FrameStore, Array]] = {}
        by_emotion = [corpus.clips(split, emotion=emotion) for emotion in corpus.emotions]
        for emotion, clips in zip(corpus.emotions, by_emotion, strict=True):
            if not clips:
                raise ConfigError(
                    f"{corpus.root} has no clip of {emotion!r} in split {split!r}: an emotion "
                    "without training clips cannot be recognised"
                )
        longest = max(len(clips) for clips in by_emotion)
        self.items = [
            (clips[turn % len(clips)], label)
            for turn in range(longest)
            for label, clips in enumerate(by_emotion)
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        clip, label = self.items[index % len(self)]
        edges = np.linspace(0, clip.frames, self.config.frames + 1)
        chosen = np.floor(rng.uniform(edges[:-1], edges[1:])).astype(int).tolist()
        store, landmarks = self._open(clip)
        faces = augmented_faces(store.read(chosen), landmarks[chosen], self.config, rng)
        return {"faces": channels_first(faces), "label": torch.tensor(label)}

    def _open(self, clip: Clip) -> tuple[FrameStore, Array]:
        """Return a clip's frames and landmarks, stored pixels; the last clips are kept open."""
        if clip.folder not in self._opened:
            if len(self._opened) == MOST_OPEN:
                self._opened.clear()
            self._opened[clip.folder] = clip.store(), clip.stored_landmarks()
        return self._opened[clip.folder]


def frames_of(clip: Clip, indices: Sequence[int]) -> tuple[Image, Array]:
    """Return stored frames (N, H, W, 3) and their landmarks (N, 68, 2), stored pixels."""
    return clip.store().read(indices), clip.stored_landmarks()[list(indices)]


def spread(length: int, count: int) -> list[int]:
    """Return at most `count` indices into `length` frames, the middles of equal parts."""
    count = min(count, length)
    return [(2 * part + 1) * length // (2 * count) for part in range(count)]


def face_crop(points: Array, source_size: tuple[int, int], size: int) -> Crop:
    """Return how one frame's face is cut out and aligned.

    Args:
        points: (68, 2), pixels of the frame.
        source_size: width and height of the frame, pixels.
        size: S.
    """
    return Crop(face_matrices(points[None], size)[0], (size, size), source_size)


def face_matrices(landmarks: Array, size: int) -> Array:
    """Return the maps (N, 2, 3) from frames' pixels to aligned faces, of landmarks (N, 68, 2)."""
    onto = affine(similarity(landmarks[:, list(RIGID)], RIGID_TEMPLATE[:, :2]))
    scale = size / FACE_SIDE
    matrices = scale * onto
    matrices[:, :, 2] += size / 2 - scale * np.array(FACE_CENTRE) - 0.5
    return matrices


def aligned_faces(
    frames: Sequence[Image] | Image, landmarks: Array, size: int, change: Array | None = None
) -> Image:
    """Return the aligned faces (N, S, S, 3) uint8 RGB; black where the frame ends.

    Args:
        frames: N of (H, W, 3) uint8 RGB.
        landmarks: (N, 68, 2), pixels of the frames.
        size: S.
        change: (2, 3), a further map of the faces' pixels.
    """
    faces = np.empty((len(frames), size, size, 3), np.uint8)
    matrices = face_matrices(landmarks, size)
    for face, frame, matrix in zip(faces, frames, matrices, strict=True):
        if change is not None:
            matrix = change[:, :2] @ matrix
            matrix[:, 2] += change[:, 2]
        face[:] = cut(frame, Crop(matrix, (size, size), (frame.shape[1], frame.shape[0])))
    return faces


def augmented_faces(
    frames: Image, landmarks: Array, config: FaceDataConfig, rng: np.random.Generator
) -> Image:
    """Return aligned faces (N, S, S, 3) with the same random augmentation for all of them."""
    how, size = config.augmentation, config.size
    shift = rng.uniform(-how.shift, how.shift, 2) * size
    scale = float(np.exp(rng.uniform(-how.scale, how.scale)))
    angle = float(rng.uniform(-how.rotation, how.rotation))
    middle = ((size - 1) / 2, (size - 1) / 2)
    change: Array = cv2.getRotationMatrix2D(middle, angle, scale)
    change[:, 2] = change[:, 2] + shift
    faces = aligned_faces(frames, landmarks, size, change)
    if rng.random() < how.flip:
        faces = np.ascontiguousarray(faces[:, :, ::-1])
    return recoloured(_blurred(faces, float(rng.uniform(0, how.blur))), how, rng)


def split_hash(clips: Sequence[Clip]) -> str:
    """Return the SHA-256 of which clips these are, of which emotion and which source file."""
    lines = sorted(f"{clip.id} {clip.emotion} {clip.sha256}\n" for clip in clips)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _blurred(faces: Image, sigma: float) -> Image:
    if sigma < 0.1:  # pixels; a narrower Gaussian has no weight outside its middle
        return faces
    return np.stack([np.asarray(cv2.GaussianBlur(face, (0, 0), sigma), np.uint8) for face in faces])


def recoloured(faces: Image, how: FaceAugmentation, rng: np.random.Generator) -> Image:
    """Return faces (N, S, S, 3) with other brightness, tint and contrast."""
    brightness, contrast = (1 + rng.uniform(-each, each) for each in (how.brightness, how.contrast))
    gains = brightness * (1 + rng.uniform(-how.tint, how.tint, 3))
    mean = faces.astype(np.float32).mean()
    levels = np.arange(256, dtype=np.float32)[:, None]
    changed = ((levels - mean) * np.float32(contrast) + mean) * gains.astype(np.float32)
    table = np.rint(changed.clip(0, 255)).astype(np.uint8)
    flat = np.ascontiguousarray(faces).reshape(-1, faces.shape[2], 3)
    return np.asarray(cv2.LUT(flat, table[None]), np.uint8).reshape(faces.shape)
