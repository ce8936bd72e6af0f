"""test.py on small videos of a drawn face, and on real ones."""

import csv
import importlib.util
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from affekt.evaluation import measure as measuring
from affekt.evaluation import video
from affekt.media.video.video import read_frames, write_video
from affekt.metrics.image import psnr
from affekt.runtime.files import read_json, read_jsonl
from tests.corpora.drawn_clips import SIZE, BarDetector, draw, mouth
from tests.corpora.drawn_face import talking_clip

ROOT = Path(__file__).parents[2]
PLAIN = """id: plain
version: 1
title: landmarks and pictures
tables: [evp-table1]
measures: [landmarks, pictures]
"""


def load_script():
    """test.py is no module that anything imports: its name is the standard library's."""
    spec = importlib.util.spec_from_file_location("affekt_test_script", ROOT / "test.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(measuring, "make_detector", lambda name, device: BarDetector())
    monkeypatch.setattr(measuring, "detector_version", lambda name: BarDetector.version)
    return load_script()


@pytest.fixture
def folders(tmp_path):
    """Truth of three clips; results that are copies of their truths, made in another order."""
    for seed, name in enumerate(("b_002", "a_010", "c_001")):
        for folder in ("truth", "results"):
            write_video(tmp_path / folder / f"{name}.mp4", draw(mouth(seed), seed))
    (tmp_path / "plain.yaml").write_text(PLAIN)
    return tmp_path


def run(script, root, *options, out="mine"):
    arguments = ["run", "--results", root / "results", "--truth", root / "truth"]
    arguments += ["--protocol", root / "plain.yaml", "--out", root / "out" / out]
    return script.main([*map(str, arguments), *options])


def lines_of(root, out="mine"):
    return read_jsonl(root / "out" / out / "scores.jsonl")


def record_of(root, out="mine"):
    return read_json(root / "out" / out / "evaluation.json")


def means(root, out="mine"):
    """Return {row: {metric: mean over clips}}."""
    values = {}
    for line in lines_of(root, out):
        values.setdefault(line["row"], {}).setdefault(line["metric"], []).append(line["value"])
    return {
        row: {metric: float(np.mean(each)) for metric, each in metrics.items()}
        for row, metrics in values.items()
    }


def test_the_truth_against_itself_is_perfect_and_the_controls_are_not(script, folders, capsys):
    assert run(script, folders) == 0
    rows = means(folders)
    for perfect in (rows["result"], rows["truth"]):
        assert [perfect[name] for name in ("m_ld", "m_lvd", "f_ld", "f_lvd")] == [0, 0, 0, 0]
        assert perfect["ssim"] == 1
        assert (perfect["psnr"], perfect["psnr_u8wrap"]) == (100, 100)
    late, frozen, copy = (
        rows[name] for name in ("truth one frame late", "frozen first frame", "truth re-encoded")
    )
    assert late["m_lvd"] > frozen["m_lvd"] > 1
    assert min(late["m_ld"], frozen["m_ld"]) > 10 * copy["m_ld"]
    assert 0 < rows["detector floor"]["m_ld"] <= copy["m_ld"]
    assert 0.9 < copy["ssim"] < 1
    assert late["ssim"] < copy["ssim"]
    assert "ssim" not in rows["mean face"]
    assert "another speaker" not in rows  # a folder of videos does not say whose they are
    said = capsys.readouterr()
    assert "no row 'another speaker', since its truths are not known to be of two" in said.out
    assert "coverage: 100.0% of the clips, 100.0% of their frames" in said.err


def test_the_chosen_detector_is_loaded_on_the_chosen_device(script, folders, monkeypatch):
    asked = []
    detector = BarDetector()
    monkeypatch.setattr(measuring, "make_detector", lambda *given: asked.append(given) or detector)
    chosen = ("--detector-device=cpu", "landmarks.detector=face_alignment")
    assert run(script, folders, *chosen) == 0
    assert asked == [("face_alignment", "cpu")] * len(asked) != []


def test_the_figures_stand_on_what_the_record_says(script, folders):
    run(script, folders, "--name", "copies")
    record = record_of(folders)
    assert record["name"] == "copies"
    assert record["protocol"]["id"] == "plain"
    assert len(record["protocol"]["hash"]) == 12
    assert (record["clips"], record["frames"]) == (3, 36)
    assert record["detector"] == "bar detector"
    lines = lines_of(folders)
    keys = {(line["clip"], line["row"], line["metric"]) for line in lines}
    assert len(keys) == len(lines)
    assert [line["clip"] for line in lines] == sorted(line["clip"] for line in lines)


def test_picture_scores_of_late_and_frozen_leave_out_the_frame_that_equals_the_truths(
    script, folders
):
    run(script, folders)
    found = {line["row"]: line["value"] for line in lines_of(folders)
             if (line["clip"], line["metric"]) == ("a_010", "psnr")}  # fmt: skip
    truth = read_frames(folders / "truth/a_010.mp4")
    late = [psnr(*pair) for pair in pairwise(truth)]
    frozen = [psnr(truth[0], frame) for frame in truth[1:]]
    assert found["truth one frame late"] == pytest.approx(np.mean(late))
    assert found["frozen first frame"] == pytest.approx(np.mean(frozen))


def test_clips_are_paired_by_name_and_not_by_position(script, folders):
    shutil.move(folders / "results/a_010.mp4", folders / "results/z_010.mp4")
    shutil.move(folders / "truth/c_001.mp4", folders / "truth/0_001.mp4")
    assert run(script, folders, "--no-controls", "--min-coverage", "0") == 0
    record = record_of(folders)
    assert means(folders)["result"]["m_ld"] == 0  # b_002 with b_002, and nothing else
    assert record["missing"] == ["0_001", "a_010"]
    assert record["extra"] == ["c_001", "z_010"]
    assert record["clip_coverage"] == pytest.approx(1 / 3)


def write_manifest(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["clip_id", "speaker", "label", "ignored"])
        writer.writeheader()
        writer.writerows(rows)


def test_a_manifest_names_the_clips_and_whose_they_are(script, folders):
    rows = [{"clip_id": "a_010", "speaker": "A", "label": "sad"},
            {"clip_id": "b_002", "speaker": "B", "label": "sad"}]  # fmt: skip
    write_manifest(folders / "clips.csv", rows)
    assert run(script, folders, "--manifest", str(folders / "clips.csv")) == 0
    lines = lines_of(folders)
    assert {(line["clip"], line["speaker"], line["emotion"]) for line in lines} == {
        ("a_010", "A", "sad"),
        ("b_002", "B", "sad"),
    }
    other = means(folders)["another speaker"]
    assert other["m_ld"] > 1
    assert other["ssim"] < 0.9
    assert record_of(folders)["extra"] == ["c_001"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"clip_id": "a_010"}, {"clip_id": "a_010"}], "a_010"),
        ([{"clip_id": "zzz"}], "line 2: there is no truth of clip_id 'zzz'"),
        ([], "names no clip"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(script, folders, capsys, rows, message):
    write_manifest(folders / "clips.csv", rows)
    assert run(script, folders, "--manifest", str(folders / "clips.csv")) == script.BAD_INPUT
    assert message in capsys.readouterr().err
    assert not (folders / "out").exists()


def test_a_worse_result_scores_worse_and_without_controls_it_is_alone(script, folders):
    write_video(folders / "results/a_010.mp4", draw(mouth(7), 1))
    assert run(script, folders, "--no-controls") == 0
    rows = means(folders)
    assert rows.keys() == {"result", "truth"}
    assert rows["result"]["m_ld"] > 1
    assert rows["result"]["ssim"] < 1
    assert rows["result"]["psnr"] < 100


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: write_video(path, draw(mouth(1, 11), 1)), "the result has 11 frames"),
        (lambda path: write_video(path, draw(mouth(1), 1)[:, :, 2:]), "the result is 94 x 96"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:900]), "a_010.mp4"),
        (lambda path: path.write_text("<html>not found</html>"), "a_010.mp4"),
    ],
    ids=["length", "size", "empty", "cut off", "no video"],
)
@pytest.mark.parametrize("controls", [True, False])
def test_one_bad_clip_is_reported_and_does_not_stop_the_rest(
    script, folders, capsys, damage, message, controls
):
    damage(folders / "results/a_010.mp4")
    assert run(script, folders, *([] if controls else ["--no-controls"])) == 3
    printed = capsys.readouterr()
    assert "not measured: a_010:" in printed.err
    assert message in printed.err
    assert "coverage: 66.7% of the clips" in printed.err
    record = record_of(folders)
    assert [failure["id"] for failure in record["failed"]] == ["a_010"]
    assert record["clips"] == 2
    assert means(folders)["result"]["m_ld"] == 0


def test_a_length_may_differ_by_as_much_as_the_protocol_says(script, folders):
    write_video(folders / "results/a_010.mp4", draw(mouth(1)[:11], 1))
    assert run(script, folders, "length_slack=1") == 0
    assert means(folders)["result"]["m_ld"] < 0.5
    assert record_of(folders)["protocol"]["id"] == "plain with length_slack=1"


def test_another_frame_rate_is_refused(script, folders, monkeypatch):
    import dataclasses

    true_probe = video.probe

    def probe(path):
        info = true_probe(path)
        at_30 = path == folders / "results/a_010.mp4"
        return dataclasses.replace(info, fps=30.0) if at_30 else info

    monkeypatch.setattr(video, "probe", probe)
    assert run(script, folders, "--no-controls", "--min-coverage", "0.5") == 0
    failed = record_of(folders)["failed"][0]
    assert "30 frames per second, the truth 25" in failed["message"]
    assert failed["reason"] == "rate"


def test_a_result_that_shows_no_face_has_pictures_and_no_landmarks(script, folders, capsys):
    """It must not leave the means of what it does have: a broken face is no missing clip."""
    write_video(folders / "results/a_010.mp4", draw(np.zeros(12, int), 1))
    assert run(script, folders, "--no-controls") == 3
    found = {line["metric"]: line["value"] for line in lines_of(folders)
             if (line["clip"], line["row"]) == ("a_010", "result")}  # fmt: skip
    assert found["m_ld"] is None
    assert found["ssim"] < 1
    record = record_of(folders)
    assert record["failed"] == []
    assert record["frame_coverage"] == pytest.approx(2 / 3)
    assert record["without"]["m_ld"] == ["a_010"]
    assert "no m_ld of 1 clips: a_010" in capsys.readouterr().err


def test_frames_without_a_face_lower_the_coverage(script, folders):
    openings = mouth(1)
    openings[3:6] = 0
    write_video(folders / "results/a_010.mp4", draw(openings, 1))
    assert run(script, folders, "--no-controls") == 3
    assert record_of(folders)["frame_coverage"] == pytest.approx(33 / 36)
    assert run(script, folders, "--no-controls", "--min-coverage", "0.9") == 0


@pytest.mark.parametrize("case", ["no folder", "empty", "no shared name", "twice", "all bad"])
def test_nothing_to_compare_is_one_clear_message(script, folders, capsys, case):
    results = folders / "results"
    wanted = {
        "no folder": "is no folder of videos",
        "empty": "no clip of",
        "no shared name": "must have the clip id as its file name",
        "twice": "have one clip id",
        "all bad": "none of the 3 clips could be measured; the first:",
    }[case]
    if case == "no folder":
        shutil.rmtree(results)
    for path in sorted(results.glob("*")):
        if case == "empty":
            path.unlink()
        elif case == "no shared name":
            path.rename(results / f"x{path.name}")
        elif case == "twice":
            shutil.copy(path, path.with_suffix(".MOV"))
        elif case == "all bad":
            path.write_bytes(b"")
    assert run(script, folders, "--no-controls") == script.BAD_INPUT
    assert wanted in capsys.readouterr().err


def test_a_second_run_looks_at_nothing_and_says_the_same(script, folders, monkeypatch):
    run(script, folders)
    first = lines_of(folders)
    monkeypatch.setattr(BarDetector, "seen", 0)
    monkeypatch.setattr(measuring, "_measure", None)  # what would measure a clip
    assert run(script, folders) == 0
    assert BarDetector.seen == 0
    assert lines_of(folders) == first


def test_a_stopped_run_goes_on_where_it_was(script, folders, monkeypatch):
    run(script, folders)
    whole = lines_of(folders)
    done = []
    measure = measuring._measure

    def stop_after_two(task):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(task.pair.id)
        return measure(task)

    monkeypatch.setattr(measuring, "_measure", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        run(script, folders, out="stopped")
    assert not (folders / "out/stopped/scores.jsonl").exists()
    monkeypatch.setattr(
        measuring, "_measure", lambda task: done.append(task.pair.id) or measure(task)
    )
    assert run(script, folders, out="stopped") == 0
    assert sorted(done) == ["a_010", "b_002", "c_001"]
    assert lines_of(folders, "stopped") == whole


def test_what_changes_is_measured_anew(script, folders, monkeypatch):
    run(script, folders)
    measured = []
    measure = measuring._measure
    monkeypatch.setattr(
        measuring,
        "_measure",
        lambda task: measured.append((task.pair.id, set(task.keys))) or measure(task),
    )
    write_video(folders / "results/a_010.mp4", draw(mouth(7), 1))
    run(script, folders)
    assert measured == [("a_010", {"video_shape", "landmarks", "pictures"})]
    measured.clear()
    run(script, folders, "landmarks.convention=atvg")
    assert len(measured) == 3
    assert "m_ld_sum" in means(folders)["result"]


def test_damaged_lines_of_the_cache_are_measured_again(script, folders, caplog, monkeypatch):
    run(script, folders)
    whole = lines_of(folders)
    cache = folders / "out/mine/cache.jsonl"
    text = cache.read_text().splitlines()
    for k in (0, 4):
        text[k] = text[k][: len(text[k]) // 2]
    flipped = next(k for k, line in enumerate(text) if k not in (0, 4) and re.search(r"\.\d", line))
    text[flipped] = re.sub(r"\.(\d)", lambda d: f".{9 - int(d[1])}", text[flipped], count=1)
    cache.write_text("\n".join(text) + '\n{"clip": "a_010"}\n[1]\n7\nhalf a li')
    assert run(script, folders) == 0
    assert "7 damaged lines are left out" in caplog.text
    assert lines_of(folders) == whole
    monkeypatch.setattr(measuring, "_measure", None)  # what would measure a clip: all is known now
    assert run(script, folders) == 0
    assert lines_of(folders) == whole


def test_an_unforeseen_error_of_one_clip_does_not_stop_the_rest(script, folders, monkeypatch):
    detect = BarDetector.detect

    def broken(self, frame):
        if frame[10, 10].tolist() == read_frames(folders / "truth/a_010.mp4")[0][10, 10].tolist():
            raise RuntimeError("a fault inside a library")
        return detect(self, frame)

    monkeypatch.setattr(BarDetector, "detect", broken)
    assert run(script, folders, "--no-controls") == 3
    failed = record_of(folders)["failed"]
    assert [each["id"] for each in failed] == ["a_010"]
    assert "RuntimeError: a fault inside a library" in failed[0]["message"]


def test_another_speaker_is_the_same_whatever_else_is_measured(script, folders):
    rows = [{"clip_id": clip, "speaker": clip[0], "label": "sad"} for clip in
            ("a_010", "b_002", "c_001")]  # fmt: skip
    write_manifest(folders / "clips.csv", rows)
    manifest = ("--manifest", str(folders / "clips.csv"))
    assert run(script, folders, *manifest) == 0
    assert run(script, folders, *manifest, "--limit", "1", out="one") == 0
    one = {(line["row"], line["metric"]): line["value"] for line in lines_of(folders, "one")}
    for line in lines_of(folders):
        if line["clip"] == "a_010" and line["row"] != "mean face":
            assert one[line["row"], line["metric"]] == line["value"]


def test_the_number_of_workers_changes_nothing(folders):
    """With the real detector, since a process of its own loads its own."""
    for number in (1, 2):
        for folder in ("results", "truth"):
            height = 0.62 if folder == "truth" else 0.6
            path = folders / "faces" / folder / f"{number}.mp4"
            talking_clip(path, 4 + number, 128, height=height)
    arguments = ["run", "--results", folders / "faces/results", "--truth", folders / "faces/truth",
                 "--protocol", folders / "plain.yaml", "--no-controls"]  # fmt: skip
    figures = []
    for workers in (0, 2):
        out = folders / "out" / str(workers)
        more = ["--out", out, "--cache", out / "cache", "--workers", workers]
        assert load_script().main([*map(str, [*arguments, *more])]) == 0
        figures.append(read_jsonl(out / "scores.jsonl"))
    assert figures[0] == figures[1]


def test_odd_sized_videos_have_controls_too(script, folders, monkeypatch):
    """H.264 in yuv420p has even sides; a truth in another codec may not."""
    true_read = video.read_video
    monkeypatch.setattr(
        video, "read_video", lambda path: (frame[:-1, :-1] for frame in true_read(path))
    )
    monkeypatch.setattr(video.VideoFile, "size", (SIZE - 1, SIZE - 1))
    assert run(script, folders) == 0
    assert 0.9 < means(folders)["truth re-encoded"]["ssim"] < 1


def test_controls_need_no_result(script, folders):
    arguments = ["controls", "--truth", folders / "truth", "--protocol", folders / "plain.yaml"]
    assert script.main([*map(str, [*arguments, "--out", folders / "out/mine"])]) == 0
    rows = means(folders)
    assert "result" not in rows
    assert rows["truth"]["m_ld"] == 0
    assert rows["frozen first frame"]["m_ld"] > 1


@pytest.mark.parametrize("command", [(), ("check",), ("run",), ("table",), ("controls",),
                                     ("ablate",), ("user-study",), ("weights",)])  # fmt: skip
def test_help_shows_an_example(script, capsys, command):
    with pytest.raises(SystemExit):
        script.main([*command, "--help"])
    assert " ".join(["    python test.py", *command]) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--limit", "-1"), "--limit is -1, wanted 1 or more"),
        (("--workers", "-2"), "--workers is -2, wanted 0 or more"),
        (("landmarks.convention=atvg", "landmarks.view=3d"), "it has no 3d view"),
        (("landmarks.eat_flvd_bug=true",), "of the convention 'eat' alone"),
        (("landmarks.convention=moon",), "'moon', not one of"),
        (("--protocol", "none-such"), "no protocol 'none-such'"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_measured(
    script, folders, capsys, options, message
):
    assert run(script, folders, *options) == script.BAD_INPUT
    assert message in capsys.readouterr().err
    assert not (folders / "out/mine/cache.jsonl").exists()


@pytest.mark.data
def test_real_clips_by_the_real_detector(media_root, tmp_path):
    clips = sorted((media_root / "mead_same_sentence").glob("*.mp4"))
    if not clips:
        pytest.skip("no clips in mead_same_sentence")
    write_video(tmp_path / "truth/clip.mp4", read_frames(clips[0])[20:55])
    (tmp_path / "results").mkdir()
    shutil.copyfile(tmp_path / "truth/clip.mp4", tmp_path / "results/clip.mp4")
    done = subprocess.run(
        [sys.executable, "test.py", "run", "--results", tmp_path / "results", "--truth",
         tmp_path / "truth", "--out", tmp_path / "out/mine", "--workers", "1"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = read_jsonl(tmp_path / "out/mine/scores.jsonl")
    ours = {line["metric"]: line["value"] for line in lines if line["row"] == "result"}
    assert max(ours[metric] for metric in ("m_ld", "m_lvd", "f_ld", "f_lvd")) == 0
    assert ours["ssim"] == 1
    unavailable = read_json(tmp_path / "out/mine/evaluation.json")["unavailable"]
    assert "pt_inception-2015-12-05-6726825d.pth" in unavailable["fid"]


def check(script, root):
    """Check the folders without measuring; return the exit code."""
    arguments = ["check", "--results", root / "results", "--truth", root / "truth"]
    return script.main([*map(str, [*arguments, "--protocol", root / "plain.yaml"])])


def test_check_counts_what_does_not_fit(script, folders, capsys):
    write_video(folders / "results/a_010.mp4", draw(mouth(1, 9), 1)[:, 2:])
    (folders / "results/b_002.mp4").write_bytes(b"no video")
    shutil.copy(folders / "results/c_001.mp4", folders / "results/z.mp4")
    assert check(script, folders) == script.BAD_INPUT
    text = capsys.readouterr().out
    assert "a_010: size: the result is 96 x 94, the truth 96 x 96 pixels" in text
    assert "a_010: length: the result has 9 frames, the truth 12" in text
    assert "b_002: unreadable:" in text
    assert "3 clips match" in text
    assert "1 without a truth (z)" in text


def test_check_refuses_sound_that_is_out_of_step(script, folders, capsys):
    rng = np.random.default_rng(0)
    for number, path in enumerate(sorted((folders / "truth").iterdir())):
        frames, sound = read_frames(path), rng.normal(0, 0.1, 640 * 12)
        write_video(path, frames, sound)
        own = rng.normal(0, 0.1, 640 * 12) if number == 2 else np.roll(sound, 1920 * number)
        write_video(folders / "results" / path.name, frames, own)
    assert check(script, folders) == script.BAD_INPUT
    text = capsys.readouterr().out
    assert "b_002: sound out of step: the result's sound is +120 ms behind the truth's" in text
    assert "c_001: another sound: the result's sound is not the truth's at any shift" in text
    assert "1 as they should be" in text


def test_check_is_content_with_what_can_be_measured(script, folders, capsys):
    for path in (folders / "truth").iterdir():
        for folder in ("truth", "results"):
            frames = read_frames(path)
            write_video(folders / folder / path.name, frames, np.zeros(640 * len(frames)))
    assert check(script, folders) == 0
    assert "3 as they should be" in capsys.readouterr().out
