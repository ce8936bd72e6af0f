"""Run a plan of dependent commands, several at a time, and show their progress.

A command's output goes to a log file of its own. Its tqdm bar is read back from there, so that
two stages that run side by side show two clean lines in a terminal. On Linux the commands end with
this process, also where it is killed.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
import typing as tp
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1  # of Linux, man 2 prctl
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before there are children
POLL = 0.2  # seconds
QUIET_INTERVAL = 30.0  # seconds between progress lines where the output is no terminal


class StageError(RuntimeError):
    """A command of a plan failed; the message holds the end of its output."""


@dataclass(frozen=True)
class Stage:
    """A command of a plan: its name, its arguments, and the stages that must be done before it."""

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()
    cores: int = 1


@dataclass
class _Running:
    stage: Stage
    process: "subprocess.Popen[bytes]"
    log: Path
    started: float = field(default_factory=time.monotonic)


def run_plan(stages: Sequence[Stage], logs: Path, cores: int) -> dict[str, float]:
    """Run every stage once those it comes after are done; return the seconds each one took.

    Stages start in the order given, as many at a time as `cores` allow.

    Raises:
        StageError: a command failed; the others are stopped.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting, running, seconds = list(stages), list[_Running](), dict[str, float]()
    screen = _Screen()
    try:
        while waiting or running:
            for stage in _ready(waiting, running, seconds, cores):
                waiting.remove(stage)
                running.append(_start(stage, logs))
                screen.write(f"> {stage.name}: {' '.join(stage.command)}")
            for item in [item for item in running if item.process.poll() is not None]:
                running.remove(item)
                seconds[item.stage.name] = round(time.monotonic() - item.started, 1)
                _check(item)
                screen.write(f"  {item.stage.name} done in {seconds[item.stage.name]:.0f} s")
            screen.draw_bars([(item.stage.name, last_line(item.log)) for item in running])
            time.sleep(POLL)
    finally:
        for item in running:
            item.process.terminate()
        for item in running:
            item.process.wait()
    return seconds


def last_line(log: Path) -> str:
    """Return the last line of a log, where a carriage return (tqdm's) ends a line too."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        text = file.read().decode("utf-8", "replace")
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
    return next((line for line in reversed(lines) if line), "")


def _ready(
    waiting: Iterable[Stage], running: Iterable[_Running], done: tp.Container[str], cores: int
) -> Iterator[Stage]:
    free = cores - sum(item.stage.cores for item in running)
    for stage in list(waiting):
        if min(stage.cores, cores) <= free and all(name in done for name in stage.after):
            free -= stage.cores
            yield stage


def _start(stage: Stage, logs: Path) -> _Running:
    log = logs / f"{stage.name}.log"
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            stage.command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=_end_with_parent if _LIBC else None,
        )
    return _Running(stage, process, log)


def _end_with_parent() -> None:
    """Let Linux ask this process to end when the thread that started it has ended."""
    assert _LIBC is not None
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _check(item: _Running) -> None:
    if item.process.returncode:
        text = item.log.read_text("utf-8", "replace").replace("\r", "\n")
        tail = "\n".join(text.splitlines()[-30:])
        command = " ".join(item.stage.command)
        raise StageError(
            f"{item.stage.name} failed (exit status {item.process.returncode}): {command}\n"
            f"{tail}\nthe whole output is in {item.log}"
        )


class _Screen:
    """Progress lines, rewritten in place in a terminal, or printed every half minute elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self.shown = 0
        self.last = time.monotonic()

    def write(self, text: str) -> None:
        self._clear()
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def draw_bars(self, bars: Sequence[tuple[str, str]]) -> None:
        if not self.live and time.monotonic() - self.last < QUIET_INTERVAL:
            return
        self.last = time.monotonic()
        self._clear()
        for name, text in bars:
            sys.stdout.write(f"  {name:>18} | {text}"[:118] + "\n")
        self.shown = len(bars) if self.live else 0
        sys.stdout.flush()

    def _clear(self) -> None:
        for _ in range(self.shown):
            sys.stdout.write("\x1b[1A\x1b[2K")
        self.shown = 0
