"""The picture metrics of whole clips, a value per frame: the one entry is `picture_scores`.

Two ways, equal to the definitions of affekt/metrics/image.py to 1e-10: on a CPU its compiled
kernels, frame by frame; on a GPU both SSIMs in torch, many frames at once. benchmarks/metrics.py
measures them against each other: on a CPU the kernels are the faster ones by far.
"""

from collections.abc import Iterable, Iterator
from itertools import zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from affekt.arrays import Image
from affekt.metrics.image import (
    C1,
    C2,
    GAUSSIAN_WINDOW,
    PIXELS,
    WINDOW,
    check_pictures,
    gaussian,
    psnr,
    psnr_u8wrap,
    ssim,
    ssim_wang,
)

METRICS = {"ssim": ssim, "ssim_wang": ssim_wang, "psnr": psnr, "psnr_u8wrap": psnr_u8wrap}
BATCH_PIXELS = 2**21  # 32 frames of 256 x 256, 1 of 1920 x 1080: about 1 GB in torch

FrameScores = dict[str, NDArray[np.float64]]
Pairs = Iterator[tuple[Image, Image]]


def picture_scores(
    results: Iterable[Image], truths: Iterable[Image], device: torch.device | str = "cpu"
) -> FrameScores:
    """Return ssim, ssim_wang, psnr and psnr_u8wrap of each frame, arrays (N,) float64.

    A clip's figure is the mean of its frames: PSNR is not taken of the pooled error.

    Args:
        results: frames (H, W, 3) uint8, or an array (N, H, W, 3); read once, as are the truths.
        truths: frames of the same number and size.
        device: a CPU runs the compiled kernels, anything else the batches in torch.

    Raises:
        ValueError: no frame, clips of unequal length, or pictures that `ssim_wang` refuses.
    """
    if torch.device(device).type == "cpu":
        return scores_by_kernels(results, truths)
    return scores_by_torch(results, truths, device)


def scores_by_kernels(results: Iterable[Image], truths: Iterable[Image]) -> FrameScores:
    """Return what `picture_scores` does, by the definitions, frame by frame on the CPU."""
    frames = [[metric(*pair) for metric in METRICS.values()] for pair in _pairs(results, truths)]
    return dict(zip(METRICS, np.array(frames).T, strict=True))


def scores_by_torch(
    results: Iterable[Image], truths: Iterable[Image], device: torch.device | str
) -> FrameScores:
    """Return what `picture_scores` does, with both SSIMs in torch, in batches on a device.

    The PSNRs stay with the definitions: on the CPU they cost less than moving the frames.
    """
    batches: dict[str, list[NDArray[np.float64]]] = {name: [] for name in METRICS}
    for pairs in _batches(_pairs(results, truths)):
        ours, theirs = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
        scores = ssim_torch(ours.to(device), theirs.to(device))
        for name, values in scores.items():
            batches[name].append(values.cpu().numpy())
        for name in METRICS.keys() - scores.keys():
            batches[name].append(np.array([METRICS[name](*pair) for pair in pairs]))
    return {name: np.concatenate(parts) for name, parts in batches.items()}


def ssim_torch(results_NHWC: Tensor, truths_NHWC: Tensor) -> dict[str, Tensor]:
    """Return `ssim` and `ssim_wang` of N pairs of frames (N, H, W, 3) uint8, each (N,) float64.

    Sums are float64: variances are small differences of large squares, and GPUs round float32
    convolutions to 10 bits (TF32).
    """
    x, y = (frames.movedim(-1, 1).double() for frames in (results_NHWC, truths_NHWC))
    sums = torch.stack([x, y, x * x + y * y, x * y], dim=1)
    uniform = torch.full((WINDOW,), 1 / WINDOW, dtype=torch.double)
    return {
        "ssim": _mean_similarity(sums, uniform, PIXELS / (PIXELS - 1)),
        "ssim_wang": _mean_similarity(sums, torch.from_numpy(gaussian()), 1.0),
    }


def _mean_similarity(sums: Tensor, weights: Tensor, correction: float) -> Tensor:
    """Filter x, y, x x + y y and x y (N, 4, 3, H, W); put the means into the formula of SSIM.

    Args:
        weights: of one axis of the window.
        correction: of the covariance, from population to sample.
    """
    maps = sums.shape[1] * sums.shape[2]
    kernel = weights.to(sums.device).repeat(maps, 1, 1, 1)
    along = F.conv2d(sums.flatten(1, 2), kernel, groups=maps)
    means = F.conv2d(along, kernel.mT, groups=maps).unflatten(1, sums.shape[1:3])
    x, y, both, mixed = means.unbind(1)
    product, squares = x * y, x * x + y * y
    top = (2 * product + C1) * (2 * correction * (mixed - product) + C2)
    bottom = (squares + C1) * (correction * (both - squares) + C2)
    return torch.mean(top / bottom, dim=(1, 2, 3))


def _pairs(results: Iterable[Image], truths: Iterable[Image]) -> Pairs:
    frame = -1
    for frame, (result, truth) in enumerate(zip_longest(results, truths)):
        if result is None or truth is None:
            short = "result" if result is None else "truth"
            raise ValueError(f"the {short} ends at frame {frame}, its counterpart goes on")
        check_pictures(result, truth, GAUSSIAN_WINDOW)
        yield result, truth
    if frame < 0:
        raise ValueError("neither result nor truth has a frame")


def _batches(pairs: Pairs) -> Iterator[list[tuple[Image, Image]]]:
    """Collect pairs of frames until they make BATCH_PIXELS."""
    batch: list[tuple[Image, Image]] = []
    for pair in pairs:
        batch.append(pair)
        height, width, _ = pair[0].shape
        if (len(batch) + 1) * height * width > BATCH_PIXELS:
            yield batch
            batch = []
    if batch:
        yield batch
