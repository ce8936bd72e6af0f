"""Warp pictures by a backward flow, in pixels or in normalised coordinates, and compose flows.

A backward flow in pixels gives, for every pixel of a frame, the step to where it lay in another
frame, x to the right, then y down (vid2vid, arXiv:1808.06601, Sec. 3.1). A sampling grid gives that
place itself, (x, y) in [-1, 1] (FOMM, arXiv:2003.00196, Sec. 3.2).

All of it is computed in float32, under autocast too.

Dimension letters: B pictures, C channels, H, W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from affekt.nets.precision import in_float32


@in_float32
def warp_by_flow(pictures_BCHW: Tensor, flow_B2HW: Tensor) -> Tensor:
    """Return pictures sampled bilinearly at each pixel plus its flow; the border is repeated."""
    H, W = flow_B2HW.shape[-2:]
    columns = torch.arange(W, device=flow_B2HW.device, dtype=flow_B2HW.dtype)
    rows = torch.arange(H, device=flow_B2HW.device, dtype=flow_B2HW.dtype)[:, None]
    x = (columns + flow_B2HW[:, 0]) * (2 / max(W - 1, 1)) - 1
    y = (rows + flow_B2HW[:, 1]) * (2 / max(H - 1, 1)) - 1
    grid_BHW2 = torch.stack([x, y], dim=-1)
    return warp_by_grid(pictures_BCHW, grid_BHW2, align_corners=True, padding="border")


@in_float32
def warp_by_grid(
    pictures_BChw: Tensor, grid_BHW2: Tensor, align_corners: bool, padding: str = "zeros"
) -> Tensor:
    """Return pictures sampled bilinearly at the places of a grid, (B, C, H, W).

    The grid's ends are pixel centres, so only `align_corners=True` leaves a picture untouched
    under the identity grid; False (torch's default since 1.3) darkens its border.
    """
    return F.grid_sample(
        pictures_BChw, grid_BHW2, padding_mode=padding, align_corners=align_corners
    )


@in_float32
def compose_flows(flow_B2HW: Tensor, earlier_B2HW: Tensor) -> Tensor:
    """Return the flow from frame t to t - 2, of the flows from t to t - 1 and from t - 1 to t - 2.

    w(z) + w'(z + w(z)), at every pixel z.
    """
    return flow_B2HW + warp_by_flow(earlier_B2HW, flow_B2HW)
