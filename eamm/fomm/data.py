"""FOMM's training items: pairs of frames of one person, source and driving, from prepared corpora
(arXiv:2003.00196, Sec. 3.3; sampling and augmentation of its release).

Letters: N frames, H, W pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from affekt.arrays import Image
from affekt.media.corpus import Clip, Corpus
from affekt.media.faces.crop import Profile
from affekt.media.faces.points import COUNT, FLIP
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import channels_first
from affekt.runtime.config import ConfigError

Points = NDArray[np.float32]

NO_CHANGE = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
MIRROR = np.array([-1, 1], np.float32)


@dataclass(frozen=True)
class JitterConfig:
    """How far colours change at most; the defaults are the FOMM release's."""

    brightness: float = 0.1  # factors 1 - x ... 1 + x
    contrast: float = 0.1
    saturation: float = 0.1
    hue: float = 0.1  # turns of the colour circle, -x ... x


@dataclass(frozen=True)
class FrameDataConfig:
    """Which pairs are trained on."""

    corpora: tuple[Path, ...]  # prepared corpora, all of the same profile
    # FOMM can be trained on either; EAMM's portraits are cut as `eamm`.
    profile: Profile = "eamm"
    sampling: Literal["identity", "clip"] = "identity"  # what an epoch goes through
    repeats: int = 75  # pairs an identity (or clip) and epoch; the release's num_repeats
    # Share of pairs whose frames come from two clips of the identity. Ours: in one clip a speaker
    # keeps one emotion, so that brows and lids hardly move; between clips everything does.
    across_clips: float = 0.0
    flips: bool = True  # time p .5, else left and right p .5
    # Groups of iBUG landmarks, one a keypoint, whose means supervise it (losses.landmark_distance).
    landmarks: tuple[tuple[int, ...], ...] = ()
    jitter: JitterConfig = field(default_factory=JitterConfig)

    def __post_init__(self) -> None:
        if not self.corpora:
            raise ValueError("corpora is empty")
        if self.repeats < 1:
            raise ValueError(f"repeats is {self.repeats}, wanted at least 1")
        if any(not 0 <= point < COUNT for group in self.landmarks for point in group):
            raise ValueError(f"landmarks has numbers outside 0 to {COUNT - 1}")
        if not 0 <= self.across_clips <= 1:
            raise ValueError(f"across_clips is {self.across_clips}, wanted 0 to 1")


class FramePairs(Dataset[dict[str, Tensor]]):
    """Pairs `source` and `driving`, uint8 RGB (3, size, size); see tensors.float_pictures.

    With landmark supervision also `source_landmarks` and `driving_landmarks`, (K, 2), x and y in
    [-1, 1]. Within a clip the source is the earlier frame until time is flipped. Every choice is
    chosen by (seed, index).
    """

    def __init__(self, data: FrameDataConfig, size: int, seed: int, split: str = "train") -> None:
        """Take the clips of the split; they are opened and read when asked for.

        Raises:
            ConfigError: a corpus of another profile, or no clip with two frames in the split.
        """
        self.data, self.size, self.seed = data, size, seed
        clips = [clip for clip in find_clips(data, split) if clip.frames >= 2]
        if not clips:
            roots = ", ".join(map(str, data.corpora))
            raise ConfigError(f"{roots} has no {split!r} clip of two frames or more")
        self.groups = grouped(clips, data.sampling)

    def __len__(self) -> int:
        return self.data.repeats * len(self.groups)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        places = self._places(self.groups[index % len(self.groups)], rng)
        flip_time, flip_sides = (rng.random(2) < 0.5) & self.data.flips
        flip_sides = flip_sides and not flip_time
        if flip_time:
            places.reverse()
        read = [clip.store().read([place]) for clip, place in places]
        frames = np.concatenate([resized(frame, self.size) for frame in read])
        if flip_sides:
            frames = np.ascontiguousarray(frames[:, :, ::-1])
        source, driving = channels_first(jittered(frames, sample_jitter(self.data.jitter, rng)))
        item = {"source": source, "driving": driving}
        if self.data.landmarks:
            names = "source", "driving"
            for name, (clip, place), stored in zip(names, places, read, strict=True):
                landmarks = self._landmarks(clip, place, stored.shape[2], bool(flip_sides))
                item[f"{name}_landmarks"] = group_means(landmarks, self.data.landmarks)
        return item

    def _places(self, group: Sequence[Clip], rng: np.random.Generator) -> list[tuple[Clip, int]]:
        """Return two clips and the number of a frame of each."""
        if len(group) > 1 and rng.random() < self.data.across_clips:
            chosen = [group[i] for i in rng.choice(len(group), 2, replace=False)]
            return [(clip, int(rng.integers(clip.frames))) for clip in chosen]
        clip = group[rng.integers(len(group))]
        early, late = sorted(rng.choice(clip.frames, 2, replace=False).tolist())
        return [(clip, early), (clip, late)]

    def _landmarks(self, clip: Clip, place: int, width: int, mirrored: bool) -> Points:
        """Return the landmarks of a frame `width` pixels wide, (68, 2) in [-1, 1], both ends on
        pixel centres.
        """
        stored = clip.stored_landmarks()[place].astype(np.float32)
        pixels = (stored + 0.5) * (self.size / width) - 0.5
        points: Points = pixels * (2 / (self.size - 1)) - 1
        return points[list(FLIP)] * MIRROR if mirrored else points


def group_means(landmarks: Points, groups: Sequence[Sequence[int]]) -> Tensor:
    """Return the mean landmark of each group, (K, 2), of landmarks (68, 2)."""
    means = [landmarks[list(group)].mean(axis=0) for group in groups]
    return torch.from_numpy(np.stack(means).astype(np.float32))


def find_clips(data: FrameDataConfig, split: str) -> list[Clip]:
    """Return the clips of a split in all corpora, by corpus and id.

    Raises:
        ConfigError: a corpus stores another frame profile.
    """
    corpora = [Corpus(root) for root in data.corpora]
    for corpus in corpora:
        corpus.check_profile(data.profile)
    return [clip for corpus in corpora for clip in corpus.clips(split=split)]


def grouped(clips: Sequence[Clip], by: Literal["identity", "clip"]) -> list[list[Clip]]:
    """Return the clips of each identity (a speaker of a corpus), or each clip alone."""
    groups: dict[Path, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.folder.parent if by == "identity" else clip.folder, []).append(clip)
    return list(groups.values())


def sample_jitter(config: JitterConfig, rng: np.random.Generator) -> list[tuple[str, float]]:
    """Return the operations in a random order, each with its random factor."""
    strengths = asdict(config)
    ranges = {name: (max(0.0, 1 - most), 1 + most) for name, most in strengths.items()}
    ranges["hue"] = (-config.hue, config.hue)
    values = [(name, rng.uniform(*limits)) for name, limits in ranges.items()]
    return [values[i] for i in rng.permutation(len(values))]


def jittered(frames: Image, operations: Sequence[tuple[str, float]]) -> Image:
    """Return frames (N, H, W, 3) uint8 with these operations done to all, each through 8 bits.

    As Pillow's ImageEnhance does them, to two grey levels, and torchvision's adjust_hue, to one on
    average: its hue has 8 bits too, but is rounded differently.
    """
    operations = [each for each in operations if each[1] != NO_CHANGE[each[0]]]
    if not operations:
        return frames
    out = np.empty_like(frames)
    for n, frame in enumerate(frames):
        for name, factor in operations:
            frame = OPERATIONS[name](frame, factor)
        out[n] = frame
    return out


def _brightness(frame: Image, factor: float) -> Image:
    return _away_from(frame, 0.0, factor)


def _contrast(frame: Image, factor: float) -> Image:
    grey = cv2.mean(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))[0]
    return _away_from(frame, float(np.floor(grey + 0.5)), factor)


def _away_from(frame: Image, level: float, factor: float) -> Image:
    """Return level + factor (frame - level)."""
    table = np.clip(level + factor * (np.arange(256) - level), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(frame, table), np.uint8)


def _saturation(frame: Image, factor: float) -> Image:
    grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(frame, factor, grey, 1 - factor, 0), np.uint8)


def _hue(frame: Image, turns: float) -> Image:
    hsv = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2HSV_FULL), np.uint8)
    hsv[..., 0] += np.uint8(int(turns * 255) % 256)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.uint8)


Operation = Callable[[Image, float], Image]
OPERATIONS: dict[str, Operation] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "hue": _hue,
}
