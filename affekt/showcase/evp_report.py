"""EVP's part of the demos' page: videos, pictures, curves."""

from pathlib import Path

from affekt.media.plots import curves
from affekt.showcase.page import Figure, Section

STAGES = (
    "pretrain_emotion",
    "pretrain_content",
    "disentangle",
    "disentangle_no_cross",
    "audio2lm",
    "edge2video",
)


def evp_sections(runs: Path) -> list[Section]:
    """Return EVP's sections; draws the curves of its stages.

    Raises:
        FileNotFoundError: a stage of the demo has not run.
    """
    media = runs / "media"
    curves(media / "curves.png", {name: runs / name for name in STAGES})
    pictures = sorted((runs / "edge2video" / "pictures").glob("held_out_*.png"))
    return [
        Section(
            "From sound to an edited video",
            "A sentence that no stage learned from. The target video shows the same person, "
            "silent to us, turning the head; face and speech come from the sound alone.",
            [
                Figure("truth: the person saying it", media / "truth.mp4", 4),
                Figure("result: the target video says it", media / "result.mp4", 4),
                Figure("the same sound, another emotion", media / "swapped.mp4", 4),
            ],
        ),
        Section(
            "Blending emotions",
            "Mean emotion codes of two labels, (1 - w) sad + w happy; the mouth keeps its timing.",
            [
                Figure("one sentence, five weights", media / "blend.mp4"),
                Figure("the frame with the widest mouth", media / "blend.png"),
                Figure("mouth opening under every weight", media / "blend_mouth.png"),
            ],
        ),
        Section(
            "Content by emotion",
            "Two sentences down, emotions across (supplement, Fig. 2): a row shares its lips, "
            "a column its expression.",
            [Figure("all from one target video", media / "grid.mp4")],
        ),
        Section(
            "3D alignment",
            "The same predicted face, with the target's pose and without (the paper's Fig. 7).",
            [
                Figure("left aligned in 3D, right not at all", media / "alignment.mp4", 6),
                Figure("guidance, generated, true: held out", pictures[-1], 6),
            ],
        ),
        Section(
            "Data and training",
            "The corpus as prepared, with the landmarks the detector found, and every loss.",
            [
                Figure("a row a speaker, a column an emotion", media / "contact_sheet.png"),
                Figure("total loss of every stage", media / "curves.png"),
            ],
        ),
    ]
