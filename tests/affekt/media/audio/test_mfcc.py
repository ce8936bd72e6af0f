"""affekt.media.audio.mfcc against python_speech_features, which is the definition."""

import json

import numpy as np
import pytest
import python_speech_features
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from affekt.media.audio.mfcc import clip_mfcc, mfcc, windows
from benchmarks import harness


def library(samples):
    return python_speech_features.mfcc(np.pad(samples, 1920), 16_000, winstep=0.01)


def noise(length, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(length)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 20_000),
    seed=st.integers(0, 999),
    gain=st.sampled_from([1e-6, 0.1, 1.0, 3e4]),
    pause=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    offset=st.sampled_from([0.0, 0.3]),
)
def test_equals_the_library_at_any_length_and_level_with_pauses(length, seed, gain, pause, offset):
    samples = gain * (noise(length, seed) + offset)
    first, last = sorted(int(part * length) for part in pause)
    samples[first:last] = 0
    ours, theirs = mfcc(samples), library(samples)
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)


def test_the_library_itself_can_be_chosen_and_refuses_the_same_input():
    samples = noise(640 * 12)
    np.testing.assert_array_equal(mfcc(samples, "python_speech_features"), library(samples))
    fast, chosen = (clip_mfcc(samples, 12, name) for name in ("fast", "python_speech_features"))
    np.testing.assert_allclose(chosen, fast, atol=1e-5)
    samples[4000] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        mfcc(samples, "python_speech_features")


@pytest.mark.parametrize("length", [0, 1, 159, 160, 161, 400, 640 * 25, 64 * 160 - 3440, 100_001])
def test_rows_are_one_every_ten_milliseconds_of_the_padded_signal(length):
    rows = 1 + int(np.ceil((length + 3840 - 400) / 160))
    assert mfcc(np.zeros(length)).shape == (rows, 13)


def test_integer_and_single_precision_samples_are_read_at_their_value():
    samples = (1000 * noise(4000)).astype(np.int16)
    np.testing.assert_allclose(mfcc(samples), library(samples.astype(float)), rtol=0, atol=1e-10)
    single = noise(4000).astype(np.float32)
    np.testing.assert_allclose(mfcc(single), library(single.astype(float)), rtol=0, atol=1e-10)


def test_loudness_is_seen_by_column_0_alone():
    quiet, loud = mfcc(noise(16_000)), mfcc(4 * noise(16_000))
    full = slice(12, 100)  # rows without a padding sample
    np.testing.assert_allclose(loud[full, 1:], quiet[full, 1:], atol=1e-9)
    np.testing.assert_allclose(loud[full, 0] - quiet[full, 0], np.log(16), atol=1e-9)


@pytest.mark.parametrize("frames", [1, 2, 25, 151])
def test_a_clip_of_t_frames_has_exactly_t_windows(frames):
    coefficients = clip_mfcc(noise(640 * frames), frames)
    assert coefficients.shape == (4 * frames + 24, 13)
    assert coefficients.dtype == np.float32
    assert windows(coefficients).shape == (frames, 28, 12)


def test_a_clip_is_cut_or_padded_to_its_frames():
    samples = noise(640 * 30)
    cut = np.zeros(640 * 10)
    cut[:6000] = samples[:6000]
    np.testing.assert_array_equal(clip_mfcc(samples, 10), clip_mfcc(samples[:6400], 10))
    np.testing.assert_array_equal(clip_mfcc(samples[:6000], 10), clip_mfcc(cut, 10))


def test_the_rows_of_a_clip_are_the_librarys_and_the_missing_one_is_zero():
    samples = noise(640 * 12)
    coefficients = clip_mfcc(samples, 12)
    theirs = library(samples)
    np.testing.assert_allclose(coefficients[:-1], theirs, atol=1e-5)
    assert len(theirs) == len(coefficients) - 1
    assert not coefficients[-1].any()


def test_windows_are_a_view_of_rows_4k_to_4k_plus_27_without_the_energy():
    coefficients = np.arange(100 * 13, dtype=np.float32).reshape(100, 13)
    view = windows(coefficients)
    assert np.shares_memory(view, coefficients)
    assert len(view) == (100 - 28) // 4 + 1
    for k in (0, 7, 18):
        np.testing.assert_array_equal(view[k], coefficients[4 * k : 4 * k + 28, 1:])


def test_a_window_is_centred_on_its_frame():
    samples = np.zeros(640 * 40)
    samples[640 * 20 : 640 * 21] = noise(640)  # sound during frame 20 only
    energy = clip_mfcc(samples, 40)[:-1, 0]
    loud = np.flatnonzero(energy > -30)
    middle = (loud[0] + loud[-1]) / 2
    assert abs(middle - (4 * 20 + 13.5)) <= 1


def test_bad_input_is_refused_by_name():
    with pytest.raises(ValueError, match=r"shape \(2, 5\), wanted mono"):
        mfcc(np.zeros((2, 5)))
    for value in (np.nan, np.inf):
        samples = noise(5000)
        samples[4000] = value
        with pytest.raises(ValueError, match="NaN or infinite"), np.errstate(invalid="ignore"):
            mfcc(samples)
    with pytest.raises(ValueError, match="27 rows of MFCC hold no window"):
        windows(np.zeros((27, 13)))
    with pytest.raises(ValueError, match=r"wanted \(rows, 13\)"):
        windows(np.zeros((28, 12)))
    with pytest.raises(ValueError, match="0 video frames"):
        clip_mfcc(np.zeros(640), 0)


# Samples at 16 kHz, MFCC rows, windows of the release's own audio files (evp_official.md Sec. 9).
RELEASED = ((96_000, 623, 149), (688_054, 4323, 1074), (50_859, 341, 79), (46_763, 315, 72))


@pytest.mark.parametrize(("length", "rows", "count"), RELEASED)
def test_files_of_the_release_have_its_rows_and_windows(length, rows, count):
    coefficients = mfcc(np.zeros(length))
    assert (len(coefficients), len(windows(coefficients))) == (rows, count)


@pytest.mark.data
def test_equals_the_library_on_real_speech(media_root):
    file = sorted((media_root / "emodb/wav").glob("*.wav"))[0]
    samples, _ = soundfile.read(file)
    np.testing.assert_allclose(mfcc(samples), library(samples), rtol=0, atol=1e-10)


def test_a_benchmark_alternates_its_candidates_and_ends_with_json(capsys):
    order = []
    candidates = {"slow": lambda: order.append("slow"), "fast": lambda: order.append("fast")}
    timing = harness.compare(candidates, rounds=3)
    assert order == ["slow", "fast"] * 4  # one round to warm up, three measured
    assert timing.ratio["slow"] == 1
    assert timing.rounds == 3

    def measure(args):
        result = harness.Result("x")
        result.time("3", candidates, rounds=1)
        result.differ([1.0, 2.0], [1.0, 2.5])
        return result

    harness.main("doc", measure, argv=["--json"])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["name"], list(last["ratio"]), last["max_abs_diff"]) == ("x", ["3"], 0.5)
