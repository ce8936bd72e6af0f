"""Clusters of emotion features (EAMM supplement B.2: "features of the same type are clustered").

A clip's feature is the mean over some of its frames, mouths hidden. Silhouettes of held-out clips
measure whether they gather by emotion, as they should, or by person. Baselines without an emotion
network:

    keypoints  FOMM's keypoints and jacobians of the same frames, mouths not hidden
    pixels     the same frames as the emotion network sees them, at 16 x 16 pixels

Letters: N clips, D channels, S pixels of a side.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from affekt.media.plots import clouds
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import from_tensor, to_tensor
from affekt.metrics.probes import principal_plane, silhouette
from eamm.analysis.networks import TEST, Figures, TrainedNetworks, spread_frames
from eamm.displacement.data import emotional_clips
from eamm.displacement.network import emotion_source

KINDS = {"feature": "emotion features", "keypoints": "keypoints", "pixels": "pixels"}  # panels
THUMBNAIL = 16  # pixels a side


def clusters(
    networks: TrainedNetworks, corpus: Corpus, frames: int, each: int, out: Path
) -> dict[str, Figures]:
    """Write clusters.png, the held-out clips of each kind in their principal plane.

    Returns by kind the silhouettes of the emotions (`by_emotion`) and of the people (`by_speaker`),
    -1 to 1, None where there is one alone.

    Args:
        networks: the trained networks.
        corpus: whose emotional clips count, of the emotions of training.
        frames: of each clip, evenly spread.
        each: clips of each person and emotion, at most.
        out: where the picture goes.
    """
    known = {clip.emotion for clip in emotional_clips(corpus, "train")}
    clips = [clip for clip in emotional_clips(corpus, TEST) if clip.emotion in known]
    clips = first_of_each(clips, each)
    found = [_clip_codes(networks, clip, frames) for clip in clips]
    codes = {kind: np.stack([one[kind] for one in found]).astype(float) for kind in KINDS}
    emotions, speakers = [clip.emotion for clip in clips], [clip.speaker for clip in clips]
    panels = {title: principal_plane(codes[kind]) for kind, title in KINDS.items()}
    clouds(out / "clusters.png", panels, emotions, speakers)
    return {
        kind: {"by_emotion": _silhouette(each, emotions), "by_speaker": _silhouette(each, speakers)}
        for kind, each in codes.items()
    }


def first_of_each(clips: Sequence[Clip], each: int) -> list[Clip]:
    """Return the first `each` clips of every person and emotion."""
    taken: dict[tuple[str, str], int] = {}
    chosen = []
    for clip in clips:
        key = (clip.speaker, clip.emotion)
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= each:
            chosen.append(clip)
    return chosen


def _silhouette(codes_ND: Array, labels: Sequence[str]) -> float | None:
    return silhouette(codes_ND, labels) if len(set(labels)) > 1 else None


@torch.no_grad()
def _clip_codes(networks: TrainedNetworks, clip: Clip, frames: int) -> dict[str, Array]:
    """Return a clip's mean codes by kind, each (D,)."""
    shown = networks.frames(clip, spread_frames(clip, frames))
    value, jacobian = networks.fomm.detector(to_tensor(shown))
    thumbnails = resized(from_tensor(emotion_source(shown, networks.description)), THUMBNAIL)
    return {
        "feature": networks.features(shown).mean(dim=0).numpy(),
        "keypoints": torch.cat([value, jacobian.flatten(2)], dim=2).mean(dim=0).ravel().numpy(),
        "pixels": thumbnails.mean(axis=0).ravel() / 255,
    }
