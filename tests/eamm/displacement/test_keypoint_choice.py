"""The measured responses of keypoints whose motion is made up, so that the answer is known."""

import json

import numpy as np
import pytest
import torch

from affekt.nets.fingerprint import fingerprint
from affekt.runtime.config import ConfigError
from eamm.displacement.keypoint_choice import (
    FILE,
    REACH,
    Response,
    Track,
    choose,
    main,
    measure_track,
    read_choice,
    responses,
)
from eamm.pose import release_pose
from tests.corpora.emotional_corpus import make_emotional_corpus, make_emotional_fomm

SHIFT = {"happy": 0.05, "sad": -0.05}  # of an emotion, crop units; its root mean square is 0.05
K = 7  # still, emotion, speech, pose, emotion in the jacobian, emotion and speech, noise


def made_up(rng, speaker, emotion, frames=60, lively=1.0, noise=0.0):
    """A clip whose keypoints each do one thing; emotions open the mouth wider and lean the head."""
    shift = SHIFT.get(emotion, 0.0)
    mouth = 4 + rng.standard_normal(frames) + 80 * shift
    width = 50 + rng.standard_normal(frames) + 100 * shift
    pose = lively * rng.standard_normal((frames, 6)) + 20 * shift
    numbers = np.zeros((frames, K, 6))
    numbers[:] = np.linspace(-0.8, 0.8, K)[:, None]
    numbers[:, 1, 1] += shift
    numbers[:, 2, 1] += 0.03 * mouth
    numbers[:, 3, 0] += 0.04 * pose[:, 0]
    numbers[:, 4, 2] += shift / REACH
    numbers[:, 5, 0] += shift
    numbers[:, 5, 1] += 0.05 * width
    numbers[:, 6] += 0.02 * rng.standard_normal(6)  # another place in every clip
    numbers += noise * rng.standard_normal(numbers.shape)
    return Track(speaker, emotion, numbers, np.column_stack([mouth, width, pose]))


def tracks(seed=0, speakers="AB", neutral=6, **options):
    rng = np.random.default_rng(seed)
    shown = ["neutral"] * neutral + [*SHIFT] * 2
    return [made_up(rng, speaker, emotion, **options) for speaker in speakers for emotion in shown]


def test_each_keypoint_responds_to_what_moves_it_and_by_how_much():
    still, emotion, speech, pose, jacobian, both, _ = responses(tracks())
    assert (still.emotion, still.speech, still.pose) == pytest.approx((0, 0, 0), abs=1e-6)
    assert (emotion.emotion, emotion.speech) == pytest.approx((0.05, 0), abs=1e-6)
    assert (speech.emotion, speech.pose) == pytest.approx((0, 0), abs=1e-6)
    assert speech.speech == pytest.approx(0.03, rel=0.1)
    assert (pose.emotion, pose.speech) == pytest.approx((0, 0), abs=1e-6)
    assert pose.pose == pytest.approx(0.04, rel=0.1)
    assert jacobian.emotion == pytest.approx(0.05, abs=1e-6)
    assert both.emotion == pytest.approx(0.05, abs=1e-6)
    assert both.speech == pytest.approx(0.05, rel=0.1)


def test_what_neutral_clips_differ_by_hardly_counts_as_emotion():
    """The mean over many speakers, so that the chance of a few clips does not decide."""
    assert responses(tracks(speakers="ABCDEFGHIJKLMNOP"))[6].emotion < 0.35 * 0.02 * np.sqrt(2)


def test_noise_in_every_frame_hardly_changes_the_answer():
    clean, noisy = responses(tracks()), responses(tracks(noise=0.01))
    for one, two in zip(clean[:6], noisy, strict=False):
        assert two.emotion == pytest.approx(one.emotion, abs=0.01)
        assert two.speech == pytest.approx(one.speech, abs=0.01)


def test_selectivity_and_score_by_hand():
    one = Response(0, emotion=0.03, speech=0.01, pose=1.0)
    assert one.selectivity == pytest.approx(0.75)
    assert one.score == pytest.approx(0.0225)
    nothing = Response(0, 0.0, 0.0, 0.0)
    assert (nothing.selectivity, nothing.score) == (0.0, 0.0)


def test_the_chosen_ones_move_with_emotion_and_leave_speech_alone():
    found = responses(tracks())
    assert set(choose(found, 2)) == {1, 4}
    assert set(choose(found, 7, selectivity=0.6)) - {6} == {1, 4}
    assert 5 in choose(found, 7, selectivity=0.4)
    assert 2 not in choose(found, 7, selectivity=0.4)


def test_the_order_is_that_of_the_scores():
    found = [Response(k, e, 0.001, 0.0) for k, e in enumerate((0.02, 0.05, 0.004, 0.03))]
    assert choose(found, 3) == (1, 3, 0)
    assert choose(found, 1) == (1,)
    assert choose(found, 9) == (1, 3, 0)


@pytest.mark.parametrize("count", [0, -2])
def test_fewer_than_one_is_refused(count):
    with pytest.raises(ValueError, match="--count is"):
        choose([Response(1, 1.0, 0.1, 0.0)], count)


def test_nothing_selective_is_refused_with_the_best_there_is():
    with pytest.raises(ValueError, match=r"0 with 0\.25, wanted 0\.67"):
        choose([Response(k, 0.01, 0.03, 0.0) for k in range(3)], 2)


def test_speakers_without_neutral_or_emotional_clips_do_not_count():
    both = tracks()
    alone = [track for track in tracks(3, speakers="C") if track.emotion != "neutral"]
    assert responses(both + alone) == responses(both)
    with pytest.raises(ValueError, match="nothing to measure"):
        responses(alone)


def test_a_track_holds_the_detectors_keypoints_beside_mouth_and_pose(tmp_path):
    corpus, fomm = make_emotional_corpus(tmp_path, 1, 0), make_emotional_fomm(tmp_path / "fomm")
    clip = corpus.clips(emotion="happy")[0]
    track = measure_track(fomm, clip, stride=3)
    assert (track.speaker, track.emotion) == ("M901", "happy")
    assert track.numbers.shape == (4, 3, 6)
    np.testing.assert_array_equal(track.causes[:, 2:], release_pose(clip)[::3])
    face = clip.aligned("2d")[3]
    assert track.causes[1, 1] == pytest.approx(np.linalg.norm(face[54] - face[48]))
    gaps = np.linalg.norm(face[[61, 62, 63]] - face[[67, 66, 65]], axis=1)
    assert track.causes[1, 0] == pytest.approx(gaps.mean())


def test_the_command_finds_the_brows_and_writes_them(tmp_path):
    make_emotional_corpus(tmp_path / "corpus", 3, 1, frames=16)
    fomm = make_emotional_fomm(tmp_path / "fomm")
    main(["--fomm", str(tmp_path / "fomm"), "--corpus", str(tmp_path / "corpus"), "--count", "1"])
    record = json.loads((tmp_path / "fomm" / FILE).read_text())
    assert record["keypoint_ids"] == [1]
    lips, brows, _ = record["keypoints"]
    assert brows["emotion"] > 3 * brows["speech"]
    assert lips["speech"] > lips["emotion"]
    assert read_choice(tmp_path / "fomm" / FILE, fomm.detector) == (1,)
    torch.manual_seed(1)
    other = make_emotional_fomm(tmp_path / "other")
    assert fingerprint(other.detector) != record["detector"]
    with pytest.raises(ConfigError, match="keypoints mean nothing to another one"):
        read_choice(tmp_path / "fomm" / FILE, other.detector)


def test_a_missing_run_ends_the_command_with_its_message(tmp_path):
    with pytest.raises(SystemExit, match=r"fomm\.yaml is missing"):
        main(["--fomm", str(tmp_path), "--corpus", str(tmp_path)])
