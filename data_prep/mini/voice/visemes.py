"""Visemes with coarticulation: mouth shapes from phonemes.

Each sound wants a shape; sounds that care little about a feature let their neighbours decide it.
The blend is a dominance model after Cohen & Massaro, "Modeling Coarticulation in Synthetic Visual
Speech" (1993): the shape at a time is the mean of all targets, weighted by dominance that decays
with the distance in time. Our decay starts at the edge of the sound. Closures are then enforced.
"""

from collections.abc import Sequence

import numpy as np

from affekt.arrays import Array
from data_prep.mini.voice.speech import Phoneme

# what a viseme sets: strengths of the modes of that name
SHAPE = ("jaw_open", "wide", "round", "upper_lip_up", "lower_lip_down", "tuck")
DECAY = np.array([0.055, 0.060, 0.070, 0.045, 0.045, 0.030])  # seconds
CLOSING, OPENING = 0.055, 0.050  # seconds that lips take to meet and to part
HELD = 0.021  # seconds at least on both sides of a closure's middle: one frame sees it
FRAME = 1 / 25

# viseme: the IPA symbols it stands for, shape and dominance in the order of SHAPE; a longer sound
# (a diphthong) is a sequence of symbols
VISEMES: dict[str, tuple[str, tuple[float, ...], tuple[float, ...]]] = {
    "rest": ("", (0.00, 0.00, 0.00, 0.00, 0.00, 0.0), (0.7, 0.5, 0.5, 0.8, 0.8, 1.0)),
    "closed": ("pbm", (0.00, 0.00, 0.10, 0.00, 0.00, 0.0), (1.4, 0.2, 0.2, 1.2, 1.2, 1.0)),
    "lip-teeth": ("fv", (0.08, 0.10, 0.00, 0.25, 0.00, 1.0), (1.2, 0.4, 0.4, 1.0, 1.0, 2.0)),
    "tongue-teeth": ("θð", (0.20, 0.20, 0.00, 0.15, 0.25, 0.0), (0.8, 0.3, 0.3, 0.6, 0.6, 1.0)),
    "ridge": ("tdnlɾɫ", (0.18, 0.25, 0.00, 0.10, 0.25, 0.0), (0.7, 0.25, 0.2, 0.5, 0.5, 1.0)),
    "hiss": ("sz", (0.06, 0.50, 0.00, 0.25, 0.45, 0.0), (1.2, 0.6, 0.4, 0.8, 0.8, 1.0)),
    "hush": ("ʃʒ", (0.12, 0.00, 0.60, 0.30, 0.35, 0.0), (1.0, 0.8, 0.9, 0.8, 0.8, 1.0)),
    "back": ("kɡŋxʔ", (0.26, 0.10, 0.00, 0.05, 0.15, 0.0), (0.6, 0.2, 0.2, 0.4, 0.4, 1.0)),  # noqa: RUF001 - IPA
    "breath": ("h", (0.25, 0.10, 0.00, 0.00, 0.00, 0.0), (0.2, 0.1, 0.1, 0.1, 0.1, 1.0)),
    "r": ("ɹr", (0.16, 0.00, 0.45, 0.05, 0.10, 0.0), (0.7, 0.5, 0.6, 0.5, 0.5, 1.0)),
    "w": ("w", (0.08, 0.00, 1.00, 0.00, 0.08, 0.0), (1.1, 1.2, 1.6, 0.8, 0.8, 1.0)),
    "i": ("ij", (0.18, 0.95, 0.00, 0.15, 0.30, 0.0), (1.0, 1.2, 1.2, 0.9, 0.9, 1.0)),
    "ih": ("ɪᵻ", (0.28, 0.55, 0.00, 0.10, 0.20, 0.0), (0.9, 0.8, 0.8, 0.8, 0.8, 1.0)),
    "eh": ("eɛ", (0.46, 0.50, 0.00, 0.10, 0.20, 0.0), (1.1, 1.0, 1.0, 0.9, 0.9, 1.0)),
    "ae": ("æa", (0.72, 0.50, 0.00, 0.20, 0.15, 0.0), (1.2, 1.0, 1.0, 0.9, 0.9, 1.0)),
    "ah": ("ɑɒ", (0.90, 0.00, 0.10, 0.05, 0.10, 0.0), (1.3, 1.0, 1.0, 0.9, 0.9, 1.0)),
    "uh": ("ʌ", (0.50, 0.05, 0.00, 0.05, 0.10, 0.0), (1.0, 0.6, 0.6, 0.8, 0.8, 1.0)),
    "schwa": ("əɐ", (0.34, 0.10, 0.05, 0.05, 0.10, 0.0), (0.6, 0.3, 0.3, 0.5, 0.5, 1.0)),
    "er": ("ɚɜɝ", (0.28, 0.00, 0.45, 0.05, 0.15, 0.0), (0.9, 0.7, 0.7, 0.7, 0.7, 1.0)),
    "aw": ("ɔ", (0.62, 0.00, 0.65, 0.00, 0.10, 0.0), (1.2, 1.1, 1.2, 0.9, 0.9, 1.0)),
    "o": ("o", (0.42, 0.00, 0.90, 0.00, 0.12, 0.0), (1.2, 1.2, 1.4, 0.9, 0.9, 1.0)),
    "u": ("u", (0.18, 0.00, 1.05, 0.00, 0.10, 0.0), (1.1, 1.2, 1.5, 0.9, 0.9, 1.0)),
    "oo": ("ʊ", (0.26, 0.00, 0.75, 0.00, 0.05, 0.0), (1.0, 1.0, 1.2, 0.8, 0.8, 1.0)),
}
SYMBOLS = {symbol: viseme for viseme, (symbols, _, _) in VISEMES.items() for symbol in symbols}
# length, syllabic, primary and secondary stress, nasal: no shape of their own
MARKS = "\u02d0\u0329\u02c8\u02cc\u0303"


def visemes_of(phoneme: str) -> list[str]:
    """Visemes of a phoneme in order; a pause is `rest`.

    Raises:
        ValueError: a symbol without a viseme.
    """
    if not phoneme:
        return ["rest"]
    symbols = [symbol for symbol in phoneme if symbol not in MARKS]
    unknown = [symbol for symbol in symbols if symbol not in SYMBOLS]
    if unknown or not symbols:
        raise ValueError(f"phoneme {phoneme!r}: no viseme for {unknown}; add it to SYMBOLS")
    return [SYMBOLS[symbol] for symbol in symbols]


def timed_visemes(phonemes: Sequence[Phoneme]) -> list[tuple[str, float, float]]:
    """Visemes with start and end in seconds; the parts of a diphthong share its time."""
    timed = []
    for phoneme in phonemes:
        names = visemes_of(phoneme.name)
        edges = np.linspace(phoneme.start, phoneme.end, len(names) + 1)
        timed += [
            (name, float(a), float(b))
            for name, a, b in zip(names, edges[:-1], edges[1:], strict=True)
        ]
    return timed


def frame_times(frames: int) -> Array:
    """Seconds at the middle of each frame, where the mouth is sampled."""
    return (np.arange(frames) + 0.5) * FRAME


def shapes_at(phonemes: Sequence[Phoneme], times: Array) -> Array:
    """Strengths (T, len(SHAPE)) of the mouth's modes, closures not yet enforced."""
    timed = timed_visemes(phonemes)
    targets, dominance = (np.array([VISEMES[name][k] for name, _, _ in timed]) for k in (1, 2))
    starts, ends = (np.array([entry[k] for entry in timed]) for k in (1, 2))
    away = np.maximum(np.maximum(starts - times[:, None], times[:, None] - ends), 0)
    weights = dominance * np.exp(-away[..., None] / DECAY)
    return (weights * targets).sum(axis=1) / weights.sum(axis=1)


def closure_at(phonemes: Sequence[Phoneme], times: Array) -> Array:
    """How far (T,) the lips are on their way to a closure for p, b or m: 1 is closed."""
    closed = np.zeros(len(times))
    for name, start, end in timed_visemes(phonemes):
        if name != "closed":
            continue
        middle = (start + end) / 2
        half = max((end - start) / 2 - 0.01, HELD)
        before, after = middle - half - times, times - middle - half
        ramp = np.maximum(before / CLOSING, after / OPENING).clip(0, 1)
        closed = np.maximum(closed, 0.5 + 0.5 * np.cos(np.pi * ramp))
    return closed
