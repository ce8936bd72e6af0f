"""Losses of edge-to-video against numbers worked out by hand."""

import pytest
import torch

from evp.video_losses import (
    feature_matching,
    flow_distance,
    lsgan_discriminator,
    lsgan_generator,
    reconstruction,
    vgg_distance,
    warp_distance,
)


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


def test_lsgan_is_half_the_squared_distance_to_the_labels_averaged_over_scales():
    real = [torch.tensor([1.0, 3.0]), torch.tensor([0.0])]
    fake = [torch.tensor([0.0, 2.0]), torch.tensor([1.0])]
    # scale 1: 0.5 (0 + 4) / 2 + 0.5 (0 + 4) / 2 = 2; scale 2: 0.5 (1 + 1) = 1
    torch.testing.assert_close(lsgan_discriminator(real, fake), torch.tensor(1.5))
    # scale 1: 0.5 (1 + 1) / 2 = 0.5; scale 2: 0
    torch.testing.assert_close(lsgan_generator(fake), torch.tensor(0.25))


def test_vgg_distance_weighs_layers_and_leaves_the_truth_alone():
    truth = [torch.zeros(1, 2), torch.tensor([[1.0]])]
    made = [torch.tensor([[1.0, -3.0]]), torch.tensor([[4.0]])]
    for value in truth:
        value.requires_grad_()
    loss = vgg_distance(made, truth, (0.5, 2.0))
    torch.testing.assert_close(loss, torch.tensor(0.5 * 2 + 2.0 * 3))
    assert not loss.requires_grad


def test_feature_matching_is_four_times_the_mean_over_layers_averaged_over_scales():
    real = [
        [torch.zeros(1, 2), torch.tensor([[1.0]])],
        [torch.tensor([[2.0, 0.0]])],
    ]
    fake = [
        [torch.tensor([[1.0, -3.0]]), torch.tensor([[4.0]])],
        [torch.tensor([[2.0, 1.0]])],
    ]
    for value in (*real[0], *real[1], *fake[0], *fake[1]):
        value.requires_grad_()
    loss = feature_matching(real, fake)
    # scale 1: 4 / 2 (2 + 3) = 10; scale 2: 4 / 1 (0.5) = 2
    torch.testing.assert_close(loss.detach(), torch.tensor(6.0))
    loss.backward()
    assert all(value.grad is None for scale in real for value in scale)
    torch.testing.assert_close(fake[0][0].grad, torch.tensor([[0.5, -0.5]]))


def test_flow_and_moved_pictures_count_where_the_flow_is_believed():
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
def test_without_believed_flow_there_is_no_loss_and_no_nan(distance, channels):
    made = torch.rand(1, channels, 4, 4, requires_grad=True)
    loss = distance(made, torch.rand(1, channels, 4, 4), torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert loss == 0
    assert (made.grad == 0).all()


def test_one_believed_pixel_counts_in_full():
    known = torch.zeros(1, 1, 2, 2)
    known[..., 0, 0] = 1
    loss = flow_distance(torch.full((1, 2, 2, 2), 3.0), torch.zeros(1, 2, 2, 2), known)
    torch.testing.assert_close(loss, torch.tensor(3.0))
