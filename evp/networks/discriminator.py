"""Image discriminator D_I of EVP (supplement 1.2): conditional patch discriminators at several
scales, as in pix2pixHD (arXiv:1711.11585, Sec. 3.2).

Each looks at (frame, guidance) pairs, the second and later ones at half the resolution of the one
before, and answers a logit for every patch it sees. They share no weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evp.networks.blocks import Norm, halved, norm_layer

Answers = list[list[Tensor]]  # of each scale: its layers' features, then its logits (B, 1, h, w)

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
        first = nn.Conv2d(in_channels, widths[0], 4, stride=2, padding=2)
        layers: list[nn.Module] = [nn.Sequential(first, nn.LeakyReLU(SLOPE))]
        for level in range(1, config.layers + 1):
            stride = 2 if level < config.layers else 1
            conv = nn.Conv2d(widths[level - 1], widths[level], 4, stride=stride, padding=2)
            norm = norm_layer(config.norm, widths[level])
            layers.append(nn.Sequential(conv, norm, nn.LeakyReLU(SLOPE)))
        layers.append(nn.Conv2d(widths[-1], 1, 4, padding=2))
        self.layers = nn.ModuleList(layers)
        if config.norm == "none":
            self.apply(_keep_size)

    def forward(self, pictures_BCHW: Tensor) -> list[Tensor]:
        found = [pictures_BCHW]
        for layer in self.layers:
            found.append(layer(found[-1]))
        return found[1:]


def _keep_size(layer: nn.Module) -> None:
    """Draw weights that keep the size of activations where no norm does (He et al. 2015)."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, SLOPE)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has one


class MultiScale(nn.Module):
    """One patch discriminator a scale, the finest first."""

    def __init__(self, in_channels: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            PatchDiscriminator(in_channels, config) for _ in range(config.scales)
        )

    def forward(self, pictures_BCHW: Tensor) -> Answers:
        answers = []
        for scale in self.scales:
            answers.append(scale(pictures_BCHW))
            pictures_BCHW = halved(pictures_BCHW)
        return answers


class Discriminator(nn.Module):
    """D_I: frames with their guidance maps."""

    def __init__(self, guidance_channels: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.judge = MultiScale(3 + guidance_channels, config)

    def forward(self, frames_BCHW: Tensor, guidance_BCHW: Tensor) -> Answers:
        """Return the answers of every scale.

        Args:
            frames_BCHW: (B, 3, H, W) in [-1, 1].
            guidance_BCHW: the guidance maps of these frames, in [0, 1].
        """
        return self.judge(torch.cat([frames_BCHW, guidance_BCHW], dim=1))


def logits(answers: Answers) -> list[Tensor]:
    """Return the logits of every scale."""
    return [scale[-1] for scale in answers]


def features(answers: Answers) -> Sequence[Sequence[Tensor]]:
    """Return what lies before the logits of every scale."""
    return [scale[:-1] for scale in answers]
