"""Convolution blocks of the edge-to-video generators (pix2pixHD, arXiv:1711.11585, appendix).

Dimension letters: B frames in the batch, C channels, H, W pixels.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

NormType = Literal["instance", "batch", "none"]


def norm_layer(norm: NormType, channels: int) -> nn.Module:
    """Return a normalisation layer; instance norm has no weights, as in pix2pixHD."""
    if norm == "none":
        return nn.Identity()
    return nn.InstanceNorm2d(channels) if norm == "instance" else nn.BatchNorm2d(channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with norm, added to the input."""

    def __init__(self, channels: int, norm: NormType) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.norm = norm_layer(norm, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.second_norm = norm_layer(norm, channels)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        hidden = F.relu(self.norm(self.first(features_BCHW)))
        return features_BCHW + self.second_norm(self.second(hidden))


def outer(in_channels: int, channels: int, kernel: int) -> nn.Conv2d:
    """Return a first or last convolution, of `kernel` x `kernel` pixels (odd)."""
    return nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, padding_mode="reflect")


def stem(in_channels: int, channels: int, kernel: int, norm: NormType) -> nn.Module:
    """Return the layers that turn a picture into features of its size."""
    return nn.Sequential(
        outer(in_channels, channels, kernel), norm_layer(norm, channels), nn.ReLU()
    )


def down(channels: int, norm: NormType) -> nn.Module:
    """Return the layers that halve the size and double the channels."""
    conv = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
    return nn.Sequential(conv, norm_layer(norm, 2 * channels), nn.ReLU())


def up(channels: int, norm: NormType) -> nn.Module:
    """Return the layers that double the size and halve the channels, to `channels`."""
    conv = nn.ConvTranspose2d(2 * channels, channels, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(conv, norm_layer(norm, channels), nn.ReLU())


def halved(pictures_BCHW: Tensor) -> Tensor:
    """Return pictures at half the size, each pixel a mean over 3x3."""
    return F.avg_pool2d(pictures_BCHW, 3, stride=2, padding=1, count_include_pad=False)
