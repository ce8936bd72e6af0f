"""How a face goes from one emotion to another as the weight of their codes does (EVP Sec. 4.2).

One sound is said under (1 - w) a + w b for rising w; from neutral it is the intensity of b (paper
Fig. 1 b, supplement Fig. 3: the expression goes over, the mouth's shape stays). How far the face
has come is its projection, of brows and mouth corners alone, on the way between two true faces:
the means of the speaker's training clips of a and of b, aligned. Faces predicted at w = 0 and 1
give no such measure: they would be 0 and 1 by definition.

Letters: W weights, T frames, E channels of an emotion code, C of a content code.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata
from torch import Tensor

from affekt.arrays import Array
from affekt.media.corpus import Corpus
from affekt.media.faces.geometry import View
from affekt.media.faces.points import BROWS, MOUTH_CORNERS, mouth_opening
from affekt.metrics.landmark import correlation
from evp.networks.audio2lm import Predictor, faces_under

Faces = dict[tuple[str, str], Array]  # by speaker and label

SHOWS = (*BROWS, *MOUTH_CORNERS)  # the points that are projected
RANK_BAR, MOUTH_BAR = 0.9, 0.9  # of the correlations: the expression follows, the mouth stays
ROUNDING = 1e-9  # two of five ranks exchanged is 0.9 but for the last digit
ARRIVED = 0.9  # of the way that a step of the code has led to


@dataclass(frozen=True)
class PathFigures:
    """One sound of one speaker on the way from one label to another."""

    clip: str
    first: str
    second: str
    gone: tuple[float, ...]  # (W,) share of the true way at each weight, the clip's mean
    rank: float  # Spearman's correlation of `gone` with the weight
    rank_frames: float  # share of the single frames in which that correlation meets RANK_BAR
    mouth_r: float  # the lowest correlation, over the weights, of mouth opening with that at w = 0
    way_px: float  # the true way: root mean square over the points, pixels of 256
    step_frames: float  # after a leap from a to b, frames until ARRIVED; NaN if it never is


def true_faces(corpus: Corpus, view: View) -> Faces:
    """Return the mean aligned face (68, 2) of each speaker and label, of training clips alone."""
    return {
        (speaker, label): np.concatenate([clip.aligned(view) for clip in clips]).mean(axis=0)
        for speaker in corpus.speakers
        for label in corpus.emotions
        if (clips := corpus.clips("train", speaker, label))
    }


def way_gone(faces: Array, first: Array, second: Array) -> Array:
    """Return the share of the way from `first` to `second` (68, 2) of faces (..., 68, 2), (...).

    <face - first, second - first> / |second - first|^2 over brows and mouth corners: 0 at the
    first, 1 at the second.

    Raises:
        ValueError: the two are the same face.
    """
    points = list(SHOWS)
    way = (second - first)[points].ravel()
    length = float(way @ way)
    if not length:
        raise ValueError("there is no way from a face to itself; name two emotions")
    return (faces - first)[..., points, :].reshape(*faces.shape[:-2], -1) @ way / length


def rank_correlation(values: Array, weights: ArrayLike) -> Array:
    """Return Spearman's correlation of values (W, ...) with weights, (...); NaN if still."""
    ranks, wanted = (rankdata(each, axis=0) for each in (values, np.asarray(weights, float)))
    ranks, wanted = ranks - ranks.mean(axis=0), wanted - wanted.mean()
    deviation = np.sqrt(np.square(ranks).sum(axis=0) * np.square(wanted).sum())
    products = np.tensordot(wanted, ranks, axes=1)
    found: Array = np.divide(
        products, deviation, out=np.full(deviation.shape, np.nan), where=deviation > 0
    )
    return found


def meets(values: ArrayLike, bar: float) -> Array:
    """Return which values are not below the bar, but for rounding; NaN is below."""
    return np.asarray(values) >= bar - ROUNDING


def blended_codes(first: Array, second: Array, weights: ArrayLike) -> Array:
    """Return (1 - w) a + w b for each weight, (W, E) float32."""
    w = np.asarray(weights, float)[:, None]
    codes: Array = (1 - w) * first + w * second
    return codes.astype(np.float32)


def follow(
    predictor: Predictor,
    content_TC: Tensor,
    codes: tuple[Array, Array],
    weights: Sequence[float],
    speaker: str,
) -> tuple[Array, Array]:
    """Return a sound's faces at each weight (W, T, 68, 2), and those (T, 68, 2) of a leap.

    Args:
        predictor: a trained audio-to-landmark run.
        content_TC: content codes of the sound.
        codes: (E,) of both emotions; the leap is from the one to the other in the middle frame.
        weights: of the second.
        speaker: whose face it is.
    """
    T = len(content_TC)
    blends = np.repeat(blended_codes(*codes, weights)[:, None], T, axis=1)
    leap = np.where((np.arange(T) < T // 2)[:, None], *codes)[None]
    all_codes = np.concatenate([blends, leap.astype(np.float32)])
    neutral = predictor.space.neutral_of(speaker)
    faces = faces_under(predictor.model, content_TC, all_codes, neutral)
    return faces[:-1], faces[-1]


def path_figures(
    name: tuple[str, str, str],
    faces_WT: Array,
    leaping: Array,
    weights: Sequence[float],
    truth: tuple[Array, Array],
) -> PathFigures:
    """Return the figures of one path.

    Args:
        name: clip, first and second label.
        faces_WT: (W, T, 68, 2), pixels of the aligned face; the first weight 0, the last 1.
        leaping: (T, 68, 2), under a code that leaps from the first to the second in frame T // 2.
        weights: rising.
        truth: mean true faces (68, 2) of both labels.
    """
    gone_WT = way_gone(faces_WT, *truth)
    mouths = [mouth_opening(faces) for faces in faces_WT]
    stays = [correlation(mouths[0], mouth) for mouth in mouths[1:]]
    way = (truth[1] - truth[0])[list(SHOWS)]
    return PathFigures(
        *name,
        gone=tuple(gone_WT.mean(axis=1).tolist()),
        rank=float(rank_correlation(gone_WT.mean(axis=1), weights)),
        rank_frames=float(meets(rank_correlation(gone_WT, weights), RANK_BAR).mean()),
        mouth_r=float(np.min(stays)),
        way_px=float(np.sqrt(np.square(way).sum(axis=1).mean())),
        step_frames=arrival(way_gone(leaping, *truth), gone_WT[0], gone_WT[-1]),
    )


def arrival(leaping: Array, before: Array, after: Array) -> float:
    """Return how many frames after the middle a leap has arrived; NaN if it never does.

    It has in the first frame in which the track `leaping` is ARRIVED of the way from `before`,
    where no leap was made, to `after`, where all was like that from the start; each (T,).
    """
    middle = len(leaping) // 2
    come, way = (leaping - before)[middle:], (after - before)[middle:]
    there = np.flatnonzero(come * np.sign(way) >= ARRIVED * np.abs(way))
    return float(there[0]) if len(there) else float("nan")
