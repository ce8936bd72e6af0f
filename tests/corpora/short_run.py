"""The run settings of a stage that is trained for a few steps on the CPU."""

from affekt.runtime.run import RunConfig


def short_run(out, **changes):
    """Return six steps of two items, every one of them logged, saved half-way."""
    run = {"device": "cpu", "steps": 6, "batch_size": 2, "workers": 0, "progress": False}
    return RunConfig(out=out, **run | {"log_every": 1, "save_every": 3} | changes)
