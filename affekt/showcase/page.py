"""One self-contained HTML page: a table of figures against their bars, pictures, videos.

Everything is embedded, so the file can be mailed. The page counts its own media: its body carries
data-state="ready" once every video has a frame and every picture a size, or "broken" with what
failed, which a test reads in a real browser.
"""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affekt.evaluation.tables.table import Table, figure, heading
from affekt.runtime.files import write_text

KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".mp4": "video/mp4"}


@dataclass(frozen=True)
class Row:
    """One figure of the table."""

    key: str  # as in results.json
    what: str
    bar: str  # the bar as text, for instance "<= 0.5"; empty: shown for comparison only
    value: str
    met: bool | None  # None: no bar

    @property
    def mark(self) -> str:
        """Whether the bar is met, in a word."""
        return {True: "met", False: "missed", None: ""}[self.met]

    def cells(self) -> str:
        """Return the row as HTML."""
        texts = (self.key, self.what, self.bar, self.value, self.mark)
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
    rows: Sequence[Row] = ()  # numbers of the section, in a table that folds
    tables: Sequence[Table] = ()  # of the papers, with ours


def write_page(
    path: Path, title: str, lead: str, rows: Sequence[Row], sections: Sequence[Section]
) -> None:
    """Write the page.

    Args:
        lead: one sentence under the title.

    Raises:
        FileNotFoundError, ValueError: a figure is missing or of an unknown kind.
    """
    barred = "\n".join(row.cells() for row in rows if row.met is not None)
    others = "\n".join(row.cells() for row in rows if row.met is None)
    body = "\n".join(_section(section) for section in sections)
    text = (
        _PAGE.replace("@TITLE@", html.escape(title))
        .replace("@LEAD@", html.escape(lead))
        .replace("@ROWS@", barred)
        .replace("@OTHERS@", others)
        .replace("@SECTIONS@", body)
    )
    write_text(path, text)


def _section(section: Section) -> str:
    figures = "\n".join(_figure(figure) for figure in section.figures)
    videos = sum(figure.path.suffix == ".mp4" for figure in section.figures)
    button = '<button type="button">Play together</button>' if videos else ""
    return (
        f"<section><h2>{html.escape(section.title)}</h2><p>{html.escape(section.text)} {button}</p>"
        f'<div class="grid">{figures}</div>{"".join(map(_paper_table, section.tables))}'
        f"{_table(section.rows)}</section>"
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


def _table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    body = "\n".join(row.cells() for row in rows)
    return f"<details><summary>In numbers</summary><table><tbody>{body}</tbody></table></details>"


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


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@</title>
<style>
:root { color-scheme: light dark; --line: #8884; --good: #2a8a4a; --bad: #c0392b; }
body { font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { text-align: left; padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); }
td:first-child, td:nth-child(3), td:nth-child(4) { font-family: ui-monospace, monospace; }
tr.met td:last-child { color: var(--good); font-weight: 600; }
tr.missed td:last-child { color: var(--bad); font-weight: 600; }
.paper { overflow-x: auto; }
.paper caption { text-align: left; font-weight: 600; padding: 0.3rem 0.6rem; }
.paper td:first-child { font-family: inherit; }
.paper td { font-family: ui-monospace, monospace; white-space: nowrap; }
tr.control td, tr.paper td { opacity: 0.75; }
.grid { display: grid; grid-template-columns: repeat(12, 1fr); gap: 1rem; }
figure { margin: 0; }
img, video { width: 100%; height: auto; border-radius: 6px; background: #0002; }
figcaption { font-size: 0.85rem; opacity: 0.8; }
button { margin-left: 0.6rem; }
@media (max-width: 640px) { figure { grid-column: span 12 !important; } }
</style>
</head>
<body data-state="loading">
<h1>@TITLE@</h1>
<p>@LEAD@</p>
<table>
<thead><tr><th>figure</th><th>what it is</th><th>bar</th><th>measured</th><th></th></tr></thead>
<tbody>
@ROWS@
</tbody>
</table>
@SECTIONS@
<details>
<summary>Every other figure</summary>
<table>
<tbody>
@OTHERS@
</tbody>
</table>
</details>
<script>
"use strict";
for (const section of document.querySelectorAll("section")) {
  const videos = [...section.querySelectorAll("video")];
  const button = section.querySelector("button");
  if (button) button.addEventListener("click", () => {
    videos.forEach((video, i) => { video.currentTime = 0; video.muted = i > 0; video.play(); });
  });
}
function check(attempt) {
  const videos = [...document.querySelectorAll("video")];
  const images = [...document.querySelectorAll("img")];
  const bad = videos.filter(v => !v.videoWidth || v.readyState < 2).length
            + images.filter(i => !i.naturalWidth).length;
  const failed = videos.some(v => v.error);
  const state = bad === 0 ? "ready" : (failed || attempt > 100) ? "broken" : "loading";
  const counts = `${videos.length} videos, ${images.length} images`;
  document.body.dataset.media = `${counts}, ${bad} not shown`;
  document.body.dataset.state = state;
  if (state === "loading") setTimeout(() => check(attempt + 1), 100);
}
check(0);
</script>
</body>
</html>
"""
