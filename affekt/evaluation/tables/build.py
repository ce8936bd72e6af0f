"""Build a paper's table: our results with intervals, the control rows, the printed figures.

A result's first row is the mean over clips, the second the mean of the emotions' means; on request
there is a row per emotion. An evaluation that bears the name of a row of the paper is compared with
that row, any other with the paper's own method.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from string import ascii_lowercase as LETTERS

import numpy as np

from affekt.evaluation.controls import CONTROLS, OTHER, RESULT, TRUTH
from affekt.evaluation.protocol import NETWORK_METRICS
from affekt.evaluation.tables.cells import CORRECT, MEAN, macro_cells, marked_cells, row_cells
from affekt.evaluation.tables.evaluations import Ablation, Evaluation, refuse_mixture
from affekt.evaluation.tables.papers import PaperTable
from affekt.evaluation.tables.table import (
    BETTER,
    DAGGER,
    PLUS_MINUS,
    Cell,
    Table,
    TableColumn,
    TableRow,
)
from affekt.metrics.intervals import DRAWS, MIN_SPEAKERS

HASH_DIGITS = 12  # of a checksum: enough to distinguish files
OF_COLUMNS = {  # metric: what is to be known of its column
    "fid": "FID of few clips is mostly bias: it compares only between equal numbers of clips and "
    "frames; KID has no bias.",
    "lse_c": "Sync (SyncNet's confidence) grows with the length of a clip, LSE-D (its distance) "
    "does not: compare both with the truth's on the same clips.",
}
OF_PRINTED = {
    "printed_psnr": "PSNR is the true one. The PSNR that these papers print lies 8 dB above it at "
    "the same SSIM and just above 27.9 dB, the least that squared grey differences wrapping at 8 "
    "bits can score; it is probably that figure, so it is compared with PSNR u8-wrap alone.",
    "efd_proxy": "EFD is not defined in the material at hand. EFD proxy is 1 - cosine between "
    "features of an emotion network, and no figure of it compares with the printed one.",
}


class NoFiguresError(ValueError):
    """None of a table's figures was measured."""


def build_table(
    paper: PaperTable,
    evaluations: Sequence[Evaluation],
    per_emotion: bool = False,
) -> Table:
    """Return a table of one or more evaluations.

    Args:
        paper: whose table.
        evaluations: those that the table shows.
        per_emotion: add a row of each emotion.

    Raises:
        NoFiguresError: none of the table's figures is in any of them.
        ValueError: no evaluation, or two of one name or that do not compare.
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
    own = (paper.metric,) if paper.metric else (CORRECT,) if paper.layout == "accuracy" else ()
    refuse_mixture(evaluations, [*own, *_keys(paper)])
    # The methods' rows, each with a letter where there are several.
    measured = [evaluation for evaluation in evaluations if RESULT in evaluation.scores]
    if len(measured) > len(LETTERS):
        raise ValueError(f"{len(measured)} evaluations in one table, {len(LETTERS)} at most")
    marked, rows = marked_cells(paper, evaluations), []
    for evaluation, letter in zip(measured, LETTERS, strict=False):
        cells = _with_print(paper, evaluation, marked[evaluation.name])
        mark = letter if len(measured) > 1 else ""
        rows.append(TableRow(evaluation.name, "result", cells, evaluation.name, mark))
        rows += _part_rows(paper, evaluation, per_emotion)
    # The controls and the paper's rows.
    rows += _controls(paper, evaluations)
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
    printed_names = {row.ours: row.name for row in paper.rows}
    shown = [column.metric for column in paper.columns]
    rows = []
    for name, figures in ablation.rows.items():
        cells = {key: over_seeds(figures[key]) for key in shown if key in figures}
        cells = _with_figures(paper, cells, printed_names[name]) if name in printed_names else cells
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


def _with_figures(paper: PaperTable, cells: Mapping[str, Cell], name: str) -> dict[str, Cell]:
    """Add the figures of the paper's row `name` to those of ours."""
    printed = paper.figures(name)
    facing = {each.metric: each.counterpart or each.metric for each in paper.columns}
    return {key: replace(cell, paper=printed.get(facing[key])) for key, cell in cells.items()}


def _with_print(
    paper: PaperTable, evaluation: Evaluation, cells: dict[str, Cell]
) -> dict[str, Cell]:
    """Add the paper's figures to a result's, where the two compare."""
    if not evaluation.record.get("papers_own", True):  # another protocol than the paper's
        return cells
    own = [row.name for row in paper.rows if row.name == evaluation.name] or [paper.own]
    cells = _with_figures(paper, cells, own[0])
    # SyncNet's distances have the unit of its own embeddings, so those of a network that was
    # trained here do not compare with printed ones. An emotion accuracy is a share with any
    # classifier, and every paper trains its own.
    if "sync" in (evaluation.record.get("trained_here") or []):
        sync = NETWORK_METRICS["sync"]
        return {k: replace(c, paper=None) if k in sync else c for k, c in cells.items()}
    return cells


def _part_rows(paper: PaperTable, evaluation: Evaluation, per_emotion: bool) -> list[TableRow]:
    """Return a method's row of the mean of the emotions' means and, if wanted, each emotion's."""
    if paper.layout == "emotions":
        return []
    label, means = evaluation.name, macro_cells(paper, evaluation, RESULT)
    rows = [TableRow(f"{label}, mean of emotions", "mean", means)] if means else []
    for emotion in sorted({*evaluation.emotions.values()} - {""}) if per_emotion else ():
        part = row_cells(paper, evaluation, RESULT, emotion)
        rows.append(TableRow(f"{label}, {emotion}", "emotion", part))
    return rows


def _controls(paper: PaperTable, evaluations: Sequence[Evaluation]) -> list[TableRow]:
    """Return the truth's row and the control rows; those that two evaluations share, once."""
    rows: list[TableRow] = []
    seen: list[tuple[str, dict[str, Cell]]] = []
    for number, evaluation in enumerate(evaluations):
        others = [row for row in evaluation.scores if row not in (RESULT, TRUTH, *CONTROLS)]
        for control in (TRUTH, *CONTROLS, *others):
            cells = row_cells(paper, evaluation, control)
            if not cells or (control, cells) in seen:
                continue
            seen.append((control, cells))
            if control == TRUTH and paper.truth is not None:
                cells = _with_figures(paper, cells, paper.truth)
            name = control if number == 0 else f"{control} ({evaluation.name})"
            rows.append(TableRow(name, "control", cells))
    return rows


def notes_of(
    paper: PaperTable, evaluations: Sequence[Evaluation], rows: Sequence[TableRow]
) -> list[str]:
    """Return the notes of a table of evaluations."""
    shown = {key for row in rows if row.kind != "paper" for key in row.cells}
    notes = [_legend(paper, rows), *_of_paper(paper)]
    notes += [note for key, note in OF_COLUMNS.items() if key in shown]
    # Marks and control rows.
    letters = [f"{row.letter} {row.name}" for row in rows if row.letter]
    if letters:
        notes.append(
            f"{BETTER} better than: the 95 % interval of the paired difference on their common "
            "clips excludes 0 (by clip and, where there is one, by speaker): "
            f"{', '.join(letters)}."
        )
    controls = "; ".join(_control_rows(rows))
    if controls:
        notes.append(f"Control rows give the scale of differences: {controls}.")
    # What is missing, and what each evaluation was measured with.
    notes += [
        f"{each.name}: no row {OTHER!r}, since its truths are not known to be of two speakers; a "
        "prepared corpus, or --manifest with a column speaker, says whose they are."
        for each in evaluations
        if each.scores.keys() & CONTROLS.keys() and OTHER not in each.scores
    ]
    notes += _missing_emotions(paper, evaluations)
    notes += _unavailable(paper, evaluations, shown)
    return notes + [_of_evaluation(evaluation) for evaluation in evaluations]


def ablation_notes(paper: PaperTable, rows: Sequence[TableRow]) -> list[str]:
    """Return the notes of a table of an ablation."""
    counts = {cell.count for row in rows for cell in row.cells.values() if cell.count}
    seeds = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    legend = (
        f"Ours: mean {PLUS_MINUS} standard deviation over {seeds} seeds (none of one seed); in "
        "brackets the paper's figure, and ours minus it. The paper gives no spread, and steps of "
        "0.01 to 0.1 in it may be that of one run."
    )
    return [legend, *_of_paper(paper)]


def _legend(paper: PaperTable, rows: Sequence[TableRow]) -> str:
    cells = [cell for row in rows for cell in row.cells.values()]
    how = f"BCa bootstrap, {DRAWS:,} draws"
    how = f"Wilson's; the ratio's {how}" if paper.layout == "accuracy" else how
    text = (
        f"Ours: mean over clips {PLUS_MINUS} half its 95 % interval if other clips were drawn"
        f" ({how}; [both bounds] where it is lopsided)"
    )
    if any(cell.by_speaker is not None for cell in cells):
        text += (
            f", after the slash if other speakers were drawn (BCa bootstrap; from {MIN_SPEAKERS} "
            "speakers on)"
        )
    if any(cell.paper is not None for cell in cells):
        text += f"; in brackets the paper's figure ({paper.own}, unless named), and ours minus it"
    return f"{text}. FID: bootstrap over clips." if "fid" in _keys(paper) else f"{text}."


def _of_paper(paper: PaperTable) -> list[str]:
    notes = [f"Printed figures: {paper.source}. {paper.data}."]
    if any(column.printed and not column.protocol_known for column in paper.columns):
        notes.append(
            f"{DAGGER} How the paper computes it is not published in full: the difference between "
            "ours and the printed figure is for orientation, and no figure here is set in bold."
        )
    return notes + [note for key, note in OF_PRINTED.items() if key in _keys(paper)]


def _control_rows(rows: Sequence[TableRow]) -> Iterator[str]:
    """Yield the control rows of a table, each once, with what it is."""
    names = [row.name for row in rows if row.kind == "control"]
    for control, meaning in {TRUTH: "the recording itself", **CONTROLS}.items():
        if any(re.fullmatch(rf"{control}( [([].*)?", name) for name in names):
            yield f"{control}: {meaning}"


def _missing_emotions(paper: PaperTable, evaluations: Sequence[Evaluation]) -> Iterator[str]:
    wanted = [key for key in _keys(paper) if key != MEAN] if paper.layout == "emotions" else []
    for evaluation in evaluations:
        missing = [emotion for emotion in wanted if emotion not in evaluation.emotions.values()]
        if missing:
            found = len(wanted) - len(missing)
            yield (
                f"{evaluation.name}: no clips that are {', '.join(missing)}; the mean is that of "
                f"{found} emotions."
            )


def _unavailable(
    paper: PaperTable, evaluations: Sequence[Evaluation], shown: set[str]
) -> Iterator[str]:
    """Yield why a column of ours is empty, and how to fill it."""
    ours = {column.metric: column.heading for column in paper.columns}
    ours |= {paper.metric: paper.metric} if paper.metric else {}
    ours |= {"emotion_correct": "accuracy"} if paper.layout == "accuracy" else {}
    explained: set[str] = set()
    for evaluation in evaluations:
        reasons = evaluation.record.get("unavailable") or {}
        explained |= reasons.keys()
        for metric, heading in ours.items():
            if metric in reasons:
                yield f"n/a, {heading} ({evaluation.name}): {reasons[metric]}"
    silent = [
        column.heading
        for column in paper.columns
        if column.metric not in shown | explained and not column.metric.startswith("printed_")
    ]
    if silent and paper.layout == "metrics":
        yield f"n/a, not among what was measured: {', '.join(silent)}."


def _of_evaluation(evaluation: Evaluation) -> str:
    """Return clips, frames, coverage, protocol, networks, weights and versions of an evaluation."""
    record = evaluation.record
    text = (
        f"{evaluation.name}: {record['clips']} clips ({record['clip_coverage']:.1%} of those "
        f"asked for), {record['frames']} frames ({record['frame_coverage']:.1%} with a face on "
        f"both sides), {len(set(filter(None, evaluation.speakers.values())))} speakers; protocol "
        f"{evaluation.protocol}"
    )
    if record.get("convention"):
        text += f", landmarks by {record['convention']} in the {record['view']} view"
    if not record.get("papers_own", True):
        text += ", which is not the paper's: no printed figure is compared with ours"
    trained = record.get("trained_here") or []
    if trained:
        text += f"; networks trained here: {', '.join(sorted(trained))}"
        text += " (sync figures of which do not compare with printed ones)" * ("sync" in trained)
    for metric, clips in sorted((record.get("without") or {}).items()):
        text += f"; no {metric} of {len(clips)} clips"
    for key, what in (("failed", "failed"), ("missing", "without a result")):
        text += f"; {len(record[key])} {what}" if record.get(key) else ""
    for key, digits in (("weights", HASH_DIGITS), ("versions", None)):
        known = sorted((record.get(key) or {}).items())
        listed = ", ".join(f"{name} {str(value)[:digits]}" for name, value in known if value)
        text += f"; {key} {listed}" if listed else ""
    return f"{text}."


def _keys(paper: PaperTable) -> list[str]:
    return [column.metric for column in paper.columns]
