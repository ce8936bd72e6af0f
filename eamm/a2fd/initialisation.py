"""First weights of Audio2Facial-Dynamics under which it learns within minutes (ours).

With torch's own first weights a quiet network hears and feels next to nothing: layer after layer
makes the differences between frames smaller beside what all frames share, and what reaches the LSTM
hardly changes over a clip. Hours of training mend that, minutes do not.
"""

import torch
from torch import Tensor, nn

from eamm.a2fd.network import A2fd

LEAST = 1e-3  # deviation of a unit that is divided by


@torch.no_grad()
def even_out(model: A2fd, windows_BTRC: Tensor, pose_BTP: Tensor) -> None:
    """Scale first weights so that all units of sound and pose vary alike over a batch.

    Every unit of the two encoders' linear layers gets mean 0 and deviation 1 before its ReLU, layer
    by layer (LSUV; Mishkin and Matas, arXiv:1511.06422, with the mean taken off as well); the
    LSTM's gates read their n inputs with weights of deviation 1 / sqrt(n).

    Args:
        model: on the CPU, fresh, in training mode: its batch norms follow this batch.
        windows_BTRC: audio windows (B, T, 28, 12).
        pose_BTP: poses (B, T, 6).
    """
    maps = model.audio(windows_BTRC.flatten(0, 1)[:, None]).flatten(1)
    _even(model.audio_fc, maps)
    _even(model.pose, model.pose_standard(pose_BTP).flatten(0, 1))
    for layer in range(model.config.widths.layers):
        weight = getattr(model.lstm, f"weight_ih_l{layer}")
        nn.init.normal_(weight, std=weight.shape[1] ** -0.5)


def _even(layers: nn.Sequential, numbers_NF: Tensor) -> None:
    for layer in layers:
        if isinstance(layer, nn.Linear):
            out = layer(numbers_NF)
            deviation = out.std(dim=0).clamp(min=LEAST)
            layer.weight /= deviation[:, None]
            layer.bias.copy_((layer.bias - out.mean(dim=0)) / deviation)
        numbers_NF = layer(numbers_NF)
