"""The head pose of a generated video: held, or moved as another head moves. Ours.

The paper generates the expression alone and names no source of the pose. A head that drives is of
another shape, in another picture: the portrait's own pose is kept at the start and changed as the
other changes, its turns as rotations, its shifts in sizes of the head.

Letters: T frames of the sound, N frames of a source.
"""

from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.corpus import POSE_DIM
from affekt.media.face3d.fit import fit_clip
from affekt.media.face3d.model import FaceModel
from affekt.media.faces import geometry
from affekt.media.faces.track import FaceTracker, FramesConfig
from affekt.media.video.result import ping_pong
from affekt.runtime.files import load_npy

TURN, LOG_SCALE, SHIFT = slice(0, 3), 3, slice(4, 6)  # columns of a pose
WANTED = (
    f"wanted a .npy file of (N, {POSE_DIM}) numbers, N >= 1, such as a prepared clip's pose.npy: "
    "rotation vector in radians, log scale, tx, ty"
)


def head_poses(
    own: Array, source: Path | None, frames: int, model: FaceModel, tracker: FaceTracker
) -> Array:
    """Return the pose of each of T frames, (T, 6), source pixels of the portrait.

    Args:
        own: (6,), of the portrait.
        source: a video, or a .npy file of poses; None: the portrait's own is held.
        frames: T. A shorter source runs forwards and backwards.
        model: of faces, which a video's poses are measured with.
        tracker: of faces.

    Raises:
        MediaError: the video cannot be used.
        FileNotFoundError, ValueError: a file of poses that cannot be used.
    """
    if source is None:
        return np.repeat(own[None], frames, axis=0)
    if source.suffix == ".npy":
        driving = _read_poses(source)
    else:
        track = tracker.track(source, FramesConfig("eamm"), frames)
        driving = fit_clip(model, track.landmarks).pose
    return moved_as(own, driving)[ping_pong(len(driving), frames)]


def moved_as(own: Array, driving: Array) -> Array:
    """Return poses (N, 6) that begin at `own` (6,) and change as `driving` (N, 6) does."""
    own, driving = np.asarray(own, float), np.asarray(driving, float)
    rotation = geometry.rotation_matrix(driving[:, TURN])
    turned = rotation @ rotation[0].T @ geometry.rotation_matrix(own[TURN])
    scale = own[LOG_SCALE] + driving[:, LOG_SCALE] - driving[0, LOG_SCALE]
    larger = np.exp(own[LOG_SCALE] - driving[0, LOG_SCALE])
    shift = own[SHIFT] + larger * (driving[:, SHIFT] - driving[0, SHIFT])
    return np.column_stack([geometry.rotation_vector(turned), scale, shift])


def _read_poses(path: Path) -> Array:
    poses = load_npy(path, None, WANTED)
    if poses.dtype.kind not in "fiu" or poses.ndim != 2 or poses.shape[1] != POSE_DIM:
        raise ValueError(f"{path} holds {poses.dtype} of shape {poses.shape}; {WANTED}")
    if not len(poses):
        raise ValueError(f"{path} has no pose; {WANTED}")
    return poses
