"""FOMM's losses, by hand."""

import pytest
import torch
from torch import nn

from affekt.nets.gan import DiscriminatorOutput
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.losses import (
    discriminator_loss,
    equivariance_jacobian,
    equivariance_value,
    generator_loss,
    keypoint_weights,
    landmark_distance,
    perceptual,
    pixels,
)
from eamm.fomm.transform import Transform

# x -> 2x + 0.5, y -> y - 0.25, no spline
DOUBLE = Transform(
    torch.tensor([[[2.0, 0, 0.5], [0, 1, -0.25]]]), torch.zeros(1, 2), torch.zeros(1, 1)
)


class Levels(nn.Module):
    """Stands for VGG: the picture, and three times it."""

    def forward(self, frames):
        return [frames, 3 * frames]


def test_the_perceptual_loss_sums_means_over_levels_and_scales():
    made = {1: torch.full((2, 3, 4, 4), 0.5), 2: torch.zeros(2, 3, 2, 2)}
    real = {1: torch.zeros(2, 3, 4, 4), 2: torch.full((2, 3, 2, 2), 0.25)}
    # scale 1: 0.5 + 1.5; scale 2: 0.25 + 0.75
    assert perceptual(Levels(), made, real).item() == pytest.approx(3)
    assert pixels(made, real).item() == pytest.approx(0.75)


def test_the_perceptual_loss_teaches_the_prediction_alone():
    made, real = (torch.rand(1, 3, 4, 4, requires_grad=True) for _ in range(2))
    perceptual(Levels(), {1: made}, {1: real}).backward()
    assert made.grad.abs().sum() > 0
    assert real.grad is None


def test_equivariance_of_places_by_hand():
    driving = Keypoints(torch.tensor([[[1.0, 0.0]]]), torch.eye(2)[None, None])
    warped = Keypoints(torch.tensor([[[0.5, 0.5]]]), torch.eye(2)[None, None])
    # T(0.5, 0.5) = (1.5, 0.25): mean of 0.5 and 0.25
    assert equivariance_value(driving, warped, DOUBLE).item() == pytest.approx(0.375)


def test_equivariance_of_local_frames_by_hand():
    driving = Keypoints(torch.zeros(1, 1, 2), torch.tensor([[[[4.0, 0.0], [0.0, 1.0]]]]))
    warped = Keypoints(torch.zeros(1, 1, 2), torch.tensor([[[[1.0, 0.0], [2.0, 1.0]]]]))
    # T' J' = [[2, 0], [2, 1]]; J^-1 of it = [[0.5, 0], [2, 1]]; less 1: 0.5, 0, 2, 0
    assert equivariance_jacobian(driving, warped, DOUBLE).item() == pytest.approx(2.5 / 4)


def test_keypoints_that_move_with_the_picture_cost_nothing_and_others_do():
    bent = Transform(DOUBLE.affine, torch.tensor([[0.5, 0.25]]), torch.tensor([[0.5]]))
    warped = Keypoints(torch.rand(1, 5, 2), torch.randn(1, 5, 2, 2) + 2 * torch.eye(2))
    driving = Keypoints(bent.points(warped.value), bent.jacobian(warped.value) @ warped.jacobian)
    assert equivariance_value(driving, warped, bent).item() == pytest.approx(0, abs=1e-6)
    assert equivariance_jacobian(driving, warped, bent).item() == pytest.approx(0, abs=1e-5)
    assert equivariance_value(driving, warped, DOUBLE) > 1e-2
    assert equivariance_jacobian(driving, warped, DOUBLE) > 1e-2


def output(logit, *features):
    maps = [torch.full((1, 2), value) for value in features]
    return DiscriminatorOutput(maps, torch.full((1, 1, 2, 2), logit))


def test_the_least_squares_game_by_hand():
    generated, real = [output(0.5, 0.0), output(2.0, 0.0)], [output(0.75, 0.0), output(1.0, 0.0)]
    assert generator_loss(real, generated)["gan"].item() == pytest.approx(0.25 + 1)
    # first scale: 1/16 + 1/4; second: 0 + 4
    assert discriminator_loss(real, generated).item() == pytest.approx(0.3125 + 4)


def test_feature_matching_sums_layers_and_scales():
    real, made = [output(0.0, 1.0, 2.0)], [output(9.0, 0.5, 4.0)]
    assert generator_loss(real, made)["feature_matching"].item() == pytest.approx(2.5)
    assert generator_loss(2 * real, 2 * made)["feature_matching"].item() == pytest.approx(5)


def test_landmarks_supervise_places_and_leave_local_frames_alone():
    jacobian = torch.randn(1, 2, 2, 2, requires_grad=True)
    value = torch.tensor([[[0.0, 1.0], [0.5, 0.5]]], requires_grad=True)
    loss = landmark_distance(Keypoints(value, jacobian), torch.tensor([[[0.5, 1.0], [0.5, -1.0]]]))
    assert loss.item() == pytest.approx((0.5 + 1.5) / 4)
    loss.backward()
    assert jacobian.grad is None


def test_pixels_near_a_place_count_more():
    pictures = {1: torch.zeros(1, 3, 9, 9), 2: torch.zeros(1, 3, 5, 5)}
    weights = keypoint_weights(torch.tensor([[[0.0, 0.0], [1.0, -1.0]]]), pictures, extra=3.0)
    for factor, size in ((1, 9), (2, 5)):
        assert weights[factor].shape == (1, 1, size, size)
        assert weights[factor][0, 0, size // 2, size // 2].item() == pytest.approx(4)
        assert weights[factor][0, 0, 0, -1].item() == pytest.approx(4)
        assert weights[factor][0, 0, -1, 0].item() == pytest.approx(1)
    wrong = {factor: frames.clone() for factor, frames in pictures.items()}
    wrong[1][0, 1, 4, 4] = 1.0
    assert pixels(wrong, pictures).item() == pytest.approx(1 / 243)
    assert pixels(wrong, pictures, weights).item() == pytest.approx(4 / 243)
