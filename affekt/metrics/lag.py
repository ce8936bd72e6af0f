"""How far a mouth runs behind the sound that moves it: a plain check of synchrony. Ours.

Loudness is no mouth opening, but both rise and fall with the syllables; the shift at which they
agree best is compared with that of the true video, never read as an absolute lag.
"""

import numpy as np

from affekt.arrays import Array
from affekt.media.constants import SAMPLES_PER_FRAME

REACH = 10  # frames (0.4 s) looked at on either side
QUIET = 1e-4  # of full scale; the floor under the logarithm of loudness


def loudness(samples: Array) -> Array:
    """Return the log root mean square of each video frame's sound, (T,) for (640 T,) samples."""
    frames = samples[: len(samples) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]
    power = np.square(frames.reshape(-1, SAMPLES_PER_FRAME)).mean(axis=1)
    return 0.5 * np.log(power + QUIET**2)


def opening_lag(opening: Array, level: Array, reach: int = REACH) -> int:
    """Return by how many frames the mouth opening (T,) follows the loudness (T,); negative: leads.

    Raises:
        ValueError: of different length, or too short for the reach, or one of them constant.
    """
    if len(opening) != len(level) or len(opening) <= 2 * reach:
        raise ValueError(
            f"mouth opening has {len(opening)} frames and loudness {len(level)}; wanted as many, "
            f"and more than {2 * reach}"
        )
    if min(np.ptp(opening), np.ptp(level)) == 0:
        raise ValueError("a mouth that never moves, or a sound that never changes, has no lag")
    shifts = range(-reach, reach + 1)
    agreement = [_correlation(opening, level, shift) for shift in shifts]
    return shifts[int(np.argmax(agreement))]


def _correlation(opening: Array, level: Array, shift: int) -> float:
    later, earlier = (opening, level) if shift >= 0 else (level, opening)
    count = len(opening) - abs(shift)
    pair = np.corrcoef(later[abs(shift) :], earlier[:count])
    return float(np.nan_to_num(pair[0, 1], nan=-1.0))
