"""The papers' tables: our results with intervals, the controls, and the printed figures.

A result's first row is the mean over clips, the second the mean of the emotions' means; on request
there is a row per emotion. An evaluation that bears the name of a row of the paper stands beside
that row, any other beside the paper's own method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from affekt.evaluation.control_rows import CONTROLS, NETWORK_METRICS, RESULT, TRUTH
from affekt.evaluation.tables.cells import (
    ACCURACY,
    CORRECT,
    RATIO,
    TRUTHS_ACCURACY,
    macro_cells,
    row_cells,
)
from affekt.evaluation.tables.data import Cell, Column, Row, Table
from affekt.evaluation.tables.evaluations import Ablation, Evaluation, refuse_mixture
from affekt.evaluation.tables.marks import marked_cells
from affekt.evaluation.tables.notes import ablation_notes, notes_of
from affekt.evaluation.tables.papers import PaperColumn, PaperTable

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class NoFiguresError(ValueError):
    """None of a table's figures was measured."""


@dataclass(frozen=True)
class Options:
    """What a table shows beside the means over clips, and what it allows."""

    per_emotion: bool = False
    mixed: bool = False  # evaluations of different protocols, each row marked with its own


def build_table(
    paper: PaperTable, evaluations: Sequence[Evaluation], options: Options | None = None
) -> Table:
    """Return a table of one or more evaluations.

    Raises:
        NoFiguresError: none of the table's figures is in any of them.
        ValueError: no evaluation, or two of one name or of different protocols.
    """
    options = options or Options()
    if paper.layout == "ablation":
        raise ValueError(f"{paper.id} is made from an ablation (test.py ablate), not evaluations")
    _check(paper, evaluations, options.mixed)
    columns = columns_of(paper)
    marked = marked_cells(paper, columns, evaluations)
    rows = [
        row
        for number, evaluation in enumerate(evaluations)
        if RESULT in evaluation.scores
        for row in _of_method(paper, evaluation, marked[evaluation.name], options)
    ]
    if sum(row.kind == "result" for row in rows) > 1:
        rows = _lettered(rows)
    rows += _controls(paper, evaluations, options.mixed)
    if not any(row.cells for row in rows):
        wanted = ", ".join(column.metric for column in paper.columns)
        raise NoFiguresError(f"no evaluation has a figure of {paper.id}: {wanted}")
    rows += paper_rows(paper)
    return Table(paper.id, paper.title, columns, rows, notes_of(paper, evaluations, rows))


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
        cells = {key: _seeds_cell(figures[key]) for key in shown if key in figures}
        cells = _beside(paper, cells, beside[name]) if name in beside else cells
        rows.append(Row(name, "result", cells))
    if not any(row.cells for row in rows):
        raise NoFiguresError(f"the ablation has no figure of {paper.id}: {', '.join(shown)}")
    for name, scores in ablation.controls.items():
        cells = {key: Cell(scores[key]) for key in shown if key in scores}
        rows.append(Row(name, "control", cells))
    rows += paper_rows(paper)
    notes = [*ablation_notes(paper, rows), *ablation.notes]
    return Table(paper.id, paper.title, columns_of(paper), rows, notes)


def columns_of(paper: PaperTable) -> list[Column]:
    """Return the columns; a dagger where the paper's figures cannot be computed again."""
    return [
        Column(
            each.metric,
            each.heading,
            each.better,
            each.decimals,
            each.decimals if each.printed_decimals is None else each.printed_decimals,
            _has_dagger(paper, each),
        )
        for each in paper.columns
    ]


def paper_rows(paper: PaperTable) -> list[Row]:
    """Return the rows that the paper prints, in its order."""
    rows = []
    for row in paper.rows:
        cells = {key: Cell(value) for key, value in _figures(paper, row.name).items()}
        rows.append(Row(f"{row.name} (paper)", "paper", cells))
    return rows


def _figures(paper: PaperTable, name: str) -> dict[str, float]:
    """Return a row of the paper, with the ratio of two accuracies that it prints."""
    figures = paper.figures(name)
    if figures.keys() >= {ACCURACY, TRUTHS_ACCURACY}:
        figures[RATIO] = figures[ACCURACY] / figures[TRUTHS_ACCURACY]
    return figures


def _has_dagger(paper: PaperTable, column: PaperColumn) -> bool:
    """Say whether the column holds, or is held against, figures of an unknown protocol."""
    faces_print = column.counterpart is not None or paper.layout == "accuracy"
    return faces_print and not column.protocol_known


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


def _of_method(
    paper: PaperTable, evaluation: Evaluation, marked: dict[str, Cell], options: Options
) -> list[Row]:
    """Return a method's rows: the mean over clips, that over emotions, each emotion's."""
    own = [row.name for row in paper.rows if row.name == evaluation.name] or [paper.own]
    name = _label(evaluation.name, evaluation, options.mixed)
    if evaluation.record.get("papers_own", True):  # else there is no figure to hold ours against
        marked = _beside(paper, marked, own[0])
    marked = {key: _unlike_printed(evaluation, key, cell) for key, cell in marked.items()}
    rows = [Row(name, "result", dict(marked), method=evaluation.name)]
    if paper.layout == "emotions":
        return rows
    means = macro_cells(paper, evaluation, RESULT)
    rows += [Row(f"{name}, mean of emotions", "mean", means)] if means else []
    if options.per_emotion:
        for emotion in sorted({each for each in evaluation.emotions.values() if each}):
            part = row_cells(paper, evaluation, RESULT, emotion)
            rows.append(Row(f"{name}, {emotion}", "emotion", part))
    return rows


def _beside(paper: PaperTable, cells: Mapping[str, Cell], name: str) -> dict[str, Cell]:
    """Put the figures of the paper's row `name` beside those of ours."""
    printed = _figures(paper, name)
    facing = {each.metric: each.counterpart or each.metric for each in paper.columns}
    return {key: replace(cell, paper=printed.get(facing[key])) for key, cell in cells.items()}


def _unlike_printed(evaluation: Evaluation, metric: str, cell: Cell) -> Cell:
    """Take the printed figure from a sync figure by a network that was trained here.

    SyncNet's distances have the unit of its own embeddings: another network's do not compare. An
    emotion accuracy is a share whichever network judges, and every paper trains its own.
    """
    own = "sync" in (evaluation.record.get("trained_here") or [])
    return replace(cell, paper=None) if own and metric in NETWORK_METRICS["sync"] else cell


def _lettered(rows: Sequence[Row]) -> list[Row]:
    results = [row.method for row in rows if row.kind == "result"]
    if len(results) > len(LETTERS):
        raise ValueError(f"{len(results)} evaluations in one table, {len(LETTERS)} at most")
    letters = dict(zip(results, LETTERS, strict=False))
    return [
        replace(row, letter=letters[row.method]) if row.kind == "result" else row for row in rows
    ]


def _controls(paper: PaperTable, evaluations: Sequence[Evaluation], mixed: bool) -> list[Row]:
    """Return the truth's rows and the controls; what two evaluations share is there once."""
    rows: list[Row] = []
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
            rows.append(Row(_label(name, evaluation, mixed), "control", cells))
    return rows


def _label(name: str, evaluation: Evaluation, mixed: bool) -> str:
    return f"{name} [{evaluation.protocol}]" if mixed else name


def _seeds_cell(values: Sequence[float]) -> Cell:
    """Return mean and sample standard deviation over seeds; none of one seed."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Cell(float(np.mean(values)), deviation=deviation, count=len(values))
