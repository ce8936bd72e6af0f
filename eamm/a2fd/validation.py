"""Keypoint error of Audio2Facial-Dynamics on validation clips, relative to two baselines.

The source is the first frame of a clip, audio and pose are the clip's own, and the truth are the
detector's keypoints of its further frames (the self-driven protocol of supplement B.1, whose source
is a random frame). The error is mean |x_a - x_v| + mean |J_a - J_v|. The baselines are the source's
own keypoints left where they are, and the prediction from another clip's audio, which a network
that only follows the pose would match.

Letters: T frames, K keypoints, S pixels of FOMM's pictures.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from affekt.arrays import Image
from affekt.media.corpus import Clip
from affekt.media.validation import evenly_spread
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import from_tensor, to_tensor
from affekt.runtime.config import ConfigError
from eamm.a2fd.network import A2fd
from eamm.a2fd.teacher import teacher_keypoints
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm
from eamm.pose import release_pose

PICTURED = 4  # frames in a sample picture


class ValItem(NamedTuple):
    """A clip to be predicted from its first frame; all tensors with a leading axis of 1."""

    source: Tensor  # (1, 3, S, S)
    still: Keypoints  # the source's own, (1, K, ...)
    windows: Tensor  # (1, T, 28, 12), of the frames after the first
    other_windows: Tensor  # the same of another clip, repeated or cut to this one's length
    pose: Tensor  # (1, T, 6)
    truth: Keypoints  # (1, T, K, ...)
    clip: Clip


def keypoint_val_set(fomm: Fomm, clips: Sequence[Clip]) -> list[ValItem]:
    """Return what `keypoint_metrics` measures on; the other audio is the next clip's.

    Raises:
        ConfigError: there is no other clip whose audio could be taken, or a clip has one frame.
    """
    if len(clips) < 2 or min(clip.frames for clip in clips) < 2:
        raise ConfigError(
            f"{len(clips)} validation clips, wanted 2 or more, of 2 frames or more each; set "
            "val.split"
        )
    others = [*clips[1:], clips[0]]
    return [_val_item(fomm, clip, other) for clip, other in zip(clips, others, strict=True)]


@torch.no_grad()
def keypoint_metrics(model: A2fd, val_set: Sequence[ValItem]) -> dict[str, float]:
    """Return the error of the keypoints and its ratios, sums over all clips.

    error           mean |x_a - x_v| + mean |J_a - J_v| over the frames of all clips
    keypoint_ratio  error / that of the source's own keypoints at every frame
    value_ratio, jacobian_ratio  the same of either part
    shuffled_ratio  error / that with another clip's audio and the right pose
    """
    model.eval()
    found: dict[str, list[Tensor]] = {"ours": [], "still": [], "shuffled": []}
    for one in val_set:
        # Baselines: the source's own keypoints, and the wrong audio
        still = Keypoints(
            *(part[:, None].expand(-1, one.pose.shape[1], *part.shape[1:]) for part in one.still)
        )
        right, _ = model(one.source, one.windows, one.pose)
        wrong, _ = model(one.source, one.other_windows, one.pose)
        for name, keypoints in (("ours", right), ("still", still), ("shuffled", wrong)):
            found[name].append(_errors(keypoints, one.truth))
    # Errors over all frames, and their ratios
    means = {name: torch.cat(errors).mean(dim=0) for name, errors in found.items()}
    ours, still_error, shuffled = (float(mean.sum()) for mean in means.values())
    value, jacobian = (means["ours"] / means["still"]).tolist()
    return {
        "error": ours,
        "keypoint_ratio": ours / still_error,
        "value_ratio": value,
        "jacobian_ratio": jacobian,
        "shuffled_ratio": ours / shuffled,
    }


@torch.no_grad()
def sample_picture(model: A2fd, fomm: Fomm, one: ValItem) -> Image:
    """Return a few frames below each other: source, FOMM by A2FD, FOMM by its teacher, truth."""
    model.eval()
    T = one.pose.shape[1]
    chosen = evenly_spread(range(T), PICTURED)
    keypoints, _ = model(one.source, one.windows, one.pose)
    sources = one.source.expand(len(chosen), -1, -1, -1)
    still = Keypoints(*(part.expand(len(chosen), *part.shape[1:]) for part in one.still))
    shown = [
        fomm.generator(sources, still, Keypoints(*(part[0, chosen] for part in driving))).prediction
        for driving in (keypoints, one.truth)
    ]
    true = np.concatenate([one.clip.store()[i + 1 : i + 2] for i in chosen])
    columns = [*map(from_tensor, (sources, *shown)), resized(true, fomm.config.size)]
    return np.concatenate(list(np.concatenate(columns, axis=2)), axis=0)


def _val_item(fomm: Fomm, clip: Clip, other: Clip) -> ValItem:
    device = next(fomm.parameters()).device
    frames = clip.store()[0 : clip.frames]
    keypoints, _ = teacher_keypoints(fomm, frames)
    repeated = np.resize(other.windows()[1:], (clip.frames - 1, *other.windows().shape[1:]))
    arrays = clip.windows()[1:], repeated, release_pose(clip)[1:]
    own, foreign, pose = (torch.from_numpy(np.array(one))[None].to(device) for one in arrays)
    return ValItem(
        source=to_tensor(resized(frames[:1], fomm.config.size)).to(device),
        still=Keypoints(*(part[:1] for part in keypoints)),
        windows=own,
        other_windows=foreign,
        pose=pose,
        truth=Keypoints(*(part[None, 1:] for part in keypoints)),
        clip=clip,
    )


def _errors(predicted: Keypoints, truth: Keypoints) -> Tensor:
    """Return mean absolute errors of value and jacobian for each frame, (T, 2)."""
    parts = zip(predicted, truth, strict=True)
    return torch.stack([(one - two).abs().flatten(2).mean(dim=2)[0] for one, two in parts], dim=1)
