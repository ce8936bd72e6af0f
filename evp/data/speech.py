"""Audio windows and landmark sequences of a prepared corpus, for EVP's landmark stages (Sec. 3).

Every dataset takes any index: the item is index % length, and random choices come from
(seed, index), so that a continued run gets what an unstopped one would have got. Arrays are read
once and kept: 0.2 kB of MFCC and 0.5 kB of landmarks a frame.

Letters: T frames of a clip, S frames of a sequence, L = 136 landmark coordinates.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from affekt.arrays import Array
from affekt.media.audio.mfcc import WINDOW_ROWS, WINDOW_STEP
from affekt.media.corpus import Clip, Corpus
from affekt.media.faces.geometry import View
from affekt.runtime.config import ConfigError
from evp.landmark_space import LandmarkSpace, read_faces, training_neutral

EmotionFrom = Literal["window", "clip", "other_clip"]


class EmotionWindows(Dataset[dict[str, Tensor]]):
    """One window and its label: every window of every clip of a split once an epoch.

    window (28, 12) float32 and emotion () int64, the index in the corpus's list of emotions.
    """

    def __init__(self, corpus: Corpus, split: str, seed: int, shift: int = 0) -> None:
        """Read the clips; a window begins up to `shift` MFCC rows of 10 ms late (ours)."""
        clips = clips_of(corpus, split)
        self.windows = [every_row(clip.mfcc()) for clip in clips]
        self.labels = labels_of(clips, corpus)
        self.places = [(i, k) for i, clip in enumerate(clips) for k in range(clip.frames)]
        self.seed, self.shift = seed, shift

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        clip, frame = self.places[index % len(self)]
        rng = np.random.default_rng((self.seed, index))
        row = WINDOW_STEP * frame + int(rng.integers(self.shift + 1))
        window = window_at(self.windows[clip], row).copy()
        return {"window": torch.from_numpy(window), "emotion": torch.tensor(self.labels[clip])}


class LandmarkClips(Dataset[dict[str, Tensor]]):
    """A sequence of consecutive frames of one clip: MFCC windows, landmarks, neutral face.

    windows (S, 28, 12), emotion_windows (S, 28, 12), landmarks (S, L) and neutral (L,), all
    float32; landmarks in face frames (evp/landmark_space.py). The emotion windows are the
    sequence's own or, for "other_clip", of another clip of the same speaker and emotion, where
    there is one. A clip shorter than S frames holds its last frame. The neutral face is never that
    of the sequence's clip alone (evp.landmark_space.training_neutral).
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
        self.faces = list(read_faces(clips, view, "training landmarks"))
        self.neutral = training_neutral(space, clips, self.faces)
        self.same_emotion: dict[tuple[str, str], list[int]] = defaultdict(list)
        for i, clip in enumerate(clips):
            self.same_emotion[clip.speaker, clip.emotion].append(i)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        own = index % len(self)
        chosen = self._sequence(own, rng)
        windows = self._windows(own, chosen)
        emotion_windows = windows
        if self.emotion_from == "other_clip":
            clip = self.clips[own]
            others = [i for i in self.same_emotion[clip.speaker, clip.emotion] if i != own]
            other = int(rng.choice(others or [own]))
            emotion_windows = self._windows(other, self._sequence(other, rng))
        return {
            "windows": torch.from_numpy(windows),
            "emotion_windows": torch.from_numpy(emotion_windows),
            "landmarks": torch.from_numpy(self.faces[own][chosen]),
            "neutral": torch.from_numpy(self.neutral[own]),
        }

    def _sequence(self, clip: int, rng: np.random.Generator) -> NDArray[np.int64]:
        last = self.clips[clip].frames - 1
        start = int(rng.integers(max(last + 1 - self.frames, 0) + 1))
        return np.minimum(np.arange(start, start + self.frames), last)

    def _windows(self, clip: int, chosen: NDArray[np.int64]) -> Array:
        return self.windows[clip][WINDOW_STEP * chosen]


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


def window_at(windows: Array, row: int) -> Array:
    """Return the window of a row, or the last one where a shift leads past the end."""
    return windows[min(row, len(windows) - 1)]
