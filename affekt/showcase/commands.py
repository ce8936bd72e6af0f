"""How the demos' plans say a command."""

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """What every system's demo is told."""

    out: Path  # the system's runs, media and figures
    raw: Path  # the mini corpus, of which each system renders what it needs
    seed: int  # of the mini corpus
    cores: int

    def render(self, *emotions: str, **extent: int) -> tuple[str, ...]:
        """Return the command that adds what is missing to the mini corpus.

        Args:
            emotions: which, as the corpus names them; none: all.
            extent: options of data_prep.mini_corpus that are numbers, such as speakers=3.
        """
        numbers = [f"--{name.replace('_', '-')}={value}" for name, value in extent.items()]
        labels = ("--emotions", *emotions) if emotions else ()
        common = (f"--out={self.raw}", f"--seed={self.seed}", f"--workers={self.cores}")
        return module("data_prep.mini_corpus", *common, *numbers, *labels)

    def prepare(self, config: Path, out: Path) -> tuple[str, ...]:
        """Return the command that prepares the mini corpus as a YAML file says."""
        where = (f"out={out}", f"corpus.root={self.raw}", f"workers={self.cores}")
        return module("data_prep.prepare", str(config), *where)


def manifest(protocol: str, corpus: Path, csv: Path, *options: str) -> tuple[str, ...]:
    """Return the command that writes what a protocol wants generated."""
    where = (f"--corpus={corpus}", f"--write-manifest={csv}")
    return script("test.py", "check", f"--protocol={protocol}", *where, *options)


def generated(system: str, csv: Path, out: Path, *options: str) -> tuple[str, ...]:
    """Return the command that makes the videos of a manifest."""
    return script("generate.py", system, f"--manifest={csv}", f"--out={out}", *options)


def measured(protocol: str, csv: Path, results: Path, *options: str) -> tuple[str, ...]:
    """Return the command that measures the videos of a manifest; scores go beside them."""
    where = (f"--results={results}", f"--truth={csv.parent / 'truth'}", f"--manifest={csv}")
    out = f"--out={results}_scores"
    return script("test.py", "run", f"--protocol={protocol}", *where, out, *options)


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module of the project."""
    return (sys.executable, "-m", name, *arguments)


def script(name: str, *arguments: str | Path) -> tuple[str, ...]:
    """Return the command that runs a script of the project."""
    return (sys.executable, name, *map(str, arguments))
