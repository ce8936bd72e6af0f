"""A trained FOMM optimised for inference: the same pictures in a fraction of the time (ours).

Batch norm is part of the convolutions, upsampling is done by the convolution after it, convolutions
are computed in the way that is fastest for their size (eamm/fomm/fast/convolution.py), and all that
depends on the source alone is computed once a clip (`prepare`).

Letters: B driving frames, S sources (B or 1), h, w pixels of the motion.
"""

import copy
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from eamm.fomm.blocks import Hourglass, ResBlock
from eamm.fomm.fast.convolution import (
    FEWEST_INPUTS,
    BlockedConvolution,
    Convolution,
    ConvOptions,
    FoldedBlock,
    FoldedResBlock,
    convolution,
    folded,
    folded_blocks,
)
from eamm.fomm.generator import Generator, Source
from eamm.fomm.keypoints import KeypointDetector, Keypoints
from eamm.fomm.model import Fomm
from eamm.fomm.motion import DenseMotion

Precision = Literal["float32", "bfloat16"]


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
        compiled: pass the rendering through torch.compile; worth its minute on CUDA alone.

    Raises:
        ValueError: the Fomm is in training mode; its statistics are not final.
    """

    def __init__(
        self,
        fomm: Fomm,
        precision: Precision = "float32",
        winograd: bool = True,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        if fomm.training:
            raise ValueError("FastFomm needs a Fomm in evaluation mode; call .eval() first")
        fomm = copy.deepcopy(fomm).requires_grad_(False)
        self.config, size = fomm.config, fomm.config.size
        device = next(fomm.parameters()).device.type
        exact = ConvOptions(device=device, nnpack=winograd and device == "cpu")
        options = exact if precision == "float32" else ConvOptions(torch.bfloat16, device)
        # Pictures follow keypoints with some 25 times their rounding: no Winograd there.
        self.detector = fast_detector(fomm.detector, size, ConvOptions(device=device))
        self.generator = fast_generator(fomm.generator, size, options)
        self.generator.motion = fast_motion(fomm.generator.motion, size, exact)
        if compiled:
            self._render = torch.compile(self._render)  # type: ignore[method-assign]

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
        return self._render(source, source_kp, driving_kp)

    def _render(
        self, source: PreparedSource, source_kp: Keypoints, driving_kp: Keypoints
    ) -> Tensor:
        motion = self.generator.motion.of_small(source.small, source_kp, driving_kp)
        return self.generator.render(source.encoded, motion).float()


def fast_detector(detector: KeypointDetector, size: int, options: ConvOptions) -> KeypointDetector:
    """Fold a detector's blocks in place, for pictures of `size` pixels a side; return it."""
    fold_hourglass(detector.hourglass, size // detector.down.factor, options)
    return detector


def fast_motion(motion: DenseMotion, size: int, options: ConvOptions) -> DenseMotion:
    """Fold a dense motion network's blocks in place; return it."""
    size //= motion.down.factor
    fold_hourglass(motion.hourglass, size, options)
    for name in ("mask", "occlusion"):
        setattr(motion, name, convolution(getattr(motion, name), None, size, options))
    return motion


class Float32(nn.Module):
    """A module whose output is float32."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, features: Tensor) -> Tensor:
        return self.module(features).float()


def fast_generator(generator: Generator, size: int, options: ConvOptions) -> Generator:
    """Fold a generator's blocks in place; return it."""
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
    return generator


def fold_hourglass(hourglass: Hourglass, size: int, options: ConvOptions) -> None:
    """Fold an hourglass's blocks in place, for maps of `size` pixels a side; others work too."""
    smallest = size // hourglass.divisor
    hourglass.down_blocks = folded_blocks(hourglass.down_blocks, size, options)
    hourglass.up_blocks = folded_blocks(hourglass.up_blocks, smallest, options)
