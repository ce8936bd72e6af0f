"""Sound of any container, rate, depth and channel count comes in as 16 kHz mono."""

import av
import librosa
import numpy as np
import pytest
import soundfile

from affekt.media.audio.reader import fitted, read_audio, write_wav
from affekt.media.video.video import MediaError, write_video


def speechlike(rate, seconds=1.0):
    t = np.arange(int(rate * seconds)) / rate
    envelope = 0.5 - 0.5 * np.cos(2 * np.pi * 3 * t)
    return 0.5 * envelope * np.sin(2 * np.pi * 200 * t) + 0.1 * np.sin(2 * np.pi * 1500 * t)


@pytest.mark.parametrize("reader", ["fast", "librosa"])
@pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated")  # librosa's audioread
def test_48_khz_stereo_is_averaged_and_resampled_as_librosa_does(tmp_path, reader):
    path = tmp_path / "stereo.wav"
    left = speechlike(48_000)
    soundfile.write(path, np.stack([left, 0.2 * left[::-1]], axis=1), 48_000, subtype="PCM_16")
    samples = read_audio(path, reader)
    stored, rate = soundfile.read(path, dtype="float32")  # librosa.load, without its warnings
    wanted = librosa.resample(librosa.to_mono(stored.T), orig_sr=rate, target_sr=16_000)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, wanted, atol=1e-6)


def test_16_khz_mono_is_kept_to_the_bit(tmp_path):
    path = tmp_path / "plain.wav"
    samples = np.random.default_rng(0).integers(-32768, 32767, 4000).astype(np.int16)
    soundfile.write(path, samples, 16_000)
    np.testing.assert_array_equal(read_audio(path), samples / np.float32(32768))


@pytest.mark.parametrize(("depth", "error"), [("PCM_U8", 1 / 128), ("PCM_24", 1e-6), ("FLOAT", 0)])
def test_sample_depths_are_understood(tmp_path, depth, error):
    path = tmp_path / "depth.wav"
    given = speechlike(16_000).astype(np.float32)
    soundfile.write(path, given, 16_000, subtype=depth)
    np.testing.assert_allclose(read_audio(path), given, atol=error)


def test_silence_stays_silence(tmp_path):
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.zeros((4800, 2)), 48_000)
    np.testing.assert_array_equal(read_audio(path), np.zeros(1600))


def test_the_content_decides_and_not_the_name(tmp_path):
    path = tmp_path / "sound.mov"  # as EAMM's release names its WAV files
    given = speechlike(16_000).astype(np.float32)
    soundfile.write(path, given, 16_000, format="WAV", subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(path), given)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_aac_in_m4a_is_read_in_time(tmp_path, rate):
    path = tmp_path / "voice.m4a"
    given = speechlike(rate).astype(np.float32)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo", bit_rate=128_000)
        frame = av.AudioFrame.from_ndarray(np.stack([given, given]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    samples, wanted = read_audio(path), speechlike(16_000).astype(np.float32)
    assert len(samples) == pytest.approx(16_000, abs=1100)  # AAC ends in whole frames
    lags = range(-80, 81)
    overlap = [samples[100 + lag : 15_000 + lag] @ wanted[100:15_000] for lag in lags]
    assert abs(lags[int(np.argmax(overlap))]) <= 16  # 1 ms
    assert np.corrcoef(samples[:15_000], wanted[:15_000])[0, 1] > 0.99


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.wav", "missing"),
        ("empty.wav", "empty"),
        ("noise.wav", "damaged"),
        ("half.wav", "truncated"),
        ("mute.mp4", "no_audio"),
        ("nothing.wav", "no_audio"),
        ("nan.wav", "damaged"),
    ],
)
def test_what_is_wrong_with_a_file_has_a_reason(tmp_path, name, reason):
    path = tmp_path / name
    if name == "empty.wav":
        path.touch()
    elif name == "noise.wav":
        path.write_bytes(np.random.default_rng(0).bytes(3000))
    elif name == "half.wav":
        soundfile.write(path, speechlike(16_000), 16_000)
        path.write_bytes(path.read_bytes()[:10_000])
    elif name == "mute.mp4":
        write_video(path, [np.zeros((16, 16, 3), np.uint8)] * 3)
    elif name == "nothing.wav":
        soundfile.write(path, np.zeros(0), 16_000)
    elif name == "nan.wav":
        soundfile.write(path, np.full(100, np.nan, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(MediaError) as error:
        read_audio(path)
    assert error.value.reason == reason
    assert str(path) in str(error.value)


def test_written_wav_reads_back_and_bad_samples_are_refused(tmp_path):
    given = speechlike(16_000).astype(np.float32)
    write_wav(tmp_path / "a.wav", given)
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), given, atol=1 / 32768)
    write_wav(tmp_path / "loud.wav", 3 * given)
    assert np.abs(read_audio(tmp_path / "loud.wav")).max() <= 1
    for wrong in (np.full(10, np.nan), np.zeros((2, 10))):
        with pytest.raises(ValueError, match="finite and mono"):
            write_wav(tmp_path / "b.wav", wrong)
    assert not (tmp_path / "b.wav").exists()


def test_fitted_cuts_and_pads():
    np.testing.assert_array_equal(fitted(np.array([1.0, 2.0, 3.0]), 2), [1, 2])
    np.testing.assert_array_equal(fitted(np.array([1.0, 2.0]), 4), [1, 2, 0, 0])


@pytest.mark.data
def test_real_sounds_have_the_lengths_of_the_releases(media_root):
    wanted = {  # samples at 16 kHz, computed from the releases' own files
        "evp_audio/M003_neutral.wav": 50859,
        "evp_audio/M003_34_3_output_01.wav": 51542,
        "eamm_audio/sample1.mov": 180960,
    }
    for name, length in wanted.items():
        assert len(read_audio(media_root / name)) == length
    talk = read_audio(media_root / "av_talk/1.mp4")  # AAC 44.1 kHz stereo, 6.107 s
    assert len(talk) == pytest.approx(6.107 * 16_000, abs=32)
    assert talk.std() > 0.01
