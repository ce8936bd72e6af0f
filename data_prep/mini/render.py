"""Pictures of a head: pose, background, rasteriser.

Pixel coordinates are those of the project's detectors: (0, 0) is the centre of the first pixel.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from affekt.arrays import Array
from affekt.media.faces.geometry import rotation_matrix
from data_prep.mini import raster
from data_prep.mini.head.head import F32, Head
from data_prep.mini.speakers import Speaker

U8 = NDArray[np.uint8]

VIEW_HEIGHT = 31.5  # cm of the scene in the height of a picture
CENTRE = (0.0, 1.7)  # point of the scene in the middle of the picture, cm
PIVOT = np.array([0.0, 8.0, 2.5])  # where the neck turns


def head_pose(turns: Array, shifts: Array, size: int) -> Array:
    """Pose (T, 6) of a head turned about its neck by rotation vectors and shifted in the picture.

    Args:
        turns: (T, 3) radians.
        shifts: (T, 2) cm.
        size: width and height of the picture in pixels.

    Returns:
        rotation vector, log scale, tx, ty with pixels = s R X + t.
    """
    scale = size / VIEW_HEIGHT
    held = PIVOT - np.einsum("tij,j->ti", rotation_matrix(turns), PIVOT)
    offset = (size - 1) / 2 + scale * (held[:, :2] - np.array(CENTRE) + shifts)
    return np.concatenate([turns, np.full((len(turns), 1), np.log(scale)), offset], axis=1)


def body_pose(shifts: Array, size: int) -> Array:
    """Pose (T, 6) of the body, which does not turn and follows the head's shift by a third."""
    return head_pose(np.zeros((len(shifts), 3)), shifts / 3, size)


def posed(points: NDArray[Any], pose: Array) -> Array:
    """s R X + t for points (T, N, 3) and pose (T, 6); the depth is s R X alone."""
    turned = np.einsum("tij,tnj->tni", rotation_matrix(pose[:, :3]), points)
    moved = np.exp(pose[:, 3])[:, None, None] * turned
    moved[..., :2] += pose[:, None, 4:]
    return moved


def _moved(vertices: F32, pose: Array) -> F32:
    """`posed` for one frame in float32, for drawing."""
    turn = np.exp(pose[3]) * rotation_matrix(pose[:3])
    return np.asarray(
        vertices @ turn.T.astype(np.float32) + np.append(pose[4:], 0).astype(np.float32)
    )


def background(speaker: Speaker, size: int) -> U8:
    """The room of a speaker (size, size, 3): a lit wall with a picture frame and a shelf edge."""
    random = np.random.default_rng(speaker.room_seed)
    y, x = np.mgrid[0:size, 0:size].astype(np.float64) / size
    light = 1.05 - 0.30 * np.hypot(x - 0.3, y - 0.2)
    wall = np.array(speaker.room) * light[..., None]
    left = random.random() < 0.5
    cx = 0.13 if left else 0.87
    width, top, height = random.uniform(0.08, 0.11), random.uniform(0.06, 0.14), 0.30
    for grow, colour in ((0.012, (0.30, 0.24, 0.20)), (0.0, random.uniform(0.35, 0.8, 3))):
        box = (np.abs(x - cx) < width + grow) & (np.abs(y - top - height / 2) < height / 2 + grow)
        wall[box] = np.array(colour) * light[box][:, None]
    shelf_x = x > 0.72 if left else x < 0.28
    shelf = random.uniform(0.50, 0.62)
    wall[shelf_x & (np.abs(y - shelf) < 0.012)] = (0.45, 0.34, 0.26)
    for k in range(4):
        at = (0.80 + 0.05 * k) if left else (0.20 - 0.05 * k)
        tall = random.uniform(0.08, 0.13)
        book = (np.abs(x - at) < 0.022) & (y < shelf - 0.012) & (y > shelf - tall)
        wall[book] = random.uniform(0.25, 0.75, 3)
    blurred = cv2.GaussianBlur(np.clip(wall, 0, 1), (0, 0), size / 200)
    return np.asarray(blurred * 255 + 0.5, dtype=np.uint8)


class Renderer:
    """Draws one head; keeps its buffers between frames."""

    def __init__(self, head: Head, room: U8) -> None:
        self.head, self.room = head, room
        samples = len(room) * raster.SAMPLES
        self._depth = np.empty((samples, samples), np.float32)
        self._face = np.empty((samples, samples), np.int32)
        self._weights = np.empty((samples, samples, 2), np.float32)
        self._normals = np.empty_like(head.base)

    def place(self, vertices: F32, pose: Array, body: Array) -> F32:
        """Vertices (V, 3) in pixels: those of the head posed, those of the body held back."""
        follow = self.head.follow[:, None]
        return np.asarray(_moved(vertices, pose) * follow + _moved(vertices, body) * (1 - follow))

    def draw(self, vertices: F32, pose: Array, body: Array) -> U8:
        """The picture (H, W, 3) of one frame's vertices (V, 3)."""
        pixels = self.place(vertices, pose, body)
        triangles = self.head.triangles
        raster.vertex_normals(pixels, triangles, self._normals)
        raster.visible_faces(
            (pixels + np.float32(0.5)) * np.float32(raster.SAMPLES),
            triangles,
            self._depth,
            self._face,
            self._weights,
        )
        image = np.empty_like(self.room)
        raster.shade(
            self._face, self._weights, triangles, self._normals, self.head.surface, self.room, image
        )
        return image
