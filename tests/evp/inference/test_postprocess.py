"""Faces in their places: smoothed as in the release, and with the eyes of the target."""

import numpy as np
import pytest

from affekt.media.faces.one_euro import one_euro
from benchmarks.retouch import blinks, delay
from evp.inference.postprocess import LANDMARK_FILTER, Retouch, retouched, smoothed, with_eyes_of

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
    left, right = (
        np.linalg.norm(faces[:, upper] - faces[:, lower], axis=2).sum(axis=1)
        / np.linalg.norm(faces[:, inner] - faces[:, outer], axis=1)
        for upper, lower, inner, outer in (
            ([37, 38], [41, 40], 39, 36),
            ([43, 44], [47, 46], 42, 45),
        )
    )
    return np.array([left, right])


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
    np.testing.assert_array_equal(retouched(placed, target, 720, Retouch()), placed)
    np.testing.assert_array_equal(
        retouched(placed, target, 720, Retouch(smooth=True)), smoothed(placed, 720)
    )
    np.testing.assert_array_equal(
        retouched(placed, target, 720, Retouch(eyes="target")), with_eyes_of(target, placed)
    )


def test_a_blink_of_the_target_is_not_smoothed(placed, target):
    both = retouched(placed, target, 720, Retouch(smooth=True, eyes="target"))
    np.testing.assert_allclose(openings(both), openings(target), rtol=1e-9)
    np.testing.assert_array_equal(both[:, REST], smoothed(placed, 720)[:, REST])


def test_blinks_and_delays_are_counted_as_the_measurement_says():
    openings = np.full(30, 0.3)
    openings[[4, 5, 9, 20, 21, 22]] = [0.1, 0.17, 0.05, 0.19, 0.17, 0.1]  # 0.18 is shut
    openings[10] = np.nan  # no face: neither open nor shut
    assert blinks(openings) == 3
    assert blinks(np.full(30, 0.1)) == 0
    track = np.random.default_rng(0).normal(size=60)
    assert [delay(np.roll(track, shift), track) for shift in (0, 1, 4)] == [0, 1, 4]
