"""Landmark distance and velocity difference of EVP (CVPR 2021, Sec. 4.1), on mouth and face.

Both sides are first aligned: each frame by a similarity on its own rigid points to the 256 px
template of media.geometry, so that distances are pixels of a face of that size, whatever the size
of the video, and head motion is compensated as the paper says it was. Only nose bridge and eye
corners are used, since with more points motion of the mouth would be aligned away.

Letters: T frames of a clip, N landmarks.
"""

import typing as tp
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.geometry import View, align_2d, align_3d
from media.landmarks import Detector
from media.points import COUNT, MOUTH

Array = NDArray[tp.Any]
Scores = dict[str, float]

FACE = tuple(range(COUNT))


@dataclass(frozen=True)
class Track:
    """The aligned landmarks of a clip; frames without a face are NaN."""

    points: Array  # (T, 68, 2) float64, pixels of the 256 px face

    @property
    def found(self) -> Array:
        """Which frames have a face, (T,) bool."""
        return _whole(self.points)


def track(frames: Iterable[Array], detector: Detector, view: View = "2d") -> Track:
    """Detect the face in every frame (H, W, 3) uint8 RGB, and align it.

    Raises:
        ValueError: the 3D view of a detector without depth.
    """
    raw = np.array([_detected(frame, detector, view) for frame in frames])
    points = np.full((len(raw), COUNT, 2), np.nan)
    found = _whole(raw)
    if found.any():
        points[found] = (align_3d if view == "3d" else align_2d)(raw[found])
    return Track(points)


def distance(result: Array, truth: Array) -> Array:
    """LD: the Euclidean distance of landmarks (T, N, 2), mean over the points, (T,)."""
    mean: Array = np.linalg.norm(result - truth, axis=-1).mean(axis=-1)
    return mean


def velocity_difference(result: Array, truth: Array) -> Array:
    """LVD: the norm of the difference of displacements from frame to frame, (T - 1,).

    mean over n of |(r[t+1, n] - r[t, n]) - (g[t+1, n] - g[t, n])|
    """
    return distance(np.diff(result, axis=0), np.diff(truth, axis=0))


def landmark_scores(result: Track, truth: Track) -> Scores:
    """Return m_ld, m_lvd, f_ld and f_lvd: LD and LVD on the mouth (20 points) and the face (68).

    A frame counts for LD where both sides have a face, a step for LVD where both its frames do.

    Raises:
        ValueError: tracks of different length, or no two consecutive frames with both faces.
    """
    if len(result.points) != len(truth.points):
        raise ValueError(f"{len(result.points)} frames cannot be held against {len(truth.points)}")
    both = result.found & truth.found
    steps = both[1:] & both[:-1]
    if not steps.any():
        raise ValueError(
            f"no two consecutive frames of {len(both)} have a face on both sides "
            f"(result {result.found.sum()}, truth {truth.found.sum()} frames)"
        )
    scores = {}
    for name, points in (("m", MOUTH), ("f", FACE)):
        ours, theirs = result.points[:, points], truth.points[:, points]
        scores[f"{name}_ld"] = float(distance(ours, theirs)[both].mean())
        scores[f"{name}_lvd"] = float(velocity_difference(ours, theirs)[steps].mean())
    return scores


def coverage(result: Track, truth: Track) -> float:
    """Return the share of frames, 0 to 1, with a face on both sides."""
    return float((result.found & truth.found).mean())


def _detected(frame: Array, detector: Detector, view: View) -> Array:
    """Return the landmarks of a frame, (68, 2 or 3); NaN where there is no face."""
    face = detector.detect(frame)
    if face is None:
        return np.full((COUNT, 3 if view == "3d" else 2), np.nan)
    points = face.points3d if view == "3d" else face.points
    if points is None:
        raise ValueError(f"{detector.version} gives no depth, which the 3d view needs")
    return points


def _whole(points: Array) -> Array:
    whole: Array = np.isfinite(points).all(axis=(1, 2))
    return whole
