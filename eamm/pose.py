"""Head poses in EAMM's convention: [yaw, pitch, roll, scale, tx, ty] a frame.

What the release's numbers are (3DDFA_V2's camera matrix, EAMM release):
    yaw     degrees, asin(R31): above 0 the nose points to the image left, the viewer's left
    pitch   degrees, atan2(R32, R33): above 0 the face looks down
    roll    degrees, atan2(R21, R11): above 0 the head leans anticlockwise, for the viewer
    scale   units per micrometre of the Basel Face Model, 4.3e-4 to 5e-4
    tx, ty  where the face model's origin, inside the head, lies, in units: ty counts upwards
with R = Rz(roll) Ry(-yaw) Rx(pitch) in axes x right, y up, z towards the viewer, and 120 units the
side of a square around the face that a detector finds anew in each frame. A seventh number, tz, is
constant and dropped.

Exact here: angles, their order and signs, given the project's rotation (x right, y down, z away);
the crop's own turn and scale, so that size and turn of the source do not matter; the directions of
tx and ty. Measured against the release's files in its own pictures (portraits 7, 60 and mona, whose
yaws are -1, -5 and 20, and its LRW clip), under three learned face models: yaw differs by at most
2.6 degrees, roll by 1.7.

Measured against others' truth, ten faces of AFLW2000-3D with yaws of -36 to 46 and pitches of -31
to 36 degrees: mean and largest error of yaw 3.3 and 8 degrees with the truth's own 68 points, under
the model that the demo learns and under ICT-FaceKit alike; with MediaPipe's points 3.4 and 8 under
the learned model, 5.2 and 13 under ICT, which then turns too little beyond 30 degrees. Pitch, less
its constant, has a standard deviation of 3.6 degrees. So yaws of two face models can differ by a
third at 45 degrees: use one model for a corpus and the poses that drive it.

Conventions, which shift a number by a constant:
    front   which pose is 0 degrees depends on the face model. There, pitch differs by -3.7 to 4.3
            degrees under learned models, by 5.4 to 6.8 under ICT-FaceKit; on AFLW2000-3D, whose
            zero is the Basel model's, by 8 under the demo's and 2.5 under ICT.
    origin  3DDFA's detector and the Basel model are not at hand: side of the square, place of the
            origin in it and depth in the head (below) are fitted to the release's samples. tx
            differs by at most 3 units, ty by 6 (of 120), scale by 15 per cent; the release's own
            square is found in each frame, and as unsteady as that.
    crop    angles are of the head in the clip's crop, the networks' input. The release's crops
            differ by a few degrees: it aligns jaw and brows as well
            (affekt/media/faces/crop.py).
    square  `clip`, the default and ours, keeps the square where the clip's crop has the face of the
            first frame: tx, ty and scale then measure how the head moves, as keypoints do.
            `face` lets it follow the head as the release does, where tx and ty follow from yaw and
            pitch alone: nearer to what released weights were trained on where a head moves far.
            Networks need poses of the kind they were trained on; the release's are the latter.
"""

import typing as tp
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.corpus import Clip
from affekt.media.face3d.fit import fit_clip
from affekt.media.face3d.model import FaceModel
from affekt.media.faces import geometry
from affekt.media.faces.crop import EAMM_SIZE, EAMM_TEMPLATE, Crop
from affekt.media.faces.one_euro import one_euro
from affekt.media.video.result import ping_pong
from affekt.runtime.files import load_npy

Square = tp.Literal["clip", "face"]

WIDTH = 6  # numbers a frame: yaw, pitch, roll, scale, tx, ty
WITH_DEPTH = 7  # the release's files hold tz as well
SCALE = 3  # column
MOST_SCALE = 0.01  # of a release pose; 20 times the largest found. A log scale is far above

UNITS = 120  # of the square's side: 3DDFA_V2's input
SQUARE_SIDE = 224.0  # pixels of the 256 px crop: gives the release's scales, see EYES
EYES = 89_200.0  # micrometres between the outer eye corners, the face model's unit (ICT's mean)
FACE_UNIT = 77.0  # pixels of the 256 px crop between them, of a face that lies on the template
ORIGIN = (60.9, 69.0)  # tx, ty of a frontal face on the template: the release's at angles of 0
DEPTH = 0.65  # the release's origin behind ours, face model units: how tx grows with yaw

WANTED = (
    f"wanted a .npy file of (N, {WIDTH}) or (N, {WITH_DEPTH}) numbers, N >= 1: yaw, pitch, roll in "
    "degrees, scale, tx, ty and perhaps tz"
)
NPY = b"\x93NUMPY"  # the first bytes of numpy.save's files
SMOOTHING = {"mincutoff": 0.004, "beta": 0.7, "freq": 100.0}  # EAMM release, demo


def to_release(pose: Array, crop: Crop, square: Square = "clip") -> Array:
    """Return poses in the release's convention, (T, 6) float32.

    Args:
        pose: (T, 6) of affekt.media.face3d.fit: rotation vector (radians), log scale, tx, ty,
            source pixels.
        crop: of the clip, of profile `eamm`; another one shifts tx, ty and scale.
        square: what tx, ty and scale refer to; see above.

    Raises:
        ValueError: another shape, NaN or infinity.
    """
    pose = np.asarray(pose, float)
    if pose.ndim != 2 or pose.shape[1] != WIDTH or not np.isfinite(pose).all():
        raise ValueError(f"poses have shape {pose.shape}, wanted finite (T, {WIDTH})")
    # Rotation as seen in the crop
    rotation = geometry.rotation_matrix(pose[:, :3])
    rotation[:, :2] = crop.matrix[:, :2] / crop.scale @ rotation[:, :2]
    # Scale and translation in the crop, or of a face that fills it
    if square == "clip":
        larger = EAMM_SIZE / crop.size[0]
        scale = np.exp(pose[:, SCALE]) * crop.scale * larger
        moved = larger * (crop.to_stored(pose[:, 4:]) + 0.5) - 0.5 - EAMM_TEMPLATE.mean(axis=0)
    else:
        scale, moved = np.full(len(pose), FACE_UNIT), np.zeros((len(pose), 2))
    moved = moved + DEPTH * scale[:, None] * rotation[:, :2, 2]
    # The release's angles and units
    units = UNITS / SQUARE_SIDE
    columns = [_angles(rotation), units / EYES * scale, units * moved * [1, -1] + ORIGIN]
    return np.column_stack(columns).astype(np.float32)


def release_pose(clip: Clip, square: Square = "clip") -> Array:
    """Return a prepared clip's poses in the release's convention, (T, 6) float32.

    Raises:
        FileNotFoundError: the clip has no pose.npy yet; the message names the command.
    """
    return to_release(clip.pose(), clip.crop(), square)


def fitted_pose(model: FaceModel, landmarks: Array, crop: Crop, square: Square = "clip") -> Array:
    """Return the poses (T, 6) of a face with given landmarks, or of one still portrait.

    Args:
        model: of affekt.media.face3d.model; the corpora that a network learned from were fitted
            with one.
        landmarks: (T, 68, 2), source pixels; T = 1 for a portrait.
        crop: from source to stored pixels, profile `eamm`.
        square: see `to_release`.

    Raises:
        ValueError: as affekt.media.face3d.fit.fit_clip.
    """
    return to_release(fit_clip(model, landmarks).pose, crop, square)


def relative_pose(start: Array, poses: Array) -> Array:
    """Return poses (T, 6) that begin at `start` (6,) and change as `poses` do (EAMM release).

    What two sources of poses differ by as a convention falls away.
    """
    return (start + (poses - poses[0])).astype(np.float32)


def pose_for(length: int, poses: Array, smooth: bool = False) -> Array:
    """Return `length` poses made of those given (N, 6) (EAMM release).

    One pose is held. Fewer than `length` are repeated forwards and backwards (0 1 2 2 1 0 0 1 ...),
    more are cut off.

    Args:
        length: frames of the audio.
        poses: (N, 6), N >= 1.
        smooth: with the release's One-Euro filter, before repeating. In its settings a scale, of
            5e-4, cannot change fast enough to move the cutoff: it all but keeps its first value.

    Raises:
        ValueError: no poses, or no length.
    """
    poses = np.asarray(poses)
    if poses.ndim != 2 or not len(poses) or length < 1:
        raise ValueError(f"poses of shape {poses.shape} cannot fill {length} frames")
    if smooth:
        poses = one_euro(poses, **SMOOTHING)
    return poses[ping_pong(len(poses), length)]


def is_pose_file(path: Path) -> bool:
    """Return whether a file is an array of numpy.save, by its name or its first bytes."""
    if path.suffix == ".npy" or not path.is_file():
        return path.suffix == ".npy"
    with path.open("rb") as file:
        return file.read(len(NPY)) == NPY


def read_pose_file(path: Path) -> Array:
    """Return the poses of a .npy file as the release's, (N, 6) float32; tz, a seventh, is dropped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no .npy of numbers, another shape, no rows, NaN or infinity, or values that no
            pose in this convention has; the message names the file, what was found and wanted.
    """
    poses = load_npy(path, None, WANTED)
    if poses.dtype.kind not in "fiu":
        raise ValueError(f"{path} holds {poses.dtype}, wanted numbers; {WANTED}")
    if poses.ndim != 2 or poses.shape[1] not in (WIDTH, WITH_DEPTH) or not len(poses):
        raise ValueError(f"{path} has shape {poses.shape}; {WANTED}")
    scale = poses[:, SCALE]
    if not ((scale > 0) & (scale < MOST_SCALE)).all():
        raise ValueError(
            f"{path}: column {SCALE}, the scale, is {scale.min():g} to {scale.max():g}, wanted "
            "about 5e-4; a pose.npy of a prepared corpus is of another convention "
            "(eamm.pose.release_pose converts it)"
        )
    return poses[:, :WIDTH].astype(np.float32)


def _angles(rotation: Array) -> Array:
    """Return yaw, pitch, roll (T, 3), degrees, of rotations (T, 3, 3) in the project's axes.

    The release's rotation is F R F with F = diag(1, -1, -1). At a yaw of 90 degrees, which faces in
    a picture do not reach, pitch and roll are one.
    """
    yaw = np.arcsin(np.clip(-rotation[:, 2, 0], -1, 1))
    pitch = np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    roll = np.arctan2(-rotation[:, 1, 0], rotation[:, 0, 0])
    return np.degrees(np.column_stack([yaw, pitch, roll]))
