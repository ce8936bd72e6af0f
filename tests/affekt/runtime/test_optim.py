"""The optimizer and its learning rates, against torch's own."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import MultiStepLR, OneCycleLR
from torch.optim.swa_utils import AveragedModel
from torch.utils._python_dispatch import TorchDispatchMode

from affekt.runtime.training.optim import (
    EMA_WARM_UP,
    Ema,
    OptimConfig,
    make_optimizer,
    rate_factor,
    set_learning_rate,
)


@pytest.mark.parametrize("schedule", ["one_cycle", "milestones"])
def test_a_schedule_is_torchs(schedule):
    weight = torch.nn.Parameter(torch.zeros(1))
    ours, theirs = (torch.optim.SGD([weight], lr=0.3) for _ in range(2))
    config = OptimConfig(lr=0.3, schedule=schedule, milestones=(3, 5))
    if schedule == "one_cycle":
        scheduler = OneCycleLR(theirs, max_lr=0.3, total_steps=41, cycle_momentum=False)
    else:
        scheduler = MultiStepLR(theirs, [3, 5], gamma=0.1)
    for step in range(1, 42):
        set_learning_rate(ours, config, step, 41)
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-6)
        theirs.step()
        if step < 41:
            scheduler.step()


def test_a_constant_rate_stays():
    assert {rate_factor(OptimConfig(), step, 10) for step in range(1, 11)} == {1.0}


def test_a_warm_up_rises_to_what_the_schedule_says():
    config = OptimConfig(warm_up=3)
    rates = [rate_factor(config, step, 6) for step in range(1, 7)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])
    linear = OptimConfig(warm_up=1, schedule="linear")
    halved = rate_factor(OptimConfig(schedule="linear"), 1, 5) / 2
    assert rate_factor(linear, 1, 5) == pytest.approx(halved)
    assert rate_factor(linear, 5, 5) == pytest.approx(0.1)


def test_the_default_optimizer_is_the_supplements_adam():
    start = torch.randn(5)
    weights = [torch.nn.Parameter(start.clone()) for _ in range(2)]
    adam = torch.optim.Adam([weights[0]], lr=1e-4, betas=(0.5, 0.999))
    ours = make_optimizer([weights[1]], OptimConfig())
    for _ in range(3):
        for weight, optimizer in zip(weights, (adam, ours), strict=True):
            optimizer.zero_grad()
            weight.square().sum().backward()
            optimizer.step()
    assert torch.equal(weights[0], weights[1])


def test_a_linear_rate_ends_at_its_last_factor():
    config = OptimConfig(schedule="linear", last_factor=0.1)
    rates = [rate_factor(config, step, 5) for step in range(1, 6)]
    assert rates == pytest.approx([1.0, 0.775, 0.55, 0.325, 0.1])
    assert rate_factor(config, 1, 1) == 1.0


def steps_of(optimizer, weights, first, count):
    for step in range(first, first + count):
        generator = torch.Generator().manual_seed(step)
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_fused_adam_is_adam_to_rounding_and_is_continued_to_the_bit(decay):
    config = OptimConfig(lr=1e-2, weight_decay=decay)
    fused = replace(config, fused=True)
    start = [torch.randn(33, 7), torch.randn(5)]
    plain, ours, stopped = ([nn.Parameter(each.clone()) for each in start] for _ in range(3))
    steps_of(make_optimizer(plain, config), plain, 0, 6)
    steps_of(make_optimizer(ours, fused), ours, 0, 6)
    before = make_optimizer(stopped, fused)
    steps_of(before, stopped, 0, 3)
    after = make_optimizer(stopped, fused)
    after.load_state_dict(before.state_dict())
    steps_of(after, stopped, 3, 3)
    for one, two, three in zip(plain, ours, stopped, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)
        assert torch.equal(three, two)


@pytest.mark.parametrize("fused", [False, True])
def test_an_optimizer_of_nothing_does_nothing(fused):
    optimizer = make_optimizer([], OptimConfig(fused=fused))
    optimizer.zero_grad()
    optimizer.step()
    assert optimizer.param_groups[0]["params"] == []
    make_optimizer([], OptimConfig()).load_state_dict(optimizer.state_dict())


def moved(network, ema, by=1.0):
    with torch.no_grad():
        network.bias += by
    ema.update_parameters(network)


def test_the_average_follows_slowly_and_forgets_its_start():
    network = nn.Linear(1, 3)
    ema = Ema(network, decay=0.9)
    ema.update_parameters(network)  # the first one is copied
    start = ema.module.bias.clone()
    moved(network, ema)  # after one update (1 + 1) / (10 + 1) is kept
    torch.testing.assert_close(ema.module.bias, network.bias - 2 / 11 * (network.bias - start))
    for _ in range(200):
        moved(network, ema, by=0.0)
    torch.testing.assert_close(ema.module.bias, network.bias)


def test_decay_0_keeps_the_last_weights():
    network = nn.Linear(1, 3)
    ema = Ema(network, decay=0.0)
    for _ in range(2):
        moved(network, ema)
        torch.testing.assert_close(ema.module.bias, network.bias)


def slow_average(decay):
    """The average as torch's own, one weight at a time."""

    def blend(average, now, updates):
        kept = torch.as_tensor((1 + updates) / (EMA_WARM_UP + updates)).clamp(max=decay)
        return torch.lerp(now, average, kept.to(now))

    return lambda network: AveragedModel(network, avg_fn=blend)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
def test_the_average_is_the_same_to_the_bit_as_weight_by_weight(decay):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Linear(4, 7))
    one, other = Ema(network, decay), slow_average(decay)(network)
    for _ in range(30):
        with torch.no_grad():
            for weight in network.parameters():
                weight += torch.randn_like(weight)
            network[1].running_mean += 1
        for average in (one, other):
            average.update_parameters(network)
        pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
        assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_an_average_that_is_off_copies_nothing():
    network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(64)))  # 128 weights
    ema = Ema(network, 0.0)
    with CountedOperations() as counted:
        ema.update_parameters(network)
    assert counted.names == ["aten._local_scalar_dense.default", "aten.add_.Tensor"]  # their count
    assert {id(each) for each in ema.parameters()} == {id(each) for each in network.parameters()}


class CountedOperations(TorchDispatchMode):
    """Notes what torch is asked to do."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))
