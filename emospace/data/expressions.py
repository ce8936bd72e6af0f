"""Training items of EAC: windows of sound and expression, with an emotion code, an intensity and a
reference expression of the speaker (Xu et al. 2023; supplement Sec. 1.2).

Which sound, window and reference an item has is ours, since the supplement prints none of it. The
reference is a frame of ANOTHER, neutral clip of the speaker, so that no frame of the item enters
it; a single frame, as a portrait is in use. The code is drawn from text, picture and sound at
random, since any of them may be given in use.

Letters: T frames of a window, R mel rows around a frame, C numbers of an emotion code, E expression
modes, P pictures of a clip, F frames of a clip.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from affekt.arrays import Array
from affekt.media.audio.mel import BINS, mel_rows, mel_windows
from affekt.media.audio.mel import FLOOR as MEL_FLOOR
from affekt.media.corpus import Clip
from affekt.media.emotions import NEUTRAL
from affekt.runtime.config import ConfigError
from emospace.data.emotions import DECIBEL, intensity_of, spectrum_jitter
from emospace.data.motions import floored, refuse_outliers

log = logging.getLogger(__name__)

Modality = Literal["text", "image", "audio"]

MOST_KEPT = 2**31  # bytes of log-mels kept in memory: 23 hours
NAMED = 5  # clips in a message


@dataclass(frozen=True)
class ExpressionDataConfig:
    """What an item is; all of it ours."""

    window: int = 25  # frames, 1 second
    overlap: int = 8  # frames that two windows of a longer clip share at inference
    codes_from: tuple[Modality, ...] = ("text", "image", "audio")  # one of them an item, at random
    # Picture and sound codes of any training clip of the item's emotion, so that they tell the
    # emotion and the intensity token its strength; or of the item's own clip.
    codes_of: Literal["emotion", "own"] = "emotion"
    pictures: int = 4  # P, frames of a clip whose codes are drawn from
    # Share of items without a code. The network then has a prediction without emotion, too, from
    # which `guidance` leads away at inference.
    code_dropout: float = 0.1
    # Share of items whose code and intensity are of another emotion, and whose expression is moved
    # by the difference of the two emotions' mean displacements (`displacements`): where the sound
    # tells the emotion, too, nothing else teaches the network to follow the code against it.
    swapped: float = 0.0
    # Every item's sound in another loudness and through another equaliser, standard deviations in
    # dB: timbre tells the emotion too, and what the sound tells needs no code. 0: as it is.
    gain: float = 0.0
    equaliser: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.window:
            raise ValueError(
                f"window is {self.window} and overlap {self.overlap}, wanted a window of 1 frame "
                "or more and an overlap below it"
            )
        if min(self.gain, self.equaliser) < 0:
            raise ValueError(
                f"gain is {self.gain} and equaliser {self.equaliser}, wanted 0 dB or more"
            )
        if not self.codes_from or self.pictures < 1:
            raise ValueError(
                f"codes_from is {self.codes_from} and pictures {self.pictures}, wanted a modality "
                "and a picture at least"
            )
        if not 0 <= self.code_dropout < 1 or not 0 <= self.swapped <= 1:
            raise ValueError(
                f"code_dropout is {self.code_dropout} and swapped {self.swapped}, wanted shares: 0 "
                "to below 1, and 0 to 1"
            )


class EmotionCodes(NamedTuple):
    """Codes of a frozen emotion space that items are drawn from."""

    text: dict[str, Array]  # of an emotion's prompts, (prompts, C)
    image: Array  # of each clip's pictures, (clips, P, C)
    audio: Array  # of each clip's sound, (clips, C)


class Stats(NamedTuple):
    """Mean and deviation, of every number by itself."""

    mean: Array
    std: Array


class ExpressionWindows(Dataset[dict[str, Tensor]]):
    """Every clip whose speaker has another neutral clip is an item, with other choices each time:

    mel (T, R, 80), expression (T, E) and reference (E,) in the face model's units, code (C,),
    intensity (), float32 all; known (), bool: whether the code is to be used. A clip shorter than a
    window holds its last frame.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        codes: EmotionCodes,
        config: ExpressionDataConfig,
        rows: int,
        seed: int,
    ) -> None:
        """Read the expressions and, where there are few enough of them, the log-mels.

        Args:
            clips: of training.
            codes: of the emotions, and of these clips in this order.
            config: how an item is made.
            rows: R.
            seed: of the choices.

        Raises:
            FileNotFoundError: a clip has no expression.npy or mel.npy.
            ConfigError: a speaker has no neutral clip to take a reference from.
        """
        self.clips, self.codes, self.config, self.rows = list(clips), codes, config, rows
        self.seed = seed
        self.expressions = [clip.expression() for clip in clips]
        size = sum(mel_rows(clip.frames) for clip in clips) * BINS * np.float32().nbytes
        self.mels = [clip.mel() for clip in clips] if size <= MOST_KEPT else None
        self.by_emotion: dict[str, list[int]] = defaultdict(list)
        for place, clip in enumerate(clips):
            self.by_emotion[clip.emotion].append(place)
        self.references = reference_clips(clips)
        self.displacements = displacements(clips, self.expressions) if config.swapped else {}
        self.items = [place for place, others in enumerate(self.references) if others]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        place = self.items[index % len(self)]
        clip, rng = self.clips[place], np.random.default_rng((self.seed, index))
        T = self.config.window
        start = int(rng.integers(max(clip.frames - T, 0) + 1))
        chosen = np.minimum(np.arange(start, start + T), clip.frames - 1)
        mel = clip.mel() if self.mels is None else self.mels[place]
        # The clip that shows the item's emotion: as a rule the item's own
        swapped = bool(rng.random() < self.config.swapped)
        shown = self._of_another_emotion(place, rng) if swapped else place
        arrays = {
            "mel": self._heard(mel_windows(mel, self.rows)[chosen], rng),
            "expression": self.expressions[place][chosen] + self._moved(place, shown),
            "reference": self._reference(place, rng),
            "code": self._code(shown, rng),
        }
        return {name: torch.from_numpy(np.array(a, np.float32)) for name, a in arrays.items()} | {
            "intensity": torch.tensor(intensity_of(self.clips[shown]), dtype=torch.float32),
            "known": torch.tensor(swapped or bool(rng.random() >= self.config.code_dropout)),
        }

    def stats(self) -> tuple[Stats, Stats]:
        """Return the statistics of log-mel bins (80,) and of coefficients (E,), over all frames."""
        sounds = (clip.mel() for clip in self.clips) if self.mels is None else self.mels
        moments = [(len(mel), mel.mean(axis=0), np.square(mel).mean(axis=0)) for mel in sounds]
        counts, means, squares = (np.array(each, float) for each in zip(*moments, strict=True))
        mean, square = (np.average(each, axis=0, weights=counts) for each in (means, squares))
        std = floored(np.sqrt(np.maximum(square - mean**2, 0)))
        return Stats(mean, std), expression_stats(self.clips, self.expressions)

    def _heard(self, mel_TRM: Array, rng: np.random.Generator) -> Array:
        """Return a sound as the config wants it changed."""
        if not self.config.gain and not self.config.equaliser:
            return mel_TRM
        change_M = DECIBEL * spectrum_jitter(self.config.gain, self.config.equaliser, rng)
        return np.maximum(mel_TRM + change_M, np.log(MEL_FLOOR))

    def _reference(self, place: int, rng: np.random.Generator) -> Array:
        """Return a frame of another neutral clip of the speaker, (E,)."""
        expression = self.expressions[int(rng.choice(self.references[place]))]
        return expression[int(rng.integers(len(expression)))]

    def _of_another_emotion(self, place: int, rng: np.random.Generator) -> int:
        """Return the place of a clip of another emotion, each emotion as likely as any other."""
        others = sorted(self.by_emotion.keys() - {self.clips[place].emotion})
        if not others:
            return place
        return int(rng.choice(self.by_emotion[others[int(rng.integers(len(others)))]]))

    def _moved(self, place: int, shown: int) -> Array | float:
        """Return how far a clip's expression is moved to show another one's emotion, (E,)."""
        if shown == place:
            return 0.0
        own, other = self.clips[place], self.clips[shown]
        return (
            intensity_of(other) * self.displacements[other.emotion]
            - intensity_of(own) * self.displacements[own.emotion]
        )

    def _code(self, place: int, rng: np.random.Generator) -> Array:
        """Return a code (C,) of the clip's emotion, from text, picture or sound."""
        emotion, kinds = self.clips[place].emotion, self.config.codes_from
        kind = kinds[int(rng.integers(len(kinds)))]
        source = place
        if self.config.codes_of == "emotion":
            source = int(rng.choice(self.by_emotion[emotion]))
        if kind == "audio":
            return self.codes.audio[source]
        codes = self.codes.text[emotion] if kind == "text" else self.codes.image[source]
        return codes[int(rng.integers(len(codes)))]


def reference_clips(clips: Sequence[Clip]) -> list[list[int]]:
    """Return the places of the neutral clips of each clip's speaker, but for the clip itself.

    Raises:
        ConfigError: a speaker has no neutral clip, or no clip has another one beside it.
    """
    neutral: dict[str, list[int]] = defaultdict(list)
    for place, clip in enumerate(clips):
        if clip.emotion == NEUTRAL:
            neutral[clip.speaker].append(place)
    without = sorted({clip.speaker for clip in clips} - neutral.keys())
    if without:
        raise ConfigError(
            f"no neutral clip of {', '.join(without[:NAMED])}: EAC takes a speaker's reference "
            "expression from one; prepare some, or leave those speakers out"
        )
    found = [
        [each for each in neutral[clip.speaker] if each != place]
        for place, clip in enumerate(clips)
    ]
    alone = [clip.id for clip, others in zip(clips, found, strict=True) if not others]
    if len(alone) == len(clips):
        raise ConfigError(
            f"none of the {len(clips)} clips has a neutral clip of its speaker beside it, which "
            "EAC takes the reference expression from; prepare more neutral clips"
        )
    if alone:
        log.warning(
            "%d neutral clips are references alone, since their speakers have no other: %s",
            len(alone),
            ", ".join(alone[:NAMED]),
        )
    return found


def displacements(clips: Sequence[Clip], expressions: Sequence[Array]) -> dict[str, Array]:
    """Return how an emotion at intensity 1 moves a face on average from neutral, (E,) each. Ours.

    Over the clips of an emotion, with intensity s, mean expression x and the mean n of the
    speaker's neutral clips, the d that makes the sum of |x - n - s d|^2 least; 0 of neutral.
    """
    neutral: dict[str, list[Array]] = defaultdict(list)
    for clip, expression in zip(clips, expressions, strict=True):
        if clip.emotion == NEUTRAL:
            neutral[clip.speaker].append(expression)
    rest = {speaker: np.concatenate(own).mean(axis=0) for speaker, own in neutral.items()}
    sums: dict[str, Array] = defaultdict(lambda: np.zeros(expressions[0].shape[1]))
    squares: dict[str, float] = defaultdict(float)
    for clip, expression in zip(clips, expressions, strict=True):
        intensity = intensity_of(clip)
        sums[clip.emotion] += intensity * (expression.mean(axis=0) - rest[clip.speaker])
        squares[clip.emotion] += intensity**2
    found = {emotion: total / squares[emotion] for emotion, total in sums.items()}
    return found | {NEUTRAL: np.zeros(expressions[0].shape[1])}


def expression_stats(clips: Sequence[Clip], expressions: Sequence[Array]) -> Stats:
    """Return mean and floored deviation of coefficients (E,) over all frames of the clips.

    Raises:
        ConfigError: see `refuse_outliers`.
    """
    frames = np.concatenate(expressions).astype(float)
    stats = Stats(frames.mean(axis=0), floored(frames.std(axis=0)))
    refuse_outliers(clips, [(each - stats.mean) / stats.std for each in expressions])
    return stats
