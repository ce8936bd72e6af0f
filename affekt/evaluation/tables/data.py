"""A table as data: columns, rows, cells with what is known of each figure, notes.

affekt.evaluation.tables.build builds it, affekt.evaluation.tables.rendering prints it.
"""

import typing as tp
from dataclasses import asdict, dataclass, field

from affekt.metrics.intervals import Interval

Kind = tp.Literal["result", "emotion", "mean", "control", "paper"]


@dataclass(frozen=True)
class Column:
    """A column, its decimals (ours, printed); a dagger: the paper does not say how it is made."""

    key: str
    heading: str
    better: tp.Literal["lower", "higher"]
    decimals: int
    printed_decimals: int
    dagger: bool


@dataclass(frozen=True)
class Cell:
    """A figure and what is known of it.

    Attributes:
        value: the figure.
        by_clip: its interval if other clips had been drawn.
        by_speaker: its interval if other speakers had been drawn; None below five speakers.
        deviation: sample standard deviation over seeds, in an ablation.
        count: how many clips, or seeds, it is the mean of.
        paper: the paper's figure to hold it against.
        better_than: evaluations that it beats: the interval of the paired difference excludes 0.
        best: it beats every other evaluation of the table, in a column without a dagger.
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
class Row:
    """A line of a table; a column that is absent from `cells` is not available.

    Attributes:
        name: what is printed.
        kind: ours, a part of ours, a control or the paper's.
        cells: by the column's key.
        method: the evaluation's name, of a result.
        letter: stands for it in the marks of others; empty if there are no marks.
    """

    name: str
    kind: Kind
    cells: dict[str, Cell]
    method: str = ""
    letter: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the notes belong to it, since no figure is read without them."""

    id: str
    title: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)

    @property
    def letters(self) -> dict[str, str]:
        """The letter of each result, by the evaluation's name."""
        return {row.method: row.letter for row in self.rows if row.letter}


def as_json(table: Table) -> dict[str, tp.Any]:
    """Return the table as plain data for a JSON file, with the differences from the paper."""
    plain = asdict(table)
    for row, plain_row in zip(table.rows, plain["rows"], strict=True):
        for key, cell in row.cells.items():
            plain_row["cells"][key]["difference"] = cell.difference
    return plain
