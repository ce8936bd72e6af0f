"""Datasets of EVP's landmark stages, read from a prepared corpus.

Every dataset takes any draw number: the item is draw % length, and random choices come from
(seed, draw), so that a continued run sees what an unstopped one would have seen. Arrays are read
once and kept: 0.2 kB of MFCC and 0.5 kB of landmarks a frame.

Letters: T frames of a clip, S frames of a sequence, L = 136 landmark coordinates.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from affekt.arrays import Array
from affekt.media.audio.mfcc import CEPSTRA, WINDOW_ROWS, WINDOW_STEP
from affekt.media.corpus import Clip, Corpus
from affekt.media.faces.geometry import View
from affekt.runtime.config import ConfigError
from affekt.runtime.files import load_npy, read_jsonl
from evp.landmark_space import LandmarkSpace, flatten
from evp.networks.disentangle import SchemeName

EmotionFrom = Literal["window", "clip", "other_clip"]
Timing = Literal["reference", "own"]
PAIRS = "run python -m data_prep.pairs"
TILTED = 1  # tells the tilt's random numbers from those that choose the windows


@dataclass(frozen=True)
class Augmentation:
    """Changes of a training window that keep its emotion; 0 leaves it as it is. Ours."""

    shift: int = 0  # later by up to so many MFCC rows of 10 ms; 3 reaches the next window
    noise: float = 0.0  # deviation of noise on every number; c1 of speech deviates by about 15
    tilt: float = 0.0  # deviation of an offset of each cepstrum: another room or microphone
    masked_rows: int = 0  # up to so many consecutive rows become the window's mean row

    def __post_init__(self) -> None:
        if not 0 <= self.shift < WINDOW_STEP:
            raise ValueError(f"shift is {self.shift}, wanted 0 to {WINDOW_STEP - 1} rows")
        if not 0 <= self.masked_rows < WINDOW_ROWS:
            raise ValueError(f"masked_rows is {self.masked_rows}, wanted 0 to {WINDOW_ROWS - 1}")


class EmotionWindows(Dataset[dict[str, Tensor]]):
    """One window and its label: every window of every clip of a split once an epoch.

    window (28, 12) float32 and emotion () int64, the index in the corpus's list of emotions.
    """

    def __init__(
        self, corpus: Corpus, split: str, seed: int, augmentation: Augmentation | None = None
    ) -> None:
        clips = clips_of(corpus, split)
        self.windows = [every_row(clip.mfcc()) for clip in clips]
        self.labels = labels_of(clips, corpus)
        self.places = [(i, k) for i, clip in enumerate(clips) for k in range(clip.frames)]
        self.seed, self.augmentation = seed, augmentation or Augmentation()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        clip, frame = self.places[draw % len(self)]
        rng = np.random.default_rng((self.seed, draw))
        row = WINDOW_STEP * frame + int(rng.integers(self.augmentation.shift + 1))
        window = augment(_at(self.windows[clip], row), self.augmentation, rng)
        return {"window": torch.from_numpy(window), "emotion": torch.tensor(self.labels[clip])}


class Squares(Dataset[dict[str, Tensor]]):
    """Four windows of one speaker, two contents by two emotions, from aligned sentences.

    windows (4, 28, 12) float32 and emotions (4,) int64, in the order of the scheme's corners. The
    item is the first corner: every window of every aligned sentence once an epoch. Another emotion
    of the same sentence gives the second content's emotion; the other contents are windows of
    other sentences of the speaker, where there are any.

    Timing "reference" (the paper's) cuts windows from MFCC warped to the reference emotion's
    length. "own" (ours) cuts them from the clips as they were spoken, around the row that the warp
    takes there: so the encoders see every emotion at its own rate and without repeated or skipped
    rows, as they will after training.
    """

    def __init__(
        self,
        corpus: Corpus,
        split: str,
        scheme: SchemeName,
        seed: int,
        shift: int = 0,
        timing: Timing = "reference",
    ) -> None:
        self.sentences = read_sentences(corpus, split, timing)
        self.scheme, self.seed, self.shift = scheme, seed, shift
        self.places = [
            (s, emotion, take, frame)
            for s, sentence in enumerate(self.sentences)
            for emotion, takes in sentence.takes.items()
            for take in range(len(takes))
            for frame in range(sentence.frames)
        ]
        self.of_speaker: dict[str, list[int]] = defaultdict(list)
        for s, sentence in enumerate(self.sentences):
            self.of_speaker[sentence.speaker].append(s)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        first, m, take, frame = self.places[draw % len(self)]
        rng = np.random.default_rng((self.seed, draw))
        row = WINDOW_STEP * frame + int(rng.integers(self.shift + 1))
        n = int(rng.choice([emotion for emotion in self.sentences[first].takes if emotion != m]))
        window_im = self.sentences[first].takes[m][take].at(row)
        window_in = self._window(first, n, row, rng)
        if self.scheme == "release":
            emotions = (m, m, n, n)
            second, third = (self._other(first, (emotion,), rng) for emotion in (m, n))
            rows = [self._row(sentence, rng) for sentence in (second, third)]
            window_2 = self._window(second, m, rows[0], rng)
            window_3 = self._window(third, n, rows[1], rng)
            corners = [window_im, window_2, window_3, window_in]
        else:
            emotions = (m, n, m, n)
            other = self._other(first, (m, n), rng)
            row_j = self._row(other, rng)
            window_jn, window_jm = (self._window(other, e, row_j, rng) for e in (n, m))
            corners = [window_im, window_jn, window_jm, window_in]
        return {
            "windows": torch.from_numpy(np.stack(corners)),
            "emotions": torch.tensor(emotions),
        }

    def _other(self, first: int, emotions: tuple[int, ...], rng: np.random.Generator) -> int:
        """Draw another sentence of the speaker that was said in all these emotions."""
        speaker = self.sentences[first].speaker
        fitting = [
            s
            for s in self.of_speaker[speaker]
            if s != first and all(emotion in self.sentences[s].takes for emotion in emotions)
        ]
        return int(rng.choice(fitting)) if fitting else first

    def _row(self, sentence: int, rng: np.random.Generator) -> int:
        return int(rng.integers(WINDOW_STEP * (self.sentences[sentence].frames - 1) + 1))

    def _window(self, sentence: int, emotion: int, row: int, rng: np.random.Generator) -> Array:
        takes = self.sentences[sentence].takes[emotion]
        return takes[int(rng.integers(len(takes)))].at(row)


class Tilted(Dataset[dict[str, Tensor]]):
    """Squares whose content encoder hears every window through a microphone of its own. Ours.

    Adds content_windows (4, 28, 12): the windows with a random constant on each cepstrum. Timbre
    is such a constant, and much of a voice's emotion is timbre: an encoder that hears it change at
    random learns to tell contents without it, on sentences it has not seen too.
    """

    def __init__(self, squares: Squares, deviation: float, seed: int) -> None:
        """Tilt by independent normal numbers of this deviation; 0 leaves the windows as they are.

        Raises:
            ValueError: a deviation below 0.
        """
        if deviation < 0:
            raise ValueError(f"content_tilt is {deviation}, wanted 0 or more")
        self.squares, self.deviation, self.seed = squares, deviation, seed

    def __len__(self) -> int:
        return len(self.squares)

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        item = self.squares[draw]
        windows = item["windows"]
        rng = np.random.default_rng((self.seed, draw, TILTED))
        tilt = self.deviation * rng.standard_normal((len(windows), 1, windows.shape[2]))
        return item | {"content_windows": windows + torch.from_numpy(tilt.astype(np.float32))}


class LandmarkClips(Dataset[dict[str, Tensor]]):
    """A sequence of consecutive frames of one clip: its sound, its faces, the speaker's neutral.

    windows (S, 28, 12), emotion_windows (S, 28, 12), landmarks (S, L) and neutral (L,), all
    float32; landmarks in face frames (evp/landmark_space.py). The emotion windows are the
    sequence's own or, for "other_clip", of another clip of the same speaker and emotion, where
    there is one. A clip shorter than S frames holds its last frame.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        space: LandmarkSpace,
        view: View,
        frames: int,
        emotion_from: EmotionFrom,
        seed: int,
    ) -> None:
        if not clips:
            raise ValueError("no clips to learn landmarks from; see split in manifest.jsonl")
        self.clips, self.frames, self.seed = list(clips), frames, seed
        self.emotion_from = emotion_from
        self.windows = [every_row(clip.mfcc()) for clip in clips]
        self.faces = [flatten(clip.aligned(view)) for clip in clips]
        self.neutral = [space.neutral_of(clip.speaker) for clip in clips]
        self.same_emotion: dict[tuple[str, str], list[int]] = defaultdict(list)
        for i, clip in enumerate(clips):
            self.same_emotion[clip.speaker, clip.emotion].append(i)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        index = draw % len(self)
        rng = np.random.default_rng((self.seed, draw))
        chosen = self._sequence(index, rng)
        own = self._sounds(index, chosen)
        emotion = own
        if self.emotion_from == "other_clip":
            clip = self.clips[index]
            others = [i for i in self.same_emotion[clip.speaker, clip.emotion] if i != index]
            other = int(rng.choice(others or [index]))
            emotion = self._sounds(other, self._sequence(other, rng))
        return {
            "windows": torch.from_numpy(own),
            "emotion_windows": torch.from_numpy(emotion),
            "landmarks": torch.from_numpy(self.faces[index][chosen]),
            "neutral": torch.from_numpy(self.neutral[index]),
        }

    def _sequence(self, index: int, rng: np.random.Generator) -> NDArray[np.int64]:
        last = self.clips[index].frames - 1
        start = int(rng.integers(max(last + 1 - self.frames, 0) + 1))
        return np.minimum(np.arange(start, start + self.frames), last)

    def _sounds(self, index: int, chosen: NDArray[np.int64]) -> Array:
        return self.windows[index][WINDOW_STEP * chosen]


@dataclass(frozen=True)
class Take:
    """A recording of a sentence, found by the rows of its reference recording."""

    windows: Array  # (rows, 28, 12), at every row
    starts: NDArray[np.int64]  # (reference rows,) the window that belongs to a reference row

    def at(self, row: int) -> Array:
        """Return the window of a reference row, or the last where a shift leads past the end."""
        return _at(self.windows, int(self.starts[min(row, len(self.starts) - 1)]))


@dataclass(frozen=True)
class AlignedSentence:
    """One sentence of one speaker in several emotions, aligned to the reference's frames."""

    speaker: str
    sentence: str
    frames: int
    takes: dict[int, list[Take]]  # emotion label -> its recordings


def read_sentences(
    corpus: Corpus, split: str, timing: Timing = "reference"
) -> list[AlignedSentence]:
    """Read the aligned sentences of a split that at least two emotions share.

    Raises:
        FileNotFoundError: no pairs there; the message names the command that makes them.
        ValueError: none in this split, or an emotion that the corpus does not list.
    """
    folder = corpus.root / "pairs"
    path = folder / "pairs.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {PAIRS} for {corpus.root}")
    groups: dict[tuple[str, str, str], dict[int, list[Take]]] = {}
    for row in read_jsonl(path):
        if row["split"] != split:
            continue
        label = label_of(row["emotion"], corpus)
        warped = load_npy(folder / row["file"], (None, CEPSTRA), f"{PAIRS} for {corpus.root}")
        own = corpus.clip(row["clip"]).mfcc() if timing == "own" else warped
        key = (row["speaker"], row["sentence"], row["reference"])
        take = Take(every_row(own), window_starts(own, warped))
        groups.setdefault(key, defaultdict(list))[label].append(take)
    sentences = [
        AlignedSentence(speaker, sentence, _frames(takes), takes)
        for (speaker, sentence, _), takes in sorted(groups.items())
        if len(takes) > 1
    ]
    if not sentences:
        raise ValueError(f"{path} has no sentence in two emotions in split {split!r}; {PAIRS}")
    return sentences


def window_starts(own: Array, warped: Array) -> NDArray[np.int64]:
    """Return the first row of the window of `own` that belongs to each window of `warped`.

    A warp only repeats and skips rows, in their order, so the middle row of a warped window is
    found again among the recording's own rows; the window around that row is the answer.

    Raises:
        ValueError: `warped` holds a row that `own` has not: the pairs were made from other clips.
    """
    source, found = 0, np.empty(len(warped), np.int64)
    for j, row in enumerate(warped):
        while source < len(own) and not np.array_equal(own[source], row):
            source += 1
        if source == len(own):
            raise ValueError(f"row {j} of the pairs is not in the clip's MFCC; {PAIRS} again")
        found[j] = source
    middle = WINDOW_ROWS // 2
    starts = found[middle : middle + len(warped) - WINDOW_ROWS + 1] - middle
    return starts.clip(0, len(own) - WINDOW_ROWS)


def _frames(takes: dict[int, list[Take]]) -> int:
    return (len(next(iter(takes.values()))[0].starts) + WINDOW_STEP - 1) // WINDOW_STEP


def clips_of(corpus: Corpus, split: str) -> list[Clip]:
    """Return the clips of a split.

    Raises:
        ConfigError: there is none.
    """
    clips = corpus.clips(split=split)
    if not clips:
        raise ConfigError(f"{corpus.root} has no clips in split {split!r}; see its manifest.jsonl")
    return clips


def labels_of(clips: Sequence[Clip], corpus: Corpus) -> list[int]:
    """Return each clip's label, its emotion's place in the corpus's list."""
    return [label_of(clip.emotion, corpus) for clip in clips]


def label_of(emotion: str, corpus: Corpus) -> int:
    """Return the place of an emotion in the corpus's list.

    Raises:
        ValueError: not in that list.
    """
    if emotion not in corpus.emotions:
        listed = ", ".join(corpus.emotions)
        raise ValueError(f"emotion {emotion!r} is not in the list of {corpus.root}: {listed}")
    return corpus.emotions.index(emotion)


def every_row(mfcc: NDArray[Any]) -> Array:
    """Return the window that starts at each row, (rows - 27, 28, 12), as a strided view.

    Video frame k has the window of row 4k; the rows between serve shifts of 10 ms.
    """
    cepstra = np.ascontiguousarray(mfcc[:, 1:], dtype=np.float32)  # column 0, log energy, dropped
    view = np.lib.stride_tricks.sliding_window_view(cepstra, WINDOW_ROWS, axis=0)
    return view.swapaxes(1, 2)


def augment(window: Array, how: Augmentation, rng: np.random.Generator) -> Array:
    """Return a changed copy of a window (28, 12); `shift` is the caller's business."""
    changed = window.copy()
    if how.tilt:
        changed += rng.normal(0, how.tilt, CEPSTRA - 1).astype(np.float32)
    if how.noise:
        changed += rng.normal(0, how.noise, changed.shape).astype(np.float32)
    if how.masked_rows:
        count = int(rng.integers(how.masked_rows + 1))
        start = int(rng.integers(WINDOW_ROWS - count + 1))
        changed[start : start + count] = changed.mean(axis=0)
    return changed


def _at(windows: Array, row: int) -> Array:
    """Return the window of a row, or the last one where a shift leads past the end."""
    return windows[min(row, len(windows) - 1)]
