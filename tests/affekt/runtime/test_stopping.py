"""A training that is asked to stop, killed, started twice or short of room goes on exactly."""

import contextlib
import errno
import os
import resource
import signal
import sys
import time
from multiprocessing import get_context

import numpy as np
import pytest

from affekt.runtime.command import run_stage
from affekt.runtime.files import read_jsonl
from affekt.runtime.lock import LOCK
from affekt.runtime.training import checkpoint
from tests.corpora import noise_stage
from tests.corpora.noise_stage import Config, train
from tests.corpora.short_run import same

STEPS = 60


def arguments(out, *overrides):
    config = out.with_name("stage.yaml")
    config.write_text(
        f"run: {{device: cpu, steps: {STEPS}, batch_size: 2, workers: 1, log_every: 1, "
        "save_every: 25, progress: false}\n"
    )
    return [str(config), f"run.out={out}", *overrides]


def _stage(said, pause, limit, argv):
    noise_stage.PAUSE = pause
    os.setsid()  # as a shell does: a group of its own
    sys.stderr = said.open("w", buffering=1)
    os.dup2(sys.stderr.fileno(), 2)
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    os._exit(run_stage(train, Config, "doc", argv))


class Training:
    """A training in a process and a group of its own; a fork, which need not import torch anew."""

    def __init__(self, out, pause, limit):
        self.out, self._said = out, out.with_name("said.txt")
        given = (self._said, pause, limit, arguments(out))
        self.process = get_context("fork").Process(target=_stage, args=given)
        self.process.start()

    def wait_for(self, lines):
        metrics = self.out / "metrics.jsonl"
        while self.process.exitcode is None:
            if metrics.is_file() and metrics.read_bytes().count(b"\n") >= lines:
                return
            time.sleep(0.01)

    def end(self):
        """Return the exit status and the lines that it said, but for warnings."""
        self.process.join()
        lines = self._said.read_text().splitlines()
        return self.process.exitcode, [line for line in lines if ": " in line and line[:2] != "20"]


@contextlib.contextmanager
def training(out, pause=0.0, limit=0):
    one = Training(out, pause, limit)
    try:
        yield one
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.join()


def losses(out):
    return {row["step"]: row["total"] for row in read_jsonl(out / "metrics.jsonl")}


def contents(out):
    """Return all files but TensorBoard's, which another thread writes."""
    files = [path for path in out.rglob("*") if path.is_file() and "tfevents" not in path.name]
    return {path: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run_stage(train, Config, "doc", arguments(out, "run.workers=0")) == 0
    return out


def check_continues(out, whole):
    """The same command goes on, all is as if nothing had happened, and nothing is left over."""
    assert run_stage(train, Config, "doc", arguments(out, "run.workers=0")) == 0
    assert losses(out) == losses(whole)
    one, two = (checkpoint.newest(run / "checkpoints") for run in (out, whole))
    assert one["step"] == two["step"] == STEPS
    assert same(one["parts"]["model"], two["parts"]["model"])
    left = [path.name for path in out.rglob(".*") if path.name != LOCK]
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_to_all_processes_saves_the_step_in_work_and_says_so(tmp_path, whole, number):
    out = tmp_path / "run"
    with training(out, pause=0.02) as one:
        one.wait_for(3)
        os.killpg(one.process.pid, number)  # as a terminal and Slurm do
        status, said = one.end()
    assert status == 128 + number
    step = checkpoint.newest(out / "checkpoints")["step"]
    assert 3 <= step < STEPS
    assert max(losses(out)) == step
    assert len(said) == 1
    assert said[0].endswith(
        f": stopped by {number.name}: step {step} is saved in {out}; the same command continues"
    )
    check_continues(out, whole)


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    out = tmp_path / "run"
    with training(out, pause=60) as one:
        one.wait_for(1)
        for _ in range(2):
            os.kill(one.process.pid, signal.SIGINT)
            time.sleep(0.2)
        status, said = one.end()
    assert status == 130
    assert said[-1].endswith(": interrupted; the same command continues from the last checkpoint")


def test_a_second_training_of_a_folder_is_refused_and_changes_nothing(tmp_path):
    out = tmp_path / "run"
    with training(out, pause=60) as one:
        one.wait_for(1)
        before = contents(out)
        with training(out) as two:
            status, said = two.end()
        assert status == 1
        assert len(said) == 1
        assert f"is in use by process {one.process.pid} on " in said[0]
        assert contents(out) == before


def test_kills_leave_nothing_behind_and_a_run_that_goes_on(tmp_path, whole):
    out = tmp_path / "run"
    rng = np.random.default_rng(7)
    for step in sorted(rng.choice(range(2, STEPS - 5), 3, replace=False)):
        with training(out, pause=0.005) as one:
            one.wait_for(step)
            os.kill(one.process.pid, signal.SIGKILL)
    (out / "checkpoints" / ".affekt-0a1b2c3d.pt").write_bytes(b"half a checkpoint")
    check_continues(out, whole)


@pytest.mark.parametrize("limit", [200, 700, 4_000])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path, whole, limit):
    """A limit on a file's size stands for the disk's: what is over it is not written either."""
    out = tmp_path / "run"
    with training(out, limit=limit) as one:
        status, said = one.end()
    assert status == 1
    assert len(said) == 1
    assert f"a file is larger than allowed (ulimit -f) at {out}" in said[0]
    assert said[0].endswith(": make room, then run the same command")
    check_continues(out, whole)


def test_the_codes_of_a_disk_have_their_own_words(tmp_path, capsys):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert run_stage(full, Config, "doc", arguments(tmp_path / "run")) == 1
    said = f": the disk is full at {tmp_path / 'run'}: make room, then run the same command\n"
    assert capsys.readouterr().err.endswith(said)
