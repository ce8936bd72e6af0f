"""Notes under a table: intervals, marks, control rows, protocol, coverage, weights, limits."""

import re
from collections.abc import Iterator, Sequence

from affekt.evaluation.controls import CONTROLS, TRUTH
from affekt.evaluation.tables.cells import MEAN
from affekt.evaluation.tables.evaluations import Evaluation
from affekt.evaluation.tables.papers import PaperTable
from affekt.evaluation.tables.table import BETTER, DAGGER, PLUS_MINUS, TableRow
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
    "bits can score; it is probably that figure, so it stands beside PSNR u8-wrap alone.",
    "efd_proxy": "EFD is not defined in the material at hand. EFD proxy is 1 - cosine between "
    "features of an emotion network, and no figure of it compares with the printed one.",
}


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
    notes += _missing_emotions(paper, evaluations)
    notes += _unavailable(paper, evaluations, shown)
    notes += [_of_evaluation(evaluation) for evaluation in evaluations]
    return notes + [
        f"{evaluation.name}: {note}"
        for evaluation in evaluations
        for note in evaluation.record.get("notes") or []
    ]


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
        text += ", which is not the paper's: no printed figure stands beside ours"
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
