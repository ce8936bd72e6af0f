"""EAMM's trained networks with the pose held still, and measures of the faces they render.

With the pose still, only speech and emotion move. Landmarks are aligned on the rigid points per
frame (affekt.media.faces.geometry.align_2d): pixels of the 256 px face. A frame without a face is
NaN and is left out of every measure but `coverage`.

Letters: T frames of a clip, N rendered ones, K keypoints, E channels of an emotion feature, S
pixels of a side.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from affekt.arrays import Array, Image
from affekt.media.corpus import Clip, Corpus
from affekt.media.faces.points import BROWS
from affekt.media.validation import ValConfig, evenly_spread
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import to_tensor
from affekt.metrics.landmark import axis_projection
from eamm.a2fd.data import clip_frames
from eamm.a2fd.network import A2fd
from eamm.analysis.landmarks import EXPRESSION, align_faces, render_clip
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

TEST: Literal["test_speaker"] = "test_speaker"  # the split that no stage learns from
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

    def portrait(self, clip: Clip, frame: int = 0) -> Tensor:
        """Return a frame of a clip as a picture to animate, (1, 3, S, S)."""
        return to_tensor(clip_frames(clip, frame, frame + 1, self.size))

    def frames(self, clip: Clip, chosen: Sequence[int]) -> Image:
        """Return some frames of a clip at the networks' size, (N, S, S, 3)."""
        return resized(clip.store().read(list(chosen)), self.size)

    def audio_keypoints(self, portrait_1CHW: Tensor, sound: Clip, pose: Array) -> Keypoints:
        """Return A2FD's keypoints (T, K) of a clip's sound under one pose (6,), held still."""
        windows, _ = clip_motion(sound)
        still = torch.from_numpy(np.array(pose, np.float32)).expand(len(windows), -1)
        return self.a2fd.of_clip(portrait_1CHW, windows[None], still[None])

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


def open_networks(runs: Path, detect: Callable[[Image], Array]) -> TrainedNetworks:
    """Read the runs fomm/, a2fd/ and displacement/ of a folder.

    Raises:
        FileNotFoundError: one of them is missing; the message names its command.
        ConfigError: they were not trained with one another.
    """
    networks = load_networks(EammRuns.in_folder(runs), True, "cpu")
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
