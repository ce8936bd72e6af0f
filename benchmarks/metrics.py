"""The picture metrics of a clip against a loop over scikit-image, frame by frame.

    python -m benchmarks.metrics --json

`ratio` holds SSIM with PSNR at each size: as the loop computes them against affekt.metrics.image.

Wanted: equal to 1e-4, and at least 5 times faster.
"""

import argparse
from functools import partial

import cv2
import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from affekt.arrays import Image
from affekt.metrics.image import psnr, ssim
from benchmarks.harness import Result, main

SIDES = (128, 256, 512)  # pixels
FRAMES = 4  # of a clip


def clip_pair(side: int) -> tuple[Image, Image]:
    """Return a clip (FRAMES, side, side, 3) as smooth as a face is, blurred, and as it was."""
    rng = np.random.default_rng(0)
    truths = []
    for _ in range(FRAMES):
        noise = rng.uniform(0, 255, (side, side, 3))
        smooth = 128 + 12 * (cv2.GaussianBlur(noise, (0, 0), 3) - 128)
        truths.append(np.clip(smooth, 0, 255).astype(np.uint8))
    results = [cv2.GaussianBlur(truth, (0, 0), 1.5) for truth in truths]
    return np.stack(results).astype(np.uint8), np.stack(truths)


def library(results: Image, truths: Image) -> list[tuple[float, float]]:
    """Return SSIM and PSNR of each frame, by scikit-image."""
    return [
        (
            structural_similarity(*pair, channel_axis=-1, data_range=255),
            peak_signal_noise_ratio(*pair, data_range=255),
        )
        for pair in zip(truths, results, strict=True)
    ]


def ours(results: Image, truths: Image) -> list[tuple[float, float]]:
    """Return the same two of each frame, by the compiled kernels."""
    return [(ssim(*pair), psnr(*pair)) for pair in zip(results, truths, strict=True)]


def measure(_: argparse.Namespace) -> Result:
    """Time both at each size, a clip of 4 frames at a time."""
    result = Result("metrics")
    for side in SIDES:
        pair = clip_pair(side)
        result.differ(ours(*pair), library(*pair))
        ways = {"scikit-image": partial(library, *pair), "affekt": partial(ours, *pair)}
        result.time(str(side), ways)
    return result


if __name__ == "__main__":
    main(__doc__, measure)
