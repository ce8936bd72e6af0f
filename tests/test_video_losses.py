"""Losses of edge-to-video against numbers worked out by hand."""

import pytest
import torch

from evp.video_losses import (
    lsgan_discriminator,
    lsgan_generator,
    reconstruction,
    vgg_distance,
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
