"""Files as people have them: no declared length, holes, joints, several tracks, odd pictures."""

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
from PIL import Image as Pillow
from PIL import ImageCms

from affekt.media.audio.reader import read_audio
from affekt.media.video.container import MediaError, limited_length
from affekt.media.video.pictures import is_picture, read_picture
from affekt.media.video.result import read_driving_audio
from affekt.media.video.video import probe, read_frames, read_video, write_video
from tests.corpora import clapper


def _changes(shown):
    return [number for number, _ in itertools.groupby(shown)]


@pytest.mark.parametrize(
    ("suffix", "video", "audio"),
    [("mkv", "libx264", "aac"), ("webm", "libvpx", "libopus"), ("flv", "libx264", "aac")],
)
def test_a_stream_without_a_declared_length_is_read_whole(tmp_path, suffix, video, audio):
    path = clapper.write(tmp_path / f"a.{suffix}", 3.0, video=video, audio=audio)
    with av.open(str(path)) as container:
        assert container.streams.video[0].duration is None  # so the case is the one that is meant
    shown = [clapper.number(frame) for frame in read_video(path)]
    assert _changes(shown) == list(range(75))
    assert len(shown) <= 76
    assert probe(path).frames == len(shown)
    sound = read_audio(path)
    assert abs(len(sound) / 16000 - 3) < 0.05
    assert clapper.onsets(sound) == pytest.approx([1, 2], abs=0.03)


def test_a_recording_that_was_never_finished_is_counted(tmp_path):
    """A browser's recording: neither the track nor the file says how long it is."""
    whole = clapper.write(tmp_path / "a.webm", 2.0, video="libvpx", audio="libopus")
    live = tmp_path / "live.webm"
    with av.open(str(whole)) as source, av.open(str(live), "w", options={"live": "1"}) as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    with av.open(str(live)) as container:
        assert container.duration is None
    assert probe(live).frames == len(list(read_video(live))) == 50


def test_a_hole_in_the_sound_is_silence(tmp_path):
    path = clapper.write(tmp_path / "a.mkv", 6.0, hole=(2.4, 3.7))
    sound = read_audio(path)
    assert abs(len(sound) / 16000 - 6) < 0.05
    assert clapper.onsets(sound) == pytest.approx([1, 2, 4, 5], abs=0.03)
    assert not sound[round(2.6 * 16000) : round(3.6 * 16000)].any()


def test_files_joined_without_new_stamps_are_read_to_the_end(tmp_path):
    path = clapper.write(tmp_path / "a.ts", 3.0)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(2 * path.read_bytes())
    shown = [clapper.number(frame) for frame in read_video(joined)]
    assert len(shown) == pytest.approx(150, abs=2)
    assert _changes(shown) == 2 * list(range(75))
    assert probe(joined).frames == len(shown)
    assert clapper.onsets(read_audio(joined)) == pytest.approx([1, 2, 4, 5], abs=0.08)


@pytest.mark.parametrize("name", ["declared.mp4", "undeclared.ts"])
def test_media_above_a_limit_are_refused_by_what_they_declare_or_hold(tmp_path, name):
    path = clapper.write(tmp_path / name, 3.0)
    for read in (read_audio, read_frames):
        with limited_length(0.06):  # minutes: 3.6 s
            assert len(read(path))
        with limited_length(0.02), pytest.raises(MediaError, match=r"the limit is 0\.02") as caught:
            read(path)
        assert caught.value.reason == "too_long"


def test_many_joints_leave_sound_and_pictures_in_step(tmp_path):
    """Tracks of unlike length: each part begins for both where the longer one of the last ends."""
    path = clapper.write(tmp_path / "a.ts", 2.0, sounds=[clapper.beeps(2.5)])
    joined = tmp_path / "joined.ts"
    joined.write_bytes(5 * path.read_bytes())
    shown = [clapper.number(frame) for frame in read_video(joined)]
    beeps = clapper.onsets(read_audio(joined))
    ones = [k / 25 for k in range(1, len(shown)) if shown[k] == 25 != shown[k - 1]]
    assert len(ones) == 5
    assert beeps[::2] == pytest.approx(ones, abs=0.05)  # at 1 s of a part; the other one at 2 s


def test_a_pause_before_frames_that_are_coded_out_of_order_is_no_joint(tmp_path):
    """MP4 hands out lengths in the order of coding: the frame after a pause may carry it."""
    stamps = np.concatenate([np.arange(30) / 30, 2 + np.arange(30) / 30])
    path = clapper.write(tmp_path / "a.mp4", sounds=[], stamps=stamps)
    assert len(list(read_video(path))) == probe(path).frames == pytest.approx(75, abs=1)


@pytest.mark.parametrize("suffix", ["mkv", "wmv", "h264"])
def test_a_length_is_that_of_the_pictures(tmp_path, suffix):
    """Clocks that do not begin at 0, a sound that outlasts the pictures, no clock at all."""
    path = tmp_path / f"a.{suffix}"
    if suffix == "mkv":
        clapper.write(path, sounds=[], stamps=1 + np.arange(50) / 25)
    elif suffix == "wmv":
        clapper.write(path, 2.0, sounds=[clapper.beeps(3.0)], video="wmv2", audio="aac")
    else:
        clapper.write(path, 2.0, sounds=[])
    assert len(list(read_video(path))) == probe(path).frames == pytest.approx(50, abs=1)


def test_a_jump_far_ahead_is_refused_with_its_place(tmp_path):
    stamps = np.concatenate([np.arange(25) / 25, 3600 + np.arange(25) / 25])
    path = clapper.write(tmp_path / "a.mkv", sounds=[], stamps=stamps)
    with pytest.raises(MediaError, match=r"nothing from 1\.0\d s to 3600\.0") as error:
        list(read_video(path))
    assert error.value.reason == "jump"


def test_the_default_track_is_read(tmp_path):
    silence = np.zeros(3 * clapper.RATE, np.float32)
    path = clapper.write(tmp_path / "a.mkv", 3.0, sounds=[silence, clapper.beeps(3.0)])
    assert clapper.onsets(read_audio(path)) == pytest.approx([1, 2], abs=0.03)


def test_a_cover_picture_is_no_video(tmp_path):
    """A song with its cover: the sound would be cut to the picture's single frame."""
    cover, path = tmp_path / "cover.jpg", tmp_path / "song.m4a"
    Pillow.new("RGB", (80, 80), (200, 0, 0)).save(cover)
    with av.open(str(cover)) as source, av.open(str(path), "w", format="mp4") as container:
        picture = container.add_stream_from_template(source.streams.video[0])
        picture.disposition = av.stream.Disposition.attached_pic
        sound = container.add_stream("aac", rate=clapper.RATE, layout="mono")
        packet = next(source.demux())
        packet.stream = picture
        container.mux(packet)
        for packet in [*clapper.encoded(sound, clapper.beeps(3.0)), *sound.encode(None)]:
            container.mux(packet)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(MediaError) as error:
        next(read_video(path))
    assert error.value.reason == "no_video"
    assert len(read_driving_audio(path)) == pytest.approx(3 * 16000, rel=0.02)


def test_a_voice_in_the_centre_of_surround_sound_keeps_its_level(tmp_path):
    voice = 0.5 * np.sin(np.arange(16000) / 5)
    for channels, centre in ((6, 2), (8, 2)):
        sound = np.zeros((16000, channels))
        sound[:, centre] = voice
        soundfile.write(tmp_path / "a.wav", sound, 16000)
        assert np.abs(read_audio(tmp_path / "a.wav")).max() == pytest.approx(0.5, abs=1e-3)
    stereo = np.stack([voice, 0 * voice], axis=1)
    soundfile.write(tmp_path / "b.wav", stereo, 16000)
    assert np.abs(read_audio(tmp_path / "b.wav")).max() == pytest.approx(0.25, abs=1e-3)


@pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated")  # librosa's audioread
def test_sound_passes_full_scale_where_resampling_does(tmp_path):
    square = np.sign(np.sin(np.arange(44100) / 20)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", square, 44100, subtype="FLOAT")
    sound = read_audio(tmp_path / "a.wav")
    assert np.abs(sound).max() > 1.05  # as librosa.load; clipped only where 16 bits are written
    np.testing.assert_allclose(sound, read_audio(tmp_path / "a.wav", "librosa"), atol=1e-6)


def test_a_colon_in_a_relative_name_is_part_of_the_name(tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.chdir(tmp_path)
    frames = np.stack([clapper.picture(k) for k in range(10)])
    write_video(Path("2024-05-01T10:30:00.mp4"), frames, clapper.beeps(0.4, 16000))
    assert len(read_frames(Path("2024-05-01T10:30:00.mp4"))) == 10
    assert len(read_audio(Path("2024-05-01T10:30:00.mp4"))) > 6000


def test_a_size_that_changes_is_brought_to_the_first(tmp_path):
    small = clapper.write(tmp_path / "small.ts", 1.0)
    large = tmp_path / "large.ts"
    with av.open(str(large), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 384, 128, "yuv420p"
        for k in range(25):
            frame = av.VideoFrame.from_ndarray(clapper.picture(k, (128, 384)), format="rgb24")
            frame.pts, frame.time_base = 25 + k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    frames = read_frames(both)
    assert frames.shape[1:] == (64, 192, 3)
    assert clapper.number(frames[-1]) == 24


@pytest.mark.parametrize(("code", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_video_is_tone_mapped(tmp_path, code, name, caplog):
    """Grey, skin and colours of SDR, encoded by BT.2100's equations, come back within 6 of 255."""
    sdr = np.array([[128, 128, 128], [190, 140, 110], [150, 60, 60], [40, 120, 60]])
    light = (sdr / 255) ** 2.4 @ np.linalg.inv(
        [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    ).T.clip(0)
    if name == "PQ":
        y = (light * 203 / 10000) ** 0.1593017578125
        signal = ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    else:
        shown = light * 203 / 1000
        scene = shown * (shown @ [0.2627, 0.6780, 0.0593])[:, None] ** (-0.2 / 1.2)
        curve = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), curve)
    path = _write_hdr(tmp_path / "hdr.mkv", signal, code)
    frame = read_frames(path)[0]
    found = frame[32, [32, 96, 160, 224]].astype(int)
    assert np.abs(found - sdr).max() <= 6
    assert name in caplog.text


def _write_hdr(path, signal, code):
    """Write patches of 64 px whose R'G'B' signal is given, as 10-bit BT.2020 video."""
    luma = signal @ [0.2627, 0.6780, 0.0593]
    blue, red = (signal[:, 2] - luma) / 1.8814, (signal[:, 0] - luma) / 1.4746
    planes = 64 + 876 * luma, 512 + 896 * blue, 512 + 896 * red
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64 * len(signal), 64, "yuv444p10le"
        context = stream.codec_context
        context.color_range, context.colorspace = 1, 9
        context.color_trc, context.color_primaries = code, 9
        frame = av.VideoFrame(64 * len(signal), 64, "yuv444p10le")
        for plane, values in zip(frame.planes, planes, strict=True):
            line = np.zeros((64, plane.line_size // 2), np.uint16)
            line[:, : 64 * len(signal)] = np.rint(values).astype(np.uint16).repeat(64)
            plane.update(line.tobytes())
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        frame.colorspace, frame.color_range = 9, 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_interlaced_video_has_no_combs(tmp_path):
    """Two fields 1/50 s apart: the edge of a moving bar is jagged unless they are parted."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        options = {"qp": "0", "x264-params": "interlaced=1:tff=1"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        for k in range(20):
            picture = np.zeros((64, 128, 3), np.uint8)
            picture[0::2, 4 * k : 4 * k + 20] = 220
            picture[1::2, 4 * k + 10 : 4 * k + 30] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = read_frames(path)[..., 1].astype(int)
    assert len(frames) == 20
    combs = np.abs(np.diff(frames[2:-2], axis=1)).mean(axis=(1, 2))
    assert combs.max() < 5  # 34 as stored: half of the lines differ by 220 over 20 of 128 pixels


def test_a_phones_two_pictures_in_one_are_a_picture(tmp_path):
    picture = Pillow.new("RGB", (64, 48), (10, 200, 30))
    mpo = tmp_path / "phone.jpg"
    picture.save(mpo, format="MPO", save_all=True, append_images=[picture.resize((16, 12))])
    pages = tmp_path / "pages.tiff"
    picture.save(pages, save_all=True, append_images=[picture])
    assert is_picture(mpo)
    assert is_picture(pages)
    assert read_picture(mpo).shape == (48, 64, 3)
    others = [picture.point(lambda v, k=k: min(255, v + 20 * k)) for k in range(1, 5)]
    for name in ("a.gif", "a.png", "a.webp"):
        picture.save(tmp_path / name, save_all=True, append_images=others, duration=40)
        assert not is_picture(tmp_path / name), name


def test_an_embedded_profile_is_applied(tmp_path):
    """sRGB with red and blue exchanged: what is stored as red is shown as blue."""
    standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = standard.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    profile = profile.replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))
    red = Pillow.new("RGB", (8, 8), (200, 30, 30))
    for name, icc in (("plain", None), ("standard", standard), ("exchanged", profile)):
        red.save(tmp_path / f"{name}.png", icc_profile=icc)
    plain, same, other = (
        read_picture(tmp_path / f"{name}.png")[0, 0].tolist()
        for name in ("plain", "standard", "exchanged")
    )
    assert plain == same == [200, 30, 30]
    assert other == pytest.approx([30, 30, 200], abs=3)


def test_a_picture_of_a_format_that_starts_programs_is_refused(tmp_path):
    """An EPS file named .png would start Ghostscript."""
    Pillow.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "portrait.png")
    with pytest.raises(MediaError, match=r"is no picture that can be read; wanted PNG"):
        read_picture(tmp_path / "portrait.png")
    assert not is_picture(tmp_path / "portrait.png")


def test_a_playlist_is_no_media_file(tmp_path):
    clapper.write(tmp_path / "private.mp4", 1.0)
    (tmp_path / "clip.mp4").write_text("ffconcat version 1.0\nfile private.mp4\n")
    with pytest.raises(MediaError, match="is a playlist, a picture or of another kind"):
        next(read_video(tmp_path / "clip.mp4"))
