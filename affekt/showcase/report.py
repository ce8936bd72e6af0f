"""The demos' HTML report: every figure, then videos, pictures and tables of each system.

Media are embedded, so the file can be mailed. A script counts them: the body's data-state is
"ready" once every video has a frame and every picture a size, else "broken", with the counts in
data-media; tests read both in a real browser.
"""

import base64
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from affekt.evaluation.tables.build import NoFiguresError, build_ablation, build_table
from affekt.evaluation.tables.evaluations import load_ablation, load_evaluation
from affekt.evaluation.tables.papers import load_paper
from affekt.evaluation.tables.table import Table, figure, heading
from affekt.media.plots import curves
from affekt.runtime.files import read_json, write_text
from affekt.showcase.plans import (
    EAMM_TABLES,
    ROWS,
    eamm_results,
    evp_results,
    row_results,
    scores_of,
)
from affekt.showcase.thresholds import MetricRow, format_value, look_up, plain_rows, rows
from eamm.analysis.supplement import ROWS as ANALYSIS_ROWS

TEMPLATE = Path(__file__).with_name("page.html")
KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".mp4": "video/mp4"}
PRETRAINED = ("pretrain_emotion", "pretrain_content")
EVP_STAGES = (*PRETRAINED, "disentangle", "disentangle_no_cross", "audio2lm", "edge2video")
EAMM_STAGES = ("fomm", "a2fd", "displacement")
EAMM_PAPER_TABLES = {"mead": ("eamm-table1-mead", "eamm-identity"), "lrw": ("eamm-table1-lrw",)}

# Sections: `# title`, sentences, `- file | columns of twelve | caption`; of `*` the newest file.
EVP_SECTIONS = """
# From sound to an edited video
A held-out sentence. The target video shows the same person turning the head, its own sound unused;
face and speech come from the sound alone.
- media/truth.mp4 | 4 | truth: the person speaking the sentence
- media/result.mp4 | 4 | result: the target video speaking it
- media/swapped.mp4 | 4 | the same sound, another emotion
# Blending emotions
Mean emotion codes of two labels, (1 - w) sad + w happy; the mouth keeps its timing.
- media/blend.mp4 | 12 | one sentence, five weights
- media/blend.png | 12 | the frame with the widest mouth
- media/blend_mouth.png | 12 | mouth opening under every weight
# Content by emotion
Two sentences down, emotions across (supplement, Fig. 2): a row shares its lips, a column its
expression.
- media/grid.mp4 | 12 | all from one target video
# 3D alignment
The same predicted face, with the target's pose and without (the paper's Fig. 7).
- media/alignment.mp4 | 6 | left aligned in 3D, middle by eq. 8 as printed, right not at all
- edge2video/pictures/val_*.png | 6 | guidance, generated, true: held out
# Data and training
The corpus as prepared, with the detected landmarks, and every loss.
- media/contact_sheet.png | 12 | a row a speaker, a column an emotion
- media/curves.png | 12 | total loss of every stage
# EVP, Table 1
Every held-out sentence of one person, generated from its own sound on its own video. The controls
are the scores of the truth, of a still picture and of another person.
"""
EAMM_SECTIONS = """
# EAMM: one picture, a sound, a head pose and an emotion source
Speakers held out of training. The emotion source is another person, the mouth masked; without it
the face only speaks and moves.
- media/speech.mp4 | 12 | a sentence spoken in surprise
# EAMM: one sound, several emotions
The same picture, sound and pose, under the emotions of another person.
- media/emotions.mp4 | 12 | none, angry, happy, sad, surprised
# FOMM: a portrait follows a video
The motion of a held-out person's turning head, transferred to another one.
- media/reenactment.mp4 | 8 | portrait, driving video, result
- fomm/pictures/val_*.png | 4 | source, driving, deformed, generated
# EAMM: data and training
The corpus as prepared, with the detected landmarks, and every loss.
- media/contact_sheet.jpg | 12 | a row a speaker, a column an emotion
- media/curves.png | 12 | total loss of every stage
# EAMM: emotion features
The supplement's Figures 1, 4 and 6 on held-out people.
- analysis/interpolation.png | 12 | Fig. 1: features of two emotions blended
- analysis/a2fd_alone.png | 12 | Fig. 4: emotion only through A2FD's inputs
- analysis/dynamic_source.png | 12 | Fig. 6: a still and a changing source
- analysis/dynamic_source_tracks.png | 12 | the same over time
- analysis/clusters.png | 12 | clips by emotion and person
"""
FULL_SECTIONS = """
# EVP, Table 2: the losses of the disentanglement
Every loss switched off in turn, three seeds each, measured on the predicted landmarks of held-out
sentences.
# EVP: emotion with and without cross reconstruction
The videos of two rows of the ablation, classified by a network that learned emotions from other
people.
# EAMM's tables, self-driving
Four held-out people, as in the supplement's B.1: the source is a neutral frame, emotion and pose
come from another person moved by the test clip.
# EVP: sequential renderer, with and without the video discriminator
A held-out clip generated frame after frame from its landmarks, at 64 px, and one column of its
pixels over time. The discriminator shown takes what the true flow leaves unexplained (ours);
frames_<seed> in the numbers is the paper's form, which takes frames; softened_<seed> is the video
without one, blurred until it is as sharp.
- temporal/video.mp4 | 7 | the first seed
- temporal/slices.png | 5 | a column over time
# EVP, Fig. 5: emotion codes
Before, after, and after training without the cross term; held-out clips are outlined.
codes/analysis.md has the figures and their intervals.
- codes/figure_5.png | 12 | t-SNE of the emotion codes
# EVP: emotion editing
One sentence between two emotions, and between neutral and one.
- editing/category/strip.png | 7 | category, happy:sad
- editing/category/curves.png | 5 | its curves
- editing/category/video.mp4 | 12 | happy:sad, all weights side by side
- editing/intensity/strip.png | 7 | intensity, neutral:surprised
- editing/intensity/curves.png | 5 | its curves
- editing/intensity/video.mp4 | 12 | neutral:surprised, all weights side by side
"""


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


def write_report(out: Path) -> None:
    """Write out/report.html from out/results.json and the systems' media folders.

    Raises:
        FileNotFoundError: a stage of a system's demo has not run.
    """
    results = read_json(out / "results.json")
    sections: list[Section] = []
    leads = []
    if "landmark" in results:
        minutes = results["wall_seconds"] / 60
        leads.append(f"EVP, from raw video to an edited portrait in {minutes:.0f} minutes.")
        sections += evp_sections(out)
    if "eamm" in results:
        minutes = results["eamm"]["wall_seconds"] / 60
        leads.append(f"EAMM, from raw video to an animated portrait in {minutes:.0f} minutes.")
        sections += eamm_sections(out / "eamm")
    if "full" in results:
        sections += full_sections(out / "full")
    write_page(out / "report.html", "Affekt: the demos", " ".join(leads), rows(results), sections)


def evp_sections(runs: Path) -> list[Section]:
    """Return EVP's sections, Table 1 last; draws the curves of its stages."""
    curves(runs / "media" / "curves.png", {name: runs / name for name in EVP_STAGES})
    *shown, table_1 = _sections(EVP_SECTIONS, runs)
    folder = scores_of(evp_results(runs))
    return [*shown, replace(table_1, tables=[*_tables([folder], ("evp-table1", "evp-emotion"))])]


def eamm_sections(runs: Path) -> list[Section]:
    """Return EAMM's sections; draws the curves of its stages."""
    curves(runs / "media" / "curves.png", {name: runs / name for name in EAMM_STAGES})
    found = read_json(runs / "analysis" / "analysis.json")
    numbers = [
        MetricRow(key, text, "", format_value(look_up(found, key)), None)
        for key, text in ANALYSIS_ROWS.items()
    ]
    *shown, features = _sections(EAMM_SECTIONS, runs)
    return [*shown, replace(features, rows=numbers)]


def full_sections(out: Path) -> list[Section]:
    """Return the sections of the full demo.

    Raises:
        FileNotFoundError: a stage has not run.
    """
    ablation = build_ablation(load_paper("evp-table2"), load_ablation(out / "ablation"))
    by_row = [scores_of(row_results(out, row)) for row in ROWS]
    by_table = {name: scores_of(eamm_results(out, name)) for name in EAMM_TABLES}
    eamm = [t for name, at in by_table.items() for t in _tables([at], EAMM_PAPER_TABLES[name])]
    losses, emotion, self_driving, temporal, *shown = _sections(FULL_SECTIONS, out)
    return [
        replace(losses, tables=[ablation]),
        replace(emotion, tables=[*_tables(by_row, ("evp-emotion",))]),
        *shown,
        replace(temporal, rows=plain_rows(read_json(out / "temporal" / "figures.json"))),
        replace(self_driving, tables=eamm),
    ]


def _sections(text: str, folder: Path) -> Iterator[Section]:
    """Yield the sections of a text whose files lie in a folder."""
    for part in text.strip().removeprefix("# ").split("\n# "):
        title, *lines = part.splitlines()
        files = [line[2:].split(" | ") for line in lines if line.startswith("- ")]
        figures = [Figure(text, _newest(folder, name), int(width)) for name, width, text in files]
        yield Section(title, " ".join(line for line in lines if line[:2] != "- "), figures)


def _newest(folder: Path, name: str) -> Path:
    found = sorted(folder.glob(name)) if "*" in name else [folder / name]
    if not found:
        raise FileNotFoundError(f"{folder} holds no {name}; run that stage first")
    return found[-1]


def _tables(folders: list[Path], names: tuple[str, ...]) -> Iterator[Table]:
    """Yield the tables of finished evaluations; one of which nothing was measured is left out."""
    evaluations = [load_evaluation(folder) for folder in folders]
    for name in names:
        try:
            yield build_table(load_paper(name), evaluations, per_emotion=True)
        except NoFiguresError:
            continue


def write_page(
    path: Path, title: str, lead: str, rows: Sequence[MetricRow], sections: Sequence[Section]
) -> None:
    """Write the page.

    Args:
        lead: one sentence under the title.

    Raises:
        FileNotFoundError: a figure is missing.
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
    rows = "\n".join(row.cells() for row in section.rows)
    numbers = f"<summary>In numbers</summary><table><tbody>{rows}</tbody></table>"
    return (
        f"<section><h2>{html.escape(section.title)}</h2><p>{html.escape(section.text)} {button}</p>"
        f'<div class="grid">{figures}</div>{"".join(map(_paper_table, section.tables))}'
        f"{f'<details>{numbers}</details>' if rows else ''}</section>"
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
    kind = KINDS[figure.path.suffix]
    data = base64.b64encode(figure.path.read_bytes()).decode()
    source = f'src="data:{kind};base64,{data}"'
    caption = html.escape(figure.caption)
    if kind.startswith("video"):
        media = f'<video {source} controls loop muted playsinline preload="auto"></video>'
    else:
        media = f'<img {source} alt="{caption}">'
    style = f"grid-column: span {figure.columns}"
    return f'<figure style="{style}">{media}<figcaption>{caption}</figcaption></figure>'
