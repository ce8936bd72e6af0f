"""Schedules of emotions over time: files, weights, codes, and the faces that they make."""

import numpy as np
import pytest

from affekt.media.audio.mfcc import sound_windows
from affekt.media.audio.reader import write_wav
from affekt.media.emotion_track import EmotionTrack, frame_times, read_track
from evp.inference.emotion_codes import load_codes
from evp.inference.landmarks import Emotion, audio_to_landmarks, emotion_code
from evp.networks.audio2lm import load_predictor
from tests.corpora.spoken_corpus import make_corpus
from tests.corpora.tiny_evp import make_run

CSV = "time,happy,sad\n1.0,1,\n\n3,0.25,0.75\n"
SPEAKER = "M901"


def write(folder, content, name="track.csv"):
    path = folder / name
    path.write_text(content)
    return path


def test_a_file_gives_labels_times_and_weights(tmp_path):
    track = read_track(write(tmp_path, CSV))
    assert (track.labels, track.times) == (("happy", "sad"), (1.0, 3.0))
    assert track.weights == ((1.0, 0.0), (0.25, 0.75))


def test_between_two_points_weights_follow_the_curve_and_outside_they_are_held():
    track = EmotionTrack(("happy", "sad"), (1.0, 3.0), ((1.0, 0.0), (0.25, 0.75)))
    weights = track.weights_at([0, 1, 1.5, 2, 2.5, 3, 9])  # u = -, 0, 1/4, 1/2, 3/4, 1, -
    way = np.array([0, 0, 0.15625, 0.5, 0.84375, 1, 1])  # 3/16 - 2/64, ...
    np.testing.assert_allclose(weights[:, 1], 0.75 * way, atol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_weights_pass_every_point_without_overshoot():
    rng = np.random.default_rng(0)
    rows = rng.dirichlet([0.3] * 4, 9)
    times = np.cumsum(rng.uniform(0.1, 2, 9))
    track = EmotionTrack(tuple("abcd"), tuple(times.tolist()), tuple(map(tuple, rows.tolist())))
    np.testing.assert_allclose(track.weights_at(times), rows, atol=1e-12)
    for first, last, low, high in zip(times[:-1], times[1:], rows[:-1], rows[1:], strict=True):
        between = track.weights_at(np.linspace(first, last, 50))
        assert (between >= np.minimum(low, high) - 1e-12).all()
        assert (between <= np.maximum(low, high) + 1e-12).all()
        assert (np.diff(between, axis=0) * (high - low) >= -1e-12).all()


def test_a_frame_has_the_weights_of_the_middle_of_its_time():
    np.testing.assert_allclose(frame_times(3), [0.02, 0.06, 0.1])
    track = EmotionTrack(("x", "y"), (0.0, 0.08), ((1.0, 0.0), (0.0, 1.0)))
    codes = track.codes(np.array([[1, 0, 0], [0, 2, 0]], np.float32), 4)  # u = 1/4, 3/4, 1, 1
    wanted = [[0.84375, 0.3125, 0], [0.15625, 1.6875, 0], [0, 2, 0], [0, 2, 0]]
    np.testing.assert_allclose(codes, wanted, atol=1e-6)
    assert codes.dtype == np.float32


def test_thirds_may_be_rounded_and_then_sum_to_1(tmp_path):
    track = read_track(write(tmp_path, "time,x,y,z\n0,0.333,0.333,0.333\n"))
    np.testing.assert_allclose(track.weights_at([0.5]), [[1 / 3] * 3])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("time,a\n0,1\n0,1\n", "line 3: times must rise, and 0 comes after 0"),
        ("time,a,b\n0,0.5,\n", "line 2: the weights sum to 0.5, wanted 1"),
        ("time,a,b\n0,1.5,-0.5\n", "line 2: the weight of 'b' is -0.5, wanted 0 to"),
        ("time,a\n-1,1\n", "line 2: the time is -1, wanted 0 or more"),
        ("time,a\n0,1\ninf,1\n", "line 3: the time is inf"),
        ("time,a\n0,much\n", "line 2: a is 'much', wanted a number"),
        ("time,a\n,1\n", "line 2: time is '', wanted a number"),
        ("a,time\n1,0\n", "the header is 'a,time', wanted time and labels"),
        ("time\n0\n", "wanted time and labels"),
        ("time,a\n", "there is no point"),
        ("", "no column time; found: nothing"),
    ],
)
def test_a_bad_csv_file_is_named_with_what_is_wrong(tmp_path, content, said):
    with pytest.raises(ValueError, match=r"track\.csv(: |, | has | is )") as error:
        read_track(write(tmp_path, content))
    assert said in str(error.value)


def test_other_files_are_no_schedules(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read_track(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"wanted a \.csv file"):
        read_track(write(tmp_path, CSV, "track.txt"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained run with mean codes: its faces follow the codes, if not the truth."""
    root = tmp_path_factory.mktemp("run")
    corpus = make_corpus(root / "corpus", frames=12, pairs=False)
    return make_run(root / "run", corpus, codes=True)


@pytest.fixture(scope="module")
def sound():
    return np.random.default_rng(0).normal(0, 0.1, 640 * 50).astype(np.float32)


def face(run, sound, **emotion):
    return audio_to_landmarks(load_predictor(run), run, sound, SPEAKER, Emotion(**emotion))


def test_a_constant_schedule_is_the_label(run, sound, tmp_path):
    wanted = face(run, sound, label="happy")
    once = write(tmp_path, "time,happy,angry\n0,1,0\n", "once.csv")
    for track in (once, write(tmp_path, "time,happy,angry\n0.3,1,0\n1,1,0\n", "twice.csv")):
        np.testing.assert_array_equal(face(run, sound, track=track), wanted)


def test_a_change_leaves_earlier_frames_as_they_are_and_changes_later_ones(run, sound, tmp_path):
    track = write(tmp_path, "time,happy,angry\n1,1,0\n1.2,0,1\n", "track.csv")
    changing, happy = face(run, sound, track=track), face(run, sound, label="happy")
    np.testing.assert_array_equal(changing[:25], happy[:25])  # shown before second 1
    assert (np.abs(changing - happy).max(axis=(1, 2))[25:] > 1e-5).all()


def test_an_intensity_is_between_neutral_and_the_emotion_wherever_it_comes_from(
    run, sound, tmp_path
):
    predictor, codes = load_predictor(run), load_codes(run)
    windows = sound_windows(sound)
    neutral, happy = (codes.of(label, SPEAKER) for label in ("neutral", "happy"))

    def code(**emotion):
        return emotion_code(predictor, run, Emotion(**emotion), SPEAKER, windows)

    track = write(tmp_path, "time,happy,angry\n0.5,1,0\n1.5,0,1\n")
    other = tmp_path / "other.wav"
    write_wav(other, sound[::-1])
    sources = [{"label": "happy"}, {"blend": "angry:happy:0.4"}, {"track": track}]
    sources += [{}, {"audio": other}]
    for source in sources:
        full = code(**source)
        np.testing.assert_array_equal(code(**source, intensity=1.0), full)
        none = code(**source, intensity=0.0)
        np.testing.assert_array_equal(none, np.broadcast_to(neutral, full.shape))
        part = code(**source, intensity=0.25)
        np.testing.assert_allclose(part, 0.75 * neutral + 0.25 * full, atol=1e-7)
        assert part.dtype == np.float32
        assert np.abs(part - full).max() > 1e-4
    assert np.abs(neutral - happy).max() > 1e-4
    assert code(track=track).shape == (50, 6)
    assert np.abs(code(audio=other) - code()).max() > 1e-4


def test_an_intensity_beyond_the_emotion_is_refused():
    for intensity in (-0.1, 1.01, float("nan")):
        with pytest.raises(ValueError, match="wanted 0"):
            Emotion(label="happy", intensity=intensity)


def test_labels_that_a_run_does_not_know_are_named_with_the_file(run, sound, tmp_path):
    track = write(tmp_path, "time,joyful\n0,1\n")
    with pytest.raises(ValueError, match=r"track\.csv: unknown emotion 'joyful'; this run has"):
        face(run, sound, track=track)
