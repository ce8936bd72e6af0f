"""Bad clips are refused with their reason, and stop nothing."""

import dataclasses
import errno
import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from affekt.media.audio.reader import write_wav
from affekt.media.corpus import Corpus
from affekt.media.faces.track import FramesConfig
from affekt.media.video.video import write_video
from data_prep import prepare as prepare_module
from data_prep.clips import clip as clip_module
from data_prep.clips.clip import ClipConfig, DetectorConfig, Engine
from data_prep.clips.layouts.config import CorpusConfig, Source
from data_prep.clips.layouts.listing import find_sources
from data_prep.prepare import Config, prepare
from tests.corpora.drawn_face import draw_face, folder_config, talking, talking_clip, tone

pytestmark = pytest.mark.usefixtures("one_detector")

SIZE = 128


def refusals(out):
    lines = (out / "quarantine.jsonl").read_text().splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


def bad_clips(root):
    """Write a bad clip of each kind; return the reason that each should be refused for."""
    good = talking_clip(root / "ann_happy_good.mp4", 30, SIZE).read_bytes()
    blank = np.full((SIZE, SIZE, 3), 90, np.uint8)
    (root / "ann_sad_empty.mp4").touch()
    (root / "ann_sad_noise.mp4").write_bytes(np.random.default_rng(0).bytes(9000))
    (root / "ann_sad_half.mp4").write_bytes(good[: len(good) // 2])
    talking_clip(root / "ann_sad_mute.mp4", 12, SIZE, sound=False)
    write_video(root / "ann_sad_noface.mp4", [blank] * 12, tone(12))
    write_video(root / "ann_sad_gone.mp4", [*talking(10, SIZE), *[blank] * 6], tone(16))
    write_video(root / "ann_sad_late.mp4", [*[blank] * 6, *talking(10, SIZE)], tone(16))
    talking_clip(root / "ann_sad_short.mp4", 6, SIZE)
    write_video(root / "ann_sad_silent.mp4", talking(12, SIZE), np.zeros(12 * 640))
    moved = [draw_face(256, center=(x, 0.5), height=0.4) for x in [0.25] * 8 + [0.75] * 8]
    write_video(root / "ann_sad_jump.mp4", moved, tone(16))
    return {
        "empty": ("read", "empty"),
        "noise": ("read", "damaged"),
        "half": ("read", "truncated"),
        "mute": ("sound", "no_audio"),
        "noface": ("face", "no_face"),
        "gone": ("face", "face_vanishes"),
        "late": ("face", "face_vanishes"),
        "short": ("read", "too_short"),
        "silent": ("sound", "silent"),
        "jump": ("face", "face_jumps"),
    }


def test_bad_clips_are_refused_with_their_reason_and_stop_nothing(tmp_path, capsys):
    root, out = tmp_path / "raw", tmp_path / "out"
    root.mkdir()
    wanted = bad_clips(root)
    result = prepare(folder_config(root, out))
    assert [row["id"] for row in result.manifest] == ["ann_happy_1_good"]
    refused = refusals(out)
    found = {name.split("_")[-1]: (row["stage"], row["reason"]) for name, row in refused.items()}
    assert found == wanted
    for name, row in refused.items():
        assert Path(row["path"]).name in row["message"], name
    assert "frame 10 to 15" in refused["ann_sad_1_gone"]["message"]
    assert sorted(path.name for path in out.glob("clips/*/*")) == ["ann_happy_1_good"]
    assert "no_face 1" in prepare_module.summary(result, out)


def test_refused_sources_are_tried_again_when_they_change_or_on_demand(tmp_path, monkeypatch):
    root, out = tmp_path / "raw", tmp_path / "out"
    talking_clip(root / "ann_happy_1.mp4", 12, SIZE)
    (root / "ann_sad_1.mp4").write_bytes(b"nothing")
    config = folder_config(root, out)
    assert len(prepare(config).quarantine) == 1
    tried = []
    original = clip_module.prepare_clip

    def counting(source, *rest):
        tried.append(source.id)
        return original(source, *rest)

    monkeypatch.setattr(clip_module, "prepare_clip", counting)
    assert len(prepare(config).quarantine) == 1
    assert tried == []
    prepare(dataclasses.replace(config, retry=True))
    assert tried == ["ann_sad_1_1"]
    talking_clip(root / "ann_sad_1.mp4", 12, SIZE)
    result = prepare(config)
    assert tried == ["ann_sad_1_1"] * 2
    assert (len(result.manifest), result.quarantine) == (2, [])


def test_a_good_source_that_turns_bad_leaves_the_corpus(tmp_path):
    root, out = tmp_path / "raw", tmp_path / "out"
    for name in ("ann_happy_1", "ann_sad_1"):
        talking_clip(root / f"{name}.mp4", 12, SIZE)
    config = folder_config(root, out)
    prepare(config)
    (root / "ann_sad_1.mp4").write_bytes(b"")
    result = prepare(config)
    assert [row["id"] for row in result.manifest] == ["ann_happy_1_1"]
    assert not (out / "clips/ann/ann_sad_1_1").exists()


@pytest.mark.parametrize("name", ["missing", "empty", "mute"])
def test_optional_sound_is_silence_only_where_there_is_none(tmp_path, name):
    root = tmp_path / "raw"
    talking_clip(root / "ann_happy_1.mp4", 12, SIZE, sound=False)
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    if name == "empty":
        (sounds / "ann_happy_1.wav").touch()
    corpus = CorpusConfig("folder", root, sound="optional", sound_folder=sounds)
    result = prepare(folder_config(root, tmp_path / "out", corpus=corpus))
    if name == "empty":  # a sound that is there and broken is not silence
        assert result.quarantine[0]["reason"] == "empty"
        return
    clip = Corpus(tmp_path / "out").clips()[0]
    assert not clip.audio().any()
    assert np.isfinite(clip.mfcc()).all()


def test_sound_that_ends_much_earlier_than_the_pictures_is_refused(tmp_path):
    root = tmp_path / "raw"
    talking_clip(root / "video/ann_happy_1.mp4", 25, SIZE, sound=False)
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    corpus = CorpusConfig("folder", root / "video", sound_folder=sounds)
    config = folder_config(root, tmp_path / "out", corpus=corpus)
    soundfile.write(sounds / "ann_happy_1.wav", tone(20), 16_000)
    assert prepare(config).quarantine[0]["reason"] == "audio_short"
    soundfile.write(sounds / "ann_happy_1.wav", tone(24), 16_000)
    assert prepare(config).made == 1
    samples = Corpus(tmp_path / "out").clips()[0].audio()
    assert samples.shape == (25 * 640,)
    assert not samples[24 * 640 :].any()  # padded with zeros


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_stops_the_run_and_leaves_nothing_half_written(raw, tmp_path, monkeypatch):
    out = tmp_path / "out"
    config = folder_config(raw, out)
    calls = []

    def second_fails(path):
        calls.append(path)
        if len(calls) == 2:
            full_disk()
        return original(path)

    original = clip_module.wav_writer
    monkeypatch.setattr(clip_module, "wav_writer", second_fails)
    with pytest.raises(OSError, match="No space left"):
        prepare(config)
    monkeypatch.setattr(clip_module, "wav_writer", original)
    assert [path.name for path in out.glob("clips/*/*")] == ["ann_happy_1_1"]  # no hidden rest
    assert len(Corpus(out).clips()) == 1
    assert not refusals(out)
    result = prepare(config)
    assert (result.made, len(result.manifest)) == (2, 3)


def test_an_unforeseen_error_refuses_one_clip(raw, tmp_path, monkeypatch):
    original = clip_module.prepare_clip

    def surprising(source, *rest):
        if source.emotion == "sad":
            raise ZeroDivisionError("a bug")
        return original(source, *rest)

    monkeypatch.setattr(clip_module, "prepare_clip", surprising)
    result = prepare(folder_config(raw, tmp_path / "out"))
    assert result.made == 2
    assert result.quarantine[0]["reason"] == "failed"
    assert "ZeroDivisionError: a bug" in result.quarantine[0]["message"]


@dataclasses.dataclass(frozen=True)
class DeadlySource(Source):
    """Takes down the process that prepares it, as a fault in a decoder would."""

    parent: int = 0

    @property
    def id(self):
        if os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return "deadly"


def test_a_clip_that_kills_its_process_is_refused_and_the_others_are_made(raw, tmp_path):
    job = clip_module.PrepareJob(tmp_path, ClipConfig(FramesConfig(size=64)), DetectorConfig())
    sources = find_sources(folder_config(raw, tmp_path).corpus).sources
    deadly = DeadlySource(**vars(sources[0]), parent=os.getpid())
    found = list(clip_module.outcomes([deadly, *sources[1:]], job, Engine(1)))
    assert {outcome.source.video.name: outcome.reason for outcome in found} == {
        "ann_happy_1.mp4": "failed",
        "ann_neutral_2.mp4": None,
        "ann_sad_1.mp4": None,
    }


@dataclasses.dataclass(frozen=True)
class EndlessSource(Source):
    """Holds the process that prepares it for ever, as a hostile file would."""

    parent: int = 0

    @property
    def id(self):
        if os.getpid() != self.parent:
            time.sleep(600)
        return "endless"


def test_a_clip_that_takes_too_long_is_refused_and_the_others_are_made(tmp_path):
    for name in "ab":
        write_wav(tmp_path / f"{name}.wav", tone(12))
    config = CorpusConfig("folder", tmp_path, speaker="ann", sound_only=True)
    first, second = find_sources(config).sources
    endless = EndlessSource(**vars(first), parent=os.getpid())
    job = clip_module.PrepareJob(tmp_path / "out", ClipConfig(None), DetectorConfig())
    found = list(clip_module.outcomes([endless, second], job, Engine(1, seconds=12)))
    assert [(outcome.reason, outcome.source.video.name) for outcome in found] == [
        ("timeout", "a.wav"),
        (None, "b.wav"),
    ]
    assert re.search("longer than 12 s; .*clip_seconds, and retry=true", found[0].message)


def test_a_clip_above_the_length_that_is_allowed_is_refused(tmp_path):
    write_wav(tmp_path / "raw/long.wav", np.tile(tone(25), 5))
    write_wav(tmp_path / "raw/short.wav", tone(25))
    corpus = CorpusConfig("folder", tmp_path / "raw", speaker="ann", sound_only=True)
    config = Config(corpus, out=tmp_path / "out", workers=0, clip_minutes=0.05, progress=False)
    result = prepare(config)
    assert [row["id"] for row in result.manifest] == ["ann_neutral_1_short"]
    refusal = result.quarantine[0]
    assert refusal["reason"] == "too_long"
    assert "long.wav lasts 0.1 minutes or more; the limit is 0.05" in refusal["message"]


@pytest.mark.data
def test_real_edge_cases_are_refused_for_the_right_reason(media_root, tmp_path):
    corpus = CorpusConfig("folder", media_root / "edge")
    result = prepare(folder_config(media_root, tmp_path / "out", corpus=corpus))
    reasons = {Path(row["path"]).name: row["reason"] for row in result.quarantine}
    assert reasons == {"face_noface.mov": "face_vanishes", "no_face.mp4": "no_face"}
    assert [Path(row["source"]).name for row in result.manifest] == ["single_face.mp4"]
