"""EAMM's part of the demos' page: videos, pictures, curves."""

from pathlib import Path

from media.plots import curves
from showcase.page import Figure, Section

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
                Figure("a row a speaker, a column an emotion", media / "contact_sheet.png"),
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
    pictures = sorted(folder.glob("*.png"))
    figures = [Figure(path.stem.replace("_", " "), path, 6) for path in pictures]
    text = "What emotion features hold, as the supplement's Figures 1, 4 and 6 ask."
    return [Section("EAMM: the emotion features", text, figures)] if figures else []
