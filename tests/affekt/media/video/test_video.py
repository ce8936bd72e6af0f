"""Videos come in at 25 fps by their time stamps, and go out whole or not at all."""

import contextlib
import itertools
import resource
import signal
import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from affekt.media.audio.reader import read_audio
from affekt.media.video.container import Media
from affekt.media.video.video import (
    MediaError,
    VideoWriter,
    keep_buffers,
    probe,
    read_frames,
    read_video,
    write_video,
)

SIZE = 64


def grey(level, size=SIZE):
    return np.full((size, size, 3), level, np.uint8)


def encode(path, stamps, levels, time_base=Fraction(1, 1000), rotation=0, aspect=None):
    """Write flat frames at the given time stamps (seconds), lossless."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "g": "8"})
        stream.width, stream.height, stream.pix_fmt = 96, SIZE, "yuv444p"
        stream.time_base = stream.codec_context.time_base = time_base
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for stamp, level in zip(stamps, levels, strict=True):
            picture = np.full((SIZE, 96, 3), level, np.uint8)
            picture[:16, :16] = 255  # the upper left corner, to see a rotation
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(stamp / time_base), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shown_levels(path):
    return [int(np.rint(frame[40, 60, 0] / 2)) * 2 for frame in read_video(path)]


def test_a_video_at_25_fps_gives_each_frame_once(tmp_path):
    stamps = np.arange(10) / 25
    path = encode(tmp_path / "a.mp4", stamps, 20 * np.arange(10))
    assert shown_levels(path) == (20 * np.arange(10)).tolist()


def test_each_instant_shows_the_frame_nearest_in_time(tmp_path):
    stamps = np.arange(12) / 30
    path = encode(tmp_path / "a.mkv", stamps, 20 * np.arange(12))
    # 12 frames at 30 fps are 0.4 s, 10 instants; k / 25 s is 1.2 k frames: 0, 1.2, 2.4, 3.6, ...
    assert shown_levels(path) == [20 * n for n in (0, 1, 2, 4, 5, 6, 7, 8, 10, 11)]


def test_a_held_frame_lasts_and_a_burst_is_thinned(tmp_path):
    stamps = [0, 0.04, 0.24, 0.25, 0.26, 0.28, 0.32]
    path = encode(tmp_path / "a.mkv", stamps, 30 * np.arange(7))
    # instants .00 .04 .08 .12 | .16 .20 .24 | .28 .32: between .04 and .24 the change is at .14
    assert shown_levels(path) == [0, 30, 30, 30, 60, 60, 60, 150, 180]


def test_a_slow_video_repeats_frames_and_keeps_its_length(tmp_path):
    path = encode(tmp_path / "a.mp4", np.arange(10) / 10, 20 * np.arange(10))
    # instants 0 .04 .08 .12 .16 .20 ... show 0 0 1 1 2 2 ...; the last frame lasts 0.04 s
    wanted = [20 * int(np.ceil(0.4 * k - 0.5)) for k in range(24)]
    assert shown_levels(path) == wanted
    assert probe(path).frames == 24


def test_rotation_and_pixel_aspect_are_applied(tmp_path):
    stamps = np.arange(3) / 25
    turned = encode(tmp_path / "r.mp4", stamps, [0, 0, 0], rotation=90)
    picture = next(read_video(turned))
    assert picture.shape == (96, SIZE, 3)
    assert (probe(turned).width, probe(turned).height) == (SIZE, 96)
    assert picture[-8, 8, 0] > 200  # a quarter counter-clockwise: upper left becomes lower left
    wide = encode(tmp_path / "w.mp4", stamps, [0, 0, 0], aspect=Fraction(4, 3))
    assert next(read_video(wide)).shape == (SIZE, 128, 3)


def test_a_late_first_picture_and_late_sound_keep_their_delay(tmp_path):
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"qp": "0"})
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for k in range(10):
            frame = av.VideoFrame.from_ndarray(grey(100), format="rgb24")
            frame.pts = k
            container.mux(video.encode(frame))
        sound = av.AudioFrame.from_ndarray(
            np.full((1, 3200), 9000, np.int16), format="s16", layout="mono"
        )
        sound.sample_rate, sound.pts, sound.time_base = 16_000, 3200, Fraction(1, 16_000)
        container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    samples = read_audio(path)
    assert np.flatnonzero(samples)[0] == pytest.approx(3200, abs=16)  # matroska counts in ms
    assert len(samples) == pytest.approx(6400, abs=16)


def test_written_video_is_h264_25_fps_and_close_to_what_was_given(tmp_path):
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.normal(0, 400, (SIZE, SIZE, 3)), (0, 0), 4)
    frames = [np.clip(128 + smooth + 4 * k, 0, 255).astype(np.uint8) for k in range(12)]
    path = tmp_path / "out.mp4"
    write_video(path, frames)
    info = probe(path)
    assert (info.width, info.height, info.fps, info.frames) == (SIZE, SIZE, 25, 12)
    assert not info.has_audio
    error = np.square(read_frames(path).astype(float) - np.stack(frames)).mean()
    assert 10 * np.log10(255**2 / error) > 36
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # fast start


def test_colours_are_not_exchanged(tmp_path):
    red = np.full((SIZE, SIZE, 3), (220, 40, 60), np.uint8)
    write_video(tmp_path / "red.mp4", [red] * 3)
    np.testing.assert_allclose(read_frames(tmp_path / "red.mp4").mean((0, 1, 2)), red[0, 0], atol=4)


def test_written_sound_is_in_step_with_the_pictures(tmp_path):
    flash, click = 40, np.zeros(75 * 640, np.float32)
    click[flash * 640 : flash * 640 + 160] = 0.8
    frames = [grey(220 if k == flash else 20) for k in range(75)]
    path = tmp_path / "sync.mp4"
    write_video(path, frames, click)
    assert read_frames(path).mean((1, 2, 3)).argmax() == flash
    heard = np.abs(read_audio(path))
    onset = np.flatnonzero(heard > 0.3 * heard.max())[0]
    assert abs(onset - flash * 640) < 80  # 5 ms


def test_sound_is_cut_or_padded_to_the_pictures(tmp_path):
    for seconds in (0.1, 3.0):
        path = tmp_path / "s.mp4"
        write_video(path, [grey(20)] * 25, np.full(int(16_000 * seconds), 0.1, np.float32))
        assert len(read_audio(path)) == pytest.approx(16_000, abs=1024)  # one AAC frame


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.mp4", "missing"),
        ("empty.mp4", "empty"),
        ("noise.mp4", "damaged"),
        ("half.mp4", "truncated"),
        ("half_fast.mp4", "truncated"),
        ("overwritten.mp4", "damaged"),
        ("sound.mp4", "no_video"),
    ],
)
def test_what_is_wrong_with_a_file_has_a_reason(tmp_path, name, reason):
    path = tmp_path / name
    stamps, levels = np.arange(50) / 25, np.random.default_rng(0).integers(0, 255, 50)
    whole = encode(tmp_path / "slow.mp4", stamps, levels).read_bytes()
    write_video(tmp_path / "fast.mp4", [grey(int(level)) for level in levels])
    fast = (tmp_path / "fast.mp4").read_bytes()
    middle = fast.index(b"mdat") + (len(fast) - fast.index(b"mdat")) // 3
    broken = fast[:middle] + bytes(400) + fast[middle + 400 :]
    contents = {
        "empty.mp4": b"",
        "noise.mp4": np.random.default_rng(0).bytes(5000),
        "half.mp4": whole[: len(whole) // 2],
        "half_fast.mp4": fast[: len(fast) // 2],
        "overwritten.mp4": broken,
    }
    if name in contents:
        path.write_bytes(contents[name])
    if name == "sound.mp4":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=16_000, layout="mono")
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 4096), np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate = 16_000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    with pytest.raises(MediaError) as error:
        list(read_video(path))
    assert error.value.reason == reason
    assert str(path) in str(error.value)


def test_a_stream_that_stops_early_is_truncated(monkeypatch, tmp_path):
    """A container without boxes: the end is only known from what the stream declares."""
    path = encode(tmp_path / "whole.mov", np.arange(100) / 25, [60] * 100)
    whole = Media.timed
    monkeypatch.setattr(Media, "timed", lambda *given: itertools.islice(whole(*given), 60))
    with pytest.raises(MediaError, match=r"stops at 2.40 s, though it declares 4.00 s"):
        list(read_video(path))


def test_odd_sizes_and_wrong_frames_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"even sizes, not 65 x 64; .* 66 x 64"):
        VideoWriter(tmp_path / "odd.mp4", (65, 64))
    with (
        pytest.raises(ValueError, match=r"frame 0 is uint8 \(32, 32, 3\), wanted"),
        VideoWriter(tmp_path / "o.mp4", (64, 64)) as writer,
    ):
        writer.write(grey(0, 32))
    with pytest.raises(ValueError, match="no frame"):
        write_video(tmp_path / "none.mp4", [])
    with pytest.raises(ValueError, match="finite mono"):
        VideoWriter(tmp_path / "o.mp4", (64, 64), np.full(10, np.nan))
    assert not list(tmp_path.iterdir())


def test_an_error_while_writing_leaves_the_older_file(tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, [grey(10)] * 5)
    before = path.read_bytes()

    def interrupted():
        yield grey(200)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, interrupted())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@contextlib.contextmanager
def files_no_larger_than(size):
    """The system refuses to write further, as it does when a disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("limit", [0, 20_000, 100_000])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, limit):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8) for _ in range(40)]
    write_video(tmp_path / "whole.mp4", frames)
    assert (tmp_path / "whole.mp4").stat().st_size > 100_000
    with files_no_larger_than(limit), pytest.raises(OSError, match="File too large"):
        write_video(tmp_path / "cut.mp4", frames)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.mp4"]


@pytest.mark.data
def test_real_videos_have_the_frames_that_their_length_tells(media_root):
    cases = {
        "mead_av/M030_sad_3_001.mp4": 93,  # 112 frames at 30 fps
        "mead_av/W023_level_2_surprised_010.mp4": 73,
        "av_talk/1.mp4": 153,  # variable rate, 135 frames in 6.13 s
        "edge/single_face.mp4": 60,  # 72 frames at 30 fps
    }
    for name, count in cases.items():
        assert sum(1 for _ in read_video(media_root / name)) == count, name
    grid = next((media_root / "grid_s1").glob("*.mpg"))
    assert sum(1 for _ in read_video(grid)) == 75


def test_equal_pictures_give_equal_files(tmp_path):
    random = np.random.default_rng(0)
    still = random.integers(0, 255, (12, 12, 3), np.uint8)
    frames = [cv2.resize(np.roll(still, k, 1), (96, 96)) for k in range(30)]
    files = set()
    for number in range(12):
        write_video(tmp_path / f"{number}.mp4", frames)
        files.add((tmp_path / f"{number}.mp4").read_bytes())
    assert len(files) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted on Linux")
def test_memory_of_freed_pictures_is_kept():
    """A picture of 1080p has 1519 pages of 4 kB; without a kept buffer each is faulted in anew."""
    keep_buffers()
    np.ones((1080, 1920, 3), np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones((1080, 1920, 3), np.uint8)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 500
