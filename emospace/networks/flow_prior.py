"""Flow prior of HEF: where a face model says that 68 landmarks move, spread over the picture.

Ours, a switch that the paper does not have. Without it a small HEF spends its first thousands of
steps on the head's pose: every emotion gives one face, while its L1 error looks fine. With it the
expression moves from the first step, and the network learns what the face model does not know.

    d_n   = project(driving)_n - project(source)_n              how far landmark n moves
    f(z)  = - sum_n w_n(z) d_n / (c + sum_n w_n(z))             a backward flow
    w_n(z) = exp(-r^2 / 2 narrow^2) + share exp(-r^2 / 2 wide^2),  r = |z - (l_n + d_n)|

with l_n the source's landmarks. At a landmark the narrow bumps decide, between them the wide ones;
far from the face the constant c lets the flow end. The projected faces are those of the model's
mean identity: the people's own shapes cancel in the difference but for their part in a turn.

Places are (x, y) in [-1, 1] with the picture's edges at the ends (affekt/nets/places.py); motions
are of affekt/media/face3d/crop_pose.py. All of it is float32, under autocast too.

Letters: B pictures, N landmarks (68), E expression modes, M = 6 + E numbers of a motion, h, w
pixels.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from affekt.media.corpus import POSE_DIM
from affekt.media.face3d.model import FaceModel
from affekt.nets.places import bumps
from affekt.nets.precision import in_float32

FLOOR = 0.01  # c: 1/100 of a landmark's own weight
LARGEST = 64  # pixels a side at which the prior is computed; larger ones are interpolated
SMALL_TURN = 1e-8  # radians squared, below which a rotation's series is cut off


@dataclass(frozen=True)
class PriorConfig:
    """The two bumps of every landmark."""

    narrow: float = 0.035  # standard deviation, a share of the picture's side
    wide: float = 0.16
    share: float = 0.02  # height of the wide one; the narrow one's is 1


class FlowPrior(nn.Module):
    """Projected motion of a face model's landmarks, and the flow made of it."""

    mean: Tensor
    modes: Tensor

    def __init__(self, model: FaceModel, config: PriorConfig) -> None:
        super().__init__()
        self.config = config
        mean, modes = (torch.tensor(part).float() for part in (model.mean, model.expression))
        self.register_buffer("mean", mean, persistent=False)  # (N, 3)
        self.register_buffer("modes", modes, persistent=False)  # (E, N, 3)

    @in_float32
    def landmarks(self, motion_BM: Tensor) -> Tensor:
        """Return the mean identity's landmarks under these motions, (B, N, 2)."""
        pose, expression_BE = motion_BM[:, :POSE_DIM], motion_BM[:, POSE_DIM:]
        faces_BN3 = self.mean + torch.einsum("be,end->bnd", expression_BE, self.modes)
        plane_B23 = rotation_matrices(pose[:, :3])[:, :2]
        turned_BN2 = faces_BN3 @ plane_B23.transpose(1, 2)
        return pose[:, 3, None, None].exp() * turned_BN2 + pose[:, None, 4:6]

    def forward(
        self, source_BM: Tensor, driving_BM: Tensor, landmarks_BN2: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the landmarks where they come to lie, and how far they moved, (B, N, 2) each.

        Args:
            source_BM, driving_BM: motions of the source and of the driving frame.
            landmarks_BN2: the source's, as detected; None: as the face model has them.
        """
        start = self.landmarks(source_BM)
        moved_BN2 = self.landmarks(driving_BM) - start
        return (start if landmarks_BN2 is None else landmarks_BN2) + moved_BN2, moved_BN2

    def flow(self, places_BN2: Tensor, moved_BN2: Tensor, size: int) -> Tensor:
        """Return the backward flow at a size, (B, 2, size, size), in units of half the side."""
        found = min(size, LARGEST)
        flow_B2hw = spread(places_BN2, -moved_BN2, found, self.config)
        if size == found:
            return flow_B2hw
        return F.interpolate(flow_B2hw, size=(size, size), mode="bilinear", align_corners=False)


@in_float32
def spread(places_BN2: Tensor, values_BN2: Tensor, size: int, config: PriorConfig) -> Tensor:
    """Return numbers given at places, spread by two bumps each, (B, 2, size, size)."""
    shape = size, size
    weights_BNhw = bumps(places_BN2, shape, config.narrow)
    weights_BNhw = weights_BNhw + config.share * bumps(places_BN2, shape, config.wide)
    total_B1hw = weights_BNhw.sum(dim=1, keepdim=True)
    return torch.einsum("bnhw,bnc->bchw", weights_BNhw, values_BN2) / (FLOOR + total_B1hw)


@in_float32
def rotation_matrices(vectors_B3: Tensor) -> Tensor:
    """Return rotations (B, 3, 3) of rotation vectors, radians (Rodrigues)."""
    square = vectors_B3.square().sum(dim=1).clamp(min=SMALL_TURN)[:, None, None]
    angle = square.sqrt()
    x, y, z = vectors_B3.unbind(dim=1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).unflatten(1, (3, 3))
    unit = torch.eye(3, dtype=vectors_B3.dtype, device=vectors_B3.device)
    return unit + angle.sin() / angle * cross + (1 - angle.cos()) / square * (cross @ cross)
