"""Averaged weights: how fast they follow the network's."""

import torch
from torch import nn

from affekt.nets.ema import make_ema


def step(network, ema, by=1.0):
    with torch.no_grad():
        network.bias += by
    ema.update_parameters(network)


def test_the_average_follows_slowly_and_forgets_its_start():
    network = nn.Linear(1, 3)
    ema = make_ema(network, decay=0.9)
    ema.update_parameters(network)  # the first one is copied
    start = ema.module.bias.clone()
    step(network, ema)  # after one update (1 + 1) / (10 + 1) is kept
    torch.testing.assert_close(ema.module.bias, network.bias - 2 / 11 * (network.bias - start))
    for _ in range(200):
        step(network, ema, by=0.0)
    torch.testing.assert_close(ema.module.bias, network.bias)


def test_decay_0_keeps_the_last_weights():
    network = nn.Linear(1, 3)
    ema = make_ema(network, decay=0.0)
    for _ in range(2):
        step(network, ema)
        torch.testing.assert_close(ema.module.bias, network.bias)
