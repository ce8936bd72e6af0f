"""What a trained network's arithmetic comes down to when nothing is learned any more.

In evaluation mode batch norm multiplies and adds constants, so a convolution before it can take
them in; and a convolution that follows nearest upsampling sees every pixel twice, so it can be done
before. Both are exact but for rounding. Ours.

Letters: O outputs, I inputs, C channels, B pictures, h, w pixels before upsampling.
"""

import torch
from torch import Tensor, nn

# The 3 taps on doubled pixels, as 2 taps on single ones: rows are the taps, one matrix for the even
# outputs, whose window begins a pixel earlier, and one for the odd ones.
PHASES = torch.tensor(
    [[[1, 0], [0, 1], [0, 1]], [[1, 0], [1, 0], [0, 1]]],
    dtype=torch.float64,
)


def affine_of(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return scale and shift (C,) of a batch norm in evaluation mode, in float64.

    Raises:
        ValueError: it keeps no statistics, and so has no evaluation mode.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.detach().double() - norm.running_mean.double() * scale


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d | None = None) -> tuple[Tensor, Tensor]:
    """Return weight (O, I, k, k), bias (O,) of a convolution and the norm after it, in float64."""
    weight = conv.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach().double()
    if norm is None:
        return weight, bias
    scale, shift = affine_of(norm)
    return weight * scale[:, None, None, None], bias * scale + shift


def joined(*convs: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return weight and bias of one convolution that does several of the same input, float64."""
    weights, biases = zip(*(folded(conv) for conv in convs), strict=True)
    return torch.cat(weights), torch.cat(biases)


def subpixel(weight_OI33: Tensor) -> Tensor:
    """Return the kernels (4 O, I, 2, 2) that do upsampling and a padded 3x3 convolution in one.

    Output pixel (2 y + a, 2 x + b) is that of kernels (2 a + b) O ... at (y + a, x + b), the input
    padded by one pixel: 4/9 of the multiplications.
    """
    phases = PHASES.to(weight_OI33)
    kernels = torch.einsum("oiyx,aym,bxn->aboimn", weight_OI33, phases, phases)
    return kernels.flatten(0, 2)


def interleaved(phases_B4Chw: Tensor) -> Tensor:
    """Return what `subpixel`'s kernels found, (B, 4 C, h + 1, w + 1), as a map (B, C, 2 h, 2 w)."""
    B, C4, h, w = phases_B4Chw.shape
    C, h, w = C4 // 4, h - 1, w - 1
    layout = torch.channels_last if _is_channels_last(phases_B4Chw) else torch.contiguous_format
    out = torch.empty(
        (B, C, 2 * h, 2 * w),
        dtype=phases_B4Chw.dtype,
        device=phases_B4Chw.device,
        memory_format=layout,
    )
    for k, phase in enumerate(phases_B4Chw.split(C, dim=1)):
        a, b = divmod(k, 2)
        out[:, :, a::2, b::2] = phase[:, :, a : a + h, b : b + w]
    return out


def blocked(weight_OIkk: Tensor) -> Tensor:
    """Return the kernels (4 O, I, k + 1, k + 1) that make 2x2 outputs at a time, with stride 2.

    torch.nn.functional.pixel_shuffle puts them in place. A third more multiplications, but four
    times as many outputs for the processor's vectors.
    """
    O, I, k, _ = weight_OIkk.shape  # noqa: E741
    kernels = weight_OIkk.new_zeros((O, 2, 2, I, k + 1, k + 1))
    for a in range(2):
        for b in range(2):
            kernels[:, a, b, :, a : a + k, b : b + k] = weight_OIkk
    return kernels.flatten(0, 2)


def _is_channels_last(maps_BChw: Tensor) -> bool:
    return maps_BChw.is_contiguous(memory_format=torch.channels_last)
