"""Held-out frames that edge-to-video is measured on beside training, and what is measured.

Letters: N frames, R of them in a row, C guidance channels, H, W pixels.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
from torch import nn

from affekt.arrays import Image
from affekt.media.corpus import Clip
from affekt.media.video.pictures import resized
from affekt.runtime.config import ConfigError
from evp.data.portraits import OpenClip, VideoDataConfig, nearest_frames, speaker_clips
from evp.inference.renderer import InitialFrames, render
from evp.networks.generator import GuidanceConfig

IN_A_ROW = 8  # frames that a temporal generator draws before it is given true ones again
PICTURED = 4  # held-out frames in a sample picture


@dataclass(frozen=True)
class HeldOutFrames:
    """Which frames are measured beside training, and how often; no choice is made by them."""

    split: Literal["val", "test_sentence", "none"] = "test_sentence"
    every: int = 1_000  # steps, of those that draw at the full size
    frames: int = 64  # at most, evenly spread over the split; one run of them at least


@dataclass(frozen=True)
class Measured:
    """Held-out frames at the generator's size, uint8."""

    frames: Image  # (N, H, W, 3)
    guidance: Image  # (N, C, H, W)
    nearest: Image  # (N, H, W, 3), the training frames whose landmarks lie nearest
    firsts: tuple[InitialFrames, ...] = ()  # of each run of frames; none: no history


def measured_frames(
    data: VideoDataConfig, held_out: HeldOutFrames, guidance: GuidanceConfig, previous: int = 0
) -> Measured | None:
    """Return the held-out frames with their nearest training frames; None for split "none".

    With `previous` frames before, they are runs of `IN_A_ROW`; without, single frames.

    Raises:
        ConfigError: the split has no clip of the speaker, or none of its clips is long enough.
    """
    if held_out.split == "none":
        return None
    train = list(chain(*speaker_clips(data, "train")))
    clips = list(chain(*speaker_clips(data, held_out.split)))
    run = IN_A_ROW if previous else 1
    starts = run_starts([clip.frames for clip in clips], held_out.frames // run, previous, run)
    if not any(starts):
        raise ConfigError(
            f"no clip of split {held_out.split!r} has {previous + run} frames, which it takes to "
            "measure this generator; set held_out.split=none"
        )
    read, nearest, firsts = [], [], []
    for clip, places in zip(clips, starts, strict=True):
        opened, chosen = OpenClip(clip, guidance), _in_a_row(places, run)
        if places:
            read.append(opened.read(chosen))
            nearest += _looked_up(train, clip, chosen)
        if previous:
            firsts += [InitialFrames(*opened.read(range(at - previous, at))) for at in places]
    looked_up = [resized(clip.store().read([frame]), guidance.size) for clip, frame in nearest]
    frames, maps = (np.concatenate(part) for part in zip(*read, strict=True))
    return Measured(frames, maps, np.concatenate(looked_up), tuple(firsts))


def run_starts(lengths: list[int], runs: int, previous: int, run: int) -> list[list[int]]:
    """Return where runs begin in each clip: at most `runs`, or 1, evenly spread, none overlapping.

    Args:
        lengths: frames of each clip.
        runs: how many.
        previous: frames of the clip that must lie before a run.
        run: frames of a run.
    """
    beginnings = [max(length - previous - run + 1, 0) for length in lengths]  # that there could be
    total = sum(beginnings)
    stride = max(-(-total // max(runs, 1)), run)
    next_one = min(stride // 2, max(total - 1, 0))  # counted from a clip's first beginning
    starts = []
    for count in beginnings:
        places = range(next_one, count, stride)
        next_one += len(places) * stride - count
        starts.append([previous + place for place in places])
    return starts


def draw_measured(generator: nn.Module, measured: Measured) -> Image:
    """Return the frames that a generator draws for the measured ones, (N, H, W, 3)."""
    if not measured.firsts:
        return render(generator, measured.guidance)
    runs = np.split(measured.guidance, len(measured.firsts))
    return np.concatenate(
        [render(generator, maps, first) for maps, first in zip(runs, measured.firsts, strict=True)]
    )


def sample_picture(guidance: Image, result: Image, truth: Image) -> Image:
    """Return a few frames below each other: plain guidance map, result, truth."""
    chosen = np.linspace(0, len(truth) - 1, PICTURED).round().astype(int)
    plain = np.repeat(guidance[chosen, -1, :, :, None], 3, axis=3)
    rows = np.concatenate([plain, result[chosen], truth[chosen]], axis=2)
    return np.concatenate(list(rows), axis=0)


def _in_a_row(places: list[int], run: int) -> list[int]:
    return [at + k for at in places for k in range(run)]


def _looked_up(train: list[Clip], clip: Clip, chosen: list[int]) -> list[tuple[Clip, int]]:
    closest = nearest_frames(train, clip)
    return [closest[frame] for frame in chosen]
