"""The figures that papers print, of papers.yaml: reference values, never targets."""

import functools
import typing as tp
from dataclasses import dataclass
from pathlib import Path

from affekt.runtime.config import load_config

ACCURACY, TRUTHS_ACCURACY, RATIO = "emotion_accuracy", "truth_accuracy", "accuracy_ratio"
PRINTED = Path(__file__).with_name("papers.yaml")
Layout = tp.Literal["metrics", "emotions", "accuracy", "ablation"]


@dataclass(frozen=True)
class PaperColumn:
    """A column: our metric or the paper's figure, and whether its protocol is published.

    Attributes:
        decimals: of our figures; `printed_decimals` of the paper's, None: as many.
        printed: the paper has this column; false for one that only we have.
        compare_with: the printed column that ours is compared with; None: this one, if printed.
        protocol_known: the paper says all that is needed to compute it again.
    """

    metric: str
    heading: str
    better: tp.Literal["lower", "higher"]
    decimals: int
    printed: bool = True
    printed_decimals: int | None = None
    compare_with: str | None = None
    protocol_known: bool = False

    @property
    def counterpart(self) -> str | None:
        """The printed column that a figure of ours in this column is compared with."""
        return self.compare_with or (self.metric if self.printed else None)


@dataclass(frozen=True)
class PaperRow:
    """A method and its figures in the order of the printed columns; None: not known."""

    name: str
    values: tuple[float | None, ...]
    ours: str | None = None  # the row of our ablation that is compared with it


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper, with the columns of ours that stand in it.

    Attributes:
        layout: metrics: a column a metric; emotions: `metric` by emotion; accuracy: of emotions;
            ablation: mean and standard deviation over seeds.
        own: the row of the paper's own method.
        truth: the row of the recordings themselves, where the paper prints one.
    """

    id: str
    title: str
    source: str
    data: str
    layout: Layout
    own: str
    columns: tuple[PaperColumn, ...]
    rows: tuple[PaperRow, ...]
    metric: str | None = None
    truth: str | None = None

    def figures(self, name: str) -> dict[str, float]:
        """Return the known figures of the row `name` by column, and the ratio of accuracies."""
        row = next(row for row in self.rows if row.name == name)
        printed = [column.metric for column in self.columns if column.printed]
        pairs = zip(printed, row.values, strict=True)
        known = {metric: value for metric, value in pairs if value is not None}
        if known.keys() >= {ACCURACY, TRUTHS_ACCURACY}:
            known[RATIO] = known[ACCURACY] / known[TRUTHS_ACCURACY]
        return known

    def by_ablation_row(self) -> dict[str, dict[str, float]]:
        """Return the figures of each row by the name of our ablation's row."""
        return {row.ours: self.figures(row.name) for row in self.rows if row.ours is not None}

    def has_dagger(self, column: PaperColumn) -> bool:
        """Return whether a column's figures, or those it is compared with, lack a protocol."""
        compared = column.counterpart is not None or self.layout == "accuracy"
        return compared and not column.protocol_known


@dataclass(frozen=True)
class Papers:
    """Every table of papers.yaml."""

    tables: tuple[PaperTable, ...]


@functools.cache
def load_papers() -> dict[str, PaperTable]:
    """Return the tables by id."""
    return {table.id: table for table in load_config(Papers, PRINTED).tables}


def load_paper(name: str) -> PaperTable:
    """Return the table of this id; a ValueError names those that there are."""
    papers = load_papers()
    if name not in papers:
        raise ValueError(f"no table {name!r}; known: {', '.join(papers)}")
    return papers[name]
