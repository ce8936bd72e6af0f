"""Adam, learning-rate schedules, and the moving average (EMA) of weights, for every stage."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

# torch.optim.lr_scheduler.OneCycleLR's defaults
WARM_UP = 0.3  # share of a cycle in which the rate rises
START = 1 / 25  # of the highest rate
END = 1e-4  # of the first rate
EMA_WARM_UP = 10  # updates; early in training the average forgets the initial weights faster
MILESTONE_FACTOR = 0.1  # torch's MultiStepLR as FOMM's and EAMM's releases use it

Schedule = Literal["constant", "one_cycle", "linear", "milestones"]


@dataclass(frozen=True)
class OptimConfig:
    """The defaults are EVP's (supplement, Sec. 2.1)."""

    lr: float = 1e-4  # the highest one where the schedule is one_cycle
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0  # decoupled from the gradient (AdamW); the paper has none
    clip_norm: float = math.inf  # of the whole gradient; infinity only measures it
    schedule: Schedule = "constant"
    last_factor: float = 0.1  # linear: of the first rate, reached at the last step
    milestones: tuple[int, ...] = ()  # milestones: steps after which the rate is divided by 10
    # torch's Adam in one kernel, on CPU and CUDA: 38 ms instead of 275 for 39.8 M parameters on one
    # CPU thread. Equal to rounding alone, so off by default: the paper's YAMLs set it.
    fused: bool = False
    warm_up: int = 0  # steps in which the rate rises linearly to what the schedule says


def make_optimizer(parameters: Iterable[nn.Parameter], config: OptimConfig) -> torch.optim.Adam:
    """Return Adam with decoupled weight decay (none by default, which is plain Adam).

    `parameters` may be empty: a loss weight of 0 leaves its network out.
    """
    group = {"params": list(parameters)}
    return torch.optim.AdamW(
        [group],
        lr=config.lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=config.fused or None,  # None leaves the choice to torch: foreach on CUDA
    )


def set_learning_rate(
    optimizer: torch.optim.Optimizer, config: OptimConfig, step: int, steps: int
) -> None:
    """Set the rate of step 1 ... `steps`; it depends on the step alone, so resuming is exact."""
    for group in optimizer.param_groups:
        group["lr"] = config.lr * rate_factor(config, step, steps)


def weighted_sum(terms: Mapping[str, Tensor], weights: object) -> Tensor:
    """Return the sum of a loss's terms, each times the field of its name in `weights`."""
    weighted = [getattr(weights, name) * term.float() for name, term in terms.items()]
    return torch.stack(weighted).sum()


def rate_factor(config: OptimConfig, step: int, steps: int) -> float:
    """Return the share of the configured learning rate at step 1 ... `steps`.

    one_cycle rises over the first 30 % and falls over the rest, both along half a cosine
    (Smith and Topin, arXiv:1708.07120; shape and constants as in torch's OneCycleLR); linear goes
    from 1 to `last_factor`; milestones divides by 10 after each. In the first `warm_up` steps all
    of them are multiplied by step / (warm_up + 1).
    """
    return min(1.0, step / (config.warm_up + 1)) * _scheduled(config, step, steps)


def _scheduled(config: OptimConfig, step: int, steps: int) -> float:
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "milestones":
        return float(MILESTONE_FACTOR ** sum(step > milestone for milestone in config.milestones))
    done, last = step - 1, steps - 1
    if config.schedule == "linear":
        return 1.0 + (config.last_factor - 1.0) * (done / last if last else 0.0)
    peak = WARM_UP * steps - 1
    if done < peak:
        return _cosine(START, 1.0, done / peak)
    return _cosine(1.0, START * END, (done - peak) / (last - peak)) if last > peak else 1.0


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


class Ema(AveragedModel):
    """A copy of a network whose weights follow the network's as a moving average.

        ema <- d ema + (1 - d) weights,   d = min(decay, (1 + n) / (EMA_WARM_UP + n)) at update n

    Call `update_parameters(network)` after every step. With decay 0 there is no average: `module`
    is the network itself, and nothing is copied; checkpoints hold the same. Buffers (batch norm's
    statistics) are copied. All weights go through one call: on a GPU a copy for each of them costs
    more than the arithmetic. The number of updates stays on the CPU.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network)
        self.decay = decay
        if not decay:
            self.module = network  # in the place of the copy

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards the weights of `model`."""
        updates = int(self.n_averaged)
        self.n_averaged += 1
        if not self.decay:
            return
        averages: list[Tensor] = [*self.module.parameters()]
        weights: list[Tensor] = [*model.parameters()]
        kept = min(self.decay, (1 + updates) / (EMA_WARM_UP + updates)) if updates else 0.0
        if kept:
            weights = list(torch._foreach_lerp(weights, averages, kept))
        torch._foreach_copy_(averages, weights)
        for average, now in zip(self.module.buffers(), model.buffers(), strict=True):
            average.copy_(now)
