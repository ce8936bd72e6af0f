import pytest
import torch

from emospace.networks.discriminator import (
    EPSILON,
    Discriminator,
    DiscriminatorConfig,
    with_deviation,
)

SMALL = DiscriminatorConfig((8, 8, 4, 4))


def test_its_size_follows_from_its_channels():
    assert SMALL.size == 32
    assert DiscriminatorConfig().size == 256
    assert Discriminator(SMALL)(torch.rand(3, 3, 32, 32)).shape == (3, 1)


def test_the_last_channel_is_the_deviation_over_a_group():
    features = torch.zeros(4, 2, 3, 3)
    features[1] = features[3] = 2.0  # each group of 4: 0, 2, 0, 2, whose deviation is 1
    out = with_deviation(features)
    assert out.shape == (4, 3, 3, 3)
    torch.testing.assert_close(out[:, 2], torch.ones(4, 3, 3))
    assert with_deviation(torch.ones(2, 1, 2, 2))[:, 1].max() == pytest.approx(EPSILON**0.5)


def test_groups_divide_any_batch():
    for count in (1, 2, 3, 5, 6, 7):
        assert with_deviation(torch.rand(count, 1, 2, 2)).shape[0] == count


def test_copies_of_one_picture_are_told_from_several():
    network = Discriminator(SMALL)
    pictures = torch.rand(4, 3, 32, 32)
    alike = pictures[:1].expand(4, -1, -1, -1)
    assert not torch.allclose(network(alike)[0], network(pictures)[0])
