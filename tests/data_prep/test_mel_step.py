import numpy as np
import pytest

from affekt.media.audio.mel import log_mel
from affekt.media.audio.reader import write_wav
from affekt.media.corpus import Corpus
from affekt.media.integrity import clip_faults, write_sealed
from affekt.runtime.files import read_json
from data_prep import mel as step
from tests.corpora.prepared import write_clip, write_corpus

FRAMES = 10


@pytest.fixture
def root(tmp_path):
    """A prepared corpus of four clips, each a tone of its own."""
    rows = []
    for number in range(1, 5):
        pictures = np.zeros((FRAMES, 8, 8, 3), np.uint8)
        rows.append(write_clip(tmp_path, "M901", number, pictures))
        folder = tmp_path / "clips" / "M901" / rows[-1]["id"]
        seconds = np.arange(640 * FRAMES) / 16_000
        write_wav(folder / "audio.wav", 0.3 * np.sin(2 * np.pi * 200 * number * seconds))
        write_sealed(folder / "clip.json", {"files": {}})
    write_corpus(tmp_path, rows)
    return tmp_path


def run(root, *words):
    return step.main([str(root), *words])


def stamps(root):
    return {clip.id: (clip.folder / "mel.npy").stat().st_mtime_ns for clip in Corpus(root).clips()}


def test_every_clip_gets_the_log_mel_of_its_sound_and_a_sealed_record(root, capsys):
    assert run(root) == 0
    assert "4 clips have a log-mel (4 made now)" in capsys.readouterr().out
    for clip in Corpus(root).clips():
        np.testing.assert_array_equal(clip.mel(), log_mel(clip.audio()))
        assert clip.mel().shape == (33, 80)
        assert clip_faults(clip.folder) == []
    loudest = [int(clip.mel()[16].argmax()) for clip in Corpus(root).clips()]
    assert loudest == sorted(set(loudest))  # a higher tone is a higher row
    record = read_json(root / "mel.json")
    assert (record["clips"], record["failed"], record["settings"]["bins"]) == (4, {}, 80)


def test_a_second_run_makes_what_is_missing_damaged_or_of_other_settings(root, monkeypatch, capsys):
    run(root)
    before = stamps(root)
    gone, cut, _, _ = Corpus(root).clips()
    (gone.folder / "mel.npy").unlink()
    (cut.folder / "mel.json").write_text("{ damaged")
    capsys.readouterr()
    assert run(root) == 0
    assert "(2 made now)" in capsys.readouterr().out
    after = stamps(root)
    assert {name for name in before if before[name] != after[name]} == {gone.id, cut.id}
    monkeypatch.setitem(step.SETTINGS, "version", 2)
    run(root)
    assert "(4 made now)" in capsys.readouterr().out


def test_a_clip_without_sound_or_of_another_length_is_named_and_stops_nothing(root, capsys):
    run(root)
    mute, short, *_ = Corpus(root).clips()
    (mute.folder / "audio.wav").unlink()
    write_wav(short.folder / "audio.wav", np.zeros(640 * 9))
    for clip in Corpus(root).clips():
        (clip.folder / "mel.json").unlink()
    capsys.readouterr()
    assert run(root) == 1
    printed = capsys.readouterr().out
    assert "2 clips have a log-mel (2 made now)" in printed
    assert f"failed {mute.id}" in printed
    assert "has 5760 samples, wanted 6400" in printed
    assert not (mute.folder / "mel.npy").exists()  # the old one would mislead
    assert read_json(root / "mel.json")["failed"].keys() == {mute.id, short.id}


def test_shares_and_processes_make_what_one_run_makes(root):
    run(root)
    alone = [clip.mel() for clip in Corpus(root).clips()]
    summed = (root / "mel.json").read_bytes()
    for path in (root / "mel.json", *root.glob("clips/*/*/mel.*")):
        path.unlink()
    for share in ("1/2", "0/2"):
        assert run(root, "--shard", share, "--workers", "2") == 0
    assert not (root / "mel.json").exists()
    assert step.make_mel(step.Config(root, progress=False)).made == 0
    np.testing.assert_array_equal([clip.mel() for clip in Corpus(root).clips()], alone)
    assert (root / "mel.json").read_bytes() == summed


def test_the_command_says_what_is_missing(tmp_path):
    with pytest.raises(SystemExit, match=r"run python -m data_prep\.prepare"):
        run(tmp_path)
    with pytest.raises(SystemExit, match="wanted i/n"):
        run(tmp_path, "--shard", "3/3")
