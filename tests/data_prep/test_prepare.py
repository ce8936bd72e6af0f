"""A corpus as published becomes a prepared one; bad clips are refused, and stop nothing."""

import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from affekt.media.audio.mfcc import clip_mfcc
from affekt.media.audio.reader import write_wav
from affekt.media.corpus import Corpus
from affekt.media.faces import track as track_module
from affekt.media.faces.crop import cut
from affekt.media.faces.detector import make_detector
from affekt.media.faces.track import FramesConfig, track_face
from affekt.media.video.video import MediaError, read_video, write_video
from data_prep import prepare as prepare_module
from data_prep.clips import clip as clip_module
from data_prep.clips.clip import AudioConfig, ClipConfig, DetectorConfig, Engine, MfccConfig
from data_prep.clips.layouts.config import CorpusConfig, Source
from data_prep.clips.layouts.listing import find_sources
from data_prep.clips.splits import SplitConfig, split_of, splits_of
from data_prep.prepare import Config, main, prepare
from tests.corpora.drawn_face import draw_face, folder_config, talking, talking_clip, tone

SIZE = 128


pytestmark = pytest.mark.usefixtures("one_detector")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Three good clips of one speaker."""
    root = tmp_path_factory.mktemp("raw")
    for name, frames in (("ann_happy_1", 12), ("ann_sad_1", 14), ("ann_neutral_2", 10)):
        talking_clip(root / f"{name}.mp4", frames, SIZE)
    return root


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "corpus"
    result = prepare(folder_config(raw, out))
    return result, Corpus(out)


def refusals(out):
    lines = (out / "quarantine.jsonl").read_text().splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


def test_a_prepared_clip_holds_what_the_design_says(prepared, raw):
    result, corpus = prepared
    assert [clip.id for clip in corpus.clips()] == [
        "ann_happy_1_1",
        "ann_neutral_1_2",
        "ann_sad_1_1",
    ]
    assert (result.made, result.quarantine) == (3, [])
    clip = corpus.clip("ann_sad_1_1")
    assert (clip.speaker, clip.emotion, clip.level, clip.sentence) == ("ann", "sad", 1, "1")
    assert (clip.split, clip.frames) == ("train", 14)
    assert clip.source == str(raw / "ann_sad_1.mp4")
    names = {path.name for path in clip.folder.iterdir()}
    assert names == {
        "audio.wav",
        "clip.json",
        "crop.json",
        "frames.jpegs",
        "landmarks.npy",
        "landmarks3d.npy",
        "mfcc.npy",
    }
    assert clip.folder == corpus.root / "clips/ann/ann_sad_1_1"
    assert clip.landmarks().shape == (14, 68, 2)
    assert clip.landmarks3d().dtype == np.float32
    assert clip.windows().shape == (14, 28, 12)
    assert clip.audio().shape == (14 * 640,)
    assert clip.store()[3:7].shape == (4, 64, 64, 3)
    np.testing.assert_allclose(clip.mfcc(), clip_mfcc(clip.audio(), 14), atol=1e-6)
    with soundfile.SoundFile(clip.folder / "audio.wav") as file:
        assert (file.samplerate, file.channels, file.subtype) == (16_000, 1, "PCM_16")
    info = corpus.info
    assert (info["fps"], info["sample_rate"], info["profile"], info["size"]) == (
        25,
        16_000,
        "portrait",
        64,
    )
    assert info["detector"].startswith("mediapipe")


def test_stored_landmarks_lie_on_the_stored_face(prepared, one_detector):
    clip = prepared[1].clip("ann_sad_1_1")
    for k in (0, 6, 13):
        again = one_detector.detect(clip.store()[k]).points
        assert np.abs(again - clip.stored_landmarks()[k]).mean() < 1.5  # of 64 px


def test_clips_appear_in_the_frames_of_their_crop(prepared, raw):
    clip = prepared[1].clip("ann_happy_1_1")
    again = np.stack([cut(f, clip.crop()) for f in read_video(raw / "ann_happy_1.mp4")])
    assert np.abs(clip.store()[:].astype(float) - again).mean() < 2


def test_running_again_does_only_what_is_missing_or_changed(raw, tmp_path):
    shutil.copytree(raw, tmp_path / "raw")
    out = tmp_path / "out"
    config = folder_config(tmp_path / "raw", out)
    assert prepare(config).made == 3
    before = {p: p.stat().st_mtime_ns for p in out.glob("clips/*/*/*")}
    assert prepare(config).made == 0
    assert {p: p.stat().st_mtime_ns for p in out.glob("clips/*/*/*")} == before
    shutil.rmtree(out / "clips/ann/ann_sad_1_1")
    (out / "manifest.jsonl").unlink()
    assert prepare(config).made == 1
    talking_clip(tmp_path / "raw/ann_happy_1.mp4", 20, SIZE)
    result = prepare(config)
    assert (result.made, len(result.manifest)) == (1, 3)
    assert Corpus(out).clip("ann_happy_1_1").frames == 20


def test_two_runs_write_the_same_bytes(raw, tmp_path):
    for name in ("one", "two"):
        prepare(folder_config(raw, tmp_path / name))
    files = sorted(path for path in (tmp_path / "one").rglob("*.*") if path.is_file())
    files = [path for path in files if path.name != ".lock"]  # it names the process
    assert len(files) > 20
    for path in files:
        twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == twin.read_bytes(), path.name


def test_two_processes_do_as_one(raw, tmp_path, prepared):
    result = prepare(folder_config(raw, tmp_path / "out", workers=2))
    assert result.made == 3
    for mine, other in zip(Corpus(tmp_path / "out").clips(), prepared[1].clips(), strict=True):
        np.testing.assert_array_equal(mine.landmarks(), other.landmarks())


def test_other_settings_are_refused_and_named(raw, prepared):
    _, corpus = prepared
    config = folder_config(raw, corpus.root, frames=FramesConfig(size=96))
    with pytest.raises(ValueError, match=r"frames\.size = 64, now 96.*another out="):
        prepare(config)
    renamed = dataclasses.replace(config, frames=FramesConfig(size=64), workers=0, retry=True)
    assert prepare(renamed).made == 0  # retry and workers are no settings


@pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated")  # librosa's audioread
def test_the_libraries_of_the_releases_can_be_chosen_and_give_the_same_corpus(
    raw, tmp_path, prepared
):
    by_library = {"audio": AudioConfig("librosa"), "mfcc": MfccConfig("python_speech_features")}
    prepare(folder_config(raw, tmp_path / "out", **by_library))
    for mine, other in zip(Corpus(tmp_path / "out").clips(), prepared[1].clips(), strict=True):
        np.testing.assert_allclose(mine.mfcc(), other.mfcc(), atol=1e-4)
    assert "mfcc" not in prepared[1].info["settings"]  # corpora from before the option stay valid
    with pytest.raises(
        ValueError, match=r"mfcc = \{'backend': 'python_speech_features'\}, now None"
    ):
        prepare(folder_config(raw, tmp_path / "out", audio=by_library["audio"]))


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


def test_short_gaps_are_filled_by_straight_lines_and_named(tmp_path, one_detector):
    blank = np.full((SIZE, SIZE, 3), 90, np.uint8)
    faces = [draw_face(SIZE, center=(0.4 + 0.01 * k, 0.5)) for k in range(20)]
    for k in (0, 1, 8, 9, 10, 19):
        faces[k] = blank
    write_video(tmp_path / "a.mp4", faces, tone(20))
    found = track_face(tmp_path / "a.mp4", one_detector)
    assert found.filled == (0, 1, 8, 9, 10, 19)
    points = found.landmarks
    np.testing.assert_array_equal(points[0], points[2])
    np.testing.assert_array_equal(points[19], points[18])
    np.testing.assert_allclose(points[9], (points[7] + points[11]) / 2, atol=1e-3)
    np.testing.assert_allclose(found.landmarks3d[..., :2], points, atol=1e-3)
    written = []
    track_face(tmp_path / "a.mp4", one_detector, FramesConfig(size=64), written.append)
    assert len(written) == 20


def test_a_video_is_analysed_as_a_stream(tmp_path, one_detector, monkeypatch):
    """Frames are handed on while the video is read: none but the current one is kept."""
    talking_clip(tmp_path / "a.mp4", 30, SIZE)
    events = []
    original = track_module.read_video

    def watched(path):
        for k, frame in enumerate(original(path)):
            events.append(f"read {k}")
            yield frame

    monkeypatch.setattr(track_module, "read_video", watched)
    track_face(
        tmp_path / "a.mp4", one_detector, FramesConfig(size=64), lambda frame: events.append("cut")
    )
    assert events == [event for k in range(30) for event in (f"read {k}", "cut")]


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


def write_sound(path, rate=48_000, channels=2, depth=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.repeat(np.sin(np.arange(rate) / 20)[:, None], channels, axis=1)
    if depth:
        soundfile.write(path, 0.3 * samples, rate, subtype=depth, format="WAV")
        return
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo")
        data = np.ascontiguousarray(0.3 * samples.T).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(data, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def mead(root):
    """MEAD's folders: pictures and sound apart, one clip with its own sound, a second view."""
    front, audio = root / "M901/video/front", root / "M901/audio"
    talking_clip(front / "angry/level_3/001.mp4", 25, SIZE, sound=False)
    write_sound(audio / "angry/level_3/001.m4a")
    talking_clip(front / "angry/level_3/012.mp4", 25, SIZE)
    talking_clip(front / "disgust/level_1/001.mp4", 25, SIZE, sound=False)
    write_sound(audio / "disgust/level_1/001.wav", depth="PCM_U8", channels=1)
    talking_clip(front / "neutral/level_1/001.mp4", 25, SIZE, sound=False)
    write_sound(audio / "neutral/level_1/001.m4a")
    talking_clip(root / "M901/video/lively/angry/level_3/002.mp4", 25, SIZE, sound=False)
    write_sound(root / "M901/audio_lively/angry/level_3/002.m4a")
    talking_clip(root / "truth/M901/front/angry/level_3/001.mp4", 8, SIZE)  # not a clip
    return root


def test_meads_folders_are_understood(tmp_path):
    root = mead(tmp_path / "raw")
    config = Config(
        CorpusConfig("mead", root, views=("front", "lively"), levels=(3,)),
        SplitConfig(test_numbers_below=10),
        frames=FramesConfig(size=64),
        out=tmp_path / "out",
        workers=0,
        progress=False,
    )
    prepare(config)
    clips = {clip.id: clip for clip in Corpus(tmp_path / "out").clips()}
    assert {name: clip.split for name, clip in clips.items()} == {
        "M901_angry_3_001": "test_sentence",
        "M901_angry_3_002_lively": "test_sentence",
        "M901_angry_3_012": "train",
        "M901_neutral_1_001": "test_sentence",  # neutral has level 1 alone: kept
    }
    assert all(clip.audio().any() for clip in clips.values())
    assert clips["M901_angry_3_001"].sentence == clips["M901_neutral_1_001"].sentence == "001"
    everything = find_sources(dataclasses.replace(config.corpus, levels=()))
    assert [source.emotion for source in everything.sources].count("disgusted") == 1


def test_a_sentence_table_says_which_files_are_the_same_sentence(tmp_path):
    root = mead(tmp_path / "raw")
    table = tmp_path / "table.csv"
    table.write_text("speaker,emotion,number,sentence\nM901,angry,12,hello\nM901,neutral,1,hello\n")
    config = CorpusConfig("mead", root, sentence_table=table)
    sentences = {source.id: source.sentence for source in find_sources(config).sources}
    assert sentences["M901_angry_3_012"] == sentences["M901_neutral_1_001"] == "hello"
    assert sentences["M901_angry_3_001"] != sentences["M901_disgusted_1_001"]  # unknown: unpaired


def test_a_list_names_pictures_and_sound(tmp_path):
    talking_clip(tmp_path / "v/one.mp4", 25, SIZE, sound=False)
    write_sound(tmp_path / "s/uno.m4a")
    talking_clip(tmp_path / "v/two.mp4", 12, SIZE)
    lines = [
        "video,audio,speaker,emotion,level,sentence",
        "v/one.mp4,s/uno.m4a,eve,happiness,2,good morning",
        "v/two.mp4,,eve,sad,1,good night",
        "v/three.mp4,,eve,sad,1,good night",
    ]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    corpus = CorpusConfig("list", tmp_path / "list.csv")
    result = prepare(folder_config(tmp_path, tmp_path / "out", corpus=corpus))
    rows = {row["id"]: row for row in result.manifest}
    assert set(rows) == {"eve_happy_2_one", "eve_sad_1_two"}
    assert rows["eve_happy_2_one"]["sentence"] == "good morning"
    assert result.quarantine[0]["reason"] == "missing"


def test_names_that_do_not_fit_are_errors_or_counted(raw, tmp_path):
    listing = find_sources(CorpusConfig("folder", raw, pattern=r"(?P<speaker>ann)_happy_.*"))
    assert [source.video.name for source in listing.sources] == ["ann_happy_1.mp4"]
    assert len(listing.unmatched) == 2
    with pytest.raises(FileNotFoundError, match="the pattern fits none of 3 files"):
        find_sources(CorpusConfig("folder", raw, pattern="x(?P<number>.*)"))
    with pytest.raises(ValueError, match="unknown emotion 'ann'"):
        find_sources(CorpusConfig("folder", raw, pattern="(?P<emotion>[a-z]+)_.*"))
    with pytest.raises(ValueError, match="have the same id 'bob_neutral_1_ann'"):
        find_sources(CorpusConfig("folder", raw, pattern="(?P<number>ann)_.*", speaker="bob"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_sources(CorpusConfig("mead", tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="is no regular expression"):
        CorpusConfig("folder", raw, pattern="(")
    with pytest.raises(ValueError, match=r"groups \['emotoin'\]"):
        CorpusConfig("folder", raw, pattern="(?P<emotoin>x)")


def test_a_corpus_with_classes_of_its_own(raw):
    config = CorpusConfig(
        "folder",
        raw,
        pattern="ann_(?P<emotion>[a-z]+)_.*",
        spellings=(("happy", "gay"),),
        classes=("gay", "neutral", "sad"),
    )
    assert {source.emotion for source in find_sources(config).sources} == {"gay", "neutral", "sad"}


def test_splits_hold_out_people_sentences_and_a_steady_part(raw):
    sources = find_sources(
        CorpusConfig(
            "folder", raw, pattern=r"ann_(?P<emotion>[a-z]+)_(?P<number>\d)", speaker="ann"
        )
    ).sources

    def splits(**rules):
        return [split_of(source, SplitConfig(**rules)) for source in sources]

    assert splits(test_speakers=("ann",), test_numbers_below=9) == ["test_speaker"] * 3
    assert splits(test_sentences=("2",)) == ["train", "test_sentence", "train"]
    assert splits(test_numbers_below=2) == ["test_sentence", "train", "test_sentence"]
    many = [dataclasses.replace(sources[0], sentence=str(k)) for k in range(2000)]
    drawn = [split_of(source, SplitConfig(val_share=0.2)) for source in many]
    assert 0.17 < drawn.count("val") / 2000 < 0.23
    both = [split_of(source, SplitConfig(test_share=0.3, val_share=0.2)) for source in many]
    assert 0.26 < both.count("test_sentence") / 2000 < 0.34
    assert 0.17 < both.count("val") / 2000 < 0.23
    with pytest.raises(ValueError, match="in all below 1"):
        SplitConfig(test_share=0.6, val_share=0.4)
    other = [dataclasses.replace(source, emotion="sad") for source in many]
    assert drawn == [split_of(source, SplitConfig(val_share=0.2)) for source in other]
    with pytest.raises(ValueError, match=r"'x' is no number"):
        split_of(dataclasses.replace(sources[0], number="x"), SplitConfig(test_numbers_below=5))


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


def test_the_command_says_what_it_did_and_how_it_ended(tmp_path, capsys):
    root = tmp_path / "raw"
    talking_clip(root / "good.mp4", 12, SIZE)
    (root / "bad.mp4").touch()
    text = f"corpus: {{layout: folder, root: {root}, speaker: eve}}\nframes: {{size: 64}}\n"
    (tmp_path / "c.yaml").write_text(text)
    arguments = [str(tmp_path / "c.yaml"), f"out={tmp_path / 'out'}", "workers=0"]
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert "1 clips (1 new), 12 frames" in said.out
    assert "refused 1 (empty 1)" in said.out
    assert "50.0% of the clips are refused, more than quarantine_limit=0.02 allows" in said.err
    assert main([*arguments, "quarantine_limit=0.5"]) == 0
    assert "quarantine_limit" not in capsys.readouterr().err
    (root / "good.mp4").unlink()
    assert main([*arguments, f"out={tmp_path / 'none'}"]) == 1
    assert "empty: " in capsys.readouterr().out
    assert main([*arguments, f"corpus.root={tmp_path / 'nowhere'}"]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_a_missing_detector_file_stops_the_run(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(clip_module, "make_detector", make_detector)
    monkeypatch.delenv("AFFEKT_WEIGHTS", raising=False)  # it would win over the configuration
    detector = DetectorConfig("face_alignment", weights=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"s3fd-619a316812\.pth"):
        prepare(folder_config(raw, tmp_path / "out", detector=detector))


@pytest.mark.data
def test_real_edge_cases_are_refused_for_the_right_reason(media_root, tmp_path):
    corpus = CorpusConfig("folder", media_root / "edge")
    result = prepare(folder_config(media_root, tmp_path / "out", corpus=corpus))
    reasons = {Path(row["path"]).name: row["reason"] for row in result.quarantine}
    assert reasons == {"face_noface.mov": "face_vanishes", "no_face.mp4": "no_face"}
    assert [Path(row["source"]).name for row in result.manifest] == ["single_face.mp4"]


@pytest.mark.data
def test_a_1080p_clip_of_mead_is_prepared(media_root, tmp_path, one_detector):
    source = media_root / "mead_av/W023_level_2_surprised_010.mp4"
    found = track_face(source, one_detector, FramesConfig(size=256))
    assert found.filled == ()
    assert found.landmarks.shape == (73, 68, 2)
    inside = found.crop.to_stored(found.landmarks)
    assert 20 < inside.min() < inside.max() < 236
    with pytest.raises(MediaError) as error:
        track_face(media_root / "edge/no_face.mp4", one_detector)
    assert error.value.reason == "no_face"


def test_a_sentence_is_held_out_in_all_its_emotions_whatever_their_numbers(tmp_path):
    def source(emotion, number, sentence, speaker="M003"):
        path = tmp_path / f"{emotion}_{number}.mp4"
        return Source(path, None, speaker, emotion, 3, number, sentence)

    sources = [
        source("angry", "001", "01"),
        source("disgusted", "028", "01"),
        source("angry", "020", "04"),
        source("disgusted", "028", "01", speaker="W009"),
    ]
    splits = list(splits_of(sources, SplitConfig(test_numbers_below=10)).values())
    assert splits[:3] == ["test_sentence", "test_sentence", "train"]
    alone = splits_of(sources, SplitConfig(test_speakers=("M003",), test_numbers_below=10))
    assert list(alone.values())[:3] == ["test_speaker"] * 3
    assert list(alone.values())[3] == "train"
