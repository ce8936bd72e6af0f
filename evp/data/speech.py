"""Audio windows and landmark sequences of a prepared corpus, for EVP's landmark stages (Sec. 3).

Every dataset takes any index: the item is index % length, and random choices come from
(seed, index), so that a continued run gets what an unstopped one would have got. Arrays are read
once and kept, 0.2 kB of MFCC and 0.5 kB of landmarks a frame, where there are few enough of them;
see `ClipArrays`.

Letters: T frames of a clip, S frames of a sequence, L = 136 landmark coordinates.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

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
from evp.landmark_space import LandmarkSpace, flatten, read_faces, training_neutral

EmotionFrom = Literal["window", "clip", "other_clip"]

MOST_KEPT = 3_000_000  # frames whose arrays are kept in memory: 33 hours, 2.6 GB of both kinds


class ClipArrays(Sequence[Array]):
    """One array a clip: read once and kept, or, of clips of too many frames, at each request.

    Such a request costs a small file, which the system's own cache holds where there is room for
    it: LRW's 500,000 clips would take 12 GB in this process.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        read: Callable[[Clip], Array],
        arrays: Iterable[Array] | None = None,
        most: int | None = None,
    ) -> None:
        """Read the arrays of clips of `most` frames together, or of MOST_KEPT; else none.

        Args:
            clips: whose arrays.
            read: returns one clip's.
            arrays: yields the same for all clips; None: by `read`.
            most: frames.
        """
        self.clips, self.read = clips, read
        few = sum(clip.frames for clip in clips) <= (MOST_KEPT if most is None else most)
        self.kept = list(map(read, clips) if arrays is None else arrays) if few else None

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, clip: int) -> Array:  # type: ignore[override]  # no slices
        return self.read(self.clips[clip]) if self.kept is None else self.kept[clip]


class FrameCodes(NamedTuple):
    """Codes of every frame of each clip by frozen encoders, (T, C) and (T, E)."""

    content: list[Array]
    emotion: list[Array]


class EmotionWindows(Dataset[dict[str, Tensor]]):
    """One window and its label: every window of every clip of a split once an epoch.

    window (28, 12) float32 and emotion () int64, the index in the corpus's list of emotions.
    """

    def __init__(self, corpus: Corpus, split: str, seed: int, shift: int = 0) -> None:
        """Read the clips; a window begins up to `shift` MFCC rows of 10 ms late (ours)."""
        clips = clips_of(corpus, split)
        self.windows = ClipArrays(clips, clip_windows)
        self.labels = labels_of(clips, corpus)
        self.ends = np.cumsum([clip.frames for clip in clips])
        self.seed, self.shift = seed, shift

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        place = index % len(self)
        clip = int(np.searchsorted(self.ends, place, side="right"))
        frame = place - (int(self.ends[clip - 1]) if clip else 0)
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

    Where `codes` are set, content (S, C) and emotion (S, E) stand for the two kinds of windows.
    """

    codes: FrameCodes | None = None

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
        self.windows = ClipArrays(clips, clip_windows)
        faces = read_faces(clips, view, "training landmarks")
        self.faces = ClipArrays(clips, partial(clip_faces, view=view), faces)
        self.neutral = training_neutral(space, clips, self.faces.kept or faces)
        self.same_emotion: dict[tuple[str, str], list[int]] = defaultdict(list)
        for i, clip in enumerate(clips):
            self.same_emotion[clip.speaker, clip.emotion].append(i)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        own = index % len(self)
        chosen = self._sequence(own, rng)
        other, others_chosen = own, chosen
        if self.emotion_from == "other_clip":
            clip = self.clips[own]
            others = [i for i in self.same_emotion[clip.speaker, clip.emotion] if i != own]
            other = int(rng.choice(others or [own]))
            others_chosen = self._sequence(other, rng)
        if self.codes is None:
            sound = {
                "windows": self._windows(own, chosen),
                "emotion_windows": self._windows(other, others_chosen),
            }
        else:
            sound = {
                "content": self.codes.content[own][chosen],
                "emotion": self.codes.emotion[other][others_chosen],
            }
        faces = {"landmarks": self.faces[own][chosen], "neutral": self.neutral[own]}
        return {name: torch.from_numpy(each) for name, each in (sound | faces).items()}

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


def clip_windows(clip: Clip) -> Array:
    """Return the windows of a clip that start at each row; see `every_row`."""
    return every_row(clip.mfcc())


def clip_faces(clip: Clip, view: View) -> Array:
    """Return the coordinates of a clip's landmarks, (T, L), as `read_faces` does of many."""
    return flatten(clip.aligned(view))


def window_at(windows: Array, row: int) -> Array:
    """Return the window of a row, or the last one where a shift leads past the end."""
    return windows[min(row, len(windows) - 1)]
