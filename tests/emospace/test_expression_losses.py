"""EAC's losses against numbers worked out by hand."""

import numpy as np
import pytest
import torch

from emospace.losses import (
    ExpressionLossConfig,
    coefficient_distance,
    coefficient_velocity,
    expression_losses,
    landmark_displacement,
)

# One window of three frames and two modes; the second mode counts in units of 2
TRUTH = torch.tensor([[[0.0, 0.0], [1.0, 2.0], [1.0, 4.0]]])
PREDICTED = torch.tensor([[[1.0, 0.0], [1.0, 4.0], [0.0, 4.0]]])
STD = torch.tensor([1.0, 2.0])


def test_the_distance_counts_every_mode_in_its_own_deviation():
    by_hand = (1 + 0 + 0 + 2 / 2 + 1 + 0) / 6
    torch.testing.assert_close(coefficient_distance(PREDICTED, TRUTH, STD), torch.tensor(by_hand))


def test_the_velocity_compares_steps_and_a_single_frame_has_none():
    steps_of_truth = [(1, 2 / 2), (0, 2 / 2)]
    steps_of_prediction = [(0, 4 / 2), (-1, 0)]
    apart = np.abs(np.subtract(steps_of_truth, steps_of_prediction))
    found = coefficient_velocity(PREDICTED, TRUTH, STD)
    torch.testing.assert_close(found, torch.tensor(apart.mean(), dtype=torch.float32))
    assert coefficient_velocity(PREDICTED[:, :1], TRUTH[:, :1], STD) == 0
    assert coefficient_velocity(TRUTH + 5, TRUTH, STD) == 0  # a shift moves alike


def test_landmarks_are_moved_by_the_difference_of_coefficients():
    """Mode 0 moves point 0 by (3, 4, 0), mode 1 moves point 1 by (0, 0, 1); two points."""
    modes = torch.zeros(2, 2, 3)
    modes[0, 0] = torch.tensor([3.0, 4.0, 0.0])
    modes[1, 1] = torch.tensor([0.0, 0.0, 1.0])
    # frames differ by (1, 0), (0, 2), (-1, 0): 5 of point 0, 2 of point 1, 5 of point 0
    by_hand = (5 + 2 + 5) / (3 * 2)
    found = landmark_displacement(PREDICTED, TRUTH, modes)
    torch.testing.assert_close(found, torch.tensor(by_hand))


def test_a_face_that_is_right_has_a_gradient_of_0():
    predicted = TRUTH.clone().requires_grad_()
    landmark_displacement(predicted, TRUTH, torch.ones(2, 4, 3)).backward()
    assert torch.equal(predicted.grad, torch.zeros_like(TRUTH))


def test_terms_are_those_with_a_weight():
    modes = torch.ones(2, 4, 3)
    every = expression_losses(PREDICTED, TRUTH, STD, modes, ExpressionLossConfig())
    assert [*every] == ["coefficients", "landmarks", "velocity"]
    without = ExpressionLossConfig(landmarks=0.0, velocity=0.0)
    assert [*expression_losses(PREDICTED, TRUTH, STD, None, without)] == ["coefficients"]
    with pytest.raises(ValueError, match="wanted none below 0 and one above"):
        ExpressionLossConfig(0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="wanted none below 0"):
        ExpressionLossConfig(velocity=-1.0)
