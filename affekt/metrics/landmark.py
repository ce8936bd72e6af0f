"""Landmark distance (LD) and landmark velocity difference (LVD), by each paper's own convention.

EVP (CVPR 2021, Sec. 4.1) defines both, on mouth and face, and leaves open in what frame of
reference. Others measure under the same names something else, by more than methods differ, so a
figure is read with its convention:

    evp         ours for EVP's words (ld-v1): each frame aligned by a similarity on its own rigid
                points to the 256 px template of affekt.media.faces.geometry: pixels of a face of
                that size, with head motion compensated, as the paper states. Only nose bridge
                and eye corners are used: with more points, motion of the mouth would be aligned
                away.
    atvg        ATVGnet's script: the mouth's centroid is removed, nothing scaled or turned; pixels
                of the video. The script prints the sum over 20 points, m_ld_sum here.
    eat         EAT's evaluation: mouth and face each less their own centroid for LD, raw points,
                head motion included, for LVD; pixels of the video.
    makeittalk  distances in % of the widest mouth of the true clip; no script was released.
    eamm        EAMM's M-LMD and F-LMD: its crop of the whole clip by the first frame, 256 px, then
                as atvg.

To add a metric to a table: compute it in `landmark_scores` under a new name (LandmarkMeasure of
affekt/evaluation/measures.py passes on every name), raise
LandmarkMeasure.identity, and name it as a column in affekt/evaluation/tables/papers.yaml.

Letters: T frames of a clip, N landmarks, D 2 or 3 coordinates. Raw landmarks are pixels of the
video, (T, 68, D); a frame without a face is NaN.
"""

import typing as tp
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from affekt.arrays import Array
from affekt.media.faces.crop import EAMM_TEMPLATE
from affekt.media.faces.geometry import View, align_2d, align_3d, apply, similarity
from affekt.media.faces.points import (
    COUNT,
    EMOTION,
    MOUTH,
    MOUTH_CORNERS,
    RIGID,
    mouth_opening,
)

Scores = dict[str, float]
Convention = tp.Literal["evp", "atvg", "eat", "makeittalk", "eamm"]

METRICS = ("m_ld", "m_lvd", "f_ld", "f_lvd")  # of every convention
FACE = tuple(range(COUNT))
PARTS = {"m": MOUTH, "f": FACE}
STILL = 1e-6  # of a standard deviation; a track that moves less has no correlation
OUTER_EYE_CORNERS = (36, 45)  # their distance is what landmark papers call inter-ocular


def aligned(raw: Array, view: View = "2d") -> Array:
    """Return raw landmarks (T, 68, D) in the 256 px template's frame, (T, 68, 2); NaN stays NaN.

    Raises:
        ValueError: the 3d view of landmarks without depth.
    """
    raw = np.asarray(raw, float)
    if view == "3d" and raw.shape[-1] != 3:
        raise ValueError(f"landmarks of shape {raw.shape} have no depth, which the 3d view needs")
    points = np.full((len(raw), COUNT, 2), np.nan)
    found = _whole(raw)
    if found.any():
        points[found] = align_3d(raw[found]) if view == "3d" else align_2d(raw[found, :, :2])
    return points


def distance(result: Array, truth: Array) -> Array:
    """LD: the Euclidean distance of landmarks (T, N, 2), mean over the points, (T,)."""
    return np.linalg.norm(result - truth, axis=-1).mean(axis=-1)


def velocity_difference(result: Array, truth: Array) -> Array:
    """LVD: the norm of the difference of displacements from frame to frame, (T - 1,).

    mean over n of |(r[t+1, n] - r[t, n]) - (g[t+1, n] - g[t, n])|
    """
    return distance(np.diff(result, axis=0), np.diff(truth, axis=0))


def landmark_scores(
    result: Array,
    truth: Array,
    placed: Callable[[Array], Array] = np.asarray,
    stepped: Callable[[Array], Array] = np.asarray,
) -> Scores:
    """Return m_ld, m_lvd, f_ld and f_lvd: LD and LVD on the mouth (20 points) and the face (68).

    A frame counts for LD where both sides have a face, a step for LVD where both its frames do.

    Args:
        result: landmarks (T, 68, D), as a rule aligned ones in pixels of the 256 px face; NaN where
            there is no face.
        truth: as many frames of the true video.
        placed, stepped: prepare a part's points (T, N, D) for LD and for LVD.

    Raises:
        ValueError: tracks of different length, or no two consecutive frames with both faces.
    """
    if len(result) != len(truth):
        raise ValueError(f"{len(result)} frames cannot be compared with {len(truth)}")
    # Frames with a face on both sides, and steps between two of them
    both = shared_frames(result, truth)
    steps = both[1:] & both[:-1]
    if not steps.any():
        raise ValueError(
            f"no two consecutive frames of {len(both)} have a face on both sides "
            f"(result {_whole(result).sum()}, truth {_whole(truth).sum()} frames)"
        )
    scores = {}
    # LD and LVD of mouth and face
    for name, part in PARTS.items():
        ours, theirs = result[:, part], truth[:, part]
        scores[f"{name}_ld"] = float(distance(placed(ours), placed(theirs))[both].mean())
        velocity = velocity_difference(stepped(ours), stepped(theirs))
        scores[f"{name}_lvd"] = float(velocity[steps].mean())
    return scores


def landmark_distances(
    result: Array,
    truth: Array,
    convention: Convention = "evp",
    view: View = "2d",
    eat_flvd_bug: bool = False,
) -> Scores:
    """Return m_ld, m_lvd, f_ld and f_lvd of raw landmarks by a convention, with its extras.

    A frame counts for LD where both sides have a face, a step for LVD where both its frames do.

    Args:
        result: (T, 68, D) raw landmarks, pixels of the video, NaN where there is no face.
        truth: as many frames of the true video.
        convention: what is compared; see the module. Extras: m_ld_iod and its like by evp, m_ld_sum
            by atvg.
        view: 3d turns faces to the front first, by evp and makeittalk alone; it needs depth.
        eat_flvd_bug: report, as EAT's published script does, f_lvd as m_lvd * 20 / 68: the script
            adds the mouth's sum to the face's count. By eat alone.

    Raises:
        ValueError: other lengths, or no two consecutive frames with both faces.
    """
    assert result.shape[1] == truth.shape[1] == COUNT, (result.shape, truth.shape)
    if convention == "evp":
        return evp(result, truth, view)
    if convention == "makeittalk":
        return makeittalk(result, truth, view)
    if convention == "eat":
        return eat(result, truth, eat_flvd_bug)
    return {"atvg": atvg, "eamm": eamm}[convention](result, truth)


def evp(result: Array, truth: Array, view: View = "2d") -> Scores:
    """Return LD and LVD in pixels of the 256 px face, and in % of the eyes' distance (_iod).

    That distance is the mean, over the true frames with a face, between the outer eye corners.
    """
    ours, theirs = aligned(result, view), aligned(truth, view)
    scores = landmark_scores(ours, theirs)
    unit = np.nanmean(_span(theirs, OUTER_EYE_CORNERS))
    return scores | {f"{name}_iod": float(100 * value / unit) for name, value in scores.items()}


def atvg(result: Array, truth: Array) -> Scores:
    """Return LD and LVD of parts less their centroid, pixels of the video, and the sum m_ld_sum.

    The script prints that sum, of the mouth alone; face and LVD by the same rule are ours.
    """
    scores = landmark_scores(_flat(result), _flat(truth), centred, centred)
    return scores | {"m_ld_sum": len(MOUTH) * scores["m_ld"]}


def eat(result: Array, truth: Array, flvd_bug: bool = False) -> Scores:
    """Return LD of parts less their centroid and LVD of raw points, pixels of the video.

    The script also skips frames without a face in silence and stretches clips to one length; here
    frames are paired, and coverage is reported.
    """
    scores = landmark_scores(_flat(result), _flat(truth), centred)
    if flvd_bug:
        scores["f_lvd"] = scores["m_lvd"] * len(MOUTH) / len(FACE)
    return scores


def makeittalk(result: Array, truth: Array, view: View = "2d") -> Scores:
    """Return LD and LVD of aligned landmarks in % of the greatest lip width of the true clip.

    MakeItTalk (Zhou et al. 2020) took that unit; its evaluation was never released, so the
    alignment is evp's.
    """
    ours, theirs = aligned(result, view), aligned(truth, view)
    scores = landmark_scores(ours, theirs)
    unit = np.nanmax(_span(theirs, MOUTH_CORNERS))
    return {name: float(100 * value / unit) for name, value in scores.items()}


def eamm(result: Array, truth: Array) -> Scores:
    """Return LD (the paper's LMD) and LVD of parts less their centroid, in EAMM's 256 px crop.

    Each side is moved as a whole by the similarity of its first frame with a face onto the crop's
    template, so that zoom and head motion after it remain. LVD is ours.
    """
    return landmark_scores(_first_frame_crop(result), _first_frame_crop(truth), centred, centred)


def centred(points: Array) -> Array:
    """Return points (T, N, D) less each frame's centroid."""
    return points - points.mean(axis=1, keepdims=True)


def shared_frames(result: Array, truth: Array) -> Array:
    """Return which frames of landmarks (T, 68, D) have a face on both sides, (T,) bool."""
    return _whole(result) & _whole(truth)


def correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Return the correlation of two tracks (T,), NaN where one is still.

    Only times at which both are defined (not NaN) count. NaN rather than 0: a track that never
    moves has no correlation; take the median over clips without NaN.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    defined = ~(np.isnan(a) | np.isnan(b))
    if not defined.any() or min(a[defined].std(), b[defined].std()) < STILL:
        return float("nan")
    return float(np.corrcoef(a[defined], b[defined])[0, 1])


def mouth_correlation(first: Array, second: Array) -> float:
    """Return the correlation of the mouth openings of two clips (T, 68, 2); see `correlation`."""
    return correlation(mouth_opening(first), mouth_opening(second))


def point_distance(first: Array, second: Array, points: tuple[int, ...] = MOUTH) -> float:
    """Return the mean Euclidean distance of the named points of (..., 68, 2) landmarks."""
    chosen = list(points)
    return float(np.linalg.norm(first[..., chosen, :] - second[..., chosen, :], axis=-1).mean())


def moved_toward(swapped: Array, source_mean: Array, target_mean: Array) -> bool:
    """Return whether a clip's face is nearer the target emotion than the source emotion.

    Compared is the clip's mean over time of brows, lids and mouth corners, by the mean distance
    of these points to the true mean face of either emotion.

    Args:
        swapped: the predicted clip under the target emotion, (T, 68, 2).
        source_mean: true mean face (68, 2) of the speaker in the clip's own emotion.
        target_mean: the same in the emotion that was asked for.
    """
    face = swapped.mean(axis=0)
    return point_distance(face, target_mean, EMOTION) < point_distance(face, source_mean, EMOTION)


def axis_projection(faces: Array, start: Array, end: Array, points: tuple[int, ...]) -> Array:
    """Return the projection of faces (..., 68, 2) on the axis between two faces (68, 2), (...).

    <face - start, end - start> / |end - start|^2 over the named points: 0 at the start, 1 at the
    end, NaN where both are one or a face is missing. Ours.
    """
    chosen = list(points)
    axis = (end - start)[chosen].ravel()
    away = (faces - start)[..., chosen, :].reshape(*faces.shape[:-2], -1)
    length = float(axis @ axis)
    return away @ axis / length if length else np.full(faces.shape[:-2], np.nan)


def _flat(raw: Array) -> Array:
    return np.asarray(raw, float)[..., :2]


def _first_frame_crop(raw: Array) -> Array:
    """Return raw landmarks in EAMM's crop, (T, 68, 2); as they are where no frame has a face."""
    points = _flat(raw)
    found = _whole(points)
    if not found.any():
        return points
    first = points[int(found.argmax())]
    return apply(similarity(first[list(RIGID)], EAMM_TEMPLATE), points)


def _span(points: Array, ends: tuple[int, int]) -> Array:
    """Return the distance between two of the landmarks (T, 68, D) of each frame, (T,)."""
    return np.linalg.norm(points[:, ends[0]] - points[:, ends[1]], axis=-1)


def _whole(points: Array) -> Array:
    return np.isfinite(points).all(axis=(1, 2))
