"""Emo-DB as a prepared corpus of sound: names, splits, trimming; the real files where they are."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from affekt.media.audio.mfcc import clip_mfcc
from affekt.media.corpus import Corpus
from affekt.runtime.config import ConfigError, load_config
from affekt.runtime.files import read_jsonl
from data_prep.prepare import Config, prepare

EMODB = Path(__file__).parents[2] / "configs/real/emodb.yaml"


def config_of(root, out, *overrides):
    arguments = (f"corpus.root={root}", f"out={out}", "workers=0", "progress=false")
    return load_config(Config, EMODB, [*arguments, *overrides])


@pytest.fixture
def source(tmp_path):
    (tmp_path / "emodb/wav").mkdir(parents=True)
    speech = 0.3 * np.random.default_rng(0).standard_normal(22050)
    padded = np.concatenate([speech, np.zeros(22050)])
    for name in ("03a01Fa", "03a01Lb", "03b09Wa", "16a07Na"):
        soundfile.write(tmp_path / f"emodb/wav/{name}.wav", padded, 22050)
    return tmp_path / "emodb"


def test_names_become_clips_and_texts_splits(source, tmp_path):
    result = prepare(config_of(source, tmp_path / "out"))
    assert (result.made, result.quarantine) == (4, [])
    corpus = Corpus(tmp_path / "out")
    assert corpus.emotions == ("angry", "bored", "disgusted", "fear", "happy", "neutral", "sad")
    assert corpus.info["detector"] is None
    clips = {clip.id: clip for clip in corpus.clips()}
    assert {name: clip.split for name, clip in clips.items()} == {
        "03_happy_1_a01a": "train",
        "03_bored_1_a01b": "train",
        "03_angry_1_b09a": "test_sentence",
        "16_neutral_1_a07a": "test_sentence",
    }
    clip = clips["03_happy_1_a01a"]
    assert (clip.speaker, clip.emotion, clip.sentence) == ("03", "happy", "a01")
    assert clip.source == str(source / "wav/03a01Fa.wav")


def test_quiet_ends_are_trimmed_and_sound_and_windows_have_the_same_frames(source, tmp_path):
    prepare(config_of(source, tmp_path / "out"))
    clip = Corpus(tmp_path / "out").clip("03_happy_1_a01a")
    assert clip.frames in (25, 26)  # one second of two is silence
    assert len(clip.audio()) == 640 * clip.frames
    assert clip.windows().shape == (clip.frames, 28, 12)
    np.testing.assert_allclose(clip.mfcc(), clip_mfcc(clip.audio(), clip.frames), atol=0.05)
    assert {path.name for path in clip.folder.iterdir()} == {"audio.wav", "clip.json", "mfcc.npy"}


def test_a_second_run_makes_nothing_anew(source, tmp_path):
    config = config_of(source, tmp_path / "out")
    prepare(config)
    before = (tmp_path / "out/manifest.jsonl").read_text()
    assert prepare(config).made == 0
    assert (tmp_path / "out/manifest.jsonl").read_text() == before


def test_bad_files_are_listed_and_do_not_stop_the_rest(source, tmp_path, caplog):
    (source / "wav/03a02Fa.wav").write_bytes(b"RIFF")
    soundfile.write(source / "wav/notes.wav", np.ones(800), 16000)
    soundfile.write(source / "wav/03a04Na.wav", np.zeros(16000), 16000)
    assert prepare(config_of(source, tmp_path / "out")).made == 4
    assert "1 files do not fit" in caplog.text
    assert "notes.wav" in caplog.text
    refused = {Path(row["path"]).name: row for row in read_jsonl(tmp_path / "out/quarantine.jsonl")}
    assert set(refused) == {"03a02Fa.wav", "03a04Na.wav"}
    assert "nothing is louder" in refused["03a04Na.wav"]["message"]
    assert not list((tmp_path / "out/clips").rglob("*a04*"))


def test_settings_that_do_not_fit_are_refused(source, tmp_path):
    with pytest.raises(ConfigError, match=r"unknown texts \['c01'\]"):
        config_of(source, tmp_path / "out", "split.test_sentences=[c01]")
    with pytest.raises(ConfigError, match=r"audio\.trim_below would shift"):
        config_of(source, tmp_path / "out", "corpus.layout=folder")
    with pytest.raises(FileNotFoundError, match=r"did you mean corpus\.root=\S*/emodb"):
        prepare(config_of(tmp_path, tmp_path / "out"))


@pytest.mark.data
def test_the_real_files_become_423_clips_of_8_speakers(media_root, tmp_path):
    result = prepare(config_of(media_root / "emodb", tmp_path / "out"))
    corpus = Corpus(tmp_path / "out")
    assert (result.made, result.quarantine) == (423, [])
    assert len(corpus.speakers) == 8
    assert {clip.sentence for clip in corpus.clips("test_sentence")} == {"a07", "b09", "b10"}
    assert max(clip.frames for clip in corpus.clips()) <= 50  # two seconds
