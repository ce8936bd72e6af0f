"""Pictures of a training run: faces beside the truth, windows beside their reconstruction."""

import cv2
import numpy as np
from numpy.typing import NDArray

from affekt.arrays import Array
from affekt.media.faces.geometry import FACE_SIZE
from affekt.media.faces.points import POLYLINES
from evp.networks.encoders import MFCC_RANGE

TRUTH, PREDICTED = (160, 160, 160), (20, 60, 200)  # RGB
ENLARGED = 6  # pixels a number of a window


def faces_picture(truth: Array, predicted: Array) -> NDArray[np.uint8]:
    """Draw aligned faces (N, 68, 2) in a row: the truth in grey, the prediction in blue."""
    tiles = [_face(a, b) for a, b in zip(truth, predicted, strict=True)]
    return np.concatenate(tiles, axis=1)


def windows_picture(windows: Array) -> NDArray[np.uint8]:
    """Draw windows (rows, columns, 28, 12) as a grid of grey pictures, time to the right."""
    grey = np.clip(127.5 + 127.5 * windows / MFCC_RANGE, 0, 255).astype(np.uint8)
    large = grey.swapaxes(2, 3).repeat(ENLARGED, axis=2).repeat(ENLARGED, axis=3)
    framed = np.pad(large, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=255)
    rows, columns, height, width = framed.shape
    sheet = framed.swapaxes(1, 2).reshape(rows * height, columns * width)
    return np.repeat(sheet[:, :, None], 3, axis=2)


def _face(truth: Array, predicted: Array) -> NDArray[np.uint8]:
    canvas = np.full((FACE_SIZE, FACE_SIZE, 3), 255, np.uint8)
    for points, colour in ((truth, TRUTH), (predicted, PREDICTED)):
        for _, indices, closed in POLYLINES:
            line = np.round(points[list(indices)] * 8).astype(np.int32)  # eighths of a pixel
            cv2.polylines(canvas, [line], closed, colour, 1, cv2.LINE_AA, shift=3)
    return canvas
