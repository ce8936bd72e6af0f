"""Landmark coordinates of EVP's audio-to-landmark network: neutral faces, means, a motion basis
(Sec. 3.3).

Landmarks are those of affekt.media.faces.geometry's aligned face, divided by its side: units of
face frames (1 is 256 px, about three times the distance of the pupils), as in the release.

Everything here is learned from training clips alone, or imported (evp.released.importer).

The neutral face l_a is the mean of a speaker's neutral training clips: of several, since that of
one would be the answer where that very clip is predicted. In LRW every clip is a speaker of its
own. There `neutral_from="others"` takes the mean face of all people; in training, of all but the
clip's own speaker, so that no frame of the predicted clip enters it (`training_neutral`). Ours: the
paper does not say what l_a is in LRW.

Letters: T frames, N landmarks, L = 2 N coordinates (x0, y0, x1, y1, ...), K motion components.
Corpora have the 68 landmarks of iBUG; the release's faces have 106
(affekt/media/faces/schemes.py).
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus, by_speaker
from affekt.media.emotions import NEUTRAL
from affekt.media.faces.geometry import FACE_SIZE, View, align_2d, align_3d
from affekt.media.faces.schemes import Scheme, scheme_of
from affekt.runtime.config import ConfigError
from affekt.runtime.files import DamagedFileError
from affekt.runtime.npz_files import load_npz, save_npz

log = logging.getLogger(__name__)

NeutralFrom = Literal["speaker", "others"]

AT_ONCE = 2048  # frames aligned together: clips of a word's 29 frames cost little each
NAMED = 10  # speakers in an error


@dataclass(frozen=True)
class LandmarkSpace:
    """Statistics of the training clips' faces that the landmark network uses."""

    speakers: tuple[str, ...]  # S of them; none where one face stands for everybody, and S is 1
    neutral: Array  # (S, L): l_a, the mean face of the speaker's neutral clips
    average: Array  # (S, L): the mean over all the speaker's clips, a baseline
    basis: Array  # (K, L): orthonormal directions of l - l_a, the strongest first
    deviation: Array  # (K,): of the training faces along them

    @property
    def scheme(self) -> Scheme:
        """Return which landmarks the coordinates are of."""
        return scheme_of(unflatten(self.neutral))

    def neutral_of(self, speaker: str) -> Array:
        """Return the speaker's neutral face, (L,).

        Raises:
            ValueError: not a speaker of the training clips; the message names those.
        """
        if self.speakers and speaker not in self._rows:
            more = len(self.speakers) - NAMED
            named = ", ".join(self.speakers[:NAMED]) + (f" and {more} more" if more > 0 else "")
            raise ValueError(f"no neutral face of {speaker!r}; trained on {named}")
        return self.neutral[self._rows[speaker] if self.speakers else 0]

    def average_of(self, speaker: str) -> Array:
        """Return the speaker's mean training face, (L,)."""
        return self.average[self._rows[speaker] if self.speakers else 0]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {speaker: row for row, speaker in enumerate(self.speakers)}


def flatten(landmarks: NDArray[Any]) -> Array:
    """Turn aligned landmarks (..., N, 2) in pixels into coordinates (..., L) in face frames."""
    flat = landmarks.reshape(*landmarks.shape[:-2], 2 * landmarks.shape[-2])
    return (flat / FACE_SIZE).astype(np.float32)


def unflatten(coordinates: NDArray[Any]) -> Array:
    """Turn coordinates (..., L) in face frames into aligned landmarks (..., N, 2) in pixels."""
    pixels = coordinates * np.float32(FACE_SIZE)
    return pixels.reshape(*coordinates.shape[:-1], coordinates.shape[-1] // 2, 2)


def read_faces(clips: Sequence[Clip], view: View, what: str) -> Iterator[Array]:
    """Yield the coordinates (T, L) of each clip, reading every file once; `what` names the bar."""
    kind = "landmarks3d" if view == "3d" else "landmarks"
    with tqdm(desc=what, total=len(clips), unit="clip", disable=None, delay=1) as bar:
        first = 0
        while first < len(clips):
            # As many clips as are aligned at once
            read: list[Array] = []
            ends = [0]
            while first + len(read) < len(clips) and ends[-1] < AT_ONCE:
                read.append(getattr(clips[first + len(read)], kind)())
                ends.append(ends[-1] + len(read[-1]))
            together = np.concatenate(read)
            aligned = align_3d(together) if view == "3d" else align_2d(together)
            yield from np.split(flatten(aligned), ends[1:-1])
            first += len(read)
            bar.update(len(read))


def fit_space(
    corpus: Corpus, view: View, components: int, neutral_from: NeutralFrom = "speaker"
) -> LandmarkSpace:
    """Learn neutral faces, averages and motion from the training clips, in one pass over them.

    Memory holds one speaker's frames and the L x L second moments of l - l_a: the release's full
    SVD needs memory of frames x frames. Their directions are about 0, not about the mean.

    Args:
        corpus: whose training clips.
        view: how landmarks are aligned.
        components: K.
        neutral_from: "speaker", a neutral face for each, or "others", one for everybody.

    Raises:
        ValueError: no training clip, or a speaker without neutral ones; the message names it.
    """
    people = by_speaker(corpus.clips(split="train"))
    if not people:
        raise ValueError(f"{corpus.root} has no training clips; see split in its manifest.jsonl")
    if neutral_from == "speaker":
        for speaker, own in people.items():
            _check_neutral(own, f"speaker {speaker!r} of {corpus.root}")
    else:
        _check_neutral([clip for own in people.values() for clip in own], str(corpus.root))
    # A speaker at a time, whose frames are moved to the speaker's l_a (or near everybody's)
    faces = read_faces([clip for own in people.values() for clip in own], view, "landmark space")
    neutral, average, counts = [], [], []
    moments, centre = _Moments(), None
    for own in people.values():
        read = [next(faces) for _ in own]
        calm = [face for face, clip in zip(read, own, strict=True) if clip.emotion == NEUTRAL]
        rows = np.concatenate(read)
        average.append(rows.mean(axis=0))
        neutral.append(np.concatenate(calm).mean(axis=0) if calm else np.zeros_like(average[-1]))
        counts.append((sum(map(len, calm)), len(rows)))
        if neutral_from == "speaker" or centre is None:
            centre = neutral[-1] if calm else average[-1]
        moments.add(rows - centre)
    speakers = tuple(people)
    if neutral_from == "others":
        assert centre is not None
        of_neutral, of_all = np.array(counts, float).T
        average = [np.average(average, axis=0, weights=of_all).astype(np.float32)]
        neutral = [np.average(neutral, axis=0, weights=of_neutral).astype(np.float32)]
        moments.move(neutral[0] - centre)
        speakers = ()
    basis, deviation = moments.strongest(components)
    return LandmarkSpace(speakers, np.stack(neutral), np.stack(average), basis, deviation)


def training_neutral(
    space: LandmarkSpace, clips: Sequence[Clip], faces: Iterable[Array]
) -> list[Array]:
    """Return l_a of each training clip, (L,), the mean of other frames than are predicted.

    That is the speaker's of `space`, of several clips; where `space` has one face for everybody,
    the mean over the neutral clips of all other speakers.

    Args:
        space: of these clips.
        clips: training clips.
        faces: their coordinates, (T, L) each.

    Raises:
        ConfigError: a speaker has a single clip, whose own mean l_a would be, or there are no
            others to take it from.
    """
    people = by_speaker(clips)
    if space.speakers:
        alone = next((name for name, own in people.items() if len(own) == 1), None)
        if alone is not None:
            raise ConfigError(
                f"speaker {alone!r} has one training clip, and l_a would be the mean of the very "
                "clip that is predicted; add neutral clips of the speaker, leave the speaker out, "
                "or, in pretraining, set neutral_from=others"
            )
        for name, own in people.items():
            if sum(clip.emotion == NEUTRAL for clip in own) == 1:
                log.warning("%s has one neutral training clip, which is also its l_a", name)
        return [space.neutral_of(clip.speaker) for clip in clips]
    # All neutral frames, less those of the speaker
    sums: dict[str, Array] = defaultdict(lambda: np.zeros(space.neutral.shape[1]))
    counts: dict[str, int] = defaultdict(int)
    for clip, face in zip(clips, faces, strict=True):
        if clip.emotion == NEUTRAL:
            sums[clip.speaker] += face.sum(axis=0, dtype=np.float64)
            counts[clip.speaker] += len(face)
    if len(sums) < 2:
        raise ConfigError(
            f"neutral_from=others needs neutral training clips of 2 speakers, found {len(sums)}"
        )
    total, count = np.sum(list(sums.values()), axis=0), sum(counts.values())
    others = {
        name: ((total - sums[name]) / (count - counts[name])).astype(np.float32) for name in people
    }
    return [others[clip.speaker] for clip in clips]


def save_space(space: LandmarkSpace, path: Path) -> None:
    """Write the space as .npz, whole or not at all."""
    save_npz(
        path,
        speakers=np.array(space.speakers),
        neutral=space.neutral,
        average=space.average,
        basis=space.basis,
        deviation=space.deviation,
    )


def load_space(path: Path) -> LandmarkSpace:
    """Read what `save_space` wrote.

    Raises:
        FileNotFoundError: no such file; the message names the script whose run holds one.
        DamagedFileError: it is damaged (its records have checksums), or an array is missing, of
            another type or shape, or not finite.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; name the run folder of train_audio2lm.py")
    kept = load_npz(path, "train_audio2lm.py writes it")
    try:
        arrays = {name: kept[name] for name in ("neutral", "average", "basis", "deviation")}
        speakers = kept["speakers"]
    except KeyError as error:
        text = f"{path} has no array {error}; train_audio2lm.py writes it"
        raise DamagedFileError(text) from None
    S, L = max(1, speakers.size), arrays["basis"].shape[-1] if arrays["basis"].ndim else 0
    shapes = {"neutral": (S, L), "average": (S, L), "basis": (len(arrays["deviation"]), L)}
    for name, array in arrays.items():
        wanted = shapes.get(name, (array.size,))
        if array.dtype.kind != "f" or array.shape != wanted or not np.isfinite(array).all():
            raise DamagedFileError(
                f"{path}: {name} holds {array.dtype} {array.shape}, wanted finite numbers of shape "
                f"{wanted}; train_audio2lm.py writes it"
            )
    return LandmarkSpace(tuple(map(str, speakers.reshape(-1))), **arrays)


def _check_neutral(clips: Sequence[Clip], whose: str) -> None:
    if not any(clip.emotion == NEUTRAL for clip in clips):
        raise ValueError(
            f"{whose} has no {NEUTRAL} training clip, from which the neutral face l_a is taken; "
            "add one or leave the speaker out"
        )


class _Moments:
    """Second moments of rows (n, L) about 0, added up."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: Array = np.zeros(())  # (L,)
        self.squares: Array = np.zeros(())  # (L, L)
        self._waiting: list[Array] = []  # rows not added yet: few at a time are slow

    def add(self, rows: Array) -> None:
        """Add rows (n, L)."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        if self._waiting:
            exact = np.concatenate(self._waiting).astype(np.float64)
            self.count += len(exact)
            self.sums = self.sums + exact.sum(axis=0)
            self.squares = self.squares + exact.T @ exact
            self._waiting = []

    def move(self, origin: Array) -> None:
        """Make them those of the rows less `origin` (L,)."""
        self._settle()
        shift = origin.astype(np.float64)
        across = np.outer(self.sums, shift)
        self.squares = self.squares - across - across.T + self.count * np.outer(shift, shift)
        self.sums = self.sums - self.count * shift

    def strongest(self, components: int) -> tuple[Array, Array]:
        """Return the strongest directions (K, L), orthonormal, and the deviations along them."""
        self._settle()
        values, vectors = np.linalg.eigh(self.squares / self.count)
        chosen = np.argsort(values)[::-1][:components]
        basis = vectors[:, chosen].T.astype(np.float32)
        return basis, np.sqrt(values[chosen]).astype(np.float32)
