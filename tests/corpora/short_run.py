"""Runs of a stage that is trained for a few steps on the CPU, and what they leave behind."""

from dataclasses import replace

import torch

from affekt.runtime.run import RunConfig
from tests.corpora.portrait_corpus import rows_of


def short_run(out, **changes):
    """Return six steps of two items, every one of them logged, saved half-way."""
    run = {"device": "cpu", "steps": 6, "batch_size": 2, "workers": 0, "progress": False}
    return RunConfig(out=out, **run | {"log_every": 1, "save_every": 3} | changes)


def resumed(train, config, stop):
    """Train, and train again with a stop after so many steps: the same log; return the folder."""
    train(config)
    run = replace(config.run, out=config.run.out.with_name("stopped"))
    train(replace(config, run=replace(run, steps=stop)))
    train(replace(config, run=run))
    assert rows_of(run.out) == rows_of(config.run.out)
    return run.out


def parts_of(run_dir):
    """Return the state dicts of a run's newest checkpoint."""
    newest = sorted((run_dir / "checkpoints").iterdir())[-1]
    return torch.load(newest, weights_only=True)["parts"]


def same(one, two):
    """Whether two state dicts are equal to the bit."""
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in two)
