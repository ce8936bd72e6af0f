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
Vector = tuple[Array | float, Array | float, Array | float]
Term = tuple[float, float, float, float, str, float, float, float, str]


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


# Where a row of EXPRESSION_TERMS acts: weight (V,) of points (V, 3) and jaw weights (V,).
MASKS: dict[str, Callable[[Array, Array], Array | float]] = {
    "all": lambda _p, _jaw: 1.0,
    "front": lambda p, _jaw: smoothstep(-3.0, -6.0, p[:, 2]),
    "upper": lambda _p, jaw: 1 - jaw,
    "lower": lambda _p, jaw: jaw,
    # the brows and over them, not the lids, so that brows do not drag the eyes along
    "brows": lambda p, _jaw: smoothstep(-0.95, -1.75, p[:, 1]) * smoothstep(0.0, -4.0, p[:, 2]),
}
# Factors of a row's x, y and z shift, by the frontal position x, y (V,).
PROFILES: dict[str, Callable[[Array, Array], Vector]] = {
    "even": lambda _x, _y: (1.0, 1.0, 1.0),
    "apart": lambda x, _y: (np.tanh(x / 1.2), 1.0, 1.0),
    "brows apart": lambda x, _y: (np.tanh(x / 0.5), 1.0, 1.0),
    "around the teeth": lambda x, _y: (np.tanh(x / 1.8), 1.0, np.tanh(x / 1.8) ** 2),
    "by x": lambda x, _y: (x, 1.0, 1.0),
    "from the slit": lambda _x, y: (1.0, y - SLIT_Y, 1.0),
}
# Rows of: centre x, y; radii x, y; mask; shift x, y, z in cm; profile. A region with x above 0 has
# its mirror image too, but for the modes of ONE_SIDED.
EXPRESSION_TERMS: dict[str, list[Term]] = {
    "jaw_open": [  # besides `jaw_turn`, the upper lip rises a little
        (0.0, SLIT_Y - 0.5, 2.0, 1.2, "upper", 0.0, -0.30, -0.03, "even")],
    "upper_lip_up": [(0.0, SLIT_Y - 0.5, 2.0, 1.3, "upper", 0.0, -0.55, -0.05, "even")],
    "lower_lip_down": [(0.0, SLIT_Y + 0.6, 2.0, 1.2, "lower", 0.0, 0.60, -0.05, "even")],
    "wide": [  # corners drawn apart, as in i and s
        (0.0, SLIT_Y, 3.6, 1.8, "front", 0.62, 0.0, 0.28, "around the teeth")],
    "round": [  # corners drawn together and lips pushed forward, as in u and o; the slit stays
        (0.0, SLIT_Y, 3.3, 1.7, "front", -0.40, 0.0, 0.0, "by x"),
        (0.0, SLIT_Y, 2.0, 1.3, "front", 0.0, 0.0, -0.75, "even"),
        (0.0, SLIT_Y, 2.0, 1.3, "all", 0.0, 0.22, 0.0, "from the slit")],
    "press": [  # lips pressed into a thin line, as in m
        (0.0, SLIT_Y, 2.6, 1.2, "front", 0.0, -0.32, 0.15, "from the slit")],
    "tuck": [  # the lower lip against the upper teeth, as in f
        (0.0, SLIT_Y + 0.4, 1.9, 0.9, "lower", 0.0, -0.16, 0.50, "even"),
        (0.0, SLIT_Y - 0.5, 2.0, 1.2, "upper", 0.0, -0.40, -0.10, "even")],
    "smile": [  # corners up and outwards, cheeks up
        (HALF_WIDTH, SLIT_Y, 2.0, 1.6, "front", 0.60, -0.92, 0.35, "apart"),
        (3.6, 4.0, 1.8, 1.5, "all", 0.10, -0.35, -0.28, "apart"),
        (0.0, SLIT_Y, 1.5, 1.0, "all", 0.0, 0.12, 0.12, "even")],
    "frown": [  # corners down
        (HALF_WIDTH, SLIT_Y, 1.5, 1.5, "front", 0.05, 0.72, 0.05, "apart"),
        (0.0, SLIT_Y, 1.2, 0.9, "all", 0.0, -0.18, -0.05, "even")],
    "sneer": [  # nose wrinkled: its wings and sides up
        (1.3, 4.9, 1.0, 1.2, "all", 0.0, -0.40, -0.08, "even"),
        (0.0, 3.6, 1.3, 1.6, "all", 0.0, -0.12, 0.0, "even")],
    "lip_curl": [  # both sides of the upper lip up
        (1.2, SLIT_Y - 0.6, 1.1, 0.9, "upper", 0.0, -0.62, -0.08, "even")],
    "smirk": [  # one corner drawn back and up
        (HALF_WIDTH, SLIT_Y, 1.5, 1.4, "front", 0.55, -0.85, 0.35, "even"),
        (3.6, 4.2, 1.7, 1.5, "all", 0.1, -0.3, -0.25, "even")],
    "pout": [  # chin raised: lower lip up and out
        (0.0, SLIT_Y + 0.8, 1.7, 1.0, "lower", 0.0, -0.10, -0.35, "even"),
        (0.0, 9.8, 1.6, 1.2, "all", 0.0, -0.25, -0.05, "even")],
    "brow_inner_up": [  # inner ends of the brows up, outer ends a little down
        (1.2, -2.4, 1.9, 1.7, "brows", 0.0, -1.0, -0.05, "even"),
        (5.0, -2.2, 1.3, 1.3, "brows", 0.0, 0.25, 0.0, "even")],
    "brow_outer_up": [(4.0, -2.6, 1.9, 1.7, "brows", 0.0, -1.05, 0.0, "even")],
    "brow_down": [  # brows lowered and drawn together, most at their inner ends
        (1.5, -2.3, 1.9, 1.5, "brows", -0.42, 0.80, -0.18, "brows apart"),
        (4.0, -2.5, 1.6, 1.4, "brows", 0.0, 0.12, 0.0, "even")],
    "brow_one_up": [(3.4, -2.6, 2.2, 1.7, "brows", 0.0, -0.95, 0.0, "even")],  # as in doubt
    "cheek_up": [(3.6, 3.0, 1.9, 1.4, "all", 0.0, -0.40, -0.25, "even")],  # under the eyes
}  # fmt: skip
ONE_SIDED = ("smirk", "brow_one_up")  # at the image right alone
PART_MODES = ("blink", "lid_raise", "squint", "gaze_x", "gaze_y")  # of the parts in eyes.py
EXPRESSIONS = (*EXPRESSION_TERMS, *PART_MODES)
EXPRESSION_INDEX = {name: column for column, name in enumerate(EXPRESSIONS)}


def skin_field(name: str, p: Array, jaw: Array) -> Array:
    """Displacement (V, 3) of soft points by an expression at full strength; none by PART_MODES."""
    field = np.zeros_like(p)
    for x, y, rx, ry, mask, dx, dy, dz, profile in EXPRESSION_TERMS.get(name, ()):
        region = both_sides if x and name not in ONE_SIDED else bump
        weight = region(p, (x, y), (rx, ry)) * MASKS[mask](p, jaw)
        fx, fy, fz = PROFILES[profile](p[:, 0], p[:, 1])
        field += _moved(weight, dx * fx, dy * fy, dz * fz)
    return field
