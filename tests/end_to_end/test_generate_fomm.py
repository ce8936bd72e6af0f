"""`generate.py fomm` from files to files, with small networks of random weights."""

import numpy as np
import pytest
from PIL import Image

import generate
from affekt.media.audio.reader import read_audio
from affekt.media.video.video import probe, read_frames, write_video
from tests.corpora import generate_command
from tests.corpora.drawn_face import draw_face, talking, talking_clip, tone
from tests.corpora.tiny_fomm import SIZE, write_tiny_fomm

GREEN = (30, 120, 40)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A FOMM, a portrait on green and a driving video of 9 frames with sound."""
    root = tmp_path_factory.mktemp("fomm")
    write_tiny_fomm(root / "fomm")
    portrait = draw_face(320, height=0.5, background=GREEN)
    Image.fromarray(portrait[:, :301]).save(root / "portrait.png")
    talking_clip(root / "driving.mp4", 9)
    return root


def command(inputs, out, *more, **replaced):
    named = {"source": inputs / "portrait.png", "driving": inputs / "driving.mp4"} | replaced
    paths = [f"--{name}={path}" for name, path in named.items()]
    return ["fomm", f"--fomm={inputs / 'fomm'}", *paths, f"--out={out}", *more]


def test_a_video_of_25_fps_with_the_driving_sound(inputs, tmp_path):
    out = tmp_path / "out.mp4"
    assert generate.main(command(inputs, out)) == 0
    made = probe(out)
    assert (made.width, made.height, made.fps, made.frames) == (SIZE, SIZE, 25.0, 9)
    sound = read_audio(out)[: 640 * 9]
    assert np.corrcoef(sound, tone(9))[0, 1] > 0.95
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_driving_video_without_sound_gives_one_without(inputs, tmp_path):
    silent = talking_clip(tmp_path / "silent.mp4", 7, sound=False)
    assert generate.main(command(inputs, tmp_path / "out.mp4", driving=silent)) == 0
    assert not probe(tmp_path / "out.mp4").has_audio


def test_a_faster_driving_video_is_shown_at_25_fps(inputs, tmp_path, monkeypatch):
    fast = tmp_path / "fast.mp4"
    monkeypatch.setattr("affekt.media.video.video.FRAME_RATE", 50)
    write_video(fast, talking(20))
    monkeypatch.undo()
    assert probe(fast).fps == 50
    assert generate.main(command(inputs, tmp_path / "out.mp4", driving=fast)) == 0
    assert (probe(tmp_path / "out.mp4").fps, probe(tmp_path / "out.mp4").frames) == (25.0, 10)


def test_relative_motion_starts_from_the_portrait_itself_in_its_colours(inputs, tmp_path):
    out, options = tmp_path / "out.mp4", ("--relative", "--adapt-scale", "--comparison")
    assert generate.main(command(inputs, out, *options)) == 0
    comparison = read_frames(tmp_path / "out_comparison.mp4")
    assert comparison.shape == (9, SIZE, 3 * SIZE, 3)
    source, driving, result = np.split(comparison.astype(int), 3, axis=2)
    assert np.abs(source[0, 2:6, 2:6] - GREEN).max() < 16  # chroma is stored at half the size
    assert np.abs(driving[0, 2:6, 2:6] - (70, 90, 110)).max() < 16
    assert np.abs(result[0, 2:6, 4:8] - GREEN).max() < 40  # drawn by random weights, in part
    assert np.abs(source[0] - source[-1]).mean() < 2
    shown = read_frames(out).astype(int)
    assert np.abs(shown[0] - result[0]).mean() < 4  # both are compressed
    assert np.abs(shown[4] - shown[0]).mean() > np.abs(shown[0] - result[0]).mean()


def test_the_best_frame_is_where_relative_motion_starts(inputs, tmp_path):
    Image.fromarray(draw_face(320, height=0.5, background=GREEN, mouth=1)).save(
        tmp_path / "open.png"
    )
    first, best = (tmp_path / name for name in ("first.mp4", "best.mp4"))
    open_mouth = {"source": tmp_path / "open.png"}
    assert generate.main(command(inputs, first, "--relative", **open_mouth)) == 0
    assert generate.main(command(inputs, best, "--relative", "--best-frame", **open_mouth)) == 0
    at_rest = read_frames(first)[0].astype(int)
    distances = [np.abs(frame - at_rest).mean() for frame in read_frames(best).astype(int)]
    assert int(np.argmin(distances)) == 3  # where the driving mouth is open widest
    assert distances[0] > 2 * distances[3]


def test_options_without_effect_are_named(inputs, tmp_path, caplog):
    assert generate.main(command(inputs, tmp_path / "out.mp4", "--adapt-scale")) == 0
    assert "--adapt-scale changes nothing without --relative" in caplog.text


def test_pasted_back_the_portrait_is_whole_and_still_outside_the_crop(inputs, tmp_path):
    out = tmp_path / "out.mp4"
    assert generate.main(command(inputs, out, "--paste")) == 0
    shown = read_frames(out).astype(int)
    portrait = np.asarray(Image.open(inputs / "portrait.png"), int)[:, :300]  # an even width
    assert shown.shape == (9, 320, 300, 3)
    outside = (slice(300, 320), slice(0, 20))
    assert np.abs(shown[:, *outside] - portrait[outside]).max() < 16
    middle = (slice(120, 200), slice(120, 180))
    assert np.abs(shown[0][middle] - portrait[middle]).mean() > 4


def test_a_crop_goes_in_as_it_is(inputs, tmp_path):
    Image.fromarray(draw_face(SIZE, height=1.5, background=GREEN)).save(tmp_path / "tight.png")
    options = ("--crop=none", "--driving-crop=none", "--comparison")
    out = tmp_path / "out.mp4"
    assert generate.main(command(inputs, out, *options, source=tmp_path / "tight.png")) == 0
    comparison = read_frames(tmp_path / "out_comparison.mp4").astype(int)
    tight = np.asarray(Image.open(tmp_path / "tight.png"), int)
    assert np.abs(comparison[0, :, :SIZE] - tight).mean() < 8
    frames = read_frames(inputs / "driving.mp4")[:, 2::4, 2::4].astype(int)
    assert np.abs(comparison[:, :, SIZE : 2 * SIZE] - frames).mean() < 8


def test_a_crop_is_written_as_large_as_its_truth(inputs, tmp_path, capsys):
    own, large = tmp_path / "own.mp4", tmp_path / "large.mp4"
    assert generate.main(command(inputs, own)) == 0
    assert generate.main(command(inputs, large, "--size=96")) == 0
    pictures = read_frames(large).astype(int)
    assert pictures.shape == (9, 96, 96, 3)
    scaled = [Image.fromarray(frame).resize((96, 96), 3) for frame in read_frames(own)]
    assert np.abs(pictures - np.stack([np.asarray(each, int) for each in scaled])).mean() < 4
    assert "--size is 97" in refused(inputs, tmp_path, capsys, "--size=97")
    with pytest.raises(SystemExit):
        generate.main(command(inputs, large, "--size=96", "--paste"))


def refused(inputs, tmp_path, capsys, *more, **replaced):
    argv = command(inputs, tmp_path / "out.mp4", *more, **replaced)
    return generate_command.refused(argv, tmp_path, capsys)[-1]


def test_bad_inputs_end_in_one_line(inputs, tmp_path, capsys):
    nowhere = tmp_path / "nowhere"
    assert str(nowhere) in refused(inputs, tmp_path, capsys, source=nowhere)
    assert str(nowhere) in refused(inputs, tmp_path, capsys, driving=nowhere)
    assert "train_fomm.py" in refused(inputs, tmp_path, capsys, f"--fomm={nowhere}")
    no_picture = inputs / "driving.mp4"
    assert "no picture" in refused(inputs, tmp_path, capsys, source=no_picture)
    Image.new("RGB", (200, 200), (90, 90, 90)).save(tmp_path / "blank.png")
    assert "no face" in refused(inputs, tmp_path, capsys, source=tmp_path / "blank.png")
    write_video(tmp_path / "blank.mp4", np.full((9, 64, 64, 3), 90, np.uint8))
    assert "no face" in refused(inputs, tmp_path, capsys, driving=tmp_path / "blank.mp4")
    half = tmp_path / "half.mp4"
    whole = (inputs / "driving.mp4").read_bytes()
    half.write_bytes(whole[: len(whole) // 2])
    assert "partial copy" in refused(inputs, tmp_path, capsys, driving=half)


@pytest.mark.data
def test_real_portraits_and_videos(inputs, tmp_path, media_root):
    for name in ("portraits/mona.png", "edge/multi_face.jpg"):
        out = tmp_path / "out.mp4"
        paths = {"source": media_root / name, "driving": media_root / "edge/single_face.mp4"}
        assert generate.main(command(inputs, out, "--relative", "--paste", **paths)) == 0
        assert probe(out).frames == probe(paths["driving"]).frames
