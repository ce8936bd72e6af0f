"""Read finished evaluations and ablations from their folders, and check that they compare.

An evaluation is a folder with evaluation.json (protocol, coverage, weights) and scores.jsonl (a
line a clip, row and metric); an ablation is a JSON file {"rows": {name: {metric: [value of each
seed]}}, "controls": {name: {metric: value}}, "notes": [...]}; the latter two may be absent.
"""

import typing as tp
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from affekt.evaluation.protocol import NETWORK_METRICS
from affekt.metrics.intervals import Interval
from affekt.runtime.files import read_json, read_jsonl

SCHEMA = 2  # of evaluation.json
ClipScores = dict[str, float]  # clip -> figure
RowScores = dict[str, dict[str, ClipScores]]  # row -> metric -> figures
ABLATION = "table2.json"  # what test.py ablate leaves


@dataclass(frozen=True)
class Ablation:
    """Training runs that differ in one setting a row, and in the seed."""

    rows: dict[str, dict[str, list[float]]]  # row -> metric -> figure of each seed
    controls: dict[str, dict[str, float]]  # row -> metric -> figure
    notes: list[str]


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation.

    Attributes:
        name: of the method.
        record: evaluation.json.
        scores: row -> metric -> clip -> figure; a clip without a figure is not there.
        speakers, emotions: of each clip; empty where not known.
        distribution: row -> metric (fid, kid) -> estimate and interval.
    """

    name: str
    record: dict[str, tp.Any]
    scores: RowScores
    speakers: dict[str, str]
    emotions: dict[str, str]
    distribution: dict[str, dict[str, Interval]]

    @property
    def protocol(self) -> str:
        """Protocol and detector: both must agree before figures are compared."""
        used = self.record["protocol"]
        label = f"{used['id']} version {used['version']} ({str(used['hash'])[:12]})"
        return f"{label}, {self.record['detector']}"

    def of(self, row: str, metric: str) -> ClipScores:
        """Return the figures of a row by clip; empty where there are none."""
        return self.scores.get(row, {}).get(metric, {})


def load_evaluation(folder: Path) -> Evaluation:
    """Read an evaluation's folder.

    Raises:
        FileNotFoundError: no evaluation there.
        ValueError: of another version, or without scores.
    """
    path = folder / "evaluation.json"
    for needed in (path, folder / "scores.jsonl"):
        if not needed.is_file():
            raise FileNotFoundError(f"{needed} is missing; run python test.py run --out {folder}")
    record = read_json(path)
    if record.get("schema") != SCHEMA:
        found = record.get("schema")
        raise ValueError(f"{path} has schema {found}, wanted {SCHEMA}; run the evaluation anew")
    distribution = {
        row: {metric: Interval(**found) for metric, found in metrics.items()}
        for row, metrics in record.get("distribution", {}).items()
    }
    return Evaluation(record["name"], record, *_scores(folder / "scores.jsonl"), distribution)


def load_ablation(path: Path) -> Ablation:
    """Read an ablation from its file, or from the folder that test.py ablate leaves.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it has no rows.
    """
    file = path / ABLATION if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; python test.py ablate writes it")
    found = read_json(file)
    if not found.get("rows"):
        raise ValueError(f"{file} has no rows, wanted {{name: {{metric: [value of each seed]}}}}")
    return Ablation(found["rows"], found.get("controls", {}), found.get("notes", []))


def refuse_mixture(evaluations: Sequence[Evaluation], metrics: Sequence[str]) -> None:
    """Refuse evaluations of one table that differ in what its figures depend on.

    Raises:
        ValueError: two of them differ in protocol or detector, in the true video of a clip, or in
            the weights of a network of one of `metrics`.
    """
    for first, other in combinations(evaluations, 2):
        if other.protocol != first.protocol:
            raise ValueError(
                f"{first.name!r} was evaluated with {first.protocol}, {other.name!r} with "
                f"{other.protocol}; crop, alignment and detector change figures by more than "
                "methods differ. Evaluate both alike"
            )
        one, two = (each.record.get("truths", {}) for each in (first, other))
        differing = sorted(clip for clip in one.keys() & two.keys() if one[clip] != two[clip])
        if differing:
            raise ValueError(
                f"{first.name!r} and {other.name!r} were measured against different true videos of "
                f"{len(differing)} clips, such as {differing[0]}; evaluate both against one truth"
            )
        for metric in metrics:
            found = {_weights_of(first, metric), _weights_of(other, metric)} - {""}
            if len(found) > 1:
                raise ValueError(
                    f"{metric} of {first.name!r} and of {other.name!r} comes from networks of "
                    "different weights; evaluate both with one network"
                )


def _weights_of(evaluation: Evaluation, metric: str) -> str:
    """Return the checksum of the network of a metric; empty: it takes none, or none was there."""
    weights = evaluation.record.get("weights", {})
    for measure, given in NETWORK_METRICS.items():
        if metric in given:
            return str(weights.get(measure, ""))
    return ""


def _scores(path: Path) -> tuple[RowScores, dict[str, str], dict[str, str]]:
    scores: RowScores = {}
    speakers: dict[str, str] = {}
    emotions: dict[str, str] = {}
    for line in read_jsonl(path):
        clip = line["clip"]
        row = scores.setdefault(line["row"], {}).setdefault(line["metric"], {})
        speakers[clip], emotions[clip] = line["speaker"] or "", line["emotion"] or ""
        if line["value"] is not None:
            row[clip] = float(line["value"])
    if not scores:
        raise ValueError(f"{path} is empty; run the evaluation anew")
    return scores, speakers, emotions
