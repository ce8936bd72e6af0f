"""Losses against numbers worked out by hand."""

import math

import pytest
import torch

from affekt.nets.gan import DiscriminatorOutput
from evp.losses import (
    classification,
    content_spread,
    discriminator_loss,
    distance,
    flow_distance,
    generator_loss,
    normalised,
    reconstruction,
    velocity,
    vgg_distance,
    warp_distance,
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
    found = distance(target + off, target, norm, reduction)
    torch.testing.assert_close(found, torch.tensor(by_hand))


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
    small = normalised(same / 100, different / 100)
    torch.testing.assert_close(small, torch.tensor(0.75), rtol=1e-3, atol=0)


def test_velocity_sees_jitter_and_not_a_constant_shift():
    target = torch.zeros(2, 6, 4)
    shifted = target + 0.5
    jittered = target + 0.5 * torch.tensor([1.0, -1.0]).repeat(3)[None, :, None]
    assert velocity(shifted, target, "l1", "element") == 0
    torch.testing.assert_close(velocity(jittered, target, "l1", "element"), torch.tensor(1.0))


# Renderer


def test_reconstruction_is_a_norm_of_each_frame():
    target = torch.zeros(2, 3, 1, 4)
    generated = target.clone()
    generated[0] += 0.5  # 12 values: norm 0.5 sqrt 12, rms 0.5, mse 0.25
    generated[1, 0, 0, 0] = 1  # norm 1, rms 1 / sqrt 12, mse 1 / 12
    root = 12**0.5
    for reduction, by_hand in (
        ("norm", (0.5 * root + 1) / 2),
        ("rms", (0.5 + 1 / root) / 2),
        ("mse", (0.25 + 1 / 12) / 2),
    ):
        loss = reconstruction(generated, target, reduction)
        torch.testing.assert_close(loss, torch.tensor(by_hand), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["norm", "rms", "mse"])
def test_a_perfect_frame_has_no_gradient_and_no_nan(reduction):
    frame = torch.ones(1, 3, 2, 2, requires_grad=True)
    reconstruction(frame, torch.ones(1, 3, 2, 2), reduction).backward()
    assert (frame.grad == 0).all()


def test_vgg_distance_weighs_layers_and_leaves_the_truth_alone():
    truth = [torch.zeros(1, 2), torch.tensor([[1.0]])]
    made = [torch.tensor([[1.0, -3.0]]), torch.tensor([[4.0]])]
    for value in truth:
        value.requires_grad_()
    loss = vgg_distance(made, truth, (0.5, 2.0))
    torch.testing.assert_close(loss, torch.tensor(0.5 * 2 + 2.0 * 3))
    assert not loss.requires_grad


def output(logit, *features):
    maps = [torch.full((1, 2), each) for each in features]
    return DiscriminatorOutput(maps, torch.tensor([logit]))


def test_adversarial_terms_are_averaged_over_scales():
    real = {"gan": [output(0.75), output(1.0)], "gan_video": [output(0.0)]}
    fake = {"gan": [output(0.5), output(2.0)], "gan_video": [output(3.0)]}
    losses = discriminator_loss(real, fake)
    # scale 1: 0.5 (1 / 16 + 1 / 4); scale 2: 0.5 (0 + 4)
    assert losses["discriminator"].item() == pytest.approx((0.15625 + 2) / 2)
    assert losses["video_discriminator"].item() == pytest.approx(0.5 * (1 + 9))
    terms = generator_loss(fake)
    assert [*terms] == ["gan", "gan_video"]
    assert terms["gan"].item() == pytest.approx((0.125 + 0.5) / 2)
    assert terms["gan_video"].item() == pytest.approx(2)


def test_feature_matching_is_four_times_the_mean_over_layers_averaged_over_scales():
    real = {"gan": [output(0.0, 1.0, 2.0), output(0.0, 2.0, 0.0)], "gan_video": [output(0.0, 1.0)]}
    fake = {"gan": [output(9.0, 0.5, 4.0), output(9.0, 3.0, 0.0)], "gan_video": [output(9.0, 3.0)]}
    # D_I: 4 / 2 (0.5 + 2) = 5 and 4 / 2 (1 + 0) = 2; D_V: 4 / 1 (2) = 8
    assert generator_loss(fake, real)["feature_matching"].item() == pytest.approx(3.5 + 8)


def test_flow_and_moved_pictures_count_where_the_flow_is_reliable():
    known = torch.zeros(2, 1, 2, 2)
    known[0, 0, 0, 1] = known[1, 0, 1, 0] = known[1, 0, 1, 1] = 1
    flow = torch.rand(2, 2, 2, 2)
    made = flow + 100  # where nobody looks
    made[0, :, 0, 1] = flow[0, :, 0, 1] + torch.tensor([1.0, -2.0])
    made[1, :, 1, 0] = flow[1, :, 1, 0] + torch.tensor([0.0, 3.0])
    made[1, :, 1, 1] = flow[1, :, 1, 1]
    torch.testing.assert_close(flow_distance(made, flow, known), torch.tensor(6 / (3 * 2)))

    picture = torch.rand(2, 3, 2, 2)
    moved = picture - 100
    moved[0, :, 0, 1] = picture[0, :, 0, 1] + torch.tensor([0.5, -0.5, 0.0])
    moved[1, :, 1, :] = picture[1, :, 1, :] - 0.25
    torch.testing.assert_close(warp_distance(moved, picture, known), torch.tensor(2.5 / (3 * 3)))


@pytest.mark.parametrize(("distance", "channels"), [(flow_distance, 2), (warp_distance, 3)])
def test_without_reliable_flow_there_is_no_loss_and_no_nan(distance, channels):
    made = torch.rand(1, channels, 4, 4, requires_grad=True)
    loss = distance(made, torch.rand(1, channels, 4, 4), torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert loss == 0
    assert (made.grad == 0).all()


def test_one_reliable_pixel_counts_in_full():
    known = torch.zeros(1, 1, 2, 2)
    known[..., 0, 0] = 1
    loss = flow_distance(torch.full((1, 2, 2, 2), 3.0), torch.zeros(1, 2, 2, 2), known)
    torch.testing.assert_close(loss, torch.tensor(3.0))
