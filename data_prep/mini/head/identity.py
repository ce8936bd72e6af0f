"""Identity modes: displacement fields over the whole head, in cm at one standard deviation."""

from collections.abc import Callable

import numpy as np

from affekt.arrays import Array
from data_prep.mini.head.eyes import EYE
from data_prep.mini.head.mesh import bump, smoothstep
from data_prep.mini.head.mouth import SLIT_Y

Field = Callable[[Array], Array]


def _moved(weight: Array, x: Array | float, y: Array | float, z: Array | float) -> Array:
    return np.stack([weight * x, weight * y, weight * z], axis=-1)


def _front(points: Array) -> Array:
    return smoothstep(-2.0, -5.0, points[:, 2])


def _eye_region(points: Array) -> Array:
    """1 over eye and lids, so that they move as a whole, 0 from 2.2 cm outside the eye."""
    side = np.abs(points[:, 0]) - EYE[0]
    distance = np.hypot(side / 1.25, points[:, 1] - EYE[1])
    return smoothstep(2.7, 1.5, distance) * _front(points)


def _face_width(p: Array) -> Array:
    return _moved(smoothstep(14.0, 11.0, p[:, 1]), 0.045 * p[:, 0], 0.0, 0.0)


def _jaw_width(p: Array) -> Array:
    weight = smoothstep(3.0, 9.0, p[:, 1]) * smoothstep(14.0, 11.8, p[:, 1])
    return _moved(weight, 0.085 * p[:, 0], 0.0, 0.0)


def _jaw_length(p: Array) -> Array:
    weight = smoothstep(6.5, 11.5, p[:, 1]) * smoothstep(15.0, 12.0, p[:, 1]) * _front(p)
    return _moved(weight, 0.0, 0.45, 0.0)


def _skull_height(p: Array) -> Array:
    return _moved(smoothstep(-4.0, -11.0, p[:, 1]), 0.0, -0.35, 0.0)


def _eye_distance(p: Array) -> Array:
    return _moved(_eye_region(p), 0.13 * np.sign(p[:, 0]), 0.0, 0.0)


def _eye_size(p: Array) -> Array:
    weight = _eye_region(p)
    return _moved(weight, 0.05 * (p[:, 0] - np.sign(p[:, 0]) * EYE[0]), 0.10 * p[:, 1], 0.0)


def _eye_slant(p: Array) -> Array:
    weight = _eye_region(p)
    return _moved(weight, 0.0, -0.07 * (np.abs(p[:, 0]) - EYE[0]), 0.0)


def _brow_height(p: Array) -> Array:
    weight = smoothstep(-1.0, -1.9, p[:, 1]) * smoothstep(-6.0, -3.5, p[:, 1]) * _front(p)
    return _moved(weight, 0.0, -0.22, 0.0)


def _nose_width(p: Array) -> Array:
    return _moved(bump(p, (0.0, 4.4), (1.9, 1.4)) * _front(p), 0.12 * p[:, 0], 0.0, 0.0)


def _nose_length(p: Array) -> Array:
    return _moved(bump(p, (0.0, 4.5), (2.2, 1.8)) * _front(p), 0.0, 0.20, 0.0)


def _nose_depth(p: Array) -> Array:
    return _moved(bump(p, (0.0, 4.0), (1.1, 1.7)) * _front(p), 0.0, 0.0, -0.22)


def _mouth_width(p: Array) -> Array:
    return _moved(bump(p, (0.0, SLIT_Y), (3.6, 1.9)) * _front(p), 0.07 * p[:, 0], 0.0, 0.0)


def _mouth_height(p: Array) -> Array:
    return _moved(bump(p, (0.0, SLIT_Y), (3.6, 2.2)) * _front(p), 0.0, 0.18, 0.0)


def _lip_fullness(p: Array) -> Array:
    weight = bump(p, (0.0, SLIT_Y), (2.8, 1.2)) * _front(p)
    return _moved(weight, 0.0, 0.16 * (p[:, 1] - SLIT_Y), -0.04)


def _chin(p: Array) -> Array:
    return _moved(bump(p, (0.0, 10.4), (2.2, 1.4)) * _front(p), 0.0, 0.0, -0.22)


def _cheeks(p: Array) -> Array:
    weight = bump(np.abs(p) * np.array([1, 0, 0]) + p * np.array([0, 1, 1]), (4.6, 5.6), (2.0, 2.6))
    return _moved(weight, 0.16 * np.sign(p[:, 0]), 0.0, -0.12)


FIELDS: dict[str, Field] = {
    "face_width": _face_width,
    "jaw_width": _jaw_width,
    "jaw_length": _jaw_length,
    "skull_height": _skull_height,
    "eye_distance": _eye_distance,
    "eye_size": _eye_size,
    "eye_slant": _eye_slant,
    "brow_height": _brow_height,
    "nose_width": _nose_width,
    "nose_length": _nose_length,
    "nose_depth": _nose_depth,
    "mouth_width": _mouth_width,
    "mouth_height": _mouth_height,
    "lip_fullness": _lip_fullness,
    "chin": _chin,
    "cheeks": _cheeks,
}
PART_MODES = ("brow_thickness",)  # defined by eyes.py
IDENTITIES = (*FIELDS, *PART_MODES)
