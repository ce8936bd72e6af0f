"""Building blocks of FOMM's networks, which EAMM shares (First Order Motion Model,
arXiv:2003.00196, Sec. 3 and appendix; sizes of its release).

Letters: B pictures, C channels, h, w pixels of a feature map, K keypoints.
"""

from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Resize = Literal["same", "down", "up"]


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU; `down` then averages 2x2 pixels, `up` first doubles them."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, resize: Resize = "same"
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(out_channels)
        self.resize = resize

    def forward(self, features_BChw: Tensor) -> Tensor:
        if self.resize == "up":
            features_BChw = F.interpolate(features_BChw, scale_factor=2.0)
        out = F.relu(self.norm(self.conv(features_BChw)))
        return F.avg_pool2d(out, 2) if self.resize == "down" else out


class ResBlock(nn.Module):
    """Twice batch norm, ReLU and a 3x3 convolution, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features_BChw: Tensor) -> Tensor:
        hidden = self.conv1(F.relu(self.norm1(features_BChw)))
        return features_BChw + self.conv2(F.relu(self.norm2(hidden)))


def mlp(*widths: int) -> nn.Sequential:
    """Return linear layers from each width to the next, every one of them with a ReLU."""
    layers = ((nn.Linear(*pair), nn.ReLU()) for pair in pairwise(widths))
    return nn.Sequential(*chain.from_iterable(layers))


@dataclass(frozen=True)
class HourglassConfig:
    """Sizes of an hourglass; level i has `channels` * 2^i channels, at most `max_channels`."""

    channels: int
    max_channels: int = 1024
    blocks: int = 5  # levels; the picture's sides must be divisible by 2^blocks

    def width(self, level: int) -> int:
        """Return the channels of a level."""
        return min(self.max_channels, self.channels << level)


class Hourglass(nn.Module):
    """A U-Net whose output is its last decoder level, concatenated with its own input."""

    def __init__(self, in_channels: int, config: HourglassConfig) -> None:
        super().__init__()
        levels = range(config.blocks)
        ins = [in_channels, *(config.width(i) for i in levels[1:])]
        self.down_blocks = nn.ModuleList(
            ConvBlock(ins[i], config.width(i + 1), resize="down") for i in levels
        )
        self.up_blocks = nn.ModuleList(
            ConvBlock(
                config.width(i + 1) * (1 if i == config.blocks - 1 else 2),
                config.width(i),
                resize="up",
            )
            for i in reversed(levels)
        )
        self.divisor = 1 << config.blocks
        self.out_channels = config.channels + in_channels

    def forward(self, features_BChw: Tensor) -> Tensor:
        """Return (B, out_channels, h, w).

        Raises:
            ValueError: h or w is not a multiple of `divisor`.
        """
        h, w = features_BChw.shape[2:]
        if h % self.divisor or w % self.divisor:
            raise ValueError(
                f"the hourglass got {w}x{h} pixels, wanted multiples of {self.divisor} (2^blocks); "
                "change the picture's size or the number of blocks"
            )
        skips = [features_BChw]
        for block in self.down_blocks:
            skips.append(block(skips[-1]))
        out = skips.pop()
        for block in self.up_blocks:
            out = torch.cat([block(out), skips.pop()], dim=1)
        return out


class AntiAlias(nn.Module):
    """Blur with a Gaussian, then keep every `factor`-th pixel from the first one on.

    sigma = (factor - 1) / 2 and 2 round(4 sigma) + 1 taps, zeros outside (FOMM release). EAMM's
    release fixes sigma = 1.5, which is that of factor 4.
    """

    weight: Tensor

    def __init__(self, channels: int, factor: int, sigma: float | None = None) -> None:
        super().__init__()
        sigma = (factor - 1) / 2 if sigma is None else sigma
        reach = round(4 * sigma)
        taps = torch.arange(-reach, reach + 1, dtype=torch.float32)
        profile = torch.exp(-taps.square() / (2 * sigma**2)) if sigma else torch.ones(1)
        kernel = profile[:, None] * profile
        kernel = (kernel / kernel.sum()).expand(channels, 1, -1, -1).clone()
        self.register_buffer("weight", kernel)
        self.factor = factor

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """Return (B, C, H / factor, W / factor)."""
        if self.factor == 1:
            return frames_BCHW
        kernel = self.weight
        padding = kernel.shape[-1] // 2
        C = frames_BCHW.shape[1]
        return F.conv2d(frames_BCHW, kernel, stride=self.factor, padding=padding, groups=C)


def coordinate_grid(h: int, w: int, like: Tensor) -> Tensor:
    """Return the (x, y) of every pixel, (h, w, 2), in [-1, 1] with both ends on pixel centres."""
    x, y = (torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) for n in (w, h))
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)], dim=-1)


def gaussians(value_BK2: Tensor, size: tuple[int, int], variance: float) -> Tensor:
    """Return a bump around each keypoint, exp(-|z - p|^2 / (2 variance)), (B, K, h, w)."""
    grid = coordinate_grid(*size, like=value_BK2)
    squares = (grid - value_BK2[:, :, None, None]).square().sum(dim=-1)
    return torch.exp(-0.5 * squares / variance)


def resize_bilinear(maps_BChw: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps at another size, (B, C, *size)."""
    if maps_BChw.shape[2:] == size:
        return maps_BChw
    return F.interpolate(maps_BChw, size=size, mode="bilinear", align_corners=False)


def resize_flow(flow_Bhw2: Tensor, size: tuple[int, int], aligned: bool) -> Tensor:
    """Return a flow at another size, (B, *size, 2).

    `aligned` keeps its ends on pixel centres, so that the identity stays the identity. The release
    does not: there the flow is resized like a picture, whose ends are the edges of pixels.
    """
    if flow_Bhw2.shape[1:3] == size:
        return flow_Bhw2
    maps = flow_Bhw2.permute(0, 3, 1, 2)
    resized = F.interpolate(maps, size=size, mode="bilinear", align_corners=aligned)
    return resized.permute(0, 2, 3, 1)
