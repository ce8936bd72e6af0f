import json

import numpy as np
import pytest

from affekt.evaluation.tables.build import NoFiguresError, build_ablation, build_table
from affekt.evaluation.tables.evaluations import load_ablation, load_evaluation
from affekt.evaluation.tables.papers import load_papers
from affekt.metrics.intervals import macro_interval, mean_interval, wilson_interval
from tests.corpora.scored_evaluations import PROTOCOL, line, lines, write_evaluation

PAPERS = load_papers()
TABLE_1, EMOTION, IDENTITY = (PAPERS[k] for k in ("evp-table1", "evp-emotion", "eamm-identity"))
SPEAKERS = ("M1", "M2", "M3", "M4", "M5")


@pytest.fixture
def evaluation(tmp_path):
    """Write and read an evaluation of these lines, or of a result's M-LD by clip."""

    def make(scores, name="ours", speakers=("M1",), emotions=("happy",), **changes):
        if not isinstance(scores[0], dict):
            scores = lines("result", "m_ld", scores, speakers, emotions)
        return load_evaluation(write_evaluation(tmp_path / name, scores, name, **changes))

    return make


@pytest.fixture
def table_of(evaluation):
    """Table 1 of one evaluation."""
    return lambda *scores, **changes: build_table(TABLE_1, [evaluation(*scores, **changes)])


def row_of(table, name):
    found = [row for row in table.rows if row.name == name]
    assert len(found) == 1, [row.name for row in table.rows]
    return found[0]


def cell_of(table, name="ours", metric="m_ld"):
    return row_of(table, name).cells[metric]


def names_of(table, *kinds):
    return [row.name for row in table.rows if row.kind in kinds]


def marks_of(table):
    return [cell.better_than for row in table.rows for cell in row.cells.values()]


def noisy(mean, count=40, seed=0):
    return (mean + 0.2 * np.random.default_rng(seed).normal(size=count)).tolist()


def test_a_cell_is_ours_its_interval_the_papers_figure_and_the_difference(table_of):
    values = [2.0, 3.0, 2.5, 2.9, 2.4, 2.8]
    table = table_of(values)
    found = cell_of(table)
    assert found.value == pytest.approx(2.6)
    assert found.by_clip == mean_interval(values)
    assert (found.paper, found.count, found.by_speaker) == (2.45, 6, None)
    assert found.difference == pytest.approx(0.15)
    assert row_of(table, "ours").letter == ""
    few = cell_of(table_of([2, 3, 2, 3, 3]))
    assert (few.value, few.by_clip) == (pytest.approx(2.6), None)
    gap = cell_of(table_of([1.0, None, 3.0]))
    assert (gap.value, gap.count) == (2.0, 2)


def test_what_does_not_compare_with_print_stands_beside_no_printed_figure(evaluation, table_of):
    table = table_of(noisy(2), papers_own=False, convention="atvg", view="2d")
    assert cell_of(table).paper is None
    assert "landmarks by atvg in the 2d view, which is not the paper's" in table.notes[-1]
    mead, scores = PAPERS["eamm-table1-mead"], lines("result", "lse_c", noisy(3))
    public = build_table(mead, [evaluation(scores)])
    assert cell_of(public, "ours", "lse_c").paper == 2.26
    scores += lines("result", "m_ld", noisy(2))
    own = build_table(mead, [evaluation(scores, trained_here=["sync"])])
    assert cell_of(own, "ours", "lse_c").paper is None
    assert cell_of(own, "ours", "m_ld").paper == 2.41
    assert "trained here: sync (sync figures of which do not compare" in own.notes[-1]
    proxy = build_table(PAPERS["xu-table1"], [evaluation(lines("result", "efd_proxy", [0.2, 0.3]))])
    assert cell_of(proxy, "ours", "efd_proxy").paper is None
    assert any("EFD is not defined" in note for note in proxy.notes)


def test_figures_of_different_networks_or_truths_are_refused(evaluation):
    one, two = (
        evaluation(correct([right] * 12), name, weights={"emotion": name})
        for name, right in (("one", 1), ("two", 0))
    )
    with pytest.raises(
        ValueError, match="emotion_correct of 'one' and of 'two' comes from networks"
    ):
        build_table(EMOTION, [one, two])
    first, other = (
        evaluation(noisy(2), name, truths={"clip0": name}) for name in ("first", "other")
    )
    with pytest.raises(ValueError, match="different true videos of 1 clips, such as clip0"):
        build_table(TABLE_1, [first, other])
    # what a table does not show may come from anywhere
    build_table(TABLE_1, [evaluation(noisy(2), name, weights={"emotion": name}) for name in "ab"])


def test_an_evaluation_named_as_a_row_of_the_paper_stands_beside_that_row(table_of):
    name = "Song et al. 2020"
    assert cell_of(table_of([2.0, 3.0], name), name).paper == 2.54


def test_the_printed_psnr_faces_the_wrapped_one_alone(table_of):
    table = table_of(lines("result", "psnr", [20, 21]) + lines("result", "psnr_u8wrap", [28, 29]))
    ours = row_of(table, "ours").cells
    assert {key: cell.paper for key, cell in ours.items()} == {"psnr": None, "psnr_u8wrap": 29.53}
    printed = row_of(table, "EVP (paper)").cells
    assert printed["printed_psnr"].value == 29.53
    assert not printed.keys() & {"psnr", "psnr_u8wrap"}
    assert {c.key for c in table.columns if not c.dagger} == {"psnr", "kid"}


def test_five_speakers_give_an_interval_by_speaker_four_or_an_unknown_one_do_not(table_of):
    values = noisy(2.5)
    expected = mean_interval(values, list(SPEAKERS) * 8)
    for speakers, wanted in ((SPEAKERS, expected), (SPEAKERS[:4], None), ((*SPEAKERS, None), None)):
        assert cell_of(table_of(values, speakers=speakers)).by_speaker == wanted


def test_the_mean_of_emotions_weighs_emotions_alike(evaluation):
    scores = lines("result", "m_ld", [1.0, 3.0, 2.0], emotions=("happy", "happy", "angry"))
    scores += [line("clip9", "result", "m_ld", 10.0, emotion="sad")]
    table = build_table(TABLE_1, [evaluation(scores)], per_emotion=True)
    values = {row.name: row.cells["m_ld"].value for row in table.rows if row.kind != "paper"}
    assert values == pytest.approx(
        {
            "ours": 4.0,
            "ours, mean of emotions": 14 / 3,
            "ours, angry": 2.0,
            "ours, happy": 2.0,
            "ours, sad": 10.0,
        }
    )
    unknown = evaluation([1.0, 3.0], emotions=(None,))
    table = build_table(TABLE_1, [unknown], per_emotion=True)
    assert [row.name for row in table.rows if row.kind != "paper"] == ["ours"]


def test_controls_follow_in_their_order_and_shared_ones_are_there_once(evaluation, table_of):
    scores = lines("result", "m_ld", [2.0, 3.0])
    for control in ("mean face", "frozen first frame", "truth re-encoded", "truth", "of ours"):
        scores += lines(control, "m_ld", [1.0, 2.0])
    other = [each if each["row"] != "mean face" else each | {"value": 9.0} for each in scores]
    table = build_table(TABLE_1, [evaluation(scores), evaluation(other, name="other")])
    order = ["truth", "truth re-encoded", "frozen first frame", "mean face", "of ours"]
    assert names_of(table, "control") == [*order, "mean face (other)"]
    assert all(cell.paper is None for row in table.rows[2:] for cell in row.cells.values())
    # controls alone: no row of a method
    table = table_of(lines("frozen first frame", "m_ld", [1.0, 2.0]))
    assert [row.kind for row in table.rows] == ["control", *["paper"] * 4]


def test_fid_is_read_from_the_evaluation_and_never_averaged(table_of):
    fid = {"value": 20.0, "low": 18.0, "high": 23.0}
    distribution = {
        "result": {"fid": fid},
        "truth re-encoded": {"fid": {"value": 3.0, "low": None, "high": None}},
    }
    scores = lines("result", "fid", [1.0, 2.0]) + lines("truth re-encoded", "m_ld", [1.0, 2.0])
    table = table_of(scores, distribution=distribution)
    cell = cell_of(table, "ours", "fid")
    assert (cell.value, cell.by_clip.low, cell.by_clip.high, cell.paper) == (20.0, 18.0, 23.0, 7.99)
    control = cell_of(table, "truth re-encoded", "fid")
    assert (control.value, control.by_clip.low) == (3.0, None)
    assert not any("fid" in row.cells for row in table_of(scores).rows if row.kind != "paper")


@pytest.fixture
def two_methods(evaluation):
    """Clips differ by far more than the methods do."""

    def make(gap, count=40):
        rng = np.random.default_rng(4)
        hard = 3 * rng.random(count)
        first = hard + 0.05 * rng.normal(size=count)
        second = hard + gap + 0.05 * rng.normal(size=count)
        return [evaluation(first.tolist(), "one"), evaluation(second.tolist(), "two")]

    return make


def test_better_is_marked_only_where_the_paired_interval_excludes_zero(two_methods):
    table = build_table(TABLE_1, two_methods(0.1))
    one, two = cell_of(table, "one"), cell_of(table, "two")
    assert (one.better_than, two.better_than) == (("two",), ())
    assert (row_of(table, "one").letter, row_of(table, "two").letter) == ("a", "b")
    # The intervals of the two means overlap by far: pairing is what separates them.
    assert one.by_clip.high > two.by_clip.low + 0.3
    assert not any(marks_of(build_table(TABLE_1, two_methods(0.001))))
    for count, better_than in ((5, ()), (6, ("two",))):  # too few common clips give no mark
        table = build_table(TABLE_1, two_methods(1.0, count))
        assert cell_of(table, "one").better_than == better_than


def test_a_difference_that_one_speaker_makes_is_no_better(evaluation):
    """By clip it excludes 0, by speaker it does not."""
    gaps = [2.0 if k % 5 == 0 else (-1) ** k * 1e-3 for k in range(40)]
    first = evaluation([1.0] * 40, "one", SPEAKERS)
    second = evaluation([1 + gap for gap in gaps], "two", SPEAKERS)
    assert mean_interval(gaps).excludes_zero
    assert cell_of(build_table(TABLE_1, [first, second]), "one").better_than == ()


def test_only_common_clips_are_compared(evaluation):
    def made(name, other, values):
        others = [line(f"{name}{k}", "result", "m_ld", other) for k in range(20)]
        return evaluation(others + lines("result", "m_ld", values * 10), name)

    table = build_table(TABLE_1, [made("one", 9.0, [2.0, 2.1]), made("two", 0.1, [2.5, 2.7])])
    assert cell_of(table, "two").value < cell_of(table, "one").value
    assert cell_of(table, "one").better_than == ("two",)


def test_a_column_with_a_dagger_is_never_bold_one_without_may_be(evaluation):
    def named(name, shift):
        scores = [each for metric in ("psnr", "psnr_u8wrap", "ssim")
                  for each in lines("result", metric, noisy(20 + shift))]  # fmt: skip
        return evaluation(scores, name=name)

    table = build_table(TABLE_1, [named("one", 0), named("two", 1), named("three", 2)])
    best = {(row.name, key) for row in table.rows for key, cell in row.cells.items() if cell.best}
    assert best == {("three", "psnr")}
    assert cell_of(table, "three", "ssim").better_than == ("one", "two")


def test_evaluations_of_different_protocols_or_detectors_are_refused(two_methods):
    one, two = two_methods(1.0)
    two.record["protocol"] = PROTOCOL | {"version": 2, "hash": "ba9876543210"}
    with pytest.raises(ValueError, match=r"'one' .* version 1 \(0123456789ab\), .* version 2 "):
        build_table(TABLE_1, [one, two])
    two.record.update(protocol=PROTOCOL, detector="face-alignment 1.5.0")
    with pytest.raises(ValueError, match="face-alignment"):
        build_table(TABLE_1, [one, two])


@pytest.mark.parametrize(
    ("table", "count", "error", "message"),
    [
        ("evp-table1", 2, ValueError, "two evaluations are named 'ours'"),
        ("evp-table1", 0, ValueError, "no evaluation to make a table of"),
        ("evp-emotion", 1, NoFiguresError, "no evaluation has a figure of evp-emotion"),
        ("evp-table2", 1, ValueError, "made from an ablation"),
    ],
)
def test_what_makes_no_table_is_refused(evaluation, table, count, error, message):
    with pytest.raises(error, match=message):
        build_table(PAPERS[table], [evaluation([1.0, 2.0])] * count)


def correct(values, row="result", **names):
    return lines(row, "emotion_correct", values, **names)


def test_emotion_accuracy_stands_beside_the_truths_and_their_ratio(evaluation):
    scores = correct([1, 1, 0, 1, 0, 1, 1, 1]) + correct([1, 1, 1, 1, 1, 1, 1, 0], "truth")
    table = build_table(EMOTION, [evaluation(scores)])
    cells = row_of(table, "ours").cells
    share, accuracy = wilson_interval(6, 8), cells["emotion_accuracy"]
    assert (accuracy.value, accuracy.paper) == (75.0, 83.58)
    assert accuracy.by_clip.low == pytest.approx(100 * share.low)
    assert accuracy.by_clip.high == pytest.approx(100 * share.high)
    assert (cells["truth_accuracy"].value, cells["truth_accuracy"].paper) == (87.5, 90.2)
    assert cells["accuracy_ratio"].value == pytest.approx(6 / 7)
    assert cells["accuracy_ratio"].paper == pytest.approx(83.58 / 90.2)
    assert cell_of(table, "truth", "emotion_accuracy").value == 87.5
    paper = row_of(table, "EVP w/o cross-reconstruction (paper)").cells
    assert paper["accuracy_ratio"].value == pytest.approx(69.79 / 90.2)
    assert all(column.dagger for column in table.columns)


def test_accuracy_per_emotion_and_its_macro_mean(evaluation):
    scores = correct([1, 1, 0, 1], emotions=("happy", "happy", "angry", "angry"))
    scores += [line("clip9", "result", "emotion_correct", 0, emotion="angry")]
    table = build_table(EMOTION, [evaluation(scores)], per_emotion=True)
    accuracies = {row.name: row.cells["emotion_accuracy"].value for row in table.rows[:4]}
    assert accuracies == pytest.approx(
        {"ours": 60, "ours, mean of emotions": 200 / 3, "ours, angry": 100 / 3, "ours, happy": 100}
    )


def test_an_accuracy_needs_the_truths_for_a_ratio_and_no_probabilities(evaluation):
    table = build_table(EMOTION, [evaluation(correct([1, 0]))])
    assert row_of(table, "ours").cells.keys() == {"emotion_accuracy"}
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        build_table(EMOTION, [evaluation(correct([0.7, 1.0]))])


def test_identity_has_a_column_an_emotion_and_the_mean_of_emotions(evaluation):
    emotions = ("neutral", "neutral", "angry")
    scores = lines("result", "csim", [0.8, 0.6, 0.4], emotions=emotions)
    scores += lines("truth", "csim", [0.9, 0.9, 0.5], emotions=emotions)
    table = build_table(IDENTITY, [evaluation(scores)])
    cells = row_of(table, "ours").cells
    assert {key: cell.value for key, cell in cells.items()} == pytest.approx(
        {"neutral": 0.7, "angry": 0.4, "mean": 0.55}
    )
    assert cells["mean"].by_clip == macro_interval([0.8, 0.6, 0.4], emotions)
    assert (cells["neutral"].paper, cells["angry"].paper, cells["mean"].paper) == (0.81, None, 0.70)
    real = row_of(table, "truth").cells
    assert (real["neutral"].paper, real["mean"].paper) == (0.87, 0.70)
    notes = "\n".join(table.notes)
    assert "contempt, disgusted, fear, happy, sad, surprised" in notes
    assert "the mean is that of 2 emotions" in notes


def test_identity_marks_compare_means_of_emotions(evaluation):
    """Better on many happy clips, worse on few angry ones: no better in the mean of emotions."""
    emotions = ("happy",) * 9 + ("angry",)
    first = [0.5 + 0.01 * (k % 3) for k in range(60)]
    gaps = [-0.3 - 0.001 * k if k % 10 == 9 else 0.1 for k in range(60)]
    second = [value + gap for value, gap in zip(first, gaps, strict=True)]
    one, two = (
        evaluation(lines("result", "csim", values, emotions=emotions), name=name)
        for name, values in (("one", first), ("two", second))
    )
    table = build_table(IDENTITY, [one, two])
    assert cell_of(table, "two", "happy").better_than == ("one",)
    assert cell_of(table, "one", "angry").better_than == ("two",)
    assert cell_of(table, "one", "mean").better_than == ("two",)
    assert np.mean(second) > np.mean(first)


def test_notes_say_what_the_figures_stand_on(evaluation):
    made = evaluation(
        lines("result", "m_ld", [1.0, 2.0]) + lines("frozen first frame", "m_ld", [1.0, 2.0]),
        weights={"syncnet": "ab" * 32, "fan": None},
        versions={"torch": "2.13", "librosa": None},
        unavailable={"lse_c": "weights: syncnet_v2.model; put it into weights/", "csim": "arcface"},
        failed=[{"id": "x", "reason": "no face", "message": "no face"}],
        missing=["y", "z"],
    )
    notes = "\n".join(build_table(PAPERS["eamm-table1-mead"], [made]).notes)
    for wanted in (
        "2 clips (100.0% of those asked for), 700 frames (99.5% with a face",
        "1 speakers; protocol evp-table1 version 1 (0123456789ab), mediapipe 0.10.21; "
        "1 failed; 2 without a result; weights syncnet abababababab; versions torch 2.13.",
        "n/a, Sync (ours): weights: syncnet_v2.model; put it into weights/",
        "n/a, not among what was measured: F-LMD, SSIM, PSNR, PSNR u8-wrap, FID, KID, LSE-D.",
        "frozen first frame: the truth's first frame, standing still",
        "as a third party's notes give it",
    ):
        assert wanted in notes
    assert "arcface" not in notes
    assert "mean face" not in notes


def test_an_ablation_is_mean_and_deviation_over_seeds(tmp_path):
    rows = {"no_cla": {"m_ld": [2.0, 2.5, 3.0], "mouth_r": [1.0]}, "full": {"m_ld": [2.2]}}
    rows["ours_alone"] = {"m_ld": [1.0, 2.0]}
    controls = {"mean face": {"m_ld": 4.0, "mouth_r": 0.0}}
    (tmp_path / "table2.json").write_text(
        json.dumps({"rows": rows, "controls": controls, "notes": ["of the mini corpus"]})
    )
    table = build_ablation(PAPERS["evp-table2"], load_ablation(tmp_path))
    cell = cell_of(table, "no_cla", "m_ld")
    assert (cell.value, cell.deviation, cell.count) == (2.5, 0.5, 3)
    assert cell.difference == pytest.approx(2.5 - 2.72)
    assert (cell_of(table, "full", "m_ld").deviation, cell.by_clip) == (None, None)
    assert cell_of(table, "full", "m_ld").paper == 2.45
    assert cell_of(table, "ours_alone", "m_ld").paper is None
    assert row_of(table, "mean face").kind == "control"
    assert [row.name for row in table.rows][-1] == "EVP (paper)"
    assert table.notes[-1] == "of the mini corpus"
    assert "1 to 3 seeds" in table.notes[0]
    assert not any("mouth_r" in row.cells for row in table.rows)


def test_an_ablation_that_does_not_fit_its_table_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="ablate writes it"):
        load_ablation(tmp_path)
    (tmp_path / "table2.json").write_text("{}")
    with pytest.raises(ValueError, match="has no rows"):
        load_ablation(tmp_path)
    (tmp_path / "table2.json").write_text(json.dumps({"rows": {"full": {"other": [1.0]}}}))
    ablation = load_ablation(tmp_path)
    with pytest.raises(NoFiguresError, match="m_ld, m_lvd, f_ld, f_lvd"):
        build_ablation(PAPERS["evp-table2"], ablation)
    with pytest.raises(ValueError, match="made from evaluations"):
        build_ablation(TABLE_1, ablation)


def test_a_missing_old_or_empty_evaluation_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"evaluation\.json is missing; run python test"):
        load_evaluation(tmp_path)
    for values, changes, message in (
        ([1.0], {"schema": 1}, "schema 1, wanted 2"),
        ([], {}, "empty"),
    ):
        folder = write_evaluation(tmp_path, lines("result", "m_ld", values), **changes)
        with pytest.raises(ValueError, match=message):
            load_evaluation(folder)
