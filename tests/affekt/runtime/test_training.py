"""What training does between two logs, in half precision, compiled, and in several processes."""

import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from affekt.runtime.config import ConfigError
from affekt.runtime.run import Run, RunConfig
from affekt.runtime.training import checkpoint, ranks
from affekt.runtime.training.optim import OptimConfig, make_optimizer
from affekt.runtime.weights.tensor_files import save_torch
from tests.affekt.runtime.test_run import Config, Noise, history, train, with_run
from tests.corpora.short_run import parts_of, same


@pytest.fixture
def config(tmp_path):
    run = RunConfig(tmp_path / "run", device="cpu", steps=12, batch_size=4, workers=0)
    return Config(replace(run, log_every=1, save_every=5, progress=False))


def test_a_nan_is_found_at_the_next_log_and_its_own_step_is_named(config):
    seldom = with_run(replace(config, explode_at=3), log_every=4, save_every=4)
    with pytest.raises(FloatingPointError, match=r"step 3: .*'total': nan"):
        train(seldom)
    assert [row["step"] for row in history(config)] == [3]
    assert not list((config.run.out / "checkpoints").glob("*.pt"))


def test_a_nan_is_found_before_a_checkpoint_and_before_validation(config):
    with pytest.raises(FloatingPointError, match="step 3"):
        train(with_run(replace(config, explode_at=3), log_every=100, save_every=5))
    run = Run(with_run(config, out=config.run.out / "other", log_every=100))
    run.register()
    for _ in run.batches(Noise()):
        run.log(total=torch.tensor(float("inf")))
        with pytest.raises(FloatingPointError, match="step 1"):
            run.due(1)
        break


def test_lines_do_not_depend_on_how_often_they_are_checked(config):
    for accumulate in (1, 3):
        often = with_run(config, out=config.run.out / f"often{accumulate}", accumulate=accumulate)
        seldom = with_run(often, out=config.run.out / f"seldom{accumulate}", log_every=4)
        train(often)
        train(seldom)
        assert history(seldom) == history(often)[3::4]


def test_nothing_waits_for_the_device_between_two_logs(config, monkeypatch):
    waited = []

    def counted(name):
        original = getattr(Tensor, name)

        def method(self, *args):
            caller = sys._getframe(1).f_code.co_filename
            if "/torch/" not in caller:  # torch's own are of numbers on the CPU
                waited.append((run.step, name))
            return original(self, *args)

        return method

    for name in ("item", "tolist", "numpy", "cpu", "__float__", "__int__", "__bool__"):
        monkeypatch.setattr(Tensor, name, counted(name))
    run = Run(with_run(config, log_every=6, save_every=12))
    network = nn.Linear(4, 1)
    optimizer = make_optimizer(network.parameters(), OptimConfig(clip_norm=1.0))
    run.register(network=network, optimizer=optimizer)
    for batch in run.batches(Noise()):
        loss = network(batch["x"]).square().mean()
        run.backward(loss, optimizer)
        run.log(total=loss, grad_norm=run.take_step(optimizer, 1.0), weight=0.5)
    assert {step for step, _ in waited} <= {6, 12}
    assert sum(name == "tolist" for _, name in waited) == 2


def in_float16(config, overflow):
    """Train a layer whose gradient overflows at some steps."""
    run = Run(config)
    network = nn.Linear(4, 1)
    optimizer = make_optimizer(network.parameters(), OptimConfig(1e-3, clip_norm=1.0))
    run.register(network=network, optimizer=optimizer)
    for batch in run.batches(Noise()):
        with run.autocast():
            made = network(batch["x"] / 100)  # nothing overflows by itself
            assert made.dtype == torch.float16
        loss = made.float().square().mean() / 100
        if overflow(run.step):
            loss.register_hook(lambda gradient: gradient * float("inf"))
        run.backward(loss, optimizer)
        run.log(total=loss, grad_norm=run.take_step(optimizer, 1.0))
    return network


def test_a_step_that_overflows_in_float16_is_passed_over_and_resumed_exactly(config):
    half = with_run(config, precision="float16", save_every=4)
    whole = in_float16(half, lambda step: step == 3)
    rows = history(half)
    assert rows[2]["grad_norm"] in ("inf", "nan")
    assert all(isinstance(row["grad_norm"], float) for row in rows if row["step"] != 3)
    assert parts_of(half.run.out)["scaler"]["scale"] == 2.0**15  # halved once
    stopped = with_run(half, out=config.run.out / "stopped", steps=4)
    in_float16(stopped, lambda step: step == 3)
    again = in_float16(with_run(stopped, steps=12), lambda step: step == 3)
    assert history(stopped) == rows
    assert same(whole.state_dict(), again.state_dict())


def test_too_many_overflows_in_a_row_are_an_error(config, monkeypatch):
    monkeypatch.setattr("affekt.runtime.run.MOST_SKIPPED", 5)
    with pytest.raises(FloatingPointError, match=r"step 6: .*grad_norm"):
        in_float16(with_run(config, precision="float16"), lambda step: step > 1)


def test_compiling_and_memory_order_hardly_change_the_loss(config, monkeypatch):
    train(config)
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(type(self)))
    for changes in ({"compile": True}, {"channels_last": True}):
        other = with_run(config, out=config.run.out / "_".join(changes), **changes)
        train(other)
        for one, two in zip(history(config), history(other), strict=True):
            assert two["total"] == pytest.approx(one["total"], rel=1e-6)
    assert compiled == [nn.Sequential]


def test_without_several_processes_every_function_answers_for_the_only_one():
    tensor = torch.ones(3)
    ranks.average_([tensor])
    ranks.broadcast_([tensor])
    ranks.stop()
    assert (ranks.count(), ranks.rank(), ranks.is_main()) == (1, 0, True)
    assert (ranks.highest(3), ranks.lowest(3)) == (3, 3)
    assert torch.equal(tensor, torch.ones(3))
    state = torch.get_rng_state()
    ranks.seed_step(0, 1)
    assert torch.equal(torch.get_rng_state(), state)


def test_processes_take_disjoint_parts_of_one_order(monkeypatch):
    parts = []
    for rank in range(3):
        monkeypatch.setattr(ranks, "count", lambda: 3)
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        parts.append([*ranks.own_part(range(12), 6)])
    assert parts == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]


def test_a_batch_that_processes_cannot_share_is_refused(config, monkeypatch):
    monkeypatch.setattr(ranks, "count", lambda: 3)
    with pytest.raises(ConfigError, match=r"batch_size is 4, wanted a multiple of 3"):
        Run(config)
    assert not config.run.out.exists()


def test_a_run_of_another_number_of_processes_is_refused_unless_allowed(config):
    train(with_run(config, steps=5))
    newest = config.run.out / "checkpoints" / "000000005.pt"
    save_torch(checkpoint.read(newest) | {"ranks": 2}, newest)
    with pytest.raises(ConfigError, match=r"trained by 2 processes, now there are 1; .*any_ranks"):
        train(config)
    train(with_run(config, any_ranks=True))
    assert [row["step"] for row in history(config)] == [*range(1, 13)]
    assert checkpoint.newest(newest.parent)["ranks"] == 1
