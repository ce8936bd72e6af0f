"""Predicted faces: closed mouths in long pauses, smoothing as in the release, the target's eyes."""

import numpy as np
import pytest

from affekt.media.faces.one_euro import one_euro
from affekt.media.faces.points import BROWS, EYES, JAW, MOUTH, NOSE
from evp.inference.postprocess import (
    LANDMARK_FILTER,
    PauseRule,
    PostprocessOptions,
    closed_where,
    mouth_closed,
    postprocessed,
    silent_frames,
    smoothed,
    with_eyes_of,
)

T = 30
LIDS = [37, 38, 40, 41, 43, 44, 46, 47]
REST = [point for point in range(68) if point not in LIDS]


@pytest.fixture
def placed():
    return np.random.default_rng(0).normal(0, 2, (T, 68, 2)).cumsum(axis=0) + 500


@pytest.fixture
def target():
    return np.random.default_rng(1).normal(0, 2, (T, 68, 2)).cumsum(axis=0) + 300


def openings(faces):
    """Height over width of either eye, (2, T)."""
    eyes = ([37, 38], [41, 40], 39, 36), ([43, 44], [47, 46], 42, 45)
    heights = [
        np.linalg.norm(faces[:, u] - faces[:, low], axis=2).sum(axis=1) for u, low, *_ in eyes
    ]
    widths = [np.linalg.norm(faces[:, a] - faces[:, b], axis=1) for *_, a, b in eyes]
    return np.array(heights) / widths


def test_smoothing_is_the_one_euro_filter_of_every_coordinate(placed):
    assert LANDMARK_FILTER == {"mincutoff": 0.01, "beta": 0.7, "dcutoff": 1.0, "freq": 100.0}
    vectors = one_euro(placed.reshape(T, 136), 0.01, 0.7, 1.0, 100.0)
    np.testing.assert_array_equal(smoothed(placed, 1080), vectors.reshape(T, 68, 2))
    assert (smoothed(placed, 1080)[1:] != placed[1:]).all()


def test_a_smaller_copy_of_a_video_is_smoothed_alike(placed):
    half = smoothed(placed / 2, 540)
    np.testing.assert_allclose(2 * half, smoothed(placed, 1080), rtol=1e-12)
    assert np.abs(half - one_euro(placed / 2, 0.01, 0.7)).max() > 0.1


def test_eyes_are_open_as_the_targets_and_nothing_else_changes(placed, target):
    before = placed.copy()
    blinking = with_eyes_of(target, placed)
    np.testing.assert_array_equal(placed, before)
    np.testing.assert_array_equal(blinking[:, REST], placed[:, REST])
    np.testing.assert_allclose(openings(blinking), openings(target), rtol=1e-9)
    assert np.abs(openings(placed) - openings(target)).max() > 0.1


def test_lids_take_the_shape_that_the_targets_have_between_the_corners_of_the_eye():
    target, placed = np.zeros((1, 68, 2)), np.zeros((1, 68, 2))
    target[0, [36, 37, 38, 39, 40, 41]] = [[0, 0], [1, -1], [3, -1], [4, 0], [3, 1], [1, 1]]
    target[0, [42, 43, 44, 45, 46, 47]] = [[9, 0], [10, 0], [12, 0], [13, 0], [12, 0], [10, 0]]
    placed[0, [36, 39]] = [[10, 10], [10, 18]]  # twice as wide, turned by 90 degrees
    placed[0, [42, 45]] = [[30, 10], [34, 10]]
    placed[0, [40, 47]] = 99.0  # a predicted lid, of which nothing is left
    found = with_eyes_of(target, placed)[0]
    left = [[10, 10], [12, 12], [12, 16], [10, 18], [8, 16], [8, 12]]
    np.testing.assert_allclose(found[36:42], left, atol=1e-12)
    shut = [[30, 10], [31, 10], [33, 10], [34, 10], [33, 10], [31, 10]]
    np.testing.assert_allclose(found[42:48], shut, atol=1e-12)


def test_a_face_of_its_own_eyes_is_the_same_face(placed):
    np.testing.assert_allclose(with_eyes_of(placed, placed), placed, rtol=1e-12)


def test_what_is_not_asked_for_is_not_done(placed, target):
    np.testing.assert_array_equal(postprocessed(placed, target, 720, PostprocessOptions()), placed)
    calm = postprocessed(placed, target, 720, PostprocessOptions(smooth=True))
    np.testing.assert_array_equal(calm, smoothed(placed, 720))
    blinking = postprocessed(placed, target, 720, PostprocessOptions(eyes="target"))
    np.testing.assert_array_equal(blinking, with_eyes_of(target, placed))


def test_a_blink_of_the_target_is_not_smoothed(placed, target):
    both = postprocessed(placed, target, 720, PostprocessOptions(smooth=True, eyes="target"))
    np.testing.assert_allclose(openings(both), openings(target), rtol=1e-9)
    np.testing.assert_array_equal(both[:, REST], smoothed(placed, 720)[:, REST])


FRAME = 640  # samples
RULE = PauseRule()


def sound(*parts):
    """Samples of runs of frames: (how many, what the samples of each add up to)."""
    return np.concatenate([np.full(count * FRAME, total / FRAME) for count, total in parts])


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        # A frame is silent by the sum of its samples.
        ([(20, 0.099), (3, 0.101)], [(20, True), (3, False)]),
        ([(3, -0.101), (20, -0.099)], [(3, False), (20, True)]),
        # A short silence is speech.
        ([(5, 1), (19, 0), (5, 1)], [(29, False)]),
        ([(5, 1), (20, 0), (5, 1)], [(5, False), (20, True), (5, False)]),
        ([(19, 0), (5, 1), (19, 0)], [(43, False)]),
        # A single frame of speech between pauses is silent, two are not.
        ([(20, 0), (1, 1), (20, 0)], [(41, True)]),
        ([(20, 0), (2, 1), (20, 0)], [(20, True), (2, False), (20, True)]),
        # Short silences are speech first, so that a click does not join them.
        ([(15, 0), (1, 1), (15, 0)], [(31, False)]),
        ([(1, 1), (20, 0)], [(1, False), (20, True)]),  # at the edge it stays
    ],
)
def test_silent_frames_are_those_of_the_releases_rule(parts, expected):
    samples = sound(*parts)
    found = silent_frames(samples, len(samples) // FRAME, RULE)
    assert found.tolist() == [silent for count, silent in expected for _ in range(count)]


def test_a_wave_may_be_loud_and_add_up_to_nothing():
    assert silent_frames(np.tile([0.5, -0.5], 20 * FRAME // 2), 20, RULE).all()


def test_the_threshold_is_a_setting():
    noise = sound((25, 0.3))
    assert not silent_frames(noise, 25, RULE).any()
    assert silent_frames(noise, 25, PauseRule("sum", 0.3 + 1e-9)).all()


def test_the_level_finds_pauses_with_noise_and_an_offset():
    noise = np.random.default_rng(0).normal(0, 1, 85 * FRAME)
    gain = np.repeat([0.2, 0.2 / 10 ** (26 / 20), 0.2, 0.2 / 10 ** (24 / 20)], [30, 20, 15, 20])
    recorded = noise * gain.repeat(FRAME) + 0.05
    assert not silent_frames(recorded, 85, RULE).any()
    quiet = silent_frames(recorded, 85, PauseRule("level", 25.0))
    assert np.flatnonzero(quiet).tolist() == list(range(30, 50))
    more = silent_frames(recorded, 85, PauseRule("level", 22.0))
    assert np.flatnonzero(more).tolist() == [*range(30, 50), *range(65, 85)]
    louder = silent_frames(7 * recorded, 85, PauseRule("level", 25.0))
    np.testing.assert_array_equal(louder, quiet)
    assert silent_frames(np.zeros(25 * FRAME), 25, PauseRule("level", 25.0)).all()


def test_loud_speech_is_what_five_in_a_hundred_frames_exceed():
    levels = np.ones(100)
    levels[:4] = 100.0  # a bang is no speech: not so many that they would make speech a pause
    tone = levels.repeat(FRAME) * np.tile([1.0, -1.0], 50 * FRAME)
    assert not silent_frames(tone, 100, PauseRule("level", 25.0)).any()
    levels[:6] = 100.0
    tone = levels.repeat(FRAME) * np.tile([1.0, -1.0], 50 * FRAME)
    assert silent_frames(tone, 100, PauseRule("level", 25.0)).tolist() == [False] * 6 + [True] * 94


def test_the_sound_lasts_as_long_as_the_face():
    assert silent_frames(sound((3, 1)), 30, RULE).tolist() == [False] * 3 + [True] * 27
    assert silent_frames(sound((30, 1)), 3, RULE).tolist() == [False] * 3
    part = sound((4, 1))[: 3 * FRAME + 65]  # 65 samples of the last frame add up to 0.102
    assert silent_frames(part, 24, RULE).tolist() == [False] * 4 + [True] * 20


def faces(gaps):
    """Faces that differ in every point and frame, and whose lips are apart by these gaps."""
    result = np.random.default_rng(0).uniform(0, 256, (len(gaps), 68, 2))
    result[:, 66, 1] = result[:, 62, 1] + gaps
    return result


def opened(count, closest):
    """A face whose lips are 10 apart, but 2 in one frame."""
    face = np.zeros((count, 68, 2))
    face[:, 66, 1] = 10.0
    face[closest, 66, 1] = 2.0
    return face


def test_a_pause_fades_to_the_closest_lips_and_back_and_not_at_the_ends_of_the_sound():
    fade = [8.4, 6.8, 5.2, 3.6]  # 2 + 8 x the share of the prediction: 0.8, 0.6, 0.4, 0.2, 0.05
    mask = np.array([False] * 4 + [True] * 20 + [False] * 4)
    gap = closed_where(opened(28, 1), mask)[:, 66, 1]
    expected = [10, 2, 10, 10, *fade, *[2.4] * 12, *fade[::-1], 10, 10, 10, 10]
    np.testing.assert_allclose(gap, expected, rtol=1e-12)
    mask = np.array([True] * 20 + [False] * 20 + [True] * 20)
    gap = closed_where(opened(60, 30), mask)[:, 66, 1]
    np.testing.assert_allclose(gap[:20], [2.4] * 16 + fade[::-1], rtol=1e-12)
    np.testing.assert_allclose(gap[40:], fade + [2.4] * 16, rtol=1e-12)


@pytest.mark.parametrize("length", range(1, 10))
def test_a_pause_of_any_length_can_be_closed(length):
    face = np.zeros((length + 2, 68, 2))
    face[:, 66, 1] = 10.0
    face[0, 66, 1] = 0.0
    share = closed_where(face, np.array([False] + [True] * length + [False]))[1:-1, 66, 1] / 10
    np.testing.assert_allclose(share, share[::-1], rtol=1e-12)
    assert share[0] == 0.8
    assert (share < 1).all()


def test_only_mouth_and_jaw_of_silent_frames_change():
    face = faces(np.linspace(3, 40, 50)).astype(np.float32)
    before = face.copy()
    mask = np.zeros(50, bool)
    mask[20:45] = True
    closed = closed_where(face, mask)
    np.testing.assert_array_equal(face, before)
    assert closed.dtype == np.float32
    np.testing.assert_array_equal(closed[~mask], face[~mask])
    still = list(BROWS + NOSE + EYES)
    np.testing.assert_array_equal(closed[:, still], face[:, still])
    assert (closed[mask][:, list(JAW + MOUTH)] != face[mask][:, list(JAW + MOUTH)]).all()
    inside = face[30, 50] + 0.95 * (face[0, 50] - face[30, 50])
    np.testing.assert_allclose(closed[30, 50], inside, rtol=1e-5)


def test_lips_that_cross_are_not_closer_than_lips_that_meet():
    face = faces(np.full(30, 9.0))
    face[3, 66] = face[3, 62] - [0, 5.0]
    face[7, 66] = face[7, 62] + [0, 1.0]
    closed = closed_where(face, np.ones(30, bool))
    np.testing.assert_allclose(closed[20, 66], 0.05 * face[20, 66] + 0.95 * face[7, 66])


def test_a_sound_without_a_long_pause_changes_nothing():
    face = faces(np.linspace(3, 40, 40))
    short = sound((10, 1), (19, 0), (11, 1))
    np.testing.assert_array_equal(mouth_closed(face, short, RULE), face)
    long = sound((10, 1), (20, 0), (10, 1))
    closed = mouth_closed(face, long, RULE)
    np.testing.assert_array_equal(closed, closed_where(face, silent_frames(long, 40, RULE)))
    assert (closed != face).any()


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), float("inf")])
def test_a_threshold_that_is_no_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match=r"silence threshold is .*, wanted 0 or more"):
        PauseRule("level", threshold)
