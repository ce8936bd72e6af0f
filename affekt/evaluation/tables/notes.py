"""The notes under a table: what its figures stand on, and what they must not be taken for."""

from collections.abc import Sequence

from affekt.evaluation.control_rows import CONTROLS, TRUTH
from affekt.evaluation.tables.cells import MEAN
from affekt.evaluation.tables.data import Row
from affekt.evaluation.tables.evaluations import Evaluation
from affekt.evaluation.tables.papers import PaperTable
from affekt.metrics.intervals import DRAWS, MIN_SPEAKERS

DAGGER, PLUS_MINUS, BETTER = "\u2020", "\u00b1", "\u227b"
HASH_DIGITS = 12  # of a checksum: enough to tell files apart

TRUTH_MEANS = "the recording itself"
READ_CONTROLS = "Controls, to read differences against: one that a control makes says nothing"
PSNR = (
    "PSNR is the true one. The PSNR that these papers print lies 8 dB above it at the same SSIM "
    "and just above 27.9 dB, the least that squared grey differences wrapping at 8 bits can score; "
    "it is probably that figure, so PSNR u8-wrap alone is held against it."
)
EFD = (
    "EFD is not defined in the material at hand. EFD proxy is 1 - cosine between features of an "
    "emotion network, and no figure of it compares with the printed one."
)
FID = (
    "FID of few clips is mostly bias: it compares only between equal numbers of clips and frames, "
    "where KID has none."
)
SYNC = (
    "Sync (SyncNet's confidence) grows with the length of a clip, LSE-D (its distance) does not: "
    "hold both against the truth's on the same clips."
)


def notes_of(
    paper: PaperTable, evaluations: Sequence[Evaluation], rows: Sequence[Row]
) -> list[str]:
    """Return the notes of a table of evaluations."""
    shown = {key for row in rows if row.kind != "paper" for key in row.cells}
    about = [note for key, note in (("fid", FID), ("lse_c", SYNC)) if key in shown]
    notes = [_legend(paper, rows), *_of_paper(paper), *about, *_marks(rows), *_controls(rows)]
    notes += _missing_emotions(paper, evaluations)
    notes += _unavailable(paper, evaluations, shown)
    notes += [_footnote(evaluation) for evaluation in evaluations]
    return notes + [
        f"{evaluation.name}: {note}"
        for evaluation in evaluations
        for note in evaluation.record.get("notes") or []
    ]


def ablation_notes(paper: PaperTable, rows: Sequence[Row]) -> list[str]:
    """Return the notes of a table of an ablation."""
    counts = sorted({cell.count or 0 for row in rows for cell in row.cells.values() if cell.count})
    seeds = " to ".join(str(count) for count in (counts[:1] + counts[1:][-1:]))
    legend = (
        f"Ours: mean {PLUS_MINUS} standard deviation over {seeds} seeds (none of one seed); in "
        "brackets the paper's figure, and ours minus it. The paper gives no spread, and steps of "
        "0.01 to 0.1 in it may be that of one run."
    )
    return [legend, *_of_paper(paper)]


def _legend(paper: PaperTable, rows: Sequence[Row]) -> str:
    cells = [cell for row in rows for cell in row.cells.values()]
    bootstrap = f"BCa bootstrap, {DRAWS:,} draws"
    how = f"Wilson's; the ratio's {bootstrap}" if paper.layout == "accuracy" else bootstrap
    text = f"Ours: mean over clips {PLUS_MINUS} half its 95 % interval if other clips were drawn"
    text += f" ({how}; [both bounds] where it is lopsided)"
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
    if "printed_psnr" in _keys(paper):
        notes.append(PSNR)
    if "efd_proxy" in _keys(paper):
        notes.append(EFD)
    return notes


def _marks(rows: Sequence[Row]) -> list[str]:
    letters = [f"{row.letter} {row.name}" for row in rows if row.letter]
    if not letters:
        return []
    return [
        f"{BETTER} better than: the 95 % interval of the paired difference on their common clips "
        f"excludes 0 (by clip and, where there is one, by speaker): {', '.join(letters)}."
    ]


def _controls(rows: Sequence[Row]) -> list[str]:
    names = [row.name for row in rows if row.kind == "control"]
    meanings = {TRUTH: TRUTH_MEANS, **CONTROLS}
    shown = [
        f"{control}: {meaning}"
        for control, meaning in meanings.items()
        if any(
            name == control or name.startswith((f"{control} (", f"{control} [")) for name in names
        )
    ]
    return [f"{READ_CONTROLS}. {'; '.join(shown)}."] if shown else []


def _missing_emotions(paper: PaperTable, evaluations: Sequence[Evaluation]) -> list[str]:
    if paper.layout != "emotions":
        return []
    wanted = [key for key in _keys(paper) if key != MEAN]
    notes = []
    for evaluation in evaluations:
        found = set(evaluation.emotions.values())
        missing = [emotion for emotion in wanted if emotion not in found]
        if missing:
            notes.append(f"{evaluation.name}: no clips that are {', '.join(missing)}; the mean is "
                         f"that of {len(wanted) - len(missing)} emotions.")  # fmt: skip
    return notes


def _unavailable(
    paper: PaperTable, evaluations: Sequence[Evaluation], shown: set[str]
) -> list[str]:
    """Say why a column of ours is empty, and what to do about it."""
    ours = {column.metric: column.heading for column in paper.columns}
    ours |= {paper.metric: paper.metric} if paper.metric else {}
    ours |= {"emotion_correct": "accuracy"} if paper.layout == "accuracy" else {}
    notes = []
    for evaluation in evaluations:
        reasons = evaluation.record.get("unavailable") or {}
        for metric, heading in ours.items():
            if metric in reasons:
                notes.append(f"n/a, {heading} ({evaluation.name}): {reasons[metric]}")
    if paper.layout != "metrics":
        return notes
    explained = {metric for each in evaluations for metric in each.record.get("unavailable") or {}}
    silent = [
        column.heading
        for column in paper.columns
        if column.metric not in shown | explained and not column.metric.startswith("printed_")
    ]
    return notes + ([f"n/a, not among what was measured: {', '.join(silent)}."] if silent else [])


def _footnote(evaluation: Evaluation) -> str:
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
        text += ", which is not the paper's: ours is not held against the printed figures"
    trained = record.get("trained_here") or []
    if trained:
        text += f"; judged by networks trained here: {', '.join(sorted(trained))}"
        text += " (sync figures of which do not compare with printed ones)" * ("sync" in trained)
    for metric, clips in sorted((record.get("without") or {}).items()):
        text += f"; no {metric} of {len(clips)} clips"
    for key, what in (("failed", "failed"), ("missing", "without a result")):
        text += f"; {len(record[key])} {what}" if record.get(key) else ""
    for key, digits in (("weights", HASH_DIGITS), ("versions", None)):
        known = {
            name: str(value)[:digits] for name, value in (record.get(key) or {}).items() if value
        }
        listed = ", ".join(f"{name} {value}" for name, value in sorted(known.items()))
        text += f"; {key} {listed}" if listed else ""
    return f"{text}."


def _keys(paper: PaperTable) -> list[str]:
    return [column.metric for column in paper.columns]
