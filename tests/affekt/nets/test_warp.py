"""Pictures follow their flow, and flows join as the motions they stand for do."""

import cv2
import numpy as np
import pytest
import torch

from affekt.nets.warp import compose_flows, warp_by_flow
from tests.corpora.slow_warp import moved_slowly


def uniform(right, down, H=7, W=9):
    return torch.tensor([right, down], dtype=torch.float64)[:, None, None].expand(2, H, W)


def test_a_flow_of_whole_pixels_moves_each_picture_and_the_border_goes_on():
    pictures = torch.rand(3, 2, 7, 9, dtype=torch.float64)
    steps = [(2, -1), (0, 3), (-40, 60)]
    moved = warp_by_flow(pictures, torch.stack([uniform(*step) for step in steps]))
    for picture, result, (right, down) in zip(pictures, moved, steps, strict=True):
        rows = (torch.arange(7) + down).clamp(0, 6)
        columns = (torch.arange(9) + right).clamp(0, 8)
        torch.testing.assert_close(result, picture[:, rows[:, None], columns])


def test_each_pixel_has_a_flow_of_its_own():
    picture = torch.rand(2, 6, 8, dtype=torch.float64)
    flow = 3 * torch.randn(2, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(
        warp_by_flow(picture[None], flow[None])[0], moved_slowly(picture, flow)
    )


def test_parts_of_pixels_are_as_opencv_has_them():
    rng = np.random.default_rng(0)
    picture = rng.random((12, 17, 3)).astype(np.float32)
    flow = (rng.integers(-100, 100, (12, 17, 2)) / 32).astype(np.float32)  # OpenCV's steps
    rows, columns = np.indices((12, 17), dtype=np.float32)
    places = columns + flow[..., 0], rows + flow[..., 1]
    wanted = cv2.remap(picture, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    pictures, flows = (torch.from_numpy(each).permute(2, 0, 1)[None] for each in (picture, flow))
    found = warp_by_flow(pictures, flows)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_gradient_of_a_slope_is_the_slope_and_nothing_beyond_the_border():
    rows, columns = torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij")
    slope = (3 * columns - 5 * rows)[None, None]
    flow = torch.full((1, 2, 7, 9), 0.25, requires_grad=True)
    warp_by_flow(slope, flow).sum().backward()
    inside = flow.grad[0, :, :-1, :-1]
    torch.testing.assert_close(inside, torch.tensor([3.0, -5.0])[:, None, None].expand(2, 6, 8))
    assert (flow.grad[0, 0, :, -1] == 0).all()
    assert (flow.grad[0, 1, -1] == 0).all()


def test_a_picture_of_one_pixel_stays():
    assert warp_by_flow(torch.full((1, 1, 1, 1), 5.0), torch.ones(1, 2, 1, 1)).item() == 5


@pytest.mark.parametrize("seed", [0, 1])
def test_joined_flows_of_two_maps_are_the_flow_of_one_after_the_other(seed):
    """Linear maps are followed exactly, but for the border."""
    maps = torch.eye(2, dtype=torch.float64) + 0.1 * torch.randn(
        2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    rows, columns = torch.meshgrid(torch.arange(-8.0, 9), torch.arange(-8.0, 9), indexing="ij")
    places = torch.stack([columns, rows]).double().flatten(1)

    def flow(matrix):
        return (matrix @ places - places).reshape(1, 2, 17, 17)

    later, earlier = maps
    found = compose_flows(flow(later), flow(earlier))
    inner = slice(4, -4)
    wanted = flow(earlier @ later)
    torch.testing.assert_close(found[..., inner, inner], wanted[..., inner, inner])
    assert (found - flow(later @ earlier))[..., inner, inner].abs().max() > 1e-3
