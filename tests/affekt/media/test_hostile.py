"""Files made to harm: they name other files, claim huge frames or last for hours."""

import av
import numpy as np
import pytest
import soundfile

from affekt.media.audio.reader import read_audio
from affekt.media.video.container import MediaError
from affekt.media.video.cut_off import ASF_PROPERTIES
from affekt.media.video.video import read_video
from tests.corpora import clapper
from tests.soak import documents, media, playlists


@pytest.mark.parametrize(
    "name",
    [
        *("bomb_wide.png", "claims.png", "noisy.tiff", "claims.npy", "claims.npz", "torn.npz"),
        *(
            "negative.npy",
            "claims.h5",
            "half.mat",
            "code_inside.pt",
            "deep.jsonl",
            "deep_landmarks.json",
        ),
    ],
)
def test_hostile_files_are_refused_in_one_line_that_names_them(tmp_path, name):
    passed, text = documents.refuses(tmp_path, name)
    assert passed, text


@pytest.mark.parametrize("name", ["hls_relative.m3u8", "concat.mp4", "%03d.png", "alias.mov"])
def test_a_file_that_names_other_files_opens_none_of_them(tmp_path, name):
    passed, text = playlists.follows(tmp_path, name)
    assert passed, text


def test_the_watch_of_other_files_sees_them_opened(tmp_path):
    (tmp_path / "a.ts").touch()
    watch = playlists.watch_folder(tmp_path)
    assert not playlists.opened_files(watch)
    (tmp_path / "a.ts").read_bytes()
    assert playlists.opened_files(watch) == {"a.ts"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("overwritten.flv", "damaged"), ("half.wmv", "truncated"), ("whole.wmv", "read")],
)
def test_damage_that_decoders_paint_over_is_refused(tmp_path, name, reason):
    """A tenth of an FLV replaced by noise; a WMV of half the bytes that its header declares."""
    write, reasons = next((write, right) for each, write, right in media.files() if each == name)
    assert reason in reasons
    passed, text = media.refused(tmp_path, name, write, (reason,))
    assert passed, text


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF"])
def test_half_a_sound_is_no_shorter_sound(tmp_path, kind):
    path = tmp_path / "a.sound"
    soundfile.write(path, np.zeros(16000, np.float32), 16000, "PCM_16", format=kind)
    assert len(read_audio(path)) == 16000
    path.write_bytes(path.read_bytes()[:16000])
    with pytest.raises(MediaError, match="a partial copy") as error:
        read_audio(path)
    assert error.value.reason == "truncated"


@pytest.mark.parametrize("end", ["mkv", "webm"])
def test_half_of_a_film_has_no_whole_sound(tmp_path, end):
    video, audio = {"mkv": ("libx264", "aac"), "webm": ("libvpx", "libopus")}[end]
    path = clapper.write(tmp_path / f"a.{end}", 3.0, video=video, audio=audio)
    assert len(read_audio(path)) >= 48000
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match=r"stops at 1\..* though it declares 3\.0") as error:
        read_audio(path)
    assert error.value.reason == "truncated"


@pytest.mark.parametrize(("kind", "place"), [("WAV", 4), ("W64", 16), ("AU", 8)])
def test_a_sound_whose_writer_had_no_size_yet_is_read(tmp_path, kind, place):
    path = tmp_path / "a.sound"
    soundfile.write(path, np.zeros(16000, np.float32), 16000, "PCM_16", format=kind)
    data = bytearray(path.read_bytes())
    data[place : place + (8 if kind == "W64" else 4)] = b"\xff" * (8 if kind == "W64" else 4)
    path.write_bytes(data)
    assert len(read_audio(path)) == 16000


def test_a_live_wmv_declares_no_size(tmp_path):
    path = clapper.write(tmp_path / "a.wmv", 1.0, video="wmv2")
    data = bytearray(path.read_bytes())
    place = data.index(ASF_PROPERTIES)
    data[place + 40 : place + 48], data[place + 88] = b"\xff" * 8, 1  # broadcast
    path.write_bytes(data)
    assert sum(1 for _ in read_video(path)) in (25, 26)


def test_a_film_that_was_cut_without_encoding_begins_with_its_first_whole_picture(tmp_path):
    """Its first B pictures need the key frame before the cut, which is the 13th picture of 100."""
    options = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0"}
    noise = np.random.default_rng(0).integers(0, 255, (64, 192, 3), np.uint8)
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 192, 64, "yuv420p"
        for k in range(100):
            picture = av.VideoFrame.from_ndarray(np.roll(noise, k, 1), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux() if packet.dts is not None]
        begin = [k for k, packet in enumerate(packets) if packet.is_keyframe][1]
        first = packets[begin].dts
        for packet in packets[begin:]:
            packet.pts, packet.dts, packet.stream = packet.pts - first, packet.dts - first, stream
            target.mux(packet)
    assert sum(1 for _ in read_video(cut)) >= 88


def test_frames_of_claimed_gigabytes_are_refused_before_room_is_made(tmp_path):
    """Each key frame of VP8 holds its own size: 15000 x 15000 here, after a header of 192 x 64."""
    path = clapper.write(tmp_path / "a.webm", 1.0, video="libvpx", audio="libopus")
    data = bytearray(path.read_bytes())
    start = data.index(b"\x9d\x01\x2a")
    data[start + 3 : start + 7] = 2 * (15000).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(MediaError, match="more than 50 million pixels") as error:
        next(read_video(path))
    assert error.value.reason == "damaged"


def test_a_frame_that_lasts_for_hours_is_refused_with_its_place(tmp_path):
    """The last of 25 frames is to be shown for 10 hours: 900,000 pictures of 25 a second."""
    path = clapper.write(tmp_path / "a.mp4", 1.0, sounds=[])
    data = path.read_bytes()
    table = data.index(b"stts") + 8
    assert data[table:][:12] == np.array([1, 25, 640], ">u4").tobytes()  # 16000 ticks a second
    rows = np.array([2, 24, 640, 1, 36000 * 16000], ">u4").tobytes()
    path.write_bytes(playlists.resized_boxes(data, table, 12, rows))
    with pytest.raises(MediaError, match=r"one frame, at 0\.9\d s, lasts 36000 s") as error:
        list(read_video(path))
    assert error.value.reason == "jump"
