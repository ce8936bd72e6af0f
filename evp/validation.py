"""Validation of EVP's stages during training: metrics of held-out clips and frames, and plots.

Letters: T frames of a clip, N frames, R of them in a run, C guidance channels, H, W pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from affekt.arrays import Array, Image
from affekt.media.corpus import Clip
from affekt.media.faces.geometry import FACE_SIZE, View
from affekt.media.faces.points import POLYLINES
from affekt.media.validation import ValConfig, evenly_spread
from affekt.media.video.pictures import resized
from affekt.metrics.image import psnr, ssim
from affekt.metrics.landmark import mouth_correlation, point_distance
from affekt.runtime.config import ConfigError
from evp.data.portraits import (
    GuidanceConfig,
    OpenClip,
    VideoDataConfig,
    nearest_frames,
    speaker_clips,
)
from evp.inference.renderer import InitialFrames, render
from evp.landmark_space import LandmarkSpace, unflatten
from evp.networks.encoders import MFCC_RANGE, encode

VAL_FRAMES = 64  # of the renderer, at most, evenly spread over the split; one run of them at least
RUN = 8  # frames that a temporal generator generates before it is given true ones again
PLOTTED = 4  # frames in a plot of samples
EPSILON = 1e-9  # of a distance that another is divided by
TRUTH, PREDICTED = (160, 160, 160), (20, 60, 200)  # RGB
ENLARGED = 6  # pixels for each number of a window


# Encoders and landmarks


def class_accuracy(
    encoder: nn.Module, classifier: nn.Module, clips: Sequence[Clip], labels: Sequence[int]
) -> float:
    """Return the share of clips whose label has the highest mean probability over the windows."""
    device = next(classifier.parameters()).device
    windows = [torch.from_numpy(np.array(clip.windows())) for clip in clips]
    with torch.no_grad():
        logits = classifier(encode(encoder, torch.cat(windows).to(device)))
    by_clip = logits.softmax(dim=1).split([len(each) for each in windows])
    guesses = [int(probabilities.mean(dim=0).argmax()) for probabilities in by_clip]
    return float(np.mean([guess == label for guess, label in zip(guesses, labels, strict=True)]))


def landmark_metrics(
    predict: Callable[[Clip], Array], clips: Sequence[Clip], space: LandmarkSpace, view: View
) -> dict[str, float]:
    """Return mouth distance in pixels, its ratio to the speaker's mean face, and mouth_r.

    mouth_r is the median over clips of the correlation of mouth openings, without still mouths.

    Args:
        predict: from a clip to aligned landmarks (T, 68, 2) in pixels.
    """
    distances, baseline, correlations = [], [], []
    for clip in clips:
        # The speaker's mean face is the baseline
        truth, predicted = clip.aligned(view), predict(clip)
        mean_face = unflatten(space.average_of(clip.speaker))
        distances.append(point_distance(predicted, truth))
        baseline.append(point_distance(np.broadcast_to(mean_face, truth.shape), truth))
        correlations.append(mouth_correlation(predicted, truth))
    return {
        "val_mouth_px": float(np.mean(distances)),
        "val_mouth_ratio": float(np.mean(distances) / np.mean(baseline)),
        "val_mouth_r": float(np.nanmedian(correlations)),
    }


# Renderer


@dataclass(frozen=True)
class ValFrames:
    """Held-out frames at the generator's size, uint8."""

    frames: Image  # (N, H, W, 3)
    guidance: Image  # (N, C, H, W)
    nearest: Image  # (N, H, W, 3), the training frames whose landmarks are nearest
    initial: tuple[InitialFrames, ...] = ()  # the frames before each run; empty: there are no runs


def val_frames(
    data: VideoDataConfig,
    val: ValConfig,
    guidance: GuidanceConfig,
    previous: int = 0,
    count: int = VAL_FRAMES,
) -> ValFrames | None:
    """Return held-out frames with their nearest training frames; None for split "none".

    With `previous` frames before, they are runs of `RUN` frames; without, single frames.

    Raises:
        ConfigError: the split has no clip of the speaker, or none of its clips is long enough.
    """
    if val.split == "none":
        return None
    train = list(chain(*speaker_clips(data, "train")))
    clips = list(chain(*speaker_clips(data, val.split)))
    clips = evenly_spread(clips, val.clips) if val.clips else clips
    run = RUN if previous else 1
    starts = run_starts([clip.frames for clip in clips], count // run, previous, run)
    if not any(starts):
        raise ConfigError(
            f"no clip of split {val.split!r} has {previous + run} frames, which it takes to "
            "measure this generator; set val.split=none"
        )
    runs: list[tuple[Image, Image]] = []
    nearest: list[Image] = []
    initial: list[InitialFrames] = []
    for clip, places in zip(clips, starts, strict=True):
        if not places:
            continue
        # the runs themselves
        opened = OpenClip(clip, guidance)
        chosen = [start + k for start in places for k in range(run)]
        runs.append(opened.read(chosen))
        # the baseline: what a look-up in the training clips would show
        closest = nearest_frames(train, clip)
        for known, frame in (closest[index] for index in chosen):
            nearest.append(resized(known.store().read([frame]), guidance.size))
        # the history of a temporal generator before each run
        if previous:
            initial += [InitialFrames(*opened.read(range(at - previous, at))) for at in places]
    frames, maps = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    return ValFrames(frames, maps, np.concatenate(nearest), tuple(initial))


def run_starts(lengths: list[int], runs: int, previous: int, run: int) -> list[list[int]]:
    """Return where runs begin in each clip: at most `runs`, or 1, evenly spread, none overlapping.

    Args:
        lengths: frames of each clip.
        runs: how many.
        previous: frames of the clip that must lie before a run.
        run: frames of a run.
    """
    possible = [max(length - previous - run + 1, 0) for length in lengths]  # starts in each clip
    total = sum(possible)
    stride = max(-(-total // max(runs, 1)), run)
    following = min(stride // 2, max(total - 1, 0))  # counted from a clip's first possible start
    starts = []
    for count in possible:
        places = range(following, count, stride)
        following += len(places) * stride - count
        starts.append([previous + place for place in places])
    return starts


def render_val(generator: nn.Module, val_set: ValFrames) -> Image:
    """Return the frames that a generator makes of the held-out guidance maps, (N, H, W, 3)."""
    if not val_set.initial:
        return render(generator, val_set.guidance)
    runs = np.split(val_set.guidance, len(val_set.initial))
    pairs = zip(runs, val_set.initial, strict=True)
    return np.concatenate([render(generator, maps, initial) for maps, initial in pairs])


def frame_metrics(generated: Image, val_set: ValFrames) -> dict[str, float]:
    """Return SSIM and PSNR of generated frames, and both against the nearest training frames."""
    ours, baseline = (mean_quality(each, val_set.frames) for each in (generated, val_set.nearest))
    return {
        "val_ssim": ours["ssim"],
        "val_psnr": ours["psnr"],
        "val_dssim_ratio": (1 - ours["ssim"]) / max(1 - baseline["ssim"], EPSILON),
        "val_psnr_gain": ours["psnr"] - baseline["psnr"],
    }


def mean_quality(frames: Image, truth: Image) -> dict[str, float]:
    """Return mean SSIM and PSNR of frames (N, H, W, 3) against the true ones."""
    pairs = list(zip(frames, truth, strict=True))
    return {
        "ssim": float(np.mean([ssim(*pair) for pair in pairs])),
        "psnr": float(np.mean([psnr(*pair) for pair in pairs])),
    }


# Plots


def plot_faces(truth: Array, predicted: Array) -> Image:
    """Plot aligned faces (N, 68, 2) in a row: the truth in grey, the prediction in blue."""
    return np.concatenate([_face(*pair) for pair in zip(truth, predicted, strict=True)], axis=1)


def plot_windows(windows: Array) -> Image:
    """Plot windows (rows, columns, 28, 12) as a grid of grey pictures, time to the right."""
    grey = np.clip(127.5 + 127.5 * windows / MFCC_RANGE, 0, 255).astype(np.uint8)
    large = grey.swapaxes(2, 3).repeat(ENLARGED, axis=2).repeat(ENLARGED, axis=3)
    framed = np.pad(large, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=255)
    rows, columns, height, width = framed.shape
    sheet = framed.swapaxes(1, 2).reshape(rows * height, columns * width)
    return np.repeat(sheet[:, :, None], 3, axis=2)


def plot_samples(guidance: Image, generated: Image, truth: Image) -> Image:
    """Plot a few frames below each other: plain guidance map, generated frame, truth."""
    chosen = evenly_spread(range(len(truth)), PLOTTED)
    plain = np.repeat(guidance[chosen, -1, :, :, None], 3, axis=3)
    rows = np.concatenate([plain, generated[chosen], truth[chosen]], axis=2)
    return np.concatenate(list(rows), axis=0)


def _face(truth: Array, predicted: Array) -> NDArray[np.uint8]:
    canvas = np.full((FACE_SIZE, FACE_SIZE, 3), 255, np.uint8)
    for points, colour in ((truth, TRUTH), (predicted, PREDICTED)):
        for _, indices, closed in POLYLINES:
            line = np.round(points[list(indices)] * 8).astype(np.int32)  # eighths of a pixel
            cv2.polylines(canvas, [line], closed, colour, 1, cv2.LINE_AA, shift=3)
    return canvas
