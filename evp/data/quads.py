"""Quads for cross reconstruction: two contents by two emotions of one speaker (EVP Sec. 3.2).

Windows are cut from sentences that data_prep.pairs aligned across emotions. A `QuadScheme` defines
which emotion each of a quad's four windows has and which codes reconstruct which window. Every
dataset takes any index: the item is index % length, and random choices come from (seed, index), so
that a continued run gets what an unstopped one would have got.
"""

import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from affekt.arrays import Array
from affekt.media.audio.mfcc import CEPSTRA, WINDOW_ROWS, WINDOW_STEP
from affekt.media.corpus import Corpus
from affekt.media.integrity import check_pairs
from affekt.runtime.config import ConfigError
from affekt.runtime.files import load_npy
from evp.data.speech import every_row, label_of, window_at

log = logging.getLogger(__name__)

SchemeName = Literal["paper", "release"]
Timing = Literal["reference", "own"]
Aligner = Literal["speech", "dtw"]
UNKNOWN = "unknown"  # the aligner of pairs that were made before they said which
PAIRS = "run python -m data_prep.pairs"
OFFSET_STREAM = 1  # seeds the cepstral offsets apart from the choice of windows


class Reconstruction(NamedTuple):
    """A window decoded from two codes, by places 0 ... 3 in the quad."""

    content: int  # whose content code
    emotion: int  # whose emotion code
    target: int  # the window that they should give


@dataclass(frozen=True)
class QuadScheme:
    """Which of a quad's windows each loss takes, by places 0 ... 3."""

    classified: tuple[int, ...]  # whose emotion is classified (eq. 4)
    same_content: tuple[tuple[int, int], ...]  # pairs of eq. 5
    different_content: tuple[tuple[int, int], ...]  # pairs that the normalised content loss needs
    self_terms: tuple[Reconstruction, ...]  # eq. 3
    cross_terms: tuple[Reconstruction, ...]  # eq. 2


SCHEMES: dict[SchemeName, QuadScheme] = {
    # Windows x_im, x_jn, x_jm, x_in: contents i and j, emotions m and n.
    "paper": QuadScheme(
        classified=(0, 1),
        same_content=((0, 3), (2, 1)),
        different_content=((0, 2), (3, 1)),  # i and j under the same emotion
        self_terms=(Reconstruction(0, 0, 0), Reconstruction(1, 1, 1)),
        cross_terms=(Reconstruction(0, 1, 3), Reconstruction(1, 0, 2)),
    ),
    # Windows (c1, e1), (c2, e1), (c3, e2), (c1, e2): the release's intended sampling, whose
    # emotion codes always come from another sentence. What it reconstructs from an emotion code
    # of the same label counts as self here.
    "release": QuadScheme(
        classified=(1, 2),
        same_content=((0, 3),),
        different_content=((0, 1), (3, 2)),
        self_terms=(Reconstruction(0, 1, 0), Reconstruction(3, 2, 3)),
        cross_terms=(Reconstruction(0, 2, 3), Reconstruction(3, 1, 0)),
    ),
}


class Quads(Dataset[dict[str, Tensor]]):
    """Quads of windows from aligned sentences of one speaker.

    windows (4, 28, 12) float32 and emotions (4,) int64, in the order of the scheme. The index
    chooses the first window: every window of every aligned sentence once an epoch. Another emotion
    of the same sentence gives the second content's emotion; the other contents are windows of
    other sentences of the speaker, where there are any.

    Timing "reference" (the paper's) cuts windows from MFCC warped to the reference emotion's
    length. "own" (ours) cuts them from the clips as they were spoken, around the row that the warp
    takes there: so the encoders get every emotion at its own rate and without repeated or skipped
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
            (s, emotion, recording, frame)
            for s, sentence in enumerate(self.sentences)
            for emotion, recordings in sentence.recordings.items()
            for recording in range(len(recordings))
            for frame in range(sentence.frames)
        ]
        self.of_speaker: dict[str, list[int]] = defaultdict(list)
        for s, sentence in enumerate(self.sentences):
            self.of_speaker[sentence.speaker].append(s)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        # content i: the indexed window and the same row of the sentence in another emotion
        first, m, recording, frame = self.places[index % len(self)]
        rng = np.random.default_rng((self.seed, index))
        row = WINDOW_STEP * frame + int(rng.integers(self.shift + 1))
        n = int(
            rng.choice([emotion for emotion in self.sentences[first].recordings if emotion != m])
        )
        window_im = self.sentences[first].recordings[m][recording].at(row)
        window_in = self._window(first, n, row, rng)
        # the other contents: one sentence for both emotions (paper), or one for each (release)
        if self.scheme == "release":
            emotions = (m, m, n, n)
            second, third = (self._other(first, (emotion,), rng) for emotion in (m, n))
            rows = [self._row(sentence, rng) for sentence in (second, third)]
            window_2 = self._window(second, m, rows[0], rng)
            window_3 = self._window(third, n, rows[1], rng)
            quad = [window_im, window_2, window_3, window_in]
        else:
            emotions = (m, n, m, n)
            other = self._other(first, (m, n), rng)
            row_j = self._row(other, rng)
            window_jn, window_jm = (self._window(other, e, row_j, rng) for e in (n, m))
            quad = [window_im, window_jn, window_jm, window_in]
        return {"windows": torch.from_numpy(np.stack(quad)), "emotions": torch.tensor(emotions)}

    def _other(self, first: int, emotions: tuple[int, ...], rng: np.random.Generator) -> int:
        """Choose another sentence of the speaker that exists in all these emotions."""
        speaker = self.sentences[first].speaker
        fitting = [
            s
            for s in self.of_speaker[speaker]
            if s != first and all(emotion in self.sentences[s].recordings for emotion in emotions)
        ]
        return int(rng.choice(fitting)) if fitting else first

    def _row(self, sentence: int, rng: np.random.Generator) -> int:
        return int(rng.integers(WINDOW_STEP * (self.sentences[sentence].frames - 1) + 1))

    def _window(self, sentence: int, emotion: int, row: int, rng: np.random.Generator) -> Array:
        recordings = self.sentences[sentence].recordings[emotion]
        return recordings[int(rng.integers(len(recordings)))].at(row)


class CepstralOffset(Dataset[dict[str, Tensor]]):
    """Quads with a random per-window cepstral offset at E_c's input (channel augmentation). Ours.

    Adds content_windows (4, 28, 12): the windows with a random constant on each cepstrum. Timbre
    is such a constant, and much of a voice's emotion is timbre: where it changes at random, the
    content code cannot rely on it, on unseen sentences either.
    """

    def __init__(self, quads: Quads, deviation: float, seed: int) -> None:
        """Add independent normal offsets of this deviation; 0 leaves the windows as they are.

        Raises:
            ValueError: a deviation below 0.
        """
        if deviation < 0:
            raise ValueError(f"cepstral_offset is {deviation}, wanted 0 or more")
        self.quads, self.deviation, self.seed = quads, deviation, seed

    def __len__(self) -> int:
        return len(self.quads)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        item = self.quads[index]
        windows = item["windows"]
        rng = np.random.default_rng((self.seed, index, OFFSET_STREAM))
        offset = self.deviation * rng.standard_normal((len(windows), 1, windows.shape[2]))
        return item | {"content_windows": windows + torch.from_numpy(offset.astype(np.float32))}


@dataclass(frozen=True)
class Recording:
    """A recording of a sentence, indexed by the rows of its reference recording."""

    windows: Array  # (rows, 28, 12), at every row
    starts: NDArray[np.int64]  # (reference rows,) the window that belongs to a reference row

    def at(self, row: int) -> Array:
        """Return the window of a reference row, or the last where a shift leads past the end."""
        return window_at(self.windows, int(self.starts[min(row, len(self.starts) - 1)]))


@dataclass(frozen=True)
class AlignedSentence:
    """One sentence of one speaker in several emotions, aligned to the reference's frames."""

    speaker: str
    sentence: str
    frames: int
    recordings: dict[int, list[Recording]]  # emotion label -> its recordings


def read_sentences(
    corpus: Corpus, split: str, timing: Timing = "reference"
) -> list[AlignedSentence]:
    """Read the aligned sentences of a split that at least two emotions share.

    Raises:
        FileNotFoundError: no pairs there; the message names the command that makes them.
        ValueError: none in this split, or an emotion that the corpus does not list.
    """
    folder = corpus.root / "pairs"
    path = _pairs_file(corpus)
    # Recordings by sentence and emotion, aligned to one reference by DTW
    groups: dict[tuple[str, str, str], dict[int, list[Recording]]] = {}
    for row in check_pairs(corpus.root):
        if row["split"] != split:
            continue
        label = label_of(row["emotion"], corpus)
        warped = load_npy(folder / row["file"], (None, CEPSTRA), f"{PAIRS} for {corpus.root}")
        key = (row["speaker"], row["sentence"], row["reference"])
        recording = _recording(corpus, row, warped, timing)
        groups.setdefault(key, defaultdict(list))[label].append(recording)
    # Sentences in one emotion alone cannot form a quad
    sentences = [
        AlignedSentence(speaker, sentence, _frames(recordings), recordings)
        for (speaker, sentence, _), recordings in sorted(groups.items())
        if len(recordings) > 1
    ]
    if not sentences:
        raise ValueError(f"{path} has no sentence in two emotions in split {split!r}; {PAIRS}")
    return sentences


def _recording(corpus: Corpus, row: dict[str, Any], warped: Array, timing: Timing) -> Recording:
    if timing == "reference":
        windows = every_row(warped)
        return Recording(windows, np.arange(len(windows)))
    own = corpus.clip(row["clip"]).mfcc()
    return Recording(every_row(own), window_starts(own, warped))


def check_aligner(corpus: Corpus, wanted: Aligner | None) -> str:
    """Return which aligner made a corpus's pairs; pairs that do not say are `unknown`.

    Raises:
        FileNotFoundError: no pairs there; the message names the command that makes them.
        ConfigError: they are known to be of another aligner than `wanted`.
    """
    path = _pairs_file(corpus)
    found = ", ".join(sorted({row.get("aligner", UNKNOWN) for row in check_pairs(corpus.root)}))
    if wanted is None or found == wanted:
        return found
    again = f"{PAIRS} {corpus.root} --aligner {wanted}"
    if found == UNKNOWN:
        log.warning("%s does not say which aligner made it, wanted %s; %s", path, wanted, again)
        return found
    raise ConfigError(
        f"the pairs of {path} are by the aligner {found}, and aligner is {wanted!r}; {again}, or "
        "set aligner=null, which takes any"
    )


def _pairs_file(corpus: Corpus) -> Path:
    path = corpus.root / "pairs" / "pairs.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {PAIRS} for {corpus.root}")
    return path


def window_starts(own: Array, warped: Array) -> NDArray[np.int64]:
    """Return the first row of the window of `own` that belongs to each window of `warped`.

    A warp only repeats and skips rows, in their order, so the middle row of a warped window is
    found again among the recording's own rows, and the window around that row is returned.

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


def _frames(recordings: dict[int, list[Recording]]) -> int:
    return (len(next(iter(recordings.values()))[0].starts) + WINDOW_STEP - 1) // WINDOW_STEP
