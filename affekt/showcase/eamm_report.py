"""EAMM's part of the demos' page: videos, pictures, curves."""

from pathlib import Path

from affekt.media.plots import curves
from affekt.runtime.files import read_json
from affekt.showcase.bars import look_up, shown
from affekt.showcase.page import Figure, Row, Section
from eamm.analysis.analyse import ROWS

STAGES = ("fomm", "a2fd", "displacement")


def eamm_sections(runs: Path) -> list[Section]:
    """Return EAMM's sections; draws the curves of its stages.

    Raises:
        FileNotFoundError: a stage of the demo has not run.
    """
    media = runs / "media"
    curves(media / "curves.png", {name: runs / name for name in STAGES})
    return [
        Section(
            "EAMM: one picture, a sound, a head pose and somebody's emotion",
            "Nobody here was seen in training. The emotion source is another person, its mouth "
            "hidden from the network; without it the face only speaks and moves.",
            [Figure("a sentence that was said in surprise", media / "speech.mp4")],
        ),
        Section(
            "EAMM: one sound, several emotions",
            "The same picture, sound and pose, under the emotions of another person.",
            [Figure("none, angry, happy, sad, surprised", media / "emotions.mp4")],
        ),
        Section(
            "FOMM: a portrait follows a video",
            "The motion of an unseen person's turning head, given to another one.",
            [
                Figure("portrait, driving video, result", media / "reenactment.mp4", 8),
                Figure("source, driving, moved, drawn", _last(runs / "fomm", "held_out"), 4),
            ],
        ),
        *_analysis(runs / "analysis"),
        Section(
            "EAMM: data and training",
            "The people of the embedded corpus as prepared, and every loss.",
            [
                Figure("a row a speaker, a column an emotion", media / "contact_sheet.jpg"),
                Figure("total loss of every stage", media / "curves.png"),
            ],
        ),
    ]


def _last(run: Path, name: str) -> Path:
    """Return the newest picture that a run has kept under a name."""
    pictures = sorted((run / "pictures").glob(f"{name}_*.png"))
    if not pictures:
        raise FileNotFoundError(f"{run / 'pictures'} holds no {name}_*.png; run that stage first")
    return pictures[-1]


def _analysis(folder: Path) -> list[Section]:
    if not (folder / "analysis.json").is_file():
        return []
    found = read_json(folder / "analysis.json")
    rows = [Row(key, what, "", shown(look_up(found, key)), None) for key, what in ROWS]
    return [
        Section(
            "EAMM: what the emotion features do",
            "The questions of the supplement's Figures 1, 4 and 6, asked of unseen people.",
            [
                Figure("Fig. 1: features of two emotions blended", folder / "interpolation.png"),
                Figure("Fig. 4: emotion only through A2FD's inputs", folder / "a2fd_alone.png"),
                Figure("Fig. 6: a still and a changing source", folder / "dynamic_source.png"),
                Figure("the same over time", folder / "dynamic_source_tracks.png"),
                Figure("where clips lie, by emotion and person", folder / "clusters.png"),
            ],
            rows,
        )
    ]
