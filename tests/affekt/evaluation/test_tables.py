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
    """Write and read an evaluation of these scores."""

    def make(scores, name="ours", **changes):
        return load_evaluation(write_evaluation(tmp_path / name, scores, name, **changes))

    return make


def row_of(table, name):
    found = [row for row in table.rows if row.name == name]
    assert len(found) == 1, [row.name for row in table.rows]
    return found[0]


def cell_of(table, name="ours", metric="m_ld"):
    return row_of(table, name).cells[metric]


def noisy(mean, count=40, seed=0):
    return (mean + 0.2 * np.random.default_rng(seed).normal(size=count)).tolist()


def test_a_cell_is_ours_its_interval_the_papers_figure_and_the_difference(evaluation):
    values = [2.0, 3.0, 2.5, 2.9, 2.4, 2.8]
    table = build_table(TABLE_1, [evaluation(lines("result", "m_ld", values))])
    found = cell_of(table)
    assert found.value == pytest.approx(2.6)
    assert found.by_clip == mean_interval(values)
    assert (found.paper, found.count, found.by_speaker) == (2.45, 6, None)
    assert found.difference == pytest.approx(0.15)
    assert row_of(table, "ours").letter == ""
    few = build_table(TABLE_1, [evaluation(lines("result", "m_ld", [2, 3, 2, 3, 3]), name="few")])
    assert cell_of(few, "few").value == pytest.approx(2.6)
    assert cell_of(few, "few").by_clip is None
    gap = build_table(TABLE_1, [evaluation(lines("result", "m_ld", [1.0, None, 3.0]), name="gap")])
    assert (cell_of(gap, "gap").value, cell_of(gap, "gap").count) == (2.0, 2)


def test_a_protocol_that_is_not_the_papers_is_held_against_no_printed_figure(evaluation):
    ours = evaluation(
        lines("result", "m_ld", noisy(2)), papers_own=False, convention="atvg", view="2d"
    )
    table = build_table(TABLE_1, [ours])
    assert cell_of(table, "ours", "m_ld").paper is None
    assert "landmarks by atvg in the 2d view, which is not the paper's" in table.notes[-1]


def test_a_sync_network_trained_here_is_held_against_no_printed_figure(evaluation):
    table_1 = load_papers()["eamm-table1-mead"]
    scores = lines("result", "lse_c", noisy(3)) + lines("result", "m_ld", noisy(2))
    public = build_table(table_1, [evaluation(scores)])
    assert cell_of(public, "ours", "lse_c").paper == 2.26
    own = build_table(table_1, [evaluation(scores, trained_here=["sync"])])
    assert cell_of(own, "ours", "lse_c").paper is None
    assert cell_of(own, "ours", "m_ld").paper == 2.41
    assert "trained here: sync (sync figures of which do not compare" in own.notes[-1]


def test_figures_of_different_networks_or_truths_are_refused_and_never_marked(evaluation):
    emotion = load_papers()["evp-emotion"]
    scores = (
        lines("result", "emotion_correct", [1] * 12),
        lines("result", "emotion_correct", [0] * 12),
    )
    one = evaluation(scores[0], name="one", weights={"emotion": "a" * 64})
    two = evaluation(scores[1], name="two", weights={"emotion": "b" * 64})
    with pytest.raises(
        ValueError, match="emotion_correct of 'one' and of 'two' comes from networks"
    ):
        build_table(emotion, [one, two])
    mixed = build_table(emotion, [one, two], mixed=True)
    assert not any(cell.better_than for row in mixed.rows for cell in row.cells.values())
    first = evaluation(lines("result", "m_ld", noisy(2)), name="first", truths={"clip0": "x"})
    other = evaluation(lines("result", "m_ld", noisy(3)), name="other", truths={"clip0": "y"})
    with pytest.raises(ValueError, match="different true videos of 1 clips, such as clip0"):
        build_table(TABLE_1, [first, other])
    # what a table does not show may come from anywhere
    values = lines("result", "m_ld", noisy(2))
    classified = [evaluation(values, name=name, weights={"emotion": name}) for name in ("a", "b")]
    build_table(TABLE_1, classified)


def test_an_evaluation_named_as_a_row_of_the_paper_stands_beside_that_row(evaluation):
    theirs = evaluation(lines("result", "m_ld", [2.0, 3.0]), name="Song et al. 2020")
    assert row_of(build_table(TABLE_1, [theirs]), "Song et al. 2020").cells["m_ld"].paper == 2.54


def test_the_printed_psnr_faces_the_wrapped_one_alone(evaluation):
    scores = lines("result", "psnr", [20, 21]) + lines("result", "psnr_u8wrap", [28, 29])
    table = build_table(TABLE_1, [evaluation(scores)])
    ours = row_of(table, "ours").cells
    assert ours.keys() == {"psnr", "psnr_u8wrap"}
    assert (ours["psnr"].paper, ours["psnr_u8wrap"].paper) == (None, 29.53)
    printed = row_of(table, "EVP (paper)").cells
    assert printed["printed_psnr"].value == 29.53
    assert not printed.keys() & {"psnr", "psnr_u8wrap"}
    assert {c.key for c in table.columns if not c.dagger} == {"psnr", "kid"}


def test_the_efd_proxy_faces_no_printed_figure(evaluation):
    scores = lines("result", "efd_proxy", [0.2, 0.3])
    table = build_table(PAPERS["xu-table1"], [evaluation(scores)])
    assert cell_of(table, "ours", "efd_proxy").paper is None
    assert any("EFD is not defined" in note for note in table.notes)


def test_five_speakers_give_an_interval_by_speaker_four_or_an_unknown_one_do_not(evaluation):
    values = noisy(2.5)
    five = build_table(TABLE_1, [evaluation(lines("result", "m_ld", values, SPEAKERS))])
    assert cell_of(five).by_speaker == mean_interval(values, list(SPEAKERS) * 8)
    for name, speakers in (("four", SPEAKERS[:4]), ("unknown", (*SPEAKERS, None))):
        made = evaluation(lines("result", "m_ld", values, speakers), name=name)
        assert cell_of(build_table(TABLE_1, [made]), name).by_speaker is None


def test_the_mean_of_emotions_weighs_emotions_alike(evaluation):
    scores = lines("result", "m_ld", [1.0, 3.0, 2.0], emotions=("happy", "happy", "angry"))
    scores += [line("clip9", "result", "m_ld", 10.0, emotion="sad")]
    table = build_table(TABLE_1, [evaluation(scores)], per_emotion=True)
    names = [row.name for row in table.rows if row.kind not in ("paper", "control")]
    assert names == ["ours", "ours, mean of emotions", "ours, angry", "ours, happy", "ours, sad"]
    assert cell_of(table, "ours", "m_ld").value == 4.0
    assert cell_of(table, "ours, mean of emotions", "m_ld").value == pytest.approx(14 / 3)
    assert cell_of(table, "ours, happy").value == 2.0
    unknown = evaluation(lines("result", "m_ld", [1.0, 3.0], emotions=(None,)), name="unknown")
    table = build_table(TABLE_1, [unknown], per_emotion=True)
    assert [row.name for row in table.rows if row.kind != "paper"] == ["unknown"]


def test_controls_follow_in_their_order_and_shared_ones_are_there_once(evaluation):
    scores = lines("result", "m_ld", [2.0, 3.0])
    for control in ("mean face", "frozen first frame", "truth re-encoded", "truth", "of ours"):
        scores += lines(control, "m_ld", [1.0, 2.0])
    other = [each if each["row"] != "mean face" else each | {"value": 9.0} for each in scores]
    table = build_table(TABLE_1, [evaluation(scores), evaluation(other, name="other")])
    assert [row.name for row in table.rows if row.kind == "control"] == [
        "truth",
        "truth re-encoded",
        "frozen first frame",
        "mean face",
        "of ours",
        "mean face (other)",
    ]
    assert all(cell.paper is None for row in table.rows[2:] for cell in row.cells.values())


def test_an_evaluation_of_controls_alone_has_no_row_of_a_method(evaluation):
    table = build_table(TABLE_1, [evaluation(lines("frozen first frame", "m_ld", [1.0, 2.0]))])
    assert [row.kind for row in table.rows] == ["control", *["paper"] * 4]


def test_fid_is_read_from_the_evaluation_and_never_averaged(evaluation):
    fid = {"value": 20.0, "low": 18.0, "high": 23.0}
    distribution = {"result": {"fid": fid}, "truth re-encoded": {"fid": {"value": 3.0}}}
    scores = lines("result", "fid", [1.0, 2.0]) + lines("truth re-encoded", "m_ld", [1.0, 2.0])
    table = build_table(TABLE_1, [evaluation(scores, distribution=distribution)])
    cell = cell_of(table, "ours", "fid")
    assert (cell.value, cell.by_clip.low, cell.by_clip.high, cell.paper) == (20.0, 18.0, 23.0, 7.99)
    control = cell_of(table, "truth re-encoded", "fid")
    assert (control.value, control.by_clip.low) == (3.0, None)
    table = build_table(TABLE_1, [evaluation(scores, name="without")])
    assert not any("fid" in row.cells for row in table.rows if row.kind != "paper")


def two_methods(evaluation, gap, count=40):
    """Clips differ by far more than the methods do."""
    rng = np.random.default_rng(4)
    hard = 3 * rng.random(count)
    first = hard + 0.05 * rng.normal(size=count)
    second = hard + gap + 0.05 * rng.normal(size=count)
    return [
        evaluation(lines("result", "m_ld", values.tolist()), name=name)
        for name, values in (("one", first), ("two", second))
    ]


def test_better_is_marked_only_where_the_paired_interval_excludes_zero(evaluation):
    table = build_table(TABLE_1, two_methods(evaluation, 0.1))
    one, two = cell_of(table, "one"), cell_of(table, "two")
    assert (one.better_than, two.better_than) == (("two",), ())
    assert (row_of(table, "one").letter, row_of(table, "two").letter) == ("a", "b")
    # The intervals of the two means overlap by far: pairing is what separates them.
    assert one.by_clip.high > two.by_clip.low + 0.3
    table = build_table(TABLE_1, two_methods(evaluation, 0.001))
    assert not any(cell.better_than for row in table.rows for cell in row.cells.values())
    for count, better_than in ((5, ()), (6, ("two",))):  # too few common clips give no mark
        table = build_table(TABLE_1, two_methods(evaluation, 1.0, count))
        assert cell_of(table, "one").better_than == better_than


def test_a_difference_that_one_speaker_makes_is_no_better(evaluation):
    """By clip it excludes 0, by speaker it does not."""
    first = evaluation(lines("result", "m_ld", [1.0] * 40, SPEAKERS), name="one")
    gaps = [2.0 if k % 5 == 0 else (-1) ** k * 1e-3 for k in range(40)]
    second = evaluation(lines("result", "m_ld", [1 + gap for gap in gaps], SPEAKERS), name="two")
    assert mean_interval(gaps).excludes_zero
    assert row_of(build_table(TABLE_1, [first, second]), "one").cells["m_ld"].better_than == ()


def test_only_common_clips_are_compared(evaluation):
    hard = [line(f"hard{k}", "result", "m_ld", 9.0) for k in range(20)]
    one = evaluation(hard + lines("result", "m_ld", [2.0, 2.1] * 10), name="one")
    easy = [line(f"easy{k}", "result", "m_ld", 0.1) for k in range(20)]
    two = evaluation(easy + lines("result", "m_ld", [2.5, 2.7] * 10), name="two")
    table = build_table(TABLE_1, [one, two])
    assert cell_of(table, "two", "m_ld").value < cell_of(table, "one", "m_ld").value
    assert cell_of(table, "one", "m_ld").better_than == ("two",)


def test_a_column_with_a_dagger_is_never_bold_one_without_may_be(evaluation):
    def named(name, shift):
        scores = [each for metric in ("psnr", "psnr_u8wrap", "ssim")
                  for each in lines("result", metric, noisy(20 + shift))]  # fmt: skip
        return evaluation(scores, name=name)

    table = build_table(TABLE_1, [named("one", 0), named("two", 1), named("three", 2)])
    best = {(row.name, key) for row in table.rows for key, cell in row.cells.items() if cell.best}
    assert best == {("three", "psnr")}
    assert cell_of(table, "three", "ssim").better_than == ("one", "two")


def test_evaluations_of_different_protocols_are_refused_or_marked(evaluation):
    one, two = two_methods(evaluation, 1.0)
    two.record["protocol"] = PROTOCOL | {"version": 2, "hash": "ba9876543210"}
    with pytest.raises(
        ValueError, match=r"'one' .* version 1 \(0123456789ab\), .* version 2 .*--mixed"
    ):
        build_table(TABLE_1, [one, two])
    table = build_table(TABLE_1, [one, two], mixed=True)
    assert [row.name for row in table.rows if row.kind == "result"] == [
        "one [evp-table1 version 1 (0123456789ab), mediapipe 0.10.21]",
        "two [evp-table1 version 2 (ba9876543210), mediapipe 0.10.21]",
    ]
    assert not any(cell.better_than for row in table.rows for cell in row.cells.values())
    two.record.update(protocol=PROTOCOL, detector="face-alignment 1.5.0")
    with pytest.raises(ValueError, match="face-alignment"):
        build_table(TABLE_1, [one, two])


def test_what_makes_no_table_is_refused(evaluation):
    one = evaluation(lines("result", "m_ld", [1.0, 2.0]))
    with pytest.raises(ValueError, match="two evaluations are named 'ours'"):
        build_table(TABLE_1, [one, one])
    with pytest.raises(ValueError, match="no evaluation to make a table of"):
        build_table(TABLE_1, [])
    with pytest.raises(NoFiguresError, match="no evaluation has a figure of evp-emotion"):
        build_table(EMOTION, [one])
    with pytest.raises(ValueError, match="made from an ablation"):
        build_table(PAPERS["evp-table2"], [one])


def correct(*rows, **names):
    return [each for row, values in rows for each in lines(row, "emotion_correct", values, **names)]


def test_emotion_accuracy_stands_beside_the_truths_and_their_ratio(evaluation):
    scores = correct(("result", [1, 1, 0, 1, 0, 1, 1, 1]), ("truth", [1, 1, 1, 1, 1, 1, 1, 0]))
    table = build_table(EMOTION, [evaluation(scores)])
    cells = row_of(table, "ours").cells
    share = wilson_interval(6, 8)
    assert cells["emotion_accuracy"].value == 75.0
    assert cells["emotion_accuracy"].by_clip.low == pytest.approx(100 * share.low)
    assert cells["emotion_accuracy"].by_clip.high == pytest.approx(100 * share.high)
    assert cells["emotion_accuracy"].paper == 83.58
    assert (cells["truth_accuracy"].value, cells["truth_accuracy"].paper) == (87.5, 90.2)
    assert cells["accuracy_ratio"].value == pytest.approx(6 / 7)
    assert cells["accuracy_ratio"].paper == pytest.approx(83.58 / 90.2)
    assert cell_of(table, "truth", "emotion_accuracy").value == 87.5
    paper = row_of(table, "EVP w/o cross-reconstruction (paper)").cells
    assert paper["accuracy_ratio"].value == pytest.approx(69.79 / 90.2)
    assert all(column.dagger for column in table.columns)


def test_accuracy_per_emotion_and_its_macro_mean(evaluation):
    scores = correct(("result", [1, 1, 0, 1]), emotions=("happy", "happy", "angry", "angry"))
    scores += [line("clip9", "result", "emotion_correct", 0, emotion="angry")]
    table = build_table(EMOTION, [evaluation(scores)], per_emotion=True)
    accuracies = {row.name: row.cells["emotion_accuracy"].value for row in table.rows[:4]}
    assert accuracies == pytest.approx(
        {"ours": 60, "ours, mean of emotions": 200 / 3, "ours, angry": 100 / 3, "ours, happy": 100}
    )


def test_an_accuracy_needs_the_truths_for_a_ratio_and_no_probabilities(evaluation):
    table = build_table(EMOTION, [evaluation(correct(("result", [1, 0])))])
    assert row_of(table, "ours").cells.keys() == {"emotion_accuracy"}
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        build_table(EMOTION, [evaluation(correct(("result", [0.7, 1.0])))])


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
    assert any("contempt, disgusted, fear, happy, sad, surprised" in note for note in table.notes)
    assert any("the mean is that of 2 emotions" in note for note in table.notes)


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
        notes=["the wind blew"],
    )
    notes = "\n".join(build_table(PAPERS["eamm-table1-mead"], [made]).notes)
    for wanted in (
        "2 clips (100.0% of those asked for), 700 frames (99.5% with a face",
        "1 speakers; protocol evp-table1 version 1 (0123456789ab), mediapipe 0.10.21; "
        "1 failed; 2 without a result; weights syncnet abababababab; versions torch 2.13.",
        "n/a, Sync (ours): weights: syncnet_v2.model; put it into weights/",
        "n/a, not among what was measured: F-LMD, SSIM, PSNR, PSNR u8-wrap, FID, KID, LSE-D.",
        "ours: the wind blew",
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "has no rows"),
        ({"rows": {"full": {"m_ld": 2.0}}}, "full, m_ld: 2.0, wanted finite numbers"),
        ({"rows": {"full": {"m_ld": []}}}, "full, m_ld"),
        ({"rows": {"full": [2.0]}}, "full, is .2.0., wanted figures by metric"),
        ({"rows": {"full": {"m_ld": ["2"]}}}, "full, m_ld"),
        ({"rows": {"full": {}}, "controls": {"mean face": {"m_ld": None}}}, "mean face, m_ld"),
    ],
)
def test_a_damaged_ablation_is_refused(tmp_path, content, message):
    (tmp_path / "table2.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        load_ablation(tmp_path)


def test_an_ablation_that_does_not_fit_its_table_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="ablate writes it"):
        load_ablation(tmp_path)
    (tmp_path / "table2.json").write_text(json.dumps({"rows": {"full": {"other": [1.0]}}}))
    ablation = load_ablation(tmp_path)
    with pytest.raises(NoFiguresError, match="m_ld, m_lvd, f_ld, f_lvd"):
        build_ablation(PAPERS["evp-table2"], ablation)
    with pytest.raises(ValueError, match="made from evaluations"):
        build_ablation(TABLE_1, ablation)


def test_a_missing_or_old_evaluation_is_refused(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"evaluation\.json is missing; run python test\.py"
    ):
        load_evaluation(tmp_path)
    folder = write_evaluation(tmp_path / "old", lines("result", "m_ld", [1.0]), schema=1)
    with pytest.raises(ValueError, match="schema 1, wanted 2"):
        load_evaluation(folder)
    folder = write_evaluation(tmp_path / "half", [], protocol={"id": "x"})
    with pytest.raises(ValueError, match="has no version, hash"):
        load_evaluation(folder)
    folder = write_evaluation(tmp_path / "empty", [])
    with pytest.raises(ValueError, match="is empty"):
        load_evaluation(folder)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (line("clip0", "result", "m_ld", 2.0), "line 2: m_ld of clip0, result is there twice"),
        (line("clip1", "result", "m_ld", "2"), "line 2: the value is '2', no finite number"),
        (line("clip1", "result", "m_ld", float("inf")), "line 2: the value is inf"),
        ({"clip": "clip1"}, "line 2, has no 'value'"),
        (["clip1"], "line 2, has no"),
    ],
)
def test_a_damaged_line_of_scores_is_named(tmp_path, second, message):
    folder = write_evaluation(tmp_path, [line("clip0", "result", "m_ld", 1.0)])
    with (folder / "scores.jsonl").open("a") as file:
        file.write(json.dumps(second) + "\n")
    with pytest.raises(ValueError, match=message):
        load_evaluation(folder)
