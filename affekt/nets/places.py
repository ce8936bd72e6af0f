"""Places in a picture, (x, y) in [-1, 1] with the picture's edges at the ends, and bumps there.

Unlike FOMM's grid, whose ends are pixel centres, these numbers mean the same spot at every
resolution: a flow that is upsampled needs no scaling, and a pose no size.

Letters: B pictures, N points, h, w pixels.
"""

import torch
from torch import Tensor

from affekt.nets.precision import in_float32


def pixel_centres(h: int, w: int, like: Tensor) -> Tensor:
    """Return the (x, y) of every pixel's centre, (h, w, 2), of the type and device of `like`."""
    x, y = (
        (torch.arange(n, dtype=like.dtype, device=like.device) + 0.5) * (2 / n) - 1 for n in (w, h)
    )
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)], dim=-1)


@in_float32
def bumps(places_BN2: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Return a Gaussian around each place, 1 at the place itself, (B, N, h, w).

    Args:
        places_BN2: (x, y) in [-1, 1].
        size: h and w.
        sigma: standard deviation, as a share of the picture's side.
    """
    x, y = (pixel_centres(*size, like=places_BN2)[..., axis] for axis in (0, 1))
    # Separable: two profiles of a side each, not the square's exponentials
    across, down = x[0] - places_BN2[..., 0, None], y[:, 0] - places_BN2[..., 1, None]
    wide = 2 * (2 * sigma) ** 2  # of [-1, 1], which is two sides long
    profiles = [torch.exp(-each.square() / wide) for each in (down, across)]
    return profiles[0][..., :, None] * profiles[1][..., None, :]
