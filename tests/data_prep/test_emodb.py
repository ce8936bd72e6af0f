"""Emo-DB as a prepared corpus: names, splits, trimming; the real files where they are."""

import numpy as np
import pytest
import soundfile

from affekt.media.corpus import Corpus
from affekt.runtime.files import read_jsonl
from data_prep.emodb import Config, prepare


@pytest.fixture
def source(tmp_path):
    (tmp_path / "emodb/wav").mkdir(parents=True)
    speech = 0.3 * np.random.default_rng(0).standard_normal(22050)
    padded = np.concatenate([speech, np.zeros(22050)])
    for name in ("03a01Fa", "03a01Lb", "03b09Wa", "16a07Na"):
        soundfile.write(tmp_path / f"emodb/wav/{name}.wav", padded, 22050)
    return tmp_path / "emodb"


def test_names_become_clips_and_texts_splits(source, tmp_path):
    assert prepare(Config(source, tmp_path / "out"), progress=False) == {
        "written": 4,
        "at_hand": 0,
        "refused": 0,
    }
    corpus = Corpus(tmp_path / "out")
    assert corpus.emotions == ("angry", "bored", "disgusted", "fear", "happy", "neutral", "sad")
    clips = {clip.id: clip for clip in corpus.clips()}
    assert {name: clip.split for name, clip in clips.items()} == {
        "03_happy_1_a01a": "train",
        "03_bored_1_a01b": "train",
        "03_angry_1_b09a": "test_sentence",
        "16_neutral_1_a07a": "test_sentence",
    }
    clip = clips["03_happy_1_a01a"]
    assert (clip.speaker, clip.emotion, clip.sentence) == ("03", "happy", "a01")


def test_quiet_ends_are_trimmed_and_sound_and_windows_have_the_same_frames(source, tmp_path):
    prepare(Config(source, tmp_path / "out"), progress=False)
    clip = Corpus(tmp_path / "out").clip("03_happy_1_a01a")
    assert clip.frames in (25, 26)  # one second of two is silence
    assert len(clip.audio()) == 640 * clip.frames
    assert clip.windows().shape == (clip.frames, 28, 12)


def test_a_second_run_makes_nothing_anew(source, tmp_path):
    config = Config(source, tmp_path / "out")
    prepare(config, progress=False)
    before = (tmp_path / "out/manifest.jsonl").read_text()
    assert prepare(config, progress=False) == {"written": 0, "at_hand": 4, "refused": 0}
    assert (tmp_path / "out/manifest.jsonl").read_text() == before


def test_bad_files_are_listed_and_do_not_stop_the_rest(source, tmp_path):
    (source / "wav/03a02Fa.wav").write_bytes(b"RIFF")
    soundfile.write(source / "wav/notes.wav", np.ones(800), 16000)
    soundfile.write(source / "wav/03a04Na.wav", np.zeros(16000), 16000)
    assert prepare(Config(source, tmp_path / "out"), progress=False) == {
        "written": 4,
        "at_hand": 0,
        "refused": 3,
    }
    refused = {
        row["path"].split("/")[-1]: row for row in read_jsonl(tmp_path / "out/quarantine.jsonl")
    }
    assert set(refused) == {"03a02Fa.wav", "03a04Na.wav", "notes.wav"}
    assert "nothing is louder" in refused["03a04Na.wav"]["message"]
    assert "not named" in refused["notes.wav"]["message"]
    assert not list((tmp_path / "out/clips").rglob("*a04*"))


def test_an_unknown_text_is_refused(source, tmp_path):
    with pytest.raises(ValueError, match=r"unknown texts \['c01'\]"):
        Config(source, tmp_path / "out", held_out=("c01",))


def test_a_folder_without_files_says_what_to_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="set source to Emo-DB's folder"):
        prepare(Config(tmp_path, tmp_path / "out"), progress=False)


@pytest.mark.data
def test_the_real_files_become_423_clips_of_8_speakers(media_root, tmp_path):
    counts = prepare(Config(media_root / "emodb", tmp_path / "out"), progress=False)
    corpus = Corpus(tmp_path / "out")
    assert counts == {"written": 423, "at_hand": 0, "refused": 0}
    assert len(corpus.speakers) == 8
    assert {clip.sentence for clip in corpus.clips("test_sentence")} == {"a07", "b09", "b10"}
    assert max(clip.frames for clip in corpus.clips()) <= 50  # two seconds
