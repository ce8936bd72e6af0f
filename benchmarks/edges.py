"""Guidance maps against the release's way: scikit-image's Canny and curves fitted by scipy.

    OMP_NUM_THREADS=1 python -m benchmarks.edges
    OMP_NUM_THREADS=1 python -m benchmarks.edges --json

Wanted: at least 8 times faster, 97 % of the lit pixels within one pixel of the other's, both ways
(`matched`). `max_abs_diff` is the largest distance, in pixels, between the drawn curves; the edges
of two Canny filters differ by whole edges, which `matched` counts.
"""

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning, curve_fit
from skimage.feature import canny

from affekt.arrays import Image
from affekt.media.faces import edges
from benchmarks.harness import Result, compare, main, table, timing_rows

Points = NDArray[np.float64]

SIZES = (256, 512)  # pixels


def reference_map(frame: Image, landmarks: Points) -> Image:
    """Return the plain guidance map the release's way, (H, W) uint8, of an RGB frame."""
    return _with_edges(frame, landmarks, reference_parts(landmarks))


def reference_distances(frame: Image, landmarks: Points) -> Image:
    """Return the guidance map with distances the release's way, (15, H, W) uint8."""
    parts = reference_parts(landmarks)
    maps = []
    for curves in parts:
        away = 255 - _drawn(curves, (frame.shape[1], frame.shape[0]))
        distance = cv2.distanceTransform(away, cv2.DIST_L1, 3) / edges.DISTANCE_UNIT
        maps.append(np.clip(distance, 0, 255).astype(np.uint8))
    return np.stack([*maps, _with_edges(frame, landmarks, parts)])


def reference_sketch(landmarks: Points, size: tuple[int, int]) -> Image:
    """Return the sketch the release's way, (H, W) uint8, for `size` (width, height)."""
    return _drawn(chain(*reference_parts(landmarks)), size)


def reference_parts(landmarks: Points) -> list[list[Points]]:
    """Return, for each part, points a pixel apart along its curves: a fit for three landmarks."""
    parts = []
    for _, indices in edges.PARTS:
        line = landmarks[list(indices)]
        pieces = [line[start : start + 3] for start in range(0, len(line) - 1, 2)]
        parts.append([curve for piece in pieces for curve in _fitted_curves(piece)])
    return parts


def matched(one: Image, other: Image, pixels: int = 1) -> float:
    """Return the share of `one`'s lit pixels that have a lit pixel of `other` within `pixels`."""
    side = 2 * pixels + 1
    near = cv2.dilate(other, np.ones((side, side), np.uint8))
    return float((near[one > 0] > 0).mean())


def curve_difference(landmarks: Points) -> float:
    """Return the largest distance, in pixels, from our curves to the fitted ones and back."""
    ours = edges.curve_points(landmarks).reshape(-1, 2)
    fitted = np.concatenate(list(chain(*reference_parts(landmarks))))
    apart = np.hypot(*(ours[:, None] - fitted[None]).transpose(2, 0, 1))
    spacing = 0.5  # the fitted samples are a pixel apart
    return float(max(apart.min(axis=1).max() - spacing, 0.0))


def made_up_frame(size: int, seed: int = 0) -> tuple[Image, Points]:
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


def plain_face(size: int) -> Points:
    """Return the landmarks (68, 2) of a plain face that fills the middle of a square frame."""
    turn = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.8 * np.cos(turn), 1.1 * np.sin(turn)], axis=1)
    brow = np.stack([np.linspace(-0.65, -0.12, 5), [-0.28, -0.4, -0.42, -0.4, -0.34]], axis=1)
    nose = [[0.0, y] for y in (-0.1, 0.02, 0.13, 0.25)]
    nose += [[-0.15, 0.36], [-0.08, 0.4], [0.0, 0.42], [0.08, 0.4], [0.15, 0.36]]
    eye = np.stack([[-0.5, -0.42, -0.3, -0.2, -0.3, -0.42], [0, -0.06, -0.06, 0, 0.05, 0.05]], 1)
    mirror = np.array([-1, 1])
    lips = [_ellipse(12, 0.3, 0.12), _ellipse(8, 0.22, 0.05)]
    face = [jaw, brow, brow[::-1] * mirror, np.array(nose), eye]
    face += [eye[[3, 2, 1, 0, 5, 4]] * mirror, *lips]
    return size * (0.5 + 0.28 * np.concatenate(face))


REFERENCES: dict[edges.Form, Callable[[Image, Points], Image]] = {
    "plain": reference_map,
    "distance": reference_distances,
}


def measure() -> tuple[Result, str]:
    """Time both at each size, and compare what they draw."""
    ratio, milliseconds, lines, shares, difference = {}, {}, [], {}, 0.0
    for size in SIZES:
        frame, landmarks = made_up_frame(size)
        reference = reference_map(frame, landmarks)
        ours = edges.guidance_map(frame, landmarks, "plain")[0]
        shares[str(size)] = min(matched(ours, reference), matched(reference, ours))
        difference = max(difference, curve_difference(landmarks))
        for form, slow in REFERENCES.items():
            name = f"affekt.media.faces.edges {form}"
            timing = compare(
                {
                    f"skimage + curve_fit {form}": partial(slow, frame, landmarks),
                    name: partial(edges.guidance_map, frame, landmarks, form),
                }
            )
            key = str(size) if form == "plain" else f"{size} {form}"
            ratio[key] = timing.ratio[name]
            milliseconds[key] = timing.milliseconds
            lines += timing_rows(str(size), timing)
    text = table(["pixels", "candidate", "ms", "ratio"], lines)
    text += "\n" + table(["pixels", "matched"], [[size, share] for size, share in shares.items()])
    return Result("edges", ratio, difference, milliseconds, {"matched": shares}), text


def _with_edges(frame: Image, landmarks: Points, parts: list[list[Points]]) -> Image:
    size = (frame.shape[1], frame.shape[0])
    lines = 255 * canny(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)).astype(np.uint8)
    lines[edges.face_region(landmarks, size) > 0] = 0
    return np.maximum(lines, _drawn(chain(*parts), size))


def _drawn(curves: Iterable[Points], size: tuple[int, int]) -> Image:
    """Draw 2 x 2 pixels a sample."""
    canvas = np.zeros((size[1], size[0]), np.uint8)
    for points in curves:
        x, y = np.rint(points).astype(int).T
        for across in (-1, 0):
            for down in (-1, 0):
                rows, columns = (
                    np.clip(y + down, 0, size[1] - 1),
                    np.clip(x + across, 0, size[0] - 1),
                )
                canvas[rows, columns] = 255
    return canvas


def _fitted_curves(piece: Points) -> list[Points]:
    """Return a parabola through three points, two straight lines where it is too steep."""
    whole = _fitted(piece)
    curves = [whole] if whole is not None else [_fitted(piece[:2]), _fitted(piece[1:])]
    return [curve for curve in curves if curve is not None]


def _fitted(piece: Points) -> Points | None:
    """Return samples of the parabola (or line) through a piece, or None where it is too steep."""
    upright = int(np.ptp(piece[:, 1]) > np.ptp(piece[:, 0]))
    u, v = piece[:, upright], piece[:, 1 - upright]
    degree = len(piece) - 1
    start = u.mean()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # as many points as coefficients
        fit = curve_fit(_polynomial, u - start, v, p0=np.zeros(degree + 1))[0]
    if degree == 2 and abs(fit[2]) > edges.STEEPEST:
        return None
    along = np.linspace(u[0], u[-1], max(2, round(abs(u[-1] - u[0])) + 1))
    samples = [along, _polynomial(along - start, *fit)]
    return np.asarray(np.stack(samples[::-1] if upright else samples, axis=1))


def _polynomial(u: Points, *coefficients: float) -> Points:
    total = np.zeros_like(u)
    for power, coefficient in enumerate(coefficients):
        total = total + coefficient * u**power
    return total


def _ellipse(count: int, half_width: float, half_height: float) -> Points:
    turn = 2 * np.pi * np.arange(count) / count
    outline = np.stack([-half_width * np.cos(turn), 0.65 - half_height * np.sin(turn)], axis=1)
    return np.asarray(outline)


if __name__ == "__main__":
    main(__doc__, measure)
