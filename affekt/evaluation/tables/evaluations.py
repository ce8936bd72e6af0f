"""Read finished evaluations and ablations from their folders, and check that they compare.

An evaluation is a folder with evaluation.json (protocol, coverage, weights) and scores.jsonl (a
line a clip, row and metric); an ablation is a JSON file {"rows": {name: {metric: [value of each
seed]}}, "controls": {name: {metric: value}}, "notes": [...]}; the latter two may be absent.
"""

import math
import typing as tp
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affekt.evaluation.protocol import NETWORK_METRICS
from affekt.metrics.intervals import Interval
from affekt.runtime.files import read_json, read_jsonl

SCHEMA = 2  # of evaluation.json
ClipScores = dict[str, float]  # clip -> figure
RowScores = dict[str, dict[str, ClipScores]]  # row -> metric -> figures
ABLATION = "table2.json"  # what test.py ablate leaves
NEEDED = ("name", "protocol", "detector", "clips", "frames", "clip_coverage", "frame_coverage")


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
        ValueError: of another version, or a line of the scores does not fit.
    """
    path = folder / "evaluation.json"
    for needed in (path, folder / "scores.jsonl"):
        if not needed.is_file():
            raise FileNotFoundError(f"{needed} is missing; run python test.py run --out {folder}")
    record = read_json(path)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise ValueError(f"{path} has schema {found}, wanted {SCHEMA}; run the evaluation anew")
    lacking = [key for key in NEEDED if key not in record]
    lacking += [key for key in ("id", "version", "hash") if key not in record.get("protocol", {})]
    if lacking:
        raise ValueError(f"{path} has no {', '.join(lacking)}; run the evaluation anew")
    distribution = {
        row: {
            metric: Interval(found["value"], found.get("low"), found.get("high"))
            for metric, found in metrics.items()
            if metric in ("fid", "kid") and found and found.get("value") is not None
        }
        for row, metrics in (record.get("distribution") or {}).items()
    }
    return Evaluation(record["name"], record, *_scores(folder / "scores.jsonl"), distribution)


def load_ablation(path: Path) -> Ablation:
    """Read an ablation from its file, or from the folder that test.py ablate leaves.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the rows are no lists of finite numbers, or the controls no numbers.
    """
    file = path / ABLATION if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; python test.py ablate writes it")
    found = read_json(file)
    rows = found.get("rows") if isinstance(found, dict) else None
    if not isinstance(rows, dict) or not rows:
        raise ValueError(f"{file} has no rows, wanted {{name: {{metric: [value of each seed]}}}}")
    controls = found.get("controls") or {}
    for name, figures in (*rows.items(), *controls.items()):
        if not isinstance(figures, dict):
            raise ValueError(f"{file}, {name}, is {figures!r}, wanted figures by metric")
        for metric, values in figures.items():
            listed = values if name in rows else [values]
            if not isinstance(listed, list) or not listed or not all(map(_is_number, listed)):
                raise ValueError(f"{file}, {name}, {metric}: {values!r}, wanted finite numbers")
    return Ablation(rows, controls, list(found.get("notes") or []))


def refuse_mixture(evaluations: Sequence[Evaluation], metrics: Sequence[str]) -> None:
    """Refuse evaluations of one table that differ in what its figures depend on.

    Raises:
        ValueError: two of them differ in protocol or detector, in the true video of a clip, or in
            the weights of a network of one of `metrics`.
    """
    first = evaluations[0]
    for other in evaluations[1:]:
        differing = different_truths(first, other)
        if differing:
            raise ValueError(
                f"{first.name!r} and {other.name!r} were measured against different true videos of "
                f"{len(differing)} clips, such as {differing[0]}; evaluate both against one truth, "
                "or pass --mixed"
            )
        for metric in metrics:
            one, two = weights_of(first, metric), weights_of(other, metric)
            if one and two and one != two:
                raise ValueError(
                    f"{metric} of {first.name!r} and of {other.name!r} comes from networks of "
                    "different weights; evaluate both with one network, or pass --mixed"
                )
        if other.protocol != first.protocol:
            raise ValueError(
                f"{first.name!r} was evaluated with {first.protocol}, {other.name!r} with "
                f"{other.protocol}; crop, alignment and detector change figures by more than "
                "methods differ. Evaluate both alike, or pass --mixed to mark each row"
            )


def weights_of(evaluation: Evaluation, metric: str) -> str:
    """Return the checksum of the network of a metric; empty: it takes none, or none was there."""
    weights = evaluation.record.get("weights") or {}
    for measure, given in NETWORK_METRICS.items():
        if metric in given:
            return str(weights.get(measure, ""))
    return ""


def different_truths(first: Evaluation, other: Evaluation) -> list[str]:
    """Return the common clips whose true videos differ, sorted."""
    one, two = (each.record.get("truths") or {} for each in (first, other))
    return sorted(clip for clip in one.keys() & two.keys() if one[clip] != two[clip])


def _scores(path: Path) -> tuple[RowScores, dict[str, str], dict[str, str]]:
    scores: RowScores = {}
    speakers: dict[str, str] = {}
    emotions: dict[str, str] = {}
    for number, line in enumerate(read_jsonl(path), 1):
        try:
            clip, value = line["clip"], line["value"]
            row = scores.setdefault(line["row"], {}).setdefault(line["metric"], {})
            speakers[clip] = line["speaker"] or ""
            emotions[clip] = line["emotion"] or ""
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}, has no {error}: {line!r}") from None
        if clip in row:
            what = f"{line['metric']} of {clip}, {line['row']}"
            raise ValueError(f"{path}, line {number}: {what} is there twice")
        if value is not None and not _is_number(value):
            raise ValueError(f"{path}, line {number}: the value is {value!r}, no finite number")
        if value is not None:
            row[clip] = float(value)
    if not scores:
        raise ValueError(f"{path} is empty; run the evaluation anew")
    return scores, speakers, emotions


def _is_number(value: tp.Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
