"""A prepared corpus is whole or says what is not; preparation removes nothing but its own files."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from affekt.media.corpus import Corpus
from affekt.media.faces.track import FramesConfig
from affekt.media.integrity import MANIFEST, read_sealed, write_lists
from affekt.runtime.files import DamagedFileError
from data_prep import inspect
from data_prep import prepare as prepare_module
from data_prep.clips import clip as clip_module
from data_prep.clips.lists import is_current
from data_prep.clips.splits import SplitConfig
from data_prep.prepare import prepare
from tests.corpora.drawn_face import folder_config, talking_clip

pytestmark = pytest.mark.usefixtures("one_detector")

SIZE = 128
NAMES = ("ann_happy_1", "ann_neutral_2", "ann_sad_1")
LEFT = ".affekt-1x2y_3z4"  # as tempfile names folders


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    for name in NAMES:
        talking_clip(root / f"{name}.mp4", 8, SIZE)
    return root


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "corpus"
    prepare(folder_config(raw, out))
    return out


@pytest.fixture
def copy(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "corpus")


def as_before_seals(root):
    """Take from a corpus what was not there before sizes and digests were written."""
    for path in (root / "corpus.json", *root.glob("clips/*/*/clip.json")):
        record = read_sealed(path)
        for key in ("lists", "files", "settings_sha256", "seal"):
            if path.name == "clip.json" or key != "settings_sha256":
                record.pop(key, None)
        path.write_text(json.dumps(record, indent=2) + "\n")


# ------------------------------------------------------------------ removal


def test_what_a_killed_run_left_is_removed_and_nothing_else(raw, copy, tmp_path):
    home = tmp_path / "home"
    left, mixed, named = (copy / "clips/ann" / n for n in (LEFT, ".affekt-abcdefgh", ".theirs"))
    for folder in (left, mixed, named, home / ".ssh", home / LEFT, home / "x" / LEFT):
        folder.mkdir(parents=True)
        (folder / "frames.jpegs").touch()
    (left / ".affekt-aaaaaaaa.npy").touch()
    (mixed / "notes.txt").touch()
    (copy / "clips/S9").symlink_to(home)
    (copy / "clips/ann" / ".affekt-zzzzzzzz").symlink_to(home / ".ssh")
    prepare(folder_config(raw, copy))
    assert not left.exists()
    for kept in (mixed, named, home / ".ssh", home / LEFT, home / "x" / LEFT):
        assert (kept / "frames.jpegs").exists(), kept
    assert (copy / "clips/ann" / ".affekt-zzzzzzzz").is_symlink()


def test_a_folder_that_is_no_prepared_corpus_loses_nothing(raw, tmp_path):
    left = tmp_path / "out/clips/ann" / LEFT
    left.mkdir(parents=True)
    (left / "frames.jpegs").touch()
    prepare(folder_config(raw, tmp_path / "out"))
    assert (left / "frames.jpegs").exists()


@pytest.mark.parametrize("level", ["clips", "clips/ann", "clips/ann/ann_sad_1_1"])
def test_no_clip_is_written_or_removed_through_a_link(raw, copy, tmp_path, level):
    away = tmp_path / "away"
    (copy / level).rename(away)
    (copy / level).symlink_to(away)
    before = {p: p.stat().st_mtime_ns for p in away.rglob("*")}
    root = shutil.copytree(raw, tmp_path / "raw")
    config = folder_config(root, copy)
    (root / "ann_sad_1.mp4").write_bytes(b"")  # would remove the clip
    with pytest.raises(ValueError, match=r"is a link, through which no clip is written"):
        prepare(config)
    assert {p: p.stat().st_mtime_ns for p in away.rglob("*")} == before
    assert len(Corpus(copy).clips()) == 3  # it can be read as it is


def test_the_corpus_itself_may_be_a_link(raw, copy, tmp_path):
    (tmp_path / "link").symlink_to(copy)
    assert prepare(folder_config(raw, tmp_path / "link")).made == 0


def test_a_clip_made_anew_or_refused_leaves_other_peoples_files(raw, copy, tmp_path):
    root = shutil.copytree(raw, tmp_path / "raw")
    folders = [copy / "clips/ann" / name for name in ("ann_happy_1_1", "ann_sad_1_1")]
    for folder in folders:
        (folder / "notes").mkdir()
        (folder / "notes/mine.txt").write_text("mine")
        (folder / "pose.npy").touch()  # of the pose step: of the old version
    talking_clip(root / "ann_happy_1.mp4", 12, SIZE)
    (root / "ann_sad_1.mp4").write_bytes(b"")
    result = prepare(folder_config(root, copy))
    assert [row["frames"] for row in result.manifest] == [12, 8]
    for folder in folders:
        assert (folder / "notes/mine.txt").read_text() == "mine"
        assert not (folder / "pose.npy").exists()
    assert [path.name for path in folders[1].iterdir()] == ["notes"]


# ------------------------------------------------------------------ damage


def faults(root):
    return inspect.verify(Corpus(root), workers=2, progress=False)[0]


def test_every_flipped_byte_is_found_and_named(copy):
    """180 of 180, spread over all files; those of the lists already when the corpus is opened."""
    rng = np.random.default_rng(0)
    files = sorted(p for p in copy.rglob("*.*") if p.is_file() and p.name != ".lock")
    assert len(files) == 3 * 7 + 3
    assert faults(copy) == []
    for k in range(180):
        path = files[k % len(files)]
        good = path.read_bytes()
        if not good:  # no clip was refused
            continue
        place = int(rng.integers(len(good)))
        path.write_bytes(good[:place] + bytes([good[place] ^ (1 << k % 8)]) + good[place + 1 :])
        try:
            found = faults(copy)
        except DamagedFileError as error:
            assert path.name in ("corpus.json", "manifest.jsonl")
            found = [str(error)]
        assert [path.name in line for line in found] == [True], (path, place)
        path.write_bytes(good)
    assert faults(copy) == []


def test_sizes_and_counts_are_seen_without_reading_everything(copy):
    clip = Corpus(copy).clip("ann_sad_1_1")
    reads = [clip.landmarks, clip.landmarks3d, clip.mfcc, clip.audio, clip.crop, clip.store]
    for path in sorted(clip.folder.iterdir()):
        good = path.read_bytes()
        for bad in (good[:-1], good + b"\0"):
            path.write_bytes(bad)
            for name in [read.__name__ for read in reads]:
                with pytest.raises(DamagedFileError, match=path.name):
                    getattr(Corpus(copy).clip(clip.id), name)()
        path.write_bytes(good)
    for name in ("manifest.jsonl", "corpus.json"):
        good = (copy / name).read_bytes()
        (copy / name).write_bytes(b"".join(good.splitlines(True)[:-1]))
        with pytest.raises(DamagedFileError, match=name):
            Corpus(copy)
        (copy / name).write_bytes(good)
    Corpus(copy).clip(clip.id).landmarks()


def test_the_command_names_damage_and_ends_with_an_error(copy, capsys):
    assert inspect.main([str(copy), "--verify"]) == 0
    assert "3 clips are whole" in capsys.readouterr().out
    (copy / "clips/ann/ann_sad_1_1/audio.wav").unlink()
    mfcc = copy / "clips/ann/ann_happy_1_1/mfcc.npy"
    mfcc.write_bytes(mfcc.read_bytes()[:-1] + b"\1")
    assert inspect.main([str(copy), "--verify"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert any("audio.wav is missing" in line for line in said)
    assert any("mfcc.npy is damaged: its contents" in line for line in said)


def test_a_damaged_clip_is_made_anew_where_its_files_are_cut(raw, copy):
    good = {p: p.read_bytes() for p in copy.glob("clips/*/*/*")}
    folder = copy / "clips/ann"
    (folder / "ann_sad_1_1/clip.json").write_bytes(b"")  # after a power cut
    landmarks = folder / "ann_happy_1_1/landmarks.npy"
    landmarks.write_bytes(landmarks.read_bytes()[:-9])
    (folder / "ann_neutral_1_2/frames.jpegs").unlink()
    assert prepare(folder_config(raw, copy)).made == 3
    assert {p: p.read_bytes() for p in copy.glob("clips/*/*/*")} == good


def test_a_corpus_of_before_is_read_and_grows(raw, copy, capsys):
    as_before_seals(copy)
    clip = Corpus(copy).clip("ann_sad_1_1")
    assert clip.landmarks().shape == (8, 68, 2)
    assert inspect.main([str(copy), "--verify"]) == 0
    assert "3 of 3 clips were prepared without checksums" in capsys.readouterr().out
    shutil.rmtree(copy / "clips/ann/ann_happy_1_1")
    result = prepare(folder_config(raw, copy))
    assert (result.made, len(result.manifest)) == (1, 3)
    assert faults(copy) == []
    assert "lists" in Corpus(copy).info


# ------------------------------------------------------------------ settings and runs


def test_without_corpus_json_clips_of_other_settings_are_never_mixed(raw, copy):
    for damage in (lambda path: path.unlink(), lambda path: path.write_text("{")):
        damage(copy / "corpus.json")
        with pytest.raises(ValueError, match=r"may be of other settings; choose another out="):
            prepare(folder_config(raw, copy, split=SplitConfig(val_share=0.5)))
        assert prepare(folder_config(raw, copy)).made == 0  # they name their settings
        assert faults(copy) == []


def test_a_new_version_of_the_code_is_another_setting(raw, copy, monkeypatch):
    monkeypatch.setattr(prepare_module, "CONTENTS_VERSION", 2)
    with pytest.raises(ValueError, match="contents_version = None, now 2"):
        prepare(folder_config(raw, copy))


def test_a_clip_of_other_settings_in_the_folder_is_made_anew(raw, copy, tmp_path):
    config = folder_config(raw, tmp_path / "other", frames=FramesConfig(size=96))
    prepare(config)
    place = copy / "clips/ann/ann_sad_1_1"
    shutil.rmtree(place)
    shutil.copytree(tmp_path / "other/clips/ann/ann_sad_1_1", place)
    assert prepare(folder_config(raw, copy)).made == 1
    assert Corpus(copy).clip("ann_sad_1_1").store().size == (64, 64)


def test_a_second_run_on_one_folder_is_refused_and_changes_nothing(raw, copy):
    before = {p: p.stat().st_mtime_ns for p in copy.rglob("*.*") if p.name != ".lock"}
    holds = (
        "import sys, pathlib; from affekt.runtime.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), 'preparing'): print('in', flush=True); input()"
    )
    command = [sys.executable, "-c", holds, str(copy)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        shutil.rmtree(copy / "clips/ann/ann_sad_1_1")
        with pytest.raises(ValueError, match=rf"in use by process {other.pid}"):
            prepare(folder_config(raw, copy))
        assert not (copy / "clips/ann/ann_sad_1_1").exists()
        other.communicate(b"\n")
    assert prepare(folder_config(raw, copy)).made == 1
    after = {p: p.stat().st_mtime_ns for p in before}
    changed = {path.parent.name for path in before if after[path] != before[path]}
    assert changed == {"ann_sad_1_1"}


def test_lists_are_old_or_new_wherever_a_run_is_killed(copy, monkeypatch):
    rows = [json.loads(line) for line in (copy / MANIFEST).read_text().splitlines()]
    writes = []

    def killed(*arguments):
        if len(writes) == fatal:
            raise KeyboardInterrupt
        writes.append(arguments)
        original(*arguments)

    original = write_lists.__globals__["write_text"]
    monkeypatch.setitem(write_lists.__globals__, "write_text", killed)
    for fatal in range(4):
        writes.clear()
        with pytest.raises(KeyboardInterrupt):
            write_lists(copy, {MANIFEST: rows[: 1 + fatal % 2], "quarantine.jsonl": []})
        assert len(Corpus(copy).clips()) in (3, 2, 1)
    fatal = -1
    write_lists(copy, {MANIFEST: rows, "quarantine.jsonl": []})
    assert faults(copy) == []
    assert len(Corpus(copy).info["lists"][MANIFEST]) == 1


def test_boxes_that_change_make_a_clip_anew_and_corpora_of_before_stay(raw, tmp_path):
    source = dataclasses.replace(
        prepare_module.find_sources(folder_config(raw, tmp_path).corpus).sources[0],
        boxes=tmp_path / "boxes.txt",
    )
    (tmp_path / "boxes.txt").write_text("one")
    stamp = clip_module.stamp(source)
    assert len(stamp) == 3
    for known in (stamp, stamp[:2]):  # of before: no boxes
        assert is_current({"stamp": known}, source)
    (tmp_path / "boxes.txt").write_text("others")
    assert not is_current({"stamp": stamp}, source)
