"""Guidance maps: like the release's slow way, outside the face only, true to the sub-pixel."""

import cv2
import numpy as np
import pytest

from affekt.media.faces import edges
from benchmarks.edges import (
    curve_difference,
    matched,
    reference_map,
    reference_sketch,
)
from tests.corpora.made_up_faces import made_up_frame, plain_face


def turned(landmarks, degrees, centre):
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (landmarks - centre) @ rotation.T + centre


@pytest.mark.parametrize("size", [128, 256, 512])
def test_97_percent_of_pixels_lie_within_one_of_the_slow_map(size):
    frame, face = made_up_frame(size)
    for landmarks in (face, turned(face, 12, size / 2) + 0.37):
        ours = edges.guidance_map(frame, landmarks, "plain")[0]
        slow = reference_map(frame, landmarks)
        assert matched(ours, slow) >= 0.97
        assert matched(slow, ours) >= 0.97


@pytest.mark.parametrize("degrees", [0, 30, 60, 90])
def test_curves_are_the_fitted_ones(degrees):
    face = turned(plain_face(256), degrees, 128)
    assert curve_difference(face) < 0.6
    drawn, slow = edges.sketch(face, (256, 256)), reference_sketch(face, (256, 256))
    assert matched(drawn, slow) == 1
    assert matched(slow, drawn) >= 0.97


def test_a_parabola_through_three_points_is_drawn_as_one():
    face = np.zeros((68, 2))
    face[:3] = [[10, 40], [30, 20], [50, 40]]  # y = 20 + (x - 30)^2 / 20
    x, y = edges.curve_points(face)[0].T
    np.testing.assert_allclose(y, 20 + (x - 30) ** 2 / 20, atol=1e-9)
    np.testing.assert_allclose(x, np.linspace(10, 50, edges.SAMPLES))


def test_a_sharp_corner_is_drawn_as_two_straight_lines():
    face = np.zeros((68, 2))
    face[:3] = [[10, 10], [11, 50], [12, 10]]  # spans more in y, and comes back to its start
    points = edges.curve_points(face)[0]
    np.testing.assert_allclose(points[edges.SAMPLES // 2], [11, 50])
    np.testing.assert_allclose(points[2], [10.5, 30])


def test_moving_a_face_by_a_pixel_moves_its_sketch_by_a_pixel():
    face = plain_face(128)
    moved = edges.sketch(face + np.array([3, 5]), (128, 128))
    np.testing.assert_array_equal(moved[5:, 3:], edges.sketch(face, (128, 128))[:-5, :-3])


def test_half_a_pixel_is_seen():
    face = plain_face(256)

    def mean_row(move):
        starts = np.random.default_rng(0).uniform(0, 1, (16, 2))
        drawn = [edges.sketch(face + start + np.array([0, move]), (256, 256)) for start in starts]
        return np.mean([picture.nonzero()[0].mean() for picture in drawn])

    assert mean_row(0.5) - mean_row(0) == pytest.approx(0.5, abs=0.1)


def test_no_edge_of_the_frame_enters_the_face():
    frame, face = made_up_frame(256)
    inside = edges.face_region(face, (256, 256)) > 0
    ours = edges.guidance_map(frame, face, "plain")[0]
    np.testing.assert_array_equal(ours[inside], edges.sketch(face, (256, 256))[inside])
    assert (ours[~inside] > 0).mean() > 0.01


def test_the_replaced_face_is_cleared_too():
    frame, face = made_up_frame(256)
    other = face + np.array([12, 8])
    both = edges.guidance_map(frame, face, "plain", also_cleared=other)[0]
    alone = edges.guidance_map(frame, face, "plain")[0]
    only_other = (edges.face_region(other, (256, 256)) > 0) & (
        edges.face_region(face, (256, 256)) == 0
    )
    assert alone[only_other].any()
    assert not both[only_other & (edges.sketch(face, (256, 256)) == 0)].any()


def test_the_face_region_turns_with_the_face():
    face = plain_face(256)
    level = edges.face_region(face, (256, 256))
    rolled = edges.face_region(turned(face, 40, 127.5), (256, 256))
    turn = cv2.getRotationMatrix2D((127.5, 127.5), -40, 1)
    wanted = cv2.warpAffine(level, turn, (256, 256))
    overlap = ((rolled > 0) & (wanted > 127)).sum() / ((rolled > 0) | (wanted > 127)).sum()
    assert overlap > 0.98


def test_the_forehead_is_two_thirds_of_the_jaw_high():
    face = plain_face(512)
    rows = np.flatnonzero(edges.face_region(face, (512, 512))[:, 256])
    ear_line, chin = face[0, 1], face[8, 1]
    margin = edges.MARGIN * np.ptp(face[:17, 0])
    assert rows[-1] == pytest.approx(chin + margin, abs=2)
    assert rows[0] == pytest.approx(ear_line - (chin - ear_line) * 2 / 3 - margin, abs=2)


def test_distances_are_those_of_opencv_three_pixels_a_level():
    face = plain_face(256)
    for size in ((256, 256), (320, 200)):  # the second cuts the chin off
        ours = edges.part_distances(edges.curve_points(face), size)
        for part in range(14):
            only = np.zeros(size[::-1], np.uint8)
            lines = edges.curve_points(face)[part == edges._cut("ibug68")[1]]
            edges._draw(only, lines)
            exact = cv2.distanceTransform(255 - only, cv2.DIST_L1, 3)
            np.testing.assert_array_equal(ours[part], np.minimum(exact // 3, 255))


def test_the_plain_map_is_the_last_channel_of_the_distance_form():
    frame, face = made_up_frame(128)
    distance = edges.guidance_map(frame, face, "distance")
    np.testing.assert_array_equal(distance[-1:], edges.guidance_map(frame, face, "plain"))


def test_every_point_but_none_twice_in_a_part_is_drawn():
    drawn = {index for _, indices in edges.PARTS for index in indices}
    assert drawn == set(range(68))
    assert len(edges.PARTS) == 14


def test_points_outside_the_frame_are_no_error():
    frame, face = made_up_frame(128)
    for away in (60, 500, -1e5):
        assert edges.guidance_map(frame, face + away, "distance").shape == (15, 128, 128)
