"""SSIM in two definitions, PSNR, and the 8-bit PSNR that papers report, of frames and whole clips.

Frames are RGB, (H, W, 3) uint8; both of the same size. `ssim`, `ssim_wang`, `psnr` and
`psnr_u8wrap` take two frames, `picture_scores` two clips, of which it returns a value per frame.
Compiled kernels on the CPU; benchmarks/metrics.py measures them against scikit-image.
"""

from collections.abc import Iterable, Iterator
from itertools import zip_longest

import cv2
import numpy as np
from numpy.typing import NDArray

from affekt.arrays import Image
from affekt.media.compiled import compiled

Sums = NDArray[np.float32]
FrameScores = dict[str, NDArray[np.float64]]
Pairs = Iterator[tuple[Image, Image]]

WINDOW = 7  # pixels; side of the square window of scikit-image's default SSIM
CHANNELS = 3
PIXELS = WINDOW * WINDOW
C1 = (0.01 * 255) ** 2  # Wang et al. 2004: K1 = 0.01, K2 = 0.03, L = 255
C2 = (0.03 * 255) ** 2
SIGMA = 1.5  # pixels; the Gaussian of Wang et al. 2004, whose window has 11 x 11 pixels
GAUSSIAN_WINDOW = 11
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


def ssim_wang(result: Image, truth: Image) -> float:
    """Return the mean structural similarity, at most 1, as Wang et al. 2004, section III-C, has it.

    The formula of `ssim` over 11 x 11 windows with Gaussian weights of 1.5 pixels and population
    covariance. The paper takes grey pictures; here, as in the tables of this field, it is the mean
    of the colour channels. Only windows that lie inside the picture count. scikit-image's
    structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False).

    Raises:
        ValueError: other than two RGB pictures of one size of at least 11 x 11 pixels.
    """
    check_pictures(result, truth, GAUSSIAN_WINDOW)
    totals = _wang_totals(_rows(result), _rows(truth), gaussian())
    return float(totals.mean() / (len(truth) - GAUSSIAN_WINDOW + 1))


def gaussian() -> NDArray[np.float64]:
    """Return the 11 weights of one axis of the Gaussian window; their sum is 1."""
    places = np.arange(GAUSSIAN_WINDOW) - GAUSSIAN_WINDOW // 2
    weights = np.exp(-0.5 * np.square(places / SIGMA))
    return np.asarray(weights / weights.sum())


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


@compiled
def _wang_totals(result: Image, truth: Image, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the SSIM of the Gaussian windows of two interleaved pictures (H, 3 W), by column.

    A row is filtered along once; the newest 11 filtered rows are kept in a ring and make a window.
    """
    height, width = result.shape
    inside = width - (GAUSSIAN_WINDOW - 1) * CHANNELS
    ring = np.empty((GAUSSIAN_WINDOW, 4, inside))  # means of x, y, x x + y y, x y
    line, totals = np.empty((4, width)), np.zeros(inside)
    for row in range(height):
        for k in range(width):
            x, y = np.float64(result[row, k]), np.float64(truth[row, k])
            line[0, k], line[1, k] = x, y
            line[2, k], line[3, k] = x * x + y * y, x * y
        for c in range(len(line)):
            _filter_along(line[c], weights, ring[row % GAUSSIAN_WINDOW, c])
        if row >= GAUSSIAN_WINDOW - 1:
            _add_gaussian_windows(ring, row + 1, weights, totals)
    return totals


@compiled
def _filter_along(
    line: NDArray[np.float64], weights: NDArray[np.float64], mean: NDArray[np.float64]
) -> None:
    """Weight 11 neighbours of one colour, 3 apart; the weights are symmetric."""
    half = GAUSSIAN_WINDOW // 2
    for k in range(len(mean)):
        mean[k] = weights[half] * line[k + half * CHANNELS]
    for tap in range(half):
        weight, near, far = weights[tap], tap * CHANNELS, (2 * half - tap) * CHANNELS
        for k in range(len(mean)):
            mean[k] += weight * (line[k + near] + line[k + far])


@compiled
def _add_gaussian_windows(
    ring: NDArray[np.float64],
    oldest: int,
    weights: NDArray[np.float64],
    totals: NDArray[np.float64],
) -> None:
    """Add the SSIM of the windows whose filtered rows the ring holds, the uppermost at `oldest`."""
    # Vertical filter: symmetric taps share a weight
    half = GAUSSIAN_WINDOW // 2
    means = weights[half] * ring[(oldest + half) % GAUSSIAN_WINDOW]
    for tap in range(half):
        weight = weights[tap]
        upper = ring[(oldest + tap) % GAUSSIAN_WINDOW]
        lower = ring[(oldest + 2 * half - tap) % GAUSSIAN_WINDOW]
        for c in range(len(means)):
            mean, above, below = means[c], upper[c], lower[c]
            # SSIM of each window from the five filtered moments
            for k in range(len(totals)):
                mean[k] += weight * (above[k] + below[k])
    for k in range(len(totals)):
        x, y = means[0, k], means[1, k]
        product, squares = x * y, x * x + y * y
        top = (2 * product + C1) * (2 * (means[3, k] - product) + C2)
        totals[k] += top / ((squares + C1) * (means[2, k] - squares + C2))


METRICS = {"ssim": ssim, "ssim_wang": ssim_wang, "psnr": psnr, "psnr_u8wrap": psnr_u8wrap}


def picture_scores(results: Iterable[Image], truths: Iterable[Image]) -> FrameScores:
    """Return ssim, ssim_wang, psnr and psnr_u8wrap of each frame, arrays (N,) float64.

    A clip's figure is the mean of its frames: PSNR is not taken of the pooled error.

    Args:
        results: frames (H, W, 3) uint8, or an array (N, H, W, 3); read once, as are the truths.
        truths: frames of the same number and size.

    Raises:
        ValueError: no frame, clips of unequal length, or pictures that `ssim_wang` refuses.
    """
    frames = [[metric(*pair) for metric in METRICS.values()] for pair in _pairs(results, truths)]
    return dict(zip(METRICS, np.array(frames).T, strict=True))


def _pairs(results: Iterable[Image], truths: Iterable[Image]) -> Pairs:
    frame = -1
    for frame, (result, truth) in enumerate(zip_longest(results, truths)):
        if result is None or truth is None:
            short = "result" if result is None else "truth"
            raise ValueError(f"the {short} ends at frame {frame}, its counterpart has more")
        check_pictures(result, truth, GAUSSIAN_WINDOW)
        yield result, truth
    if frame < 0:
        raise ValueError("neither result nor truth has a frame")
