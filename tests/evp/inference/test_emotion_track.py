"""Schedules of emotions over time: files, weights, codes, and the faces that they make."""

import json

import numpy as np
import pytest

from affekt.media.audio.mfcc import sound_windows
from affekt.media.audio.reader import write_wav
from evp.inference.emotion_codes import load_codes, mean_codes, save_codes
from evp.inference.emotion_track import frame_times, read_track, track_of
from evp.inference.landmarks import Emotion, audio_to_landmarks, emotion_code
from evp.networks.audio2lm import load_predictor
from tests.corpora.spoken_corpus import make_corpus
from tests.corpora.tiny_evp import make_run

LAST = {"time": 3, "weights": {"sad ": 0.75, "happy": 0.25}}
JSON = {"points": [{"time": 1.0, "weights": {"happy": 1}}, LAST]}
CSV = "time,happy,sad\n1.0,1,\n\n3,0.25,0.75\n"
SPEAKER = "M901"


def write(folder, content, name="track.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(("content", "name"), [(JSON, "track.json"), (CSV, "track.csv")])
def test_json_and_csv_say_the_same(tmp_path, content, name):
    track = read_track(write(tmp_path, content, name))
    assert (track.labels, track.times) == (("happy", "sad"), (1.0, 3.0))
    assert (track.weights, track.interpolation) == (((1.0, 0.0), (0.25, 0.75)), "smooth")


def test_between_two_points_weights_follow_the_curve_and_outside_they_are_held():
    points = [("a", 1.0, {"happy": 1.0}), ("b", 3.0, {"happy": 0.25, "sad": 0.75})]
    times = [0, 1, 1.5, 2, 2.5, 3, 9]  # u = -, 0, 1/4, 1/2, 3/4, 1, -
    ways = {
        "smooth": [0, 0, 0.15625, 0.5, 0.84375, 1, 1],  # 3/16 - 2/64, ...
        "linear": [0, 0, 0.25, 0.5, 0.75, 1, 1],
        "step": [0, 0, 0, 0, 0, 1, 1],
    }
    for name, way in ways.items():
        weights = track_of(points, name).weights_at(times)
        np.testing.assert_allclose(weights[:, 1], 0.75 * np.array(way), atol=1e-12)
        np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_weights_pass_every_point_without_overshoot():
    rng = np.random.default_rng(0)
    rows = rng.dirichlet([0.3] * 4, 9)
    times = np.cumsum(rng.uniform(0.1, 2, 9))
    weights = [dict(zip("abcd", row, strict=True)) for row in rows.tolist()]
    track = track_of([*zip("012345678", times.tolist(), weights, strict=True)])
    np.testing.assert_allclose(track.weights_at(times), rows, atol=1e-12)
    for first, last, low, high in zip(times[:-1], times[1:], rows[:-1], rows[1:], strict=True):
        between = track.weights_at(np.linspace(first, last, 50))
        assert (between >= np.minimum(low, high) - 1e-12).all()
        assert (between <= np.maximum(low, high) + 1e-12).all()
        assert (np.diff(between, axis=0) * (high - low) >= -1e-12).all()


def test_a_frame_has_the_weights_of_the_middle_of_its_time():
    np.testing.assert_allclose(frame_times(3), [0.02, 0.06, 0.1])
    track = track_of([("a", 0.0, {"x": 1.0}), ("b", 0.1, {"y": 1.0})], "linear")
    codes = track.codes(np.array([[1, 0, 0], [0, 2, 0]], np.float32), 4)
    wanted = [[0.8, 0.4, 0], [0.4, 1.2, 0], [0, 2, 0], [0, 2, 0]]
    np.testing.assert_allclose(codes, wanted, atol=1e-6)
    assert codes.dtype == np.float32


def test_thirds_may_be_rounded_and_then_sum_to_1():
    track = track_of([("a", 0.0, dict.fromkeys("xyz", 0.333))])
    np.testing.assert_allclose(track.weights_at([0.5]), [[1 / 3] * 3])


def point(time, **weights):
    return {"time": time, "weights": weights}


STANDSTILL = {"points": [point(time, a=1) for time in (0, 2, 2)]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"points": [point(k, a=1) for k in (0, 2, 2)]},
            "point 3: times must rise, and 2 comes af",
        ),
        ({"points": [point(0, a=1), point(1, a=0.4, b=0.4)]}, "point 2: the weights sum to 0.8, w"),
        ({"points": [point(0, a=1.5, b=-0.5)]}, "point 1: the weight of 'b' is -0.5, wanted 0 to"),
        ({"points": [point(-1, a=1)]}, "point 1: the time is -1, wanted 0 or more"),
        ({"points": [point("0", a=1)]}, "point 1: the time is '0', wanted a number"),
        ({"points": [point(0, a=True)]}, "the weight of 'a' is True, wanted a number"),
        ({"points": [{"time": 0, "weights": 1}]}, "point 1: weights is no record"),
        ({"points": [{"time": 0, "happy": 1}]}, "point 1 holds happy, time; wanted time, weights"),
        ({"points": [point(0)]}, "point 1: the weights sum to 0, wanted 1"),
        ({"points": []}, "there is no point"),
        ({"points": 3}, "points is no list"),
        ({"points": [5]}, "point 1 is 5, wanted a record with time, weights"),
        ({}, "the file holds none of them; wanted points, interpolation"),
        ([point(0, a=1)], "the file is a list, wanted a record with points"),
        ({"points": [point(0, a=1)], "fps": 25}, "holds fps, points; wanted points, interpolation"),
        ({"points": [point(0, a=1)], "interpolation": "cubic"}, "'cubic', wanted one of smooth"),
        ('{"points": [{"time": NaN, "weights": {"a": 1}}]}', "the time is nan"),
        ({"points": [point(0, a=1), point(float("inf"), a=1)]}, "point 2: the time is inf"),
        ("{", "no JSON"),
    ],
)
def test_a_bad_json_file_is_named_with_what_is_wrong(tmp_path, content, said):
    with pytest.raises(ValueError, match=r"track\.json: ") as error:
        read_track(write(tmp_path, content))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("time,a\n0,1\n0,1\n", "line 3: times must rise, and 0 comes after 0"),
        ("time,a,b\n0,0.5,\n", "line 2: the weights sum to 0.5, wanted 1"),
        ("time,a\n0,much\n", "line 2: a is 'much', wanted a number"),
        ("time,a\n,1\n", "line 2: time is '', wanted a number"),
        ("time,a,b\n0,1\n", "line 2 has 2 cells, wanted 3"),
        ("a,time\n1,0\n", "the header is 'a,time', wanted time and labels"),
        ("time,a,a\n0,1,0\n", "wanted time and labels"),
        ("time\n0\n", "wanted time and labels"),
        ("time,a\n", "there is no point"),
        ("", "the header is ''"),
        ('time,a\n0,"1"2\n', "no CSV"),
    ],
)
def test_a_bad_csv_file_is_named_with_what_is_wrong(tmp_path, content, said):
    with pytest.raises(ValueError, match=r"track\.csv: ") as error:
        read_track(write(tmp_path, content, "track.csv"))
    assert said in str(error.value)


def test_other_files_are_no_schedules(tmp_path):
    with pytest.raises(FileNotFoundError, match="no schedule of emotions"):
        read_track(tmp_path / "none.json")
    with pytest.raises(ValueError, match=r"wanted a \.json or \.csv file"):
        read_track(write(tmp_path, CSV, "track.txt"))
    (tmp_path / "track.csv").write_bytes(b"time,\xff\n0,1\n")
    with pytest.raises(ValueError, match="UTF-8"):
        read_track(tmp_path / "track.csv")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained run with mean codes: its faces follow the codes, if not the truth."""
    root = tmp_path_factory.mktemp("run")
    corpus = make_corpus(root / "corpus", frames=12, pairs=False)
    make_run(root / "run", corpus)
    predictor = load_predictor(root / "run")
    save_codes(mean_codes(predictor.encoders.emotion, corpus), root / "run", corpus)
    return root / "run"


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

    track = write(tmp_path, {"points": [point(0.5, happy=1), point(1.5, angry=1)]})
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
    track = write(tmp_path, {"points": [point(0, joyful=1)]})
    with pytest.raises(ValueError, match=r"track\.json: unknown emotion 'joyful'; this run has"):
        face(run, sound, track=track)
