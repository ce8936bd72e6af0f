"""Training runs of EVP's Table 2 (CVPR 2021, Sec. 4.3), and checks that its rows are fair.

A row of the table is the full method with one loss of stage 1 switched off. For every row and seed
stage 1 is trained, then stage 2 on its encoders, then both are measured on held-out clips:

    OUT/pretrained/seed0/{content,emotion}    where pretraining is part of it; shared by all rows
    OUT/<row>/seed0/{disentangle,audio2lm}    run folders
    OUT/<row>/seed0/landmarks                 stage 2's landmarks of the held-out clips

The training scripts themselves resolve the configurations, with every default. These are compared
before anything is trained, and the run folders with them afterwards.
"""

import subprocess
import sys
import typing as tp
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from affekt.runtime.config import flat, read_mapping
from affekt.runtime.files import sha256
from affekt.runtime.plan import Stage
from affekt.runtime.training import checkpoint
from affekt.runtime.training.provenance import starts
from affekt.runtime.training.run_config import FREE_KEYS

Settings = dict[str, tp.Any]  # a configuration, flat: dotted key -> value
Source = tuple[Path, Settings]  # its file, and what that resolves to

FULL = "full"  # the row with every loss
PLACE_KEYS = {"run.out", "run.seed"}  # what any two runs of one row differ in
SCRIPTS = {
    "pretrain_content": "pretrain_encoders.py",
    "pretrain_emotion": "pretrain_encoders.py",
    "disentangle": "train_disentangle.py",
    "audio2lm": "train_audio2lm.py",
}
PRETRAINED = {"pretrain_content": "content", "pretrain_emotion": "emotion"}  # the encoder
LANDMARKS = "landmarks"  # folder of a row and seed
CODES = "codes.json"  # evp.analysis.measure_codes writes it into the run
PREDICTIONS = "predictions.json"  # what evp.inference.predict writes last
MEAN_CODES = "emotion_codes.json"  # of evp.inference.emotion_codes; videos need it


@dataclass(frozen=True)
class RowConfig:
    """A row of the table other than the full method."""

    name: str
    config: Path  # of train_disentangle.py
    switches: str  # the one key in which it differs from the full method


@dataclass(frozen=True)
class Config:
    """An ablation of stage 1, measured on the landmarks of stage 2."""

    corpus: Path  # prepared, with pairs
    disentangle: Path  # configuration of the full method
    audio2lm: Path  # configuration of stage 2, the same for every row
    rows: tuple[RowConfig, ...]
    pretrain_content: Path | None = None  # null: every seed takes what `disentangle` names
    pretrain_emotion: Path | None = None
    split: tp.Literal["val", "test_sentence"] = "test_sentence"  # what is measured
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if not names or len({*names, FULL, "pretrained"}) != len(names) + 2:
            raise ValueError(f"rows are {names}, wanted different names, none of them {FULL!r}")
        if not self.seeds or len({*self.seeds}) != len(self.seeds):
            raise ValueError(f"seeds are {self.seeds}, wanted different ones")


@dataclass(frozen=True)
class Training:
    """One run that the table needs."""

    kind: str  # a key of SCRIPTS
    row: str | None  # None: shared by all rows of the seed
    config: Path
    settings: Settings  # every key, resolved
    changes: Settings  # those of them that the command line sets
    after: tuple[str, ...] = ()  # names of runs that it builds on

    @property
    def name(self) -> str:
        """The run's name in logs."""
        return "_".join(
            [*([self.row] if self.row else []), f"seed{self.settings['run.seed']}", self.kind]
        )

    @property
    def out(self) -> Path:
        """The run folder."""
        return Path(self.settings["run.out"])

    @property
    def command(self) -> tuple[str, ...]:
        """The command that trains it, or continues it."""
        overrides = (f"{key}={value}" for key, value in self.changes.items())
        return (sys.executable, SCRIPTS[self.kind], str(self.config), *overrides)


def resolve(script: str, config: Path) -> Settings:
    """Return every value that a script would train with; a ValueError holds its own message."""
    command = (sys.executable, script, str(config), "--resolve")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{config}: {done.stderr.strip()}")
    return flat(yaml.safe_load(done.stdout))


def differing(one: Settings, other: Settings) -> list[str]:
    """Return the keys in which two runs differ, other than their folder and seed, sorted."""
    keys = (one.keys() | other.keys()) - PLACE_KEYS
    return sorted(key for key in keys if one.get(key, ...) != other.get(key, ...))


def check_row(full: Settings, ablated: Settings, row: RowConfig) -> None:
    """Refuse a row that is not the full method with one loss switched off.

    Raises:
        ValueError: it differs in other keys than its own, or sets that to more than 0.
    """
    found = differing(full, ablated)
    if found != [row.switches]:
        shown = [f"{key} ({full.get(key)} and {ablated.get(key)})" for key in found]
        raise ValueError(
            f"the row {row.name} ({row.config}) is to differ from the full method in "
            f"{row.switches} alone, but differs in {', '.join(shown) or 'nothing'}"
        )
    if ablated[row.switches] != 0:
        raise ValueError(f"{row.config} sets {row.switches} to {ablated[row.switches]}, wanted 0")


def trainings(config: Config, out: Path) -> list[Training]:
    """Return every run in the order of training: all rows of a seed, then the next seed.

    Raises:
        ValueError: a configuration that its script refuses, or a row that is not fair.
    """
    # Every configuration with its defaults: stage 1 of each row, stage 2, shared pretraining.
    full = resolve(SCRIPTS["disentangle"], config.disentangle)
    stage_1 = {FULL: (config.disentangle, full)}
    for row in config.rows:
        stage_1[row.name] = (row.config, resolve(SCRIPTS["disentangle"], row.config))
        check_row(full, stage_1[row.name][1], row)
    stage_2 = (config.audio2lm, resolve(SCRIPTS["audio2lm"], config.audio2lm))
    shared = {
        kind: (path, resolve(SCRIPTS[kind], path))
        for kind in PRETRAINED
        if (path := getattr(config, kind)) is not None
    }

    def training(
        kind: str, row: str | None, source: Source, changes: Settings, after: tuple[str, ...] = ()
    ) -> Training:
        path, settings = source
        unknown = changes.keys() - settings.keys()
        if unknown:
            raise ValueError(f"{path} has no {', '.join(sorted(unknown))}; is it a {kind} file?")
        return Training(kind, row, path, settings | changes, changes, after)

    runs = []
    for seed in config.seeds:
        given: Settings = {"corpus": str(config.corpus), "run.seed": seed}
        # The pretrained encoders of the seed.
        folder = out / "pretrained" / f"seed{seed}"
        first = [
            training(kind, None, source, given | {"run.out": str(folder / PRETRAINED[kind])})
            for kind, source in shared.items()
        ]
        encoders = {f"{PRETRAINED[run.kind]}_from": str(run.out) for run in first}
        runs += first
        # Both stages of every row, on those encoders.
        for name, source in stage_1.items():
            folder = row_folder(out, name, seed)
            place = {"run.out": str(folder / "disentangle")}
            waits = tuple(run.name for run in first)
            one = training("disentangle", name, source, given | encoders | place, waits)
            place = {"run.out": str(folder / "audio2lm"), "encoders": str(one.out)}
            runs += [one, training("audio2lm", name, stage_2, given | place, (one.name,))]
    return runs


def row_folder(out: Path, row: str, seed: int) -> Path:
    """Return where the runs of one row and seed are."""
    return out / row / f"seed{seed}"


def finished(run: Training) -> bool:
    """Return whether a run has all its steps.

    Raises:
        ValueError: the folder holds a run of other settings; the message names the first key. A
            key that is newer than the run counts as its default of today.
    """
    path = run.out / "config.yaml"
    if not path.is_file():
        return False
    kept = flat(read_mapping(path))
    if kept.keys() != run.settings.keys():  # an option came since: the run had its default
        kept = resolve(SCRIPTS[run.kind], path)
    free = {f"run.{key}" for key in FREE_KEYS - {"steps"}}
    for key in sorted((kept.keys() | run.settings.keys()) - free):
        found, wanted = kept.get(key), run.settings.get(key)
        if found != wanted:
            raise ValueError(
                f"{run.out} holds a run with {key} {found}, wanted {wanted}; "
                "delete that folder or choose another --out"
            )
    state = checkpoint.newest(run.out / "checkpoints")
    return state is not None and int(state["step"]) == run.settings["run.steps"]


def check_runs(runs: Sequence[Training], corpus: Path) -> list[str]:
    """Return the commits that all runs were trained at, finished and on the data that is there.

    Raises:
        ValueError: a run is not finished, or one of its starts read other data.
    """
    wanted = sha256(corpus / "manifest.jsonl")
    commits = set()
    for run in runs:
        if not finished(run):
            raise ValueError(f"{run.out} has not done its {run.settings['run.steps']} steps")
        for start in starts(run.out / "run.json"):
            if start["data"] != {str(corpus): wanted}:
                raise ValueError(
                    f"{run.out} was trained on {start['data']}, wanted {corpus} as it is now "
                    f"({wanted}); delete that folder and train it anew"
                )
            commits.add(str(start["commit"])[:9] + ("+" if start["uncommitted"] else ""))
    return sorted(commits)


def remaining(config: Config, runs: Sequence[Training]) -> list[Stage]:
    """Return the commands that are still to run: training and, after it, measuring."""
    waiting = {run.name for run in runs if not finished(run)}
    stages = []
    for run in runs:
        if run.name in waiting:
            after = tuple(name for name in run.after if name in waiting)
            stages.append(Stage(run.name, run.command, after))
        for made, module, arguments in _measurements(config, run):
            name = f"{run.name}_{module.rpartition('.')[2]}"
            command = (sys.executable, "-m", module, str(run.out), *arguments)
            if run.name in waiting:
                stages.append(Stage(name, command, (run.name,)))
                continue
            # A measurement that is there is kept if it is not older than the run's last checkpoint.
            saved = max(path.stat().st_mtime for path in (run.out / "checkpoints").glob("*.pt"))
            if not made.is_file() or made.stat().st_mtime < saved:
                stages.append(Stage(name, command))
    return stages


def _measurements(config: Config, run: Training) -> list[tuple[Path, str, tuple[str, ...]]]:
    """Return what measures a run: the file that it writes, module, arguments after the run."""
    corpus = ("--corpus", str(config.corpus))
    split = (*corpus, "--split", config.split)
    if run.kind == "disentangle":
        return [(run.out / CODES, "evp.analysis.measure_codes", split)]
    if run.kind != "audio2lm":
        return []
    folder = run.out.parent / LANDMARKS
    predict = (*split, "--out", str(folder))
    return [
        (folder / PREDICTIONS, "evp.inference.predict", predict),
        (run.out / MEAN_CODES, "evp.inference.emotion_codes", corpus),
    ]
