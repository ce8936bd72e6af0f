"""EAMM's trained networks with the pose held still, and landmarks of the frames they render.

Landmarks are aligned on the rigid points per frame (affekt.media.faces.geometry.align_2d): pixels
of the 256 px face. A frame without a face is NaN and counts nowhere but in `coverage`.

Letters: T frames of a clip, N rendered ones, K keypoints, E channels of an emotion feature, S
pixels of a side.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from affekt.arrays import Array, Image
from affekt.media.corpus import Clip, Corpus
from affekt.media.faces.detector import Detector
from affekt.media.faces.geometry import align_2d
from affekt.media.faces.points import BROWS, JAW, mouth_opening
from affekt.media.validation import ValConfig, evenly_spread
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import from_tensor, to_tensor
from affekt.metrics.landmark import axis_projection, correlation, point_distance
from eamm.a2fd.data import clip_frames
from eamm.a2fd.network import A2fd
from eamm.displacement.data import clip_motion
from eamm.displacement.network import Displacement, DisplacementDescription, apply_displacement
from eamm.displacement.validation import Pair, val_pairs
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm
from eamm.inference.emotion import emotion_features
from eamm.inference.keypoints import EammRuns, load_networks
from eamm.pose import release_pose

Figures = dict[str, float | None]  # None: nothing could be measured
People = dict[str, dict[str, Pair]]  # by speaker and emotion

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of blended emotions
TEST: Literal["test_speaker"] = "test_speaker"  # the split that no stage learns from
LIDS = (37, 38, 40, 41, 43, 44, 46, 47)
EXPRESSION = (*BROWS, *LIDS)  # what the emotion source may move: its mouth is hidden
SHAPE = (*JAW, 31, 32, 33, 34, 35)  # jaw and nostrils: the face's own shape
CHUNK = 16  # frames rendered at once
DETECTED = 256  # pixels a side at which faces are looked for in rendered frames


class RenderedFrames(NamedTuple):
    """Some frames of a rendered clip."""

    frames: Image  # (N, S, S, 3)
    faces: Array  # (N, 68, 2), aligned; NaN without a face


class TrainedNetworks(NamedTuple):
    """The trained networks, in evaluation mode, and a landmark detector."""

    fomm: Fomm
    a2fd: A2fd
    displacement: Displacement
    description: DisplacementDescription
    detect: Callable[[Image], Array]  # frames (N, 256, 256, 3) to landmarks (N, 68, 2), NaN

    @property
    def size(self) -> int:
        """Pixels a side of a picture (S)."""
        return self.fomm.config.size

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.fomm.parameters()).device

    def portrait(self, clip: Clip, frame: int = 0) -> Tensor:
        """Return a frame of a clip as a picture to animate, (1, 3, S, S)."""
        return to_tensor(clip_frames(clip, frame, frame + 1, self.size)).to(self.device)

    def frames(self, clip: Clip, chosen: Sequence[int]) -> Image:
        """Return some frames of a clip at the networks' size, (N, S, S, 3)."""
        return resized(clip.store().read(list(chosen)), self.size)

    def audio_keypoints(self, portrait_1CHW: Tensor, sound: Clip, pose: Array) -> Keypoints:
        """Return A2FD's keypoints (T, K) of a clip's sound under one pose (6,), held still."""
        windows, _ = clip_motion(sound)
        still = torch.from_numpy(np.array(pose, np.float32)).expand(len(windows), -1)
        windows_1T, still_1T = (each[None].to(self.device) for each in (windows, still))
        return self.a2fd.of_clip(portrait_1CHW, windows_1T, still_1T)

    def neutral(self, clip: Clip) -> tuple[Tensor, Keypoints]:
        """Return a clip's first frame as a portrait, and A2FD's keypoints of its own sound."""
        portrait = self.portrait(clip)
        return portrait, self.audio_keypoints(portrait, clip, release_pose(clip)[0])

    def features(self, frames: Image) -> Tensor:
        """Return the emotion features of frames (N, H, W, 3), (N, E); mouths are hidden first."""
        return emotion_features(self.displacement, self.description, frames)

    @torch.no_grad()
    def displaced(self, neutral: Keypoints, features_TE: Tensor) -> Keypoints:
        """Return neutral keypoints (T, K) displaced by emotion features (T, E), or by one (E,)."""
        features_TE = features_TE.expand(len(neutral.value), -1)
        displacement = self.displacement.predict(features_TE, neutral)
        ids, gains = self.displacement.config.keypoint_ids, self.description.keypoint_gains
        return apply_displacement(neutral, displacement, ids, gains)

    def render(
        self, portrait_1CHW: Tensor, keypoints: Keypoints, chosen: Sequence[int]
    ) -> RenderedFrames:
        """Render some frames of keypoints (T, K), and detect their faces."""
        few = Keypoints(*(each[list(chosen)] for each in keypoints))
        frames = render_clip(self.fomm, portrait_1CHW, few)
        return RenderedFrames(frames, align_faces(self.detect(resized(frames, DETECTED))))


def open_networks(
    runs: Path, detect: Callable[[Image], Array], device: torch.device | str = "cpu"
) -> TrainedNetworks:
    """Read the runs fomm/, a2fd/ and displacement/ of a folder.

    Raises:
        FileNotFoundError: one of them is missing; the message names its command.
        ConfigError: they were not trained with one another.
    """
    networks = load_networks(EammRuns.in_folder(runs), True, device)
    assert networks.emotion is not None
    return TrainedNetworks(networks.fomm, networks.a2fd, *networks.emotion, detect)


def held_out_people(corpus: Corpus) -> People:
    """Return, by speaker and emotion, the first clip of each with its source and neutral clip.

    The sources of a speaker's emotions are clips of one other speaker, see
    eamm.displacement.validation.
    """
    found: People = {}
    for pair in val_pairs(corpus, ValConfig(TEST)):
        found.setdefault(pair.clip.speaker, {}).setdefault(pair.clip.emotion, pair)
    return found


def spread_frames(clip: Clip, count: int) -> list[int]:
    """Return at most `count` frames of a clip, evenly spread."""
    return evenly_spread(range(clip.frames), count)


def mean_face(faces: Array) -> Array:
    """Return the mean (68, 2) of the faces (N, 68, 2) that were found, NaN if none was."""
    known = faces[~np.isnan(faces).any(axis=(1, 2))]
    return known.mean(axis=0) if len(known) else np.full(faces.shape[1:], np.nan)


def coverage(*clips: Array) -> float:
    """Return in which share of the frames of clips (N, 68, 2) a face was found."""
    return float(np.mean([~np.isnan(face).any() for faces in clips for face in faces]))


def expression_projection(faces: Array, start: Array, end: Array) -> Array:
    """Return the projection of faces (..., 68, 2) on the axis of two expressions, (...)."""
    return axis_projection(faces, start, end, EXPRESSION)


def brow_height(faces: Array) -> Array:
    """Return how high the brows of aligned faces (..., 68, 2) are, (...), pixels, upwards."""
    return -faces[..., list(BROWS), 1].mean(axis=-1)


def summary(rows: Sequence[dict[str, float]]) -> Figures:
    """Return the median over rows of each figure, where it is known, of `coverage` the mean."""
    found: Figures = {}
    for name in rows[0]:
        known = [row[name] for row in rows if np.isfinite(row[name])]
        found[name] = float(np.median(known)) if known else None
    return found | {"coverage": float(np.mean([row["coverage"] for row in rows]))}


def clip_figures(without: Array, emotional: Array, truth: Array, source: Array) -> dict[str, float]:
    """Return what emotion does to the faces of one clip, from landmarks in any pixels.

    without_px           distance of brows and lids from the truth without emotion
    emotion_distance_px  the same with emotion
    emotion_mouth_r      correlation of the mouth's opening with emotion and without
    identity_shift_px    how far emotion moved jaw and nostrils
    identity_pull        share of the way from the speaker's jaw and nostrils to those of the
                         emotion source's speaker that emotion moved them: 0 leaves the identity
                         alone, 1 makes it the other's
    coverage             share of the frames, of both, in which the detector found the face

    Distances are root mean squares of clip means.

    Args:
        without: (T, 68, 2) of the rendered frames without emotion; NaN where there is no face.
        emotional: the same with emotion.
        truth: (T', 68, 2) of the true clip.
        source: (T'', 68, 2) of the emotion source's clip.
    """
    # Aligned faces, and the mean shape of jaw and nostrils of each
    still, moved, true, other = (align_faces(each) for each in (without, emotional, truth, source))
    before, after, goal, theirs = (
        np.nanmean(faces[:, SHAPE], axis=0) for faces in (still, moved, true, other)
    )
    change, way = after - before, theirs - goal
    return {
        "without_px": expression_distance(still, true),
        "emotion_distance_px": expression_distance(moved, true),
        "emotion_mouth_r": correlation(mouth_opening(still), mouth_opening(moved)),
        "identity_shift_px": _rms(change),
        "identity_pull": float((change * way).sum() / max(np.square(way).sum(), 1e-9)),
        "coverage": float(np.mean([~np.isnan(faces).any(axis=(1, 2)) for faces in (still, moved)])),
    }


def expression_distance(faces: Array, truth: Array) -> float:
    """Return how far brows and lids of aligned faces are from the truth, root mean square, px.

    Means over the clips are compared: the emotion is held through a clip, blinks are not shared.
    """
    ours, wanted = (np.nanmean(each[:, EXPRESSION], axis=0) for each in (faces, truth))
    return _rms(ours - wanted)


def emotion_summary(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return medians over clips of `clip_figures`, the mean of `coverage`, and

    emotion_nearer      share of clips whose brows and lids are nearer to the truth with emotion
    identity_pull_size  median size of identity_pull
    """
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    nearer = columns["emotion_distance_px"] < columns["without_px"]
    columns["identity_pull_size"] = np.abs(columns["identity_pull"])
    return {name: float(np.nanmedian(values)) for name, values in columns.items()} | {
        "coverage": float(columns["coverage"].mean()),
        "emotion_nearer": float(nearer.mean()),
    }


def align_faces(landmarks: Array) -> Array:
    """Return landmarks (T, 68, 2) aligned per frame; frames of NaN stay NaN."""
    found = ~np.isnan(landmarks).any(axis=(1, 2))
    aligned = np.full(landmarks.shape, np.nan)
    aligned[found] = align_2d(landmarks[found])
    return aligned


def detect_faces(detector: Detector, frames: Image) -> Array:
    """Return the landmarks (T, 68, 2) of frames (T, S, S, 3); NaN where there is no face."""
    found = [detector.detect(frame) for frame in frames]
    missing = np.full((68, 2), np.nan)
    return np.stack([missing if face is None else face.points for face in found])


@torch.no_grad()
def render_clip(fomm: Fomm, picture: Tensor, keypoints: Keypoints) -> Image:
    """Return the picture (1, 3, S, S) as keypoints (T, K) want it, (T, S, S, 3)."""
    device = next(fomm.parameters()).device
    picture = picture.to(device)
    encoded, still = fomm.generator.encode(picture), fomm.detector(picture)
    shown = []
    for chunk in zip(*(each.to(device).split(CHUNK) for each in keypoints), strict=True):
        motion = fomm.generator.motion(picture, still, Keypoints(*chunk))
        shown.append(from_tensor(fomm.generator.render(encoded, motion)))
    return np.concatenate(shown)


def _rms(points: Array) -> float:
    """Return the root mean square length of vectors (N, 2)."""
    return float(np.sqrt(np.square(points).sum(axis=-1).mean()))


def path_figures(faces_W: Sequence[Array]) -> dict[str, float]:
    """Return how a face changes from one emotion to another.

    faces_W are the aligned faces (N, 68, 2) of the rendered frames at each of WEIGHTS. `r` is the
    correlation of brows and lids, projected on the whole change, with the weight, `mouth_r` that of
    the mouth's opening between the two ends.
    """
    means = np.stack([mean_face(faces) for faces in faces_W])
    return {
        "r": correlation(expression_projection(means, means[0], means[-1]), WEIGHTS),
        "mouth_r": correlation(mouth_opening(faces_W[0]), mouth_opening(faces_W[-1])),
        "coverage": coverage(*faces_W),
    }


def change_figures(
    results: dict[str, Array], neutral: Array, true_emotional: Array, true_neutral: Array
) -> dict[str, dict[str, float]]:
    """Return, for each way of giving A2FD an emotion and for the truth, by aligned faces:

    change_px  mean distance of brows and lids from the neutral result, means over frames
    share      projection on the true change: 1 all of it, 0 none or across
    coverage   share of the frames in which a face was found
    """
    start, true_start, true_end = map(mean_face, (neutral, true_neutral, true_emotional))
    goal: Array = start + true_end - true_start
    found = {
        way: {
            "change_px": point_distance(mean_face(faces), start, EXPRESSION),
            "share": float(expression_projection(mean_face(faces), start, goal)),
            "coverage": coverage(faces),
        }
        for way, faces in results.items()
    }
    truth = {"change_px": point_distance(true_end, true_start, EXPRESSION), "share": 1.0}
    return found | {"truth": truth | {"coverage": coverage(true_emotional)}}


def pooled_share(rows: Sequence[dict[str, float]], weights: Sequence[float]) -> float | None:
    """Return the weighted mean of the shares that are known, None if there is none."""
    shares, weigh = np.array([row["share"] for row in rows]), np.array(weights)
    known = np.isfinite(shares)
    return float(np.average(shares[known], weights=weigh[known])) if known.any() else None


def typical_frame(faces: Array) -> int:
    """Return which of aligned faces (T, 68, 2) is nearest to their mean in brows and lids."""
    away = (faces - mean_face(faces))[:, list(EXPRESSION)]
    return int(np.nanargmin(np.square(away).sum(axis=(1, 2))))


def motion_figures(static: Array, dynamic: Array, source: Array) -> dict[str, float]:
    """Return how brows move under either source, of aligned faces (N, 68, 2).

    The lengths are deviations over time of the brows' height, pixels; `brows_r` is the correlation
    of the dynamic result with the source.
    """
    still, moving, theirs = (brow_height(faces) for faces in (static, dynamic, source))
    return {
        **{
            f"brows_{name}_px": float(np.nanstd(track)) if np.isfinite(track).any() else math.nan
            for name, track in (("static", still), ("dynamic", moving), ("source", theirs))
        },
        "brows_r": correlation(moving, theirs),
        "coverage": coverage(static, dynamic),
    }
