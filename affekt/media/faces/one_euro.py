"""The One-Euro filter (Casiez, Roussel and Vogel, CHI 2012): smooth when slow, prompt when fast.

EVP's release smooths the landmarks of its portraits with it, and EAMM's poses, keypoints and
displacements, at a nominal 100 samples a second though they come at 25: the frequency is part of
their settings, so they are kept together.
"""

import numpy as np
from numpy.typing import ArrayLike

from affekt.arrays import Array


def one_euro(
    values: ArrayLike, mincutoff: float, beta: float, dcutoff: float = 1.0, freq: float = 100.0
) -> Array:
    """Return values (T, ...) smoothed along the first axis, each element on its own.

        y_t = a(c_t) x_t + (1 - a(c_t)) y_{t-1},   y_0 = x_0
        c_t = mincutoff + beta |d_t|
        d_t = a(dcutoff) (x_t - x_{t-1}) freq + (1 - a(dcutoff)) d_{t-1},   d_0 = 0
        a(c) = 1 / (1 + freq / (2 pi c))

    The derivative is that of the unfiltered samples, as in the releases' filter.

    Args:
        values: (T, ...) numbers, T >= 1. The filter is not linear: its effect depends on their
            unit, which is why EAMM's release scales keypoints by 10 and displacements by 100 first.
        mincutoff: cutoff at rest, Hz, above 0; lower is calmer, and lags more.
        beta: growth of the cutoff with speed, 0 or more; higher lags less in motion.
        dcutoff: cutoff of the derivative, Hz, above 0.
        freq: samples a second that the cutoffs refer to.

    Returns:
        (T, ...), of the values' floating type, float64 for whole numbers.

    Raises:
        ValueError: no samples, NaN or infinity, or a setting out of its range.
    """
    # Filter in float64 whatever the input
    raw = np.asarray(values)
    samples = raw.astype(np.float64)
    _check(samples, mincutoff, beta, dcutoff, freq)
    # The first sample starts at rest
    smooth = np.empty_like(samples)
    smooth[0] = samples[0]
    speed = np.zeros_like(samples[0])
    share = _share(np.asarray(dcutoff), freq)
    for t in range(1, len(samples)):
        # Smoothed derivative, then a cutoff that grows with it
        speed = share * ((samples[t] - samples[t - 1]) * freq) + (1 - share) * speed
        weight = _share(mincutoff + beta * np.abs(speed), freq)
        smooth[t] = weight * samples[t] + (1 - weight) * smooth[t - 1]
    return smooth.astype(raw.dtype if raw.dtype.kind == "f" else np.float64)


def _share(cutoff: Array, freq: float) -> Array:
    """Return the weight of a new sample in a low-pass filter of this cutoff (Hz)."""
    return 1 / (1 + freq / (2 * np.pi * cutoff))


def _check(samples: Array, mincutoff: float, beta: float, dcutoff: float, freq: float) -> None:
    if samples.ndim < 1 or not len(samples):
        raise ValueError(f"values have shape {samples.shape}, wanted (T, ...) with T of 1 or more")
    if not np.isfinite(samples).all():
        first = int(np.argwhere(~np.isfinite(samples))[0][0])
        raise ValueError(f"values hold NaN or infinity, first at sample {first}")
    settings = {"mincutoff": mincutoff, "dcutoff": dcutoff, "freq": freq}
    for name, value in settings.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}, wanted above 0")
    if not beta >= 0:
        raise ValueError(f"beta is {beta}, wanted 0 or more")
