"""`generate.py emospace` from files to files, with small networks of random weights."""

import numpy as np
import pytest
from PIL import Image

import generate
from affekt.media.audio.reader import write_wav
from affekt.media.face3d.model import project, save_face_model
from affekt.media.faces.detector import make_detector
from affekt.media.faces.track import FaceTracker
from affekt.media.plots import enlarged
from affekt.media.video.video import probe, read_frames
from affekt.runtime.config import ConfigError
from emospace.inference.cli import job_of
from emospace.inference.emotion import Emotion, EmotionReader
from emospace.inference.head_pose import moved_as
from emospace.inference.pipeline import EmospacePipeline, EmospaceRuns
from emospace.inference.renderer import FaceRenderer
from tests.corpora import generate_command
from tests.corpora.drawn_face import draw_face, talking_clip, tone
from tests.corpora.emotion_space_corpus import emotion_model
from tests.corpora.tiny_emospace import MODES, SIZE, write_tiny_emospace

FRAMES = 11


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Trained parts, a portrait, 11 frames of sound, sources of emotion and pose."""
    root = tmp_path_factory.mktemp("emospace")
    write_tiny_emospace(root)
    Image.fromarray(draw_face(300, height=0.5)).save(root / "portrait.png")
    Image.fromarray(draw_face(200, mouth=1)).save(root / "angry.png")
    write_wav(root / "speech.wav", 0.5 * tone(FRAMES))
    write_wav(root / "voice.wav", 0.2 * tone(40) ** 3)
    talking_clip(root / "head.mp4", 8, center=(0.45, 0.5))
    (root / "track.csv").write_text("time,happy,a slightly angry man\n0,1,0\n0.4,0,1\n")
    return root


@pytest.fixture(scope="module")
def reader(inputs):
    runs = EmospaceRuns.in_folder(inputs)
    pipeline = EmospacePipeline(runs, FaceTracker(make_detector()), "cpu")
    return EmotionReader(pipeline.space, pipeline.tracker)


def command(inputs, out, *more, **replaced):
    files = {"source": "portrait.png", "audio": "speech.wav"}
    named = {name: inputs / file for name, file in files.items()} | replaced
    paths = [f"--{name.replace('_', '-')}={path}" for name, path in named.items()]
    return ["emospace", f"--run={inputs}", *paths, f"--out={out}", *more]


def made(inputs, out, *more, **replaced):
    """Run the command and return the video's frames, as numbers."""
    assert generate.main(command(inputs, out, *more, **replaced)) == 0
    return read_frames(out).astype(int)


def alike(one, other):
    """Whether two videos show the same; H.264 itself may differ in a few pixels."""
    return np.abs(one - other).mean() < 0.05


def test_the_video_is_as_long_as_the_sound_and_the_same_every_time(inputs, tmp_path):
    first = made(inputs, tmp_path / "a.mp4", "--emotion-text=a happy man")
    assert first.shape == (FRAMES, SIZE, SIZE, 3)
    assert probe(tmp_path / "a.mp4").fps == 25
    assert alike(first, made(inputs, tmp_path / "b.mp4", "--emotion-text=a happy man"))


def test_every_source_of_emotion_moves_the_face_in_its_own_way(inputs, tmp_path):
    sources = {
        "neutral": [],
        "text": ["--emotion-text=angry"],
        "image": [f"--emotion-image={inputs / 'angry.png'}"],
        "video": [f"--emotion-image={inputs / 'head.mp4'}"],
        "audio": [f"--emotion-audio={inputs / 'voice.wav'}"],
        "blend": [f"--emotion-blend=happy:{inputs / 'angry.png'}:0.5"],
        "track": [f"--emotion-track={inputs / 'track.csv'}"],
    }
    videos = {name: made(inputs, tmp_path / f"{name}.mp4", *s) for name, s in sources.items()}
    assert not any(
        alike(one, other)
        for name, one in videos.items()
        for rest, other in videos.items()
        if name < rest
    )
    # Without a code nothing of the emotion is left
    free = [
        made(inputs, tmp_path / f"free_{k}.mp4", source, "--guidance=0", "--intensity=1")
        for k, source in enumerate(("--emotion-text=angry", "--emotion-text=happy"))
    ]
    assert alike(*free)


def test_codes_of_texts_blends_and_tracks(reader, inputs, caplog):
    happy, angry = (reader.read(Emotion(text=word), 5).code for word in ("happy", "angry"))
    mild = reader.read(Emotion(text="a slightly happy man"), 5)
    assert mild.intensity == pytest.approx(reader.space.bank.parse("slightly happy").intensity)
    assert reader.read(Emotion(text="a slightly happy man", intensity=2.0), 5).intensity == 2
    for weight, code in ((0, happy), (1, angry)):
        blend = reader.read(Emotion(blend=f"happy:angry:{weight}"), 5)
        np.testing.assert_allclose(blend.code, code, atol=1e-6)
    # A track: all happy at first, in the end a slightly angry man, 0.45 strong; unit codes between
    track = reader.read(Emotion(track=inputs / "track.csv"), FRAMES)
    assert track.code.shape == (FRAMES, len(happy))
    np.testing.assert_allclose(np.linalg.norm(track.code, axis=1), 1, atol=1e-5)
    assert track.code[0] @ happy > track.code[-1] @ happy
    assert track.intensity[-1] < track.intensity[0]
    # A picture and a video of one face are near each other; a far word is warned about
    assert not caplog.records
    reader.read(Emotion(text="xylophone"), 5)
    assert "far from every word known" in caplog.text


def test_a_head_pose_starts_as_the_portrait_and_turns_as_the_source():
    own = np.array([0.1, 0.2, 0.0, np.log(50.0), 100, 90])
    driving = np.array([[0, 0.3, 0, np.log(20.0), 40, 40], [0, 0.5, 0, np.log(22.0), 44, 38]])
    first, second = moved_as(own, driving)
    np.testing.assert_allclose(first, own, atol=1e-12)
    assert np.exp(second[3]) == pytest.approx(55)  # a tenth larger
    np.testing.assert_allclose(second[4:] - own[4:], [10, -5])  # 4 and -2 px, 2.5 times as large
    turned = moved_as(np.array([0, 0.2, 0, 0, 0, 0]), driving)
    np.testing.assert_allclose(turned[1, :3], [0, 0.4, 0], atol=1e-12)


def test_a_video_turns_the_head(inputs, tmp_path):
    still = made(inputs, tmp_path / "still.mp4")
    assert not alike(still, made(inputs, tmp_path / "moved.mp4", pose=inputs / "head.mp4"))
    np.save(tmp_path / "pose.npy", np.tile([0, 0, 0, 3.0, 50, 50], (4, 1)))
    assert alike(still, made(inputs, tmp_path / "held.mp4", pose=tmp_path / "pose.npy"))


def test_the_renderer_gets_the_face_as_the_crop_shows_it(inputs, tmp_path, monkeypatch):
    """What it is told of the portrait and of every frame lies on the face found in the crop."""
    given, poses = [], []
    monkeypatch.setattr(FaceRenderer, "encode", lambda self, *args: given.append(args))
    monkeypatch.setattr(
        FaceRenderer, "render", lambda self, _, expression, pose: poses.append(pose) or iter([])
    )
    job = job_of(generate.parse(command(inputs, tmp_path / "a.mp4")))
    EmospacePipeline.for_jobs([job]).run(job)
    ((stored, expression, pose, landmarks),) = given
    face = make_detector().detect(enlarged(stored, 256)).points * SIZE / 256
    assert np.abs(landmarks - face).mean() < 1  # px of the crop's 32
    model = emotion_model(MODES)
    fitted = project(model.shapes(np.zeros(4), expression[None]), pose[None])[0]
    assert np.abs(fitted.mean(axis=0) - landmarks.mean(axis=0)).max() < 2
    assert np.ptp(fitted, axis=0) == pytest.approx(np.ptp(landmarks, axis=0), rel=0.2)
    np.testing.assert_allclose(poses[0], np.tile(pose, (FRAMES, 1)), atol=1e-9)


def test_pasted_back_the_portrait_stays_around_the_face(inputs, tmp_path):
    frames = made(inputs, tmp_path / "pasted.mp4", "--paste", "--comparison")
    assert frames.shape[1:] == (300, 300, 3)
    assert np.abs(frames[:, :8] - np.asarray(Image.open(inputs / "portrait.png"))[:8]).mean() < 3
    beside = read_frames(tmp_path / "pasted_comparison.mp4")
    assert beside.shape[2] == 2 * SIZE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--intensity=nine"], "wanted a number from 0 to 3"),
        (["--intensity=9"], "wanted 0 (none) to 3"),
        (["--guidance=-1"], "wanted 0 to 10"),
        (["--history=1"], "history is 1"),
        (["--emotion-blend=happy:0.5"], "A:B:w"),
        (["--emotion-blend=happy:nothere.png:0.5"], "nothere.png is no file"),
        (["--size=33"], "even number"),
    ],
)
def test_what_cannot_be_is_one_line(inputs, tmp_path, capsys, options, message):
    said = generate_command.refused(command(inputs, tmp_path / "a.mp4", *options), tmp_path, capsys)
    assert message in said[-1]


def test_networks_of_two_face_models_are_refused(inputs, tmp_path):
    other = emotion_model(MODES)
    save_face_model(other.__class__(**vars(other) | {"name": "other"}), tmp_path / "other.npz")
    argv = command(inputs, tmp_path / "a.mp4", face_model=tmp_path / "other.npz")
    job = job_of(generate.parse(argv))
    with pytest.raises(ConfigError, match="name that one by --face-model"):
        EmospacePipeline.for_jobs([job])


def test_a_manifest_makes_every_clip_and_names_the_one_that_cannot_be_made(
    inputs, tmp_path, capsys
):
    text = "clip_id,source,audio,emotion_text,emotion_image,intensity\n"
    text += "a,portrait.png,speech.wav,a happy man,,\n"
    text += "b,portrait.png,speech.wav,,angry.png,0.5\n"
    text += "c,speech.wav,speech.wav,happy,,\n"
    (inputs / "clips.csv").write_text(text)
    argv = ["emospace", f"--run={inputs}", f"--manifest={inputs / 'clips.csv'}"]
    assert generate.main([*argv, f"--out={tmp_path / 'out'}"]) == 1
    assert {path.name for path in (tmp_path / "out").glob("*.mp4")} == {"a.mp4", "b.mp4"}
    assert "c: " in capsys.readouterr().err
