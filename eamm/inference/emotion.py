"""Displace neutral keypoints by the emotion of a video or picture of anyone (EAMM Sec. 3.3; order
of the release's demo).

Nothing here is random: the release's demo applies the training's augmentation to the source;
here the mouth is hidden under noise of a fixed seed, and nothing else is changed.

Letters: T frames of the audio, N frames of an emotion source, K keypoints, M displaced ones, S
pixels of a side, E numbers of an emotion feature.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from affekt.arrays import Array, Image
from affekt.media.emotions import parse_blend
from affekt.media.video.frames import FrameStore, Write, frame_writer, open_frames
from affekt.media.video.result import ping_pong
from eamm.displacement.network import (
    CHUNK,
    Displacement,
    DisplacementDescription,
    apply_displacement,
    displacements,
    emotion_source,
)
from eamm.fomm.keypoints import Keypoints
from eamm.inference.keypoints import DISPLACEMENT_FILTER, smoothed

Loop = Literal["restart", "ping-pong"]


@dataclass(frozen=True)
class EmotionSource:
    """Where the emotion comes from, and how much of it is wanted."""

    paths: tuple[Path, ...] = ()  # none, one, or the two of a blend
    weight: float = 0.0  # of the second
    intensity: float = 1.0  # 0 is neutral, 1 the displacement as predicted
    loop: Loop = "restart"
    align: Literal["frame", "clip"] = "frame"  # put on the template: every face, or the first


@dataclass(frozen=True, eq=False)
class EmotionClip:
    """An emotion source that was read."""

    frames: FrameStore  # N of them, (S, S, 3), their mouths not hidden
    features: Tensor  # (N, E)


def read_emotion(
    model: Displacement,
    description: DisplacementDescription,
    frames: Iterable[Image],
    folder: Path,
) -> EmotionClip:
    """Return an emotion source whose frames are cut as profile `eamm`, and keep them in `folder`.

    Raises:
        ValueError: no frame.
    """
    with frame_writer(folder, "jpeg") as write:
        features = emotion_features(model, description, _kept(frames, write))
    return EmotionClip(open_frames(folder), features)


def emotional_keypoints(
    model: Displacement,
    description: DisplacementDescription,
    clips: Sequence[EmotionClip],
    wanted: EmotionSource,
    neutral: Keypoints,
    smooth: bool,
) -> Keypoints:
    """Return neutral keypoints (T, K) with the emotion of one clip, or of the blend of two.

    Args:
        model, description: the displacement learner, in evaluation mode.
        clips: of `wanted.paths`.
        wanted: weight, intensity and loop.
        neutral: A2FD's.
        smooth: smooth the displacements as the release does.
    """
    T = len(neutral.value)
    features = blended([clip.features for clip in clips], wanted.weight, T, wanted.loop)
    displacement = displacements(model, features, neutral)
    if smooth:
        displacement = smoothed(displacement, DISPLACEMENT_FILTER)
    # Gains of the run's description, one for each displaced keypoint; none: 1 each
    ids = model.config.keypoint_ids
    gains = [wanted.intensity * gain for gain in description.keypoint_gains or [1.0] * len(ids)]
    return apply_displacement(neutral, displacement, ids, gains)


def source_frames(
    clips: Sequence[EmotionClip], length: int, mode: Loop
) -> Iterator[tuple[Image, ...]]:
    """Yield the pictures of every clip that go with each of `length` frames."""
    orders = [loop(len(clip.frames), length, mode) for clip in clips]
    for k in range(length):
        pairs = zip(clips, orders, strict=True)
        yield tuple(clip.frames[int(order[k])] for clip, order in pairs)


@torch.no_grad()
def emotion_features(
    model: Displacement, description: DisplacementDescription, frames: Iterable[Image]
) -> Tensor:
    """Return the emotion features (N, E) of frames cut as profile `eamm` does, (H, H, 3) each.

    Raises:
        ValueError: no frame.
    """
    device = next(model.parameters()).device
    features = [
        model.extractor(emotion_source(np.stack(chunk), description, seed=start).to(device))
        for start, chunk in enumerate(_chunks(frames))
    ]
    if not features:
        raise ValueError("the emotion source has no frame")
    return torch.cat(features)


def loop(count: int, length: int, mode: Loop) -> Array:
    """Return which of `count` frames of an emotion source goes with each of `length` frames.

    restart: 0 1 2 0 1 2 ..., the release's. ping-pong: 0 1 2 2 1 0 ..., without a jump.
    """
    return ping_pong(count, length) if mode == "ping-pong" else np.arange(length) % count


def blended(features: Sequence[Tensor], weight: float, length: int, mode: Loop) -> Tensor:
    """Return the emotion features (T, E) of one source, or (1 - w) a + w b of two."""
    looped = [each[loop(len(each), length, mode)] for each in features]
    if len(looped) == 1:
        return looped[0]
    first, second = looped
    return (1 - weight) * first + weight * second


def blend_files(text: str) -> tuple[tuple[Path, Path], float]:
    """Return the emotion sources and the weight of "A:B:w", w from 0 (all A) to 1 (all B).

    File names may hold colons: of the ways to part A and B, that of which both files exist.

    Raises:
        ValueError: not of that form, no such files, or a weight outside 0 to 1.
    """
    form = "A:B:w, two videos or pictures and a weight, such as sad.mp4:happy.mp4:0.3"
    names, weight = parse_blend(text, form, colons=True)
    pairs = [(Path(first), Path(second)) for first, second in names]
    found = [pair for pair in pairs if pair[0].is_file() and pair[1].is_file()]
    if not found:
        raise ValueError(f"{text!r}: {' and '.join(map(str, pairs[0]))} are not both files")
    if len(found) > 1:
        raise ValueError(f"{text!r} can be parted in several ways; give one file another name")
    return found[0], weight


def _kept(frames: Iterable[Image], write: Write) -> Iterator[Image]:
    for frame in frames:
        write(frame)
        yield frame


def _chunks(frames: Iterable[Image]) -> Iterator[list[Image]]:
    rest = iter(frames)
    while chunk := list(itertools.islice(rest, CHUNK)):
        yield chunk
