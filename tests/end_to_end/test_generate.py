"""generate.py's command line: what it refuses and how it explains itself."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import generate
from affekt.media.audio.mfcc import sound_windows
from affekt.media.audio.reader import read_audio, write_wav
from affekt.media.video.video import probe, read_frames, write_video
from affekt.metrics.temporal import loudness, opening_lag
from affekt.runtime.batch import Fingerprints, ResultFolder
from affekt.runtime.manifest import read_manifest
from evp.inference.landmarks import Emotion
from evp.inference.pipeline import EvpPipeline
from evp.inference.postprocess import PauseRule, PostprocessOptions
from tests.corpora.faked_evp import TRACK, fake_networks, frame

FRAMES = 75


def arguments(tmp_path, *more):
    paths = [f"--{name}={tmp_path / name}" for name in ("run", "audio", "target")]
    return ["evp", *paths, f"--out={tmp_path / 'out.mp4'}", *more]


def job_of(tmp_path, *more):
    return generate.system_of("evp").job_of(generate.parse(arguments(tmp_path, *more)))


@pytest.mark.parametrize(
    ("system", "example"),
    [
        ((), "evp --run"),
        (("evp",), "evp --run"),
        (("fomm",), "fomm --fomm"),
        (("eamm",), "eamm --run"),
    ],
)
def test_help_starts_with_an_example(capsys, system, example):
    with pytest.raises(SystemExit):
        generate.parse([*system, "--help"])
    assert f"python generate.py {example}" in capsys.readouterr().out[:500]


def test_an_untrained_run_is_named_and_nothing_is_written(tmp_path, capsys):
    assert generate.main(arguments(tmp_path)) == 1
    error = capsys.readouterr().err
    assert str(tmp_path / "run/edge2video") in error
    assert "Traceback" not in error
    assert not (tmp_path / "out.mp4").exists()


def test_no_sound_has_no_windows():
    with pytest.raises(ValueError, match="sound is empty"):
        sound_windows([])


@pytest.fixture
def loud_and_open(tmp_path, monkeypatch):
    """Networks that open the mouth as far as the sound is loud; the pictures show the opening."""
    rng = np.random.default_rng(0)
    level = np.convolve(rng.uniform(0, 1, FRAMES), np.ones(3) / 3, "same")
    tone = np.sin(np.arange(640 * FRAMES) * 0.3)
    samples = (0.5 * level.repeat(640) * tone).astype(np.float32)
    write_wav(tmp_path / "audio", samples)

    def audio_to_landmarks(_predictor, _run, heard, _speaker, _emotion):
        face = np.zeros((len(heard) // 640, 68, 2))
        face[:, 65:68, 1] = 40 * np.exp(loudness(heard))[:, None]
        return face

    def edit(_renderer, _target, face, *_):
        return (frame(points, 2 + int(3 * points[66, 1])) for points in face)

    fake_networks(monkeypatch, audio_to_landmarks, edit)


def test_the_sound_of_the_written_video_is_in_step_with_its_pictures(loud_and_open, tmp_path):
    preview = tmp_path / "preview.mp4"
    more = ("--frame=crop", f"--landmarks={preview}")
    assert generate.main(arguments(tmp_path, *more)) == 0
    out = tmp_path / "out.mp4"
    shown = probe(out)
    assert (shown.fps, shown.frames, shown.has_audio) == (25.0, FRAMES, True)
    opening = (read_frames(out)[:, :, 0, 0] > 128).sum(axis=1)
    assert opening_lag(opening, loudness(read_audio(out))[:FRAMES]) == 0
    assert probe(preview).frames == FRAMES


def test_the_chosen_detector_is_loaded_on_the_chosen_device(loud_and_open, tmp_path, monkeypatch):
    asked = []

    def make_detector(*given):
        asked.append(given)
        return SimpleNamespace(version="faked")

    monkeypatch.setattr("evp.inference.pipeline.make_detector", make_detector)
    fan = ("--detector=face_alignment",)
    for more in ((), fan, (*fan, "--device=cpu"), (*fan, "--device=cpu", "--detector-device=auto")):
        assert generate.main(arguments(tmp_path, "--frame=crop", *more)) == 0
    fan_on = [("face_alignment", device) for device in ("auto", "cpu", "auto")]
    assert asked == [("mediapipe", "auto"), *fan_on]


def test_of_the_target_as_many_frames_are_looked_at_as_there_is_sound(
    loud_and_open, tmp_path, monkeypatch
):
    asked = []

    def track_face(path, _detector, _config, count):
        asked.append((path, count))
        return TRACK

    monkeypatch.setattr("affekt.media.faces.track.track_face", track_face)
    assert generate.main(arguments(tmp_path, "--frame=crop")) == 0
    assert asked == [(tmp_path / "target", FRAMES)]


def test_audio_may_be_an_array(loud_and_open, tmp_path):
    job = job_of(tmp_path)
    samples = read_audio(job.audio)
    job.audio.unlink()
    assert EvpPipeline.for_jobs([job]).run(job, samples=samples) == [job.out]
    assert probe(job.out).frames == FRAMES


def test_a_videos_own_sound_gives_as_many_frames_as_the_video(loud_and_open, tmp_path):
    sound = read_audio(tmp_path / "audio")
    (tmp_path / "audio").unlink()
    said = tmp_path / "said.mp4"
    write_video(said, np.full((33, 64, 64, 3), 9, np.uint8), sound)
    (tmp_path / "audio").symlink_to(said)
    assert len(read_audio(said)) > 33 * 640  # AAC's last block; else this test shows nothing
    assert generate.main(arguments(tmp_path, "--frame=crop")) == 0
    assert probe(tmp_path / "out.mp4").frames == 33


def test_a_failure_midway_leaves_no_video(loud_and_open, tmp_path, monkeypatch):
    def breaks(*_):
        yield from ()
        raise ValueError("the renderer broke")

    monkeypatch.setattr("evp.inference.pipeline.edit", breaks)
    assert generate.main(arguments(tmp_path)) == 1
    assert not list(tmp_path.glob("*out*"))


@pytest.fixture
def faces_given(tmp_path, monkeypatch):
    """Networks that leave the mouth open in a pause; a list of (face, postprocessing)."""
    second = np.full(16_000, 0.1, np.float32)
    write_wav(tmp_path / "audio", np.concatenate([second, 0 * second, second]))
    given = []

    def audio_to_landmarks(*_):
        face = np.zeros((FRAMES, 68, 2))
        face[:, 66, 1] = 10.0
        face[3, 66, 1] = 2.0
        return face

    def edit(_renderer, _target, face, _model, _alignment, postprocess):
        given.append((face, postprocess))
        return [frame(points) for points in face]

    fake_networks(monkeypatch, audio_to_landmarks, edit)
    return given


def test_the_mouth_closes_in_pauses_and_postprocessing_is_passed_on(faces_given, tmp_path):
    touches = ("--silence=close", "--smooth", "--eyes=target")
    for more in ((), touches, (*touches, "--silence-threshold=1e3")):
        assert generate.main(arguments(tmp_path, "--frame=crop", *more)) == 0
    (plain, as_placed), (paused, postprocess), (quiet, _) = faces_given
    assert as_placed == PostprocessOptions()
    assert postprocess == PostprocessOptions(smooth=True, eyes="target")
    gaps = [face[[1, 26, 40, 48, 55], 66, 1] for face in (plain, paused, quiet)]
    np.testing.assert_allclose(gaps[0], 10)
    np.testing.assert_allclose(gaps[1], [10, 6.8, 2.4, 6.8, 10])
    np.testing.assert_allclose(gaps[2], 2.4)  # below such a threshold all of it is silent


def test_a_manifests_clips_are_postprocessed_too(faces_given, tmp_path):
    (tmp_path / "clips.csv").write_text("clip_id,audio,target\na,audio,audio\n")
    manifest = ["evp", f"--run={tmp_path}", f"--manifest={tmp_path / 'clips.csv'}"]
    manifest += [f"--out={tmp_path / 'all'}", "--frame=crop"]
    for more in ((), ("--silence=close",), ("--silence=close",), ("--eyes=target",), ("--smooth",)):
        assert generate.main([*manifest, *more]) == 0
    assert [face[40, 66, 1] for face, _ in faces_given] == pytest.approx([10, 2.4, 10, 10])
    changes: list[dict] = [{}, {}, {"eyes": "target"}, {"smooth": True}]
    wanted = [PostprocessOptions(**each) for each in changes]
    assert [postprocess for _, postprocess in faces_given] == wanted


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ((), None),
        (("--silence=close",), PauseRule("sum", 0.1)),
        (("--silence=close", "--silence-threshold=0.2"), PauseRule("sum", 0.2)),
        (("--silence=close", "--silence-by=level"), PauseRule("level", 25.0)),
        (("--silence=close", "--silence-by=level", "--silence-threshold=0"), PauseRule("level", 0)),
    ],
)
def test_each_measure_of_silence_has_a_threshold_of_its_own(tmp_path, more, rule):
    assert job_of(tmp_path, *more).pauses == rule


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--silence-threshold=0.2",), "need --silence close"),
        (("--silence-by=level",), "need --silence close"),
        (("--silence=close", "--silence-threshold=-1"), "threshold is -1.0, wanted 0 or more"),
        (("--silence=close", "--face=filmed.mp4"), "the audio, --face on a video"),
    ],
)
def test_a_rule_for_pauses_that_cannot_be_is_refused(tmp_path, capsys, more, said):
    assert generate.main(arguments(tmp_path, *more)) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "more",
    [
        "--silence=shut",
        "--silence-by=ear",
        "--silence-threshold=loud",
        "--eyes=closed",
    ],
)
def test_unknown_postprocessing_is_refused(tmp_path, capsys, more):
    with pytest.raises(SystemExit):
        generate.parse(arguments(tmp_path, more))
    assert more.partition("=")[0] in capsys.readouterr().err


def test_every_source_of_emotion_has_an_intensity(tmp_path):
    assert job_of(tmp_path).emotion == Emotion()
    assert job_of(tmp_path, "--intensity=0.5").emotion == Emotion(intensity=0.5)
    assert job_of(tmp_path, "--emotion=sad", "--intensity=0").emotion == Emotion("sad", intensity=0)
    found = job_of(tmp_path, "--emotion-track=a.csv", "--intensity=0.25").emotion
    assert found == Emotion(track=Path("a.csv"), intensity=0.25)
    assert job_of(tmp_path, "--emotion-blend=sad:happy:0.3").emotion.blend == "sad:happy:0.3"
    assert job_of(tmp_path, "--emotion-audio=a.wav").emotion.audio == Path("a.wav")


@pytest.mark.parametrize("other", ["blend=sad:happy:0.5", "track=a.csv"])
def test_the_emotion_comes_from_one_place(tmp_path, capsys, other):
    with pytest.raises(SystemExit):
        generate.parse(arguments(tmp_path, "--emotion=happy", f"--emotion-{other}"))
    assert "not allowed with argument" in capsys.readouterr().err
    name, _, value = other.partition("=")
    with pytest.raises(ValueError, match=f"not from label and {name}"):
        Emotion(label="happy", **{name: value})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--intensity=1.5",), "the intensity is 1.5, wanted 0 (neutral) to 1"),
        (("--intensity=much",), "the intensity is 'much', wanted a number from 0 to 1"),
        (("--intensity=0.5", "--face=a.mp4"), "--intensity does not go with --face"),
    ],
)
def test_an_intensity_that_says_nothing_is_refused(tmp_path, capsys, given, said):
    assert generate.main(arguments(tmp_path, *given)) == 1
    assert said in capsys.readouterr().err


def rows_of(tmp_path, text, *more):
    """Return the emotion of each row of a manifest, or what is wrong with it."""
    manifest = tmp_path / "clips.csv"
    manifest.write_text(text)
    out = tmp_path / "out"
    args = ["evp", f"--run={tmp_path}", f"--manifest={manifest}", f"--out={out}", *more]
    args = generate.parse(args)
    rows, batch = read_manifest(manifest), ResultFolder(out)
    return [generate.job_of_row(rows, row, args, batch) for row in rows.rows]


def test_a_manifests_cells_set_the_emotion_of_the_command_line_aside(tmp_path):
    text = (
        "clip_id,audio,target,emotion,emotion_audio,emotion_blend,emotion_track,intensity\n"
        "a,x.wav,x.mp4,happy,,,,0.5\n"
        "b,x.wav,x.mp4,,,sad:happy:0.3,,\n"
        "c,x.wav,x.mp4,,,,t.json,\n"
        "d,x.wav,x.mp4,,,,,0\n"
        "e,x.wav,x.mp4,,y.wav,,,\n"
    )
    jobs = rows_of(tmp_path, text, "--emotion=sad", "--intensity=0.75")
    assert [job.emotion for job in jobs] == [
        Emotion("happy", intensity=0.5),
        Emotion(blend="sad:happy:0.3", intensity=0.75),
        Emotion(track=tmp_path / "t.json", intensity=0.75),
        Emotion("sad", intensity=0.0),
        Emotion(audio=tmp_path / "y.wav", intensity=0.75),
    ]
    (filmed,) = rows_of(tmp_path, "clip_id,audio,target,emotion\na,x,y,\n", "--face=f.mp4")
    assert filmed.face == Path("f.mp4")
    (labelled,) = rows_of(tmp_path, "clip_id,audio,target,emotion\na,x,y,sad\n", "--face=f.mp4")
    assert (labelled.face, labelled.emotion) == (None, Emotion("sad"))


def test_two_emotions_in_one_row_are_refused(tmp_path):
    text = "clip_id,audio,target,emotion,emotion_track\na,x.wav,x.mp4,happy,t.json\n"
    with pytest.raises(ValueError, match="both emotion and emotion_track are given; keep one"):
        rows_of(tmp_path, text)


def test_another_schedule_or_intensity_makes_a_clip_anew(tmp_path):
    track = tmp_path / "t.csv"
    track.write_text("time,happy\n0,1\n")
    text = "clip_id,audio,target,emotion_track,intensity\na,x.wav,x.mp4,t.csv,\n"
    found = {Fingerprints().of(*rows_of(tmp_path, text))}
    found.add(Fingerprints().of(*rows_of(tmp_path, text, "--intensity=0.5")))
    track.write_text("time,happy\n1,1\n")
    found.add(Fingerprints().of(*rows_of(tmp_path, text)))
    assert len(found) == 3
