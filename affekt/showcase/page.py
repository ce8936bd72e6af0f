"""A self-contained HTML page: figures against their thresholds, pictures, videos, tables.

Media are embedded, so the file can be mailed. A script counts them: the body's data-state is
"ready" once every video has a frame and every picture a size, else "broken", with the counts in
data-media; tests read both in a real browser.
"""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affekt.evaluation.tables.table import Table, figure, heading
from affekt.runtime.files import write_text

TEMPLATE = Path(__file__).with_name("page.html")
KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".mp4": "video/mp4"}


@dataclass(frozen=True)
class MetricRow:
    """One figure of the table."""

    key: str  # as in results.json
    description: str
    threshold: str  # as text, for instance "<= 0.5"; empty: shown for comparison only
    value: str
    met: bool | None  # None: no threshold

    @property
    def mark(self) -> str:
        """Whether the threshold is met, in a word."""
        return {True: "met", False: "missed", None: ""}[self.met]

    def cells(self) -> str:
        """Return the row as HTML."""
        texts = (self.key, self.description, self.threshold, self.value, self.mark)
        cells = "".join(f"<td>{html.escape(text)}</td>" for text in texts)
        return f'<tr class="{self.mark}">{cells}</tr>'


@dataclass(frozen=True)
class Figure:
    """A picture or video with its caption; `columns` of twelve is its width."""

    caption: str
    path: Path
    columns: int = 12


@dataclass(frozen=True)
class Section:
    """A heading, a sentence or two, figures, tables, numbers; its videos start together."""

    title: str
    text: str
    figures: Sequence[Figure] = ()
    rows: Sequence[MetricRow] = ()  # numbers of the section, in a table that folds
    tables: Sequence[Table] = ()  # of the papers, with ours


def write_page(
    path: Path, title: str, lead: str, rows: Sequence[MetricRow], sections: Sequence[Section]
) -> None:
    """Write the page.

    Args:
        lead: one sentence under the title.

    Raises:
        FileNotFoundError, ValueError: a figure is missing or of an unknown kind.
    """
    parts = {
        "@TITLE@": html.escape(title),
        "@LEAD@": html.escape(lead),
        "@ROWS@": "\n".join(row.cells() for row in rows if row.met is not None),
        "@OTHERS@": "\n".join(row.cells() for row in rows if row.met is None),
        "@SECTIONS@": "\n".join(_section(section) for section in sections),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for mark, part in parts.items():
        text = text.replace(mark, part)
    write_text(path, text)


def _section(section: Section) -> str:
    figures = "\n".join(_figure(figure) for figure in section.figures)
    videos = sum(figure.path.suffix == ".mp4" for figure in section.figures)
    button = '<button type="button">Play together</button>' if videos else ""
    numbers = "\n".join(row.cells() for row in section.rows)
    folded = (
        f"<details><summary>In numbers</summary><table><tbody>{numbers}</tbody></table></details>"
    )
    return (
        f"<section><h2>{html.escape(section.title)}</h2><p>{html.escape(section.text)} {button}</p>"
        f'<div class="grid">{figures}</div>{"".join(map(_paper_table, section.tables))}'
        f"{folded if numbers else ''}</section>"
    )


def _paper_table(table: Table) -> str:
    """Return a paper's table: what is ours first, the controls, the printed rows, the notes."""
    heads = "".join(f"<th>{html.escape(heading(column))}</th>" for column in table.columns)
    lines = []
    for row in table.rows:
        cells = (
            figure(row.cells.get(column.key), column, table.letters) for column in table.columns
        )
        body = "".join(f"<td>{html.escape(cell)}</td>" for cell in (row.name, *cells))
        lines.append(f'<tr class="{row.kind}">{body}</tr>')
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    return (
        f'<div class="paper"><table><caption>{html.escape(table.title)}</caption>'
        f"<thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        f"<details><summary>How to read it</summary><ul>{notes}</ul></details>"
    )


def _figure(figure: Figure) -> str:
    kind = KINDS.get(figure.path.suffix)
    if kind is None:
        raise ValueError(f"{figure.path}: the page shows {', '.join(KINDS)} only")
    data = base64.b64encode(figure.path.read_bytes()).decode()
    source = f'src="data:{kind};base64,{data}"'
    caption = html.escape(figure.caption)
    if kind.startswith("video"):
        media = f'<video {source} controls loop muted playsinline preload="auto"></video>'
    else:
        media = f'<img {source} alt="{caption}">'
    style = f"grid-column: span {figure.columns}"
    return f'<figure style="{style}">{media}<figcaption>{caption}</figcaption></figure>'
