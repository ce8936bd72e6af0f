"""The demos' HTML report: every figure, then videos, pictures and tables of each system."""

from collections.abc import Iterator
from pathlib import Path

from affekt.evaluation.tables.build import NoFiguresError, TableOptions, build_ablation, build_table
from affekt.evaluation.tables.evaluations import load_ablation, load_evaluation
from affekt.evaluation.tables.papers import load_papers
from affekt.evaluation.tables.table import Table
from affekt.media.plots import curves
from affekt.runtime.files import read_json
from affekt.showcase.full_plan import (
    BLENDS,
    EAMM_TABLES,
    ROWS,
    blend_folder,
    eamm_manifest,
    row_results,
)
from affekt.showcase.page import Figure, MetricRow, Section, write_page
from affekt.showcase.plans import evp_manifest, scores_of
from affekt.showcase.thresholds import format_value, look_up, plain_rows, rows
from eamm.analysis.supplement import ROWS as ANALYSIS_ROWS

EVP_STAGES = (
    "pretrain_emotion",
    "pretrain_content",
    "disentangle",
    "disentangle_no_cross",
    "audio2lm",
    "edge2video",
)
EAMM_STAGES = ("fomm", "a2fd", "displacement")
EAMM_PAPER_TABLES = {"mead": ("eamm-table1-mead", "eamm-identity"), "lrw": ("eamm-table1-lrw",)}


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
        sections += [*evp_sections(out), table_1_section(out)]
    if "eamm" in results:
        minutes = results["eamm"]["wall_seconds"] / 60
        leads.append(f"EAMM, from raw video to an animated portrait in {minutes:.0f} minutes.")
        sections += eamm_sections(out / "eamm")
    if "full" in results:
        sections += full_sections(out / "full")
    write_page(out / "report.html", "Affekt: the demos", " ".join(leads), rows(results), sections)


def evp_sections(runs: Path) -> list[Section]:
    """Return EVP's sections; draws the curves of its stages."""
    media, held_out = runs / "media", _last_picture(runs / "edge2video", "held_out")
    curves(media / "curves.png", {name: runs / name for name in EVP_STAGES})
    return [
        Section(
            "From sound to an edited video",
            "A held-out sentence. The target video shows the same person turning the head, its "
            "own sound unused; face and speech come from the sound alone.",
            [
                Figure("truth: the person speaking the sentence", media / "truth.mp4", 4),
                Figure("result: the target video speaking it", media / "result.mp4", 4),
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
                Figure("guidance, generated, true: held out", held_out, 6),
            ],
        ),
        _data_section("Data and training", media / "contact_sheet.png", media),
    ]


def eamm_sections(runs: Path) -> list[Section]:
    """Return EAMM's sections; draws the curves of its stages."""
    media, held_out = runs / "media", _last_picture(runs / "fomm", "held_out")
    curves(media / "curves.png", {name: runs / name for name in EAMM_STAGES})
    return [
        Section(
            "EAMM: one picture, a sound, a head pose and an emotion source",
            "Speakers held out of training. The emotion source is another person, the mouth "
            "masked; without it the face only speaks and moves.",
            [Figure("a sentence spoken in surprise", media / "speech.mp4")],
        ),
        Section(
            "EAMM: one sound, several emotions",
            "The same picture, sound and pose, under the emotions of another person.",
            [Figure("none, angry, happy, sad, surprised", media / "emotions.mp4")],
        ),
        Section(
            "FOMM: a portrait follows a video",
            "The motion of a held-out person's turning head, transferred to another one.",
            [
                Figure("portrait, driving video, result", media / "reenactment.mp4", 8),
                Figure("source, driving, deformed, generated", held_out, 4),
            ],
        ),
        *_eamm_analysis(runs / "analysis"),
        _data_section("EAMM: data and training", media / "contact_sheet.jpg", media),
    ]


def _eamm_analysis(folder: Path) -> list[Section]:
    if not (folder / "analysis.json").is_file():
        return []
    found = read_json(folder / "analysis.json")
    values = {key: format_value(look_up(found, key)) for key in ANALYSIS_ROWS}
    return [
        Section(
            "EAMM: emotion features",
            "The supplement's Figures 1, 4 and 6 on held-out people.",
            [
                Figure("Fig. 1: features of two emotions blended", folder / "interpolation.png"),
                Figure("Fig. 4: emotion only through A2FD's inputs", folder / "a2fd_alone.png"),
                Figure("Fig. 6: a still and a changing source", folder / "dynamic_source.png"),
                Figure("the same over time", folder / "dynamic_source_tracks.png"),
                Figure("clips by emotion and person", folder / "clusters.png"),
            ],
            [MetricRow(key, text, "", values[key], None) for key, text in ANALYSIS_ROWS.items()],
        )
    ]


def _data_section(title: str, sheet: Path, media: Path) -> Section:
    figures = [
        Figure("a row a speaker, a column an emotion", sheet),
        Figure("total loss of every stage", media / "curves.png"),
    ]
    text = "The corpus as prepared, with the detected landmarks, and every loss."
    return Section(title, text, figures)


def _last_picture(run: Path, name: str) -> Path:
    """Return the newest picture that a run has kept under a name."""
    pictures = sorted((run / "pictures").glob(f"{name}_*.png"))
    if not pictures:
        raise FileNotFoundError(f"{run / 'pictures'} holds no {name}_*.png; run that stage first")
    return pictures[-1]


def table_1_section(evp: Path) -> Section:
    """Return EVP's Table 1 of the demo, with controls and the paper's rows.

    Raises:
        FileNotFoundError: the demo was not measured.
    """
    folder = scores_of(evp_manifest(evp).with_suffix(""))
    return Section(
        "EVP, Table 1",
        "Every held-out sentence of one person, generated from its own sound on its own video. "
        "The controls are the scores of the truth, of a still picture and of another person.",
        tables=list(_tables([folder], ("evp-table1", "evp-emotion"))),
    )


def full_sections(out: Path) -> list[Section]:
    """Return the sections of the full demo.

    Raises:
        FileNotFoundError: a stage has not run.
    """
    ablation = build_ablation(load_papers()["evp-table2"], load_ablation(out / "ablation"))
    by_row = [scores_of(row_results(out, row)) for row in ROWS]
    by_table = {name: scores_of(eamm_manifest(out, name).with_suffix("")) for name in EAMM_TABLES}
    eamm = [
        table
        for name, folder in by_table.items()
        for table in _tables([folder], EAMM_PAPER_TABLES[name])
    ]
    return [
        Section(
            "EVP, Table 2: the losses of the disentanglement",
            "Every loss switched off in turn, three seeds each, measured on the predicted "
            "landmarks of held-out sentences.",
            tables=[ablation],
        ),
        Section(
            "EVP: emotion with and without cross reconstruction",
            "The videos of two rows of the ablation, classified by a network that learned "
            "emotions from other people.",
            tables=list(_tables(by_row, ("evp-emotion",))),
        ),
        Section(
            "EVP, Fig. 5: emotion codes",
            "Before, after, and after training without the cross term; held-out clips are "
            "outlined. codes/analysis.md has the figures and their intervals.",
            [Figure("t-SNE of the emotion codes", out / "codes" / "figure_5.png")],
        ),
        _editing_section(out),
        _temporal_section(out / "temporal"),
        Section(
            "EAMM's tables, self-driving",
            "Four held-out people, as in the supplement's B.1: the source is a neutral frame, "
            "emotion and pose come from another person moved by the test clip.",
            tables=eamm,
        ),
    ]


def _editing_section(out: Path) -> Section:
    figures = []
    for name, blend in BLENDS.items():
        folder = blend_folder(out, name)
        figures += [
            Figure(f"{name}, {blend}", folder / "strip.png", 7),
            Figure("its curves", folder / "curves.png", 5),
            Figure(f"{blend}, all weights side by side", folder / "video.mp4"),
        ]
    text = "One sentence between two emotions, and between neutral and one."
    return Section("EVP: emotion editing", text, figures)


def _temporal_section(temporal: Path) -> Section:
    return Section(
        "EVP: sequential renderer, with and without the video discriminator",
        "A held-out clip generated frame after frame from its landmarks, at 64 px, and one column "
        "of its pixels over time. The discriminator shown takes what the true flow leaves "
        "unexplained (ours); frames_<seed> in the numbers is the paper's form, which takes "
        "frames; softened_<seed> is the video without one, blurred until it is as sharp.",
        [
            Figure("the first seed", temporal / "video.mp4", 7),
            Figure("a column over time", temporal / "slices.png", 5),
        ],
        plain_rows(read_json(temporal / "figures.json")),
    )


def _tables(folders: list[Path], names: tuple[str, ...]) -> Iterator[Table]:
    """Yield the tables of finished evaluations; one of which nothing was measured is left out."""
    evaluations = [load_evaluation(folder) for folder in folders]
    for name in names:
        try:
            yield build_table(load_papers()[name], evaluations, TableOptions(per_emotion=True))
        except NoFiguresError:
            continue
