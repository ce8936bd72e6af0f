"""Put a generated crop back into the full frame it was cut from.

Ours: neither release contains its paste-back code. Letters: H, W pixels of the full frame; S
pixels a side of the generated picture.
"""

import typing as tp

import cv2
import numpy as np

from affekt.arrays import Array, Image
from affekt.media.faces.crop import Crop
from affekt.media.faces.edges import face_region

MARGIN = 0.12  # face widths around the face that are redrawn too: the chin moves the neck's shade
FEATHER = 0.06  # face widths over which the generated picture fades into the frame


def face_mask(faces: tp.Sequence[Array], size: int) -> Array:
    """Return (S, S) float32 in [0, 1]: 1 on every face given, fading out around them.

    Args:
        faces: landmarks (68, 2) in pixels of the generated picture: the new face and the one it
            replaces, so that nothing of the old one stays visible.
        size: S.
    """
    mask = np.zeros((size, size), np.uint8)
    for landmarks in faces:
        mask |= face_region(landmarks, (size, size))
    width = float(np.ptp(faces[0][:17, 0]))
    reach = max(1, round(MARGIN * width))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    solid = cv2.dilate(mask, kernel).astype(np.float32) / 255
    return _faded(solid, FEATHER * width)


def border_mask(size: int) -> Array:
    """Return (S, S) float32 in [0, 1]: 1 inside, fading out towards the border of the crop."""
    edge = max(1, size // 32)
    solid = np.zeros((size, size), np.float32)
    solid[2 * edge : -2 * edge, 2 * edge : -2 * edge] = 1
    return _faded(solid, edge)


def paste(frame: Image, picture: Image, crop: Crop, mask: Array) -> Image:
    """Return the full frame (H, W, 3) with the generated picture (S, S, 3) blended in.

    Args:
        frame: the source frame that the crop was cut from; it is not changed.
        picture: the generated crop, of any size; it covers what the stored crop covers.
        crop: from source to stored pixels.
        mask: (S, S) in [0, 1], the share of the picture.
    """
    # From generated to source pixels
    side = picture.shape[0]
    ratio = side / crop.size[0]
    matrix = crop.matrix * ratio
    matrix[:, 2] += 0.5 * ratio - 0.5  # a resized picture keeps pixel areas, not pixel centres
    back: Array = cv2.invertAffineTransform(matrix)
    square = np.array([[0, 0], [side, 0], [side, side], [0, side]], float)
    corners = cv2.transform(square[None], back)[0]

    # The part of the frame that it touches
    height, width = frame.shape[:2]
    left, top = np.clip(np.floor(corners.min(0)).astype(int), 0, (width, height))
    right, bottom = np.clip(np.ceil(corners.max(0)).astype(int) + 1, 0, (width, height))
    if right <= left or bottom <= top:
        return frame.copy()

    # Warped there and blended
    back[:, 2] -= np.array([left, top], float)
    box = (int(right - left), int(bottom - top))
    placed = cv2.warpAffine(
        picture, back, box, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    share = cv2.warpAffine(mask.astype(np.float32), back, box, flags=cv2.INTER_LINEAR)[..., None]
    result = frame.copy()
    region = result[top:bottom, left:right]
    region[:] = np.rint(region + share * (placed.astype(np.float32) - region)).astype(np.uint8)
    return result


def _faded(solid: Array, sigma: float) -> Array:
    return cv2.GaussianBlur(solid, (0, 0), max(sigma, 0.5))
