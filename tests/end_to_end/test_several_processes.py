"""Stages under torchrun: two processes train as one does, resume exactly, and end together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from affekt.runtime.config import ConfigError
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.short_run import parts_of, same
from tests.corpora.stages import train_stage, write_corpora

ROOT = Path(__file__).parents[2]
# Of each mechanism one: quads and batch norm; a frozen network and two optimizers; the adversarial
# game with a pyramid.
NAMES = ("disentangle", "a2fd_finetune", "fomm_gan")


def torchrun(root, *jobs, **options):
    """Start two processes that train these stages one after the other."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    command += ["-m", "tests.corpora.stages", str(root), json.dumps(jobs)]
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=variables, **pipes, **options)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_corpora(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def two(root):
    """Runs of two processes: of every stage, one stopped and continued, one of one process."""
    jobs = [{"name": name, "out": str(root / "two" / name), "steps": 4} for name in NAMES]
    part = {"name": "disentangle", "out": str(root / "two" / "stopped")}
    jobs += [part | {"steps": 2}, part | {"steps": 4}]
    running = torchrun(root, *jobs)
    said, _ = running.communicate(timeout=600)
    assert running.returncode == 0, said[-3000:]
    return root / "two"


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_have_the_losses_of_one_with_the_same_batch(root, two, name):
    train_stage(root, name, root / "one" / name, steps=4)
    one, other = rows_of(root / "one" / name), rows_of(two / name)
    assert [row["step"] for row in other] == [1, 2, 3, 4]
    for expected, found in zip(one, other, strict=True):
        # the spread of codes within each half batch, which no loss contains
        expected.pop("content_spread", None), found.pop("content_spread", None)
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_two_processes_continue_a_stopped_run_to_the_bit(two):
    assert rows_of(two / "stopped") == rows_of(two / "disentangle")
    one, other = parts_of(two / "stopped"), parts_of(two / "disentangle")
    assert all(same(one[name], other[name]) for name in one if name != "optimizer")


def test_one_process_does_not_continue_a_run_of_two(root, two):
    with pytest.raises(ConfigError, match="trained by 2 processes, now there are 1"):
        train_stage(root, "disentangle", two / "disentangle", steps=5)


def test_a_signal_to_one_process_saves_and_ends_both(root):
    out = root / "two" / "endless"
    job = {"name": "disentangle", "out": str(out), "steps": 100_000, "save_every": 100_000}
    running = torchrun(root, job)
    deadline = time.monotonic() + 300
    while not (out / "metrics.jsonl").is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    workers = subprocess.run(
        ["pgrep", "-P", str(running.pid)], capture_output=True, text=True, check=True
    )
    os.kill(int(workers.stdout.split()[-1]), signal.SIGUSR1)
    running.communicate(timeout=300)
    assert running.returncode != 0
    (saved,) = (out / "checkpoints").glob("*.pt")
    assert int(saved.stem) >= 1
