import math

import pytest
import torch

from evp.losses import (
    classification,
    content_spread,
    distance,
    normalised,
    velocity,
)


@pytest.mark.parametrize(
    ("norm", "reduction", "by_hand"),
    [
        # Two samples of four numbers, off by (3, 4, 0, 0) and (0, 0, 0, 2).
        ("l1", "sample", (7 + 2) / 2),
        ("l2", "sample", (5 + 2) / 2),
        ("l2_squared", "sample", (25 + 4) / 2),
        ("l1", "element", (7 / 4 + 2 / 4) / 2),
        ("l2", "element", (5 / 2 + 2 / 2) / 2),
        ("l2_squared", "element", (25 / 4 + 4 / 4) / 2),
    ],
)
def test_a_distance_is_the_norm_of_each_sample_averaged_over_the_batch(norm, reduction, by_hand):
    target = torch.randn(2, 2, 2)
    off = torch.tensor([[[3.0, -4.0], [0, 0]], [[0, 0], [0, 2.0]]])
    torch.testing.assert_close(
        distance(target + off, target, norm, reduction), torch.tensor(by_hand)
    )


def test_the_gradient_of_no_distance_is_zero_and_not_nan():
    window = torch.ones(1, 3, requires_grad=True)
    distance(window, torch.ones(1, 3), "l2", "sample").backward()
    assert window.grad.tolist() == [[0, 0, 0]]


def test_classification_is_the_mean_cross_entropy():
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    by_hand = (math.log(2) - math.log(3 / 4)) / 2
    torch.testing.assert_close(classification(logits, torch.tensor([1, 0])), torch.tensor(by_hand))


def test_smoothing_takes_a_share_from_the_label_and_gives_it_to_all():
    logits = torch.tensor([[math.log(3.0), 0.0]])  # chances 3/4 and 1/4
    by_hand = -(0.9 * math.log(3 / 4) + 0.1 * math.log(1 / 4))  # 0.2 shared by two labels
    loss = classification(logits, torch.tensor([0]), smoothing=0.2)
    torch.testing.assert_close(loss, torch.tensor(by_hand))


def test_collapsed_codes_have_no_spread():
    assert content_spread(torch.ones(4, 3)) == 0
    codes = torch.tensor([[0.0, 1.0], [2.0, 1.0]])  # deviations sqrt(2) and 0
    torch.testing.assert_close(content_spread(codes), torch.tensor(math.sqrt(2) / 2))


def test_shrinking_codes_lowers_the_content_loss_but_not_its_guarded_form():
    same, different = torch.tensor(3.0), torch.tensor(4.0)
    torch.testing.assert_close(normalised(same, different), torch.tensor(0.75))
    torch.testing.assert_close(
        normalised(same / 100, different / 100), torch.tensor(0.75), rtol=1e-3, atol=0
    )


def test_velocity_sees_jitter_and_not_a_constant_shift():
    target = torch.zeros(2, 6, 4)
    shifted = target + 0.5
    jittered = target + 0.5 * torch.tensor([1.0, -1.0]).repeat(3)[None, :, None]
    assert velocity(shifted, target, "l1", "element") == 0
    torch.testing.assert_close(velocity(jittered, target, "l1", "element"), torch.tensor(1.0))
