"""Whether an ablation repeats the order of rows of EVP's Table 2, and all of it as Markdown.

The paper prints one figure a row, of one training presumably, and its rows differ by little: full
2.45 against 2.47 without L_self. So a row here is trained with several seeds, its difference from
the full method is taken seed by seed (same data order, same pretrained encoders), and it counts as
told apart where a 95 % interval of Student's t over the seeds excludes zero.
"""

import math
import typing as tp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, t

from affekt.evaluation.ablation.runs import FULL
from affekt.evaluation.tables import table as tables
from affekt.evaluation.tables.build import build_ablation
from affekt.evaluation.tables.evaluations import Ablation
from affekt.evaluation.tables.papers import PaperTable

Rows = dict[str, dict[str, list[float]]]  # row -> metric -> a value for each seed

LEVEL = 0.95
TABLE = "evp-table2"  # of papers.yaml
CODE_COLUMNS = {  # see affekt.evaluation.ablation.scores
    "mouth_r": "mouth r (+)",
    "face_emotion": "emotion in faces (+)",
    "code_emotion": "emotion in E_e (+)",
    "code_clusters": "silhouette of E_e (+)",
    "code_sentence": "sentence in E_e (-)",
    "content_emotion": "emotion in E_c (-)",
    "content_sentence": "sentence in E_c (+)",
}


@dataclass(frozen=True)
class Difference:
    """A row less the full method, seed by seed."""

    mean: float
    half: float | None  # of the 95 % interval over seeds; None from a single seed
    paper: float | None  # the same difference in the paper

    @property
    def told(self) -> bool:
        """Whether the interval excludes zero."""
        return self.half is not None and abs(self.mean) > self.half


@dataclass(frozen=True)
class Verdict:
    """How one column stands to the paper's."""

    metric: str
    best: str  # row of the lowest mean
    correlation: float | None  # of the rows' ranks with the paper's; None where either is flat
    differences: dict[str, Difference]

    @property
    def same_order(self) -> bool:
        """Whether every row has the paper's rank."""
        return self.correlation is not None and self.correlation > 1 - 1e-9

    @property
    def full_best(self) -> bool:
        """Whether the full method has the lowest mean."""
        return self.best == FULL


def verdict(rows: Rows, metric: str, paper: Mapping[str, Mapping[str, float]]) -> Verdict:
    """Hold one column, lower is better, against the paper's.

    Raises:
        ValueError: a row has another number of seeds than the full method.
    """
    full = rows[FULL][metric]
    means = {name: float(np.mean(values[metric])) for name, values in rows.items()}
    differences = {
        name: _difference(values[metric], full, _paper_difference(paper, name, metric))
        for name, values in rows.items()
        if name != FULL
    }
    shared = [name for name in rows if metric in paper.get(name, {})]
    correlation = rank_correlation(
        [means[name] for name in shared], [paper[name][metric] for name in shared]
    )
    return Verdict(metric, min(means, key=means.__getitem__), correlation, differences)


def rank_correlation(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Return Spearman's rho, ties sharing their mean rank; None below two rows or without order."""
    if len(ours) < 2:
        return None
    first, second = rankdata(ours), rankdata(theirs)
    if not first.std() or not second.std():
        return None
    return float(np.corrcoef(first, second)[0, 1])


def spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation over seeds, n - 1 below; None from a single seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def as_json(verdicts: Sequence[Verdict]) -> dict[str, tp.Any]:
    """Return the verdicts as plain data for a JSON file."""
    return {
        each.metric: {
            "best": each.best,
            "full_best": each.full_best,
            "rank_correlation": each.correlation,
            "same_order": each.same_order,
            "differences": {
                name: {"mean": d.mean, "half": d.half, "paper": d.paper, "told": d.told}
                for name, d in each.differences.items()
            },
        }
        for each in verdicts
    }


def printed(paper: PaperTable) -> dict[str, dict[str, float]]:
    """Return the paper's figures by the name of our row that stands beside them."""
    return {row.ours: paper.figures(row.name) for row in paper.rows if row.ours is not None}


def markdown(paper: PaperTable, ablation: Ablation, verdicts: Sequence[Verdict]) -> str:
    """Render what table2.json holds: the table, the figures beside it, the verdict."""
    lines = [
        tables.markdown(build_ablation(paper, ablation)),
        "**What the codes hold** (+: more is better, -: less is better)",
        "",
        *_codes(ablation),
        "",
        "**Does it repeat the paper?**",
        "",
        overall(verdicts),
        "",
        *(f"- {sentence(each)}" for each in verdicts),
    ]
    return "\n".join(lines) + "\n"


def overall(verdicts: Sequence[Verdict]) -> str:
    """Say in how many columns the paper's order and its claims come out."""
    count = len(verdicts)
    same, best = sum(v.same_order for v in verdicts), sum(v.full_best for v in verdicts)
    every = [d for v in verdicts for d in v.differences.values()]
    order = (
        f"The paper's order of rows comes out in {same} of {count} columns, the full method as the "
        f"best in {best} of {count}."
    )
    if all(d.half is None for d in every):
        return f"{order} A single seed tells no row from another."
    worse = sum(d.told and d.mean > 0 for d in every)
    better = sum(d.told and d.mean < 0 for d in every)
    return (
        f"{order} Of {len(every)} differences from the full method, switching a loss off does harm "
        f"beyond the seeds' spread in {worse}, good in {better}, and neither can be said of "
        f"{len(every) - worse - better}; by chance alone about {len(every) * (1 - LEVEL):.1f} "
        "would be told apart."
    )


def sentence(each: Verdict) -> str:
    """Say how one column stands to the paper's."""
    kinds: dict[str, list[str]] = {"worse": [], "better": [], "not told apart": []}
    for name, d in each.differences.items():
        kind = "not told apart" if not d.told else "worse" if d.mean > 0 else "better"
        half = "" if d.half is None else f" +- {d.half:.3f}"
        kinds[kind].append(f"{name} {d.mean:+.3f}{half}")
    found = "; ".join(f"{kind}: {', '.join(items)}" for kind, items in kinds.items() if items)
    rho = "undefined" if each.correlation is None else f"{each.correlation:+.2f}"
    return (
        f"{each.metric}: lowest is {each.best}; rank correlation with the paper {rho}; "
        f"against full, {found}"
    )


def _difference(ours: Sequence[float], full: Sequence[float], paper: float | None) -> Difference:
    if len(ours) != len(full):
        raise ValueError(f"{len(ours)} seeds against {len(full)} of the full method; pair them")
    each = np.subtract(ours, full)
    deviation = spread(each.tolist())
    if deviation is None:
        return Difference(float(each.mean()), None, paper)
    reach = float(t.ppf((1 + LEVEL) / 2, len(each) - 1)) * deviation / math.sqrt(len(each))
    return Difference(float(each.mean()), reach, paper)


def _paper_difference(
    paper: Mapping[str, Mapping[str, float]], row: str, metric: str
) -> float | None:
    known = metric in paper.get(row, {}) and metric in paper.get(FULL, {})
    return round(paper[row][metric] - paper[FULL][metric], 6) if known else None


def _codes(ablation: Ablation) -> list[str]:
    """Return the table of the figures that the paper does not print."""
    rows = [(name, figures) for name, figures in ablation.rows.items()]
    rows += [
        (f"*{name}*", {key: [value] for key, value in figures.items()})
        for name, figures in ablation.controls.items()
    ]
    lines = [["", *CODE_COLUMNS.values()], ["---", *["---:"] * len(CODE_COLUMNS)]]
    lines += [[name, *(_cell(row.get(key)) for key in CODE_COLUMNS)] for name, row in rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _cell(values: Sequence[float] | None) -> str:
    if not values:
        return "n/a"
    deviation = spread(values)
    return f"{np.mean(values):.3f}" + ("" if deviation is None else f" +- {deviation:.3f}")
