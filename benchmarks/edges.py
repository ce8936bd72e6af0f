"""Guidance maps against the release's way: scikit-image's Canny and curves fitted by scipy.

    python -m benchmarks.edges --json

Wanted: at least 8 times faster, 97 % of the lit pixels within one pixel of the other's, both ways
(`matched`). `max_abs_diff` is the largest distance, in pixels, between the drawn curves; the edges
of two Canny filters differ by whole edges, which `matched` counts.
"""

import argparse
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
from benchmarks.harness import Result, main
from tests.corpora.made_up_faces import made_up_frame

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


REFERENCES: dict[edges.Form, Callable[[Image, Points], Image]] = {
    "plain": reference_map,
    "distance": reference_distances,
}


def measure(_: argparse.Namespace) -> Result:
    """Time both at each size, and compare what they draw."""
    result, shares = Result("edges"), {}
    for size in SIZES:
        frame, landmarks = made_up_frame(size)
        reference = reference_map(frame, landmarks)
        ours = edges.guidance_map(frame, landmarks, "plain")[0]
        shares[str(size)] = min(matched(ours, reference), matched(reference, ours))
        result.differ(curve_difference(landmarks), 0)
        for form, slow in REFERENCES.items():
            candidates = {
                "skimage + curve_fit": partial(slow, frame, landmarks),
                "affekt.media.faces.edges": partial(edges.guidance_map, frame, landmarks, form),
            }
            result.time(str(size) if form == "plain" else f"{size} {form}", candidates)
    result.notes["matched"] = shares
    return result


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


if __name__ == "__main__":
    main(__doc__, measure)
