"""How well a FOMM re-enacts clips that it has not learned from, beside training.

Letters: N frames, H, W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affekt.arrays import Image
from affekt.media.corpus import Clip
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import to_tensor
from affekt.runtime.config import ConfigError
from eamm.fomm.data import FrameDataConfig, find_clips
from eamm.fomm.generator import Generated
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm

SHOWN = 256  # pixels a side, at least, of a picture in the sample
EPSILON = 1e-9  # of an error that another is divided by


@dataclass(frozen=True)
class HeldOutConfig:
    """Which frames are measured, and how often; no choice is made by them."""

    split: Literal["test_speaker", "test_sentence", "val", "none"] = "test_speaker"
    every: int = 1_000  # steps
    per_clip: int = 4  # driving frames a clip, evenly spread behind the first
    clips: int = 100  # at most, evenly spread over the split
    view: str = "lively"  # clips with this at the end of their id are also counted apart


@dataclass(frozen=True)
class HeldOut:
    """A clip's first frame, and some others."""

    clip: Clip
    source: Tensor  # (1, 3, H, W) in [0, 1]
    driving: Tensor  # (N, 3, H, W)


def held_out_clips(data: FrameDataConfig, config: HeldOutConfig, size: int) -> list[HeldOut]:
    """Return the clips that are measured; none for split "none".

    Raises:
        ConfigError: the split is empty.
    """
    if config.split == "none":
        return []
    clips = [clip for clip in find_clips(data, config.split) if clip.frames >= 2]
    if not clips:
        raise ConfigError(
            f"no {config.split!r} clip in {', '.join(map(str, data.corpora))}; set held_out.split"
        )
    chosen = np.unique(np.linspace(0, len(clips) - 1, config.clips).round().astype(int))
    return [_read(clips[which], config.per_clip, size) for which in chosen]


def _read(clip: Clip, count: int, size: int) -> HeldOut:
    places = np.unique(np.linspace(0, clip.frames - 1, count + 1).round().astype(int))
    frames = to_tensor(resized(clip.store().read(places.tolist()), size))
    return HeldOut(clip, frames[:1], frames[1:])


@torch.inference_mode()
def measure(fomm: Fomm, held_out: Sequence[HeldOut], view: str = "lively") -> dict[str, float]:
    """Return the re-enactment errors, of a network in evaluation mode:

    l1: mean |prediction - driving| of the source, the clip's first frame, moved by the keypoints of
        the driving frame, levels in [0, 1]; every clip counts alike.
    l1_ratio: that, divided by the error of the source left as it is.
    l1_ratio_<view>, l1_ratio_calm: the same of the clips of that view, and of the others.
    """
    device = next(fomm.parameters()).device
    errors = np.array([_errors(fomm, each, device) for each in held_out])
    apart = np.array([each.clip.id.endswith(view) for each in held_out])
    figures = {"l1": float(errors[:, 0].mean()), "l1_ratio": _ratio(errors)}
    for name, chosen in ((view, apart), ("calm", ~apart)):
        if apart.any() and chosen.any():
            figures[f"l1_ratio_{name}"] = _ratio(errors[chosen])
    return figures


def _errors(fomm: Fomm, held_out: HeldOut, device: torch.device) -> tuple[float, float]:
    """Return a clip's mean errors of the prediction and of the frozen source."""
    source = held_out.source.to(device).expand(len(held_out.driving), -1, -1, -1)
    driving = held_out.driving.to(device)
    prediction = fomm(source, driving).prediction.float()
    return float((prediction - driving).abs().mean()), float((source - driving).abs().mean())


def _ratio(errors: NDArray[np.float64]) -> float:
    ours, frozen = errors.mean(axis=0)
    return float(ours / max(frozen, EPSILON))


@torch.inference_mode()
def sample_picture(fomm: Fomm, held_out: Sequence[HeldOut], rows: int = 4) -> Image:
    """Return clips below each other: source, driving, moved source and prediction, (H, W, 3).

    Source and driving frames show their keypoints. The rows go from a calm clip to the
    one that moves most.
    """
    device = next(fomm.parameters()).device
    moves = [float((each.driving - each.source).abs().mean()) for each in held_out]
    order = np.argsort(moves)
    ranks = np.linspace(len(order) // 4, len(order) - 1, rows).round().astype(int)
    lines = []
    for which in order[np.unique(ranks)]:
        each = held_out[which]
        farthest = int((each.driving - each.source).abs().mean(dim=(1, 2, 3)).argmax())
        source, driving = each.source.to(device), each.driving[farthest][None].to(device)
        keypoints = fomm.detector(source), fomm.detector(driving)
        made: Generated = fomm.generator(source, *keypoints)
        marked = [shown(*pair) for pair in zip((source, driving), keypoints, strict=True)]
        lines.append(np.concatenate([*marked, shown(made.deformed), shown(made.prediction)], 1))
    return np.concatenate(lines, axis=0)


def shown(frame_13HW: Tensor, keypoints: Keypoints | None = None) -> Image:
    """Return a frame large enough to look at, with its keypoints as dots, (H, W, 3) uint8."""
    levels = (frame_13HW[0].float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    picture: Image = np.ascontiguousarray(levels.cpu().numpy())
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
