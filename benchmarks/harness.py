"""Benchmark harness: candidates alternated in one run, medians, a table, JSON.

A benchmark is a module whose `measure(args)` returns a `Result`, and which ends with

    if __name__ == "__main__":
        main(__doc__, measure)

With `--json` the last line of its output is one JSON object: name, ratio, max_abs_diff, the
milliseconds behind them and the machine that they are of.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import time
import typing as tp
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import ArrayLike

from affekt.markdown import markdown_table
from affekt.runtime.command import CommandParser, user_errors

MIN_ROUNDS = 5
INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")  # of /proc/cpuinfo, the best first
Candidates = Mapping[str, Callable[[], object]]  # the first one is the reference


def machine() -> str:
    """Return what a figure is of: processor, its best instructions, number of CPUs, torch."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    facts = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    flags = facts.get("flags", "").split()
    best = next((name for name in INSTRUCTIONS if name in flags), platform.machine())
    name = facts.get("model name", platform.processor())
    return f"{name} ({best}), {os.cpu_count()} CPUs, torch {importlib.metadata.version('torch')}"


@dataclass(frozen=True)
class Timing:
    """Median times of the candidates on one input, and how many times faster than the reference."""

    milliseconds: dict[str, float]
    ratio: dict[str, float]  # median over the rounds of reference time / candidate time
    rounds: int


@dataclass
class Result:
    """Result of a benchmark; `ratio` holds one figure per size, or a single one."""

    name: str
    ratio: dict[str, float] | float = field(default_factory=dict)
    max_abs_diff: float = 0.0  # between the candidate and the reference it is measured against
    milliseconds: dict[str, dict[str, float]] = field(default_factory=dict)  # by size, candidate
    notes: dict[str, tp.Any] = field(default_factory=dict)
    machine: str = field(default_factory=machine)

    def time(self, size: str, candidates: Candidates, **options: tp.Any) -> Timing:
        """Compare candidates on one input; the ratio kept under `size` is the last one's."""
        timing = compare(candidates, **options)
        assert isinstance(self.ratio, dict)
        self.ratio[size] = timing.ratio[list(candidates)[-1]]
        self.milliseconds[size] = timing.milliseconds
        return timing

    def differ(self, found: ArrayLike, wanted: ArrayLike) -> None:
        """Note the largest difference of two results."""
        apart = np.abs(np.asarray(found, np.float64) - np.asarray(wanted, np.float64)).max()
        self.max_abs_diff = max(self.max_abs_diff, float(apart))

    def text(self) -> str:
        """Return median milliseconds and how many times faster, a line a candidate, then notes."""
        rows = [
            [size, name, f"{own:.3f}", f"{next(iter(times.values())) / own:.2f}"]
            for size, times in self.milliseconds.items()
            for name, own in times.items()
        ]
        lines = [markdown_table(["size", "candidate", "ms", "speed"], rows, (0, 1))] if rows else []
        lines += [f"{name}: {value}" for name, value in self.notes.items()]
        lines += [f"ratio: {self.ratio}", f"max_abs_diff: {self.max_abs_diff:.3g}"]
        return "\n".join([*lines, f"machine: {self.machine}"])


def compare(candidates: Candidates, seconds: float = 3.0, rounds: int | None = None) -> Timing:
    """Time the candidates in turn, round after round; the first one is the reference.

    A round runs each candidate once, so that a busy moment of the machine falls on all of them;
    the ratio is taken within each round. Without `rounds` it goes on for `seconds`, but for at
    least 5 rounds. One unmeasured round compiles and fills caches.
    """
    for run in candidates.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    end = time.perf_counter() + seconds
    done = 0
    while done < (rounds or MIN_ROUNDS) or (rounds is None and time.perf_counter() < end):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
        done += 1
    reference = times[next(iter(candidates))]
    ratio = {
        name: median(slow / fast for slow, fast in zip(reference, own, strict=True))
        for name, own in times.items()
    }
    return Timing({name: 1e3 * median(own) for name, own in times.items()}, ratio, done)


def main(
    doc: str | None,
    measure: Callable[[argparse.Namespace], Result],
    add_options: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
    argv: Sequence[str] | None = None,
) -> None:
    """Run a benchmark from the command line; `add_options` describes what it takes."""
    parser = CommandParser(doc)
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = parser.parse_args(argv)
    with user_errors():
        result = measure(args)
    print(result.text())
    if args.json:
        print(json.dumps(asdict(result), allow_nan=False))
