"""Trainings that are killed and started again: logs and weights are those of one never stopped.

Each case kills one stage by SIGKILL: at a step that its number decides, or, every fifth case,
inside a save, after half of the checkpoint's bytes or before its rename. Stages are the smallest of
all scripts, adversarial and averaged ones included (tests/corpora/stages.py).
"""

import importlib
import os
import random
import shutil
import signal
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from affekt.runtime.training import checkpoint
from tests.corpora.portrait_corpus import rows_of
from tests.soak.runner import Case, Finding, Part

STEPS, SAVE_EVERY = 12, 3
RUN = {"steps": STEPS, "save_every": SAVE_EVERY, "log_every": 1}


def cases(shared: Path, count: int) -> Iterator[Case]:
    """Kills of all stages in turn; what they need, and a run of each that is not stopped, first."""
    root, names = made_corpora(shared / "corpora"), list(stages().STAGES)
    for name in names[:count]:
        if not (shared / "whole" / name / "done").exists():
            shutil.rmtree(shared / "whole" / name, ignore_errors=True)
            made(partial(train, root, name, shared / "whole" / name, **RUN))
            (shared / "whole" / name / "done").touch()
    for number in range(count):
        name = names[number % len(names)]
        way = "save" if number % 5 == 4 else "step"
        run = partial(resumes, shared=shared, stage=name, way=way, seed=number)
        yield Case(f"{number:02d}_{name}_{way}", run)


def stages() -> types.ModuleType:
    """Return the smallest stages; imported where it is used, since it imports every script.

    What training itself imports late, with the first optimizer and the first log, is imported here
    as well, once and not in each process: it is four fifths of such a short run.
    """
    for late in ("torch._dynamo", "torch.utils.tensorboard"):
        importlib.import_module(late)
    return importlib.import_module("tests.corpora.stages")


def made_corpora(root: Path) -> Path:
    """Return a folder that holds what the stages need, written once."""
    stages()  # not once a case
    if not (root / "ready").exists():
        shutil.rmtree(root, ignore_errors=True)
        made(lambda: stages().write_corpora(root))
        (root / "ready").touch()
    return root


def train(root: Path, name: str, out: Path, **run: object) -> None:
    """Train one of the stages."""
    stages().train_stage(root, name, out, **run)


def resumes(folder: Path, shared: Path, stage: str, way: str, seed: int) -> Finding:
    """Kill a stage once, train on, and compare with the run that was never stopped."""
    work = partial(train, shared / "corpora", stage, folder / "run", **RUN)
    rng = random.Random(seed)
    if way == "save":
        number, share = rng.randint(1, STEPS // SAVE_EVERY), rng.choice((0.0, 0.5, 1.0))
        status = in_child(lambda: (_die_in_save(number, share), work()))
        where = f"inside save {number}, {share:.0%} written"
    else:
        at, later = rng.randint(1, STEPS - 1), rng.uniform(0, 0.05)
        status = in_child(work, partial(_after, folder / "run", at, later))
        while not status and at > 1:  # it ended before
            shutil.rmtree(folder / "run")
            at -= 1
            status = in_child(work, partial(_after, folder / "run", at, later))
        where = f"at step {at}"
    if status != -signal.SIGKILL:
        return Finding(False, f"not killed {where}: status {status}")
    status = in_child(work)
    if status:
        return Finding(False, f"killed {where}; the same command ended with status {status}")
    return equal(folder / "run", shared / "whole" / stage, f"killed {where}")


def made(work: Callable[[], object]) -> None:
    """Do what all cases of a part need in a process of its own; an error where it fails."""
    if status := in_child(work):
        raise RuntimeError(f"what the cases need was not made: status {status}")


def in_child(work: Callable[[], object], until: Callable[[], bool] | None = None) -> int:
    """Do work in a process of its own, killed as soon as `until` holds; return its status."""
    process = os.fork()
    if not process:
        status = 1
        try:
            work()
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:  # to the log of the case
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    while until is not None:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if until():
            os.kill(process, signal.SIGKILL)
            break
        time.sleep(0.001)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _after(run: Path, step: int, later: float) -> bool:
    """Whether so many steps are logged; waits a little longer then."""
    log = run / "metrics.jsonl"
    if not log.exists() or log.read_bytes().count(b"\n") < step:
        return False
    time.sleep(later)
    return True


def _die_in_save(number: int, share: float) -> None:
    """Make the process kill itself in its `number`th save, with this share of it written."""
    save, count = checkpoint.save_torch, 0

    def dying(value: object, path: Path) -> None:
        nonlocal count
        count += 1
        save(value, path)
        if count == number:
            os.truncate(path, int(share * path.stat().st_size))
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save_torch = dying


def equal(run: Path, whole: Path, where: str) -> Finding:
    """Compare log, weights, optimizers and random states to the bit, and look for leftovers."""
    if rows_of(run) != rows_of(whole):
        return Finding(False, f"{where}: another log")
    one, two = (_newest(each) for each in (run, whole))
    if not same(one, two):
        return Finding(False, f"{where}: other weights")
    left = [path.name for path in run.rglob(".affekt-*")]
    return Finding(not left, f"{where}; equal" + (f", left {left}" if left else ""))


def _newest(run: Path) -> object:
    newest = max((run / "checkpoints").glob("[0-9]*.pt"))
    return torch.load(newest, weights_only=True)


def same(one: object, two: object) -> bool:
    """Whether two nested containers of tensors and plain values are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


PART = Part("kills", "resumed equal to the bit", cases, 50, seconds=300)
