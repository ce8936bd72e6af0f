"""The encoders of Fig. 5's panels: which runs they come from, and the codes of clips by them.

A model is one panel: the encoders before cross-reconstructed training ("pretrained"), after it
("cross") and after the same training with the cross term at 0 ("no_cross"); a run for each seed.

Letters: N clips, D channels of a code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import yaml

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from affekt.runtime.config import flat
from affekt.runtime.run import restore
from evp.inference.emotion_codes import check_emotions, clip_codes
from evp.networks.encoders import Encoders, Part, load_description

CROSS = "loss.cross_reconstruction"
DISENTANGLE = "train_disentangle.py"
PARTS: tuple[Part, ...] = get_args(Part)
RUN_KEYS = ("out", "device", "workers", "threads", "progress", "log_every", "save_every")
# Keys without effect on a run's result: where it is computed, how it is logged and saved.
WITHOUT_EFFECT = {*(f"run.{key}" for key in RUN_KEYS), "val.clips", "val.every", "val.split"}


@dataclass(frozen=True)
class Model:
    """Encoders under one name: for each part that it has, a run for each seed."""

    name: str
    runs: dict[Part, tuple[Path, ...]]

    def all_runs(self) -> list[Path]:
        """Return every run once."""
        return list(dict.fromkeys(run for runs in self.runs.values() for run in runs))


def open_models(
    runs: Sequence[Path], no_cross: Sequence[Path] = (), pretrained: Sequence[Path] = ()
) -> list[Model]:
    """Return the models pretrained, cross and no_cross, as far as there are runs of them.

    Args:
        runs: of cross-reconstructed training, one for each seed.
        no_cross: of the same training with the cross term at 0, in the order of `runs`.
        pretrained: what both began with, for each part one run or one for each seed; by default
            what the configurations of `runs` name as emotion_from and content_from.

    Raises:
        FileNotFoundError: a folder without encoders.
        ValueError: a run is not what it was named as, or there are too few of a kind.
    """
    # Each run is what it was named as.
    for run in (*runs, *no_cross):
        if set(load_description(run).holds) != set(PARTS):
            raise ValueError(f"{run} holds one encoder alone; name it with --pretrained")
    for run in runs:
        if cross_weight(run) == 0:
            raise ValueError(f"{run} was trained with {CROSS} at 0; name it with --no-cross")
    for run in no_cross:
        if (weight := cross_weight(run)) != 0:
            found = f"no run of {DISENTANGLE}" if weight is None else f"{CROSS} at {weight:g}"
            raise ValueError(f"{run} is {found}; --no-cross wants a run with {CROSS} at 0")
    if no_cross and len(no_cross) != len(runs):
        raise ValueError(
            f"{len(no_cross)} runs after --no-cross, {len(runs)} after --run; name one of each "
            f"for each seed, in the same order"
        )
    # The models that there are runs of.
    before = _named(pretrained, len(runs)) if pretrained else _configured(runs)
    runs_of = {
        "pretrained": before,
        "cross": dict.fromkeys(PARTS, tuple(runs)),
        "no_cross": dict.fromkeys(PARTS, tuple(no_cross)),
    }
    models = [Model(name, of_parts) for name, of_parts in runs_of.items()]
    return [model for model in models if model.all_runs()]


def cross_weight(run: Path) -> float | None:
    """Return a run's weight of cross reconstruction, None where its configuration has none."""
    weight = flat(read_config(run)).get(CROSS)
    return None if weight is None else float(weight)


def corpus_of_models(models: Sequence[Model], named: Path | None) -> Corpus:
    """Return the corpus of the runs, or another copy of it.

    Pretrained encoders may come from another corpus; only emotion encoders have a list of emotions.

    Raises:
        FileNotFoundError: no corpus there.
        ValueError: runs of two corpora or of other emotions, or a corpus that nothing names.
    """
    after = [run for model in models if model.name != "pretrained" for run in model.all_runs()]
    roots = {run: Path(root) for run in after if (root := read_config(run).get("corpus"))}
    for run, root in roots.items():
        first, wanted = next(iter(roots.items()))
        if root.resolve() != wanted.resolve():
            raise ValueError(
                f"{first} was trained on {wanted}, {run} on {root}; use runs of one corpus"
            )
    if named is None and not roots:
        raise ValueError(f"{after[0]} does not name its corpus; name it with --corpus")
    corpus = Corpus(named or next(iter(roots.values())))
    for model in models:
        for run in model.runs.get("emotion", ()):
            check_emotions(run, corpus)
    return corpus


def notes(models: Sequence[Model], corpus: Corpus) -> list[str]:
    """Return in which other settings compared runs differ, and which runs had another corpus."""
    by_name = {model.name: model for model in models}
    found = []
    if "no_cross" in by_name:
        pairs = (by_name[name].runs["emotion"] for name in ("cross", "no_cross"))
        for run, without in zip(*pairs, strict=True):
            if keys := differing_keys(run, without):
                found.append(f"{run} and {without} differ in {', '.join(keys)} too.")
    for run in [run for model in models for run in model.all_runs()]:
        source = read_config(run).get("corpus")
        if source is None or Path(source).resolve() != corpus.root.resolve():
            found.append(
                f"{run} was trained on {source or 'a corpus it does not name'}: "
                f"which clips of {corpus.root} it learned from is taken from the split."
            )
    return found


def differing_keys(first: Path, second: Path) -> list[str]:
    """Return the keys, but for the cross term, that differ between two runs and have an effect."""
    one, two = flat(read_config(first)), flat(read_config(second))
    keys = sorted((one.keys() | two.keys()) - WITHOUT_EFFECT - {CROSS})
    return [key for key in keys if one.get(key) != two.get(key)]


def part_codes(run: Path, part: Part, clips: Sequence[Clip]) -> Array:
    """Return the codes (N, D) of clips by one encoder of a run, the mean over a clip's windows."""
    encoder = getattr(Encoders(load_description(run).encoders), part)
    restore(run, **{f"{part}_encoder": encoder})
    return clip_codes(encoder, clips)


def mean_mfcc(clips: Sequence[Clip]) -> Array:
    """Return the mean row (N, 12) over a clip's windows: a code that needs no network."""
    return np.stack([clip.windows().mean(axis=(0, 1)) for clip in clips])


def read_config(run: Path) -> dict[str, Any]:
    """Return a run's config.yaml as it stands; an imported run has none, which is {}."""
    path = run / "config.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _configured(runs: Sequence[Path]) -> dict[Part, tuple[Path, ...]]:
    """Return the pretrained runs that the configurations name, for parts that all of them name."""
    found: dict[Part, tuple[Path, ...]] = {}
    if any(cross_weight(run) is None for run in runs):  # not of DISENTANGLE, with other keys
        return found
    for part in PARTS:
        sources = [read_config(run).get(f"{part}_from") or "" for run in runs]
        for run, source in zip(runs, sources, strict=True):
            if source and not Path(source).is_dir():
                raise ValueError(f"{run} began with {source}, which is not there; use --pretrained")
        if all(sources):
            found[part] = tuple(map(Path, sources))
    return found


def _named(pretrained: Sequence[Path], seeds: int) -> dict[Part, tuple[Path, ...]]:
    found: dict[Part, tuple[Path, ...]] = {}
    for part in PARTS:
        holders = [run for run in pretrained if part in load_description(run).holds]
        if len(holders) not in (0, 1, seeds):
            raise ValueError(
                f"{len(holders)} runs after --pretrained hold the {part} encoder; wanted one, or "
                f"one for each of the {seeds} after --run"
            )
        if holders:
            found[part] = tuple(holders * seeds if len(holders) == 1 else holders)
    return found
