"""FOMM's dense motion network: from two sets of keypoints to a backward flow and an occlusion map
(arXiv:2003.00196, Sec. 3.1 and 3.2).

Letters: B pictures, K keypoints, C channels, h, w pixels of the motion, H, W of the pictures.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from affekt.nets.precision import in_float32
from affekt.nets.warp import warp_by_grid
from eamm.fomm.blocks import AntiAlias, Hourglass, HourglassConfig, coordinate_grid, gaussians
from eamm.fomm.keypoints import Keypoints, invert


@dataclass(frozen=True)
class MotionConfig:
    """Sizes; the defaults are vox-256's."""

    hourglass: HourglassConfig = field(default_factory=lambda: HourglassConfig(64))
    downscale: int = 4  # the motion is found on a picture this much smaller
    variance: float = 0.01  # of the bumps that show the network where keypoints are
    kernel: int = 7  # of the heads' convolutions


class Motion(NamedTuple):
    """How the source moves to become the driving frame."""

    flow: Tensor  # (B, h, w, 2): where each pixel comes from, x and y in [-1, 1]
    occlusion: Tensor  # (B, 1, h, w) in [0, 1]: 0 where the source does not show what is needed
    mask: Tensor  # (B, K + 1, h, w): which motion holds where; the first is the background's
    sparse: Tensor  # (B, K + 1, 3, h, w): the source moved by each motion alone


class DenseMotion(nn.Module):
    """Combines one affine motion a keypoint, and none for the background, into a dense flow."""

    def __init__(self, count: int, config: MotionConfig, align_corners: bool) -> None:
        super().__init__()
        self.variance, self.align_corners = config.variance, align_corners
        self.down = AntiAlias(3, config.downscale)
        self.hourglass = Hourglass((count + 1) * 4, config.hourglass)
        channels, kernel = self.hourglass.out_channels, config.kernel
        self.mask = nn.Conv2d(channels, count + 1, kernel, padding=kernel // 2)
        self.occlusion = nn.Conv2d(channels, 1, kernel, padding=kernel // 2)

    def forward(self, source_BCHW: Tensor, source_kp: Keypoints, driving_kp: Keypoints) -> Motion:
        """Return the motion from source to driving keypoints."""
        return self.of_small(self.down(source_BCHW), source_kp, driving_kp)

    def of_small(self, small_SChw: Tensor, source_kp: Keypoints, driving_kp: Keypoints) -> Motion:
        """Return the motion of sources that are downscaled already; one serves all B frames."""
        B, (h, w) = len(driving_kp.value), small_SChw.shape[2:]
        motions = sparse_motions(source_kp, driving_kp, (h, w))
        sparse = self._moved(small_SChw.expand(B, -1, -1, -1), motions)
        shown = torch.cat([self._bumps(source_kp, driving_kp, (h, w)), sparse], dim=2)
        features = self.hourglass(shown.reshape(B, -1, h, w))
        mask, flow = self._combined(features, motions)
        return Motion(flow, self.occlusion(features).sigmoid(), mask, sparse)

    @in_float32
    def _combined(self, features_BChw: Tensor, motions_BMhw2: Tensor) -> tuple[Tensor, Tensor]:
        """Return which motion holds where, and the flow that follows."""
        mask = self.mask(features_BChw).softmax(dim=1)
        return mask, torch.einsum("bmhw,bmhwc->bhwc", mask, motions_BMhw2)

    def _moved(self, small_BChw: Tensor, motions_BMhw2: Tensor) -> Tensor:
        """Return the small source under every motion, (B, M, 3, h, w)."""
        B, M, h, w, _ = motions_BMhw2.shape
        many = small_BChw[:, None].expand(-1, M, -1, -1, -1).reshape(B * M, -1, h, w)
        moved = warp_by_grid(many, motions_BMhw2.reshape(B * M, h, w, 2), self.align_corners)
        return moved.reshape(B, M, -1, h, w)

    def _bumps(self, source_kp: Keypoints, driving_kp: Keypoints, size: tuple[int, int]) -> Tensor:
        """Return driving minus source bumps, nothing for the background, (B, K + 1, 1, h, w)."""
        driving, source = (
            gaussians(kp.value, size, self.variance) for kp in (driving_kp, source_kp)
        )
        bumps = driving - source
        return torch.cat([torch.zeros_like(bumps[:, :1]), bumps], dim=1)[:, :, None]


@in_float32
def sparse_motions(source_kp: Keypoints, driving_kp: Keypoints, size: tuple[int, int]) -> Tensor:
    """Return each keypoint's motion as a backward flow, the identity first, (B, K + 1, h, w, 2).

    T(z) = p_source + J_source J_driving^-1 (z - p_driving)         (eq. 4 of the paper)
    """
    grid = coordinate_grid(*size, like=driving_kp.value)
    linear = source_kp.jacobian @ invert(driving_kp.jacobian)
    offsets = grid - driving_kp.value[:, :, None, None]
    moved = torch.einsum("bkij,bkhwj->bkhwi", linear, offsets)
    moved = moved + source_kp.value[:, :, None, None]
    return torch.cat([grid.expand_as(moved[:, :1]), moved], dim=1)
