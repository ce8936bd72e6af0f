"""Pictures moved along optical flow, and flows joined (vid2vid, arXiv:1808.06601, Sec. 3.1).

A backward flow says of every pixel of a frame where it lay in another one: x to the right, then y
down, in pixels. Dimension letters: B pictures, C channels, H, W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def warped(pictures_BCHW: Tensor, flow_B2HW: Tensor) -> Tensor:
    """Return pictures sampled where the flow points, bilinearly; outside, the border goes on."""
    H, W = flow_B2HW.shape[-2:]
    right = torch.arange(W, device=flow_B2HW.device, dtype=flow_B2HW.dtype)
    lower = torch.arange(H, device=flow_B2HW.device, dtype=flow_B2HW.dtype)[:, None]
    x = (right + flow_B2HW[:, 0]) * (2 / max(W - 1, 1)) - 1
    y = (lower + flow_B2HW[:, 1]) * (2 / max(H - 1, 1)) - 1
    places = torch.stack([x, y], dim=-1)
    return F.grid_sample(pictures_BCHW, places, padding_mode="border", align_corners=True)


def joined(flow_B2HW: Tensor, earlier_B2HW: Tensor) -> Tensor:
    """Return the flow to the frame before the last, of the flow to the last and the last one's."""
    return flow_B2HW + warped(earlier_B2HW, flow_B2HW)
