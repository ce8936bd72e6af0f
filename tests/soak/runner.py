"""Run the cases of a part, each in a process of its own, and keep what was found.

A case that is recorded is not run again: a soak that was stopped goes on where it was.
"""

import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

MEGABYTE = 1 << 20


class Finding(NamedTuple):
    """What one case came to."""

    passed: bool
    text: str


@dataclass(frozen=True)
class Case:
    """One thing that is tried.

    Attributes:
        name: unique in its part.
        run: called with an empty folder of its own; a finding, or an error, which is a failure.
    """

    name: str
    run: Callable[[Path], Finding]


@dataclass(frozen=True)
class Part:
    """A list of cases and how many of them must pass.

    Attributes:
        name: on the command line.
        claim: what holds of each case that passes.
        cases: from a folder for what they share, which is kept, and how many are asked for.
        asked: how many cases there are in the whole soak.
        allowed: how many may fail.
        seconds: after which a case is stopped and has failed.
        megabytes: of memory that a case may take; one that takes more has failed.
        jobs: how many run side by side.
    """

    name: str
    claim: str
    cases: Callable[[Path, int], Iterable[Case]]
    asked: int
    allowed: int = 0
    seconds: float = 60.0
    megabytes: float | None = None
    jobs: int = 2


@dataclass(frozen=True)
class Record:
    """The line that is kept of a case."""

    case: str
    passed: bool
    text: str
    seconds: float
    cpu_seconds: float  # of the case and the processes that it waited for
    megabytes: float


@dataclass
class _Running:
    case: Case
    folder: Path
    since: float = field(default_factory=time.monotonic)


def records(folder: Path, part: Part) -> dict[str, Record]:
    """Return what is known of a part's cases, by name; a line that was cut off is left out."""
    path, found = folder / f"{part.name}.jsonl", {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            record = Record(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found[record.case] = record
    return found


def run(part: Part, folder: Path, count: int) -> dict[str, Record]:
    """Run the cases of a part that are not known yet; return all that is known, by name."""
    shared = folder / part.name
    shared.mkdir(parents=True, exist_ok=True)
    known = records(folder, part)
    waiting = iter([c for c in part.cases(shared, count) if c.name not in known])
    with (folder / f"{part.name}.jsonl").open("a", encoding="utf-8") as lines:
        for record in _side_by_side(part, waiting, shared):
            known[record.case] = record
            lines.write(json.dumps(asdict(record)) + "\n")
            lines.flush()
            sign = "ok  " if record.passed else "FAIL"
            print(f"{sign} {part.name} {record.case}: {record.text[:160]}", flush=True)
    return known


def _side_by_side(part: Part, waiting: Iterator[Case], shared: Path) -> Iterator[Record]:
    """Fork a process a case, `jobs` at a time; yield a record as each of them ends."""
    running: dict[int, _Running] = {}
    while True:
        while len(running) < part.jobs and (case := next(waiting, None)) is not None:
            one = _Running(case, shared / "cases" / re.sub(r"[^\w.]", "_", case.name))
            running[_forked(one)] = one
        if not running:
            return
        ended, status, usage = os.wait4(-1, os.WNOHANG)
        if ended in running:
            yield _record(running.pop(ended), status, usage, part)
        else:
            time.sleep(0.01)
        for process, one in running.items():
            if time.monotonic() - one.since > part.seconds:
                os.killpg(process, signal.SIGKILL)


def _forked(one: _Running) -> int:
    """Start a case in a process that leads a group of its own; return its number."""
    shutil.rmtree(one.folder, ignore_errors=True)  # of a soak that was stopped
    one.folder.mkdir(parents=True)
    process = os.fork()
    if process:
        return process
    os.setpgid(0, 0)
    status = 1
    try:
        log = os.open(_beside(one.folder, ".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            finding = one.case.run(one.folder)
        except BaseException as error:  # an exit as well: the record says which
            traceback.print_exc()
            finding = Finding(False, f"{type(error).__name__}: {error}")
        _beside(one.folder, ".json").write_text(json.dumps(finding))
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(folder.name + ending)


def _record(one: _Running, status: int, usage: resource.struct_rusage, part: Part) -> Record:
    seconds, megabytes = time.monotonic() - one.since, usage.ru_maxrss / 1024
    cpu = usage.ru_utime + usage.ru_stime
    kept = _beside(one.folder, ".json")
    if status or not kept.exists():
        passed, text = False, f"ended with status {status} after {seconds:.0f} s"
    else:
        passed, text = json.loads(kept.read_text())
    kept.unlink(missing_ok=True)
    if part.megabytes is not None and megabytes > part.megabytes:
        passed, text = False, f"{megabytes:.0f} MB; {text}"
    if passed:  # what failed is looked at
        shutil.rmtree(one.folder, ignore_errors=True)
    return Record(
        one.case.name, bool(passed), text, round(seconds, 1), round(cpu, 2), round(megabytes)
    )
