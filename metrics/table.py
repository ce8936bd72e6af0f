"""Table 1 of EVP (CVPR 2021): results, controls and the paper's figures under one another.

A table is built from the summaries that `metrics.records` writes, and rendered as Markdown or JSON.
"""

import typing as tp
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from metrics.compare import RESULT
from metrics.controls import CONTROLS
from metrics.papers import load_papers

Kind = tp.Literal["result", "control", "paper"]


@dataclass(frozen=True)
class Column:
    """One metric: its key in the scores, its heading, its arrow and its decimals."""

    metric: str
    heading: str
    decimals: int


@dataclass(frozen=True)
class Row:
    """One line of a table; a metric that is absent is not available."""

    name: str
    kind: Kind
    values: dict[str, float]


@dataclass(frozen=True)
class Table:
    """A table as data; `markdown` and `as_json` render it."""

    title: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str]


TABLE_1 = [
    Column("m_ld", "M-LD ↓", 2),
    Column("m_lvd", "M-LVD ↓", 2),
    Column("f_ld", "F-LD ↓", 2),
    Column("f_lvd", "F-LVD ↓", 2),
    Column("ssim", "SSIM ↑", 3),
    Column("psnr", "PSNR ↑", 2),
    Column("psnr_u8wrap", "PSNR u8-wrap ↑", 2),
    Column("printed_psnr", "PSNR as printed ↑ †", 2),
    Column("fid", "FID ↓", 2),
]
_PAPER = load_papers()["evp-table1"]
EVP_TABLE_1 = {f"{row.name} (paper)": _PAPER.figures(row.name) for row in _PAPER.rows}
NOTES = [
    "M- mouth (20 points), F- face (68 points). LD, LVD: pixels of a 256 px face, each frame "
    "aligned by a similarity on nose bridge and eye corners. Means over frames, then over clips.",
    "Read a difference against the controls: what the truth itself scores after compression, one "
    "frame late, or standing still. The paper's protocol (clips, detector, crop) is not published, "
    "so its rows are for orientation.",
    "† The PSNR that the papers print lies 8 dB above the true PSNR at their SSIM and just above "
    "27.9 dB, the least that grey levels overflowing 8 bits can score; it is probably that figure. "
    "If so, PSNR u8-wrap is the column to hold beside it. PSNR is the true one.",
    "n/a: not measured. FID needs the Inception weights and is not computed here.",
]


def table_1(summaries: Sequence[dict[str, tp.Any]]) -> Table:
    """Return Table 1 of one or more evaluations, with controls and the paper's rows."""
    rows = [Row(summary["name"], "result", summary["rows"][RESULT]) for summary in summaries]
    for number, summary in enumerate(summaries):
        for control in CONTROLS:
            values = summary["rows"].get(control)
            if values is None or _seen(control, values, summaries[:number]):
                continue
            name = control if number == 0 else f"{control} ({summary['name']})"
            rows.append(Row(name, "control", values))
    rows += [Row(name, "paper", values) for name, values in EVP_TABLE_1.items()]
    notes = NOTES + [_footnote(summary) for summary in summaries]
    return Table("EVP, Table 1", TABLE_1, rows, notes)


def markdown(table: Table) -> str:
    """Return the table as aligned Markdown, notes below it."""
    head = ["", *(column.heading for column in table.columns)]
    lines = [[row.name, *(_cell(row, column) for column in table.columns)] for row in table.rows]
    widths = [max(len(line[k]) for line in (head, *lines)) for k in range(len(head))]
    ruler = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    text = [
        "| "
        + " | ".join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in (head, ruler, *lines)
    ]
    notes = [f"- {note}" for note in table.notes]
    return "\n".join([f"**{table.title}**", "", *text, "", *notes]) + "\n"


def as_json(table: Table) -> dict[str, tp.Any]:
    """Return the table as plain data for a JSON file."""
    return asdict(table)


def _cell(row: Row, column: Column) -> str:
    value = row.values.get(column.metric)
    return "n/a" if value is None else f"{value:.{column.decimals}f}"


def _seen(control: str, values: dict[str, float], summaries: Sequence[dict[str, tp.Any]]) -> bool:
    """Say whether an earlier evaluation has this control with the same figures: the same truth."""
    return any(summary["rows"].get(control) == values for summary in summaries)


def _footnote(summary: dict[str, tp.Any]) -> str:
    wanted = summary["clips"] + len(summary["missing"]) + len(summary["failed"])
    return (
        f"{summary['name']}: {summary['clips']} of {wanted} clips, {summary['frames']} frames, a "
        f"face on both sides in {100 * summary['frame_coverage']:.1f} % of them; "
        f"{summary['alignment']} alignment; {summary['detector']}; pictures of {summary['sizes']}; "
        f"SSIM as scikit-image's default (7 x 7, RGB)."
    )
