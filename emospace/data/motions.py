"""Motions of a clip: head pose and expression of every frame, and how networks normalise them.

A motion is the pose of the fit with the speaker's own identity, as the clip's crop shows it, in
units of the picture (affekt/media/face3d/crop_pose.py), then the expression coefficients, in the
face model's units.

Letters: T frames, E expression modes, M = 6 + E numbers of a motion.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from affekt.arrays import Array
from affekt.media.corpus import POSE_DIM, Clip
from affekt.media.face3d.crop_pose import crop_pose, picture_pose
from affekt.media.faces.crop import Crop
from affekt.runtime.config import ConfigError

EXPRESSION_FLOOR = 0.05  # of the largest deviation of a mode; ours
POSE_FLOOR = 0.01  # radians, log scale and half sides of the picture alike; ours
LIMIT = 10.0  # of a normalised number; networks clamp what lies beyond
MOST_BEYOND = 0.001  # share of frames: more are no outliers of a fit


@dataclass(frozen=True)
class MotionStats:
    """Mean and scale that motions are normalised with, M numbers each."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.scale) or min(self.scale, default=0) <= 0:
            raise ValueError("mean and scale hold as many numbers as each other, scale above 0")

    @property
    def modes(self) -> int:
        """E."""
        return len(self.mean) - POSE_DIM

    def normalised(self, motions: Array) -> Array:
        """Return motions (..., M) less the mean, over the scale."""
        return (motions - np.array(self.mean)) / np.array(self.scale)


def motion_of(pose: Array, expression: Array, crop: Crop) -> Array:
    """Return motions (T, M) float32 of poses (T, 6) in source pixels and expression (T, E)."""
    shown = picture_pose(crop_pose(pose, crop), crop.size[0])
    return np.concatenate([shown, expression], axis=1).astype(np.float32)


def clip_motion(clip: Clip, frames: Sequence[int] | None = None) -> Array:
    """Return the motions (T, M) float32 of a prepared clip, or of some of its frames.

    Raises:
        FileNotFoundError: it has no expression.npy yet; the message names the command.
    """
    chosen = slice(None) if frames is None else list(frames)
    return motion_of(clip.expression_pose()[chosen], clip.expression()[chosen], clip.crop())


def motion_stats(clips: Sequence[Clip]) -> MotionStats:
    """Return the mean and the floored deviation of all frames' motions.

    Raises:
        ConfigError: more than MOST_BEYOND of the frames lie LIMIT deviations away: the clip that
            lies farthest is named.
    """
    motions = [clip_motion(clip).astype(float) for clip in clips]
    every = np.concatenate(motions)
    scale = every.std(axis=0)
    scale[:POSE_DIM] = np.maximum(scale[:POSE_DIM], POSE_FLOOR)
    scale[POSE_DIM:] = floored(scale[POSE_DIM:])
    stats = MotionStats(tuple(every.mean(axis=0).tolist()), tuple(scale.tolist()))
    refuse_outliers(clips, [stats.normalised(each) for each in motions])
    return stats


def floored(std: Array) -> Array:
    """Return deviations, those below EXPRESSION_FLOOR of the largest raised to it; 1 if none moves.

    A face model may have more modes than the data. Without a floor the noise in those is blown up
    to the size of speech: a trial's 20 coefficients of fewer real modes had a deviation of 18,677,
    and nothing was learned.
    """
    largest = std.max(initial=0.0)
    return np.maximum(std, EXPRESSION_FLOOR * largest if largest > 0 else 1.0)


def refuse_outliers(clips: Sequence[Clip], normalised: Sequence[Array]) -> None:
    """Refuse numbers (T, n) of clips, in deviations, that a network could not learn from.

    Raises:
        ConfigError: more than MOST_BEYOND of the frames lie LIMIT deviations away: the clip that
            lies farthest is named.
    """
    largest = [np.abs(each).max(axis=1) for each in normalised]
    beyond = np.mean(np.concatenate(largest) > LIMIT)
    if beyond > MOST_BEYOND:
        farthest = int(np.argmax([each.max() for each in largest]))
        raise ConfigError(
            f"{100 * beyond:.1f} % of the frames have a pose or expression more than {LIMIT:.0f} "
            f"deviations from the mean, clip {clips[farthest].id} above all "
            f"({largest[farthest].max():.0f}); wanted {100 * MOST_BEYOND:.1f} % at most: look at "
            "its fit (data_prep.expression lists residuals), or leave it out"
        )


def turn(clip: Clip) -> float:
    """Return how far the head turns in a clip, degrees: the largest angle from its mean pose."""
    vectors = clip.expression_pose()[:, :3].astype(float)
    return math.degrees(np.linalg.norm(vectors - vectors.mean(axis=0), axis=1).max())
