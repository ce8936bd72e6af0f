"""A made-up face model, head that turns and frame: inputs with a known truth.

The mean is a plain face in iBUG-68 order; identity modes are smooth random warps of it, expression
modes move mouth, jaw, lids or brows and leave the rigid points alone.
"""

import typing as tp

import cv2
import numpy as np

from affekt.arrays import Array, Image
from affekt.media.face3d.model import FaceModel, canonical, project
from affekt.media.faces import points

LIVELY_DEG = (15.0, 25.0, 10.0)  # pitch, yaw, roll: the largest turns of a target video
MOVING = (*range(4, 13), *points.EMOTION, *points.MOUTH)  # where expression modes are centred


class Clip(tp.NamedTuple):
    """A made-up clip and its truth."""

    landmarks: Array  # (T, 68, 2), pixels of a 256 px frame
    pose: Array  # (T, 6)
    identity: Array  # (K,)
    expression: Array  # (T, E)


def head() -> Array:
    """Return a plain face (68, 3): outer eye corners 1 apart, x right, y down, z away."""
    turn = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.8 * np.cos(turn), 1.1 * np.sin(turn), 0.8 - 0.9 * np.sin(turn)], axis=1)
    brow = np.stack([np.linspace(-0.65, -0.12, 5), [-0.28, -0.4, -0.42, -0.4, -0.34]], axis=1)
    bridge = np.stack([np.zeros(4), np.linspace(-0.1, 0.25, 4)], axis=1)
    nostrils = np.stack([np.linspace(-0.15, 0.15, 5), [0.36, 0.4, 0.42, 0.4, 0.36]], axis=1)
    eye = np.stack(
        [[-0.5, -0.42, -0.3, -0.2, -0.3, -0.42], [0, -0.05, -0.05, 0, 0.04, 0.04]], axis=1
    )
    mirror = np.array([-1, 1])
    other_eye = eye[[3, 2, 1, 0, 5, 4]] * mirror
    lips = np.concatenate([_ellipse(12, 0.3, 0.1), _ellipse(8, 0.22, 0.03)])
    lips += np.array([0, 0.65])
    flat = np.concatenate([brow, brow[::-1] * mirror, bridge, nostrils, eye, other_eye, lips])
    depth = 0.9 * np.square(flat[:, 0]) - 0.05
    depth[10:14] = [-0.1, -0.2, -0.3, -0.4]  # the bridge of the nose rises to its tip
    depth[14:19] = -0.25
    return np.concatenate([jaw, np.column_stack([flat, depth])])


def made_up_model(K: int = 8, E: int = 6, seed: int = 0) -> FaceModel:
    """Return a model of K identity and E expression modes, standard deviations 1."""
    rng = np.random.default_rng(seed)
    mean = head()
    squares = np.einsum("ni,nj->nij", mean, mean)
    smooth = np.einsum("kdij,nij->knd", rng.normal(size=(K, 3, 3, 3)), squares)
    strength = 0.06 / np.sqrt(1 + np.arange(K))[:, None, None]
    identity = strength * (smooth + 0.1 * rng.normal(size=(K, 68, 3)))
    near = np.exp(-np.square(mean - mean[rng.choice(MOVING, E)][:, None]).sum(axis=2) / 0.1)
    strength = 0.1 / np.sqrt(1 + np.arange(E) / 4)[:, None, None]
    expression = strength * near[:, :, None] * rng.normal(size=(E, 1, 3))
    expression[:, points.RIGID] = 0
    limits = np.tile([-2.5, 2.5], (E, 1))
    return canonical(
        FaceModel(mean, identity, expression, np.ones(K), np.ones(E), limits, "made up")
    )


def made_up_clip(
    model: FaceModel, T: int, noise: float = 0.0, turn: float = 1.0, seed: int = 1
) -> Clip:
    """Return T frames of a head that turns smoothly, `turn` times as far as LIVELY_DEG.

    `noise` is the standard deviation of each coordinate, in pixels.
    """
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 2 * np.pi, T)[:, None]
    waves = np.sin(time * [2.3, 1.7, 3.1] + rng.uniform(0, 6, 3))
    rotation = turn * np.radians(LIVELY_DEG) * waves
    log_scale = np.log(110) + 0.05 * np.sin(time)
    pose = np.hstack([rotation, log_scale, 128 + 6 * np.sin(time), 110 + 4 * np.cos(3 * time)])
    E = len(model.expression)
    identity = rng.normal(size=len(model.identity)) * model.identity_std
    swing = np.sin(time * rng.uniform(1, 5, E) + rng.uniform(0, 6, E))
    low, high = model.expression_range.T
    expression = np.clip(swing * model.expression_std, low, high)
    clean = project(model.shapes(identity, expression), pose)
    return Clip(clean + rng.normal(size=clean.shape) * noise, pose, identity, expression)


def made_up_frame(size: int, seed: int = 0) -> tuple[Image, Array]:
    """Return a frame full of blurred shapes (size, size, 3) and landmarks of a face in it."""
    rng = np.random.default_rng(seed)
    frame = np.full((size, size, 3), 120, np.uint8)
    for _ in range(60):
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        centre = tuple(int(value) for value in rng.integers(0, size, 2))
        axes = tuple(int(value) for value in rng.integers(size // 40, size // 6, 2))
        cv2.ellipse(frame, centre, axes, int(rng.integers(180)), 0, 360, colour, -1, cv2.LINE_AA)
    noisy = cv2.GaussianBlur(frame, (0, 0), size / 256) + rng.normal(0, 2, frame.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), plain_face(size)


def plain_face(size: int) -> Array:
    """Return the landmarks (68, 2) of a plain face that fills the middle of a square frame."""
    turn = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.8 * np.cos(turn), 1.1 * np.sin(turn)], axis=1)
    brow = np.stack([np.linspace(-0.65, -0.12, 5), [-0.28, -0.4, -0.42, -0.4, -0.34]], axis=1)
    nose = [[0.0, y] for y in (-0.1, 0.02, 0.13, 0.25)]
    nose += [[-0.15, 0.36], [-0.08, 0.4], [0.0, 0.42], [0.08, 0.4], [0.15, 0.36]]
    eye = np.stack([[-0.5, -0.42, -0.3, -0.2, -0.3, -0.42], [0, -0.06, -0.06, 0, 0.05, 0.05]], 1)
    mirror = np.array([-1, 1])
    lips = [_ellipse(12, 0.3, 0.12, 0.65), _ellipse(8, 0.22, 0.05, 0.65)]
    face = [jaw, brow, brow[::-1] * mirror, np.array(nose), eye]
    face += [eye[[3, 2, 1, 0, 5, 4]] * mirror, *lips]
    return size * (0.5 + 0.28 * np.concatenate(face))


def _ellipse(count: int, half_width: float, half_height: float, down: float = 0.0) -> Array:
    turn = 2 * np.pi * np.arange(count) / count
    return np.stack([-half_width * np.cos(turn), down - half_height * np.sin(turn)], axis=1)
