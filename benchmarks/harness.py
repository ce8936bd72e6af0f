"""How every benchmark measures and reports: candidates alternated in one run, medians, a table.

A benchmark is a module whose `measure()` returns a `Result` and a table, and which ends with

    if __name__ == "__main__":
        main(__doc__, measure)

With `--json` the last line of its output is one JSON object: name, ratio, max_abs_diff and the
milliseconds behind them.
"""

import json
import time
import typing as tp
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

from affekt.runtime.command import CommandParser

MIN_ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """Median times of the candidates on one input, and how many times faster than the reference."""

    milliseconds: dict[str, float]
    ratio: dict[str, float]  # median over the rounds of reference time / candidate time
    rounds: int


@dataclass(frozen=True)
class Result:
    """What a benchmark found; `ratio` holds one figure per size, or a single one."""

    name: str
    ratio: dict[str, float] | float
    max_abs_diff: float  # between the candidate and the reference it is measured against
    milliseconds: dict[str, dict[str, float]] = field(default_factory=dict)  # by size, candidate
    notes: dict[str, tp.Any] = field(default_factory=dict)


def compare(
    candidates: Mapping[str, Callable[[], object]], seconds: float = 3.0, rounds: int | None = None
) -> Timing:
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


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as aligned text: the first column to the left, the others to the right."""
    cells = [[_cell(value) for value in row] for row in (header, *rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if k else text.ljust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )


def timing_rows(size: str, timing: Timing) -> list[list[object]]:
    """Return one table row per candidate: size, candidate, milliseconds, ratio."""
    return [
        [size, name, timing.milliseconds[name], f"x{timing.ratio[name]:.2f}"]
        for name in timing.milliseconds
    ]


def main(doc: str | None, measure: Callable[[], tuple[Result, str]]) -> None:
    """Run a benchmark from the command line; `measure` returns the result and its table."""
    parser = CommandParser(doc)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = parser.parse_args()
    result, text = measure()
    print(text)
    print(f"largest difference to the reference: {result.max_abs_diff:.3g}")
    if args.json:
        print(json.dumps(asdict(result), allow_nan=False))


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
