"""EVP's Table 2 as data and as Markdown, and whether it repeats the order of the paper's rows.

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

from metrics.ablation import FULL

Rows = dict[str, dict[str, list[float]]]  # row -> metric -> a value for each seed

LEVEL = 0.95
TABLE_2: dict[str, dict[str, float]] = {  # EVP (CVPR 2021), Table 2, as printed
    "no_cla": {"m_ld": 2.72, "m_lvd": 1.83, "f_ld": 3.68, "f_lvd": 1.63},
    "no_con": {"m_ld": 2.65, "m_lvd": 1.86, "f_ld": 3.03, "f_lvd": 1.60},
    "no_self": {"m_ld": 2.47, "m_lvd": 1.83, "f_ld": 3.02, "f_lvd": 1.62},
    "no_cross": {"m_ld": 2.54, "m_lvd": 1.80, "f_ld": 3.19, "f_lvd": 1.59},
    FULL: {"m_ld": 2.45, "m_lvd": 1.78, "f_ld": 3.01, "f_lvd": 1.56},
}
PAPER_COLUMNS = {"m_ld": "M-LD", "m_lvd": "M-LVD", "f_ld": "F-LD", "f_lvd": "F-LVD"}
MORE_COLUMNS = {  # see metrics.ablation_scores
    "mouth_r": "mouth r (+)",
    "face_emotion": "emotion in faces (+)",
    "code_emotion": "emotion in E_e (+)",
    "code_clusters": "silhouette of E_e (+)",
    "code_sentence": "sentence in E_e (-)",
    "content_emotion": "emotion in E_c (-)",
    "content_sentence": "sentence in E_c (+)",
}
NAMES = {
    "no_cla": "w/o L_cla",
    "no_con": "w/o L_con",
    "no_self": "w/o L_self",
    "no_cross": "w/o L_cross",
    FULL: "full",
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


def markdown(record: Mapping[str, tp.Any], verdicts: Sequence[Verdict]) -> str:
    """Render what table2.json holds: the table, the figures beside it, the verdict, the notes."""
    rows, paper = record["rows"], record["paper"]
    scale = record["controls"]
    text = ["**EVP, Table 2**: ours, mean +- sd over seeds | the paper's", ""]
    text += _table(PAPER_COLUMNS, rows, scale, paper)
    text += ["", "**What the codes hold** (+ more is better, - less is better)", ""]
    text += _table(MORE_COLUMNS, rows, scale, {})
    text += ["", "**Does it repeat the paper?**", "", overall(verdicts), ""]
    text += [f"- {sentence(each)}" for each in verdicts]
    text += ["", *(f"- {note}" for note in record["notes"])]
    return "\n".join(text) + "\n"


def overall(verdicts: Sequence[Verdict]) -> str:
    """Say in how many columns the paper's order and its claims come out."""
    count = len(verdicts)
    same, best = sum(v.same_order for v in verdicts), sum(v.full_best for v in verdicts)
    every = [d for v in verdicts for d in v.differences.values()]
    worse = sum(d.told and d.mean > 0 for d in every)
    better = sum(d.told and d.mean < 0 for d in every)
    return (
        f"The paper's order of rows comes out in {same} of {count} columns, the full method as the "
        f"best in {best} of {count}. Of {len(every)} differences from the full method, switching a "
        f"loss off does harm beyond the seeds' spread in {worse}, good in {better}, and neither "
        f"can be said of {len(every) - worse - better}; by chance alone about "
        f"{len(every) * (1 - LEVEL):.1f} would be told apart."
    )


def sentence(each: Verdict) -> str:
    """Say how one column stands to the paper's."""
    kinds: dict[str, list[str]] = {"worse": [], "better": [], "not told apart": []}
    for name, d in each.differences.items():
        kind = "not told apart" if not d.told else "worse" if d.mean > 0 else "better"
        half = "" if d.half is None else f" +- {d.half:.3f}"
        kinds[kind].append(f"{NAMES.get(name, name)} {d.mean:+.3f}{half}")
    found = "; ".join(f"{kind}: {', '.join(items)}" for kind, items in kinds.items() if items)
    rho = "undefined" if each.correlation is None else f"{each.correlation:+.2f}"
    column, best = PAPER_COLUMNS.get(each.metric, each.metric), NAMES.get(each.best, each.best)
    return f"{column}: best is {best}; rank correlation with the paper {rho}; against full, {found}"


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


def _table(
    columns: Mapping[str, str],
    rows: Rows,
    scale: Mapping[str, Mapping[str, float]],
    paper: Mapping[str, Mapping[str, float]],
) -> list[str]:
    lines = [["", *columns.values()], ["---", *["---:"] * len(columns)]]
    for name, values in rows.items():
        cells = [_cell(values.get(key), paper.get(name, {}).get(key)) for key in columns]
        lines.append([NAMES.get(name, name), *cells])
    for name, control in scale.items():
        lines.append(
            [f"*{name}*", *(_cell([control[k]] if k in control else None) for k in columns)]
        )
    return ["| " + " | ".join(line) + " |" for line in lines]


def _cell(values: Sequence[float] | None, paper: float | None = None) -> str:
    if not values:
        return "n/a"
    deviation = spread(values)
    ours = f"{np.mean(values):.3f}" + ("" if deviation is None else f" +- {deviation:.3f}")
    return ours if paper is None else f"{ours} / {paper:.2f}"
