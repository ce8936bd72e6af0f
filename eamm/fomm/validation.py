"""Reenactment error of FOMM on validation clips, relative to that of the unmoved source.

Letters: N frames, H, W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affekt.arrays import Image
from affekt.media.corpus import Clip
from affekt.media.validation import ValConfig, evenly_spread
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import from_tensor, to_tensor
from affekt.runtime.config import ConfigError
from eamm.fomm.data import FrameDataConfig, find_clips
from eamm.fomm.generator import Generated
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm

SHOWN = 256  # pixels a side, at least, of a picture in the sample
LIVELY = "lively"  # clips with this at the end of their id are also counted apart
EPSILON = 1e-9  # of an error that another is divided by


@dataclass(frozen=True)
class ValClip:
    """A clip's first frame, and some others."""

    clip: Clip
    source: Tensor  # (1, 3, H, W) in [0, 1]
    driving: Tensor  # (N, 3, H, W)


def frame_val_set(data: FrameDataConfig, val: ValConfig, frames: int, size: int) -> list[ValClip]:
    """Return the clips that are measured, each with at most `frames` driving frames.

    Raises:
        ConfigError: the split is empty.
    """
    if val.split == "none":
        return []
    clips = [clip for clip in find_clips(data, val.split) if clip.frames >= 2]
    if not clips:
        roots = ", ".join(map(str, data.corpora))
        raise ConfigError(f"no {val.split!r} clip in {roots}; set val.split")
    return [_read(clip, frames, size) for clip in evenly_spread(clips, val.clips or len(clips))]


def _read(clip: Clip, count: int, size: int) -> ValClip:
    places = evenly_spread(range(clip.frames), count + 1)
    frames = to_tensor(resized(clip.store().read(places), size))
    return ValClip(clip, frames[:1], frames[1:])


@torch.inference_mode()
def reenactment_metrics(fomm: Fomm, val_set: Sequence[ValClip]) -> dict[str, float]:
    """Return the reenactment errors of a network in evaluation mode:

    l1: mean |prediction - driving| of the source, the clip's first frame, moved by the keypoints of
        the driving frame, levels in [0, 1]; every clip counts alike.
    l1_ratio: that, divided by the error of the source left as it is.
    l1_ratio_lively, l1_ratio_calm: the same of clips whose id ends in `LIVELY`, and of the others.
    """
    device = next(fomm.parameters()).device
    errors = np.array([_errors(fomm, each, device) for each in val_set])
    lively = np.array([each.clip.id.endswith(LIVELY) for each in val_set])
    metrics = {"l1": float(errors[:, 0].mean()), "l1_ratio": _ratio(errors)}
    for name, chosen in ((LIVELY, lively), ("calm", ~lively)):
        if lively.any() and chosen.any():
            metrics[f"l1_ratio_{name}"] = _ratio(errors[chosen])
    return metrics


def _errors(fomm: Fomm, each: ValClip, device: torch.device) -> tuple[float, float]:
    """Return a clip's mean errors of the prediction and of the frozen source."""
    source = each.source.to(device).expand(len(each.driving), -1, -1, -1)
    driving = each.driving.to(device)
    prediction = fomm(source, driving).prediction.float()
    return float((prediction - driving).abs().mean()), float((source - driving).abs().mean())


def _ratio(errors: NDArray[np.float64]) -> float:
    ours, frozen = errors.mean(axis=0)
    return float(ours / max(frozen, EPSILON))


@torch.inference_mode()
def sample_picture(fomm: Fomm, val_set: Sequence[ValClip], rows: int = 4) -> Image:
    """Return clips below each other: source, driving, moved source and prediction, (H, W, 3).

    Source and driving frames show their keypoints. The rows go from a calm clip to the
    one that moves most.
    """
    device = next(fomm.parameters()).device
    moves = [float((each.driving - each.source).abs().mean()) for each in val_set]
    order = np.argsort(moves)
    ranks = np.linspace(len(order) // 4, len(order) - 1, rows).round().astype(int)
    lines = []
    for which in order[np.unique(ranks)]:
        each = val_set[which]
        farthest = int((each.driving - each.source).abs().mean(dim=(1, 2, 3)).argmax())
        source, driving = each.source.to(device), each.driving[farthest][None].to(device)
        keypoints = fomm.detector(source), fomm.detector(driving)
        made: Generated = fomm.generator(source, *keypoints)
        marked = [shown(*pair) for pair in zip((source, driving), keypoints, strict=True)]
        lines.append(np.concatenate([*marked, shown(made.deformed), shown(made.prediction)], 1))
    return np.concatenate(lines, axis=0)


def shown(frame_13HW: Tensor, keypoints: Keypoints | None = None) -> Image:
    """Return a frame large enough to look at, with its keypoints as dots, (H, W, 3) uint8."""
    picture = from_tensor(frame_13HW.float())[0]
    times = -(-SHOWN // len(picture))
    picture = picture.repeat(times, axis=0).repeat(times, axis=1)
    if keypoints is not None:
        points = (keypoints.value[0].float().cpu().numpy() + 1) / 2 * (len(picture) - 1)
        for k, (x, y) in enumerate(points.round().astype(int).tolist()):
            hue = np.array([[[180 * k // len(points), 255, 255]]], np.uint8)
            colour = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
            cv2.circle(picture, (x, y), 4, colour, cv2.FILLED, cv2.LINE_AA)
            cv2.circle(picture, (x, y), 4, (0, 0, 0), 1, cv2.LINE_AA)
    return picture
