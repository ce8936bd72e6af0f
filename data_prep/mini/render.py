"""Pictures of a head: pose, background, and a software rasteriser.

The rasteriser is orthographic, z-buffered, shaded per sample, 2 x 2 samples a pixel.
Pixel coordinates are those of the project's detectors: (0, 0) is the centre of the first pixel.
"""

from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from affekt.arrays import Array
from affekt.media.compiled import compiled
from affekt.media.faces.geometry import rotation_matrix
from data_prep.mini.head.head import F32, Head
from data_prep.mini.speakers import Speaker

U8 = NDArray[np.uint8]
SAMPLES = 2  # per pixel and axis

I32 = NDArray[np.int32]

fast = partial(compiled, fastmath=True)

VIEW_HEIGHT = 31.5  # cm of the scene in the height of a picture
CENTRE = (0.0, 1.7)  # point of the scene in the middle of the picture, cm
PIVOT = np.array([0.0, 8.0, 2.5])  # where the neck turns
# Ambient, key, fill and sky light on red, green and blue.
LIGHT = np.array([[0.29, 0.61, 0.12, 0.14], [0.27, 0.60, 0.13, 0.15], [0.27, 0.57, 0.16, 0.17]])


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
        samples = len(room) * SAMPLES
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
        vertex_normals(pixels, triangles, self._normals)
        visible_faces(
            (pixels + np.float32(0.5)) * np.float32(SAMPLES),
            triangles,
            self._depth,
            self._face,
            self._weights,
        )
        image = np.empty_like(self.room)
        shade(
            self._face, self._weights, triangles, self._normals, self.head.surface, self.room, image
        )
        return image


@fast
def vertex_normals(points: F32, triangles: I32, normals: F32) -> None:
    """Fill normals (V, 3) with unit normals, weighted by the area of the faces around."""
    normals[:] = 0
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ux, uy, uz = (points[b, 0] - points[a, 0], points[b, 1] - points[a, 1],
                      points[b, 2] - points[a, 2])  # fmt: skip
        vx, vy, vz = (points[c, 0] - points[a, 0], points[c, 1] - points[a, 1],
                      points[c, 2] - points[a, 2])  # fmt: skip
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(points.shape[0]):
        x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
        scale = 1.0 / np.sqrt(x * x + y * y + z * z + 1e-12)
        normals[v, 0] = x * scale
        normals[v, 1] = y * scale
        normals[v, 2] = z * scale


@fast
def visible_faces(pixels: F32, triangles: I32, depth: F32, face: I32, weights: F32) -> None:
    """Fill, per sample, the nearest front-facing triangle and two barycentric weights.

    pixels (V, 3): position in samples and depth, larger is farther. depth (H, W), face (H, W) with
    -1 for background, weights (H, W, 2).
    """
    height, width = depth.shape
    depth[:] = np.float32(1e9)
    face[:] = -1
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, az = pixels[a, 0], pixels[a, 1], pixels[a, 2]
        bx, by, bz = pixels[b, 0], pixels[b, 1], pixels[b, 2]
        cx, cy, cz = pixels[c, 0], pixels[c, 1], pixels[c, 2]
        # Triangles seen from behind are left out.
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= -1e-6:
            continue
        # The samples of the bounding box, and the barycentric steps between them.
        left = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0)
        right = min(int(np.floor(max(ax, bx, cx) - 0.5)), width - 1)
        top = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0)
        bottom = min(int(np.floor(max(ay, by, cy) - 0.5)), height - 1)
        inverse = np.float32(1.0) / area
        step_b = (cy - ay) * inverse
        step_c = -(by - ay) * inverse
        for row in range(top, bottom + 1):
            y = row + np.float32(0.5)
            x = left + np.float32(0.5)
            wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) * inverse
            wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * inverse
            for column in range(left, right + 1):
                if wb >= 0 and wc >= 0 and wb + wc <= 1:
                    z = az + wb * (bz - az) + wc * (cz - az)
                    if z < depth[row, column]:
                        depth[row, column] = z
                        face[row, column] = f
                        weights[row, column, 0] = wb
                        weights[row, column, 1] = wc
                wb += step_b
                wc += step_c


@fast
def shade(
    face: I32, weights: F32, triangles: I32, normals: F32, surface: F32, background: U8, image: U8
) -> None:
    """Fill image (H, W, 3) with the mean of the shaded samples of each pixel.

    surface (V, 4): red, green, blue in [0, 1] and gloss. Light: warm key from the upper left front,
    cool fill from the right, soft from above; wrapped so that skin stays soft.
    """
    height, width, _ = image.shape
    share = 1.0 / (SAMPLES * SAMPLES)
    total = np.empty(3)
    for row in range(height):
        for column in range(width):
            total[:] = 0.0
            for sub in range(SAMPLES * SAMPLES):
                r, c = row * SAMPLES + sub // SAMPLES, column * SAMPLES + sub % SAMPLES
                f = face[r, c]
                if f < 0:
                    for rgb in range(3):
                        total[rgb] += background[row, column, rgb]
                    continue
                # Unit normal of the sample.
                i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
                wj, wk = weights[r, c, 0], weights[r, c, 1]
                wi = 1.0 - wj - wk
                nx = wi * normals[i, 0] + wj * normals[j, 0] + wk * normals[k, 0]
                ny = wi * normals[i, 1] + wj * normals[j, 1] + wk * normals[k, 1]
                nz = wi * normals[i, 2] + wj * normals[j, 2] + wk * normals[k, 2]
                scale = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
                nx, ny, nz = nx * scale, ny * scale, nz * scale
                # Light by its direction, and the highlight: the half vector to the 32nd power.
                key = max((-0.42 * nx - 0.50 * ny - 0.757 * nz + 0.30) / 1.30, 0.0)
                fill = max(0.80 * nx - 0.05 * ny - 0.598 * nz, 0.0)
                sky = 0.5 - 0.5 * ny
                half = max(-0.224 * nx - 0.267 * ny - 0.937 * nz, 0.0)
                gloss = wi * surface[i, 3] + wj * surface[j, 3] + wk * surface[k, 3]
                shine = gloss * half**32 * 255.0
                # Colour of the surface under this light.
                for rgb in range(3):
                    light = LIGHT[rgb, 0] + LIGHT[rgb, 1] * key
                    light += LIGHT[rgb, 2] * fill + LIGHT[rgb, 3] * sky
                    albedo = wi * surface[i, rgb] + wj * surface[j, rgb] + wk * surface[k, rgb]
                    total[rgb] += min(255.0 * albedo * light + shine, 255.0)
            for rgb in range(3):
                image[row, column, rgb] = np.uint8(total[rgb] * share + 0.5)
