"""The part of a picture that is stored: which one, and how it is cut out.

A crop is chosen from one frame's landmarks and holds for the whole clip, so that a head's own
motion stays in the pictures. Coordinates as in affekt/media/faces/detector.py: (0, 0) is the centre
of the first pixel, so a picture that shrinks by s maps x to s (x + 0.5) - 0.5.
"""

import math
import typing as tp
from dataclasses import dataclass

import cv2
import numpy as np

from affekt.arrays import Array, Image
from affekt.media.compiled import compiled
from affekt.media.faces.geometry import affine, similarity
from affekt.media.faces.points import RIGID

Profile = tp.Literal["portrait", "eamm"]

# EVP's release (its form of vid2vid's face data set): the square's side in widths of the face, and
# its centre's height in quarters from brows to chin. There the width is that of a 106-point contour
# from ear to ear; iBUG's jaw 0-16 starts at the ears too, and both have brows on top and the chin
# below, so the numbers hold as they are. The square reaches from the hair to below the collar.
PORTRAIT_SIDE = 2.1
PORTRAIT_CENTRE = (3, 1)  # (3 top + 1 bottom) / 4

# Where the rigid points (27-30, 36, 39, 42, 45) of an average frontal face come to lie, pixels of
# 256, when points 0-46 are aligned with EAMM's template face as its release does (measured with
# ICT-FaceKit's mean face, within 3 px of MEAD's and GRID's). Aligning on the rigid points instead
# keeps brows and jaw, whose expression in the first frame would decide the crop of the whole clip,
# out of it. The template's own rigid points will not do: its face is turned, so that every other
# face would be rolled by 4 degrees.
EAMM_SIZE = 256
EAMM_TEMPLATE = np.array(
    [[135, 115], [135, 125], [135, 134], [135, 145], [94, 117], [118, 119], [152, 119], [176, 118]],
    float,
)


@dataclass(frozen=True)
class Crop:
    """The similarity from source pixels to stored pixels, one per clip."""

    matrix: Array  # (2, 3)
    size: tuple[int, int]  # stored width and height, pixels
    source_size: tuple[int, int]  # of the source video, pixels

    def to_stored(self, points: Array) -> Array:
        """Map points (..., 2) from source to stored pixels."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]

    def to_source(self, points: Array) -> Array:
        """Map points (..., 2) from stored to source pixels."""
        return (points - self.matrix[:, 2]) @ np.linalg.inv(self.matrix[:, :2]).T

    @property
    def scale(self) -> float:
        """Stored pixels per source pixel."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))


def choose_crop(profile: Profile, points: Array, source_size: tuple[int, int], size: int) -> Crop:
    """Return the crop of a clip from one frame's landmarks.

    portrait: head and shoulders, upright, for EVP's edge-to-video. It never leaves the frame, as in
        the release: it is moved inside, and is smaller where the frame is (there each side is cut
        off on its own, which squeezes the face; here the square stays square).
    eamm: the face turned and scaled onto EAMM's template, for EAMM and FOMM; black outside.

    Args:
        profile: which of them.
        points: (68, 2), pixels of the source.
        source_size: width and height of the source, pixels.
        size: side of the stored picture, pixels.
    """
    # EAMM: the rigid points on the template
    if profile == "eamm":  # the rigid points on the template
        onto = similarity(points[list(RIGID)], EAMM_TEMPLATE + 0.5)
        matrix = affine(onto) * (size / EAMM_SIZE)
        matrix[:, 2] -= 0.5  # sizes scale about the corner, half a pixel before the first centre
        return Crop(matrix, (size, size), source_size)
    # EVP: a square from the face's bounding box, no larger than the frame
    left, right = points[:, 0].min(), points[:, 0].max()
    top, bottom = points[:, 1].min(), points[:, 1].max()
    side = min(max(2, round(PORTRAIT_SIDE * float(right - left))), *source_size)
    high, low = PORTRAIT_CENTRE
    centre = ((left + right) / 2, (high * top + low * bottom) / (high + low))
    # moved inside the frame
    x, y = (
        min(max(round(float(middle) - side / 2), 0), length - side)
        for middle, length in zip(centre, source_size, strict=True)
    )
    return square_crop(x, y, side, source_size, size)


def square_crop(left: int, top: int, side: int, source_size: tuple[int, int], size: int) -> Crop:
    """Return the crop of a square of whole source pixels, scaled to `size` pixels a side."""
    scale = size / side
    shift = [scale * (0.5 - edge) - 0.5 for edge in (left, top)]
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return Crop(matrix, (size, size), source_size)


def centred_square(width: int, height: int, size: int) -> Crop:
    """Return the crop of a source's largest centred square: of a picture that is cut already."""
    side = min(width, height)
    return square_crop((width - side) // 2, (height - side) // 2, side, (width, height), size)


def cut(picture: Image, crop: Crop) -> Image:
    """Return the stored picture (h, w, 3) of a source picture (H, W, 3); black outside the source.

    Where it shrinks, whole blocks of pixels are averaged first, so that nothing aliases; a block of
    n x n with n a whole number costs a fifth of OpenCV's general area filter.
    """
    width, height = crop.source_size
    if picture.shape[:2] != (height, width):
        found = f"{picture.shape[1]} x {picture.shape[0]}"
        raise ValueError(f"the picture is {found}, its crop is of {width} x {height}")
    # The region to read, averaged over blocks of pixels where it shrinks much
    block = max(1, round(1 / crop.scale))
    corners = _corners(crop)
    left, top, right, bottom = _region(corners, crop.source_size, block)
    inside = picture[top:bottom, left:right]
    if block > 1:
        small = ((right - left) // block, (bottom - top) // block)
        if block == 2:  # which OpenCV does as fast
            trimmed = inside[: small[1] * block, : small[0] * block]
            inside = cv2.resize(trimmed, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
        else:
            inside = block_means(picture, (left, top), small, block)
    matrix = crop.matrix.copy()  # now from pixels of `inside`: x = block (r + 0.5) - 0.5 + left
    offset = np.array([left, top]) + (block - 1) / 2
    matrix[:, 2] += matrix[:, :2] @ offset
    matrix[:, :2] *= block
    # Resample to the stored size
    limits = np.array(crop.source_size) - 0.5
    inside_source = (corners >= -0.5 - 1e-6).all() and (corners <= limits + 1e-6).all()
    border = cv2.BORDER_REPLICATE if inside_source else cv2.BORDER_CONSTANT
    stored = cv2.warpAffine(inside, matrix, crop.size, flags=cv2.INTER_LINEAR, borderMode=border)
    return stored.astype(np.uint8, copy=False)


def block_means(
    picture: Image, corner: tuple[int, int], size: tuple[int, int], block: int
) -> Image:
    """Return the means of blocks of a picture's pixels, equal to those of cv2.INTER_AREA.

    OpenCV takes twice as long, and as long again where a border must be added first.

    Args:
        picture: (H, W, 3).
        corner: left and top of the first block, pixels.
        size: width and height of the result; what lies outside the picture repeats its border.
        block: pixels a side, 3 to 256.
    """
    (left, top), (width, height) = corner, size
    assert 3 <= block <= 256, block
    rows = np.ascontiguousarray(picture).reshape(len(picture), -1)
    return _block_means(rows, left, top, width, height, block)


@compiled
def _add(sums: Array, row: Image, left: int, count: int) -> None:
    """Add `count` pixels of a row, from `left` on, to sums; the row's ends are repeated."""
    before = min(max(0, -left), count)  # pixels before the row's first
    after = max(before, min(count, row.size // 3 - left))  # and those up to its last
    inside, own = row[3 * (left + before) : 3 * (left + after)], sums[3 * before : 3 * after]
    for i in range(own.size):
        own[i] += inside[i]
    for i in range(before):
        for c in range(3):
            sums[3 * i + c] += row[c]
    for i in range(after, count):
        for c in range(3):
            sums[3 * i + c] += row[row.size - 3 + c]


@compiled
def _block_means(rows: Image, left: int, top: int, width: int, height: int, block: int) -> Image:
    means = np.empty((height, 3 * width), np.uint8)
    sums = np.empty(3 * width * block, np.uint16)  # down the columns, in which bytes are adjacent
    totals = np.empty(3 * width, np.int32)
    share, half = np.float32(1 / block**2), np.float32(0.5)
    for y in range(height):
        sums[:] = 0
        for k in range(block):
            _add(sums, rows[min(max(top + y * block + k, 0), len(rows) - 1)], left, width * block)
        for x in range(width):
            red, green, blue = np.int32(0), np.int32(0), np.int32(0)
            for k in range(block):
                first = 3 * (x * block + k)
                red += np.int32(sums[first])
                green += np.int32(sums[first + 1])
                blue += np.int32(sums[first + 2])
            totals[3 * x], totals[3 * x + 1], totals[3 * x + 2] = red, green, blue
        # Rounded to the nearest, of two equally near to the even one
        for i in range(totals.size):
            mean = np.float32(totals[i]) * share
            nearest = np.int32(mean + half)
            if np.float32(nearest) - mean == half:
                nearest -= nearest & 1
            means[y, i] = nearest
    return means.reshape(height, width, 3)


def _corners(crop: Crop) -> Array:
    """Return where the corners of the stored picture lie in the source, (4, 2)."""
    width, height = crop.size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    return crop.to_source(corners - 0.5)


def _region(corners: Array, source_size: tuple[int, int], block: int) -> tuple[int, int, int, int]:
    """Return the part of the source inside a crop's corners: left, top, right, bottom."""
    limits = np.array(source_size)
    low = np.clip(np.floor(corners.min(0)) - 2 * block, 0, limits - block)
    high = np.clip(np.ceil(corners.max(0)) + 2 * block, low + block, limits)
    return int(low[0]), int(low[1]), math.ceil(high[0]), math.ceil(high[1])
