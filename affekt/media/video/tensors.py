"""Frames (uint8) to tensors in FOMM's and EAMM's range, and back.

Letters: T frames, H, W pixels.
"""

import numpy as np
import torch
from torch import Tensor

from affekt.arrays import Array, Image


def to_tensor(frames: Image) -> Tensor:
    """Return (..., 3, H, W) float32 in [0, 1] of RGB frames (..., H, W, 3) uint8."""
    return unit_range(channels_first(frames))


def channels_first(frames: Array) -> Tensor:
    """Return (..., C, H, W) of pictures (..., H, W, C), of the same type.

    Datasets give pictures like this: a loader process hands over a quarter of the bytes of floats.
    """
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(frames, -1, -3)))


def unit_range(pictures: Tensor) -> Tensor:
    """Return float32 in [0, 1] of uint8 pictures, on their device, equal to the bit on all."""
    # CUDA multiplies by a number's rounded reciprocal, but divides by a tensor
    return pictures.float() / torch.full((), 255.0, device=pictures.device)


def float_pictures(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a loader's batch with its uint8 pictures as float32 in [0, 1], on their device."""
    return {
        name: unit_range(value) if value.dtype == torch.uint8 else value
        for name, value in batch.items()
    }


def from_tensor(frames: Tensor) -> Image:
    """Return RGB frames (..., H, W, 3) uint8 of a tensor (..., 3, H, W) in [0, 1]."""
    levels = frames.detach().clamp(0, 1).mul(255).round().byte().cpu()
    return np.ascontiguousarray(np.moveaxis(levels.numpy(), -3, -1))
