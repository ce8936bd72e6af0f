"""Build a paper's table: our results with intervals, the control rows, the printed figures.

A result's first row is the mean over clips, the second the mean of the emotions' means; on request
there is a row per emotion. An evaluation that bears the name of a row of the paper stands beside
that row, any other beside the paper's own method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from string import ascii_lowercase as LETTERS

import numpy as np

from affekt.evaluation.controls import CONTROLS, RESULT, TRUTH
from affekt.evaluation.protocol import NETWORK_METRICS
from affekt.evaluation.tables.cells import CORRECT, macro_cells, marked_cells, row_cells
from affekt.evaluation.tables.evaluations import Ablation, Evaluation, refuse_mixture
from affekt.evaluation.tables.notes import ablation_notes, notes_of
from affekt.evaluation.tables.papers import PaperTable
from affekt.evaluation.tables.table import Cell, Table, TableColumn, TableRow


class NoFiguresError(ValueError):
    """None of a table's figures was measured."""


def build_table(
    paper: PaperTable,
    evaluations: Sequence[Evaluation],
    per_emotion: bool = False,
    mixed: bool = False,
) -> Table:
    """Return a table of one or more evaluations.

    Args:
        paper: whose table.
        evaluations: those that the table shows.
        per_emotion: add a row of each emotion.
        mixed: protocols may differ; each row is marked with its own.

    Raises:
        NoFiguresError: none of the table's figures is in any of them.
        ValueError: no evaluation, or two of one name or of different protocols.
    """
    # Evaluations that cannot stand in one table.
    if paper.layout == "ablation":
        raise ValueError(f"{paper.id} is made from an ablation (test.py ablate), not evaluations")
    if not evaluations:
        raise ValueError("no evaluation to make a table of")
    names = [evaluation.name for evaluation in evaluations]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two evaluations are named {twice[0]!r}; run one with another --name")
    if not mixed:
        own = (paper.metric,) if paper.metric else (CORRECT,) if paper.layout == "accuracy" else ()
        refuse_mixture(evaluations, [*own, *(column.metric for column in paper.columns)])
    # The methods' rows, each with a letter where there are several.
    measured = [evaluation for evaluation in evaluations if RESULT in evaluation.scores]
    if len(measured) > len(LETTERS):
        raise ValueError(f"{len(measured)} evaluations in one table, {len(LETTERS)} at most")
    marked, rows = marked_cells(paper, evaluations), []
    for evaluation, letter in zip(measured, LETTERS, strict=False):
        label, letter = _label(evaluation.name, evaluation, mixed), letter * (len(measured) > 1)
        cells = _beside_print(paper, evaluation, marked[evaluation.name])
        rows.append(TableRow(label, "result", cells, evaluation.name, letter))
        rows += _part_rows(paper, evaluation, label, per_emotion)
    # The controls and the paper's rows.
    rows += _controls(paper, evaluations, mixed)
    rows += _paper_rows(paper, rows, "no evaluation has a")
    return Table(paper.id, paper.title, _columns(paper), rows, notes_of(paper, evaluations, rows))


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
    printed = _paper_rows(paper, rows, "the ablation has no")
    for name, scores in ablation.controls.items():
        cells = {key: Cell(scores[key]) for key in shown if key in scores}
        rows.append(TableRow(name, "control", cells))
    rows += printed
    notes = [*ablation_notes(paper, rows), *ablation.notes]
    return Table(paper.id, paper.title, _columns(paper), rows, notes)


def over_seeds(values: Sequence[float]) -> Cell:
    """Return mean and sample standard deviation over seeds; none of one seed."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Cell(float(np.mean(values)), deviation=deviation, count=len(values))


def _columns(paper: PaperTable) -> list[TableColumn]:
    columns = []
    for each in paper.columns:
        printed = each.decimals if each.printed_decimals is None else each.printed_decimals
        texts, dagger = (each.metric, each.heading, each.better), paper.has_dagger(each)
        columns.append(TableColumn(*texts, each.decimals, printed, dagger))
    return columns


def _paper_rows(paper: PaperTable, ours: Sequence[TableRow], missing: str) -> list[TableRow]:
    """Return the rows that the paper prints, in its order; refuse a table without one of ours."""
    if not any(row.cells for row in ours):
        wanted = ", ".join(column.metric for column in paper.columns)
        raise NoFiguresError(f"{missing} figure of {paper.id}: {wanted}")
    rows = {row.name: paper.figures(row.name) for row in paper.rows}
    return [
        TableRow(f"{name} (paper)", "paper", {key: Cell(value) for key, value in row.items()})
        for name, row in rows.items()
    ]


def _beside(paper: PaperTable, cells: Mapping[str, Cell], name: str) -> dict[str, Cell]:
    """Put the figures of the paper's row `name` beside those of ours."""
    printed = paper.figures(name)
    facing = {each.metric: each.counterpart or each.metric for each in paper.columns}
    return {key: replace(cell, paper=printed.get(facing[key])) for key, cell in cells.items()}


def _beside_print(
    paper: PaperTable, evaluation: Evaluation, cells: dict[str, Cell]
) -> dict[str, Cell]:
    """Put the paper's figures beside a result's, where the two compare."""
    if not evaluation.record.get("papers_own", True):  # another protocol than the paper's
        return cells
    own = [row.name for row in paper.rows if row.name == evaluation.name] or [paper.own]
    cells = _beside(paper, cells, own[0])
    # SyncNet's distances have the unit of its own embeddings, so those of a network that was
    # trained here do not compare with printed ones. An emotion accuracy is a share with any
    # classifier, and every paper trains its own.
    if "sync" in (evaluation.record.get("trained_here") or []):
        sync = NETWORK_METRICS["sync"]
        return {k: replace(c, paper=None) if k in sync else c for k, c in cells.items()}
    return cells


def _part_rows(
    paper: PaperTable, evaluation: Evaluation, label: str, per_emotion: bool
) -> list[TableRow]:
    """Return a method's row of the mean of the emotions' means and, if wanted, each emotion's."""
    if paper.layout == "emotions":
        return []
    means = macro_cells(paper, evaluation, RESULT)
    rows = [TableRow(f"{label}, mean of emotions", "mean", means)] if means else []
    for emotion in sorted({*evaluation.emotions.values()} - {""}) if per_emotion else ():
        part = row_cells(paper, evaluation, RESULT, emotion)
        rows.append(TableRow(f"{label}, {emotion}", "emotion", part))
    return rows


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
