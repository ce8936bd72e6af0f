"""EAMM's part of the demos' page: videos, pictures, curves."""

from pathlib import Path

from showcase.page import Figure, Section
from showcase.plots import curves

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
            "EAMM: data and training",
            "Twenty people of the embedded corpus, four of them unseen.",
            [Figure("total loss of every stage", media / "curves.png")],
        ),
    ]
