"""A table as data, and as Markdown, LaTeX, CSV or JSON; names stay names, whatever they hold.

A figure of ours reads  2.51 +- 0.05/0.12 (2.45, +0.06) > b : the mean, half its interval by clip
and by speaker, the paper's figure, the difference, and which result it is better than.
"""

import csv
import io
import json
import re
import typing as tp
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import groupby
from operator import attrgetter

from affekt import markdown
from affekt.metrics.intervals import Interval

Format = tp.Literal["md", "tex", "csv", "json"]
FORMATS: tuple[Format, ...] = tp.get_args(Format)
DAGGER, PLUS_MINUS, BETTER = "\u2020", "\u00b1", "\u227b"
ARROWS = {"lower": "\u2193", "higher": "\u2191"}
NOT_AVAILABLE = "n/a"
LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    PLUS_MINUS: r"$\pm$",
    DAGGER: r"$^\dagger$",
    BETTER: r"$\succ$",
    ARROWS["lower"]: r"$\downarrow$",
    ARROWS["higher"]: r"$\uparrow$",
    **dict.fromkeys("\r\n", " "),  # an empty line would end the cell's paragraph
}
FORMULA = re.compile(r"\s*[=+\-@]")  # how a cell begins that a spreadsheet works out
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Cell:
    """A figure and what is known of it.

    Attributes:
        value: the figure.
        by_clip: its interval if other clips had been drawn.
        by_speaker: its interval if other speakers had been drawn; None below five speakers.
        deviation: sample standard deviation over seeds, in an ablation.
        count: how many clips, or seeds, it is the mean of.
        paper: the paper's figure that it is compared with.
        better_than: evaluations that it is significantly better than.
        best: it is better than every other evaluation of the table, in a column without a dagger.
    """

    value: float
    by_clip: Interval | None = None
    by_speaker: Interval | None = None
    deviation: float | None = None
    count: int | None = None
    paper: float | None = None
    better_than: tuple[str, ...] = ()
    best: bool = False

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.paper is None else self.value - self.paper


@dataclass(frozen=True)
class TableColumn:
    """A column, its decimals (ours, printed); a dagger: its protocol is not published."""

    key: str
    heading: str
    better: tp.Literal["lower", "higher"]
    decimals: int
    printed_decimals: int
    dagger: bool


@dataclass(frozen=True)
class TableRow:
    """A line of a table; a column that is absent from `cells` is not available.

    Attributes:
        name: what is printed.
        kind: ours, a part of ours, a control or the paper's.
        cells: by the column's key.
        method: the evaluation's name, of a result.
        letter: stands for it in the marks of others; empty if there are no marks.
    """

    name: str
    kind: tp.Literal["result", "emotion", "mean", "control", "paper"]
    cells: dict[str, Cell]
    method: str = ""
    letter: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its notes."""

    id: str
    title: str
    columns: list[TableColumn]
    rows: list[TableRow]
    notes: list[str] = field(default_factory=list)

    @property
    def letters(self) -> dict[str, str]:
        """The letter of each result, by the evaluation's name."""
        return {row.method: row.letter for row in self.rows if row.letter}

    def as_json(self) -> dict[str, tp.Any]:
        """Return the table as plain data, with the differences from the paper."""
        plain = asdict(self)
        for row, plain_row in zip(self.rows, plain["rows"], strict=True):
            for key, cell in row.cells.items():
                plain_row["cells"][key]["difference"] = cell.difference
        return plain


FIGURES: dict[str, Callable[[Cell], object]] = {  # of a cell, each a column of the CSV
    "": attrgetter("value"),
    "_half": lambda cell: cell.by_clip and cell.by_clip.half,
    "_low": lambda cell: cell.by_clip and cell.by_clip.low,
    "_high": lambda cell: cell.by_clip and cell.by_clip.high,
    "_speaker_half": lambda cell: cell.by_speaker and cell.by_speaker.half,
    "_speaker_low": lambda cell: cell.by_speaker and cell.by_speaker.low,
    "_speaker_high": lambda cell: cell.by_speaker and cell.by_speaker.high,
    "_sd": attrgetter("deviation"),
    "_n": attrgetter("count"),
    "_paper": attrgetter("paper"),
    "_difference": attrgetter("difference"),
    "_better_than": lambda cell: "; ".join(cell.better_than) or None,
}


def render(table: Table, form: Format) -> str:
    """Return the table in one of the formats, ending in a line break; JSON at full precision."""
    if form == "json":
        return json.dumps(table.as_json(), indent=2, allow_nan=False) + "\n"
    return {"md": _markdown, "tex": _latex, "csv": _comma_separated}[form](table)


def _markdown(table: Table) -> str:
    """Return the table as aligned Markdown, notes below it."""
    head = ["", *(heading(column) for column in table.columns)]
    text = markdown.markdown_table(head, [_line(table, row, "**{}**") for row in table.rows])
    notes = [f"- {markdown.escaped(note)}" for note in table.notes]
    return "\n".join([f"**{markdown.escaped(table.title)}**", "", text, "", *notes]) + "\n"


def _latex(table: Table) -> str:
    """Return the table for LaTeX with the package booktabs; names and notes are escaped."""
    head = ["", *(escaped(heading(column)) for column in table.columns)]
    body = [" & ".join(head) + r" \\", r"\midrule"]
    for _, group in groupby(table.rows, lambda row: {"control": 1, "paper": 2}.get(row.kind, 0)):
        rows = (_line(table, row, r"\textbf{{{}}}", escaped) for row in group)
        body += [*(" & ".join(cells) + r" \\" for cells in rows), r"\midrule"]
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{escaped(table.title)}}}",
        rf"\label{{tab:{table.id}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        *body[:-1],
        r"\bottomrule",
        r"\end{tabular}",
        "",
        r"\vspace{1ex}\begin{minipage}{\textwidth}\footnotesize",
        *(rf"{escaped(note)}\par" for note in table.notes),
        r"\end{minipage}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _comma_separated(table: Table) -> str:
    """Return CSV at full precision: a line a row, FIGURES of a metric; what no row has is out."""

    def figure_of(row: TableRow, key: str, suffix: str) -> object:
        cell = row.cells.get(key)
        return None if cell is None else FIGURES[suffix](cell)

    columns = [
        (column.key, suffix)
        for column in table.columns
        for suffix in FIGURES
        if not suffix or any(figure_of(row, column.key, suffix) is not None for row in table.rows)
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "kind", *(key + suffix for key, suffix in columns)])
    for row in table.rows:
        cells = [row.name, row.kind, *(figure_of(row, *column) for column in columns)]
        writer.writerow(no_formula(cell) if isinstance(cell, str) else cell for cell in cells)
    return text.getvalue()


def no_formula(text: str) -> str:
    """Return a CSV cell that no spreadsheet works out: one that begins like a formula is quoted.

    An apostrophe in front is the spreadsheets' own mark of text (OWASP, "CSV Injection"); control
    characters, of which some begin a line, become spaces.
    """
    text = re.sub(r"[\t\r\n]", " ", text)
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def heading(column: TableColumn) -> str:
    """Return a column's heading with the direction in which it is better, and its dagger."""
    return f"{column.heading} {ARROWS[column.better]}" + (f" {DAGGER}" if column.dagger else "")


def figure(cell: Cell | None, column: TableColumn, letters: dict[str, str] | None = None) -> str:
    """Return a figure of ours as one reads it.

    Args:
        cell: the figure; None: not available.
        column: where it stands.
        letters: of the results that it may be better than; one without a letter is named.
    """
    if cell is None:
        return NOT_AVAILABLE
    decimals = column.decimals
    text = f"{cell.value:.{decimals}f}{_spread(cell, decimals)}"
    if cell.paper is not None and cell.difference is not None:
        text += f" ({cell.paper:.{column.printed_decimals}f}, {_signed(cell.difference, decimals)})"
    beaten = sorted((letters or {}).get(name, name) for name in cell.better_than)
    return text + (f" {BETTER} {','.join(beaten)}" if beaten else "")


def escaped(text: str) -> str:
    """Return text with LaTeX's special characters escaped; safe after a line break as well."""
    guard = "{}" if text[:1] in ("[", "*") else ""  # else they would belong to the line break
    return guard + "".join(LATEX.get(character, character) for character in text)


def _spread(cell: Cell, decimals: int) -> str:
    """Return the half widths, by clip and by speaker, or the bounds of lopsided intervals."""
    known = [each for each in (cell.by_clip, cell.by_speaker) if each and each.half is not None]
    halves = [each.half for each in known if each.half is not None]
    if any(each.is_lopsided for each in known):
        bounds = [f"[{each.low:.{decimals}f}, {each.high:.{decimals}f}]" for each in known]
        return f" {'/'.join(bounds)}"
    halves += [] if cell.deviation is None else [cell.deviation]
    return f" {PLUS_MINUS} {'/'.join(_width(each, decimals) for each in halves)}" if halves else ""


def _width(half: float, decimals: int) -> str:
    """Return a half width; its first digit if it would read as zero."""
    text = f"{half:.{decimals}f}"
    return text if float(text) or not half else f"{half:.1g}"


def _line(table: Table, row: TableRow, bold: str, escape: Callable[[str], str] = str) -> list[str]:
    """Return the texts of a row: its name, with its letter, and its cells."""
    texts = [escape(f"{row.name} ({row.letter})" if row.letter else row.name)]
    for column in table.columns:
        cell = row.cells.get(column.key)
        if row.kind == "paper" and cell is not None:
            text = f"{cell.value:.{column.printed_decimals}f}"
        else:
            text = escape(figure(cell, column, table.letters))
        texts.append(bold.format(text) if cell is not None and cell.best else text)
    return texts


def _signed(difference: float, decimals: int) -> str:
    """Return a difference with its sign; one that rounds to nothing has none."""
    text = f"{difference:+.{decimals}f}"
    return text if float(text) else text[1:]
