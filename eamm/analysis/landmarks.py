"""What emotion does to rendered frames, by detected landmarks: expression, mouth, identity.

Landmarks are aligned on the rigid points per frame (affekt.media.faces.geometry.align_2d): pixels
of the 256 px face. A frame without a face is NaN and counts nowhere but in `coverage`.

Letters: T frames, S pixels of a side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from affekt.arrays import Array, Image
from affekt.media.faces.detector import Detector
from affekt.media.faces.geometry import align_2d
from affekt.media.faces.points import BROWS, JAW, mouth_opening
from affekt.media.video.tensors import from_tensor
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm

LIDS = (37, 38, 40, 41, 43, 44, 46, 47)
EXPRESSION = (*BROWS, *LIDS)  # what the emotion source may move: its mouth is hidden
SHAPE = (*JAW, 31, 32, 33, 34, 35)  # jaw and nostrils: the face's own shape
CHUNK = 16  # frames rendered at once


@dataclass(frozen=True)
class EmotionFigures:
    """One clip, made without and with emotion."""

    clip: str
    emotion: str
    without: float  # px: root mean square distance of brows and lids from the truth, clip means
    distance: float  # px: the same with emotion
    mouth_r: float  # correlation of the mouth's opening with emotion and without
    shape_shift: float  # px: how far emotion moved jaw and nostrils, root mean square
    # Share of the way from the speaker's jaw and nostrils to those of the emotion source's speaker
    # that emotion moved them: 0 leaves the identity alone, 1 makes it the other's.
    identity_pull: float
    coverage: float  # share of the frames, of both, in which the detector found the face

    @property
    def nearer(self) -> bool:
        """Whether emotion brought brows and lids nearer to the truth."""
        return self.distance < self.without


def clip_figures(
    name: tuple[str, str], without: Array, emotional: Array, truth: Array, source: Array
) -> EmotionFigures:
    """Return the figures of a clip from landmarks in any pixels.

    Args:
        name: the clip's id and its emotion.
        without: (T, 68, 2) of the rendered frames without emotion; NaN where there is no face.
        emotional: the same with emotion.
        truth: (T', 68, 2) of the true clip.
        source: (T'', 68, 2) of the emotion source's clip.
    """
    still, moved, true, other = (align_faces(each) for each in (without, emotional, truth, source))
    both = ~(np.isnan(still) | np.isnan(moved)).any(axis=(1, 2))
    openings = [mouth_opening(faces[both]) for faces in (still, moved)]
    steady = min((float(np.std(each)) for each in openings), default=0.0) if both.any() else 0.0
    before, after, goal, theirs = (
        np.nanmean(faces[:, SHAPE], axis=0) for faces in (still, moved, true, other)
    )
    change, way = after - before, theirs - goal
    return EmotionFigures(
        *name,
        without=expression_distance(still, true),
        distance=expression_distance(moved, true),
        mouth_r=float(np.corrcoef(openings[0], openings[1])[0, 1]) if steady else float("nan"),
        shape_shift=_rms(change),
        identity_pull=float((change * way).sum() / max(np.square(way).sum(), 1e-9)),
        coverage=float(np.mean([~np.isnan(faces).any(axis=(1, 2)) for faces in (still, moved)])),
    )


def expression_distance(faces: Array, truth: Array) -> float:
    """Return how far brows and lids of aligned faces are from the truth, root mean square, px.

    Means over the clips are compared: the emotion is held through a clip, blinks are not shared.
    """
    ours, wanted = (np.nanmean(each[:, EXPRESSION], axis=0) for each in (faces, truth))
    return _rms(ours - wanted)


def summary(found: Sequence[EmotionFigures]) -> dict[str, float]:
    """Return the figures over clips.

    emotion_nearer       share of clips whose brows and lids are nearer to the truth with emotion
    emotion_distance_px, without_px  medians of the distances
    emotion_mouth_r      median correlation of the mouth's opening with emotion and without
    identity_pull        median: on the whole, towards the source's face or not
    identity_pull_size   median of its size; identity_shift_px: median of shape_shift
    coverage             mean
    """
    medians = {
        "emotion_distance_px": [each.distance for each in found],
        "without_px": [each.without for each in found],
        "emotion_mouth_r": [each.mouth_r for each in found],
        "identity_pull": [each.identity_pull for each in found],
        "identity_pull_size": [abs(each.identity_pull) for each in found],
        "identity_shift_px": [each.shape_shift for each in found],
    }
    return {
        "emotion_nearer": float(np.mean([each.nearer for each in found])),
        "coverage": float(np.mean([each.coverage for each in found])),
    } | {name: float(np.nanmedian(each)) for name, each in medians.items()}


def align_faces(landmarks: Array) -> Array:
    """Return landmarks (T, 68, 2) aligned per frame; frames of NaN stay NaN."""
    found = ~np.isnan(landmarks).any(axis=(1, 2))
    aligned = np.full(landmarks.shape, np.nan)
    aligned[found] = align_2d(landmarks[found])
    return aligned


def detect_faces(detector: Detector, frames: Image) -> Array:
    """Return the landmarks (T, 68, 2) of frames (T, S, S, 3); NaN where there is no face."""
    points = np.full((len(frames), 68, 2), np.nan)
    for number, frame in enumerate(frames):
        found = detector.detect(frame)
        if found is not None:
            points[number] = found.points
    return points


@torch.no_grad()
def render_clip(fomm: Fomm, picture: Tensor, keypoints: Keypoints) -> Image:
    """Return the picture (1, 3, S, S) as keypoints (T, K) want it, (T, S, S, 3)."""
    device = next(fomm.parameters()).device
    picture = picture.to(device)
    encoded, still = fomm.generator.encode(picture), fomm.detector(picture)
    shown = []
    for chunk in zip(*(each.to(device).split(CHUNK) for each in keypoints), strict=True):
        N = len(chunk[0])
        source = encoded._replace(
            frames=_repeated(encoded.frames, N),
            features=tuple(_repeated(each, N) for each in encoded.features),
        )
        from_kp = Keypoints(*(_repeated(each, N) for each in still))
        motion = fomm.generator.motion(source.frames, from_kp, Keypoints(*chunk))
        shown.append(from_tensor(fomm.generator.render(source, motion)))
    return np.concatenate(shown)


def _repeated(one: Tensor, count: int) -> Tensor:
    return one.expand(count, *one.shape[1:])


def _rms(points: Array) -> float:
    """Return the root mean square length of vectors (N, 2)."""
    return float(np.sqrt(np.square(points).sum(axis=-1).mean()))
