"""The full demo's figures and sections, of evaluations of one's own choice."""

import pytest

from affekt.runtime.files import write_json
from affekt.showcase.full_figures import EDITING, measure
from affekt.showcase.plans import EAMM_TABLES, ROWS, eamm_results, row_results, scores_of
from affekt.showcase.report import full_sections
from affekt.showcase.thresholds import FULL_THRESHOLDS, look_up, rows, thresholds_of
from tests.corpora.scored_evaluations import lines, write_evaluation


@pytest.fixture
def out(tmp_path):
    """The folder of a full demo whose results are read right three times of four."""
    right = lines("result", "emotion_correct", [1, 1, 0, 1] * 2)
    right += lines("truth", "emotion_correct", [1] * 8) + lines("result", "m_ld", [2.5] * 8)
    folders = [row_results(tmp_path, row) for row in ROWS]
    folders += [eamm_results(tmp_path, name) for name in EAMM_TABLES]
    for number, folder in enumerate(folders):
        write_evaluation(scores_of(folder), right, name=f"method {number}")
    silent = scores_of(eamm_results(tmp_path, "lrw"))
    write_evaluation(silent, lines("result", "m_ld", [2.5] * 8), name="no emotions")
    write_evaluation(tmp_path / "evp", right)
    write_json(tmp_path / "syncnet/sync.json", {"exact": 0.99})
    write_json(tmp_path / "emotion_of_truth.json", {"truth": {"accuracy": 0.975}})
    table = {name: {"m_ld": [2.6, 2.7]} for name in ("full", "no_cross")}
    steadier = {"warp_ratio": 0.93, "ssim_change": 0.004, "warp_ratio_softened": 0.97}
    errors = {"warp_error_with": 4.9, "frozen": {"warp_error": 7.0}}
    write_json(tmp_path / "temporal/figures.json", steadier | errors)
    leak = {"equal_timing": {"median": 0.25, "fourth": 0.27, "shares": [0.2, 0.25, 0.312]}}
    write_json(tmp_path / "content_leak/content_leak.json", leak)
    followed = dict.fromkeys(EDITING, 0.95) | {"gone": [0, 1]}
    editing = {"blends": followed, "intensity": followed, "pairs": {}}
    write_json(tmp_path / "editing/editing.json", editing)
    write_json(tmp_path / "ablation/table2.json", {"rows": table, "controls": {}, "notes": []})
    return tmp_path


def test_figures_are_the_shares_of_each_evaluation(out):
    figures = measure(out, out / "evp")
    assert figures["evp_emotion"] == figures["evp_emotion_no_cross"] == 0.75
    assert figures["eamm_mead_emotion_truth"] == figures["evp_emotion_of_truth"] == 1
    assert (figures["lag_exact"], figures["emotion_of_truth"]) == (0.99, 0.975)
    assert not [key for key in figures if key.startswith("eamm_lrw")]
    results = {"full": figures}
    assert thresholds_of(results) == FULL_THRESHOLDS
    assert all(threshold.row(results).met for threshold in FULL_THRESHOLDS)
    assert look_up(results, "full.lag_exact") == 0.99
    assert look_up(results, "full.editing_blends.rank") == 0.95
    values = {row.key: row.value for row in rows(results)}
    assert values["full.content_leak.equal_timing.shares"] == "0.2, 0.25, 0.312"
    figures["temporal"]["warp_error_with"] = 7.5  # a frozen frame would win
    figures["temporal"]["warp_ratio"] = 0.96
    missed = [threshold.key for threshold in FULL_THRESHOLDS if not threshold.row(results).met]
    assert missed == ["full.temporal.warp_ratio", "full.temporal.frozen.warp_error"]


def test_the_page_has_the_ablation_both_rows_and_eamms_tables(out):
    tables = [table.id for section in full_sections(out) for table in section.tables]
    assert tables[0] == "evp-table2"
    assert {"evp-emotion", "eamm-table1-mead", "eamm-table1-lrw"} <= set(tables)
