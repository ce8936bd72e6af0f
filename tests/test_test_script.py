"""test.py on small videos of a drawn face, and on real ones."""

import importlib.util
import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from media.geometry import RIGID_TEMPLATE
from media.landmarks import Detection
from media.points import MOUTH, RIGID
from media.video import read_frames, write_video
from metrics.image import psnr
from runtime.files import read_json, read_jsonl

ROOT = Path(__file__).parent.parent
SIZE = 96


def load_script():
    """test.py is no module that anything imports: its name is the standard library's."""
    spec = importlib.util.spec_from_file_location("affekt_test_script", ROOT / "test.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class BarDetector:
    """Reads the drawings of `draw`: the mouth is as open as the bar is tall; no bar, no face."""

    version = "bar detector"

    def detect(self, frame):
        grey = frame.mean(axis=2)
        if grey.max() < 150:
            return None
        weight = np.clip(grey[:, SIZE // 2] - 60, 0, 120) / 120
        points = np.full((68, 2), 48.0)
        points[list(RIGID)] = RIGID_TEMPLATE[:, :2] * SIZE / 256
        points[list(MOUTH), 1] += weight.sum()
        return Detection(points.astype(np.float32), None)


def draw(openings, seed=0):
    """Draw a bar of each height (pixels; 0: none) on a fixed background, (T, 96, 96, 3)."""
    background = np.random.default_rng(seed).integers(20, 40, (SIZE // 8, SIZE // 8, 3))
    background = background.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
    frames = np.repeat(background[None], len(openings), axis=0)
    for frame, opening in zip(frames, openings, strict=True):
        frame[20 : 20 + opening, 30:66] = 230
    return frames


def mouth(seed, frames=12):
    return np.random.default_rng(seed).integers(8, 60, frames)


@pytest.fixture
def script(monkeypatch):
    module = load_script()
    monkeypatch.setattr(module, "make_detector", lambda name: BarDetector())
    return module


@pytest.fixture
def folders(tmp_path):
    """Truth of three clips; results that are copies of their truths, made in another order."""
    for seed, name in enumerate(("b_002", "a_010", "c_001")):
        for folder in ("truth", "results"):
            write_video(tmp_path / folder / f"{name}.mp4", draw(mouth(seed), seed))
    return tmp_path


def run(script, root, *options):
    arguments = ["run", "--results", root / "results", "--truth", root / "truth"]
    return script.main([*map(str, arguments), "--out", str(root / "out/mine"), *options])


def rows_of(root):
    return read_json(root / "out/mine/summary.json")["rows"]


def test_the_truth_against_itself_is_perfect_and_the_controls_are_not(script, folders, capsys):
    assert run(script, folders) == 0
    rows = rows_of(folders)
    assert rows["result"] == {
        **dict.fromkeys(("m_ld", "m_lvd", "f_ld", "f_lvd"), 0.0),
        **{"ssim": 1.0, "psnr": 100.0, "psnr_u8wrap": 100.0},
    }
    late, frozen, copy = (
        rows[name] for name in ("truth one frame late", "frozen first frame", "truth re-encoded")
    )
    assert late["m_lvd"] > frozen["m_lvd"] > 1
    assert min(late["m_ld"], frozen["m_ld"]) > 10 * copy["m_ld"]
    assert 0 < rows["detector floor"]["m_ld"] <= copy["m_ld"]
    assert 0.9 < copy["ssim"] < 1
    assert late["ssim"] < copy["ssim"]
    assert rows["mean face"].keys() == {"m_ld", "m_lvd", "f_ld", "f_lvd"}
    text = capsys.readouterr().out
    for name in ("mine", "truth one frame late", "mean face", "detector floor", "EVP (paper)"):
        assert f"| {name} " in text
    assert "coverage: 100.0% of the clips, 100.0% of their frames" in text
    assert (folders / "out/mine/table.md").read_text().strip() in text


def test_there_is_a_line_for_every_clip_row_and_metric(script, folders):
    run(script, folders)
    lines = read_jsonl(folders / "out/mine/scores.jsonl")
    keys = {(line["clip"], line["row"], line["metric"]) for line in lines}
    # result, re-encoded, late, frozen: 7 metrics; mean face, detector floor: 4
    assert len(lines) == len(keys) == 3 * (4 * 7 + 2 * 4)
    mean = np.mean([line["value"] for line in lines if line["row"] == "mean face"
                    and line["metric"] == "m_ld"])  # fmt: skip
    assert rows_of(folders)["mean face"]["m_ld"] == pytest.approx(mean)
    table = read_json(folders / "out/mine/table.json")
    assert table["rows"][0]["values"] == rows_of(folders)["result"]


def test_picture_scores_of_late_and_frozen_leave_out_the_frame_that_equals_the_truths(
    script, folders
):
    run(script, folders)
    lines = read_jsonl(folders / "out/mine/scores.jsonl")
    found = {line["row"]: line["value"] for line in lines
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
    summary = read_json(folders / "out/mine/summary.json")
    assert summary["rows"]["result"]["m_ld"] == 0  # b_002 with b_002, and nothing else
    assert summary["missing"] == ["0_001", "a_010"]
    assert summary["extra"] == ["c_001", "z_010"]
    assert summary["clip_coverage"] == pytest.approx(1 / 3)


def test_a_worse_result_scores_worse_and_without_controls_it_is_alone(script, folders):
    write_video(folders / "results/a_010.mp4", draw(mouth(7), 1))
    assert run(script, folders, "--no-controls") == 0
    rows = rows_of(folders)
    assert rows.keys() == {"result"}
    assert rows["result"]["m_ld"] > 1
    assert rows["result"]["ssim"] < 1
    assert rows["result"]["psnr"] < 100


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: write_video(path, draw(mouth(1, 11), 1)), "the result has 11 frames"),
        (lambda path: write_video(path, draw(mouth(1), 1)[:, :, 2:]), "the result is 94 x 96"),
        (lambda path: write_video(path, draw(np.zeros(12, int), 1)), "face on both sides"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:900]), "a_010.mp4"),
        (lambda path: path.write_text("<html>not found</html>"), "a_010.mp4"),
    ],
    ids=["length", "size", "no face", "empty", "cut off", "no video"],
)
def test_one_bad_clip_is_reported_and_does_not_stop_the_rest(
    script, folders, capsys, damage, message
):
    damage(folders / "results/a_010.mp4")
    assert run(script, folders, "--no-controls") == script.LOW_COVERAGE
    printed = capsys.readouterr()
    assert "not compared: a_010:" in printed.err
    assert message in printed.err
    assert "coverage: 66.7% of the clips" in printed.out
    summary = read_json(folders / "out/mine/summary.json")
    assert [failure["id"] for failure in summary["failed"]] == ["a_010"]
    assert summary["clips"] == 2
    assert summary["rows"]["result"]["m_ld"] == 0


def test_another_frame_rate_is_refused(script, folders, monkeypatch):
    import dataclasses

    from metrics import compare

    true_probe = compare.probe

    def probe(path):
        info = true_probe(path)
        at_30 = path == folders / "results/a_010.mp4"
        return dataclasses.replace(info, fps=30.0) if at_30 else info

    monkeypatch.setattr(compare, "probe", probe)
    assert run(script, folders, "--no-controls", "--min-coverage", "0.5") == 0
    failed = read_json(folders / "out/mine/summary.json")["failed"]
    assert "30 frames per second, the truth 25" in failed[0]["message"]


def test_frames_without_a_face_lower_the_coverage(script, folders):
    openings = mouth(1)
    openings[3:6] = 0
    write_video(folders / "results/a_010.mp4", draw(openings, 1))
    assert run(script, folders, "--no-controls") == script.LOW_COVERAGE
    assert read_json(folders / "out/mine/summary.json")["frame_coverage"] == pytest.approx(33 / 36)
    assert run(script, folders, "--no-controls", "--min-coverage", "0.9") == 0


@pytest.mark.parametrize("case", ["no folder", "empty", "no shared name", "twice", "all bad"])
def test_nothing_to_compare_is_one_clear_message(script, folders, capsys, case):
    results = folders / "results"
    wanted = {
        "no folder": "is no folder of videos",
        "empty": "no clip of",
        "no shared name": "must have the file name of its truth",
        "twice": "have one clip id",
        "all bad": "none of the 3 clips could be compared",
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


def test_the_table_command_puts_evaluations_under_one_another(script, folders, capsys):
    run(script, folders)
    write_video(folders / "results/a_010.mp4", draw(mouth(7), 1))
    arguments = ["--results", folders / "results", "--truth", folders / "truth"]
    out = ["--out", folders / "out/two", "--name", "method two"]
    assert script.main([*map(str, ("run", *arguments, *out))]) == 0
    capsys.readouterr()
    both = [str(folders / "out/mine"), str(folders / "out/two")]
    assert script.main(["table", *both, "--out", str(folders / "out/table")]) == 0
    names = [row["name"] for row in read_json(folders / "out/table/table.json")["rows"]]
    assert names[:2] == ["mine", "method two"]
    assert names.count("frozen first frame") == 1  # one truth, one set of controls
    assert "| method two" in (folders / "out/table/table.md").read_text()
    assert script.main(["table", str(folders / "none")]) == script.BAD_INPUT
    assert "summary.json is missing; run python test.py run" in capsys.readouterr().err


def test_odd_sized_videos_have_controls_too(script, folders, monkeypatch):
    """H.264 in yuv420p has even sides; a truth in another codec may not."""
    from metrics import compare

    true_read = compare.read_video
    monkeypatch.setattr(
        compare,
        "read_video",
        lambda path: (
            (f[:-1, :-1] if f.shape[0] == SIZE else f for f in true_read(path))
            if path.parent.name in ("truth", "results")
            else true_read(path)
        ),
    )
    true_form = compare._same_form
    monkeypatch.setattr(
        compare, "_same_form", lambda pair: tuple(side - 1 for side in true_form(pair))
    )
    assert run(script, folders) == 0
    assert 0.9 < rows_of(folders)["truth re-encoded"]["ssim"] < 1


@pytest.mark.parametrize("command", [(), ("run",), ("table",)])
def test_help_shows_an_example(script, capsys, command):
    with pytest.raises(SystemExit):
        script.main([*command, "--help"])
    assert " ".join(["    python test.py", *command]) in capsys.readouterr().out


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
         tmp_path / "truth", "--out", tmp_path / "out"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out/summary.json").read_text())["rows"]
    assert max(rows["result"][metric] for metric in ("m_ld", "m_lvd", "f_ld", "f_lvd")) == 0
    assert rows["result"]["ssim"] == 1
    assert 0.05 < rows["detector floor"]["m_ld"] < rows["frozen first frame"]["m_ld"]
    assert rows["frozen first frame"]["m_lvd"] < 1.5 * rows["truth one frame late"]["m_lvd"]
