"""A face's 68 points lie where they should, wherever the face is and whatever its size."""

import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from affekt.media.faces.crop import choose_crop, cut
from affekt.media.faces.detector import FACE_ALIGNMENT_WEIGHTS, main_face, make_detector
from affekt.media.faces.points import BROWS, EYES, FLIP, JAW, MOUTH, NOSE, mouth_opening
from affekt.media.video.video import read_video
from tests.corpora.drawn_face import draw_face
from tests.corpora.published_weights import publish

NETWORK = "2DFAN4-11f355bf06.pth.tar"


@pytest.fixture(scope="module")
def detector():
    return make_detector("mediapipe")


def test_points_lie_on_the_drawn_features(detector):
    # draw_face: centre (128, 128), half a face high is 79.36 px = one unit
    found = detector.detect(draw_face(256, mouth=0.5)).points
    unit, centre = 79.36, 127.5
    assert found.shape == (68, 2)
    assert found.dtype == np.float32

    def at(*indices):
        return (found[list(indices)].mean(axis=0) - centre) / unit

    np.testing.assert_allclose(at(*range(36, 42)), (-0.3, -0.12), atol=0.06)
    np.testing.assert_allclose(at(*range(42, 48)), (0.3, -0.12), atol=0.06)
    np.testing.assert_allclose(at(36, 39)[0], -0.3, atol=0.05)
    np.testing.assert_allclose(at(*range(48, 60)), (0, 0.55), atol=0.08)
    np.testing.assert_allclose(at(48), (-0.27, 0.55), atol=0.1)
    np.testing.assert_allclose(at(54), (0.27, 0.55), atol=0.1)
    np.testing.assert_allclose(at(8), (0, 1), atol=0.1)
    np.testing.assert_allclose(at(33), (0, 0.3), atol=0.12)
    assert -0.5 < at(*range(17, 22))[1] < -0.2


def test_the_groups_are_where_ibug_has_them(detector):
    points = detector.detect(draw_face(256, mouth=0.5)).points
    assert (np.diff(points[list(JAW), 0]) > 0).all()  # image left ear to right ear
    assert (np.diff(points[list(BROWS), 0]) > 0).all()
    assert (np.diff(points[27:31, 1]) > 0).all()  # down the bridge
    assert (np.diff(points[31:36, 0]) > 0).all()
    heights = [points[list(group), 1].mean() for group in (BROWS, EYES, NOSE, MOUTH)]
    assert heights == sorted(heights)
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46), (51, 57), (62, 66)):
        assert points[upper, 1] < points[lower, 1]
    mirrored = detector.detect(np.ascontiguousarray(draw_face(256, mouth=0.5)[:, ::-1])).points
    back = mirrored[list(FLIP)] * (-1, 1) + (255, 0)
    assert np.abs(back - points).mean() < 1.5


def test_coordinates_count_from_the_centre_of_the_first_pixel(detector):
    """The middle of a symmetric picture of W pixels is (W - 1) / 2; a corner's zero is 0.5 off."""
    offsets = []
    for size in (192, 256):
        for height in (0.5, 0.6, 0.7):
            points = detector.detect(draw_face(size, height=height)).points
            middle = (points[:, 0] + points[list(FLIP), 0]).mean() / 2
            offsets.append(middle - (size - 1) / 2)
    assert abs(np.mean(offsets)) < 0.25


def test_the_mouth_is_seen_opening(detector):
    openings = [
        mouth_opening(detector.detect(draw_face(256, mouth=amount)).points)
        for amount in (0, 0.4, 0.8)
    ]
    assert openings[0] + 3 < openings[1] < openings[2] - 3


def test_a_moved_and_scaled_face_moves_and_scales_its_points(detector):
    near = detector.detect(draw_face(256)).points
    large = detector.detect(draw_face(1024)).points
    np.testing.assert_allclose((large + 0.5) / 4, near + 0.5, atol=2.5)
    assert np.abs((large + 0.5) / 4 - (near + 0.5)).mean() < 0.8
    for size, side, (left, top) in (
        ((720, 1280, 3), 256, (900, 200)),
        ((1080, 1920, 3), 160, (1200, 300)),  # a face of 99 px
    ):
        wide = np.full(size, (70, 90, 110), np.uint8)
        wide[top : top + side, left : left + side] = draw_face(side)
        moved = detector.detect(wide).points - (left, top)
        assert np.abs(moved - detector.detect(draw_face(side)).points).mean() < 0.8


def test_depth_is_in_pixels_with_the_nose_in_front(detector):
    small, large = (detector.detect(draw_face(size)) for size in (256, 1024))
    np.testing.assert_array_equal(small.points3d[:, :2], small.points)
    depth = small.points3d[:, 2]
    assert depth[30] < depth[list(EYES)].mean() < depth[[0, 16]].mean()  # z: away from the viewer
    ratio = np.ptp(large.points3d[:, 2]) / np.ptp(depth)
    assert ratio == pytest.approx(4, rel=0.15)


def test_no_face_is_none(detector):
    rng = np.random.default_rng(0)
    assert detector.detect(np.zeros((128, 128, 3), np.uint8)) is None
    assert detector.detect(rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)) is None


def test_each_picture_is_looked_at_on_its_own(detector):
    first, other = draw_face(256), draw_face(256, center=(0.4, 0.45), height=0.5)
    alone = detector.detect(first).points
    detector.detect(other)
    np.testing.assert_array_equal(detector.detect(first).points, alone)


def test_of_two_faces_the_larger_or_more_central_is_taken(detector):
    picture = np.full((300, 600, 3), (70, 90, 110), np.uint8)
    picture[100:250, :150] = draw_face(150, height=0.7)
    picture[30:286, 250:506] = draw_face(256, height=0.7)
    assert detector.detect(picture).points[30, 0] > 250
    boxes = np.array([[0, 0, 40, 40], [90, 90, 130, 130], [150, 150, 198, 198]])
    assert main_face(boxes, (200, 200)) == 1  # equal in size: the central one
    boxes[2] = [120, 120, 200, 200]
    assert main_face(boxes, (200, 200)) == 2  # much larger


def test_mediapipe_is_quiet(capfd):
    make_detector("mediapipe").detect(draw_face(256))
    said = capfd.readouterr()
    assert said.err == said.out == ""


def test_a_face_at_the_border_of_the_picture(detector):
    whole = draw_face(256)
    points = detector.detect(np.ascontiguousarray(whole[:, 40:])).points
    assert np.abs(points + np.array([40, 0]) - detector.detect(whole).points).mean() < 2


def test_an_unknown_detector_is_named():
    with pytest.raises(
        ValueError, match="unknown detector 'dlib'; known: 'mediapipe', 'mediapipe_graph'"
    ):
        make_detector("dlib")


def test_absent_weights_are_named_with_their_place(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFEKT_WEIGHTS", str(tmp_path / "w"))
    with pytest.raises(FileNotFoundError) as error:
        make_detector("face_alignment")
    message = str(error.value)
    assert str(tmp_path / "w") in message
    for name in ("s3fd-619a316812.pth", NETWORK):
        assert "https://www.adrianbulat.com/downloads/python-fan/" + name in message
    assert "mediapipe" in message


def test_face_alignment_finds_its_files_in_the_weights_folder(tmp_path, monkeypatch):
    """The library itself is replaced: its weights are not at hand, and nothing may be fetched."""
    for key in FACE_ALIGNMENT_WEIGHTS:
        publish(monkeypatch, tmp_path, key, b"weights of " + key.encode())
    before = torch.hub.get_dir()
    seen = {}

    class Network:
        def __init__(self, kind, device, face_detector_kwargs, compile):
            seen["network"] = (Path(torch.hub.get_dir()) / "checkpoints" / NETWORK).read_bytes()
            seen["locator"] = face_detector_kwargs["path_to_detector"]
            seen["device"] = device
            self.face_detector = self

        def detect_from_image(self, picture):
            return [np.array([0, 0, 40, 40, 0.9]), np.array([60, 60, 160, 160, 0.8])]

        def get_landmarks_from_image(self, picture, detected_faces):
            seen["box"] = detected_faces[0]
            return [np.arange(136.0).reshape(68, 2)]

    fake = types.ModuleType("face_alignment")
    fake.FaceAlignment = Network
    fake.LandmarksType = types.SimpleNamespace(TWO_D=1)
    monkeypatch.setitem(sys.modules, "face_alignment", fake)
    assert not torch.cuda.is_available()
    detector = make_detector("face_alignment", weights=tmp_path)
    assert seen["device"] == "cpu"
    with pytest.raises(ValueError, match="'cuda' but torch finds no CUDA device"):
        make_detector("face_alignment", "cuda", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for device, found in {"auto": "cuda", "cuda": "cuda", "cpu": "cpu"}.items():
        make_detector("face_alignment", device, tmp_path)
        assert seen["device"] == found
    found = detector.detect(np.zeros((200, 200, 3), np.uint8))
    assert seen["network"] == b"weights of fa_2dfan4"
    assert seen["locator"] == str(tmp_path / "s3fd-619a316812.pth")
    np.testing.assert_array_equal(seen["box"], [60, 60, 160, 160])  # the larger one
    assert found.points.shape == (68, 2)
    assert found.points3d is None
    assert torch.hub.get_dir() == before
    assert "2DFAN4-11f355bf06" in detector.version


@pytest.mark.data
def test_a_face_measures_the_same_in_a_full_frame_and_in_its_crop(media_root, detector):
    for name in ("mead_av/M026_level_3_disgusted_018.mp4", "mead_av/W040_level_3_happy_029.mp4"):
        differences = []
        for picture, _ in zip(read_video(media_root / name), range(20), strict=False):
            found = detector.detect(picture).points
            crop = choose_crop("portrait", found, (1920, 1080), 256)
            again = detector.detect(cut(picture, crop)).points
            differences.append(np.linalg.norm(crop.to_stored(found) - again, axis=1).mean())
        assert np.mean(differences) < 0.7, name  # px at 256; 0.8-0.9 without the fixed framing


@pytest.mark.data
def test_real_faces_are_found_and_their_absence_too(media_root, detector):
    for name in ("edge/single_face.mp4", "av_talk/May_5s.mp4"):
        found = [detector.detect(picture) is not None for picture in read_video(media_root / name)]
        assert all(found), name
    nobody = [detector.detect(p) for p in read_video(media_root / "edge/no_face.mp4")]
    assert not any(nobody)
    several = cv2.imread(str(media_root / "edge/multi_face.jpg"))[..., ::-1]
    assert make_detector().detect(np.ascontiguousarray(several)) is not None
