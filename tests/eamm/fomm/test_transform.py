"""The random warps of the equivariance losses."""

import pytest
import torch

from eamm.fomm.blocks import gaussians
from eamm.fomm.keypoints import KeypointConfig, KeypointHeads
from eamm.fomm.losses import equivariance_value
from eamm.fomm.transform import Transform, TransformConfig, random_transform


@pytest.fixture
def transform():
    return random_transform(3, TransformConfig(tps_sigma=0.05), torch.zeros(1, dtype=torch.float64))


def test_the_jacobian_is_autograds(transform):
    points = torch.rand(3, 7, 2, dtype=torch.float64) * 2 - 1
    closed = transform.jacobian(points)
    for b in range(3):
        one = Transform(
            transform.affine[b : b + 1], transform.control, transform.weights[b : b + 1]
        )
        for n in range(7):
            slope = torch.autograd.functional.jacobian(
                lambda z, one=one: one.points(z[None, None])[0, 0], points[b, n]
            )
            assert torch.allclose(closed[b, n], slope, atol=1e-9)
    assert (closed[:, :, 0, 1] - transform.affine[:, None, 0, 1]).abs().max() > 1e-3  # it bends


def test_the_spline_adds_one_number_to_x_and_y():
    one = Transform(torch.eye(2, 3)[None], torch.tensor([[0.5, 0.0]]), torch.tensor([[2.0]]))
    moved = one.points(torch.zeros(1, 1, 2))[0, 0]
    # r = 0.5 (L1): 2 * 0.25 * log(0.5)
    assert moved.tolist() == pytest.approx([-0.3466, -0.3466], abs=1e-4)
    far = one.points(torch.tensor([[[-0.5, 1.0]]]))[0, 0]
    assert far.tolist() == pytest.approx([-0.5 + 8 * 0.693147, 1 + 8 * 0.693147], abs=1e-4)


def test_a_warped_frame_shows_at_z_what_the_frame_shows_at_t_of_z():
    place = torch.tensor([[[0.25, -0.25]]])
    shift = torch.tensor([[[1.0, 0.0, 0.25], [0.0, 1.0, -0.125]]])
    transform = Transform(shift, torch.zeros(1, 2), torch.zeros(1, 1))
    frames = gaussians(transform.points(place), (65, 65), 0.01)
    warped = transform.frames(frames, align_corners=True)
    wanted = gaussians(place, (65, 65), 0.01)
    inside = slice(0, 49)  # further right the border's reflection is seen
    assert torch.allclose(warped[..., inside], wanted[..., inside], atol=1e-4)


def test_a_detector_that_follows_its_bump_is_equivariant():
    heads = KeypointHeads(1, KeypointConfig(1, kernel=1, temperature=0.02))
    with torch.no_grad():
        heads.kp.weight.fill_(1)
    frames = gaussians(torch.rand(4, 1, 2) - 0.5, (65, 65), 0.02)
    transform = random_transform(4, TransformConfig(), frames)
    driving, warped = (heads(f)[0] for f in (frames, transform.frames(frames, True)))
    right = equivariance_value(driving, warped, transform)
    assert right < 5e-3
    still = Transform(torch.eye(2, 3).expand(4, 2, 3), transform.control, 0 * transform.weights)
    assert equivariance_value(driving, warped, still) > 3 * right


def test_frames_are_reflected_at_their_border():
    shift = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])  # a quarter of the width
    ramp = torch.arange(9.0).expand(1, 1, 9, 9)
    warped = Transform(shift, torch.zeros(1, 2), torch.zeros(1, 1)).frames(ramp, True)
    assert warped[0, 0, 4].tolist() == pytest.approx([2, 3, 4, 5, 6, 7, 8, 7, 6], abs=1e-4)


def test_draws_are_as_strong_as_configured():
    drawn = random_transform(4000, TransformConfig(), torch.zeros(1))
    assert (drawn.affine - torch.eye(2, 3)).std().item() == pytest.approx(0.05, rel=0.03)
    assert drawn.weights.std().item() == pytest.approx(0.005, rel=0.03)
    assert drawn.control.shape == (25, 2)
    assert drawn.control[[0, 24]].tolist() == [[-1, -1], [1, 1]]
