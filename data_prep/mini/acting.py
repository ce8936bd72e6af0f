"""Expression and head pose over a clip: speech, emotion, blinks, glances and turns of the head."""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from affekt.arrays import Array
from data_prep.mini.head.modes import EXPRESSION_INDEX, EXPRESSIONS
from data_prep.mini.voice.speech import Phoneme
from data_prep.mini.voice.visemes import SHAPE, closure_at, frame_times, shapes_at

# full-strength poses, after the prototypes of Ekman & Friesen (1978); amounts ours
POSES: dict[str, dict[str, float]] = {
    "angry": {"brow_down": 1.15, "lid_raise": 0.55, "squint": 0.3, "frown": 0.15, "press": 0.35,
              "lower_lip_down": 0.15},
    "contempt": {"smirk": 1.0, "brow_one_up": 0.75, "squint": 0.2, "blink": 0.15},
    "disgusted": {"sneer": 1.0, "lip_curl": 0.8, "brow_down": 0.5, "squint": 1.0, "blink": 0.2,
                  "cheek_up": 0.7, "frown": 0.75},
    "fear": {"brow_inner_up": 1.0, "brow_outer_up": 0.35, "lid_raise": 0.85, "wide": 0.55,
             "frown": 0.25, "lower_lip_down": 0.20},
    "happy": {"smile": 1.0, "cheek_up": 0.8, "squint": 0.5, "brow_inner_up": 0.3,
              "brow_outer_up": 0.3},
    "neutral": {},
    "sad": {"brow_inner_up": 1.0, "brow_down": 0.1, "frown": 0.85, "pout": 0.25, "blink": 0.33},
    "surprised": {"brow_inner_up": 1.15, "brow_outer_up": 1.25, "lid_raise": 1.0,
                  "jaw_open": 0.18, "round": 0.2},
}  # fmt: skip
# how widely each emotion opens the mouth in speech
OPENNESS = {"angry": 1.1, "contempt": 0.9, "disgusted": 0.95, "fear": 0.95, "sad": 0.85,
            "surprised": 1.1}  # fmt: skip
OPENERS = ("jaw_open", "upper_lip_up", "lower_lip_down", "lip_curl", "tuck")
BLINK_EVERY = 2.6  # seconds, mean
BLINK_SHAPE = np.array([0.45, 1.0, 0.9, 0.45, 0.12])  # strength frame by frame


def act(
    phonemes: Sequence[Phoneme],
    frames: int,
    emotion: str,
    strength: float,
    random: np.random.Generator,
) -> Array:
    """Mode strengths (T, E) of a clip, E as in `modes.EXPRESSIONS`."""
    times = frame_times(frames)
    openness = 1 + strength * (OPENNESS.get(emotion, 1.0) - 1)
    spoken = shapes_at(phonemes, times) * openness
    closure = closure_at(phonemes, times)
    face = np.zeros((frames, len(EXPRESSIONS)))
    for name, track in zip(SHAPE, spoken.T, strict=True):
        face[:, EXPRESSION_INDEX[name]] += track
    # The emotion's pose, with a slow swell around 1, so that no expression is frozen
    full = strength * (1 + 0.10 * random.normal())
    swell = 1 + 0.07 * np.sin(2 * np.pi * (0.6 * times + random.random()))
    for name, amount in POSES[emotion].items():
        face[:, EXPRESSION_INDEX[name]] += amount * (full * swell)
    for name in OPENERS:
        face[:, EXPRESSION_INDEX[name]] *= 1 - closure
    for name in ("round", "wide"):
        face[:, EXPRESSION_INDEX[name]] *= 1 - 0.35 * closure
    face[:, EXPRESSION_INDEX["press"]] += 0.75 * closure
    _look(face, times, random)
    return face


def _look(face: Array, times: Array, random: np.random.Generator) -> None:
    """Blinks and small glances."""
    blink = np.zeros(len(times))
    at = random.exponential(BLINK_EVERY)
    while at < times[-1]:
        first = int(at * 25)
        shape = BLINK_SHAPE[: len(times) - first]
        blink[first : first + len(shape)] = shape
        at += 0.5 + random.exponential(BLINK_EVERY)
    column = EXPRESSION_INDEX["blink"]
    face[:, column] = face[:, column] + (1 - face[:, column]) * blink
    for name in ("lid_raise", "squint"):
        face[:, EXPRESSION_INDEX[name]] *= 1 - blink
    for name, spread in (("gaze_x", 0.22), ("gaze_y", 0.12)):
        face[:, EXPRESSION_INDEX[name]] += _glances(times, spread, random)


def _glances(times: Array, spread: float, random: np.random.Generator) -> Array:
    """Gaze (T,) that rests and jumps, with jumps rounded to two frames."""
    holds = random.exponential(0.9, 12).cumsum()
    levels = random.normal(0, spread, 13).clip(-2 * spread, 2 * spread)
    steps = levels[np.searchsorted(holds, times)]
    return np.convolve(np.pad(steps, (1, 1), mode="edge"), [0.25, 0.5, 0.25], mode="valid")


# Head pose, independent of the speech.
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
    return (waves * amount).sum(axis=1)


def _rotation_vectors(degrees: Array) -> Array:
    """Rotation vectors of yaw (about y), then pitch (about x), then roll (about z)."""
    turns = Rotation.from_euler("yxz", degrees, degrees=True)
    return turns.as_rotvec()
