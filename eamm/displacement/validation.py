"""Keypoint error of the emotion displacement on validation clips, with another person's emotion.

For each emotional clip of the split: audio and pose are its own, the picture is the first frame of
the speaker's first neutral clip, and the emotion source is a clip of the same emotion of
ANOTHER speaker of the split, the next one, saying the same sentence where there is one. The source
is not augmented; its mouth is hidden if it was in training. (The paper makes
its emotion source by driving another identity with the test video through FOMM, supplement B.1,
so that source and truth agree frame by frame; here they agree in the emotion alone.) A source
shorter than the clip begins again, as in the release.

Letters: T frames, K keypoints, M displaced ones, S pixels of a side.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from affekt.arrays import Image
from affekt.media.corpus import Clip, Corpus, by_speaker
from affekt.media.validation import ValConfig, evenly_spread
from affekt.media.video.tensors import to_tensor
from affekt.runtime.config import ConfigError
from eamm.a2fd.data import clip_frames, neutral_clips
from eamm.a2fd.network import A2fd
from eamm.displacement.data import clip_keypoints, emotional_clips
from eamm.displacement.network import (
    CHUNK,
    Displacement,
    DisplacementDescription,
    apply_displacement,
    displacements,
    emotion_source,
    select,
)
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm
from eamm.losses import error_ratios


class Pair(NamedTuple):
    """A clip to be generated, and what from besides its own audio and pose."""

    clip: Clip
    source: Clip  # of the emotion: another speaker's
    picture: Clip  # a neutral one of the clip's speaker, whose first frame is taken


class Prepared(NamedTuple):
    """A pair as the networks see it, before any displacement."""

    pair: Pair
    picture: Tensor  # (1, 3, S, S) in [0, 1]
    neutral: Keypoints  # (T, K), A2FD's
    teacher: Keypoints  # (T, K), the detector's of the true frames
    source: Image  # (T, S, S, 3)


def val_pairs(corpus: Corpus, val: ValConfig) -> list[Pair]:
    """Return the pairs of a split, none for the split "none".

    Raises:
        ConfigError: no emotional clip, a speaker without neutral clip, or an emotion that one
            speaker alone shows.
    """
    if val.split == "none":
        return []
    clips = emotional_clips(corpus, val.split)
    neutral = neutral_clips(corpus.clips(val.split), clips)
    emotions = {clip.emotion for clip in clips}
    alike = {name: by_speaker(c for c in clips if c.emotion == name) for name in emotions}
    return [
        Pair(clip, _other(clip, alike[clip.emotion]), neutral[clip.speaker][0])
        for clip in evenly_spread(clips, val.clips or len(clips))
    ]


def prepare(fomm: Fomm, a2fd: A2fd, pair: Pair) -> Prepared:
    """Run the frozen networks on a pair."""
    S = fomm.config.size
    picture = to_tensor(clip_frames(pair.picture, 0, 1, S))
    found = clip_keypoints(fomm, a2fd, pair.clip, picture, range(pair.clip.frames))
    frames = clip_frames(pair.source, 0, pair.source.frames, S)
    looped = frames[np.arange(pair.clip.frames) % len(frames)]
    return Prepared(
        pair, picture, Keypoints(*(each[0] for each in found.neutral)), found.teacher, looped
    )


@torch.no_grad()
def with_emotion(
    model: Displacement, description: DisplacementDescription, prepared: Prepared
) -> Keypoints:
    """Return the clip's keypoints (T, K), displaced by the emotion source."""
    device = next(model.parameters()).device
    source = emotion_source(prepared.source, description).to(device)
    neutral = Keypoints(*(each.to(device) for each in prepared.neutral))
    was_training = model.training
    model.eval()
    features = torch.cat([model.extractor(frames) for frames in source.split(CHUNK)])
    displacement = displacements(model, features, neutral)
    ids, gains = model.config.keypoint_ids, description.keypoint_gains
    moved = apply_displacement(neutral, displacement, ids, gains)
    model.train(was_training)
    return Keypoints(*(each.cpu() for each in moved))


def displacement_metrics(
    model: Displacement, description: DisplacementDescription, val_set: Sequence[Prepared]
) -> dict[str, float]:
    """Return the error of the displaced keypoints over that of no displacement, over all clips.

    value_ratio and jacobian_ratio (`error_ratios`), and the same over all keypoints' numbers, the
    others included: keypoint_ratio, sum of the two errors over sum of the two without.
    """
    results = [with_emotion(model, description, each) for each in val_set]
    ids = model.config.keypoint_ids
    # The displaced keypoints: predicted, undisplaced, and the teacher's
    groups = results, [each.neutral for each in val_set], [each.teacher for each in val_set]
    ours, still, truth = (joined([select(each, ids) for each in group]) for group in groups)
    ratios = {
        f"{name}_ratio": float(each) for name, each in error_ratios(ours, still, truth).items()
    }
    # The same error over all keypoints
    errors = [
        sum(float((a - b).abs().mean()) for a, b in zip(kp, truth, strict=True))
        for kp in (ours, still)
    ]
    return ratios | {"keypoint_ratio": errors[0] / errors[1]}


def joined(clips: Sequence[Keypoints]) -> Keypoints:
    """Return the keypoints of several clips along one axis of frames."""
    return Keypoints(*(torch.cat(parts) for parts in zip(*clips, strict=True)))


def _other(clip: Clip, people: Mapping[str, Sequence[Clip]]) -> Clip:
    """Return the next speaker's clip of the same emotion, and sentence where there is one.

    `people` has the clips of that emotion by speaker, sorted.
    """
    speakers = list(people)
    if len(speakers) < 2:
        raise ConfigError(
            f"{clip.speaker} alone shows {clip.emotion!r} in split {clip.split!r}: there is no "
            "other identity to take the emotion from; set val.split=none"
        )
    following = (bisect_right(speakers, clip.speaker)) % len(speakers)
    theirs = people[speakers[following]]
    return next((each for each in theirs if each.sentence == clip.sentence), theirs[0])
