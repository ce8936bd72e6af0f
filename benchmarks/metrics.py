"""The picture metrics of a clip against a loop over scikit-image, frame by frame.

    python -m benchmarks.metrics --json

`ratio` holds SSIM (7 x 7 windows) with PSNR, and SSIM with the Gaussian window with PSNR: each as
the loop computes it against the same two of affekt.metrics.image, `ssim` and `ssim_wang` at 256 px,
the other sizes under their names.

Wanted: equal to 1e-4, and `ssim` at least 5 times faster.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial

import cv2
import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from affekt.arrays import Image
from affekt.metrics.image import picture_scores, psnr, ssim, ssim_wang
from benchmarks.harness import Result, main

SIDES = (128, 256, 512)  # pixels
WANTED = 256  # pixels; the size of the papers' crops
FRAMES = 4  # of a clip
GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}

Options = Mapping[str, object]
# Ours, and the library's options.
WINDOWS: dict[str, tuple[Callable[[Image, Image], float], Options]] = {
    "ssim": (ssim, {}),
    "ssim_wang": (ssim_wang, GAUSSIAN),
}


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


def library(options: Options, results: Image, truths: Image) -> list[tuple[float, float]]:
    """Return SSIM and PSNR of each frame, by scikit-image."""
    return [
        (
            structural_similarity(*pair, channel_axis=-1, data_range=255, **options),
            peak_signal_noise_ratio(*pair, data_range=255),
        )
        for pair in zip(truths, results, strict=True)
    ]


def ours(
    metric: Callable[[Image, Image], float], results: Image, truths: Image
) -> list[tuple[float, float]]:
    """Return the same two of each frame, by the compiled kernels."""
    return [(metric(*pair), psnr(*pair)) for pair in zip(results, truths, strict=True)]


def measure(_: argparse.Namespace) -> Result:
    """Time each pair of figures at each size, a clip of 4 frames at a time."""
    result = Result("metrics")
    for side in SIDES:
        pair = clip_pair(side)
        for name, (metric, options) in WINDOWS.items():
            wanted = library(options, *pair)
            found = picture_scores(*pair)
            result.differ(np.stack([found[name], found["psnr"]], axis=1), wanted)
            candidates = {
                "scikit-image": partial(library, options, *pair),
                "affekt.metrics.image": partial(ours, metric, *pair),
            }
            result.time(name if side == WANTED else f"{name}, {side} px", candidates)
    return result


if __name__ == "__main__":
    main(__doc__, measure)
