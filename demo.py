"""Run a system's whole chain on the mini corpus: render, prepare, train, measure, show.

    python demo.py configs/demo/evp.yaml
    python demo.py configs/demo/eamm.yaml cores=4
    python demo.py configs/demo/full.yaml

Every stage is a command, printed as it starts, that can be run, changed or repeated alone; running
the demo again does only what is missing. All systems share one corpus, OUT/report.html and
OUT/results.json, whose figures are nested by stage.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from affekt.runtime.command import config_from_argv
from affekt.runtime.files import read_json, write_json
from affekt.runtime.plan import Stage, StageError, run_plan
from affekt.showcase.plans import (
    EammDemo,
    EvpDemo,
    FullDemo,
    evp_results,
    scores_of,
    stages_of,
)
from affekt.showcase.thresholds import Results, rows


@dataclass(frozen=True)
class Config:
    """Which demo runs, where, and on how many cores."""

    system: Literal["evp", "eamm", "full"]
    out: Path = Path("runs/demo")
    raw: Path = Path("data/raw/mini")
    seed: int = 0  # of the mini corpus
    cores: int = 2
    evp: EvpDemo = field(default_factory=EvpDemo)
    eamm: EammDemo = field(default_factory=EammDemo)
    full: FullDemo = field(default_factory=FullDemo)

    @property
    def home(self) -> Path:
        """The folder of the system's own runs, media and figures."""
        return self.out if self.system == "evp" else self.out / self.system


def plan(cfg: Config) -> list[Stage]:
    """Return the commands of the demo; those that others wait for come first."""
    size = {"evp": cfg.evp, "eamm": cfg.eamm, "full": cfg.full}[cfg.system]
    shared = {"out": cfg.home, "raw": cfg.raw, "seed": cfg.seed, "cores": cfg.cores}
    return stages_of(cfg.system, shared | vars(size))


def run_demo(cfg: Config) -> Results:
    """Run what is missing of the plan; write results.json and report.html."""
    from affekt.showcase.report import write_report  # imports all that the figures need

    with elapsed(cfg.home / "elapsed.json") as wall:
        seconds = run_plan(plan(cfg), cfg.home / "logs", cfg.cores)
    path = cfg.out / "results.json"
    results: Results = read_json(path) if path.exists() else {}
    section: Results = results if cfg.system == "evp" else results.setdefault(cfg.system, {})
    times = {"seconds": seconds, "wall_seconds": round(wall[0])}
    kept = {key: section[key] for key in times if key in section}  # a finished demo keeps its times
    section |= read_json(cfg.home / "figures.json") | times | kept
    write_json(path, results)
    write_report(cfg.out)
    return results


def table_1(out: Path) -> str:
    """Return EVP's Table 1 of the demo as text; empty where EVP's demo has not run."""
    path = scores_of(evp_results(out)) / "evp-table1.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@contextlib.contextmanager
def elapsed(path: Path) -> Iterator[list[float]]:
    """Add the seconds of this attempt, failed or not, to those of the attempts before it."""
    before = read_json(path) if path.exists() else 0.0
    started, total = time.monotonic(), [before]
    try:
        yield total
    finally:
        total[0] = round(before + time.monotonic() - started, 1)
        write_json(path, total[0])


def main() -> int:
    cfg = config_from_argv(Config, __doc__)
    try:
        results = run_demo(cfg)
    except StageError as error:
        print(f"demo.py: {error}", file=sys.stderr)
        return 1
    for row in rows(results):
        print(f"{row.key:34} {row.value:>8}  {row.threshold:36} {row.mark}")
    print(table_1(cfg.out))
    print(f"see {cfg.out / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
