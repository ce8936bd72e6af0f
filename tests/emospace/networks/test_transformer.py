"""The Transformer of emospace: what a token may see, and weights that add up."""

import torch

from emospace.networks.transformer import Transformer, positions


def made(dropout=0.0):
    return Transformer(layers=2, width=16, heads=4, feedforward=32, dropout=dropout).eval()


def test_each_row_of_the_weights_sums_to_1_and_padding_has_none():
    x = torch.randn(2, 7, 16)
    padding = torch.arange(7) >= torch.tensor([[7], [4]])
    _, weights = made()(x, padding, with_weights=True)
    assert len(weights) == 2
    for each in weights:
        torch.testing.assert_close(each.sum(dim=2), torch.ones(2, 7))
        assert each[1, :, 4:].abs().max() == 0
        assert each[0].min() > 0


def test_padding_changes_nothing_and_asking_for_weights_neither():
    network, x = made(), torch.randn(1, 5, 16)
    longer = torch.cat([x, 9 * torch.randn(1, 3, 16)], dim=1)
    padding = (torch.arange(8) >= 5)[None]
    torch.testing.assert_close(network(longer, padding)[0][:, :5], network(x)[0])
    torch.testing.assert_close(network(x, with_weights=True)[0], network(x)[0])


def test_without_positions_the_order_of_tokens_is_unknown_and_with_them_known():
    network, x = made(), torch.randn(1, 6, 16)
    order = torch.tensor([0, 3, 1, 5, 2, 4])
    torch.testing.assert_close(network(x[:, order])[0], network(x)[0][:, order])
    placed = positions(6, 16)
    first = network(x[:, order] + placed)[0][:, 0]
    assert (first - network(x + placed)[0][:, 0]).abs().max() > 1e-3


def test_positions_are_the_sines_and_cosines_of_the_paper():
    found = positions(50, 8)
    assert found.abs().max() <= 1
    torch.testing.assert_close(found[0], torch.tensor([0.0, 1.0] * 4))
    torch.testing.assert_close(found[3, 2], torch.sin(torch.tensor(3 * 10_000.0 ** (-2 / 8))))
    torch.testing.assert_close(positions(10, 8), found[:10])
    assert positions(4, 7).shape == (4, 7)
