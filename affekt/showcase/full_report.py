"""The demos' page: the papers' tables, made from the demos' own videos."""

from collections.abc import Iterator
from pathlib import Path

from affekt.evaluation.tables.build import NoFiguresError, TableOptions, build_ablation, build_table
from affekt.evaluation.tables.evaluations import load_ablation, load_evaluation
from affekt.evaluation.tables.papers import load_papers
from affekt.evaluation.tables.table import Table
from affekt.runtime.files import read_json
from affekt.showcase.bars import flat, shown
from affekt.showcase.evp_plan import evaluation
from affekt.showcase.full_evp_plan import BLENDS, blend_folder
from affekt.showcase.full_figures import scores
from affekt.showcase.full_plan import EAMM_TABLES, ROWS, eamm_clips, row_results
from affekt.showcase.page import Figure, Row, Section


def table_1_section(evp: Path) -> Section:
    """Return EVP's Table 1 of the demo, with controls and the paper's rows.

    Raises:
        FileNotFoundError: the demo was not measured.
    """
    folder = scores(evaluation(evp).with_suffix(""))
    return Section(
        "EVP, Table 1",
        "Every held-out sentence of one person, made from its own sound on its own video. The "
        "controls say what the truth itself, a still picture and another person score.",
        tables=list(tables_of([folder], ("evp-table1", "evp-emotion"))),
    )


def full_sections(out: Path) -> list[Section]:
    """Return the sections of the full demo.

    Raises:
        FileNotFoundError: a stage has not run.
    """
    rows = [scores(row_results(out, row)) for row in ROWS]
    ablation = build_ablation(load_papers()["evp-table2"], load_ablation(out / "ablation"))
    eamm = [
        table
        for name, protocol in EAMM_TABLES.items()
        for table in tables_of([scores(eamm_clips(out, name).with_suffix(""))], EAMM[protocol])
    ]
    return [
        Section(
            "EVP, Table 2: what each loss is worth",
            "Every loss of the disentanglement switched off in turn, three seeds each, measured on "
            "the predicted landmarks of held-out sentences.",
            tables=[ablation],
        ),
        Section(
            "EVP: emotion with and without cross reconstruction",
            "The videos of two rows of the ablation, judged by a network that learned emotions "
            "from other people.",
            tables=list(tables_of(rows, ("evp-emotion",))),
        ),
        *question_sections(out),
        Section(
            "EAMM's tables, self-driving",
            "Four people whom no stage has seen, as the supplement's B.1 has it: the source is a "
            "neutral frame, emotion and pose come from somebody else moved by the test clip.",
            tables=eamm,
        ),
    ]


def question_sections(out: Path) -> list[Section]:
    """Return what EVP's codes, editing and sequences are worth."""
    pictures = []
    for name, blend in BLENDS.items():
        folder = blend_folder(out, name)
        pictures += [
            Figure(f"{name}, {blend}", folder / "strip.png", 7),
            Figure("its curves", folder / "curves.png", 5),
            Figure(f"{blend}, all weights side by side", folder / "video.mp4"),
        ]
    temporal = out / "temporal"
    return [
        Section(
            "EVP, Fig. 5: emotion codes",
            "Before, after, and after training without the cross term; clips that no encoder has "
            "learned from are outlined. codes/analysis.md has the numbers and their intervals.",
            [Figure("t-SNE of the emotion codes", out / "codes" / "figure_5.png")],
        ),
        Section(
            "EVP: emotion editing",
            "One sentence between two emotions, and between neutral and one.",
            pictures,
        ),
        Section(
            "EVP: sequential renderer, with and without the video discriminator",
            "A held-out clip drawn frame after frame from its landmarks, at 64 px, and one column "
            "of its pixels over time. The discriminator shown sees what the true flow leaves "
            "unexplained (ours); frames_<seed> in the numbers is the paper's form, which sees "
            "frames; softened_<seed> is the video without one, blurred until it is as sharp.",
            [
                Figure("the first seed", temporal / "video.mp4", 7),
                Figure("a column over time", temporal / "slices.png", 5),
            ],
            rows=[
                Row(key, "", "", shown(value), None)
                for key, value in flat(read_json(temporal / "figures.json"))
            ],
        ),
    ]


EAMM = {
    "eamm-mead": ("eamm-table1-mead", "eamm-identity"),
    "eamm-lrw": ("eamm-table1-lrw",),
}


def tables_of(folders: list[Path], names: tuple[str, ...]) -> Iterator[Table]:
    """Yield the tables of finished evaluations; one of which nothing was measured is left out."""
    evaluations = [load_evaluation(folder) for folder in folders]
    for name in names:
        try:
            yield build_table(load_papers()[name], evaluations, TableOptions(per_emotion=True))
        except NoFiguresError:
            continue
