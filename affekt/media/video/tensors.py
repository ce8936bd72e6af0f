"""Frames (uint8) to tensors in FOMM's and EAMM's range, and back.

Letters: T frames, H, W pixels.
"""

import numpy as np
import torch
from torch import Tensor

from affekt.arrays import Image


def to_tensor(frames: Image) -> Tensor:
    """Return (..., 3, H, W) float32 in [0, 1] of RGB frames (..., H, W, 3) uint8."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(frames, -1, -3))).float() / 255


def from_tensor(frames: Tensor) -> Image:
    """Return RGB frames (..., H, W, 3) uint8 of a tensor (..., 3, H, W) in [0, 1]."""
    levels = frames.detach().clamp(0, 1).mul(255).round().byte().cpu()
    return np.ascontiguousarray(np.moveaxis(levels.numpy(), -3, -1))
