"""Similarities, rotations and the aligned views of landmarks.

Letters in comments: T frames, N points, D 2 or 3 coordinates. Image axes: x right, y down and,
where there is depth, z away from the viewer. Everything is batched over leading axes, in float64.
"""

import typing as tp

import numpy as np
from scipy.spatial.transform import Rotation

from affekt.arrays import Array
from affekt.media.faces.schemes import IBUG68, Scheme

View = tp.Literal["2d", "3d"]

FACE_SIZE = 256  # pixels; the side of the frame that aligned landmarks live in
# Where the rigid points lie in an aligned face: 27-30, 36, 39, 42, 45 of iBUG-68, and the same of
# other schemes. Eye span and nose follow the mean faces of EVP's release (256 px crops: outer eye
# corners 124 px apart, nose tip at y 120), so that distances compare with the paper's; depths are
# those of an average adult head at that scale.
RIGID_TEMPLATE = np.array(
    [
        [128.0, 80.0, -30.0],
        [128.0, 94.0, -38.0],
        [128.0, 107.0, -48.0],
        [128.0, 120.0, -60.0],
        [66.0, 80.0, 0.0],
        [104.0, 82.0, -14.0],
        [152.0, 82.0, -14.0],
        [190.0, 80.0, 0.0],
    ]
)


class Similarity(tp.NamedTuple):
    """The map x -> scale * rotation @ x + translation, batched over leading axes."""

    scale: Array  # (...)
    rotation: Array  # (..., D, D), no reflection
    translation: Array  # (..., D)


def similarity(source: Array, target: Array) -> Similarity:
    """Return the least-squares similarity from `source` to `target`, both (..., N, D).

    Umeyama (1991), eqs. 40-43: without reflection, N points of equal weight.
    """
    source, target = np.broadcast_arrays(np.asarray(source, float), np.asarray(target, float))
    source_mean, target_mean = source.mean(-2), target.mean(-2)
    centred = source - source_mean[..., None, :]
    covariance = np.swapaxes(target - target_mean[..., None, :], -1, -2) @ centred
    left, singular, right = np.linalg.svd(covariance)
    signs = np.ones_like(singular)
    signs[..., -1] = np.sign(np.linalg.det(left) * np.linalg.det(right))
    rotation = (left * signs[..., None, :]) @ right
    scale = (singular * signs).sum(-1) / np.square(centred).sum((-1, -2))
    translation = target_mean - scale[..., None] * _times(rotation, source_mean)
    return Similarity(scale, rotation, translation)


def apply(transform: Similarity, points: Array) -> Array:
    """Map points (..., N, D) by a similarity of the same leading axes."""
    turned = points @ np.swapaxes(transform.rotation, -1, -2)
    return transform.scale[..., None, None] * turned + transform.translation[..., None, :]


def invert(transform: Similarity) -> Similarity:
    """Return the similarity that undoes `transform`."""
    scale, rotation = 1 / transform.scale, np.swapaxes(transform.rotation, -1, -2)
    return Similarity(scale, rotation, -scale[..., None] * _times(rotation, transform.translation))


def affine(transform: Similarity) -> Array:
    """Return the similarity as a (..., D, D + 1) matrix, the form OpenCV's warps take."""
    linear = transform.scale[..., None, None] * transform.rotation
    return np.concatenate([linear, transform.translation[..., None]], axis=-1)


def rotation_matrix(vector: Array) -> Array:
    """Return rotations (..., 3, 3) of rotation vectors (..., 3), radians (Rodrigues).

    scipy's takes no leading axes and would change the last bit of every rendered corpus.
    """
    vector = np.asarray(vector, float)
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    K = cross_matrix(vector)
    small = angle < 1e-4
    safe = np.where(small, 1.0, angle)
    sine = np.where(small, 1 - angle**2 / 6, np.sin(safe) / safe)
    cosine = np.where(small, 0.5 - angle**2 / 24, (1 - np.cos(safe)) / safe**2)
    return np.eye(3) + sine * K + cosine * (K @ K)


def rotation_vector(matrix: Array) -> Array:
    """Return the rotation vectors (..., 3), length 0 to pi, of rotations (..., 3, 3)."""
    matrix = np.asarray(matrix, float)
    flat = Rotation.from_matrix(matrix.reshape(-1, 3, 3)).as_rotvec()
    return flat.reshape(matrix.shape[:-1])


def rotation_angle_deg(first: Array, second: Array) -> Array:
    """Return the angle between rotations (..., 3, 3), in degrees."""
    relative = np.swapaxes(first, -1, -2) @ second
    return np.degrees(np.linalg.norm(rotation_vector(relative), axis=-1))


def cross_matrix(vector: Array) -> Array:
    """Return the matrices (..., 3, 3) with cross_matrix(a) @ b = a x b."""
    x, y, z = np.moveaxis(np.asarray(vector, float), -1, 0)
    zero = np.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def align_2d(landmarks: Array, scheme: Scheme = IBUG68) -> Array:
    """Return landmarks (T, N, 2) moved per frame by a 2D similarity on the rigid points.

    The paper's alignment (EVP Sec. 4). What remains holds the head's yaw and pitch. The rigid
    points are the same of every scheme, and so is the aligned face.

    Raises:
        ValueError: landmarks of another scheme.
    """
    return _aligned(landmarks, scheme, RIGID_TEMPLATE[:, :2])


def align_3d(landmarks3d: Array, scheme: Scheme = IBUG68) -> Array:
    """Return (T, N, 2): landmarks (T, N, 3) turned to the front by a 3D similarity per frame.

    Ours: it takes out the head's rotation, which dominates mouth error in the 2D view.

    Raises:
        ValueError: landmarks of another scheme.
    """
    return _aligned(landmarks3d, scheme, RIGID_TEMPLATE)[..., :2]


def _aligned(landmarks: Array, scheme: Scheme, template: Array) -> Array:
    landmarks = np.asarray(landmarks, float)
    scheme.check(landmarks)
    return apply(similarity(landmarks[..., scheme.rigid, :], template), landmarks)


def _times(matrix: Array, vector: Array) -> Array:
    return (matrix @ vector[..., None])[..., 0]
