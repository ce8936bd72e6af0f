"""Random warps of the equivariance constraint: an affine map and a thin-plate spline
(FOMM, arXiv:2003.00196, Sec. 3.1, "Equivariance constraint"; constants of its release).

Letters: B pictures, N points, P control points, H, W pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from affekt.nets.precision import in_float32
from affekt.nets.warp import warp_by_grid
from eamm.fomm.blocks import coordinate_grid

EPSILON = 1e-6  # in the logarithm


@dataclass(frozen=True)
class TransformConfig:
    """How strong the warps are."""

    affine_sigma: float = 0.05  # standard deviation of the affine map's six numbers
    tps_sigma: float = 0.005  # of the control points' weights; 0 leaves the spline out
    points: int = 5  # control points a side


@dataclass(frozen=True)
class Transform:
    """One warp a picture: T(z) = A z + b + sum_i w_i r_i^2 log(r_i + 1e-6), r the L1 distance.

    The spline adds one and the same number to x and y, and its r is the L1 distance, as in the
    release. A frame is warped by looking up T(z) at z, so T maps the warped frame's coordinates to
    the frame's: keypoints of the warped frame, mapped by T, must be those of the frame.
    """

    affine: Tensor  # (B, 2, 3)
    control: Tensor  # (P, 2)
    weights: Tensor  # (B, P)

    @in_float32
    def points(self, points_BN2: Tensor) -> Tensor:
        """Return T of points, (B, N, 2)."""
        linear = points_BN2 @ self.affine[:, :, :2].transpose(1, 2) + self.affine[:, None, :, 2]
        r = self._distances(points_BN2)
        bent = (self.weights[:, None] * r.square() * (r + EPSILON).log()).sum(dim=2, keepdim=True)
        return linear + bent

    @in_float32
    def jacobian(self, points_BN2: Tensor) -> Tensor:
        """Return dT/dz at points, (B, N, 2, 2), in closed form."""
        r = self._distances(points_BN2)
        slope = 2 * r * (r + EPSILON).log() + r.square() / (r + EPSILON)
        signs = (points_BN2[:, :, None] - self.control).sign()  # (B, N, P, 2)
        bent = torch.einsum("bp,bnp,bnpi->bni", self.weights, slope, signs)
        return self.affine[:, None, :, :2] + bent[:, :, None]

    @in_float32
    def frames(self, frames_BCHW: Tensor, align_corners: bool) -> Tensor:
        """Return the warped frames, reflected at their borders, (B, C, H, W)."""
        B, _, H, W = frames_BCHW.shape
        grid = coordinate_grid(H, W, like=frames_BCHW).reshape(1, H * W, 2).expand(B, -1, -1)
        flow = self.points(grid).reshape(B, H, W, 2)
        return warp_by_grid(frames_BCHW, flow, align_corners, padding="reflection")

    def _distances(self, points_BN2: Tensor) -> Tensor:
        return (points_BN2[:, :, None] - self.control).abs().sum(dim=-1)


def random_transform(batch: int, config: TransformConfig, like: Tensor) -> Transform:
    """Return a random warp for each picture, from torch's generator of that device."""
    normal = torch.randn((batch, 2, 3), dtype=like.dtype, device=like.device)
    affine = torch.eye(2, 3, dtype=like.dtype, device=like.device) + config.affine_sigma * normal
    control = coordinate_grid(config.points, config.points, like).reshape(-1, 2)
    weights = torch.randn((batch, len(control)), dtype=like.dtype, device=like.device)
    return Transform(affine, control, config.tps_sigma * weights)
