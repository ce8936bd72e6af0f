"""Landmark coordinates of EVP's audio-to-landmark network: neutral faces, means, a motion basis
(Sec. 3.3).

Landmarks are those of affekt.media.faces.geometry's aligned face, divided by its side: units of
face frames (1 is 256 px, about three times the distance of the pupils), as in the release.

Everything here is learned from training clips alone, or imported (evp.released.importer). Letters:
T frames, N landmarks, L = 2 N coordinates (x0, y0, x1, y1, ...), K motion components. Corpora have
the 68 landmarks of iBUG; the release's faces have 106 (affekt/media/faces/schemes.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.faces.geometry import FACE_SIZE, View
from affekt.media.faces.schemes import Scheme, scheme_of
from affekt.runtime.files import DamagedFileError, replacing


@dataclass(frozen=True)
class LandmarkSpace:
    """Statistics of the training clips' faces that the landmark network uses."""

    speakers: tuple[str, ...]
    neutral: Array  # (speakers, L): l_a, the mean face of the speaker's neutral clips
    average: Array  # (speakers, L): the mean over all the speaker's clips, a baseline
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
        if speaker not in self.speakers:
            raise ValueError(
                f"no neutral face of {speaker!r}; trained on {', '.join(self.speakers)}"
            )
        return self.neutral[self.speakers.index(speaker)]

    def average_of(self, speaker: str) -> Array:
        """Return the speaker's mean training face, (L,)."""
        return self.average[self.speakers.index(speaker)]


def flatten(landmarks: NDArray[Any]) -> Array:
    """Turn aligned landmarks (..., N, 2) in pixels into coordinates (..., L) in face frames."""
    flat = landmarks.reshape(*landmarks.shape[:-2], 2 * landmarks.shape[-2])
    return (flat / FACE_SIZE).astype(np.float32)


def unflatten(coordinates: NDArray[Any]) -> Array:
    """Turn coordinates (..., L) in face frames into aligned landmarks (..., N, 2) in pixels."""
    pixels = coordinates * np.float32(FACE_SIZE)
    return pixels.reshape(*coordinates.shape[:-1], coordinates.shape[-1] // 2, 2)


def fit_space(corpus: Corpus, view: View, components: int) -> LandmarkSpace:
    """Learn neutral faces, averages and motion from the training clips of every speaker.

    Raises:
        ValueError: a speaker without neutral training clips; the message names the speaker.
    """
    clips = corpus.clips(split="train")
    speakers = tuple(sorted({clip.speaker for clip in clips}))
    if not speakers:
        raise ValueError(f"{corpus.root} has no training clips; see split in its manifest.jsonl")
    faces = {clip.id: flatten(clip.aligned(view)) for clip in clips}
    neutral = np.stack([_neutral(clips, faces, speaker, corpus) for speaker in speakers])
    average = np.stack([_mean(faces[c.id] for c in clips if c.speaker == s) for s in speakers])
    basis, deviation = _motion(
        [faces[clip.id] - neutral[speakers.index(clip.speaker)] for clip in clips], components
    )
    return LandmarkSpace(speakers, neutral, average, basis, deviation)


def save_space(space: LandmarkSpace, path: Path) -> None:
    """Write the space as .npz, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
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
        DamagedFileError: an array is missing in it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; name the run folder of train_audio2lm.py")
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in ("neutral", "average", "basis", "deviation")}
            return LandmarkSpace(tuple(kept["speakers"].tolist()), **arrays)
    except KeyError as error:
        raise DamagedFileError(f"{path}: {error}; train_audio2lm.py writes it") from None


def _neutral(clips: list[Clip], faces: dict[str, Array], speaker: str, corpus: Corpus) -> Array:
    chosen = [faces[c.id] for c in clips if c.speaker == speaker and c.emotion == NEUTRAL]
    if not chosen:
        raise ValueError(
            f"speaker {speaker!r} of {corpus.root} has no {NEUTRAL} training clip, from which the "
            "neutral face l_a is taken; add one or leave the speaker out"
        )
    return _mean(chosen)


def _mean(faces: Iterable[Array]) -> Array:
    return np.concatenate(list(faces)).mean(axis=0)


def _motion(displacements: list[Array], components: int) -> tuple[Array, Array]:
    """Return the strongest directions about 0 (not about their mean) and their deviations.

    From the L x L second moments: the release's full SVD needs memory of frames x frames.
    """
    rows = np.concatenate(displacements).astype(np.float64)
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    strongest = np.argsort(values)[::-1][:components]
    basis = vectors[:, strongest].T.astype(np.float32)
    return basis, np.sqrt(values[strongest]).astype(np.float32)
