"""Training items of Audio2Facial-Dynamics: a source picture, and the audio windows, poses and
frames that follow it (EAMM, supplement A.2).

Sampling as in EAMM's release: of a clip of T' frames, frame r is the source and frames r + 1 ...
r + T are driving, 3 <= r <= T' - 6 - T. A clip too short for the margins is used whole.

Letters: T driving frames, K keypoints, S pixels of FOMM's pictures, h, w of a heatmap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from affekt.arrays import Image
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import channels_first
from affekt.runtime.config import ConfigError
from eamm.a2fd.layers import NormStats
from eamm.a2fd.teacher import CachedTargets
from eamm.augment import colour_jitter
from eamm.pose import release_pose

PROFILE = "eamm"  # of data_prep's frame profiles, FOMM's and EAMM's
BEFORE, AFTER = 3, 5  # frames that the release leaves out at the ends of a word's 29


@dataclass(frozen=True)
class A2fdDataConfig:
    """Which clips are trained on, and how an item is sampled from one."""

    emotion: str | None = NEUTRAL  # A2FD is trained on clips without emotion (Sec. 3.3); None: all
    frames: int = 16  # T, the release's
    # The source: the frame before the driving ones, as in the release's LRW stage, or a random one
    # of a random neutral clip of the speaker, as for MEAD (supplement A.2).
    source: Literal["before", "neutral"] = "before"
    jitter: float = 0.1  # strength of each colour change of the driving frames; not of the source
    # raw: degrees and crop units, the paper's; normalized (ours, to learn within minutes): by the
    # constants of `pose_stats`.
    pose: Literal["raw", "normalized"] = "raw"

    def __post_init__(self) -> None:
        if self.frames < 1 or self.jitter < 0:
            raise ValueError("frames must be 1 or more, jitter 0 or more")


class DrivenClips(Dataset[dict[str, Tensor]]):
    """Every clip is an item, with other frames at each index:

    source (3, S, S) uint8, windows (T, 28, 12) float32, pose (T, 6) float32 as eamm/pose.py gives
    it, and frames (T, 3, S, S) uint8 where they are wanted, and the cached targets' value (T, K,
    2), jacobian (T, K, 2, 2) and heatmap (T, K, h, w), float32, where there are any. Pictures
    become floats on the device (tensors.float_pictures).
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        config: A2fdDataConfig,
        size: int,
        seed: int = 0,
        targets: CachedTargets | None = None,
        pictures: bool = True,
    ) -> None:
        """Keep the clips that are long enough; they are read when asked for.

        Raises:
            ConfigError: no clip has T + 1 frames, or a speaker has no neutral clip to take a
                source from.
        """
        self.clips = [clip for clip in clips if clip.frames > config.frames]
        if not self.clips:
            raise ConfigError(f"none of the {len(clips)} clips has {config.frames + 1} frames")
        self.config, self.size, self.seed = config, size, seed
        self.targets, self.pictures = targets, pictures
        self.neutral = neutral_clips(clips, clips) if config.source == NEUTRAL else {}

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        clip = self.clips[index % len(self)]
        rng = np.random.default_rng((self.seed, index))
        first = source_frame(clip.frames, self.config.frames, rng)
        driving = slice(first + 1, first + 1 + self.config.frames)
        item = self._pictures(clip, first, rng)
        item["windows"] = torch.from_numpy(clip.windows()[driving].copy())
        item["pose"] = torch.from_numpy(release_pose(clip)[driving])
        if self.targets is not None:
            item |= self.targets.of(clip, driving)
        return item

    def _pictures(self, clip: Clip, first: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return the source, frame `first` or one of a neutral clip, and the frames after it."""
        stop = first + 1 + (self.config.frames if self.pictures else 0)
        if self.neutral:
            source = neutral_picture(self.neutral[clip.speaker], self.size, rng)
            driving = clip_frames(clip, first + 1, stop, self.size) if self.pictures else None
        else:
            read = clip_frames(clip, first, stop, self.size)  # decoded in one go
            source, driving = channels_first(read[0]), read[1:] if self.pictures else None
        if driving is None:
            return {"source": source}
        driving = colour_jitter(driving, (self.config.jitter,) * 4, rng)
        return {"source": source, "frames": channels_first(driving)}


def source_frame(frames: int, driving: int, rng: np.random.Generator) -> int:
    """Return r, the frame before the driving ones, of a clip of so many frames.

    For 29 frames and 16 driving ones r is 3 ... 7, as in the release's LRW stage.
    """
    last = frames - 1 - driving
    if last - AFTER >= BEFORE:
        return int(rng.integers(BEFORE, last - AFTER + 1))
    return int(rng.integers(0, last + 1))


def driven_clips(corpus: Corpus, split: str, emotion: str | None) -> list[Clip]:
    """Return the clips of a split and an emotion (None: all), sorted by id.

    Raises:
        ConfigError: the corpus stores another frame profile, or has no such clip.
        FileNotFoundError: it has no poses yet; the message names the command.
    """
    corpus.check_profile(PROFILE)
    found = corpus.clips(split=split, emotion=emotion)
    if not found:
        kind = "" if emotion is None else f" of emotion {emotion!r}"
        raise ConfigError(f"{corpus.root} has no {split!r} clip{kind}")
    found[0].pose()  # raises where there are none yet
    return found


def pose_stats(clips: Sequence[Clip]) -> NormStats:
    """Return the mean of the clips' poses, and the median over clips of their deviations.

    The median, since a few clips with much head motion would make that of the others small.

    Raises:
        ConfigError: one of the six never changes, so that nothing can be divided by it.
    """
    poses = [release_pose(clip).astype(float) for clip in clips]
    deviation = np.median([pose.std(axis=0) for pose in poses], axis=0)
    if not deviation.all():
        raise ConfigError(f"number {int(deviation.argmin())} of the poses never changes: raw poses")
    return NormStats(tuple(np.concatenate(poses).mean(axis=0).tolist()), tuple(deviation.tolist()))


def neutral_clips(candidates: Sequence[Clip], clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """Return the neutral ones among `candidates` of each speaker of `clips`.

    Raises:
        ConfigError: a speaker has none, so that there is no source picture for A2FD.
    """
    found: dict[str, list[Clip]] = {speaker: [] for speaker in sorted({c.speaker for c in clips})}
    for clip in candidates:
        if clip.emotion == NEUTRAL and clip.speaker in found:
            found[clip.speaker].append(clip)
    missing = [speaker for speaker, neutral in found.items() if not neutral]
    if missing:
        corpus = clips[0].folder.parents[2]
        raise ConfigError(
            f"{corpus} has no neutral clip of {', '.join(missing)} in split {clips[0].split!r}: "
            "A2FD takes the speaker's picture from one; add neutral clips, or leave the speaker out"
        )
    return found


def clip_frames(clip: Clip, start: int, stop: int, size: int) -> Image:
    """Return frames (stop - start, size, size, 3) RGB of a clip."""
    return resized(np.asarray(clip.store()[start:stop]), size)


def neutral_picture(neutral: Sequence[Clip], size: int, rng: np.random.Generator) -> Tensor:
    """Return a random frame of a random neutral clip, (3, S, S) uint8 (supplement A.2)."""
    clip = neutral[int(rng.integers(len(neutral)))]
    frame = int(rng.integers(clip.frames))
    return channels_first(clip_frames(clip, frame, frame + 1, size))[0]
