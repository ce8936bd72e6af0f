"""generate.py --manifest: many clips at once, gone on with, each as if it were made alone."""

import errno
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import generate
from affekt.media.audio.reader import write_wav
from affekt.media.faces import track
from affekt.media.video.video import write_video
from affekt.runtime.batch import Fingerprints, ResultFolder
from affekt.runtime.files import read_jsonl
from affekt.runtime.manifest import read_manifest, write_manifest_file
from eamm.inference import fomm_pipeline, pipeline
from tests.corpora.drawn_face import draw_face, talking_clip, tone
from tests.corpora.faked_evp import fake_networks, frame
from tests.corpora.tiny_eamm import write_tiny_runs

COLUMNS = ("clip_id", "source", "audio", "pose", "emotion", "speaker")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Trained parts, portraits, sounds, videos that drive."""
    root = tmp_path_factory.mktemp("inputs")
    write_tiny_runs(root)
    Image.fromarray(draw_face(256, height=0.5)).save(root / "one.png")
    Image.fromarray(draw_face(256, height=0.45, mouth=1)).save(root / "two.png")
    write_wav(root / "short.wav", 0.5 * tone(4))
    write_wav(root / "long.wav", 0.5 * tone(6))
    talking_clip(root / "head.mp4", 8, center=(0.45, 0.5))
    return root


@pytest.fixture
def calls(monkeypatch):
    """Counts of what is read or looked for."""
    counts = {}
    places = [
        (pipeline, "load_networks"),
        (fomm_pipeline, "load_fomm"),
        (pipeline, "make_detector"),
        (fomm_pipeline, "make_detector"),
        (track, "track_face"),
    ]
    for module, name in places:
        monkeypatch.setattr(module, name, counted(name, getattr(module, name), counts))
    return counts


def counted(name, function, counts):
    def counting(*args, **options):
        counts[name] = counts.get(name, 0) + 1
        return function(*args, **options)

    return counting


def eamm_rows(inputs):
    """Three clips: all cells given, as few as possible, and still a third."""
    first = {"clip_id": "a", "source": "one.png", "audio": "short.wav"}
    first |= {"pose": "head.mp4", "emotion": "head.mp4", "speaker": "of no concern"}
    second = {"clip_id": "b", "source": str(inputs / "two.png"), "audio": "long.wav"}
    third = {"clip_id": "c", "source": "two.png", "audio": "short.wav", "emotion": "head.mp4"}
    return [first, second, third]


def write_rows(inputs, rows, name="clips.csv"):
    path = inputs / name
    write_manifest_file(path, COLUMNS, rows)
    return path


def command(inputs, manifest, out, *more):
    return ["eamm", f"--run={inputs}", f"--manifest={manifest}", f"--out={out}", *more]


def run(inputs, out, rows=None, *more):
    manifest = write_rows(inputs, rows or eamm_rows(inputs))
    return generate.main(command(inputs, manifest, out, *more))


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.mp4"))}


def test_clips_are_those_of_single_commands_byte_for_byte_in_any_order(inputs, tmp_path, calls):
    assert run(inputs, tmp_path / "all", None, "--pose-relative") == 0
    # Two clips see the same video, one of them as pose and as emotion.
    assert calls == {"load_networks": 1, "make_detector": 1, "track_face": 1}
    assert run(inputs, tmp_path / "reversed", eamm_rows(inputs)[::-1], "--pose-relative") == 0
    alone = tmp_path / "alone"
    for row in eamm_rows(inputs):
        cells = {name: row.get(name, "") for name in ("source", "audio", "pose", "emotion")}
        options = [f"--{name}={inputs / cell}" for name, cell in cells.items() if cell]
        out = f"--out={alone / row['clip_id']}.mp4"
        assert generate.main(["eamm", f"--run={inputs}", *options, "--pose-relative", out]) == 0
    for path in alone.glob("*_neutral.mp4"):
        path.unlink()
    made = contents(tmp_path / "all")
    assert list(made) == ["a.mp4", "b.mp4", "c.mp4"]
    assert made == contents(tmp_path / "reversed") == contents(alone)
    assert len(set(made.values())) == 3


def test_what_is_there_is_left_and_nothing_is_read_for_it(inputs, tmp_path, calls, capsys):
    out = tmp_path / "out"
    assert run(inputs, out, eamm_rows(inputs)[:2]) == 0
    assert "2 made, 0 there already" in capsys.readouterr().out
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    calls.clear()
    assert run(inputs, out, eamm_rows(inputs)[:2]) == 0
    assert "0 made, 2 there already" in capsys.readouterr().out
    assert calls == {}
    assert run(inputs, out) == 0
    assert "1 made, 2 there already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in times if path.suffix == ".mp4"} == {
        path: time for path, time in times.items() if path.suffix == ".mp4"
    }


def test_other_settings_other_files_and_damaged_results_are_made_anew(inputs, tmp_path, capsys):
    out, rows = tmp_path / "out", eamm_rows(inputs)[1:2]

    def made(*more):
        assert run(inputs, out, rows, *more) == 0
        return capsys.readouterr().out.split(": ")[1].startswith("1 made")

    portrait = tmp_path / "p.png"
    portrait.write_bytes((inputs / "two.png").read_bytes())
    assert made()
    rows[0]["source"] = str(portrait)
    assert not made()  # the same content, elsewhere
    assert not made("--workers=1")
    assert made("--smooth=pose")
    assert made()
    portrait.write_bytes((inputs / "one.png").read_bytes())
    assert made()
    result = out / "b.mp4"
    whole = result.read_bytes()
    result.write_bytes(whole[:-9])
    assert made()
    assert result.read_bytes() == whole
    result.unlink()
    assert made()
    (inputs / "face_model.npz").touch()  # the same content
    assert not made()
    (inputs / "a2fd/a2fd.yaml").touch()  # of a run's folder the times count
    assert made()


def test_a_line_that_was_cut_off_is_made_again(inputs, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(inputs, out, eamm_rows(inputs)[:2]) == 0
    ledger = out / "generated.jsonl"
    ledger.write_text(ledger.read_text()[:-20])
    assert run(inputs, out, eamm_rows(inputs)[:2]) == 0
    assert "1 made, 1 there already" in capsys.readouterr().out
    assert [row["clip_id"] for row in read_jsonl(ledger)] == ["a", "b"]
    ledger.write_text("no JSON\n{}\n")
    assert run(inputs, out, eamm_rows(inputs)[:2]) == 1
    assert "generated.jsonl is damaged" in capsys.readouterr().err


def test_bad_clips_do_not_stop_the_others_and_are_named(inputs, tmp_path, capsys):
    out = tmp_path / "out"
    write_video(inputs / "blank.mp4", np.full((9, 64, 64, 3), 90, np.uint8))
    rows = eamm_rows(inputs)
    rows[0]["audio"] = "nowhere.wav"
    rows[1]["source"] = ""
    rows.insert(0, {**rows[2], "clip_id": "d", "pose": "blank.mp4"})
    out.mkdir()
    (out / "a.mp4").write_bytes(b"of an earlier manifest")
    assert run(inputs, out, rows) == 1
    said = capsys.readouterr()
    assert "1 made, 0 there already" in said.out
    assert "Traceback" not in said.err
    assert "3 not made" in said.err
    failed = {row["clip_id"]: row for row in read_jsonl(out / "failed.jsonl")}
    assert {clip: row["line"] for clip, row in failed.items()} == {"d": 2, "a": 3, "b": 4}
    assert "nowhere.wav does not exist" in failed["a"]["message"]
    assert failed["b"]["message"] == "its source is empty, and no --source is given"
    assert "blank.mp4: none of its 9 frames shows a face" in failed["d"]["message"]
    assert list(contents(out)) == ["c.mp4"]  # a result that is out of date is no result
    assert run(inputs, out) == 0
    assert "2 made, 1 there already" in capsys.readouterr().out
    assert not (out / "failed.jsonl").exists()


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_a_clip_that_memory_does_not_hold_fails_alone(inputs, tmp_path, capsys, monkeypatch, kind):
    write, calls = pipeline.write_videos, []

    def once_too_large(*given):
        calls.append(given)
        if len(calls) == 1:
            raise kind("CUDA out of memory. Tried to allocate 9.31 GiB.\nGPU 0 has ...")
        return write(*given)

    monkeypatch.setattr(pipeline, "write_videos", once_too_large)
    assert run(inputs, tmp_path / "out") == 1
    (failure,) = read_jsonl(tmp_path / "out/failed.jsonl")
    assert failure["clip_id"] == "a"
    assert failure["message"] == f"{kind.__name__}: CUDA out of memory. Tried to allocate 9.31 GiB."
    assert sorted(contents(tmp_path / "out")) == ["b.mp4", "c.mp4"]
    assert "2 made" in capsys.readouterr().out


def test_a_full_disk_stops_all(inputs, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pipeline, "write_videos", full)
    assert run(inputs, tmp_path / "out") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("generate.py: ")
    assert "No space left" in error
    assert not (tmp_path / "out/failed.jsonl").exists()


def test_an_untrained_run_is_one_error_not_one_a_clip(inputs, tmp_path, capsys):
    nowhere = tmp_path / "nowhere"
    assert run(inputs, tmp_path / "out", None, f"--a2fd={nowhere}") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(nowhere) in line


def test_a_cell_goes_before_the_command_line_which_goes_before_the_default(inputs, tmp_path):
    rows = eamm_rows(inputs)
    blend = f"--emotion-blend={inputs / 'one.png'}:{inputs / 'two.png'}:0.5"
    options = command(inputs, write_rows(inputs, rows), tmp_path, blend, "--pose=other.npy")
    args = generate.parse(options)
    manifest, batch = read_manifest(args.manifest), ResultFolder(tmp_path)
    first, second, third = (
        generate.job_of_row(manifest, row, args, batch) for row in manifest.rows
    )
    assert first.emotion.paths == (inputs / "head.mp4",)
    assert first.pose.path == inputs / "head.mp4"
    assert second.emotion.paths == (inputs / "one.png", inputs / "two.png")
    assert second.pose.path == Path("other.npy")
    assert third.out == tmp_path / "c.mp4"
    rows[0] |= {"emotion": "none", "pose": "still"}
    manifest = read_manifest(write_rows(inputs, rows))
    job = generate.job_of_row(manifest, manifest.rows[0], args, batch)
    assert (job.emotion.paths, job.pose.path) == ((), None)


def test_fomm_moves_many_portraits(inputs, tmp_path, calls):
    rows = [
        {"clip_id": name, "source": f"{name}.png", "pose": "head.mp4"} for name in ("one", "two")
    ]
    manifest = write_rows(inputs, rows, "fomm.csv")
    options = ["fomm", f"--fomm={inputs / 'fomm'}", "--relative"]
    assert generate.main([*options, f"--manifest={manifest}", f"--out={tmp_path / 'all'}"]) == 0
    assert (calls["load_fomm"], calls["make_detector"]) == (1, 1)
    files = [f"--source={inputs / 'two.png'}", f"--driving={inputs / 'head.mp4'}"]
    assert generate.main([*options, *files, f"--out={tmp_path / 'two.mp4'}"]) == 0
    made = contents(tmp_path / "all")
    assert list(made) == ["one.mp4", "two.mp4"]
    assert made["two.mp4"] == (tmp_path / "two.mp4").read_bytes()


def test_evp_takes_labels_and_reads_its_networks_once(inputs, tmp_path, monkeypatch):
    counts, heard = {}, []

    def audio_to_landmarks(_predictor, _run, samples, _speaker, emotion):
        heard.append(emotion)
        return np.zeros((len(samples) // 640, 68, 2))

    def edit(_renderer, _target, face, *_):
        return map(frame, face)

    def counting(name, function):
        return counted(name, function, counts)

    fake_networks(monkeypatch, audio_to_landmarks, edit, counting)
    manifest = tmp_path / "evp.csv"
    manifest.write_text(
        "clip_id,audio,target,emotion\n"
        f"a,{inputs / 'short.wav'},head.mp4,happy\n"
        f"b,{inputs / 'long.wav'},head.mp4,\n"
    )
    options = [f"--run={tmp_path}", f"--manifest={manifest}", "--frame=crop"]
    options += [f"--out={tmp_path / 'out'}", f"--emotion-audio={inputs / 'long.wav'}"]
    assert generate.main(["evp", *options]) == 0
    read = ("load_predictor", "load_renderer", "load_face_model", "make_detector")
    # Two sounds of other lengths: of the target each looks at its own share
    assert counts == dict.fromkeys(read, 1) | {"track_face": 2}
    assert (heard[0].label, heard[0].audio) == ("happy", None)
    assert (heard[1].label, heard[1].audio) == (None, inputs / "long.wav")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column clip_id; found: nothing"),
        ("id,audio\na,b\n", "has no column clip_id; found: id, audio"),
        ("clip_id,audio\na,x.wav\n", "has no column source; found: clip_id, audio; add it, or"),
        ("clip_id\na\n", "no column source and audio"),
        ("clip_id,source,audio,audio\na,b,c,d\n", "two columns 'audio'"),
        ("clip_id,source,audio\n", "names no clip"),
        ("clip_id,source,audio\na,b\n", "line 2, has 2 cells, wanted 3"),
        ("clip_id,source,audio\n\na,b,c,d\n", "line 3, has 4 cells, wanted 3"),
        ("clip_id,source,audio\n ,b,c\n", "line 2: the clip_id is empty"),
        ("clip_id,source,audio\na/b,b,c\n", "'a/b' cannot name a file"),
        ("clip_id,source,audio\na\\b,b,c\n", "cannot name a file"),
        ("clip_id,source,audio\n..,b,c\n", "'..' cannot name a file"),
        ("clip_id,source,audio\na,b,c\nd,b,c\na,b,c\n", "'a' stands in line 2 and again in line 4"),
        ('clip_id,source,audio\na,"b"c,d\n', "is no CSV file"),
        (b"clip_id,source,audio\n\xff,b,c\n", "is no text in UTF-8"),
    ],
)
def test_a_bad_manifest_is_one_clear_error(inputs, tmp_path, capsys, text, said):
    path = tmp_path / "clips.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert generate.main(command(inputs, path, tmp_path / "out")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert said in line
    assert not (tmp_path / "out").exists()


def test_a_column_may_be_absent_where_the_command_line_speaks_for_it(inputs, tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text("\ufeffclip_id,other\r\na,1\r\n", encoding="utf-8")
    files = (f"--source={inputs / 'one.png'}", f"--audio={inputs / 'short.wav'}")
    assert generate.main(command(inputs, path, tmp_path / "out", *files)) == 0
    assert list(contents(tmp_path / "out")) == ["a.mp4"]


def test_options_that_do_not_fit_are_refused(inputs, tmp_path, capsys):
    manifest = write_rows(inputs, eamm_rows(inputs))
    with pytest.raises(SystemExit):
        generate.parse(command(inputs, manifest, tmp_path, "--comparison"))
    assert "--comparison does not go with --manifest" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        generate.parse(["eamm", f"--out={tmp_path / 'out.mp4'}", "--source=p.png"])
    assert "arguments are required: --audio" in capsys.readouterr().err
    for out, said in ((tmp_path / "out.mp4", "wanted a folder"), (manifest, "is a file")):
        assert generate.main(command(inputs, manifest, out)) == 1
        assert said in capsys.readouterr().err
    assert generate.main(command(inputs, tmp_path / "none.csv", tmp_path / "out")) == 1
    assert "none.csv does not exist" in capsys.readouterr().err


def test_a_fingerprint_sees_every_setting_but_place_and_processes(tmp_path):
    @dataclass(frozen=True)
    class Look:
        workers: int
        paste: bool

    @dataclass(frozen=True)
    class Job:
        out: Path
        look: Look
        parts: frozenset
        paths: tuple

    file = tmp_path / "file"
    file.write_text("one")
    job = Job(tmp_path / "a", Look(1, True), frozenset({"x", "y"}), (file, 0.5))
    same = Job(tmp_path / "b", Look(2, True), frozenset({"y", "x"}), (file, 0.5))
    found = Fingerprints().of(job)
    assert Fingerprints().of(same) == found
    others = [
        Job(job.out, Look(1, False), job.parts, job.paths),
        Job(job.out, job.look, frozenset({"x"}), job.paths),
        Job(job.out, job.look, job.parts, (file, 0.6)),
        Job(job.out, job.look, job.parts, (tmp_path / "none", 0.5)),
    ]
    assert len({found, *map(Fingerprints().of, others)}) == 5
    file.write_text("two")
    assert Fingerprints().of(job) != found
