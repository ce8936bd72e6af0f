"""A prepared corpus gets its flow: what is missing alone, of one method, whatever one clip does."""

import errno
import json
import re

import cv2
import numpy as np
import pytest

from affekt.media.corpus import Corpus
from affekt.media.integrity import FLOW, clip_faults, write_sealed
from affekt.media.video.flow import Dis, confident
from affekt.media.video.flow_store import FILE, resized
from affekt.runtime.files import read_json, write_json
from data_prep import flow as step
from tests.affekt.media.video.test_flow import publish_network
from tests.corpora.portrait_corpus import SIZE, write_portraits

FRAMES = 18  # more than are read at once


@pytest.fixture
def root(tmp_path):
    write_portraits(tmp_path / "corpus", frames=FRAMES)
    return tmp_path / "corpus"


def run(root, *words):
    return step.main([str(root), *words])


def files(root):
    return sorted(root.glob(f"clips/*/*/{FILE}"))


def states(root):
    """Return what tells whether a file was written anew."""
    return {path.parent.name: path.stat().st_mtime_ns for path in files(root)}


def test_every_clip_gets_the_flow_between_its_frames_and_the_corpus_a_record(root, capsys):
    assert run(root) == 0
    assert "4 clips have flow (4 made now)" in capsys.readouterr().out
    cv2.setNumThreads(1)
    for clip in Corpus(root).clips():
        flows, frames = clip.flow(), clip.store()
        assert len(flows) == len(frames) == FRAMES
        read, trusted = flows.read(range(FRAMES), SIZE // 2)
        assert not read[0].any()
        assert not trusted[0].any()
        assert trusted[1:].mean() > 0.8
        for t in (1, 7, 16, 17):
            back, forth = Dis()(frames[t - 1], frames[t])
            wanted, mask = resized(back, confident(back, forth), (SIZE // 2, SIZE // 2))
            assert np.abs(read[t] - wanted).max() <= 1 / 128
            np.testing.assert_array_equal(trusted[t], mask)
        assert np.abs(read[1:]).max() > 0.5  # the head moves
    record = read_json(root / "flow.json")
    assert (record["method"], record["version"], record["clips"]) == ("dis", 1, 4)
    assert (record["settings"]["preset"], record["failed"]) == ("medium", {})
    assert len(record["settings_sha256"]) == 64


def test_a_second_run_makes_only_what_is_missing_damaged_or_of_other_frames(root, tmp_path, capsys):
    run(root)
    write_portraits(tmp_path / "longer", frames=FRAMES + 1)
    run(tmp_path / "longer")
    before = states(root)
    whole = {path.parent.name: path.read_bytes() for path in files(root)}
    other, gone, cut = files(root)[:3]
    files(tmp_path / "longer")[0].replace(other)
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-7])
    capsys.readouterr()
    assert run(root) == 0
    assert "4 clips have flow (3 made now)" in capsys.readouterr().out
    after = states(root)
    assert {name for name in before if before[name] == after[name]} == {
        path.parent.name for path in files(root) if path not in (other, gone, cut)
    }
    assert {path.parent.name: path.read_bytes() for path in files(root)} == whole
    assert read_json(root / "flow.json")["clips"] == 4


def test_a_flipped_byte_of_the_flow_is_found(root):
    assert run(root) == 0
    path = files(root)[0]
    assert not [line for line in clip_faults(path.parent) if "/flow." in line]
    for name in ("flow.pngs", "flow.json"):
        good = (path.parent / name).read_bytes()
        (path.parent / name).write_bytes(good[:40] + bytes([good[40] ^ 1]) + good[41:])
        assert [name in line for line in clip_faults(path.parent) if "/flow." in line] == [True]
        (path.parent / name).write_bytes(good)


def test_processes_make_the_same_flow(root, tmp_path):
    write_portraits(tmp_path / "other", frames=FRAMES)
    assert run(root) == 0
    assert run(tmp_path / "other", "--workers", "1") == 0
    here, there = files(root), files(tmp_path / "other")
    assert len(there) == 4
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(here, there, strict=True))


def test_two_methods_or_versions_are_never_mixed(tmp_path, monkeypatch, capsys):
    root = tmp_path / "small"
    write_portraits(root, splits=("train", "val"), frames=2)
    run(root)
    before = states(root)
    files(root)[0].unlink()  # even where there is something to do
    publish_network(monkeypatch, tmp_path / "weights", "raft_small")
    with pytest.raises(SystemExit) as error:
        run(root, "--method", "raft_small")
    for part in ("flow by dis (version 1", "asked for raft_small (version 1", "--replace"):
        assert part in str(error.value)
    assert len(files(root)) == 1

    assert run(root, "--method", "raft_small", "--replace") == 0
    assert set(states(root).values()).isdisjoint(before.values())
    record = read_json(root / "flow.json")
    assert record["method"] == "raft_small"
    assert record["settings"]["weights"] == "raft_small_C_T_V2-01064c6d.pth"
    assert run(root, "--method", "raft_small") == 0  # and may be continued
    with pytest.raises(SystemExit):
        run(root)
    write_sealed(root / "flow.json", record | {"version": 0, "settings_sha256": "0" * 64})
    with pytest.raises(SystemExit, match=re.escape("raft_small (version 0")):
        run(root, "--method", "raft_small")


def test_flow_of_unknown_origin_is_made_anew(root, capsys):
    run(root)
    before = states(root)
    (root / "flow.json").unlink()
    capsys.readouterr()
    assert run(root) == 0
    assert "(4 made now)" in capsys.readouterr().out
    assert set(states(root).values()).isdisjoint(before.values())


def test_an_interrupted_run_has_said_by_which_method_it_began(root, monkeypatch):
    make = step._make
    done = []

    def stopping(config, clip):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(make(config, clip))
        return done[-1]

    monkeypatch.setattr(step, "_make", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(root)
    assert len(files(root)) == 2
    assert read_json(root / "flow.json")["method"] == "dis"
    monkeypatch.setattr(step, "_make", make)
    before = states(root)
    assert run(root) == 0
    assert before.items() <= states(root).items()


def test_a_clip_with_damaged_frames_is_reported_and_the_others_are_done(root, capsys):
    run(root)
    clip = Corpus(root).clips()[1]
    path = clip.folder / "frames.npy"
    path.write_bytes(path.read_bytes()[:-100])
    files(root)[0].unlink()
    (clip.folder / FILE).write_bytes(b"half")  # it must not stay and mislead
    capsys.readouterr()
    assert run(root) == 1
    out = capsys.readouterr().out
    assert "3 clips have flow (1 made now)" in out
    assert f"failed {clip.id}: {path} is damaged" in out
    assert len(files(root)) == 3
    record = read_json(root / "flow.json")
    assert record["clips"] == 3
    assert "is damaged" in record["failed"][clip.id]


def test_frames_that_are_not_as_many_as_the_manifest_says_are_reported(root, capsys):
    lines = [json.loads(line) for line in (root / "manifest.jsonl").read_text().splitlines()]
    lines[0]["frames"] = 30
    (root / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run(root) == 1
    assert f"has {FRAMES} frames, the manifest 30" in capsys.readouterr().out


def test_a_full_disk_ends_the_run(root, monkeypatch, capsys):
    def full(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(step, "flow_writer", full)
    with pytest.raises(SystemExit, match=re.escape("[Errno 28] No space left")):
        run(root)


def test_a_corpus_that_cannot_have_flow_is_refused_with_a_reason(root, tmp_path, capsys):
    with pytest.raises(SystemExit, match="is no prepared corpus"):
        run(tmp_path / "nothing")
    info = read_json(root / "corpus.json")
    write_json(root / "corpus.json", {"schema": info["schema"]})
    with pytest.raises(SystemExit, match="stores no frames"):
        run(root)
    assert not (root / "flow.json").exists()


def test_missing_weights_leave_the_corpus_as_it_was(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AFFEKT_WEIGHTS", str(tmp_path))
    run(root)
    before = states(root)
    with pytest.raises(
        SystemExit, match=re.escape("raft_large_C_T_SKHT_V2-ff5fadd5.pth is missing")
    ):
        run(root, "--method", "raft", "--replace")
    assert states(root) == before


def test_the_help_shows_the_command_and_what_the_methods_need(capsys):
    with pytest.raises(SystemExit):
        step.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "python -m data_prep.flow data/mini" in text
    assert "RAFT, which needs weights (default: dis)" in text


def test_shares_made_apart_are_the_flow_of_one_run(root):
    assert run(root) == 0
    alone = {path: path.read_bytes() for path in files(root)}, (root / FLOW).read_bytes()
    for path in (root / FLOW, *files(root)):
        path.unlink()
    made = []
    for index in range(2):
        assert run(root, "--shard", f"{index}/2") == 0
        made.append(len(files(root)))
    assert made[-1] == len(alone[0])
    before = states(root)
    assert run(root) == 0
    assert states(root) == before
    assert (
        {path: path.read_bytes() for path in files(root)},
        (root / FLOW).read_bytes(),
    ) == alone
    # A share neither discards nor keeps what nobody knows
    (root / FLOW).unlink()
    with pytest.raises(SystemExit, match="unknown method"):
        run(root, "--shard", "0/2")
    with pytest.raises(SystemExit, match="a shard cannot replace"):
        run(root, "--shard", "0/2", "--replace")


def test_a_clip_whose_flow_takes_too_long_has_none(root):
    manifest = root / "manifest.jsonl"
    manifest.write_text(manifest.read_text().splitlines(True)[0])
    (clip,) = Corpus(root).clips()
    flows = step.make_flow(step.Config(root, workers=1, clip_seconds=1e-3, progress=False))
    assert flows.failed == {clip.id: "it took longer than 0.001 s"}
    assert not (clip.folder / FILE).exists()
    with pytest.raises(ValueError, match="wanted more than 0"):
        step.Config(root, clip_seconds=0)
