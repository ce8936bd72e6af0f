"""`generate.py eamm` from files to files, with small networks of random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import generate
from affekt.media.audio.mfcc import clip_mfcc, windows
from affekt.media.audio.reader import read_audio, write_wav
from affekt.media.faces.detector import make_detector
from affekt.media.video.tensors import to_tensor
from affekt.media.video.video import probe, read_frames, write_video
from eamm.inference.cli import job_of
from eamm.inference.pipeline import EammPipeline
from eamm.pose import read_pose_file
from tests.corpora import generate_command
from tests.corpora.drawn_face import draw_face, talking_clip, tone
from tests.corpora.tiny_eamm import write_tiny_runs
from tests.corpora.tiny_fomm import SIZE, write_tiny_fomm

GREEN = (30, 120, 40)
FRAMES = 11


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Trained parts, a portrait on green, 11 frames of sound, sources of pose and emotion."""
    root = tmp_path_factory.mktemp("eamm")
    write_tiny_runs(root)
    Image.fromarray(draw_face(300, height=0.5, background=GREEN)).save(root / "portrait.png")
    Image.fromarray(draw_face(200, mouth=1)).save(root / "angry.png")
    write_wav(root / "speech.wav", 0.5 * tone(FRAMES))
    talking_clip(root / "head.mp4", 8, center=(0.45, 0.5))
    talking_clip(root / "happy.mp4", 7, background=(200, 60, 60))
    rng = np.random.default_rng(0)
    pose = np.array([5, 3, 1, 5e-4, 60, 70]) * (1 + 0.2 * rng.normal(size=(5, 6)))
    np.save(root / "pose.npy", pose)
    return root


def command(inputs, out, *more, **replaced):
    files = {"source": "portrait.png", "audio": "speech.wav"}
    named = {name: inputs / file for name, file in files.items()} | replaced
    paths = [f"--{name.replace('_', '-')}={path}" for name, path in named.items()]
    return ["eamm", f"--run={inputs}", *paths, f"--out={out}", *more]


def made(inputs, out, *more, **replaced):
    """Run the command and return the video's frames, as numbers."""
    assert generate.main(command(inputs, out, *more, **replaced)) == 0
    return read_frames(out).astype(int)


def alike(one, other):
    """Whether two videos show the same; H.264 itself may differ in a few pixels."""
    return np.abs(one - other).mean() < 0.05


def test_a_neutral_and_an_emotional_video_of_25_fps_with_sound(inputs, tmp_path):
    out = tmp_path / "out.mp4"
    emotional = made(inputs, out, pose=inputs / "head.mp4", emotion=inputs / "happy.mp4")
    names = ["out.mp4", "out_neutral.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        shown = probe(tmp_path / name)
        assert (shown.width, shown.height, shown.fps, shown.frames) == (SIZE, SIZE, 25.0, FRAMES)
        assert np.corrcoef(read_audio(tmp_path / name)[: 640 * FRAMES], tone(FRAMES))[0, 1] > 0.95
    neutral = read_frames(tmp_path / "out_neutral.mp4").astype(int)
    assert np.abs(emotional - neutral).mean() > 1


def test_without_emotion_there_is_one_video_and_no_need_of_the_displacement_run(inputs, tmp_path):
    plain = made(inputs, tmp_path / "out.mp4", "--pose=still", displacement=tmp_path / "nowhere")
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    made(inputs, tmp_path / "with.mp4", emotion=inputs / "happy.mp4")
    neutral = read_frames(tmp_path / "with_neutral.mp4").astype(int)
    assert alike(plain, neutral)


def test_the_same_files_give_the_same_pictures(inputs, tmp_path, monkeypatch):
    seen = []

    def keep(_paths, rows, samples):
        seen.append([*(picture.tobytes() for row in rows for picture in row), samples.tobytes()])

    monkeypatch.setattr("eamm.inference.pipeline.write_videos", keep)
    paths = {"pose": inputs / "head.mp4", "emotion": inputs / "happy.mp4"}
    for _ in range(2):
        assert generate.main(command(inputs, tmp_path / "out.mp4", "--comparison", **paths)) == 0
    assert len(seen[0]) == 3 * FRAMES + 1
    assert seen[0] == seen[1]


def test_colours_are_the_portraits_and_edges_are_not_black(inputs, tmp_path):
    frames = made(inputs, tmp_path / "out.mp4", "--comparison", emotion=inputs / "angry.png")
    sides = read_frames(tmp_path / "out_comparison.mp4").astype(int)
    assert sides.shape == (FRAMES, SIZE, 3 * SIZE, 3)
    source, neutral, emotional = np.split(sides, 3, axis=2)
    assert np.abs(source[0, 2:6, 2:6] - (70, 90, 110)).max() < 16  # the emotion source's
    assert np.abs(emotional - frames).mean() < 4
    assert np.abs(neutral[0].mean(axis=(0, 1)) - GREEN).max() < 70
    assert neutral[0, 10:50, 4:10, 1].mean() > neutral[0, 10:50, 4:10, 0].mean() + 40
    assert neutral[0, 10:50, 4:10, 1].mean() > neutral[0, 10:50, 4:10, 2].mean() + 40


def test_the_comparison_shows_what_the_videos_show(inputs, tmp_path):
    options = ("--comparison", "--emotion-loop=ping-pong", "--emotion-align=clip")
    emotional = made(inputs, tmp_path / "out.mp4", *options, emotion=inputs / "happy.mp4")
    sides = read_frames(tmp_path / "out_comparison.mp4").astype(int)
    source, neutral, shown = np.split(sides, 3, axis=2)
    assert np.abs(shown - emotional).mean() < 4
    assert np.abs(neutral - read_frames(tmp_path / "out_neutral.mp4")).mean() < 4
    there, back = source[6], source[7]  # 7 frames to and fro: the last is shown twice
    assert np.abs(there - back).mean() < 1 < np.abs(source[3] - source[6]).mean()


def test_an_intensity_of_0_is_neutral(inputs, tmp_path):
    none = made(inputs, tmp_path / "out.mp4", "--intensity=0", emotion=inputs / "happy.mp4")
    neutral = read_frames(tmp_path / "out_neutral.mp4").astype(int)
    assert alike(none, neutral)


def test_a_blend_lies_between_its_sources(inputs, tmp_path):
    happy, angry = inputs / "happy.mp4", inputs / "angry.png"
    pure = made(inputs, tmp_path / "pure.mp4", emotion=angry)
    for weight, same in (("1", True), ("0.4", False)):
        blend = f"{happy}:{angry}:{weight}"
        mixed = made(inputs, tmp_path / "out.mp4", "--comparison", emotion_blend=blend)
        assert alike(mixed, pure) == same
    sides = read_frames(tmp_path / "out_comparison.mp4")
    assert sides.shape[2] == 4 * SIZE  # both sources are shown
    assert np.abs(sides[0, 2:6, 2:6].astype(int) - (200, 60, 60)).max() < 20


def test_poses_come_from_files_videos_pictures_or_the_portrait(inputs, tmp_path):
    videos = [
        made(inputs, tmp_path / f"{k}.mp4", *more)
        for k, more in enumerate(
            (
                ("--pose=still",),
                (f"--pose={inputs / 'pose.npy'}",),
                (f"--pose={inputs / 'pose.npy'}", "--pose-relative"),
                (f"--pose={inputs / 'head.mp4'}",),
                (f"--pose={inputs / 'angry.png'}",),
                (f"--pose={inputs / 'head.mp4'}", "--smooth=pose,keypoints"),
                (f"--pose={inputs / 'head.mp4'}", "--smooth=pose"),
                (f"--pose={inputs / 'head.mp4'}", "--smooth=keypoints"),
            )
        )
    ]
    for k, one in enumerate(videos):
        for other in videos[:k]:
            assert np.abs(one - other).mean() > 0.05


def test_a_relative_pose_that_rests_is_the_portraits_own(inputs, tmp_path):
    still = made(inputs, tmp_path / "still.mp4", "--pose=still")
    np.save(tmp_path / "rest.npy", np.tile(read_pose_file(inputs / "pose.npy")[:1], (4, 1)))
    rest = (f"--pose={tmp_path / 'rest.npy'}", "--pose-relative")
    assert alike(made(inputs, tmp_path / "rest.mp4", *rest), still)


def test_pasted_back_the_portrait_is_whole(inputs, tmp_path):
    frames = made(inputs, tmp_path / "out.mp4", "--paste", emotion=inputs / "happy.mp4")
    portrait = np.asarray(Image.open(inputs / "portrait.png"), int)
    assert frames.shape == (FRAMES, 300, 300, 3)
    assert np.abs(frames[:, 280:, :20] - portrait[280:, :20]).max() < 16
    assert np.abs(frames[0, 120:180, 120:180] - portrait[120:180, 120:180]).mean() > 4


def test_both_videos_are_as_large_as_asked_for(inputs, tmp_path):
    frames = made(inputs, tmp_path / "out.mp4", "--size=100", emotion=inputs / "happy.mp4")
    assert frames.shape == (FRAMES, 100, 100, 3)
    assert read_frames(tmp_path / "out_neutral.mp4").shape == frames.shape


def test_parts_may_lie_apart(inputs, tmp_path):
    parts = {name: inputs / name for name in ("fomm", "a2fd", "displacement")}
    parts |= {"face_model": inputs / "face_model.npz", "emotion": inputs / "happy.mp4"}
    nowhere = [f"--run={tmp_path / 'nowhere'}"]
    apart = made(inputs, tmp_path / "apart.mp4", *nowhere, **parts)
    together = made(inputs, tmp_path / "together.mp4", emotion=inputs / "happy.mp4")
    assert alike(apart, together)


def refused(inputs, tmp_path, capsys, *more, **replaced):
    argv = command(inputs, tmp_path / "out.mp4", *more, **replaced)
    (line,) = generate_command.refused(argv, tmp_path, capsys)
    return line


def test_bad_sound_is_refused(inputs, tmp_path, capsys):
    nowhere = tmp_path / "nowhere.wav"
    assert f"{nowhere} does not exist" in refused(inputs, tmp_path, capsys, audio=nowhere)
    junk = tmp_path / "junk.wav"
    junk.write_bytes(b"RIFF" + bytes(range(256)))
    assert str(junk) in refused(inputs, tmp_path, capsys, audio=junk)
    picture = inputs / "portrait.png"
    assert "not read as video or sound" in refused(inputs, tmp_path, capsys, audio=picture)


def test_bad_emotion_sources_are_refused(inputs, tmp_path, capsys):
    write_video(tmp_path / "blank.mp4", np.full((9, 64, 64, 3), 90, np.uint8))
    blank = refused(inputs, tmp_path, capsys, emotion=tmp_path / "blank.mp4")
    assert "blank.mp4: none of its 9 frames shows a face" in blank
    Image.new("RGB", (99, 99)).save(tmp_path / "blank.png")
    found = refused(inputs, tmp_path, capsys, emotion=tmp_path / "blank.png")
    assert "no face was found" in found
    assert "nowhere" in refused(inputs, tmp_path, capsys, emotion=tmp_path / "nowhere.mp4")
    assert "A:B:w" in refused(inputs, tmp_path, capsys, "--emotion-blend=happy.mp4:0.3")
    assert "--intensity" in refused(inputs, tmp_path, capsys, "--intensity=-1")
    with pytest.raises(SystemExit):
        generate.main(command(inputs, tmp_path / "o.mp4", "--emotion=a", "--emotion-blend=a:b:1"))


def test_bad_poses_are_refused(inputs, tmp_path, capsys):
    wide, holes = tmp_path / "wide.npy", tmp_path / "holes.npy"
    np.save(wide, np.ones((4, 9)))
    assert f"{wide} has shape (4, 9)" in refused(inputs, tmp_path, capsys, pose=wide)
    poses = read_pose_file(inputs / "pose.npy")
    poses[3, 1] = np.nan
    np.save(holes, poses)
    assert "NaN" in refused(inputs, tmp_path, capsys, pose=holes)
    assert "nowhere" in refused(inputs, tmp_path, capsys, pose=tmp_path / "nowhere.npy")
    text = tmp_path / "pose.txt"
    text.write_text("1 2 3 4 5 6")
    assert str(text) in refused(inputs, tmp_path, capsys, pose=text)
    without = refused(inputs, tmp_path, capsys, face_model=tmp_path / "nowhere.npz")
    assert "nowhere.npz" in without
    assert "unknown part 'mouth'" in refused(inputs, tmp_path, capsys, "--smooth=mouth")


def test_missing_and_mismatched_runs_are_named(inputs, tmp_path, capsys):
    happy = inputs / "happy.mp4"
    for part in ("fomm", "a2fd", "displacement"):
        line = refused(inputs, tmp_path, capsys, **{part: tmp_path / "nowhere"}, emotion=happy)
        assert str(tmp_path / "nowhere") in line
    other = write_tiny_fomm(tmp_path / "other", seed=1)
    assert "with other weights" in refused(inputs, tmp_path, capsys, fomm=other)


def test_an_unknown_pose_of_a_cut_portrait_is_said(inputs, tmp_path, capsys):
    Image.new("RGB", (64, 64), GREEN).save(tmp_path / "green.png")
    cut = {"source": tmp_path / "green.png", "crop": "none"}
    assert "its pose is unknown" in refused(inputs, tmp_path, capsys, **cut)
    pose = f"--pose={inputs / 'pose.npy'}"
    assert made(inputs, tmp_path / "out.mp4", pose, **cut).shape[0] == FRAMES


@pytest.mark.data
def test_real_portraits_poses_and_emotions(inputs, tmp_path, media_root):
    paths = {
        "source": media_root / "portraits/mona.png",
        "audio": media_root / "edge/single_face.mp4",
        "pose": media_root / "eamm_arrays/pose__mona.npy",
        "emotion": media_root / "edge/single_face.mp4",
    }
    frames = made(inputs, tmp_path / "out.mp4", "--paste", "--comparison", **paths)
    assert len(frames) == probe(paths["audio"]).frames


@pytest.mark.data
def test_real_bad_inputs(inputs, tmp_path, media_root, capsys):
    no_face = media_root / "edge/no_face.mp4"
    assert "face" in refused(inputs, tmp_path, capsys, emotion=no_face)
    # A face for 60 frames, and a file that breaks off after 110: a sound that needs more of them
    sound = tmp_path / "long.wav"
    write_wav(sound, 0.5 * tone(111))
    vanishing = media_root / "edge/face_noface.mov"
    assert "face" in refused(inputs, tmp_path, capsys, pose=vanishing, audio=sound)
    damaged = media_root / "eamm_clips/sad.mp4"
    assert str(damaged) in refused(inputs, tmp_path, capsys, emotion=damaged, audio=sound)
    template = media_root / "eamm_arrays/M003_template.npy"
    assert "(68, 2)" in refused(inputs, tmp_path, capsys, pose=template)


def test_relative_motion_leaves_a_silent_portrait_as_it_is(inputs, tmp_path):
    silence = tmp_path / "silence.wav"
    write_wav(silence, np.zeros(640, np.float32))
    job = job_of(
        generate.parse(
            command(inputs, tmp_path / "out.mp4", "--relative", "--pose=still", audio=silence)
        )
    )
    pipeline = EammPipeline.for_jobs([job])
    portrait = pipeline.load_portrait(job)
    silent = windows(clip_mfcc(np.zeros(640, np.float32), 1))
    moved = pipeline.neutral_keypoints(job, portrait, silent)
    as_they_are = pipeline.neutral_keypoints(replace(job, relative=False), portrait, silent)
    own = pipeline.networks.fomm.detector(to_tensor(portrait.stored[None]))
    torch.testing.assert_close(moved.value, own.value, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.jacobian, own.jacobian, atol=1e-4, rtol=0)
    assert (as_they_are.value - own.value).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["folder", "video.avi"])
def test_a_result_that_cannot_be_written_is_refused_before_any_work(inputs, tmp_path, capsys, name):
    (tmp_path / "folder").mkdir()
    assert generate.main(command(inputs, tmp_path / name)) == 1
    assert "wanted the name of an .mp4 file" in capsys.readouterr().err


def test_a_gain_that_is_no_number_is_refused(inputs, tmp_path, capsys):
    assert "--audio-gain is nan" in refused(inputs, tmp_path, capsys, "--audio-gain=nan")


@pytest.mark.parametrize("align", ["frame", "clip"])
def test_of_pose_and_emotion_no_more_frames_are_looked_at_than_there_is_sound(
    inputs, tmp_path, monkeypatch, align
):
    talking_clip(tmp_path / "long.mp4", 30, center=(0.45, 0.5))
    seen = []

    def counting(name, device):
        detector = make_detector(name, device)
        detect = detector.detect
        monkeypatch.setattr(detector, "detect", lambda picture: seen.append(1) or detect(picture))
        return detector

    monkeypatch.setattr("eamm.inference.pipeline.make_detector", counting)
    long = tmp_path / "long.mp4"
    options = (f"--pose={long}", f"--emotion={long}", f"--emotion-align={align}")
    assert len(made(inputs, tmp_path / "out.mp4", *options)) == FRAMES
    assert len(seen) == FRAMES + 2  # and the portrait's face, and no other beside it
