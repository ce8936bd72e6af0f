"""A corpus as published becomes a prepared one, and the same command goes on where it stopped."""

import dataclasses
import shutil

import numpy as np
import pytest
import soundfile

from affekt.media.audio.mfcc import clip_mfcc
from affekt.media.corpus import Corpus
from affekt.media.faces import track as track_module
from affekt.media.faces.crop import cut
from affekt.media.faces.detector import make_detector
from affekt.media.faces.track import FramesConfig, track_face
from affekt.media.video.video import MediaError, read_video, write_video
from data_prep.clips import clip as clip_module
from data_prep.clips.clip import AudioConfig, DetectorConfig, MfccConfig
from data_prep.prepare import main, prepare
from tests.corpora.drawn_face import draw_face, folder_config, talking_clip, tone

pytestmark = pytest.mark.usefixtures("one_detector")

SIZE = 128


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "corpus"
    result = prepare(folder_config(raw, out))
    return result, Corpus(out)


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
