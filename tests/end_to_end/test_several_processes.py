"""Stages in two processes: the losses of one with the same batch, exact resume, torchrun itself.

In float64: Adam divides gradients by their size, so that a rounding error of float32 becomes a
difference of 1e-4 within three steps wherever a gradient is itself one. FOMM's warps are one for
all pictures here, and no stage has dropout: at random each process draws its own.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import train_disentangle
from affekt.runtime.command import run_stage
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.short_run import parts_of, same
from tests.corpora.stages import STAGES, train_stage, write_corpora
from tests.corpora.two_processes import in_two

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_corpora(tmp_path_factory.mktemp("stages"))


@pytest.mark.parametrize("name", STAGES)
def test_two_processes_have_the_losses_of_one_with_the_same_batch(root, in_float64, name):
    train_stage(root, name, root / "one" / name, steps=3)
    two = root / "two" / name
    assert in_two(lambda rank: train_stage(root, name, two, steps=3)) == [0, 0]
    assert [row["step"] for row in rows_of(two)] == [1, 2, 3]
    for expected, found in zip(rows_of(root / "one" / name), rows_of(two), strict=True):
        assert found == pytest.approx(expected, rel=1e-9)


def test_torchrun_continues_a_run_of_two_processes_to_the_bit(root, capfd):
    whole, stopped = root / "whole", root / "stopped"

    def both(rank):
        train_stage(root, "disentangle", whole, steps=4, save_every=4)
        train_stage(root, "disentangle", stopped, steps=2, save_every=4)

    assert in_two(both) == [0, 0]
    config = shutil.copy(stopped / "config.yaml", root / "disentangle.yaml")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    script = ["train_disentangle.py", str(config), "run.steps=4", "run.workers=1"]
    subprocess.run(
        [*torchrun, *script], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True
    )

    # One process writes: a line a step, a checkpoint a save
    assert rows_of(stopped) == rows_of(whole)
    assert [row["step"] for row in rows_of(stopped)] == [1, 2, 3, 4]
    names = [path.name for path in sorted((stopped / "checkpoints").iterdir())]
    assert names == ["000000002.pt", "000000004.pt"]
    one, other = parts_of(stopped), parts_of(whole)
    assert all(same(one[name], other[name]) for name in one if name != "optimizer")

    # Another number of processes
    def alone(*overrides):
        given = [str(config), "run.steps=5", *overrides]
        return run_stage(train_disentangle.train, train_disentangle.Config, None, given)

    capfd.readouterr()
    assert alone() == 1
    assert (
        capfd.readouterr()
        .err.splitlines()[-1]
        .endswith(
            f"{stopped} was trained by 2 processes, now there are 1; start as many, or set "
            "run.any_ranks=true: the order of items stays, random draws on the device change"
        )
    )
    assert alone("run.any_ranks=true") == 0
    assert rows_of(stopped)[-1]["step"] == 5
