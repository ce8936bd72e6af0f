"""The picture metrics of a clip against a loop over scikit-image, frame by frame.

    python -m benchmarks.metrics
    python -m benchmarks.metrics --json

`ratio` holds SSIM (7 x 7 windows) with PSNR, and SSIM with the Gaussian window with PSNR: each as
the loop computes it against the same two of affekt.metrics.image, `ssim` and `ssim_wang` at 256 px,
the other sizes under their names. `notes` hold all four figures of an evaluation by either way of
affekt.metrics.image.picture_scores: why the compiled kernels are the choice on a CPU.

Wanted: equal to 1e-4, and `ssim` at least 5 times faster.
"""

from collections.abc import Callable, Mapping
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from affekt.arrays import Image
from affekt.metrics.image import picture_scores, psnr, scores_by_torch, ssim, ssim_wang
from benchmarks.harness import Result, Timing, compare, main, table, timing_rows

SIDES = (128, 256, 512)  # pixels
WANTED = 256  # pixels; the size of the papers' crops
FRAMES = 4  # of a clip
GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}

Clip = NDArray[np.uint8]
Scores = list[tuple[float, float]]
Options = Mapping[str, object]
Metric = Callable[[Image, Image], float]

# ours, and the library's options
WINDOWS: dict[str, tuple[Metric, Options]] = {
    "ssim": (ssim, {}),
    "ssim_wang": (ssim_wang, GAUSSIAN),
}


def clip_pair(side: int) -> tuple[Clip, Clip]:
    """Return a clip (FRAMES, side, side, 3) as smooth as a face is, blurred, and as it was."""
    rng = np.random.default_rng(0)
    truths = []
    for _ in range(FRAMES):
        noise = rng.uniform(0, 255, (side, side, 3))
        smooth = 128 + 12 * (cv2.GaussianBlur(noise, (0, 0), 3) - 128)
        truths.append(np.clip(smooth, 0, 255).astype(np.uint8))
    results = [cv2.GaussianBlur(truth, (0, 0), 1.5) for truth in truths]
    return np.stack(results).astype(np.uint8), np.stack(truths)


def library(options: Options, results: Clip, truths: Clip) -> Scores:
    """Return SSIM and PSNR of each frame, by scikit-image."""
    return [
        (
            structural_similarity(*pair, channel_axis=-1, data_range=255, **options),
            peak_signal_noise_ratio(*pair, data_range=255),
        )
        for pair in zip(truths, results, strict=True)
    ]


def ours(metric: Metric, results: Clip, truths: Clip) -> Scores:
    """Return the same two of each frame, by the compiled kernels."""
    return [(metric(*pair), psnr(*pair)) for pair in zip(results, truths, strict=True)]


def largest_difference(pair: tuple[Clip, Clip]) -> float:
    """Return how far any figure of either way is from the library's."""
    found = [picture_scores(*pair), scores_by_torch(*pair, "cpu")]
    differences = []
    for name, (_, options) in WINDOWS.items():
        wanted = np.array(library(options, *pair))
        own = [np.stack([scores[name], scores["psnr"]], axis=1) for scores in found]
        differences.append(np.abs(np.stack(own) - wanted).max())
    return float(max(differences))


def either_way(pair: tuple[Clip, Clip]) -> Timing:
    """Time all four figures in torch and by the kernels; on a GPU, too, where there is one."""
    ways = {
        "in torch, cpu": partial(scores_by_torch, *pair, "cpu"),
        "kernels": partial(picture_scores, *pair),
    }
    if torch.cuda.is_available():
        ways["in torch, cuda"] = partial(picture_scores, *pair, "cuda")
    return compare(ways)


def measure() -> tuple[Result, str]:
    """Time each pair of figures at each size, a clip of 4 frames at a time."""
    torch.set_num_threads(1)
    ratio, milliseconds, lines, difference = {}, {}, [], 0.0
    for side in SIDES:
        pair = clip_pair(side)
        difference = max(difference, largest_difference(pair))
        for name, (metric, options) in WINDOWS.items():
            what = name if side == WANTED else f"{name}, {side} px"
            timing = compare(
                {
                    "scikit-image": partial(library, options, *pair),
                    "affekt.metrics.image": partial(ours, metric, *pair),
                }
            )
            ratio[what] = timing.ratio["affekt.metrics.image"]
            milliseconds[what] = timing.milliseconds
            lines += timing_rows(f"{name} + psnr, {side} px", timing)
    ways = either_way(clip_pair(WANTED))
    lines += timing_rows(f"all four, {WANTED} px", ways)
    text = table([f"{FRAMES} frames", "candidate", "ms", "ratio"], lines)
    return Result("metrics", ratio, difference, milliseconds, {"ways": ways.milliseconds}), text


if __name__ == "__main__":
    main(__doc__, measure)
