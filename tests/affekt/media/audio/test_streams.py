"""Sound and MFCC that are read and written piece by piece are those of the whole."""

import io

import numpy as np
import pytest
import soundfile
import soxr

from affekt.media.audio import reader
from affekt.media.audio.mfcc import clip_mfcc, mfcc, mfcc_blocks
from affekt.media.audio.reader import BLOCK, fit_wav, read_audio, sound_blocks, wav_writer


def noise(count, channels=1):
    shape = (count, channels) if channels > 1 else count
    return np.random.default_rng(count).uniform(-0.9, 0.9, shape).astype(np.float32)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 8_000])
def test_the_pieces_of_a_sound_are_the_whole_resampled_at_once(tmp_path, rate):
    samples = noise(2 * BLOCK + 777, 2)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    pieces = list(sound_blocks(tmp_path / "a.wav"))
    assert len(pieces) >= 3
    assert max(map(len, pieces)) <= 2 * BLOCK + 1000  # what the filter held back
    mono = samples.mean(axis=1)
    whole = mono if rate == 16_000 else soxr.resample(mono, rate, 16_000, quality="HQ")
    wanted = -(-len(samples) * 16_000 // rate)
    assert sum(map(len, pieces)) == wanted
    np.testing.assert_array_equal(np.concatenate(pieces), reader.fitted(whole, wanted))
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav"), np.concatenate(pieces))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_wav_in_pieces_has_the_bytes_that_libsndfile_writes(tmp_path, kind):
    samples = noise(5000).astype(kind) * 1.2  # clipped
    with wav_writer(tmp_path / "a.wav") as append:
        for start in range(0, 5000, 640):
            append(samples[start : start + 640])
    whole = io.BytesIO()
    soundfile.write(whole, np.clip(samples, -1, 1), 16_000, subtype="PCM_16", format="WAV")
    assert (tmp_path / "a.wav").read_bytes() == whole.getvalue()


@pytest.mark.parametrize("length", [0, 400, 5000, 7000])
def test_a_wav_is_fitted_to_a_length(tmp_path, length):
    samples = noise(5000)
    with wav_writer(tmp_path / "a.wav") as append:
        append(samples)
    fit_wav(tmp_path / "a.wav", length)
    whole = io.BytesIO()
    wanted = reader.fitted(samples, length)
    soundfile.write(whole, wanted, 16_000, subtype="PCM_16", format="WAV")
    assert (tmp_path / "a.wav").read_bytes() == whole.getvalue()


@pytest.mark.parametrize("backend", ["fast", "python_speech_features"])
@pytest.mark.parametrize("samples", [0, 5, 640 * 900 - 13, 640 * 900 + 13])
def test_the_mfcc_of_a_clip_in_pieces_are_those_of_its_whole_sound(samples, backend):
    frames, sound = 900, noise(samples) if samples else np.zeros(0, np.float32)
    asked = []

    def read(start, stop):
        asked.append((start, stop))
        return sound[start:stop]

    found = np.concatenate(list(mfcc_blocks(read, frames, backend)))
    padded = reader.fitted(sound, 640 * frames).astype(float)
    assert found.shape == (4 * frames + 24, 13)
    np.testing.assert_allclose(found[:-1], mfcc(padded, backend), atol=1e-5, rtol=0)
    np.testing.assert_array_equal(found, clip_mfcc(sound, frames, backend))
    assert not found[-1].any()
    longest = max(stop - start for start, stop in asked)
    assert longest < (170_000 if backend == "fast" else 640 * frames + 1)
    assert all(0 <= start <= stop <= 640 * frames for start, stop in asked)
