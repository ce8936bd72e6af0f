"""How well Audio2Facial-Dynamics moves the keypoints of speakers that it has not seen.

The source is the first frame of a held-out clip, sound and pose are the clip's own, and the truth
is what FOMM's detector sees in its further frames (the self-driven protocol of supplement B.1,
whose source is a random frame). The error is mean |x_a - x_v| + mean |J_a - J_v|. It is set against
that of the source's own keypoints left where they are, and against what comes of another clip's
sound: a network that only follows the pose would not notice.

Letters: T frames, K keypoints, S pixels of FOMM's pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from affekt.arrays import Image
from affekt.media.corpus import Clip
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import from_tensor, to_tensor
from affekt.runtime.config import ConfigError
from eamm.a2fd.network import A2fd
from eamm.a2fd.teacher import teacher_keypoints
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm
from eamm.inference.pose import release_pose

PICTURED = 4  # frames in a sample picture


@dataclass(frozen=True)
class HeldOut:
    """Which clips are measured beside training, and how often; nothing is chosen by the figures."""

    split: Literal["val", "test_speaker", "none"] = "test_speaker"
    every: int = 1_000  # steps
    clips: int = 24  # at most, evenly spread over the split


class Driven(NamedTuple):
    """A clip to be predicted from its first frame; all tensors with a leading axis of 1."""

    source: Tensor  # (1, 3, S, S)
    still: Keypoints  # the source's own, (1, K, ...)
    windows: Tensor  # (1, T, 28, 12), of the frames after the first
    other_windows: Tensor  # the same of another clip, repeated or cut to this one's length
    pose: Tensor  # (1, T, 6)
    truth: Keypoints  # (1, T, K, ...)
    clip: Clip


def spread(clips: Sequence[Clip], count: int) -> list[Clip]:
    """Return at most `count` of the clips, evenly spread."""
    chosen = np.linspace(0, len(clips) - 1, min(count, len(clips))).round().astype(int)
    return [clips[i] for i in chosen]


def driven_from_first(fomm: Fomm, clips: Sequence[Clip]) -> list[Driven]:
    """Return what `keypoint_figures` measures on; a clip gets the sound of the next one.

    Raises:
        ConfigError: there is no other clip whose sound could be taken, or a clip has one frame.
    """
    if len(clips) < 2 or min(clip.frames for clip in clips) < 2:
        raise ConfigError(
            f"{len(clips)} held-out clips, wanted 2 or more, of 2 frames or more each; set "
            "held_out.split"
        )
    others = [*clips[1:], clips[0]]
    return [_driven(fomm, clip, other) for clip, other in zip(clips, others, strict=True)]


@torch.no_grad()
def keypoint_figures(model: A2fd, measured: Sequence[Driven]) -> dict[str, float]:
    """Return the error of held-out keypoints and its ratios, sums over all clips.

    error           mean |x_a - x_v| + mean |J_a - J_v| over the frames of all clips
    keypoint_ratio  error / that of the source's own keypoints at every frame
    value_ratio, jacobian_ratio  the same of either part
    shuffled_ratio  error / that with another clip's sound and the right pose
    """
    model.eval()
    found: dict[str, list[Tensor]] = {"ours": [], "still": [], "shuffled": []}
    for one in measured:
        still = Keypoints(
            *(part[:, None].expand(-1, one.pose.shape[1], *part.shape[1:]) for part in one.still)
        )
        right, _ = model(one.source, one.windows, one.pose)
        wrong, _ = model(one.source, one.other_windows, one.pose)
        for name, keypoints in (("ours", right), ("still", still), ("shuffled", wrong)):
            found[name].append(_errors(keypoints, one.truth))
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


def a2fd_figures(model: A2fd, fomm: Fomm, clips: Sequence[Clip]) -> dict[str, float]:
    """Return `keypoint_figures` of held-out clips: what a report shows of a trained network."""
    return keypoint_figures(model, driven_from_first(fomm, clips))


@torch.no_grad()
def sample_picture(model: A2fd, fomm: Fomm, one: Driven) -> Image:
    """Return a few frames below each other: source, FOMM by A2FD, FOMM by its teacher, truth."""
    model.eval()
    T = one.pose.shape[1]
    chosen = np.linspace(0, T - 1, PICTURED).round().astype(int).tolist()
    keypoints, _ = model(one.source, one.windows, one.pose)
    sources = one.source.expand(PICTURED, -1, -1, -1)
    still = Keypoints(*(part.expand(PICTURED, *part.shape[1:]) for part in one.still))
    shown = [
        fomm.generator(sources, still, Keypoints(*(part[0, chosen] for part in driving))).prediction
        for driving in (keypoints, one.truth)
    ]
    true = np.concatenate([one.clip.store()[i + 1 : i + 2] for i in chosen])
    columns = [*map(from_tensor, (sources, *shown)), resized(true, fomm.config.size)]
    return np.concatenate(list(np.concatenate(columns, axis=2)), axis=0)


def _driven(fomm: Fomm, clip: Clip, other: Clip) -> Driven:
    device = next(fomm.parameters()).device
    frames = clip.store()[0 : clip.frames]
    keypoints, _ = teacher_keypoints(fomm, frames)
    repeated = np.resize(other.windows()[1:], (clip.frames - 1, *other.windows().shape[1:]))
    arrays = clip.windows()[1:], repeated, release_pose(clip)[1:]
    own, foreign, pose = (torch.from_numpy(np.array(one))[None].to(device) for one in arrays)
    return Driven(
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
