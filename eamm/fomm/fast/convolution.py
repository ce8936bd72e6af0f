"""FOMM's blocks with folded weights, for inference alone (see eamm.fomm.fast.fold).

Letters: B pictures, C channels, O outputs, I inputs, h, w pixels of a feature map.
"""

import typing as tp
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eamm.fomm.blocks import ConvBlock, Hourglass, ResBlock, through_hourglass
from eamm.fomm.fast import nnpack
from eamm.fomm.fast.fold import affine_of, blocked, folded, interleaved, subpixel

# Pixels a side of a map from which on its convolution is done before the upsampling.
SMALLEST_SUBPIXEL = 8
# Pixels a side of a map up to which a convolution is one matrix product: most of its time goes into
# reading its weights, which torch's convolutions first copy into another order, every time.
LARGEST_PRODUCT = 8


@dataclass(frozen=True)
class Engine:
    """How convolutions are done."""

    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    nnpack: bool = False  # where it wins

    @property
    def products(self) -> bool:
        """Whether small maps are convolved by matrix products."""
        has_onednn: bool = torch.backends.mkldnn.is_available()
        return self.device == "cpu" and self.dtype == torch.float32 and has_onednn


class Convolution(nn.Module):
    """A convolution of stride 1 with constant weights, kept in memory as it is needed."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight_OIkk: Tensor, bias_O: Tensor, padding: int, engine: Engine) -> None:
        super().__init__()
        layout = torch.contiguous_format if engine.nnpack else torch.channels_last
        weight = weight_OIkk.to(engine.dtype).contiguous(memory_format=layout)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias_O.to(engine.dtype))
        self.padding, self.nnpack = padding, engine.nnpack

    def forward(self, features_BIhw: Tensor) -> Tensor:
        features_BIhw = features_BIhw.to(self.weight.dtype)
        if self.nnpack:
            return nnpack.convolve(features_BIhw, self.weight, self.bias, self.padding)
        return F.conv2d(features_BIhw, self.weight, self.bias, padding=self.padding)


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
        places = [padded[:, y : y + h, x : x + w] for y, x in self._places()]
        columns = torch.cat(places, dim=-1).reshape(B * h * w, -1)
        out: Tensor = F.linear(columns.to_mkldnn(), self.weight, self.bias).to_dense()
        return out.reshape(B, h, w, -1).permute(0, 3, 1, 2)

    def _places(self) -> tp.Iterator[tuple[int, int]]:
        return ((y, x) for y in range(self.kernel) for x in range(self.kernel))


class BlockedConvolution(nn.Module):
    """A convolution with few outputs, four pixels at a time: they fill the processor's vectors."""

    def __init__(self, weight_OIkk: Tensor, bias_O: Tensor, padding: int, engine: Engine) -> None:
        super().__init__()
        plain = Engine(engine.dtype, engine.device)
        self.conv = Convolution(blocked(weight_OIkk), bias_O.repeat_interleave(4), padding, plain)

    def forward(self, features_BIhw: Tensor) -> Tensor:
        """Return the maps of a picture whose sides are even."""
        conv = self.conv
        features = features_BIhw.to(conv.weight.dtype)
        out = F.conv2d(features, conv.weight, conv.bias, stride=2, padding=conv.padding)
        return F.pixel_shuffle(out, 2)


def convolution(
    conv: nn.Conv2d, norm: nn.BatchNorm2d | None, size: int, engine: Engine
) -> nn.Module:
    """Return conv and norm in one, made for maps of `size` pixels a side; others work too."""
    weight, bias = folded(conv, norm)
    padding = int(conv.padding[0])
    if engine.products and size <= LARGEST_PRODUCT:
        return ProductConvolution(weight, bias, padding)
    return Convolution(weight, bias, padding, engine)


class FoldedBlock(nn.Module):
    """A ConvBlock whose norm is part of its convolution."""

    def __init__(self, block: ConvBlock, size: int, engine: Engine) -> None:
        super().__init__()
        self.resize = block.resize
        size *= 2 if block.resize == "up" else 1
        self.conv = convolution(block.conv, block.norm, size, engine)

    def forward(self, features_BIhw: Tensor) -> Tensor:
        if self.resize == "up":
            features_BIhw = F.interpolate(features_BIhw, scale_factor=2.0)
        out: Tensor = self.conv(features_BIhw).relu_()
        return F.avg_pool2d(out, 2) if self.resize == "down" else out


class SubpixelBlock(nn.Module):
    """An upsampling ConvBlock as one convolution at the size before."""

    def __init__(self, block: ConvBlock, engine: Engine) -> None:
        super().__init__()
        weight, bias = folded(block.conv, block.norm)
        plain = Engine(engine.dtype, engine.device)  # NNPACK does not win with kernels of 2x2
        self.conv = Convolution(subpixel(weight), bias.repeat(4), 1, plain)

    def forward(self, features_BIhw: Tensor) -> Tensor:
        return interleaved(self.conv(features_BIhw).relu_())


class FoldedResBlock(nn.Module):
    """A ResBlock whose second norm is part of its first convolution.

    The first norm stands before a rectifier and a convolution that pads with zeros: it remains, as
    one multiplication and addition.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, block: ResBlock, size: int, engine: Engine) -> None:
        super().__init__()
        scale, shift = (value[:, None, None].to(engine.dtype) for value in affine_of(block.norm1))
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.conv1 = convolution(block.conv1, block.norm2, size, engine)
        self.conv2 = convolution(block.conv2, None, size, engine)

    def forward(self, features_BChw: Tensor) -> Tensor:
        features_BChw = features_BChw.to(self.scale.dtype)
        hidden = torch.addcmul(self.shift, features_BChw, self.scale).relu_()
        hidden = self.conv1(hidden).relu_()
        return self.conv2(hidden).add_(features_BChw)


class FoldedHourglass(nn.Module):
    """An Hourglass of folded blocks, made for maps of `size` pixels a side; others work too."""

    def __init__(self, hourglass: Hourglass, size: int, engine: Engine) -> None:
        super().__init__()
        self.down_blocks = folded_blocks(hourglass.down_blocks, size, engine)
        self.up_blocks = folded_blocks(hourglass.up_blocks, size // hourglass.divisor, engine)

    def forward(self, features_BChw: Tensor) -> Tensor:
        """Return the last decoder level beside the input.

        Raises:
            ValueError: h or w is not a multiple of `divisor`.
        """
        return through_hourglass(features_BChw, self.down_blocks, self.up_blocks)


def folded_blocks(blocks: tp.Iterable[nn.Module], size: int, engine: Engine) -> nn.ModuleList:
    """Return the folded form of a chain of ConvBlocks whose first one gets `size` pixels a side."""
    chain = nn.ModuleList()
    for block in blocks:
        assert isinstance(block, ConvBlock)
        if block.resize == "up":
            early = size >= SMALLEST_SUBPIXEL
            chain.append(
                SubpixelBlock(block, engine) if early else FoldedBlock(block, size, engine)
            )
            size *= 2
        else:
            chain.append(FoldedBlock(block, size, engine))
            size //= 2 if block.resize == "down" else 1
    return chain
