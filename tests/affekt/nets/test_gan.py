"""Adversarial losses against numbers worked out by hand."""

import math

import pytest
import torch

from affekt.nets.gan import (
    DiscriminatorOutput,
    feature_matching,
    lsgan_discriminator,
    lsgan_generator,
    non_saturating_discriminator,
    non_saturating_generator,
    r1_penalty,
)


def outputs(*logits):
    """Return one output a scale, of these logits."""
    return [DiscriminatorOutput([], torch.tensor(each)) for each in logits]


def test_lsgan_is_half_the_squared_distance_to_the_labels_at_each_scale():
    real, fake = outputs([1.0, 3.0], [0.0]), outputs([0.0, 2.0], [1.0])
    # scale 1: 0.5 (0 + 4) / 2 + 0.5 (0 + 4) / 2 = 2; scale 2: 0.5 (1 + 1) = 1
    torch.testing.assert_close(lsgan_discriminator(real, fake), torch.tensor([2.0, 1.0]))
    # scale 1: 0.5 (1 + 1) / 2 = 0.5; scale 2: 0
    torch.testing.assert_close(lsgan_generator(fake), torch.tensor([0.5, 0.0]))


def test_feature_matching_sums_the_mean_distances_of_layers_and_moves_the_fake_ones():
    one = ((torch.zeros(1, 2), torch.tensor([[1.0]])), (torch.tensor([[2.0, 0.0]]),))
    other = ((torch.tensor([[1.0, -3.0]]), torch.tensor([[4.0]])), (torch.tensor([[2.0, 1.0]]),))
    for value in (*one[0], *one[1], *other[0], *other[1]):
        value.requires_grad_()
    real, fake = (
        [DiscriminatorOutput([*f], torch.zeros(1)) for f in each] for each in (one, other)
    )
    loss = feature_matching(real, fake)
    torch.testing.assert_close(loss.detach(), torch.tensor([2.0 + 3, 0.5]))
    loss.sum().backward()
    assert all(value.grad is None for scale in one for value in scale)
    torch.testing.assert_close(other[0][0].grad, torch.tensor([[0.5, -0.5]]))


def test_the_non_saturating_losses_by_hand():
    real, fake = torch.tensor([[0.0], [math.log(3)]]), torch.tensor([[0.0], [-math.log(7)]])
    # softplus(log a) = log(1 + a)
    generator = (math.log(2) + math.log(8)) / 2
    discriminator = (math.log(2) + math.log(4 / 3)) / 2 + (math.log(2) + math.log(8 / 7)) / 2
    assert float(non_saturating_generator(fake)) == pytest.approx(generator)
    assert float(non_saturating_discriminator(real, fake)) == pytest.approx(discriminator)


def test_r1_of_a_linear_discriminator_is_the_squared_length_of_its_weights():
    weight = torch.tensor([[3.0, -4.0, 0.0, 1.0]], requires_grad=True)
    pictures = torch.rand(5, 1, 2, 2, requires_grad=True)
    penalty = r1_penalty(pictures.flatten(1) @ weight.T, pictures)
    assert penalty.item() == pytest.approx(26)
    penalty.backward()
    torch.testing.assert_close(weight.grad, 2 * weight.detach())


def test_r1_of_a_square_is_the_mean_of_four_times_the_squared_lengths():
    pictures = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 3.0]]]], requires_grad=True)
    outputs = pictures.square().sum(dim=(1, 2, 3))[:, None]
    assert r1_penalty(outputs, pictures).item() == pytest.approx(4 * (5 + 9) / 2)
