"""The optimizer of EVP's landmark stages: Adam, with a constant or a one-cycle learning rate."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

WARM_UP = 0.3  # share of a cycle in which the rate rises
START = 1 / 25  # of the highest rate; these three are torch.optim.lr_scheduler.OneCycleLR's
END = 1e-4  # of the first rate


@dataclass(frozen=True)
class OptimConfig:
    """The defaults are the supplement's, Sec. 2.1."""

    lr: float = 1e-4  # the highest one where the schedule is one_cycle
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0  # decoupled from the gradient (AdamW); the paper has none
    clip_norm: float = math.inf  # of the whole gradient; infinity only measures it
    schedule: Literal["constant", "one_cycle"] = "constant"


def make_optimizer(parameters: Iterable[nn.Parameter], config: OptimConfig) -> torch.optim.Adam:
    """Return Adam with decoupled weight decay (none by default, which is plain Adam)."""
    return torch.optim.AdamW(
        parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
    )


def set_learning_rate(
    optimizer: torch.optim.Optimizer, config: OptimConfig, step: int, steps: int
) -> None:
    """Set the rate of step 1 ... `steps`; it depends on the step alone, so resuming is exact."""
    for group in optimizer.param_groups:
        group["lr"] = config.lr * rate_factor(config.schedule, step, steps)


def rate_factor(schedule: Literal["constant", "one_cycle"], step: int, steps: int) -> float:
    """Return the share of the highest learning rate at step 1 ... `steps`.

    one_cycle rises over the first 30 % and falls over the rest, both along half a cosine
    (Smith and Topin, arXiv:1708.07120; shape and constants as in torch's OneCycleLR).
    """
    if schedule == "constant":
        return 1.0
    done, peak, last = step - 1, WARM_UP * steps - 1, steps - 1
    if done < peak:
        return _cosine(START, 1.0, done / peak)
    return _cosine(1.0, START * END, (done - peak) / (last - peak)) if last > peak else 1.0


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
