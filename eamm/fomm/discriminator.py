"""FOMM's multi-scale discriminator (arXiv:2003.00196, appendix A.1; from arXiv:1812.08861).

Letters: B pictures, K keypoints, H, W pixels, h, w pixels of a feature map.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from affekt.nets.gan import DiscriminatorOutput
from eamm.fomm.blocks import gaussians

SLOPE = 0.2  # of the leaky rectifiers
KERNEL = 4  # without padding


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes; the defaults are vox-256's. vox-adv has no spectral norm and gets the keypoints."""

    channels: int = 32  # the first layer has twice as many
    max_channels: int = 512
    blocks: int = 4
    factors: tuple[int, ...] = (1,)  # of the pyramid's pictures, each has a discriminator
    spectral_norm: bool = True
    keypoints: bool = False  # also show it a bump around each driving keypoint
    variance: float = 0.01  # of the bumps

    def width(self, level: int) -> int:
        """Return the channels after a layer."""
        return min(self.max_channels, self.channels << (level + 1))


class PatchDiscriminator(nn.Module):
    """Convolutions of 4x4 with instance norm (the first without), halving but for the last."""

    def __init__(self, in_channels: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        levels = range(config.blocks)
        ins = [in_channels, *(config.width(i) for i in levels[:-1])]
        convs: list[nn.Module] = [nn.Conv2d(ins[i], config.width(i), KERNEL) for i in levels]
        last: nn.Module = nn.Conv2d(config.width(levels[-1]), 1, 1)
        if config.spectral_norm:
            convs, last = [spectral_norm(conv) for conv in convs], spectral_norm(last)
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(
            nn.InstanceNorm2d(config.width(i), affine=True) for i in levels[1:]
        )
        self.last = last

    def forward(self, shown_BCHW: Tensor) -> DiscriminatorOutput:
        features: list[Tensor] = []
        out = shown_BCHW
        for level, conv in enumerate(self.convs):
            out = conv(out)
            if level:
                out = self.norms[level - 1](out)
            out = F.leaky_relu(out, SLOPE)
            if level < len(self.convs) - 1:
                out = F.avg_pool2d(out, 2)
            features.append(out)
        return DiscriminatorOutput(features, self.last(out))


class Discriminator(nn.Module):
    """One patch discriminator a scale of the picture pyramid."""

    def __init__(self, count: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        channels = 3 + (count if config.keypoints else 0)
        self.scales = nn.ModuleList(PatchDiscriminator(channels, config) for _ in config.factors)

    def forward(self, pyramid: dict[int, Tensor], value_BK2: Tensor) -> list[DiscriminatorOutput]:
        """Return the output at every scale.

        Args:
            pyramid: pictures (B, 3, H / f, W / f) in [0, 1] by the factor f they are smaller by.
            value_BK2: the driving keypoints' places; detached by the caller.

        Raises:
            ValueError: the pyramid lacks a scale.
        """
        missing = set(self.config.factors) - pyramid.keys()
        if missing:
            raise ValueError(f"the pyramid has factors {sorted(pyramid)}, not {sorted(missing)}")
        return [
            scale(self._shown(pyramid[factor], value_BK2))
            for factor, scale in zip(self.config.factors, self.scales, strict=True)
        ]

    def _shown(self, frames_BCHW: Tensor, value_BK2: Tensor) -> Tensor:
        if not self.config.keypoints:
            return frames_BCHW
        h, w = frames_BCHW.shape[2:]
        bumps = gaussians(value_BK2, (h, w), self.config.variance)
        return torch.cat([frames_BCHW, bumps], dim=1)
