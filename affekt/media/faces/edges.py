"""Guidance maps of the edge-to-video network: the frame's edges outside the face and the sketch of
its landmarks (EVP Sec. 3.3; the release's recipe: vid2vid's edge-to-face data).

A map has one of two forms, uint8, channels first:

    plain      1 channel: edges and sketch in one picture, 255 on a line
    distance  15 channels: 14 distance maps, one a part of the sketch, then the plain picture

Landmarks are those of a scheme, iBUG-68 unless another is named, in pixels of the frame. Inference
clears the face region of the target's own landmarks too (`also_cleared`), or the outline of the
replaced face would stay next to the new one.

Dimension letters: H, W pixels; P pieces of curve; S samples of a piece; N landmarks (68 or 106).
"""

from functools import cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from affekt.arrays import Image
from affekt.media.compiled import compiled
from affekt.media.faces.schemes import IBUG68, SCHEMES, Scheme, SchemeName

Points = NDArray[np.floating[Any]]

Form = Literal["plain", "distance"]

# The release draws 14 lines through 106 points: contour, two brows, three of the nose, two arcs an
# eye, two arcs an outer and inner lip; every scheme has them (see affekt/media/faces/schemes.py).
PARTS = IBUG68.curves
CHANNELS: dict[Form, int] = {"plain": 1, "distance": len(PARTS) + 1}

SIGMA = 1.0  # pixels, the blur of skimage.feature.canny's defaults
LOW, HIGH = 25.5, 51.0  # its thresholds: 0.1 and 0.2 of the range of uint8
FIXED_POINT = 8  # the blurred picture keeps 1/8 grey levels: closer to skimage's floats
BRUSH_AT = 256  # pixels a side for a line of one pixel: the release's 2 at 512
FOREHEAD = 2 / 3  # height of the mirrored contour over that of the jaw (the release's)
# Ours: the face region is wider than the contour by this share of the width between the ears. The
# edge of the true chin lies a pixel or two outside the detected contour; left in the map, it would
# train the generator on an edge that inference, with a chin that moved, cannot give.
MARGIN = 0.03
DISTANCE_UNIT = np.uint16(3)  # pixels of L1 distance a grey level (the release's)
STEEPEST = 1.0  # 1/pixel: a larger quadratic coefficient is drawn as two straight lines (release)
SAMPLES = 9  # points a quadratic piece is drawn through; odd, so that its middle is one of them
WHITE = (255,)
BRIGHTEST = np.uint16(255)
# Distances in pixels; the largest picture is less than 30,000 wide and high together.
ON_LINE, ONE_PIXEL, FAR = np.uint16(0), np.uint16(1), np.uint16(30_000)
SHIFT = 4  # binary digits of sub-pixel accuracy of the drawn points

_CLOCK = np.linspace(0, 1, SAMPLES)


def _pieces(indices: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Cut a line into pieces of three points, each beginning where the last ended.

    A last piece of two points repeats its end, which makes it straight.
    """
    last = len(indices) - 1
    return [(indices[i], indices[i + 1], indices[min(i + 2, last)]) for i in range(0, last, 2)]


@cache
def _cut(name: SchemeName) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pieces of all lines of a scheme, (P, 3) landmarks, and the part of each, (P,)."""
    curves = SCHEMES[name].curves
    pieces = np.array([piece for _, indices in curves for piece in _pieces(indices)])
    return pieces, np.array([part for part, (_, line) in enumerate(curves) for _ in _pieces(line)])


def guidance_map(
    frame: Image,
    landmarks: Points,
    form: Form,
    also_cleared: Points | None = None,
    scheme: Scheme = IBUG68,
) -> Image:
    """Return the guidance map of a frame, (C, H, W) uint8 with C = CHANNELS[form].

    Args:
        frame: (H, W, 3) RGB; only its edges outside the face regions are used.
        landmarks: (N, 2) pixels of the frame, the face to draw.
        also_cleared: (N, 2) landmarks of another face whose region loses its edges, as the one
            that is being replaced.
        scheme: of the landmarks; the map has the same channels in every one.

    Raises:
        ValueError: landmarks of another scheme.
    """
    size = (frame.shape[1], frame.shape[0])
    # Edges of the frame outside the face regions
    lines = background_edges(frame)
    for face in (landmarks, also_cleared):
        if face is not None:
            lines[face_region(face, size, scheme) > 0] = 0
    # The face's landmarks as curves
    curves = curve_points(landmarks, scheme)
    _draw(lines, curves)
    if form == "plain":
        return lines[None]
    return np.concatenate([part_distances(curves, size, scheme), lines[None]])


def background_edges(frame: Image) -> Image:
    """Return Canny's edges of an RGB frame, (H, W) uint8, 255 on an edge.

    The thresholds and the blur are skimage.feature.canny's defaults on a uint8 picture, which the
    release uses, in OpenCV's integers. 98 % of its edge pixels lie within one pixel of ours.
    """
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.int16)
    grey *= FIXED_POINT
    blurred = cv2.GaussianBlur(grey, (9, 9), SIGMA)
    dx = cv2.Sobel(blurred, cv2.CV_16S, 1, 0)
    dy = cv2.Sobel(blurred, cv2.CV_16S, 0, 1)
    edges = cv2.Canny(dx, dy, LOW * FIXED_POINT, HIGH * FIXED_POINT, L2gradient=True)
    return np.asarray(edges, np.uint8)


def face_region(landmarks: Points, size: tuple[int, int], scheme: Scheme = IBUG68) -> Image:
    """Return the face region, (H, W) uint8, 255 inside, of a frame of `size` (width, height).

    The region is the polygon of the contour and of its mirror image above the line between the
    ears, at two thirds of the height. The release mirrors about a level line; mirroring about the
    ear line itself is the same for a level head and right for a tilted one. MARGIN is added.
    """
    scheme.check(landmarks)
    contour = np.asarray(landmarks, np.float64)[list(scheme.jaw)]
    ear_line = contour[-1] - contour[0]
    length = float(np.hypot(*ear_line)) or 1.0
    normal = np.array([-ear_line[1], ear_line[0]]) / length
    height = (contour[-2:0:-1] - contour[0]) @ normal
    forehead = contour[-2:0:-1] - (1 + FOREHEAD) * height[:, None] * normal
    outline = _fixed(np.concatenate([contour, forehead]))
    region = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillPoly(region, [outline], WHITE, shift=SHIFT)
    cv2.polylines(region, [outline], True, WHITE, 1 + round(2 * MARGIN * length), shift=SHIFT)
    return region


def sketch(landmarks: Points, size: tuple[int, int], scheme: Scheme = IBUG68) -> Image:
    """Return the connected landmarks, (H, W) uint8, 255 on a line, for `size` (width, height).

    Each line is a chain of quadratics through three neighbouring points, with x as a function of y
    or the reverse, whichever spans more.
    """
    canvas = np.zeros((size[1], size[0]), np.uint8)
    _draw(canvas, curve_points(landmarks, scheme))
    return canvas


def part_distances(curves_PS2: Points, size: tuple[int, int], scheme: Scheme = IBUG68) -> Image:
    """Return the L1 distance to every part of the sketch, (14, H, W) uint8, in units of 3 pixels.

    255 means 765 pixels and more, as in the release. The curves are those of `curve_points`.
    """
    _, owner = _cut(scheme.name)
    parts = np.zeros((len(PARTS), size[1], size[0]), np.uint8)
    for part, canvas in enumerate(parts):
        _draw(canvas, curves_PS2[part == owner])
        across_WH = _distance_down(cv2.transpose(canvas))
        _quantise(_sweep(cv2.transpose(across_WH)), canvas)
    return parts


@compiled
def _distance_down(lit: Image) -> NDArray[np.uint16]:
    """Return the distance of every pixel to the next lit one in its column, pixels or FAR."""
    away = np.empty(lit.shape, np.uint16)
    for y in range(lit.shape[0]):
        for x in range(lit.shape[1]):
            away[y, x] = ON_LINE if lit[y, x] else FAR
    return _sweep(away)


@compiled
def _sweep(away: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Let each pixel be at most one further than its neighbours above and below, in place.

    An L1 distance separates: this on the columns, and then on the rows, gives it exactly. A row at
    a time in 16 bits: five to seven times as fast as OpenCV's distance transform.
    """
    for y in range(1, len(away)):
        _relax(away[y], away[y - 1])
    for y in range(len(away) - 2, -1, -1):
        _relax(away[y], away[y + 1])
    return away


@compiled
def _relax(row: NDArray[np.uint16], before: NDArray[np.uint16]) -> None:
    for x in range(len(row)):
        further = np.uint16(before[x] + ONE_PIXEL)
        row[x] = further if further < row[x] else row[x]


@compiled
def _quantise(away: NDArray[np.uint16], out: Image) -> None:
    for y in range(away.shape[0]):
        for x in range(away.shape[1]):
            level = away[y, x] // DISTANCE_UNIT
            out[y, x] = level if level < BRIGHTEST else BRIGHTEST


def _draw(canvas: Image, curves_PS2: Points) -> None:
    brush = max(1, round(canvas.shape[1] / BRUSH_AT))
    cv2.polylines(canvas, list(_fixed(curves_PS2)), False, WHITE, brush, shift=SHIFT)


def _fixed(points: Points) -> NDArray[np.int32]:
    """Return pixel positions as OpenCV's fixed-point integers."""
    return np.asarray(np.rint(points * (1 << SHIFT)), np.int32)


def curve_points(landmarks: Points, scheme: Scheme = IBUG68) -> NDArray[np.float64]:
    """Return points along every piece of the sketch, (P, S, 2), in pixels.

    A piece is the parabola v = v0 + c1 (u - u0) + c2 (u - u0)(u - u1) in Newton's divided
    differences c1, c2, where u is the axis along which its points span more.

    Raises:
        ValueError: landmarks of another scheme.
    """
    # Three points a piece, over the axis along which they span more
    scheme.check(landmarks)
    triples = np.asarray(landmarks, np.float64)[_cut(scheme.name)[0]]
    span = np.ptp(triples, axis=1)
    upright = (span[:, 1] > span[:, 0])[:, None, None]
    u, v = np.moveaxis(np.where(upright, triples[..., ::-1], triples), 2, 0)
    # Newton's divided differences
    u0, u1, u2 = u.T[..., None]
    v0, v1, v2 = v.T[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):  # equal u: drawn straight, below
        c1 = (v1 - v0) / (u1 - u0)
        c2 = ((v2 - v1) / (u2 - u1) - c1) / (u2 - u0)
        along = u0 + _CLOCK * (u2 - u0)
        curve = np.stack([along, v0 + (along - u0) * (c1 + c2 * (along - u1))], axis=2)
    # Back to (x, y); pieces that are too steep become straight
    curve = np.where(upright, curve[..., ::-1], curve)
    bent = np.abs(c2) <= STEEPEST  # false for NaN
    return np.where(bent[..., None], curve, _straight(triples))


def _straight(triples_P32: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points along the two straight lines through each three points, (P, S, 2)."""
    first, middle, last = np.moveaxis(triples_P32[:, :, None], 1, 0)
    clock = _CLOCK[:, None]
    before = first + np.minimum(2 * clock, 1) * (middle - first)
    after = np.maximum(2 * clock - 1, 0) * (last - middle)
    return np.asarray(before + after)
