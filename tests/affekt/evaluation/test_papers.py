"""The printed figures, against the tables' text as the papers give it."""

import numpy as np
import pytest

from affekt.evaluation.tables.papers import load_papers
from affekt.media.emotions import EMOTIONS

PAPERS = load_papers()
# The text of each table, as extracted from the paper: a row's name and its figures.
TEXTS = {
    "evp-table1": """
        M-LD M-LVD F-LD F-LVD SSIM PSNR FID
        Chen et al. 2019 | 3.27 2.09 3.82 1.71 0.60 28.55 67.60
        Wang et al. 2020, MEAD | 2.52 2.28 3.16 2.01 0.68 28.61 22.52
        Song et al. 2020 | 2.54 1.99 3.49 1.76 0.64 29.11 36.33
        EVP | 2.45 1.78 3.01 1.56 0.71 29.53 7.99""",
    "evp-table2": """
        M-LD M-LVD F-LD F-LVD
        EVP w/o L_cla | 2.72 1.83 3.68 1.63
        EVP w/o L_con | 2.65 1.86 3.03 1.60
        EVP w/o L_self | 2.47 1.83 3.02 1.62
        EVP w/o L_cross | 2.54 1.80 3.19 1.59
        EVP | 2.45 1.78 3.01 1.56""",
    "xu-table1": """
        EFD LMD Sync CSIM FID PSNR SSIM
        PC-AVS | 0.127 2.90 3.01 0.78 37.83 27.98 0.66
        EAMM | 0.108 2.67 3.09 0.69 40.57 28.12 0.71
        Xu et al. (Ours-T) | 0.088 2.49 3.23 0.82 17.06 29.19 0.83""",
    "eamm-identity": """
        Angry Contempt Disgusted Fear Happy Neutral Sad Surprised Mean
        ATVG | 0.77 0.81 0.80 0.81 0.80 0.82 0.80 0.80 0.80
        SDA | 0.40 0.42 0.39 0.37 0.41 0.38 0.42 0.41 0.40
        Wav2Lip | 0.85 0.85 0.85 0.85 0.85 0.84 0.85 0.85 0.85""",
}
# The loose cells of EAMM's table, one group a column, in the order of these names.
LOOSE_NAMES = ("MakeItTalk", "PC-AVS", "Real", "EAMM")
LOOSE = np.array([
    (0.81, 0.57, 0.68, 0.70), (0.82, 0.51, 0.64, 0.63), (0.82, 0.53, 0.67, 0.71),
    (0.82, 0.59, 0.76, 0.69), (0.82, 0.56, 0.70, 0.70), (0.81, 0.58, 0.72, 0.68),
    (0.82, 0.58, 0.71, 0.74), (0.82, 0.57, 0.87, 0.81), (0.82, 0.59, 0.58, 0.70),
])  # fmt: skip


@pytest.mark.parametrize("table", TEXTS)
def test_the_figures_are_those_of_the_papers_text(table):
    head, *rows = [line.strip() for line in TEXTS[table].strip().splitlines()]
    printed = [column for column in PAPERS[table].columns if column.printed]
    assert [column.heading.removesuffix(" as printed") for column in printed] == head.split()
    names = [row.name for row in PAPERS[table].rows]
    for row in rows:
        name, figures = row.split(" | ")
        names.remove(name)
        wanted = dict(zip([c.metric for c in printed], map(float, figures.split()), strict=True))
        assert PAPERS[table].figures(name) == wanted
    assert names == (list(LOOSE_NAMES) if table == "eamm-identity" else [])


def test_emotion_accuracies_and_eamms_main_table():
    emotion = PAPERS["evp-emotion"]
    assert {row.name: row.values for row in emotion.rows} == {
        "EVP": (83.58, 90.2),
        "Wang et al. 2020, MEAD": (76.00, 90.2),
        "EVP w/o cross-reconstruction": (69.79, 90.2),
    }
    mead = PAPERS["eamm-table1-mead"]
    wanted = {"m_ld": 2.97, "f_ld": 3.03, "ssim": 0.63, "printed_psnr": 28.72}
    assert mead.figures("PC-AVS") == wanted
    wanted = {"m_ld": 2.41, "f_ld": 2.55, "ssim": 0.66, "printed_psnr": 29.29, "lse_c": 2.26}
    assert mead.figures("EAMM") == wanted
    lrw = PAPERS["eamm-table1-lrw"]
    assert [lrw.figures(name) for name in ("EAMM", "PC-AVS")] == [{"m_ld": 1.61}, {"m_ld": 1.67}]


def test_of_the_loose_cells_only_the_means_and_neutral_are_kept():
    """The paper: for real data the other emotions' similarities are lower than neutral's."""
    # A mean of eight cells, each and itself rounded to 0.01, is off by 0.01 at most.
    off = [abs(np.delete(LOOSE, k, axis=0).mean(axis=0) - LOOSE[k]).max() for k in range(9)]
    assert [k for k in range(9) if off[k] <= 0.01 + 1e-9] == [4]
    real = np.delete(LOOSE, 4, axis=0)[:, LOOSE_NAMES.index("Real")]
    assert (real == real.max()).sum() == 1
    neutral = LOOSE[LOOSE[:, 2].argmax()]
    # The seven other groups fit any order of the emotions, so those cells are left out.
    for name, mean, own in zip(LOOSE_NAMES, LOOSE[4], neutral, strict=True):
        assert PAPERS["eamm-identity"].figures(name) == {"neutral": own, "mean": mean}


@pytest.mark.parametrize("name", ["ATVG", "SDA", "Wav2Lip"])
def test_a_whole_row_reproduces_its_mean(name):
    figures = PAPERS["eamm-identity"].figures(name)
    mean = np.mean([figures[emotion] for emotion in EMOTIONS])
    assert mean == pytest.approx(figures["mean"], abs=0.01)


def test_a_printed_psnr_is_never_in_a_column_of_a_psnr_of_ours():
    for table in PAPERS.values():
        for row in table.rows:
            assert not table.figures(row.name).keys() & {"psnr", "psnr_u8wrap", "efd_proxy"}
        compared = {column.metric: column.counterpart for column in table.columns}
        assert compared.get("psnr") is None
        assert compared.get("efd_proxy") is None
        assert compared.get("psnr_u8wrap", "printed_psnr") == "printed_psnr"


def test_no_column_claims_a_protocol_that_no_paper_gives():
    assert not any(column.protocol_known for table in PAPERS.values() for column in table.columns)


@pytest.mark.parametrize("table", PAPERS.values(), ids=PAPERS)
def test_every_row_fits_the_columns_and_every_name_is_there(table):
    printed = {column.metric for column in table.columns if column.printed}
    names = {row.name for row in table.rows}
    assert all(len(row.values) == len(printed) for row in table.rows)
    assert names >= {table.own, table.truth} - {None}
    assert printed >= {column.compare_with for column in table.columns} - {None}
