"""Expression modes: one displacement field a mode, in cm at full strength.

The modes follow the muscles that the Facial Action Coding System names (Ekman & Friesen 1978); the
amplitudes are ours, wide enough that a landmark detector sees them.
"""

from collections.abc import Callable

import numpy as np

from affekt.arrays import Array
from data_prep.mini.head.mesh import both_sides, bump, smoothstep
from data_prep.mini.head.mouth import HALF_WIDTH, SLIT_Y

JAW_HINGE = np.array([0.0, 2.0, 0.5])  # y and z of the axis through both ears
JAW_ANGLE = 0.32  # radians at full opening

Field = Callable[[Array, Array], Array]  # points (V, 3), jaw weight (V,) -> displacement (V, 3)


def jaw_turn(points: Array, jaw: Array) -> Array:
    """The lower jaw turns about the axis through the ears."""
    arm = points - JAW_HINGE
    behind = smoothstep(2.5, -2.0, points[:, 2])
    turn = np.stack([0 * arm[:, 0], -arm[:, 2], arm[:, 1]], axis=-1) * JAW_ANGLE
    return turn * (jaw * behind)[:, None]


def jaw_open(points: Array, jaw: Array) -> Array:
    """The jaw turns and the upper lip rises a little."""
    upper = bump(points, (0.0, SLIT_Y - 0.5), (2.0, 1.2)) * (1 - jaw)
    return jaw_turn(points, jaw) + _moved(upper, 0.0, -0.30, -0.03)


def _around_mouth(points: Array, rx: float = 3.4, ry: float = 2.2) -> Array:
    return bump(points, (0.0, SLIT_Y), (rx, ry)) * smoothstep(-3.0, -6.0, points[:, 2])


def _corners(points: Array, rx: float = 1.5, ry: float = 1.4) -> Array:
    front = smoothstep(-3.0, -6.0, points[:, 2])
    return both_sides(points, (HALF_WIDTH, SLIT_Y), (rx, ry)) * front


def _moved(weight: Array, x: Array | float, y: Array | float, z: Array | float) -> Array:
    return np.stack([weight * x, weight * y, weight * z], axis=-1)


def upper_lip_up(points: Array, jaw: Array) -> Array:
    """The upper lip bares the teeth."""
    weight = bump(points, (0.0, SLIT_Y - 0.5), (2.0, 1.3)) * (1 - jaw)
    return _moved(weight, 0.0, -0.55, -0.05)


def lower_lip_down(points: Array, jaw: Array) -> Array:
    """The lower lip drops off the lower teeth."""
    weight = bump(points, (0.0, SLIT_Y + 0.6), (2.0, 1.2)) * jaw
    return _moved(weight, 0.0, 0.60, -0.05)


def wide(points: Array, jaw: Array) -> Array:
    """Corners drawn apart, as in i and s."""
    pull = np.tanh(points[:, 0] / 1.8)
    return _moved(_around_mouth(points, 3.6, 1.8), 0.62 * pull, 0.0, 0.28 * pull * pull)


def round_lips(points: Array, jaw: Array) -> Array:
    """Corners drawn together and lips pushed forward, as in u and o."""
    weight = _around_mouth(points, 3.3, 1.7)
    lips = bump(points, (0.0, SLIT_Y), (2.0, 1.3))
    moved = _moved(weight, -0.40 * points[:, 0], 0.0, 0.0)
    moved[:, 2] -= 0.75 * lips * smoothstep(-3.0, -6.0, points[:, 2])
    moved[:, 1] += 0.22 * lips * (points[:, 1] - SLIT_Y)  # fuller; the slit stays closed
    return moved


def press(points: Array, jaw: Array) -> Array:
    """Lips pressed into a thin line, as in m."""
    weight = _around_mouth(points, 2.6, 1.2)
    toward = (SLIT_Y - points[:, 1]) * 0.32
    return _moved(weight, 0.0, toward, 0.15)


def tuck(points: Array, jaw: Array) -> Array:
    """The lower lip against the upper teeth, as in f."""
    weight = bump(points, (0.0, SLIT_Y + 0.4), (1.9, 0.9)) * jaw
    upper = bump(points, (0.0, SLIT_Y - 0.5), (2.0, 1.2)) * (1 - jaw)
    return _moved(weight, 0.0, -0.16, 0.50) + _moved(upper, 0.0, -0.40, -0.10)


def smile(points: Array, jaw: Array) -> Array:
    """Corners up and outwards, cheeks up."""
    side = np.tanh(points[:, 0] / 1.2)
    moved = _moved(_corners(points, 2.0, 1.6), 0.60 * side, -0.92, 0.35)
    moved += _moved(both_sides(points, (3.6, 4.0), (1.8, 1.5)), 0.10 * side, -0.35, -0.28)
    middle = bump(points, (0.0, SLIT_Y), (1.5, 1.0))
    return moved + _moved(middle, 0.0, 0.12, 0.12)


def frown(points: Array, jaw: Array) -> Array:
    """Corners down."""
    side = np.tanh(points[:, 0] / 1.2)
    moved = _moved(_corners(points, 1.5, 1.5), 0.05 * side, 0.72, 0.05)
    return moved + _moved(bump(points, (0.0, SLIT_Y), (1.2, 0.9)), 0.0, -0.18, -0.05)


def sneer(points: Array, jaw: Array) -> Array:
    """Nose wrinkled: its wings and sides up."""
    wings = both_sides(points, (1.3, 4.9), (1.0, 1.2))
    nose = bump(points, (0.0, 3.6), (1.3, 1.6))
    return _moved(wings, 0.0, -0.40, -0.08) + _moved(nose, 0.0, -0.12, 0.0)


def lip_curl(points: Array, jaw: Array) -> Array:
    """Both sides of the upper lip up."""
    lip = both_sides(points, (1.2, SLIT_Y - 0.6), (1.1, 0.9)) * (1 - jaw)
    return _moved(lip, 0.0, -0.62, -0.08)


def smirk(points: Array, jaw: Array) -> Array:
    """One corner, the one at the image right, drawn back and up."""
    front = smoothstep(-3.0, -6.0, points[:, 2])
    corner = bump(points, (HALF_WIDTH, SLIT_Y), (1.5, 1.4)) * front
    cheek = bump(points, (3.6, 4.2), (1.7, 1.5))
    return _moved(corner, 0.55, -0.85, 0.35) + _moved(cheek, 0.1, -0.3, -0.25)


def pout(points: Array, jaw: Array) -> Array:
    """Chin raised: lower lip up and out."""
    lip = bump(points, (0.0, SLIT_Y + 0.8), (1.7, 1.0)) * jaw
    chin = bump(points, (0.0, 9.8), (1.6, 1.2))
    return _moved(lip, 0.0, -0.10, -0.35) + _moved(chin, 0.0, -0.25, -0.05)


def brow_inner_up(points: Array, jaw: Array) -> Array:
    """Inner ends of the brows up, outer ends a little down."""
    weight = both_sides(points, (1.2, -2.4), (1.9, 1.7)) * _above_eyes(points)
    outer = both_sides(points, (5.0, -2.2), (1.3, 1.3)) * _above_eyes(points)
    return _moved(weight, 0.0, -1.0, -0.05) + _moved(outer, 0.0, 0.25, 0.0)


def brow_outer_up(points: Array, jaw: Array) -> Array:
    """Outer halves of the brows up."""
    weight = both_sides(points, (4.0, -2.6), (1.9, 1.7)) * _above_eyes(points)
    return _moved(weight, 0.0, -1.05, 0.0)


def brow_down(points: Array, jaw: Array) -> Array:
    """Brows lowered and drawn together, most at their inner ends."""
    weight = both_sides(points, (1.5, -2.3), (1.9, 1.5)) * _above_eyes(points)
    outer = both_sides(points, (4.0, -2.5), (1.6, 1.4)) * _above_eyes(points)
    side = np.tanh(points[:, 0] / 0.5)
    return _moved(weight, -0.42 * side, 0.80, -0.18) + _moved(outer, 0.0, 0.12, 0.0)


def brow_one_up(points: Array, jaw: Array) -> Array:
    """The brow at the image right up, as in doubt."""
    weight = bump(points, (3.4, -2.6), (2.2, 1.7)) * _above_eyes(points)
    return _moved(weight, 0.0, -0.95, 0.0)


def cheek_up(points: Array, jaw: Array) -> Array:
    """Cheeks raised under the eyes."""
    weight = both_sides(points, (3.6, 3.0), (1.9, 1.4))
    return _moved(weight, 0.0, -0.40, -0.25)


def _above_eyes(points: Array) -> Array:
    """1 at the brows and over them, 0 at the lids, so that brows do not drag the eyes along."""
    return smoothstep(-0.95, -1.75, points[:, 1]) * smoothstep(0.0, -4.0, points[:, 2])


FIELDS: dict[str, Field] = {
    "jaw_open": jaw_open,
    "upper_lip_up": upper_lip_up,
    "lower_lip_down": lower_lip_down,
    "wide": wide,
    "round": round_lips,
    "press": press,
    "tuck": tuck,
    "smile": smile,
    "frown": frown,
    "sneer": sneer,
    "lip_curl": lip_curl,
    "smirk": smirk,
    "pout": pout,
    "brow_inner_up": brow_inner_up,
    "brow_outer_up": brow_outer_up,
    "brow_down": brow_down,
    "brow_one_up": brow_one_up,
    "cheek_up": cheek_up,
}
PART_MODES = ("blink", "lid_raise", "squint", "gaze_x", "gaze_y")  # defined by eyes.py
EXPRESSIONS = (*FIELDS, *PART_MODES)
EXPRESSION_INDEX = {name: column for column, name in enumerate(EXPRESSIONS)}
