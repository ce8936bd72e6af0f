"""Image discriminator D_I of EVP (supplement 1.2): conditional patch discriminators at several
scales, as in pix2pixHD (arXiv:1711.11585, Sec. 3.2).

Each looks at (frame, guidance) pairs, the second and later ones at half the resolution of the one
before, and answers a logit for every patch it sees. They share no weights.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evp.generator import Norm, norm_layer

SLOPE = 0.2  # of the leaky rectifiers
WIDEST = 512  # channels at most (pix2pixHD)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes; the defaults are pix2pixHD's and vid2vid's."""

    channels: int = 64  # of the first layer
    layers: int = 3  # with stride 2: 3 layers see patches of 70 pixels
    scales: int = 2
    norm: Norm = "instance"


class PatchDiscriminator(nn.Module):
    """4x4 convolutions, each but the last two with stride 2; the first and last have no norm."""

    def __init__(self, in_channels: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        widths = [min(config.channels << level, WIDEST) for level in range(config.layers + 1)]
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, widths[0], 4, stride=2, padding=2),
            nn.LeakyReLU(SLOPE),
        ]
        for level in range(1, config.layers + 1):
            stride = 2 if level < config.layers else 1
            layers += [
                nn.Conv2d(widths[level - 1], widths[level], 4, stride=stride, padding=2),
                norm_layer(config.norm, widths[level]),
                nn.LeakyReLU(SLOPE),
            ]
        layers.append(nn.Conv2d(widths[-1], 1, 4, padding=2))
        self.layers = nn.Sequential(*layers)

    def forward(self, pair_BCHW: Tensor) -> Tensor:
        logits: Tensor = self.layers(pair_BCHW)
        return logits


class Discriminator(nn.Module):
    """One patch discriminator a scale, the finest first."""

    def __init__(self, guidance_channels: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            PatchDiscriminator(3 + guidance_channels, config) for _ in range(config.scales)
        )

    def forward(self, frames_BCHW: Tensor, guidance_BCHW: Tensor) -> list[Tensor]:
        """Return the logits of every scale, each (B, 1, h, w).

        Args:
            frames_BCHW: (B, 3, H, W) in [-1, 1].
            guidance_BCHW: the guidance maps of these frames, in [0, 1].
        """
        pair = torch.cat([frames_BCHW, guidance_BCHW], dim=1)
        logits = []
        for scale in self.scales:
            logits.append(scale(pair))
            pair = F.avg_pool2d(pair, 3, stride=2, padding=1, count_include_pad=False)
        return logits
