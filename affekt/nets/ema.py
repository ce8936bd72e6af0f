"""Exponential moving average (EMA) of a network's weights."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

WARM_UP = 10  # updates; early in training the average forgets the initial weights faster


def make_ema(network: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of the network whose weights follow the network's as a moving average.

        ema <- d ema + (1 - d) weights,   d = min(decay, (1 + n) / (WARM_UP + n)) at update n

    Call `update_parameters(network)` after every step. Decay 0 copies the last weights. Buffers
    (batch norm's statistics) are copied.
    """

    def blend(average: Tensor, now: Tensor, updates: Tensor | int) -> Tensor:
        kept = torch.as_tensor((1 + updates) / (WARM_UP + updates)).clamp(max=decay)
        return torch.lerp(now, average, kept.to(now))

    return AveragedModel(network, avg_fn=blend)
