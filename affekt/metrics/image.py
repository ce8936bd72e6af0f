"""SSIM, PSNR, and the 8-bit PSNR that papers report, of frames and whole clips.

Frames are RGB, (H, W, 3) uint8; both of the same size. `ssim`, `psnr` and `psnr_u8wrap` take two
frames, `picture_scores` two clips, of which it returns a value per frame. Compiled kernels on the
CPU; benchmarks/metrics.py measures them against scikit-image.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from affekt.arrays import Image
from affekt.media.compiled import compiled

Sums = NDArray[np.float32]
FrameScores = dict[str, NDArray[np.float64]]

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
    check_pictures(result, truth, WINDOW)
    totals = _ssim_totals(_rows(result), _rows(truth))
    return float(totals.mean() / (len(truth) - WINDOW + 1))


def psnr(result: Image, truth: Image) -> float:
    """Return the peak signal-to-noise ratio, 10 log10(255^2 / MSE), in dB; 100 for equal pictures.

    Raises:
        ValueError: other than two RGB pictures of one size.
    """
    check_pictures(result, truth)
    return _decibel(_squares(_rows(result), _rows(truth)) / truth.size)


def psnr_u8wrap(result: Image, truth: Image) -> float:
    """Return "PSNR" of grey levels whose difference and square overflow 8 bits, in dB.

    ATVG's published script subtracts and squares uint8 arrays, so that both wrap modulo 256. The
    wrapped square of a random difference has the mean 105.5: nothing scores far below 27.90 dB. The
    PSNR columns of EVP and its successors lie 0.1 to 1.6 dB above that and 8 dB above the true PSNR
    at the same SSIM; probably they are this figure. Never mix it with `psnr`.

    Raises:
        ValueError: other than two RGB pictures of one size.
    """
    check_pictures(result, truth)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (result, truth)]
    difference = grey[0] - grey[1]  # both wrap: arrays of uint8 stay uint8
    return _decibel(float((difference * difference).mean()))


def check_pictures(result: Image, truth: Image, side: int = 1) -> None:
    """Refuse anything but two RGB pictures of one size, each side at least `side` pixels.

    Raises:
        ValueError: with the types and sizes found.
    """
    if result.shape != truth.shape:
        raise ValueError(f"the pictures differ in size: {result.shape} and {truth.shape}")
    types = {result.dtype, truth.dtype}
    if truth.ndim != 3 or truth.shape[2] != CHANNELS or types != {np.dtype(np.uint8)}:
        found = f"{result.dtype} {result.shape} and {truth.dtype} {truth.shape}"
        raise ValueError(f"wanted RGB pictures (H, W, 3) of uint8, found {found}")
    height, width, _ = truth.shape
    if min(height, width) < side:
        raise ValueError(f"SSIM needs {side} x {side} pixels, found {width} x {height}")


def _decibel(mean_square: float) -> float:
    if mean_square == 0:
        return EQUAL_DB
    return float(10 * np.log10(255**2 / mean_square))


def _rows(picture: Image) -> Image:
    """Return a picture as interleaved rows (H, 3 W), for the kernels."""
    return np.ascontiguousarray(picture).reshape(len(picture), -1)


@compiled
def _squares(result: Image, truth: Image) -> int:
    """Sum the squared differences of the numbers of two pictures."""
    total = np.int64(0)
    for row in range(len(truth)):
        for k in range(truth.shape[1]):
            difference = np.int32(result[row, k]) - np.int32(truth[row, k])
            total += difference * difference
    return int(total)


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


METRICS = {"ssim": ssim, "psnr": psnr, "psnr_u8wrap": psnr_u8wrap}


def picture_scores(results: Iterable[Image], truths: Iterable[Image]) -> FrameScores:
    """Return ssim, psnr and psnr_u8wrap of each frame, arrays (N,) float64.

    A clip's figure is the mean of its frames: PSNR is not taken of the pooled error.

    Args:
        results: frames (H, W, 3) uint8, or an array (N, H, W, 3); read once, as are the truths.
        truths: frames of the same number and size.

    Raises:
        ValueError: no frame, clips of unequal length, or pictures that `ssim` refuses.
    """
    pairs = zip(results, truths, strict=True)
    frames = [[metric(*pair) for metric in METRICS.values()] for pair in pairs]
    return dict(zip(METRICS, np.array(frames).T, strict=True))
