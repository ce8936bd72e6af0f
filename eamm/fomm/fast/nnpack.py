"""The one place that calls NNPACK, whose Winograd and Fourier convolutions torch carries but does
not choose by itself on a computer.

torch._nnpack_spatial_convolution is not a public function: where it is missing, fails, or is of no
use, the same convolution is done by torch.nn.functional.conv2d. It has been seen to win for single
pictures whose maps are not small (2 to 3 times faster for 3x3 kernels, 5 to 8 times for 7x7 kernels
with few outputs) and to lose elsewhere, to a third of the speed for batches.
"""

import logging
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

log = logging.getLogger(__name__)

SMALLEST_MAP = 32  # pixels a side of the output
FEWEST_INPUTS = 32  # channels
LARGEST_KERNEL = 16


@cache
def symbol() -> Callable[..., Tensor] | None:
    """Return NNPACK's convolution, or None where this torch or this processor has none."""
    # Asking is needed: it also sets NNPACK up.
    if not torch.backends.nnpack.is_available():
        return None
    return getattr(torch, "_nnpack_spatial_convolution", None)


def wins(features_BChw: Tensor, weight_OIkk: Tensor, padding: int) -> bool:
    """Return whether NNPACK can do this convolution and is likely to be faster."""
    B, C, h, w = features_BChw.shape
    k = weight_OIkk.shape[-1]
    smallest = min(h, w) + 2 * padding - k + 1
    able = (
        features_BChw.device.type == "cpu"
        and features_BChw.dtype == weight_OIkk.dtype == torch.float32
        and not (torch.is_grad_enabled() and _needs_gradient(features_BChw, weight_OIkk))
        and weight_OIkk.shape[1] == C
        and 1 < k <= LARGEST_KERNEL
    )
    return able and B == 1 and C >= FEWEST_INPUTS and smallest >= SMALLEST_MAP


def convolve(features_BChw: Tensor, weight_OIkk: Tensor, bias_O: Tensor, padding: int) -> Tensor:
    """Return conv2d of stride 1, by NNPACK where it wins; single precision's rounding apart."""
    function = symbol()
    if function is not None and wins(features_BChw, weight_OIkk, padding):
        try:
            return function(
                features_BChw.contiguous(), weight_OIkk.contiguous(), bias_O, [padding, padding]
            )
        except RuntimeError as error:
            _say_once(str(error))
    return F.conv2d(features_BChw, weight_OIkk, bias_O, padding=padding)


def _needs_gradient(*tensors: Tensor) -> bool:
    return any(tensor.requires_grad for tensor in tensors)


@cache
def _say_once(error: str) -> None:
    log.warning("NNPACK failed (%s); torch's own convolutions are used instead", error)
