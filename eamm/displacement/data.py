"""Training items of the emotion displacement: emotional clips, the detector's keypoints of their
frames, and A2FD's from their audio, pose and a neutral picture of the speaker (supplement A.2).

Letters: F consecutive frames of an item, T frames of a clip, K keypoints, S pixels of a side.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from affekt.arrays import Image
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.video.tensors import channels_first, unit_range
from affekt.nets.fingerprint import fingerprint
from affekt.runtime.config import ConfigError
from affekt.runtime.weights.tensor_files import load_tensors, save_tensors
from eamm.a2fd.data import PROFILE, clip_frames, neutral_clips, neutral_picture
from eamm.a2fd.network import A2fd
from eamm.a2fd.teacher import teacher_keypoints
from eamm.augment import AugmentConfig, augment
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm
from eamm.pose import release_pose


@dataclass(frozen=True)
class DisplacementDataConfig:
    """Which clips are trained on, and what an item is."""

    frames: int = 16  # F; the release's
    # Only a run of so many frames of each clip is used, somewhere in it; None: whole clips. Ours:
    # an emotion is held through a clip, and fewer frames cost less to find keypoints in.
    longest: int | None = None
    neutral_clips: bool = False  # whether neutral clips are emotion sources too
    # Share of the items whose emotion frames come from another speaker's clip of the same emotion,
    # so that the feature holds nothing of who shows it. Ours; the release has none.
    other_speaker: float = 0.0
    # Compute every clip's keypoints before the first step, from so many neutral pictures a clip,
    # instead of at every step from a new picture. 0: at every step, as the release does.
    cached_pictures: int = 0

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"frames is {self.frames}, wanted 1 at least")
        if self.longest is not None and self.longest < self.frames:
            raise ValueError(f"longest is {self.longest}, an item has {self.frames} frames")
        if not 0 <= self.other_speaker <= 1:
            raise ValueError(f"other_speaker is {self.other_speaker}, wanted a share from 0 to 1")


class ClipKeypoints(NamedTuple):
    """Keypoints of a clip by the frozen networks."""

    teacher: Keypoints  # (N, K), of the N frames that are used, as they are
    neutral: Keypoints  # (P, N, K), A2FD's from P neutral pictures


class EmotionClips(Dataset[dict[str, Tensor]]):
    """An item is a random run of F frames of a clip, pictures uint8, all else but labels float32:

    emotion (F, 3, S, S), augmented; label (), int64, and either the keypoints
        teacher_value (F, K, 2), teacher_jacobian (F, K, 2, 2), neutral_value, neutral_jacobian
    or what the frozen networks compute them from:
        driving (F, 3, S, S) as they are, identity (3, S, S), windows (F, 28, 12), pose (F, 6).

    Pictures become floats on the device (tensors.float_pictures).
    """

    def __init__(
        self,
        corpus: Corpus,
        config: DisplacementDataConfig,
        augmentation: AugmentConfig,
        size: int,
        seed: int = 0,
        cache: dict[str, ClipKeypoints] | None = None,
    ) -> None:
        """Take the corpus's training clips.

        Raises:
            ConfigError: another frame profile, no emotional clip, a speaker without a neutral one,
                or no clip of F frames.
        """
        # Emotional clips long enough, and the same speakers' neutral ones
        clips = emotional_clips(corpus, "train", config.neutral_clips)
        self.clips = [clip for clip in clips if clip.frames >= config.frames]
        if not self.clips:
            raise ConfigError(f"none of the {len(clips)} clips has {config.frames} frames")
        self.neutral = neutral_clips(corpus.clips("train"), self.clips)
        self.by_emotion = {
            emotion: [clip for clip in self.clips if clip.emotion == emotion]
            for emotion in {clip.emotion for clip in self.clips}
        }
        # Where in them a speaker's own stand, in rising order
        self.own_places: dict[tuple[str, str], list[int]] = defaultdict(list)
        for emotion, alike in self.by_emotion.items():
            for place, clip in enumerate(alike):
                self.own_places[emotion, clip.speaker].append(place)
        self.config, self.augmentation = config, augmentation
        self.size, self.seed, self.cache = size, seed, cache
        # The part of each clip that items come from, fixed by the seed
        self.spans = [_span(clip, config.longest, (seed, n)) for n, clip in enumerate(self.clips)]
        self.labels = {emotion: label for label, emotion in enumerate(corpus.emotions)}

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        clip, F = self.clips[index % len(self)], self.config.frames
        span = self.spans[index % len(self)]
        start = span.start + int(rng.integers(len(span) - F + 1))
        driving = clip_frames(clip, start, start + F, self.size)
        shown = self._shown(clip, driving, rng)
        item = {
            "emotion": channels_first(augment(shown, self.augmentation, rng)),
            "label": torch.tensor(self.labels[clip.emotion]),
        }
        if self.cache is not None:
            return item | _cut(self.cache[clip.id], start - span.start, F, rng)
        windows, pose = clip_motion(clip)
        picture = neutral_picture(self.neutral[clip.speaker], self.size, rng)
        return item | {
            "driving": channels_first(driving),
            "identity": picture,
            "windows": windows[start : start + F],
            "pose": pose[start : start + F],
        }

    def _shown(self, clip: Clip, driving: Image, rng: np.random.Generator) -> Image:
        """Return the frames that show the emotion: the clip's own, or another speaker's."""
        if rng.random() >= self.config.other_speaker:
            return driving
        alike = self.by_emotion[clip.emotion]
        own_places = self.own_places[clip.emotion, clip.speaker]
        if len(alike) == len(own_places):
            return driving
        place = int(rng.integers(len(alike) - len(own_places)))
        for own in own_places:  # passed over
            place += own <= place
        other = alike[place]
        start = int(rng.integers(other.frames - len(driving) + 1))
        return clip_frames(other, start, start + len(driving), self.size)


def emotional_clips(corpus: Corpus, split: str, neutral_too: bool = False) -> list[Clip]:
    """Return a split's clips that show an emotion.

    Raises:
        ConfigError: the corpus stores another frame profile, or there is none.
    """
    corpus.check_profile(PROFILE)
    clips = [each for each in corpus.clips(split) if neutral_too or each.emotion != NEUTRAL]
    if not any(clip.emotion != NEUTRAL for clip in clips):
        raise ConfigError(f"{corpus.root} has no emotional clip in split {split!r}")
    return clips


def clip_motion(clip: Clip) -> tuple[Tensor, Tensor]:
    """Return what drives A2FD: audio windows (T, 28, 12) and poses (T, 6), the release's."""
    windows = torch.from_numpy(np.array(clip.windows(), np.float32))
    return windows, torch.from_numpy(np.asarray(release_pose(clip), np.float32))


@torch.no_grad()
def neutral_keypoints(a2fd: A2fd, clip: Clip, pictures_PCHW: Tensor, span: range) -> Keypoints:
    """Return A2FD's keypoints (P, N, K) of some frames' audio and pose, from each picture."""
    device, P = next(a2fd.parameters()).device, len(pictures_PCHW)
    motion = (each[span.start : span.stop] for each in clip_motion(clip))
    windows, pose = (each.expand(P, *each.shape).to(device) for each in motion)
    keypoints, _ = a2fd(pictures_PCHW.to(device), windows, pose)
    return Keypoints(*(each.cpu() for each in keypoints))


def clip_keypoints(
    fomm: Fomm, a2fd: A2fd, clip: Clip, pictures_PCHW: Tensor, span: range
) -> ClipKeypoints:
    """Return the frozen networks' keypoints of a clip's frames `span`.

    Args:
        fomm, a2fd: in evaluation mode.
        clip: whose frames, audio and pose.
        pictures_PCHW: of the clip's speaker, neutral, (P, 3, S, S).
        span: consecutive frames.
    """
    found, _ = teacher_keypoints(fomm, np.asarray(clip.store()[span.start : span.stop]))
    teacher = Keypoints(*(each.cpu() for each in found))
    return ClipKeypoints(teacher, neutral_keypoints(a2fd, clip, pictures_PCHW, span))


def cached_keypoints(
    folder: Path, clips: EmotionClips, fomm: Fomm, a2fd: A2fd
) -> dict[str, ClipKeypoints]:
    """Return the keypoints of all training clips by clip id, from `folder` or computed into it.

    The file is named after the weights of both networks: others are never read for them.

    Each clip has `cached_pictures` neutral pictures of its own, chosen by the seed and the clip.
    """
    folder.mkdir(exist_ok=True)
    # The name holds both networks' fingerprints
    file = folder / f"{fingerprint(fomm.detector)}_{fingerprint(a2fd)}.safetensors"
    # Compute the keypoints of every clip once
    if not file.is_file():
        flat: dict[str, Tensor] = {}
        for number, clip in enumerate(tqdm(clips.clips, "keypoints", unit="clip", disable=None)):
            rng = np.random.default_rng((clips.seed, number))
            neutral, P = clips.neutral[clip.speaker], clips.config.cached_pictures
            pictures = torch.stack([neutral_picture(neutral, clips.size, rng) for _ in range(P)])
            span = clips.spans[number]
            found = clip_keypoints(fomm, a2fd, clip, unit_range(pictures), span)
            flat |= {f"{clip.id}/{name}": each for name, each in _named(found)}
        save_tensors(file, flat)
    # Read them back by clip and name
    flat, _ = load_tensors(file)
    return {
        clip.id: ClipKeypoints(
            *(
                Keypoints(*(flat[f"{clip.id}/{who}_{what}"] for what in Keypoints._fields))
                for who in ClipKeypoints._fields
            )
        )
        for clip in clips.clips
    }


def _span(clip: Clip, longest: int | None, seed: tuple[int, int]) -> range:
    """Return the frames of a clip that are used, a run from a place that the seed decides."""
    count = clip.frames if longest is None else min(longest, clip.frames)
    start = int(np.random.default_rng(seed).integers(clip.frames - count + 1))
    return range(start, start + count)


def _named(found: ClipKeypoints) -> Iterator[tuple[str, Tensor]]:
    for who, keypoints in zip(ClipKeypoints._fields, found, strict=True):
        for what, numbers in zip(Keypoints._fields, keypoints, strict=True):
            yield f"{who}_{what}", numbers


def _cut(
    found: ClipKeypoints, start: int, frames: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Return the keypoints of some frames, A2FD's from one of the pictures."""
    picture = int(rng.integers(len(found.neutral.value)))
    neutral = Keypoints(*(each[picture] for each in found.neutral))
    chosen = ClipKeypoints(found.teacher, neutral)
    return {name: each[start : start + frames] for name, each in _named(chosen)}
