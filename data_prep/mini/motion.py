"""How the head turns, independent of what is said."""

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from data_prep.mini.head.surface import Array

CALM_DEGREES = (2.1, 1.1, 0.9)  # standard deviations of yaw, pitch, roll, as in MEAD's front view
CALM_HERTZ = (0.15, 0.7)  # slowest and fastest sway
CALM_SHIFT = 0.10  # cm
LIVELY_DEGREES = (25.0, 15.0, 10.0)  # largest yaw, pitch, roll
LIVELY_HOLD = (0.9, 1.5)  # seconds from one pose to the next
LIVELY_SHIFT = 0.5  # cm


def calm_turns(times: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Rotation vectors (T, 3) in radians and shifts (T, 2) in cm of a head that keeps still."""
    angles = np.stack([sd * _sway(times, random) for sd in CALM_DEGREES], axis=-1)
    shifts = np.stack([CALM_SHIFT * _sway(times, random) for _ in range(2)], axis=-1)
    return _rotation_vectors(angles), shifts


def lively_turns(times: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """The same of a head that looks around; long clips reach the largest yaw to both sides."""
    knots = _knots(times[-1], random)
    count = len(knots)
    side = np.where(np.arange(count) % 2, 1.0, -1.0) * random.choice([-1.0, 1.0])
    yaw = side * random.uniform(0.35, 1.0, count)
    seen = np.flatnonzero((knots >= times[0]) & (knots <= times[-1]))
    first = int(random.integers(max(len(seen) - 1, 1)))
    yaw[seen[first : first + 2]] = side[seen[first : first + 2]]
    others = random.uniform(-1, 1, (2, count))
    poses = np.stack([yaw, *others], axis=-1) * np.array(LIVELY_DEGREES)
    angles = PchipInterpolator(knots, poses)(times)
    shifts = PchipInterpolator(knots, random.uniform(-1, 1, (count, 2)) * LIVELY_SHIFT)(times)
    return _rotation_vectors(angles), np.asarray(shifts)


def _knots(seconds: float, random: np.random.Generator) -> Array:
    """Times at which poses are held, from before the clip until after it."""
    knots = [-0.5]
    while knots[-1] < seconds + 0.5:
        knots.append(knots[-1] + random.uniform(*LIVELY_HOLD))
    return np.array(knots)


def _sway(times: Array, random: np.random.Generator) -> Array:
    """Smooth noise (T,) of unit variance over long times: five sines, slow ones stronger."""
    hertz = random.uniform(*CALM_HERTZ, 5)
    amount = 1 / hertz
    amount *= np.sqrt(2 / np.square(amount).sum())
    phase = random.uniform(0, 2 * np.pi, 5)
    waves = np.sin(2 * np.pi * (hertz * times[:, None] + phase / (2 * np.pi)))
    return np.asarray((waves * amount).sum(axis=1))


def _rotation_vectors(degrees: Array) -> Array:
    """Rotation vectors of yaw (about y), then pitch (about x), then roll (about z)."""
    turns = Rotation.from_euler("yxz", degrees, degrees=True)
    return np.asarray(turns.as_rotvec())
