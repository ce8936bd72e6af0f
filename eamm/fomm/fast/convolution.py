"""Fold batch norm and upsampling into convolutions for inference, and choose how each is computed.

In evaluation mode batch norm multiplies and adds constants, which the convolution before it takes
in; a convolution after nearest upsampling reads every pixel twice and is done at the size before.
Both are exact but for rounding. Ours.

Letters: B pictures, C channels, O outputs, I inputs, h, w pixels of a feature map.
"""

import copy
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from eamm.fomm.blocks import ConvBlock, ResBlock

log = logging.getLogger(__name__)

# Pixels a side of a map from which on its convolution is done before the upsampling.
SMALLEST_SUBPIXEL = 8
# Pixels a side of a map up to which a convolution is one matrix product: most of its time goes into
# reading its weights, which torch's convolutions first copy into another order, every time.
LARGEST_PRODUCT = 8
# NNPACK's Winograd and Fourier convolutions have been found to win for single pictures whose maps
# are not small (2 to 3 times faster for 3x3 kernels, 5 to 8 times for 7x7 kernels with few outputs)
# and to lose elsewhere, to a third of the speed for batches.
SMALLEST_MAP = 32  # pixels a side of the output
FEWEST_INPUTS = 32  # channels
LARGEST_KERNEL = 16
# The 3 taps on doubled pixels, as 2 taps on single ones: rows are the taps, one matrix for the even
# outputs, whose window begins a pixel earlier, and one for the odd ones.
PHASES = torch.tensor([[[1, 0], [0, 1], [0, 1]], [[1, 0], [1, 0], [0, 1]]], dtype=torch.float64)


@dataclass(frozen=True)
class ConvOptions:
    """How convolutions are computed."""

    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    nnpack: bool = False  # where it wins

    @property
    def products(self) -> bool:
        """Whether small maps are convolved by matrix products."""
        has_onednn: bool = torch.backends.mkldnn.is_available()
        return self.device == "cpu" and self.dtype == torch.float32 and has_onednn


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d | None = None) -> tuple[Tensor, Tensor]:
    """Return weight (O, I, k, k), bias (O,) of a convolution and the norm after it, in float64."""
    conv = copy.deepcopy(conv).double()
    if norm is not None:
        conv = fuse_conv_bn_eval(conv.eval(), copy.deepcopy(norm).double())
    bias = conv.weight.new_zeros(len(conv.weight)) if conv.bias is None else conv.bias
    return conv.weight.detach(), bias.detach()


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
    last = phases_B4Chw.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    out = phases_B4Chw.new_empty((B, C, 2 * h, 2 * w)).contiguous(memory_format=layout)
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


@cache
def nnpack_convolution() -> Callable[..., Tensor] | None:
    """Return NNPACK's convolution, or None where this torch or this processor has none."""
    # torch._nnpack_spatial_convolution is not public; asking also sets NNPACK up.
    if not torch.backends.nnpack.is_available():
        return None
    return getattr(torch, "_nnpack_spatial_convolution", None)


def nnpack_wins(features_BIhw: Tensor, weight_OIkk: Tensor, padding: int) -> bool:
    """Return whether NNPACK can do this convolution and is likely to be faster."""
    B, C, h, w = features_BIhw.shape
    k = weight_OIkk.shape[-1]
    able = features_BIhw.dtype == torch.float32 and 1 < k <= LARGEST_KERNEL
    large = min(h, w) + 2 * padding - k + 1 >= SMALLEST_MAP
    return able and B == 1 and C >= FEWEST_INPUTS and large


@cache
def _warn_once(error: str) -> None:
    log.warning("NNPACK failed (%s); torch's own convolutions are used instead", error)


class Convolution(nn.Module):
    """A convolution of stride 1 with constant weights, kept in memory as it is needed."""

    weight: Tensor
    bias: Tensor

    def __init__(
        self, weight_OIkk: Tensor, bias_O: Tensor, padding: int, options: ConvOptions
    ) -> None:
        super().__init__()
        layout = torch.contiguous_format if options.nnpack else torch.channels_last
        weight = weight_OIkk.to(options.dtype).contiguous(memory_format=layout)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias_O.to(options.dtype))
        self.padding, self.nnpack = padding, options.nnpack

    def forward(self, features_BIhw: Tensor) -> Tensor:
        features = features_BIhw.to(self.weight.dtype)
        nnpack = nnpack_convolution() if self.nnpack else None
        if nnpack is not None and nnpack_wins(features, self.weight, self.padding):
            try:
                return nnpack(features.contiguous(), self.weight, self.bias, [self.padding] * 2)
            except RuntimeError as error:
                _warn_once(str(error))
        return F.conv2d(features, self.weight, self.bias, padding=self.padding)


class ProductConvolution(nn.Module):
    """A convolution of stride 1 as one matrix product by oneDNN; for small maps."""

    def __init__(self, weight_OIkk: Tensor, bias_O: Tensor, padding: int) -> None:
        super().__init__()
        self.kernel, self.padding = weight_OIkk.shape[-1], padding
        by_place = weight_OIkk.float().permute(0, 2, 3, 1).flatten(1)
        self.weight, self.bias = by_place.to_mkldnn(), bias_O.float().to_mkldnn()

    def forward(self, features_BIhw: Tensor) -> Tensor:
        B, _, h, w = features_BIhw.shape
        padded = F.pad(features_BIhw, [self.padding] * 4).permute(0, 2, 3, 1)
        h, w = (n + 2 * self.padding - self.kernel + 1 for n in (h, w))
        taps = range(self.kernel)
        places = [padded[:, y : y + h, x : x + w] for y in taps for x in taps]
        columns = torch.cat(places, dim=-1).reshape(B * h * w, -1)
        out: Tensor = F.linear(columns.to_mkldnn(), self.weight, self.bias).to_dense()
        return out.reshape(B, h, w, -1).permute(0, 3, 1, 2)


class BlockedConvolution(Convolution):
    """A convolution with few outputs, four pixels at a time: they fill the processor's vectors."""

    def __init__(
        self, weight_OIkk: Tensor, bias_O: Tensor, padding: int, options: ConvOptions
    ) -> None:
        plain = ConvOptions(options.dtype, options.device)
        super().__init__(blocked(weight_OIkk), bias_O.repeat_interleave(4), padding, plain)

    def forward(self, features_BIhw: Tensor) -> Tensor:
        """Return the maps of a picture whose sides are even, float32."""
        features = features_BIhw.to(self.weight.dtype)
        out = F.conv2d(features, self.weight, self.bias, stride=2, padding=self.padding)
        return F.pixel_shuffle(out, 2).float()


def convolution(
    conv: nn.Conv2d, norm: nn.BatchNorm2d | None, size: int, options: ConvOptions
) -> nn.Module:
    """Return conv and norm in one, made for maps of `size` pixels a side; others work too."""
    weight, bias = folded(conv, norm)
    padding = int(conv.padding[0])
    if options.products and size <= LARGEST_PRODUCT:
        return ProductConvolution(weight, bias, padding)
    return Convolution(weight, bias, padding, options)


class FoldedBlock(nn.Module):
    """A ConvBlock whose norm is part of its convolution."""

    def __init__(self, block: ConvBlock, size: int, options: ConvOptions) -> None:
        super().__init__()
        self.resize = block.resize
        size *= 2 if block.resize == "up" else 1
        self.conv = convolution(block.conv, block.norm, size, options)

    def forward(self, features_BIhw: Tensor) -> Tensor:
        if self.resize == "up":
            features_BIhw = F.interpolate(features_BIhw, scale_factor=2.0)
        out: Tensor = self.conv(features_BIhw).relu_()
        return F.avg_pool2d(out, 2) if self.resize == "down" else out


class SubpixelBlock(nn.Module):
    """An upsampling ConvBlock as one convolution at the size before."""

    def __init__(self, block: ConvBlock, options: ConvOptions) -> None:
        super().__init__()
        weight, bias = folded(block.conv, block.norm)
        plain = ConvOptions(options.dtype, options.device)  # NNPACK does not win with 2x2 kernels
        self.conv = Convolution(subpixel(weight), bias.repeat(4), 1, plain)

    def forward(self, features_BIhw: Tensor) -> Tensor:
        return interleaved(self.conv(features_BIhw).relu_())


class FoldedResBlock(nn.Module):
    """A ResBlock whose second norm is part of its first convolution.

    The first norm is followed by a rectifier and a convolution that pads with zeros: it remains, as
    one multiplication and addition.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, block: ResBlock, size: int, options: ConvOptions) -> None:
        super().__init__()
        norm = copy.deepcopy(block.norm1).double()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias.detach() - norm.running_mean * scale
        self.register_buffer("scale", scale[:, None, None].to(options.dtype))
        self.register_buffer("shift", shift[:, None, None].to(options.dtype))
        self.conv1 = convolution(block.conv1, block.norm2, size, options)
        self.conv2 = convolution(block.conv2, None, size, options)

    def forward(self, features_BChw: Tensor) -> Tensor:
        features_BChw = features_BChw.to(self.scale.dtype)
        hidden = torch.addcmul(self.shift, features_BChw, self.scale).relu_()
        hidden = self.conv1(hidden).relu_()
        return self.conv2(hidden).add_(features_BChw)


def folded_blocks(blocks: Iterable[nn.Module], size: int, options: ConvOptions) -> nn.ModuleList:
    """Return the folded form of a chain of ConvBlocks whose first one gets `size` pixels a side."""
    chain = nn.ModuleList()
    for block in blocks:
        assert isinstance(block, ConvBlock)
        if block.resize == "up" and size >= SMALLEST_SUBPIXEL:
            chain.append(SubpixelBlock(block, options))
        else:
            chain.append(FoldedBlock(block, size, options))
        size = {"up": 2 * size, "down": size // 2, "same": size}[block.resize]
    return chain
