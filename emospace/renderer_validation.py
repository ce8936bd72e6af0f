"""Validation of HEF during training: drawn frames and videos of held-out people against the truth.

Letters: N driving frames of a clip, S pixels a side, T frames of a clip.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from affekt.arrays import Array, Image
from affekt.media.corpus import Clip
from affekt.media.emotions import NEUTRAL
from affekt.media.face3d.crop_pose import crop_pose
from affekt.media.validation import evenly_spread
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import from_tensor, unit_range
from affekt.metrics.image import ssim
from affekt.metrics.temporal import sharpness, warp_errors
from emospace.data.portraits import Place, neutral_clips, read_pair
from emospace.inference.renderer import FaceRenderer
from emospace.networks.renderer import Renderer, frame_of

PATCH = 5  # pixels a side around a landmark
SHOWN = 4  # clips in a sample picture
SHOWN_SIDE = 128  # pixels a side, at least, of its pictures
EPSILON = 1e-9  # of an error that another is divided by


@dataclass(frozen=True)
class ValPairs:
    """A held-out clip's frames, to be drawn from one portrait; items as of PortraitPairs."""

    clip: Clip
    from_neutral: dict[str, Tensor]  # N of them; the portrait begins a neutral clip of the person
    own: dict[str, Tensor]  # N of them; the portrait is the clip's own first frame


def portrait_val_set(clips: Sequence[Clip], frames: int, size: int, window: int) -> list[ValPairs]:
    """Return what `reenactment_metrics` measures on: `frames` evenly spread frames of each clip.

    Raises:
        ConfigError: a speaker has no neutral clip in this split.
    """
    if not clips:
        return []
    neutral = neutral_clips(clips)
    found = []
    for clip in clips:
        driving = [
            Place(clip, frame) for frame in evenly_spread(range(clip.frames), frames + 1)[1:]
        ]
        batches = []
        for source in (Place(neutral[clip.speaker][0], 0), Place(clip, 0)):
            items = [read_pair(source, place, size, window) for place in driving]
            batches.append({key: torch.stack([each[key] for each in items]) for key in items[0]})
        found.append(ValPairs(clip, *batches))
    return found


@torch.no_grad()
def reenactment_metrics(renderer: Renderer, val_set: Sequence[ValPairs]) -> dict[str, float]:
    """Return errors of drawn frames over those of the frozen portrait, sums over all clips.

    l1_ratio        mean |drawn - true| from the neutral portrait, of clips with an emotion
    landmark_ratio  the same over 5 x 5 pixels around each of the true frame's landmarks
    mouth_ratio     the same inside its inner lips
    own_ratio       as l1_ratio, from the clip's own first frame, of all clips
    ssim, ssim_frozen  from the neutral portrait, of clips with an emotion; the portrait's own

    An L1 ratio alone is no evidence of an expression: a network that only turns the head reached
    .6. Where no clip has an emotion the first three are of neutral clips.
    """
    renderer.eval()
    emotional = [each for each in val_set if each.clip.emotion != NEUTRAL] or list(val_set)
    errors = [_errors(renderer, each.from_neutral) for each in emotional]
    sums = {name: np.sum([each[name] for each in errors], axis=0) for name in errors[0]}
    own = np.sum([_errors(renderer, each.own)["l1"] for each in val_set], axis=0)
    frames = sum(len(each.from_neutral["driving"]) for each in emotional)
    return {
        "l1_ratio": _ratio(sums["l1"]),
        "landmark_ratio": _ratio(sums["landmarks"]),
        "mouth_ratio": _ratio(sums["mouth"]),
        "own_ratio": _ratio(own),
        "ssim": float(sums["ssim"][0] / frames),
        "ssim_frozen": float(sums["ssim"][1] / frames),
    }


@torch.no_grad()
def drawn(renderer: Renderer, batch: dict[str, Tensor]) -> Tensor:
    """Return the frames of a batch of pairs, (N, 3, S, S) float32 in [0, 1]."""
    device = next(renderer.parameters()).device
    there = {name: value.to(device) for name, value in batch.items()}
    source = renderer.encode(unit_range(there["source"]))
    motions = there["source_motion"], there["window"], there["source_landmarks"]
    return frame_of(renderer(source, *motions)).float().clamp(0, 1)


def temporal_metrics(face: FaceRenderer, clips: Sequence[Clip]) -> dict[str, float]:
    """Return warp error and sharpness of whole clips drawn from their own first frames, means.

    warp_error      see affekt/metrics/temporal.py; warp_error_truth is what the true frames
                    score, 1 the frozen portrait
    sharpness       a share of the true frames'; read beside the error, which rewards blur
    """
    scores: dict[str, list[float]] = {"warp_error": [], "warp_error_truth": [], "sharpness": []}
    for clip in clips:
        truth = resized(clip.store()[0 : clip.frames], face.size)
        frames = np.stack(list(drawn_clip(face, clip)))
        errors = warp_errors({"drawn": frames, "true": truth}, truth)
        if errors["drawn"] is not None and errors["true"] is not None:
            scores["warp_error"].append(errors["drawn"])
            scores["warp_error_truth"].append(errors["true"])
        scores["sharpness"].append(sharpness(frames) / max(sharpness(truth), EPSILON))
    return {name: float(np.mean(values)) for name, values in scores.items() if values}


def drawn_clip(face: FaceRenderer, clip: Clip) -> Iterable[Image]:
    """Return a prepared clip drawn from its own first frame by its own motions, (S, S, 3) each."""
    crop, expression = clip.crop(), clip.expression()
    poses, landmarks = crop_pose(clip.expression_pose(), crop), clip.stored_landmarks()
    encoded = face.encode(clip.store()[0], expression[0], poses[0], landmarks[0])
    return face.render(encoded, expression, poses, crop.size[0])


def portrait_picture(renderer: Renderer, val_set: Sequence[ValPairs]) -> Image:
    """Return clips below each other: portrait, warped portrait, mask, drawn frame, truth.

    The frame is the one that differs most from the portrait.
    """
    device = next(renderer.parameters()).device
    rows = []
    for each in evenly_spread(val_set, SHOWN):
        batch = each.from_neutral
        pixels = {name: unit_range(batch[name]) for name in ("source", "driving")}
        moves = (pixels["source"] - pixels["driving"]).abs().mean(dim=(1, 2, 3))
        one = {name: value[moves.argmax()][None].to(device) for name, value in batch.items()}
        with torch.no_grad():
            motions = one["source_motion"], one["window"], one["source_landmarks"]
            levels = renderer(renderer.encode(unit_range(one["source"])), *motions)
        last = levels[-1]
        assert last.warped is not None
        assert last.logits is not None
        mask = torch.sigmoid(last.logits[:, 2:]).expand(-1, 3, -1, -1)
        shown = [unit_range(one["source"]), last.warped, mask, frame_of(levels)]
        shown.append(unit_range(one["driving"]))
        rows.append(np.concatenate([from_tensor(part.float())[0] for part in shown], axis=1))
    sheet = np.concatenate(rows, axis=0)
    times = -(-SHOWN_SIDE // renderer.config.size)
    return sheet.repeat(times, axis=0).repeat(times, axis=1)


def _errors(renderer: Renderer, batch: dict[str, Tensor]) -> dict[str, Array]:
    """Return sums over a batch's frames, of what is drawn and of the frozen portrait, (2,) each."""
    pictures = drawn(renderer, batch).cpu()
    source, truth = unit_range(batch["source"]), unit_range(batch["driving"])
    inside = (batch["mouth"] > 0).float()
    places_BN12 = batch["driving_landmarks"][:, :, None]
    found: dict[str, list[float]] = {"l1": [], "landmarks": [], "mouth": [], "ssim": []}
    for shown in (pictures, source):
        error_B1SS = (shown - truth).abs().mean(dim=1, keepdim=True)
        patches = F.avg_pool2d(error_B1SS, PATCH, stride=1, padding=PATCH // 2)
        near = F.grid_sample(patches, places_BN12, mode="nearest", align_corners=False)
        found["l1"].append(float(error_B1SS.mean(dim=(1, 2, 3)).sum()))
        found["landmarks"].append(float(near.mean(dim=(1, 2, 3)).sum()))
        found["mouth"].append(float((error_B1SS * inside).sum()))
        pairs = zip(from_tensor(shown), from_tensor(truth), strict=True)
        found["ssim"].append(float(sum(ssim(*pair) for pair in pairs)))
    return {name: np.array(values) for name, values in found.items()}


def _ratio(errors: Array) -> float:
    ours, frozen = errors
    return float(ours / max(frozen, EPSILON))
