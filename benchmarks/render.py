"""Frames of the mini corpus per second on one core, against the same renderer in numpy.

    python -m benchmarks.render --json

The reference fills each triangle with numpy and shades all samples at once: the same pictures, as
somebody would write them without compiled code. Wanted: at least 60 frames a second at 256 px.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from benchmarks.harness import Result, main
from data_prep.mini import raster
from data_prep.mini.clip import ClipName, Settings, make_clip, perform
from data_prep.mini.head.head import make_head
from data_prep.mini.render import Renderer, background
from data_prep.mini.speakers import make_speaker

SIZES = (128, 256)
CLIP = ClipName(speaker=0, view="front", emotion="happy", level=3, number=1)
FRAME = 20  # of the clip, the one that is drawn


def numpy_picture(renderer: Renderer, pixels: Array) -> Array:
    """Return the picture (H, W, 3) of placed vertices (V, 3), one triangle after the other."""
    head, size = renderer.head, len(renderer.room)
    samples = (pixels.astype(np.float64) + 0.5) * raster.SAMPLES
    corners = samples[head.triangles]
    depth = np.full((size * raster.SAMPLES,) * 2, np.inf)
    face = np.full(depth.shape, -1)
    weights = np.zeros((*depth.shape, 3))
    for f, (a, b, c) in enumerate(corners):
        _fill(f, (a, b, c), depth, face, weights)
    return _shaded(renderer, pixels, face, weights)


def _fill(
    f: int, triangle: tuple[Array, Array, Array], depth: Array, face: Array, weights: Array
) -> None:
    a, b, c = triangle
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if area >= -1e-6:
        return
    low = np.maximum(np.ceil(np.minimum(np.minimum(a, b), c)[:2] - 0.5), 0).astype(int)
    high = np.floor(np.maximum(np.maximum(a, b), c)[:2] - 0.5).astype(int) + 1
    high = np.minimum(high, depth.shape[0])
    if (low >= high).any():
        return
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    wb = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
    wc = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
    z = a[2] + wb * (b[2] - a[2]) + wc * (c[2] - a[2])
    box = slice(low[1], high[1]), slice(low[0], high[0])
    nearer = (wb >= 0) & (wc >= 0) & (wb + wc <= 1) & (z < depth[box])
    depth[box][nearer] = z[nearer]
    face[box][nearer] = f
    weights[box][nearer] = np.stack([1 - wb - wc, wb, wc], axis=-1)[nearer]


def _shaded(renderer: Renderer, pixels: Array, face: Array, weights: Array) -> Array:
    head, size = renderer.head, len(renderer.room)
    normals = np.zeros(pixels.shape)
    a, b, c = np.moveaxis(pixels.astype(np.float64)[head.triangles], 1, 0)
    for corner in range(3):
        np.add.at(normals, head.triangles[:, corner], np.cross(b - a, c - a))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    hit = face >= 0
    vertices = head.triangles[face[hit]]
    normal = np.einsum("sc,scd->sd", weights[hit], normals[vertices])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    surface = np.einsum("sc,scd->sd", weights[hit], head.surface[vertices].astype(np.float64))
    key = np.maximum((normal @ (-0.42, -0.50, -0.757) + 0.30) / 1.30, 0)[:, None]
    fill = np.maximum(normal @ (0.80, -0.05, -0.598), 0)[:, None]
    sky = (0.5 - 0.5 * normal[:, 1])[:, None]
    shine = surface[:, 3:] * np.maximum(normal @ (-0.224, -0.267, -0.937), 0)[:, None] ** 32
    light = (
        np.array((0.29, 0.27, 0.27))
        + key * (0.61, 0.60, 0.57)
        + fill * (0.12, 0.13, 0.16)
        + sky * (0.14, 0.15, 0.17)
    )
    picture = renderer.room.repeat(raster.SAMPLES, 0).repeat(raster.SAMPLES, 1).astype(np.float64)
    picture[hit] = np.minimum(255 * (surface[:, :3] * light + shine), 255)
    blocks = picture.reshape(size, raster.SAMPLES, size, raster.SAMPLES, 3)
    return np.asarray(blocks.mean(axis=(1, 3)) + 0.5, dtype=np.uint8)


def measure(_: argparse.Namespace) -> Result:
    """Time both at each size, and a whole clip with sound, encoding and truth."""
    result = Result("render")
    for size in SIZES:
        settings = Settings(size=size)
        speaker = make_speaker(settings.seed, CLIP.speaker)
        head = make_head(speaker)
        renderer = Renderer(head, background(speaker, size))
        played = perform(CLIP, settings)
        vertices = head.vertices(played.strengths)[FRAME]
        pose, body = played.pose[FRAME], played.body[FRAME]
        pixels = renderer.place(vertices, pose, body)
        slow = partial(numpy_picture, renderer, pixels)
        fast = partial(renderer.draw, vertices, pose, body)
        result.differ(fast(), slow())
        result.time(str(size), {"numpy": slow, "mini.render": fast}, seconds=5.0)
    result.notes["frames_per_second"] = 1e3 / result.milliseconds["256"]["mini.render"]
    result.notes["frames_per_second_written"] = clip_rate(Settings())
    return result


def clip_rate(settings: Settings) -> float:
    """Return frames per second of whole clips: speech, pictures, encoding, truth."""
    with tempfile.TemporaryDirectory() as folder:
        make_clip(Path(folder), CLIP, settings)  # compiles, builds the head
        start, frames = time.perf_counter(), 0
        for number in (1, 2, 3):
            name = ClipName(0, "front", "sad", 3, number)
            frames += make_clip(Path(folder), name, settings)
        return frames / (time.perf_counter() - start)


if __name__ == "__main__":
    main(__doc__, measure)
