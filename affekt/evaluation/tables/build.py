"""Build a paper's table: our results with intervals, the control rows, the printed figures.

A result's first row is the mean over clips, the second the mean of the emotions' means; on request
there is a row per emotion. An evaluation that bears the name of a row of the paper stands beside
that row, any other beside the paper's own method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from affekt.evaluation.controls import CONTROLS, RESULT, TRUTH
from affekt.evaluation.protocol import NETWORK_METRICS
from affekt.evaluation.tables.cells import (
    ACCURACY,
    CORRECT,
    RATIO,
    TRUTHS_ACCURACY,
    macro_cells,
    marked_cells,
    row_cells,
)
from affekt.evaluation.tables.evaluations import Ablation, Evaluation, refuse_mixture
from affekt.evaluation.tables.notes import ablation_notes, notes_of
from affekt.evaluation.tables.papers import PaperTable
from affekt.evaluation.tables.table import Cell, Table, TableColumn, TableRow

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class NoFiguresError(ValueError):
    """None of a table's figures was measured."""


@dataclass(frozen=True)
class TableOptions:
    """Rows beside the means over clips, and whether protocols may differ."""

    per_emotion: bool = False
    mixed: bool = False  # evaluations of different protocols, each row marked with its own


def build_table(
    paper: PaperTable, evaluations: Sequence[Evaluation], options: TableOptions | None = None
) -> Table:
    """Return a table of one or more evaluations.

    Raises:
        NoFiguresError: none of the table's figures is in any of them.
        ValueError: no evaluation, or two of one name or of different protocols.
    """
    options = options or TableOptions()
    if paper.layout == "ablation":
        raise ValueError(f"{paper.id} is made from an ablation (test.py ablate), not evaluations")
    _check(paper, evaluations, options.mixed)
    marked = marked_cells(paper, evaluations)
    rows = [
        row
        for evaluation in evaluations
        if RESULT in evaluation.scores
        for row in _of_method(paper, evaluation, marked[evaluation.name], options)
    ]
    if sum(row.kind == "result" for row in rows) > 1:
        rows = _lettered(rows)
    rows += _controls(paper, evaluations, options.mixed)
    _require_figures(paper, rows, "no evaluation has a")
    rows += _paper_rows(paper)
    notes = notes_of(paper, evaluations, rows)
    return Table(paper.id, paper.title, _columns(paper), rows, notes)


def build_ablation(paper: PaperTable, ablation: Ablation) -> Table:
    """Return a table of an ablation: means and standard deviations over seeds.

    Raises:
        NoFiguresError: the ablation has none of the table's figures.
        ValueError: the table is made from evaluations.
    """
    if paper.layout != "ablation":
        raise ValueError(f"{paper.id} is made from evaluations (test.py run), not an ablation")
    beside = {row.ours: row.name for row in paper.rows}
    shown = [column.metric for column in paper.columns]
    rows = []
    for name, figures in ablation.rows.items():
        cells = {key: over_seeds(figures[key]) for key in shown if key in figures}
        cells = _beside(paper, cells, beside[name]) if name in beside else cells
        rows.append(TableRow(name, "result", cells))
    _require_figures(paper, rows, "the ablation has no")
    for name, scores in ablation.controls.items():
        cells = {key: Cell(scores[key]) for key in shown if key in scores}
        rows.append(TableRow(name, "control", cells))
    rows += _paper_rows(paper)
    notes = [*ablation_notes(paper, rows), *ablation.notes]
    return Table(paper.id, paper.title, _columns(paper), rows, notes)


def over_seeds(values: Sequence[float]) -> Cell:
    """Return mean and sample standard deviation over seeds; none of one seed."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Cell(float(np.mean(values)), deviation=deviation, count=len(values))


def _check(paper: PaperTable, evaluations: Sequence[Evaluation], mixed: bool) -> None:
    if not evaluations:
        raise ValueError("no evaluation to make a table of")
    names = [evaluation.name for evaluation in evaluations]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two evaluations are named {twice[0]!r}; run one with another --name")
    if not mixed:
        own = (paper.metric,) if paper.metric else (CORRECT,) if paper.layout == "accuracy" else ()
        refuse_mixture(evaluations, [*own, *(column.metric for column in paper.columns)])


def _require_figures(paper: PaperTable, rows: Sequence[TableRow], missing: str) -> None:
    if not any(row.cells for row in rows):
        wanted = ", ".join(column.metric for column in paper.columns)
        raise NoFiguresError(f"{missing} figure of {paper.id}: {wanted}")


def _columns(paper: PaperTable) -> list[TableColumn]:
    return [
        TableColumn(
            each.metric,
            each.heading,
            each.better,
            each.decimals,
            each.decimals if each.printed_decimals is None else each.printed_decimals,
            paper.has_dagger(each),
        )
        for each in paper.columns
    ]


def _paper_rows(paper: PaperTable) -> list[TableRow]:
    """Return the rows that the paper prints, in its order."""
    rows = []
    for row in paper.rows:
        cells = {key: Cell(value) for key, value in _figures(paper, row.name).items()}
        rows.append(TableRow(f"{row.name} (paper)", "paper", cells))
    return rows


def _figures(paper: PaperTable, name: str) -> dict[str, float]:
    """Return a row of the paper, with the ratio of two accuracies that it prints."""
    figures = paper.figures(name)
    if figures.keys() >= {ACCURACY, TRUTHS_ACCURACY}:
        figures[RATIO] = figures[ACCURACY] / figures[TRUTHS_ACCURACY]
    return figures


def _beside(paper: PaperTable, cells: Mapping[str, Cell], name: str) -> dict[str, Cell]:
    """Put the figures of the paper's row `name` beside those of ours."""
    printed = _figures(paper, name)
    facing = {each.metric: each.counterpart or each.metric for each in paper.columns}
    return {key: replace(cell, paper=printed.get(facing[key])) for key, cell in cells.items()}


def _of_method(
    paper: PaperTable, evaluation: Evaluation, marked: dict[str, Cell], options: TableOptions
) -> list[TableRow]:
    """Return a method's rows: the mean over clips, that over emotions, each emotion's."""
    record = evaluation.record
    # The printed figures stand beside ours where the protocol follows the paper.
    if record.get("papers_own", True):
        own = [row.name for row in paper.rows if row.name == evaluation.name] or [paper.own]
        marked = _beside(paper, marked, own[0])
    # SyncNet's distances have the unit of its own embeddings, so those of a network that was
    # trained here do not compare with printed ones. An emotion accuracy is a share with any
    # classifier, and every paper trains its own.
    if "sync" in (record.get("trained_here") or []):
        sync = {
            key: replace(marked[key], paper=None)
            for key in NETWORK_METRICS["sync"]
            if key in marked
        }
        marked = marked | sync
    name = _label(evaluation.name, evaluation, options.mixed)
    rows = [TableRow(name, "result", dict(marked), method=evaluation.name)]
    if paper.layout == "emotions":
        return rows
    # The mean of the emotions' means, and each emotion's.
    means = macro_cells(paper, evaluation, RESULT)
    rows += [TableRow(f"{name}, mean of emotions", "mean", means)] if means else []
    if options.per_emotion:
        for emotion in sorted({each for each in evaluation.emotions.values() if each}):
            part = row_cells(paper, evaluation, RESULT, emotion)
            rows.append(TableRow(f"{name}, {emotion}", "emotion", part))
    return rows


def _lettered(rows: Sequence[TableRow]) -> list[TableRow]:
    results = [row.method for row in rows if row.kind == "result"]
    if len(results) > len(LETTERS):
        raise ValueError(f"{len(results)} evaluations in one table, {len(LETTERS)} at most")
    letters = dict(zip(results, LETTERS, strict=False))
    return [
        replace(row, letter=letters[row.method]) if row.kind == "result" else row for row in rows
    ]


def _controls(paper: PaperTable, evaluations: Sequence[Evaluation], mixed: bool) -> list[TableRow]:
    """Return the truth's row and the control rows; those that two evaluations share, once."""
    rows: list[TableRow] = []
    seen: list[tuple[str, str, dict[str, Cell]]] = []
    for number, evaluation in enumerate(evaluations):
        others = [row for row in evaluation.scores if row not in (RESULT, TRUTH, *CONTROLS)]
        for control in (TRUTH, *CONTROLS, *others):
            cells = row_cells(paper, evaluation, control)
            if not cells or (control, evaluation.protocol, cells) in seen:
                continue
            seen.append((control, evaluation.protocol, cells))
            if control == TRUTH and paper.truth is not None:
                cells = _beside(paper, cells, paper.truth)
            name = control if number == 0 else f"{control} ({evaluation.name})"
            rows.append(TableRow(_label(name, evaluation, mixed), "control", cells))
    return rows


def _label(name: str, evaluation: Evaluation, mixed: bool) -> str:
    return f"{name} [{evaluation.protocol}]" if mixed else name
