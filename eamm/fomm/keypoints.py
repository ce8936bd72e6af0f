"""FOMM's keypoint detector: unsupervised keypoints with local affine frames (arXiv:2003.00196,
Sec. 3.1 and appendix A.1).

Letters: B pictures, K keypoints, C channels, h, w pixels of a feature map, H, W of a picture.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from affekt.nets.precision import in_float32
from eamm.fomm.blocks import AntiAlias, Hourglass, HourglassConfig, coordinate_grid


class Keypoints(NamedTuple):
    """Keypoints and the local affine frame around each; further leading axes are allowed."""

    value: Tensor  # (B, K, 2): x, y in [-1, 1]
    jacobian: Tensor  # (B, K, 2, 2)


@dataclass(frozen=True)
class KeypointConfig:
    """Sizes; the defaults are vox-256's."""

    count: int = 10  # K
    hourglass: HourglassConfig = field(default_factory=lambda: HourglassConfig(32))
    temperature: float = 0.1  # of the softmax over a heatmap
    downscale: int = 4  # the picture is made this much smaller first
    kernel: int = 7  # of the heads' convolutions, without padding

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}, wanted an odd number")


class KeypointHeads(nn.Module):
    """Two convolutions on a feature map: a heatmap a keypoint, and its jacobian."""

    def __init__(self, in_channels: int, config: KeypointConfig) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.kp = nn.Conv2d(in_channels, config.count, config.kernel)
        self.jacobian = nn.Conv2d(in_channels, 4 * config.count, config.kernel)
        nn.init.zeros_(self.jacobian.weight)  # every local frame begins as the identity
        assert self.jacobian.bias is not None
        identity = torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(config.count)
        self.jacobian.bias.data.copy_(identity)

    @in_float32
    def forward(self, features_BChw: Tensor) -> tuple[Keypoints, Tensor]:
        """Return the keypoints and their heatmaps (B, K, h - kernel + 1, w - kernel + 1)."""
        logits = self.kp(features_BChw)
        B, K, h, w = logits.shape
        heatmap = (logits.flatten(2) / self.temperature).softmax(dim=2)
        grid = coordinate_grid(h, w, like=heatmap).reshape(h * w, 2)
        jacobians = self.jacobian(features_BChw).reshape(B, K, 4, h * w)
        # Sums, not products of matrices: the latter lose a digit over the map's pixels, which a
        # picture's edge, where it is cut to zero, shows as 1e-4 of its range.
        value = (heatmap[:, :, None] * grid.T).sum(dim=-1)
        jacobian = (heatmap[:, :, None] * jacobians).sum(dim=-1).reshape(B, K, 2, 2)
        return Keypoints(value, jacobian), heatmap.reshape(B, K, h, w)


class KeypointDetector(nn.Module):
    """Frames to keypoints."""

    def __init__(self, config: KeypointConfig) -> None:
        super().__init__()
        self.down = AntiAlias(3, config.downscale)
        self.hourglass = Hourglass(3, config.hourglass)
        self.heads = KeypointHeads(self.hourglass.out_channels, config)

    def forward(self, frames_BCHW: Tensor) -> Keypoints:
        """Return the keypoints of frames (B, 3, H, W) in [0, 1]."""
        return self.with_heatmap(frames_BCHW)[0]

    def with_heatmap(self, frames_BCHW: Tensor) -> tuple[Keypoints, Tensor]:
        """Return the keypoints and their heatmaps (B, K, h, w), each of which sums to 1."""
        return self.heads(self.features(frames_BCHW))

    def features(self, frames_BCHW: Tensor) -> Tensor:
        """Return the hourglass's feature map, which A2FD's decoder predicts."""
        return self.hourglass(self.down(frames_BCHW))


@in_float32
def invert(jacobian: Tensor) -> Tensor:
    """Return the inverses of 2x2 matrices (..., 2, 2)."""
    a, b, c, d = jacobian.flatten(-2).unbind(-1)
    adjugate = torch.stack([d, -b, -c, a], dim=-1).unflatten(-1, (2, 2))
    return adjugate / (a * d - b * c)[..., None, None]
