"""EVP's Table 2 in Markdown: the rows over seeds, their differences from the full method, codes.

The paper prints one figure a row, of one training presumably, and its rows differ by little: full
2.45 against 2.47 without L_self. So a row is trained with several seeds here, and its difference
from the full method is taken seed by seed (same data order, same pretrained encoders), with the
95 % interval of Student's t over the seeds.
"""

import typing as tp
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import sem, spearmanr, t

from affekt.evaluation.ablation.runs import FULL
from affekt.evaluation.tables.build import build_ablation
from affekt.evaluation.tables.evaluations import Ablation
from affekt.evaluation.tables.papers import PaperTable
from affekt.evaluation.tables.table import PLUS_MINUS, render
from affekt.runtime.markdown import markdown_table

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
    significant: bool  # the interval excludes zero


def differences(rows: Rows, metric: str, paper: PaperTable) -> dict[str, Difference]:
    """Return each row's difference from the full method; none if that was not measured.

    Raises:
        ValueError: a row has another number of seeds than the full method.
    """
    printed, full = paper.beside_ours(), rows[FULL].get(metric, [])
    found = {}
    for name in [row for row in rows if full and row != FULL]:
        ours = rows[name][metric]
        if len(ours) != len(full):
            raise ValueError(f"{name} has {len(ours)} seeds, the full method {len(full)}")
        each = np.subtract(ours, full)
        mean, half = float(each.mean()), None
        if len(each) > 1:
            half = float(t.ppf((1 + LEVEL) / 2, len(each) - 1) * sem(each))
        both = metric in printed.get(name, {}) and metric in printed.get(FULL, {})
        theirs = round(printed[name][metric] - printed[FULL][metric], 6) if both else None
        found[name] = Difference(mean, half, theirs, half is not None and abs(mean) > half)
    return found


def rank_correlation(rows: Rows, metric: str, paper: PaperTable) -> float | None:
    """Return Spearman's rho of the rows' means with the paper's; None without an order."""
    printed = paper.beside_ours()
    shared = [name for name in rows if metric in rows[name] and metric in printed.get(name, {})]
    ours = [float(np.mean(rows[name][metric])) for name in shared]
    if len(set(ours)) < 2:
        return None
    return float(spearmanr(ours, [printed[name][metric] for name in shared]).statistic)


def compared(rows: Rows, paper: PaperTable) -> dict[str, dict[str, tp.Any]]:
    """Return differences and rank correlation of every column as data for a JSON file."""
    found = {column.metric: differences(rows, column.metric, paper) for column in paper.columns}
    return {
        metric: {
            "rank_correlation": rank_correlation(rows, metric, paper),
            "differences": {name: asdict(each) for name, each in by_row.items()},
        }
        for metric, by_row in found.items()
    }


def markdown(paper: PaperTable, ablation: Ablation) -> str:
    """Return the table, the differences from the full method, and what the codes hold."""
    columns = [column for column in paper.columns if column.metric in ablation.rows[FULL]]
    found = [differences(ablation.rows, column.metric, paper) for column in columns]
    rows = [
        [name, *(_difference(by_row[name]) for by_row in found)]
        for name in ablation.rows
        if name != FULL
    ]
    rhos = [rank_correlation(ablation.rows, column.metric, paper) for column in columns]
    rows.append(["rank correlation", *("n/a" if rho is None else f"{rho:+.2f}" for rho in rhos)])
    codes = list(ablation.rows.items())
    codes += [(name, {k: [v] for k, v in row.items()}) for name, row in ablation.controls.items()]
    held = [[name, *(_over_seeds(row.get(key)) for key in CODE_COLUMNS)] for name, row in codes]
    return "\n".join(
        [
            render(build_ablation(paper, ablation), "md"),
            f"**Row less full {PLUS_MINUS} half its 95 % interval over seeds (the paper's)**, bold "
            "where that excludes 0; below, the rank correlation of the rows with the paper's",
            "",
            markdown_table(["", *(column.heading for column in columns)], rows),
            "",
            "**What the codes hold** (+: more is better, -: less is better)",
            "",
            markdown_table(["", *CODE_COLUMNS.values()], held),
            "",
        ]
    )


def _difference(found: Difference) -> str:
    text = f"{found.mean:+.3f}" + ("" if found.half is None else f" {PLUS_MINUS} {found.half:.3f}")
    text = f"**{text}**" if found.significant else text
    return text if found.paper is None else f"{text} ({found.paper:+.2f})"


def _over_seeds(values: Sequence[float] | None) -> str:
    if not values:
        return "n/a"
    text = f"{np.mean(values):.3f}"
    return text if len(values) < 2 else f"{text} {PLUS_MINUS} {np.std(values, ddof=1):.3f}"
