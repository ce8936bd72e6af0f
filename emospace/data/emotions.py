"""Training items of AME: the sound of a clip, a picture of it, and a wording of its emotion.

What an item is made of is ours, since the supplement prints none of it: a crop of log-mel, one
frame of a few, evenly spread over the clip, one prompt of the clip's label. The sound is changed as
other microphones and rooms would (equaliser jitter) and masked in time and frequency (SpecAugment,
arXiv:1904.08779), so that neither a voice's timbre nor one moment decides.

Letters: R mel rows of an item, M = 80 bins, K pictures of a clip, S pixels of a side, D numbers of
a frozen tower's feature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from affekt.arrays import Array, Image
from affekt.media.audio.mel import BINS, FLOOR, ROWS_PER_SECOND, mel_rows
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.validation import evenly_spread
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import channels_first
from affekt.runtime.config import ConfigError

# Intensity of MEAD's levels, the strength of an emotion of which 1 is the whole: ours; MEAD prints
# weak, medium, strong. The mini corpus is rendered with the same (data_prep/mini/voice/voices.py).
LEVEL_INTENSITY = {1: 0.45, 2: 0.75, 3: 1.0}
DECIBEL = np.log(10) / 20  # of an amplitude, in natural logarithms
POINTS = 6  # of the equaliser's curve, from the lowest bin to the highest
MOST_KEPT = 2**31  # bytes of mels kept in memory: 23 hours
STATS_FROM = 2000  # clips, at most
WITHOUT_LEVEL = 0  # key of prompts that are for every level


@dataclass(frozen=True)
class EmotionDataConfig:
    """What an item holds and how it is changed; all of it ours."""

    seconds: float = 2.0  # of the crop of a sound
    frames: int = 6  # K; pictures of a clip that items take one of
    # Prompts have an adverb of their clip's level before the word; else the adverb is taken out of
    # a text and becomes the intensity, and the space does without levels.
    adverbs: bool = False
    gain: float = 3.0  # dB, standard deviation of a sound's loudness
    equaliser: float = 3.0  # dB, standard deviation at each of the curve's points
    time_masks: int = 2
    time_mask: float = 0.2  # seconds, at most
    band_masks: int = 2
    band_mask: int = 8  # bins, at most
    brightness: float = 0.15  # strength of changes of brightness and contrast; of pixels alone
    shift: float = 0.06  # of a picture, as a share of its side, at most; of pixels alone
    flip: bool = True  # half of the pictures; of pixels alone
    leave_out: tuple[str, ...] = ()  # emotions that training never sees, neither clips nor prompts

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.frames < 1:
            raise ValueError("seconds must be above 0, frames 1 or more")


class EmotionClips(Dataset[dict[str, Tensor]]):
    """Every clip is an item, with other choices at each index:

    mel (R, 80) float32 and rows () int64, how many of them are sound: the rest is silence;
    image (3, S, S) uint8, or (D,) float32 where features are given; text, a row of `prompts`;
    label () int64, the emotion's index in the corpus's list; level () int64, of MEAD's.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        emotions: Sequence[str],
        prompts: Mapping[tuple[int, int], Tensor],
        config: EmotionDataConfig,
        seed: int,
        images: Tensor | int | None = 48,
    ) -> None:
        """Read the mels, where there are few enough of them.

        Args:
            clips: of training.
            emotions: the corpus's list.
            prompts: what the text tower takes, or its features, by label and level; level
                WITHOUT_LEVEL serves all.
            config: how an item is made.
            seed: of its choices.
            images: features (clips, K, D), or the pixels S of a side; None: items without pictures.

        Raises:
            FileNotFoundError: a clip has no mel.npy; the message names the command.
        """
        self.clips, self.config, self.seed = list(clips), config, seed
        self.labels = [list(emotions).index(clip.emotion) for clip in clips]
        self.prompts, self.images = prompts, images
        self.rows = max(1, round(config.seconds * ROWS_PER_SECOND))
        size = sum(mel_rows(clip.frames) for clip in clips) * BINS * np.float32().nbytes
        self.mels = [clip.mel() for clip in clips] if size <= MOST_KEPT else None

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        place = index % len(self)
        clip, label = self.clips[place], self.labels[place]
        rng = np.random.default_rng((self.seed, index))
        mel, rows = self._sound(clip.mel() if self.mels is None else self.mels[place], rng)
        prompts = self.prompts.get((label, clip.level))
        prompts = self.prompts[label, WITHOUT_LEVEL] if prompts is None else prompts
        image = {} if self.images is None else {"image": self._picture(place, self.images, rng)}
        return image | {
            "mel": torch.from_numpy(mel),
            "rows": torch.tensor(rows),
            "text": prompts[int(rng.integers(len(prompts)))],
            "label": torch.tensor(label),
            "level": torch.tensor(clip.level),
        }

    def stats(self) -> tuple[float, float]:
        """Return the mean and the deviation of the clips' mels, all bins together."""
        some = evenly_spread(self.clips, STATS_FROM)
        values = np.concatenate([clip.mel().reshape(-1) for clip in some])
        return float(values.mean()), float(values.std())

    def _sound(self, mel: Array, rng: np.random.Generator) -> tuple[Array, int]:
        """Return a crop (R, 80), changed and masked, and how many rows of it are sound."""
        config = self.config
        start = int(rng.integers(max(len(mel) - self.rows, 0) + 1))
        crop = mel[start : start + self.rows]
        crop = crop + DECIBEL * spectrum_jitter(config.gain, config.equaliser, rng)
        crop = np.maximum(crop, np.log(FLOOR)).astype(np.float32)
        for most, count, axis in (
            (round(config.time_mask * ROWS_PER_SECOND), config.time_masks, 0),
            (config.band_mask, config.band_masks, 1),
        ):
            for _ in range(count):
                crop = masked(crop, most, axis, rng)
        silence = np.full((self.rows - len(crop), BINS), np.log(FLOOR), np.float32)
        return np.concatenate([crop, silence]), len(crop)

    def _picture(self, place: int, images: Tensor | int, rng: np.random.Generator) -> Tensor:
        if isinstance(images, Tensor):
            features = images[place]
            return features[int(rng.integers(len(features)))]
        chosen = spread_frames(self.clips[place], self.config.frames)
        frame = int(rng.choice(chosen))
        picture = resized(np.asarray(self.clips[place].store()[frame : frame + 1]), images)[0]
        config = self.config
        changed = picture_jitter(picture, config.brightness, config.shift, rng)
        if config.flip and rng.random() < 0.5:
            changed = changed[:, ::-1]
        return channels_first(changed)


def spectrum_jitter(gain: float, equaliser: float, rng: np.random.Generator) -> Array:
    """Return what is added to every bin, (80,) in dB: a loudness and a smooth curve."""
    points = rng.normal(0, equaliser, POINTS) if equaliser else np.zeros(POINTS)
    curve = np.interp(np.linspace(0, POINTS - 1, BINS), np.arange(POINTS), points)
    return curve + (rng.normal(0, gain) if gain else 0.0)


def masked(mel: Array, most: int, axis: int, rng: np.random.Generator) -> Array:
    """Return a mel (R, 80) with up to `most` rows (axis 0) or bins (1) replaced by its mean."""
    length = int(rng.integers(min(most, mel.shape[axis] - 1) + 1))
    first = int(rng.integers(mel.shape[axis] - length + 1))
    chosen = np.zeros(mel.shape[axis], bool)
    chosen[first : first + length] = True
    return np.where(chosen[:, None] if axis == 0 else chosen, mel.mean(), mel)


def picture_jitter(
    picture: Image, brightness: float, shift: float, rng: np.random.Generator
) -> Image:
    """Return a picture (S, S, 3) in another light and shifted; its edge is repeated beyond it."""
    light, contrast = 1 + brightness * rng.uniform(-1, 1, 2)
    middle = picture.mean()
    changed = (picture * light - middle) * contrast + middle
    most = round(shift * len(picture))
    dy, dx = rng.integers(-most, most + 1, 2)
    rows, columns = (
        np.clip(np.arange(len(picture)) + step, 0, len(picture) - 1) for step in (dy, dx)
    )
    return changed[rows][:, columns].clip(0, 255).astype(np.uint8)


def spread_frames(clip: Clip, count: int) -> list[int]:
    """Return the frames in the middles of `count` equal parts of a clip; a short one repeats some.

    Those are the pictures that AME is trained on and measured with.
    """
    return ((np.arange(count) + 0.5) * clip.frames / count).astype(int).tolist()


def clip_pictures(clip: Clip, count: int) -> Image:
    """Return `count` frames (K, H, W, 3) of a clip, evenly spread, as the corpus stores them."""
    return np.asarray(clip.store().read(spread_frames(clip, count)), np.uint8)


def training_clips(corpus: Corpus, config: EmotionDataConfig) -> list[Clip]:
    """Return the clips that AME is trained on.

    Raises:
        ConfigError: there is none, or `leave_out` names no emotion of the corpus.
    """
    unknown = {*config.leave_out} - {*corpus.emotions}
    if unknown:
        raise ConfigError(
            f"data.leave_out names {min(unknown)!r}, which {corpus.root} does not have; it has "
            f"{', '.join(corpus.emotions)}"
        )
    clips = [clip for clip in corpus.clips("train") if clip.emotion not in config.leave_out]
    if not clips:
        raise ConfigError(f"{corpus.root} has no clip of split 'train' to learn emotions from")
    return clips


def intensity_of(clip: Clip) -> float:
    """Return the intensity of a clip: its level's; 1 of neutral, which has no levels."""
    return 1.0 if clip.emotion == NEUTRAL else LEVEL_INTENSITY[clip.level]
