"""A trained FOMM optimised for inference: the same pictures in a fraction of the time (ours).

Batch norm is part of the convolutions, upsampling is done by the convolution after it, convolutions
are computed in the way that is fastest for their size, and all that depends on the source alone is
computed once a clip (`prepare`). Folding is exact but for rounding.

Letters: B pictures, S sources (B or 1), C channels, O outputs, I inputs, h, w pixels of a feature
map.
"""

import copy
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from eamm.fomm.blocks import ConvBlock, Hourglass, ResBlock
from eamm.fomm.generator import Generator, Source
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm

Precision = Literal["float32", "bfloat16"]

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


class PreparedSource(NamedTuple):
    """A picture and all that is computed from it alone."""

    encoded: Source
    small: Tensor  # (S, 3, h, w): blurred and made smaller, for the motion


class FastFomm(nn.Module):
    """The inference form of a Fomm; a copy, so the Fomm may go on training.

    Args:
        fomm: in evaluation mode; the device of its parameters is kept.
        precision: of the generator's convolutions. bfloat16 is faster where the processor has it;
            keypoints and motion remain in float32, so that nothing trembles.
        winograd: do large convolutions of single frames by NNPACK where torch carries it (CPU,
            float32).

    Raises:
        ValueError: the Fomm is in training mode; its statistics are not final.
    """

    def __init__(self, fomm: Fomm, precision: Precision = "float32", winograd: bool = True) -> None:
        super().__init__()
        if fomm.training:
            raise ValueError("FastFomm needs a Fomm in evaluation mode; call .eval() first")
        fomm = copy.deepcopy(fomm).requires_grad_(False)
        self.config, size = fomm.config, fomm.config.size
        device = next(fomm.parameters()).device.type
        exact = ConvOptions(device=device, nnpack=winograd and device == "cpu")
        options = exact if precision == "float32" else ConvOptions(torch.bfloat16, device)
        # Pictures follow keypoints with some 25 times their rounding: no Winograd there.
        self.detector, self.generator = fomm.detector, fomm.generator
        _fold_hourglass(
            self.detector.hourglass, size // self.detector.down.factor, ConvOptions(device=device)
        )
        _fold_generator(self.generator, size, options)
        motion = self.generator.motion
        small = size // motion.down.factor
        _fold_hourglass(motion.hourglass, small, exact)
        for name in ("mask", "occlusion"):
            setattr(motion, name, convolution(getattr(motion, name), None, small, exact))

    @torch.no_grad()
    def keypoints(self, frames_BCHW: Tensor) -> Keypoints:
        """Return the keypoints of frames (B, 3, H, W) in [0, 1]."""
        # Sums over pixels lose digits where pixels do not come last in memory.
        features = self.detector.features(frames_BCHW).contiguous()
        keypoints: Keypoints = self.detector.heads(features)[0]
        return keypoints

    @torch.no_grad()
    def prepare(self, source_SCHW: Tensor) -> PreparedSource:
        """Return what `render` needs of a picture, (S, 3, H, W) in [0, 1]."""
        features = self.generator.encode(source_SCHW).features
        used = features if self.generator.skips else features[-1:]
        encoded = Source(source_SCHW, tuple(maps.float() for maps in used))
        return PreparedSource(encoded, self.generator.motion.down(source_SCHW))

    @torch.no_grad()
    def render(self, source: PreparedSource, source_kp: Keypoints, driving_kp: Keypoints) -> Tensor:
        """Return the source in the pose of the driving keypoints, (B, 3, H, W) in [0, 1], float32.

        Args:
            source: of `prepare`; one for all frames, or one a frame.
            source_kp: as many as sources.
            driving_kp: B of them.
        """
        motion = self.generator.motion.of_small(source.small, source_kp, driving_kp)
        return self.generator.render(source.encoded, motion).float()


class Float32(nn.Module):
    """A module whose output is float32."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, features: Tensor) -> Tensor:
        return self.module(features).float()


def _fold_generator(generator: Generator, size: int, options: ConvOptions) -> None:
    """Fold a generator's blocks in place, for pictures of `size` pixels a side."""
    coarsest = size >> len(generator.down_blocks)
    blocks = [block for block in generator.bottleneck if isinstance(block, ResBlock)]
    even = len(generator.up_blocks) > 0  # sides, which four pixels at a time need
    # oneDNN's bfloat16 convolution has been found wrong for 8 inputs and kernels of 8x8 (AMX).
    wide = options.dtype == torch.float32 or generator.final.in_channels >= FEWEST_INPUTS
    padding = generator.final.kernel_size[0] // 2
    weights = *folded(generator.final), padding, options
    final = BlockedConvolution(*weights) if even and wide else Float32(Convolution(*weights))
    parts: dict[str, nn.Module] = {
        "first": FoldedBlock(generator.first, size, options),
        "down_blocks": folded_blocks(generator.down_blocks, size, options),
        "bottleneck": nn.Sequential(*(FoldedResBlock(each, coarsest, options) for each in blocks)),
        "up_blocks": folded_blocks(generator.up_blocks, coarsest, options),
        "final": final,  # in float32: pictures keep their grey levels
    }
    for name, part in parts.items():
        setattr(generator, name, part)


def _fold_hourglass(hourglass: Hourglass, size: int, options: ConvOptions) -> None:
    """Fold an hourglass's blocks in place, for maps of `size` pixels a side; others work too."""
    smallest = size // hourglass.divisor
    hourglass.down_blocks = folded_blocks(hourglass.down_blocks, size, options)
    hourglass.up_blocks = folded_blocks(hourglass.up_blocks, smallest, options)
