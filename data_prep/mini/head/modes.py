"""Identity and expression modes: displacement fields over the whole head, in cm.

Identity modes are at one standard deviation, expression modes at full strength. The latter follow
the muscles that the Facial Action Coding System names (Ekman & Friesen 1978); the amplitudes are
ours, wide enough that a landmark detector sees them.

In the tables: p points (V, 3), jaw the share (V,) of the lower jaw's motion.
"""

from collections.abc import Callable

import numpy as np

from affekt.arrays import Array
from data_prep.mini.head.eyes import EYE
from data_prep.mini.head.mesh import both_sides, bump, smoothstep
from data_prep.mini.head.mouth import HALF_WIDTH, SLIT_Y

JAW_HINGE = np.array([0.0, 2.0, 0.5])  # y and z of the axis through both ears
JAW_ANGLE = 0.32  # radians at full opening

IdentityField = Callable[[Array], Array]  # points (V, 3) -> displacement (V, 3)
ExpressionField = Callable[[Array, Array], Array]  # points (V, 3), jaw weight (V,) -> (V, 3)


def _moved(weight: Array, x: Array | float, y: Array | float, z: Array | float) -> Array:
    return np.stack([weight * x, weight * y, weight * z], axis=-1)


def _front(p: Array) -> Array:
    return smoothstep(-2.0, -5.0, p[:, 2])


def _eye_region(p: Array) -> Array:
    """1 over eye and lids, so that they move as a whole, 0 from 2.2 cm outside the eye."""
    side = np.abs(p[:, 0]) - EYE[0]
    distance = np.hypot(side / 1.25, p[:, 1] - EYE[1])
    return smoothstep(2.7, 1.5, distance) * _front(p)


def _nearby(p: Array, y: float, radii: tuple[float, float]) -> Array:
    """Weight around the height `y` of the face's middle line."""
    return bump(p, (0.0, y), radii) * _front(p)


IDENTITY_FIELDS: dict[str, IdentityField] = {
    "face_width": lambda p: _moved(smoothstep(14.0, 11.0, p[:, 1]), 0.045 * p[:, 0], 0.0, 0.0),
    "jaw_width": lambda p: _moved(
        smoothstep(3.0, 9.0, p[:, 1]) * smoothstep(14.0, 11.8, p[:, 1]), 0.085 * p[:, 0], 0.0, 0.0
    ),
    "jaw_length": lambda p: _moved(
        smoothstep(6.5, 11.5, p[:, 1]) * smoothstep(15.0, 12.0, p[:, 1]) * _front(p), 0.0, 0.45, 0.0
    ),
    "skull_height": lambda p: _moved(smoothstep(-4.0, -11.0, p[:, 1]), 0.0, -0.35, 0.0),
    "eye_distance": lambda p: _moved(_eye_region(p), 0.13 * np.sign(p[:, 0]), 0.0, 0.0),
    "eye_size": lambda p: _moved(
        _eye_region(p), 0.05 * (p[:, 0] - np.sign(p[:, 0]) * EYE[0]), 0.10 * p[:, 1], 0.0
    ),
    "eye_slant": lambda p: _moved(_eye_region(p), 0.0, -0.07 * (np.abs(p[:, 0]) - EYE[0]), 0.0),
    "brow_height": lambda p: _moved(
        smoothstep(-1.0, -1.9, p[:, 1]) * smoothstep(-6.0, -3.5, p[:, 1]) * _front(p),
        0.0, -0.22, 0.0,
    ),
    "nose_width": lambda p: _moved(_nearby(p, 4.4, (1.9, 1.4)), 0.12 * p[:, 0], 0.0, 0.0),
    "nose_length": lambda p: _moved(_nearby(p, 4.5, (2.2, 1.8)), 0.0, 0.20, 0.0),
    "nose_depth": lambda p: _moved(_nearby(p, 4.0, (1.1, 1.7)), 0.0, 0.0, -0.22),
    "mouth_width": lambda p: _moved(_nearby(p, SLIT_Y, (3.6, 1.9)), 0.07 * p[:, 0], 0.0, 0.0),
    "mouth_height": lambda p: _moved(_nearby(p, SLIT_Y, (3.6, 2.2)), 0.0, 0.18, 0.0),
    "lip_fullness": lambda p: _moved(
        _nearby(p, SLIT_Y, (2.8, 1.2)), 0.0, 0.16 * (p[:, 1] - SLIT_Y), -0.04
    ),
    "chin": lambda p: _moved(_nearby(p, 10.4, (2.2, 1.4)), 0.0, 0.0, -0.22),
    "cheeks": lambda p: _moved(
        bump(np.abs(p) * np.array([1, 0, 0]) + p * np.array([0, 1, 1]), (4.6, 5.6), (2.0, 2.6)),
        0.16 * np.sign(p[:, 0]), 0.0, -0.12,
    ),
}  # fmt: skip
IDENTITIES = (*IDENTITY_FIELDS, "brow_thickness")  # the last is a mode of the part in eyes.py


def jaw_turn(p: Array, jaw: Array) -> Array:
    """The lower jaw turns about the axis through the ears."""
    arm = p - JAW_HINGE
    behind = smoothstep(2.5, -2.0, p[:, 2])
    turn = np.stack([0 * arm[:, 0], -arm[:, 2], arm[:, 1]], axis=-1) * JAW_ANGLE
    return turn * (jaw * behind)[:, None]


def _face_front(p: Array) -> Array:
    return smoothstep(-3.0, -6.0, p[:, 2])


def _around_mouth(p: Array, rx: float, ry: float) -> Array:
    return bump(p, (0.0, SLIT_Y), (rx, ry)) * _face_front(p)


def _corners(p: Array, rx: float, ry: float) -> Array:
    return both_sides(p, (HALF_WIDTH, SLIT_Y), (rx, ry)) * _face_front(p)


def _upper_lip(p: Array, jaw: Array, ry: float) -> Array:
    return bump(p, (0.0, SLIT_Y - 0.5), (2.0, ry)) * (1 - jaw)


def _above_eyes(p: Array) -> Array:
    """1 at the brows and over them, 0 at the lids, so that brows do not drag the eyes along."""
    return smoothstep(-0.95, -1.75, p[:, 1]) * smoothstep(0.0, -4.0, p[:, 2])


def _round(p: Array, jaw: Array) -> Array:
    lips = bump(p, (0.0, SLIT_Y), (2.0, 1.3))
    moved = _moved(_around_mouth(p, 3.3, 1.7), -0.40 * p[:, 0], 0.0, 0.0)
    moved[:, 2] -= 0.75 * lips * _face_front(p)
    moved[:, 1] += 0.22 * lips * (p[:, 1] - SLIT_Y)  # fuller; the slit stays closed
    return moved


def _smile(p: Array, jaw: Array) -> Array:
    side = np.tanh(p[:, 0] / 1.2)
    moved = _moved(_corners(p, 2.0, 1.6), 0.60 * side, -0.92, 0.35)
    moved += _moved(both_sides(p, (3.6, 4.0), (1.8, 1.5)), 0.10 * side, -0.35, -0.28)
    return moved + _moved(bump(p, (0.0, SLIT_Y), (1.5, 1.0)), 0.0, 0.12, 0.12)


def _brow_down(p: Array, jaw: Array) -> Array:
    inner = both_sides(p, (1.5, -2.3), (1.9, 1.5)) * _above_eyes(p)
    outer = both_sides(p, (4.0, -2.5), (1.6, 1.4)) * _above_eyes(p)
    side = np.tanh(p[:, 0] / 0.5)
    return _moved(inner, -0.42 * side, 0.80, -0.18) + _moved(outer, 0.0, 0.12, 0.0)


EXPRESSION_FIELDS: dict[str, ExpressionField] = {
    # the jaw turns and the upper lip rises a little
    "jaw_open": lambda p, jaw: (
        jaw_turn(p, jaw) + _moved(_upper_lip(p, jaw, 1.2), 0.0, -0.30, -0.03)
    ),
    # the upper lip bares the teeth; the lower lip drops off the lower teeth
    "upper_lip_up": lambda p, jaw: _moved(_upper_lip(p, jaw, 1.3), 0.0, -0.55, -0.05),
    "lower_lip_down": lambda p, jaw: _moved(
        bump(p, (0.0, SLIT_Y + 0.6), (2.0, 1.2)) * jaw, 0.0, 0.60, -0.05
    ),
    # corners drawn apart, as in i and s
    "wide": lambda p, _jaw: _moved(
        _around_mouth(p, 3.6, 1.8),
        0.62 * np.tanh(p[:, 0] / 1.8),
        0.0,
        0.28 * np.tanh(p[:, 0] / 1.8) * np.tanh(p[:, 0] / 1.8),
    ),
    "round": _round,  # corners drawn together and lips pushed forward, as in u and o
    # lips pressed into a thin line, as in m
    "press": lambda p, jaw: _moved(
        _around_mouth(p, 2.6, 1.2), 0.0, (SLIT_Y - p[:, 1]) * 0.32, 0.15
    ),
    # the lower lip against the upper teeth, as in f
    "tuck": lambda p, jaw: (
        _moved(bump(p, (0.0, SLIT_Y + 0.4), (1.9, 0.9)) * jaw, 0.0, -0.16, 0.50)
        + _moved(_upper_lip(p, jaw, 1.2), 0.0, -0.40, -0.10)
    ),
    "smile": _smile,  # corners up and outwards, cheeks up
    # corners down
    "frown": lambda p, _jaw: (
        _moved(_corners(p, 1.5, 1.5), 0.05 * np.tanh(p[:, 0] / 1.2), 0.72, 0.05)
        + _moved(bump(p, (0.0, SLIT_Y), (1.2, 0.9)), 0.0, -0.18, -0.05)
    ),
    # nose wrinkled: its wings and sides up
    "sneer": lambda p, _jaw: (
        _moved(both_sides(p, (1.3, 4.9), (1.0, 1.2)), 0.0, -0.40, -0.08)
        + _moved(bump(p, (0.0, 3.6), (1.3, 1.6)), 0.0, -0.12, 0.0)
    ),
    # both sides of the upper lip up
    "lip_curl": lambda p, jaw: _moved(
        both_sides(p, (1.2, SLIT_Y - 0.6), (1.1, 0.9)) * (1 - jaw), 0.0, -0.62, -0.08
    ),
    # one corner, the one at the image right, drawn back and up
    "smirk": lambda p, _jaw: (
        _moved(bump(p, (HALF_WIDTH, SLIT_Y), (1.5, 1.4)) * _face_front(p), 0.55, -0.85, 0.35)
        + _moved(bump(p, (3.6, 4.2), (1.7, 1.5)), 0.1, -0.3, -0.25)
    ),
    # chin raised: lower lip up and out
    "pout": lambda p, jaw: (
        _moved(bump(p, (0.0, SLIT_Y + 0.8), (1.7, 1.0)) * jaw, 0.0, -0.10, -0.35)
        + _moved(bump(p, (0.0, 9.8), (1.6, 1.2)), 0.0, -0.25, -0.05)
    ),
    # inner ends of the brows up, outer ends a little down
    "brow_inner_up": lambda p, _jaw: (
        _moved(both_sides(p, (1.2, -2.4), (1.9, 1.7)) * _above_eyes(p), 0.0, -1.0, -0.05)
        + _moved(both_sides(p, (5.0, -2.2), (1.3, 1.3)) * _above_eyes(p), 0.0, 0.25, 0.0)
    ),
    "brow_outer_up": lambda p, _jaw: _moved(
        both_sides(p, (4.0, -2.6), (1.9, 1.7)) * _above_eyes(p), 0.0, -1.05, 0.0
    ),
    "brow_down": _brow_down,  # brows lowered and drawn together, most at their inner ends
    # the brow at the image right up, as in doubt
    "brow_one_up": lambda p, _jaw: _moved(
        bump(p, (3.4, -2.6), (2.2, 1.7)) * _above_eyes(p), 0.0, -0.95, 0.0
    ),
    # cheeks raised under the eyes
    "cheek_up": lambda p, _jaw: _moved(both_sides(p, (3.6, 3.0), (1.9, 1.4)), 0.0, -0.40, -0.25),
}
PART_MODES = ("blink", "lid_raise", "squint", "gaze_x", "gaze_y")  # of the parts in eyes.py
EXPRESSIONS = (*EXPRESSION_FIELDS, *PART_MODES)
EXPRESSION_INDEX = {name: column for column, name in enumerate(EXPRESSIONS)}
