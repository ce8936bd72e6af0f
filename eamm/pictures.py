"""Stored frames as FOMM and EAMM see them: at the networks' size, as tensors, and back.

Letters: T frames, H, W pixels.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Image = NDArray[np.uint8]


def resized(frames: Image, size: int) -> Image:
    """Return frames (T, H, W, 3) as (T, size, size, 3).

    Raises:
        ValueError: the frames are not square.
    """
    T, H, W, _ = frames.shape
    if H != W:
        raise ValueError(f"frames of {W}x{H} pixels are not square; profile eamm stores squares")
    if size == H:
        return frames
    how = cv2.INTER_AREA if size < H else cv2.INTER_CUBIC
    out = np.empty((T, size, size, 3), np.uint8)
    for frame, small in zip(frames, out, strict=True):
        cv2.resize(frame, (size, size), small, interpolation=how)
    return out


def to_tensor(frames: Image) -> Tensor:
    """Return (..., 3, H, W) float32 in [0, 1] of RGB frames (..., H, W, 3) uint8."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(frames, -1, -3))).float() / 255


def from_tensor(frames: Tensor) -> Image:
    """Return RGB frames (..., H, W, 3) uint8 of a tensor (..., 3, H, W) in [0, 1]."""
    levels = frames.detach().clamp(0, 1).mul(255).round().byte().cpu()
    return np.ascontiguousarray(np.moveaxis(levels.numpy(), -3, -1))
