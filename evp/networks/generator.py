"""Edge-to-video generator of EVP (Sec. 3.3, supplement 1.2): coarse-to-fine, as pix2pixHD's.

A global generator (convolutions down, residual blocks, convolutions up) takes the guidance map at a
fraction of the resolution. Each local enhancer doubles the resolution: it convolves the sharper
map down once, adds the coarser network's last features, and goes through residual blocks and up.
Architecture: Wang et al., High-Resolution Image Synthesis and Semantic Manipulation with
Conditional GANs (arXiv:1711.11585), Sec. 3.2 and its appendix, which the supplement cites.

This one generates every frame on its own; evp.networks.temporal_generator is the paper's, which
takes the frames before as history.

Dimension letters: B frames in the batch, C channels, H, W pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evp.networks.blocks import NormType, ResidualBlock, down, halved, outer, stem, up


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes; the defaults are pix2pixHD's, twice as wide, which is the width of the release."""

    channels: int = 64  # of the first layer at full resolution; the global generator has more
    downsamplings: int = 3  # of the global generator
    blocks: int = 9  # residual blocks of the global generator
    enhancers: int = 1  # each halves the resolution of what lies below; 0: a global generator only
    enhancer_blocks: int = 3  # residual blocks of an enhancer
    outer_kernel: int = 7  # pixels; of the first and last convolutions; odd
    norm: NormType = "instance"
    previous: int = 0  # L, frames of history; 0: each frame is generated on its own

    def __post_init__(self) -> None:
        if self.outer_kernel % 2 == 0:
            raise ValueError(f"outer_kernel is {self.outer_kernel}, wanted an odd number")
        if self.previous < 0:
            raise ValueError(f"previous is {self.previous}, wanted 0 or more")

    @property
    def divisor(self) -> int:
        """What the height and the width of a guidance map must be divisible by."""
        return 1 << (self.downsamplings + self.enhancers)

    def check_size(self, maps_BCHW: Tensor, level: int = 0) -> None:
        """Refuse maps that the layers, less `level` enhancers, cannot halve as often as they do."""
        H, W = maps_BCHW.shape[-2:]
        divisor = self.divisor >> level
        if H % divisor or W % divisor:
            raise ValueError(
                f"a guidance map of {W}x{H} pixels, wanted multiples of {divisor}: "
                f"{self.enhancers - level} enhancers and {self.downsamplings} downsamplings"
            )


class GlobalGenerator(nn.Module):
    """Convolutions down, residual blocks, convolutions up: features at the input's resolution."""

    def __init__(self, in_channels: int, channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        widths = [channels << level for level in range(config.downsamplings + 1)]
        layers = [stem(in_channels, channels, config.outer_kernel, config.norm)]
        layers += [down(width, config.norm) for width in widths[:-1]]
        layers += [ResidualBlock(widths[-1], config.norm) for _ in range(config.blocks)]
        layers += [up(width, config.norm) for width in reversed(widths[:-1])]
        self.layers = nn.Sequential(*layers)

    def forward(self, guidance_BCHW: Tensor) -> Tensor:
        return self.layers(guidance_BCHW)


class LocalEnhancer(nn.Module):
    """Features at full resolution from the map at full and features at half resolution."""

    def __init__(self, in_channels: int, channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        norm = config.norm
        first = stem(in_channels, channels, config.outer_kernel, norm)
        self.down = nn.Sequential(first, down(channels, norm))
        blocks = [ResidualBlock(2 * channels, norm) for _ in range(config.enhancer_blocks)]
        self.up = nn.Sequential(*blocks, up(channels, norm))

    def forward(self, guidance_BCHW: Tensor, coarse_BCHW: Tensor) -> Tensor:
        return self.up(self.down(guidance_BCHW) + coarse_BCHW)


class Generator(nn.Module):
    """A guidance map to a frame."""

    def __init__(self, in_channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels << level for level in range(config.enhancers + 1)]
        self.coarsest = GlobalGenerator(in_channels, widths[-1], config)
        self.enhancers = nn.ModuleList(
            LocalEnhancer(in_channels, width, config) for width in reversed(widths[:-1])
        )
        self.head = outer(config.channels, 3, config.outer_kernel)

    def forward(self, guidance_BCHW: Tensor) -> Tensor:
        """Return frames, (B, 3, H, W) in [-1, 1].

        Args:
            guidance_BCHW: guidance maps in [0, 1], H and W multiples of the config's `divisor`.
        """
        self.config.check_size(guidance_BCHW)
        pyramid = [guidance_BCHW]
        for _ in self.enhancers:
            pyramid.append(halved(pyramid[-1]))
        features = self.coarsest(pyramid.pop())
        for enhancer in self.enhancers:
            features = enhancer(pyramid.pop(), features)
        return torch.tanh(self.head(features))
