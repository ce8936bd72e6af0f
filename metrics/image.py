"""How near two pictures are: SSIM, PSNR, and the 8-bit figure that papers of this field report.

Pictures are RGB, (H, W, 3) uint8; both of the same size.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from media.compiled import compiled

Image = NDArray[np.uint8]
Sums = NDArray[np.float32]

WINDOW = 7  # pixels; side of the square window of scikit-image's default SSIM
CHANNELS = 3
PIXELS = WINDOW * WINDOW
C1 = (0.01 * 255) ** 2  # Wang et al. 2004: K1 = 0.01, K2 = 0.03, L = 255
C2 = (0.03 * 255) ** 2
EQUAL_DB = 100.0  # the PSNR of two equal pictures, as ATVG's script has it (arXiv:1905.03820)


def ssim(result: Image, truth: Image) -> float:
    """Return the mean structural similarity, at most 1: scikit-image's default definition.

        (2 mx my + C1) (2 sxy + C2) / ((mx^2 + my^2 + C1) (sx^2 + sy^2 + C2))

    over 7 x 7 windows of equal weight with sample covariance, per colour channel, mean of the
    windows that lie inside the picture (Wang et al. 2004, eq. 13, has a Gaussian window). Sums are
    exact here, so that it equals the library to 1e-12.

    Raises:
        ValueError: other than two RGB pictures of one size of at least 7 x 7 pixels.
    """
    _check(result, truth)
    height, width, _ = truth.shape
    if min(height, width) < WINDOW:
        raise ValueError(f"SSIM needs {WINDOW} x {WINDOW} pixels, found {width} x {height}")
    rows = (height, width * CHANNELS)
    totals = _ssim_totals(
        np.ascontiguousarray(result).reshape(rows), np.ascontiguousarray(truth).reshape(rows)
    )
    return float(totals.mean() / (height - WINDOW + 1))


def psnr(result: Image, truth: Image) -> float:
    """Return the peak signal-to-noise ratio, 10 log10(255^2 / MSE), in dB; 100 for equal pictures.

    Raises:
        ValueError: other than two RGB pictures of one size.
    """
    _check(result, truth)
    difference = result.astype(np.int32) - truth
    return _decibel(float(np.square(difference).mean()))


def psnr_u8wrap(result: Image, truth: Image) -> float:
    """Return "PSNR" of grey levels whose difference and square overflow 8 bits, in dB.

    ATVG's published script subtracts and squares uint8 arrays, so that both wrap modulo 256. The
    wrapped square of a random difference has the mean 105.5: nothing scores far below 27.90 dB. The
    PSNR columns of EVP and its successors lie 0.1 to 1.6 dB above that and 8 dB above the true PSNR
    at the same SSIM; probably they are this figure. Never mix it with `psnr`.
    """
    _check(result, truth)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (result, truth)]
    difference = grey[0] - grey[1]  # both wrap: arrays of uint8 stay uint8
    return _decibel(float((difference * difference).mean()))


def _decibel(mean_square: float) -> float:
    if mean_square == 0:
        return EQUAL_DB
    return float(10 * np.log10(255**2 / mean_square))


def _check(result: Image, truth: Image) -> None:
    if result.shape != truth.shape:
        raise ValueError(f"the pictures differ in size: {result.shape} and {truth.shape}")
    types = {result.dtype, truth.dtype}
    if truth.ndim != 3 or truth.shape[2] != CHANNELS or types != {np.dtype(np.uint8)}:
        found = f"{result.dtype} {result.shape} and {truth.dtype} {truth.shape}"
        raise ValueError(f"wanted RGB pictures (H, W, 3) of uint8, found {found}")


@compiled
def _ssim_totals(result: Image, truth: Image) -> NDArray[np.float64]:
    """Sum the SSIM of the windows of two interleaved pictures (H, 3 W), by column.

    Column sums over 7 rows slide down the picture; 7 of them, 3 apart, make a window.
    """
    height, width = result.shape
    columns = np.zeros((5, width), np.float32)  # sums of x, y, x x, y y, x y
    totals = np.zeros(width - (WINDOW - 1) * CHANNELS)
    for row in range(height):
        _add_row(columns, result[row], truth[row], np.float32(1))
        if row >= WINDOW:
            _add_row(columns, result[row - WINDOW], truth[row - WINDOW], np.float32(-1))
        if row >= WINDOW - 1:
            _add_windows(columns, totals)
    return totals


@compiled
def _add_row(columns: Sums, result: Image, truth: Image, sign: np.float32) -> None:
    for k in range(len(result)):
        x, y = np.float32(result[k]), np.float32(truth[k])
        columns[0, k] += sign * x
        columns[1, k] += sign * y
        columns[2, k] += sign * (x * x)
        columns[3, k] += sign * (y * y)
        columns[4, k] += sign * (x * y)


@compiled
def _add_windows(columns: Sums, totals: NDArray[np.float64]) -> None:
    """Add the SSIM of the windows of one row. All sums are whole numbers below 2^24: exact."""
    means = PIXELS * PIXELS * C1  # the four factors are scaled by 49^2 or 49 * 48
    spreads = PIXELS * (PIXELS - 1) * C2
    windows = np.empty((5, len(totals)), np.float32)
    for c in range(5):
        line, window, at = columns[c], windows[c], CHANNELS
        for k in range(len(totals)):
            left = (line[k] + line[k + at]) + (line[k + 2 * at] + line[k + 3 * at])
            window[k] = left + (line[k + 4 * at] + line[k + 5 * at]) + line[k + 6 * at]
    for k in range(len(totals)):
        x, y = np.float64(windows[0, k]), np.float64(windows[1, k])
        product, squares = x * y, x * x + y * y
        top = (2 * product + means) * (2 * (PIXELS * np.float64(windows[4, k]) - product) + spreads)
        both = np.float64(windows[2, k] + windows[3, k])
        totals[k] += top / ((squares + means) * (PIXELS * both - squares + spreads))
