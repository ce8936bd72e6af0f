"""How emotion features cluster (EAMM supplement B.2: "features of the same type are clustered").

A clip's feature is the mean over some of its frames, mouths hidden. Those of held-out people are
looked at: do they lie together by emotion, as they should, or by person, and are they where the
training people's features of that emotion are? Beside them stand what needs no emotion network:

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
from affekt.metrics.probes import nearest_mean_accuracy, principal_plane, silhouette
from eamm.analysis.networks import TEST, Figures, Studio, spread_frames
from eamm.displacement.data import emotional_clips
from eamm.displacement.network import emotion_source

KINDS = ("feature", "keypoints", "pixels")
THUMBNAIL = 16  # pixels a side
PANELS = {"feature": "emotion features", "keypoints": "keypoints", "pixels": "pixels"}


def clusters(
    studio: Studio, corpus: Corpus, frames: int, each: int, out: Path
) -> dict[str, Figures]:
    """Write clusters.png, the held-out clips of each kind in their principal plane.

    Returns the figures of `cluster_figures` by kind, and the counts of clips.

    Args:
        studio: the trained networks.
        corpus: of which emotional clips count.
        frames: looked at in each clip.
        each: clips of each person and emotion, at most.
        out: where the picture goes.
    """
    train, test = (some_clips(emotional_clips(corpus, split), each) for split in ("train", TEST))
    known = {clip.emotion for clip in train}
    test = [clip for clip in test if clip.emotion in known]
    codes = [_codes(studio, clips, frames) for clips in (train, test)]
    figures = {kind: cluster_figures(codes[0][kind], train, codes[1][kind], test) for kind in KINDS}
    panels = {title: principal_plane(codes[1][kind]) for kind, title in PANELS.items()}
    clouds(out / "clusters.png", panels, [c.emotion for c in test], [c.speaker for c in test])
    counts: Figures = {"train": float(len(train)), "held_out": float(len(test))}
    return figures | {"clips": counts}


def cluster_figures(
    train_ND: Array, train: Sequence[Clip], test_ND: Array, test: Sequence[Clip]
) -> Figures:
    """Return how the codes of held-out clips lie.

    by_emotion    silhouette of the emotions, -1 to 1; None where there is one alone
    by_speaker    silhouette of the people
    nearest_mean  share of the clips nearest to the mean code of their emotion of training people
    """
    emotions, speakers = ([getattr(c, what) for c in test] for what in ("emotion", "speaker"))
    return {
        "by_emotion": silhouette(test_ND, emotions) if len(set(emotions)) > 1 else None,
        "by_speaker": silhouette(test_ND, speakers) if len(set(speakers)) > 1 else None,
        "nearest_mean": nearest_mean_accuracy(
            train_ND, [clip.emotion for clip in train], test_ND, emotions
        ),
    }


def some_clips(clips: Sequence[Clip], each: int) -> list[Clip]:
    """Return the first `each` clips of every person and emotion."""
    taken: dict[tuple[str, str], int] = {}
    chosen = []
    for clip in clips:
        key = (clip.speaker, clip.emotion)
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= each:
            chosen.append(clip)
    return chosen


def _codes(studio: Studio, clips: Sequence[Clip], frames: int) -> dict[str, Array]:
    """Return the codes (N, D) of clips by kind, float64."""
    found = [_clip_codes(studio, clip, frames) for clip in clips]
    return {kind: np.stack([each[kind] for each in found]).astype(float) for kind in KINDS}


@torch.no_grad()
def _clip_codes(studio: Studio, clip: Clip, frames: int) -> dict[str, Array]:
    """Return a clip's mean codes by kind, each (D,)."""
    shown = studio.frames(clip, spread_frames(clip, frames))
    value, jacobian = studio.fomm.detector(to_tensor(shown))
    thumbnails = resized(from_tensor(emotion_source(shown, studio.description)), THUMBNAIL)
    return {
        "feature": studio.features(shown).mean(dim=0).numpy(),
        "keypoints": torch.cat([value, jacobian.flatten(2)], dim=2).mean(dim=0).ravel().numpy(),
        "pixels": thumbnails.mean(axis=0).ravel() / 255,
    }
