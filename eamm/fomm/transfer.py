"""Motion transfer from a driving video's keypoints to a source's (First Order Motion Model,
arXiv:2003.00196, "Testing Stage: Relative Motion Transfer"; formulas of its release).

Letters: B frames, K keypoints, N landmarks.
"""

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from affekt.arrays import Array
from affekt.nets.precision import in_float32
from eamm.fomm.keypoints import Keypoints, invert


@in_float32
def relative(
    source: Keypoints, driving: Keypoints, initial: Keypoints, scale: float = 1.0
) -> Keypoints:
    """Return the source's keypoints (B, K), moved as the driving ones are from the initial ones.

        value = source + scale (driving - initial)
        jacobian = J_driving J_initial^-1 J_source

    Absolute transfer, the release's default, takes the driving keypoints as they are; it needs a
    driving face as large, and in the same place, as the source's.

    Args:
        source: (1, K) or (B, K).
        driving: (B, K).
        initial: (1, K), of the driving frame that resembles the source: the first, or the best.
        scale: source lengths per driving length; see `movement_scale`.
    """
    value = source.value + scale * (driving.value - initial.value)
    jacobian = driving.jacobian @ invert(initial.jacobian) @ source.jacobian
    return Keypoints(value, jacobian)


def movement_scale(source: Keypoints, initial: Keypoints) -> float:
    """Return how much larger the source's face is: the root of the hulls' areas (FOMM release).

    Args:
        source: (1, K).
        initial: (1, K), of the driving video's initial frame.

    Raises:
        ValueError: keypoints of one of them lie on a line.
    """
    areas = [
        hull_area(kp.value[0].detach().double().cpu().numpy(), f"keypoints of the {name}")
        for name, kp in (("source", source), ("driving video", initial))
    ]
    return float(np.sqrt(areas[0] / areas[1]))


def pose_distance(source: Array, driving: Array) -> float:
    """Return the distance of two head poses: the least is the best frame (FOMM release).

    All landmarks (N, 2), in any unit, are moved to their mean and divided by the root of their
    hull's area: the sum of squared distances.
    """
    return float(np.square(_normalised(driving) - _normalised(source)).sum())


def hull_area(points: Array, what: str = "points") -> float:
    """Return the area of the convex hull of points (N, 2).

    Raises:
        ValueError: they lie on a line; `what` names them.
    """
    try:
        return float(ConvexHull(points).volume)  # in two dimensions the volume is the area
    except QhullError:
        raise ValueError(
            f"the {what} lie on a line or in one place: their hull has no area; "
            "is this FOMM trained?"
        ) from None


def _normalised(landmarks: Array) -> Array:
    centred = np.asarray(landmarks, float) - landmarks.mean(axis=0)
    return centred / np.sqrt(hull_area(centred, "landmarks"))
