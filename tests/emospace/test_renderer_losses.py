"""Losses of HEF against numbers worked out by hand."""

import pytest
import torch

from emospace.losses import (
    flow_anchors,
    perceptual_distance,
    pixel_distance,
    pixel_weights,
    pyramid,
    warped_distance,
)


def flat(value, side=4):
    return torch.full((1, 3, side, side), float(value))


def test_a_pyramid_holds_block_means():
    picture = torch.arange(16.0).reshape(1, 1, 4, 4)
    found = pyramid(picture, (1, 2, 4))
    assert torch.equal(found[1], picture)
    assert found[2][0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert found[4].item() == 7.5


def test_pixel_distance_is_the_mean_over_scales_of_weighted_differences():
    one, other = pyramid(flat(0.5), (1, 2)), pyramid(flat(0.2), (1, 2))
    assert float(pixel_distance(one, other)) == pytest.approx(0.3)
    weights = {1: torch.full((1, 1, 4, 4), 2.0), 2: torch.full((1, 1, 2, 2), 4.0)}
    assert float(pixel_distance(one, other, weights)) == pytest.approx((0.6 + 1.2) / 2)


def test_pixels_count_more_at_landmarks_and_inside_the_lips():
    mouth = torch.zeros(1, 1, 8, 8)
    mouth[..., 6, 2] = 1
    landmarks = torch.tensor([[[0.125, -0.375]]])  # the centre of pixel (2, 4)
    weights = pixel_weights(landmarks, mouth, 8.0, 15.0)[0, 0]
    assert float(weights[2, 4]) == pytest.approx(9)
    assert float(weights[6, 2]) == pytest.approx(16, abs=1e-3)
    assert float(weights[0, 0]) == pytest.approx(1, abs=1e-3)
    large = pixel_weights(landmarks, torch.zeros(1, 1, 128, 128), 8.0, 0.0)
    assert large.shape == (1, 1, 128, 128)
    assert 7.5 < float(large.max()) <= 9


def test_warped_portraits_are_compared_at_their_own_size():
    target = flat(0.0)
    target[..., :2] = 1.0
    warped = [flat(0.5, side=2), flat(0.0)]  # 0.5 off everywhere; 1 off on a half
    assert float(warped_distance(warped, target)) == pytest.approx(0.5)
    weights = torch.ones(1, 1, 4, 4)
    weights[..., :2] = 3.0
    assert float(warped_distance(warped, target, weights)) == pytest.approx((1.0 + 1.5) / 2)


def test_an_anchored_flow_leads_from_the_frame_back_to_the_source():
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = -0.2
    driving = torch.tensor([[[0.1, 0.3], [-0.5, 0.0]]])
    assert float(flow_anchors(flow, driving, driving - torch.tensor([0.2, 0.0]))) < 1e-6
    away = float(flow_anchors(flow, driving, driving))
    assert away == pytest.approx(0.1)  # 0.2 across, 0 down


def test_perceptual_distance_sums_layers_and_averages_scales():
    def features(pictures):
        return [pictures, 2 * pictures.mean(dim=(2, 3))]

    made = flat(0.5).requires_grad_()
    found = perceptual_distance(features, pyramid(made, (1, 2)), pyramid(flat(0.2), (1, 2)))
    assert found.item() == pytest.approx(0.3 + 0.6)
    found.backward()
    assert made.grad.abs().min() > 0
