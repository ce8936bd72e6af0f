"""FOMM's occlusion-aware generator (arXiv:2003.00196, Sec. 3.2): warps the source's features by the
dense flow, masks them by the occlusion map and decodes them.

Letters: B pictures, C channels, h, w pixels of a feature map, H, W of the pictures.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from affekt.nets.warp import warp_by_grid
from eamm.fomm.blocks import ConvBlock, ResBlock, resize_bilinear, resize_flow
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.motion import DenseMotion, Motion, MotionConfig


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes; the defaults are vox-256's."""

    channels: int = 64
    max_channels: int = 512
    downsamplings: int = 2
    blocks: int = 6  # residual
    # Also move the source's finer features, and the source itself, past the residual blocks, mixed
    # by the occlusion map: out = occlusion * moved + (1 - occlusion) * out. Not FOMM's: the skip
    # connections of its successor (arXiv:2104.11280, Sec. 3.4), which learn much faster. What comes
    # from outside the source is then its border, not black: nothing would paint that over.
    skips: bool = False
    # Make the flow larger with its ends kept on pixel centres. The release resizes it as if it were
    # a picture, so that even unmoved keypoints move the source by up to half a pixel of the flow;
    # its residual blocks make up for that, `skips` cannot. Ours.
    aligned_flow: bool = False

    def width(self, level: int) -> int:
        """Return the channels of a level; 0 has the picture's size."""
        return min(self.max_channels, self.channels << level)


class Source(NamedTuple):
    """A picture and all that is computed from it once, however many frames it is animated for."""

    frames: Tensor  # (B, 3, H, W)
    features: tuple[Tensor, ...]  # the coarsest last; the finer ones are used by `skips` alone


class Generated(NamedTuple):
    """A generated frame and the motion behind it."""

    prediction: Tensor  # (B, 3, H, W) in [0, 1]
    deformed: Tensor  # (B, 3, H, W): the source moved by the flow alone
    motion: Motion


class Generator(nn.Module):
    """Generates the driving frame from a source and two sets of keypoints."""

    def __init__(
        self, count: int, config: GeneratorConfig, motion: MotionConfig, align_corners: bool
    ) -> None:
        super().__init__()
        self.skips, self.align_corners = config.skips, align_corners
        self.padding = "border" if config.skips else "zeros"
        self.aligned_flow = config.aligned_flow
        levels = range(config.downsamplings)
        width = config.width
        self.motion = DenseMotion(count, motion, align_corners)
        self.first = ConvBlock(3, width(0), kernel=7)
        self.down_blocks = nn.ModuleList(
            ConvBlock(width(i), width(i + 1), resize="down") for i in levels
        )
        self.bottleneck = nn.Sequential(
            *(ResBlock(width(config.downsamplings)) for _ in range(config.blocks))
        )
        self.up_blocks = nn.ModuleList(
            ConvBlock(width(i + 1), width(i), resize="up") for i in reversed(levels)
        )
        self.final = nn.Conv2d(width(0), 3, 7, padding=3)

    def forward(
        self, source_BCHW: Tensor, source_kp: Keypoints, driving_kp: Keypoints
    ) -> Generated:
        """Return the source in the pose of the driving keypoints."""
        motion = self.motion(source_BCHW, source_kp, driving_kp)
        prediction = self.render(self.encode(source_BCHW), motion)
        return Generated(prediction, self._warped(source_BCHW, motion), motion)

    def encode(self, source_BCHW: Tensor) -> Source:
        """Return the source's features, which no driving frame changes."""
        features = [self.first(source_BCHW)]
        for block in self.down_blocks:
            features.append(block(features[-1]))
        return Source(source_BCHW, tuple(features))

    def render(self, source: Source, motion: Motion) -> Tensor:
        """Return the picture, (B, 3, H, W) in [0, 1]."""
        finer = list(source.features)
        coarsest = finer.pop()
        occlusion = resize_bilinear(motion.occlusion, _size(coarsest))
        out = self.bottleneck(self._warped(coarsest, motion) * occlusion)
        if self.skips:
            out = self._mixed(out, coarsest, motion)
        for block in self.up_blocks:
            out = block(out)
            if self.skips:
                out = self._mixed(out, finer.pop(), motion)
        prediction = torch.sigmoid(self.final(out))
        return self._mixed(prediction, source.frames, motion) if self.skips else prediction

    def _warped(self, features_BChw: Tensor, motion: Motion) -> Tensor:
        flow = resize_flow(motion.flow, _size(features_BChw), self.aligned_flow)
        features_BChw = features_BChw.expand(len(flow), -1, -1, -1)  # of one source for all
        return warp_by_grid(features_BChw, flow, self.align_corners, self.padding)

    def _mixed(self, generated_BChw: Tensor, features_BChw: Tensor, motion: Motion) -> Tensor:
        """Return the warped features where the source is visible, else the generated ones."""
        occlusion = resize_bilinear(motion.occlusion, _size(features_BChw))
        warped = self._warped(features_BChw, motion)  # float32, which under autocast others are not
        return torch.lerp(generated_BChw.to(warped.dtype), warped, occlusion.to(warped.dtype))


def _size(maps_BChw: Tensor) -> tuple[int, int]:
    h, w = maps_BChw.shape[2:]
    return h, w
