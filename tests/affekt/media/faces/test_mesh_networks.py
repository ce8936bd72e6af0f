"""The face networks run directly find what mediapipe's own graphs find, to 0.05 px at 256."""

from itertools import islice

import numpy as np
import pytest

from affekt.media.faces import detector as detectors
from affekt.media.faces.detector import detector_version, make_detector
from affekt.media.video.video import read_video
from tests.corpora.drawn_face import draw_face

mesh_networks = pytest.importorskip(
    "affekt.media.faces.mesh_networks", reason="ai-edge-litert is not installed"
)


@pytest.fixture(scope="module")
def networks():
    return make_detector("mediapipe")


@pytest.fixture(scope="module")
def graphs():
    return make_detector("mediapipe_graph")


def in_scene(face, size, left, top):
    scene = np.full((*size, 3), (70, 90, 110), np.uint8)
    scene[top : top + len(face), left : left + len(face)] = face
    return scene


PICTURES = {
    "close": draw_face(256, mouth=0.4),
    "large": draw_face(700),
    "turned": np.ascontiguousarray(np.rot90(draw_face(256), 1)[:, 20:]),
    "at the border": np.ascontiguousarray(draw_face(256)[:, 40:]),
    "wide picture": in_scene(draw_face(256), (300, 640), 330, 10),
    "tall picture": in_scene(draw_face(200, mouth=0.8), (640, 300), 60, 300),
    "far away": in_scene(draw_face(160), (1080, 1920), 1200, 300),
}


@pytest.mark.parametrize("name", PICTURES)
def test_landmarks_equal_those_of_the_graphs(name, networks, graphs):
    ours, theirs = networks.detect(PICTURES[name]), graphs.detect(PICTURES[name])
    if theirs is None:
        assert ours is None
        return
    scale = 256 / np.ptp(theirs.points, axis=0).max() / 2.1
    np.testing.assert_allclose(ours.points * scale, theirs.points * scale, atol=0.05)
    np.testing.assert_allclose(ours.points3d * scale, theirs.points3d * scale, atol=0.1)


def test_most_of_the_pictures_above_show_a_face(graphs):
    assert sum(graphs.detect(picture) is not None for picture in PICTURES.values()) >= 5


def test_boxes_equal_those_of_the_graphs_near_and_far(networks, graphs):
    """Both searches, of faces within 2 m and within 5 m, on every picture that they find one in."""
    pairs = 0
    for k, model in enumerate((mesh_networks.SHORT_RANGE, mesh_networks.FULL_RANGE)):
        search = mesh_networks.FaceSearch(model)
        for picture in PICTURES.values():
            faces = graphs._engine._locators[k].process(picture).detections or []
            boxes = [face.location_data.relative_bounding_box for face in faces]
            theirs = [(b.xmin, b.ymin, b.xmin + b.width, b.ymin + b.height) for b in boxes]
            ours = search.faces(picture)[:, :2].reshape(-1, 4)
            assert len(ours) == len(theirs)
            if len(ours):
                np.testing.assert_allclose(ours, theirs, atol=1e-3)
                pairs += 1
    assert pairs >= 8


def test_no_face_is_none(networks):
    assert networks.detect(np.zeros((128, 200, 3), np.uint8)) is None


def test_overlapping_boxes_are_averaged_by_score():
    """Boxes of side 0.4 and 0.4 shifted by 0.1 overlap by 0.3 / 0.5; a third one lies apart."""
    size = 100
    anchors = np.array([[0.3, 0.5], [0.4, 0.5], [0.85, 0.5], [0.3, 0.5]])
    raw = np.zeros((4, 16), np.float32)
    raw[:, 2:4] = [(40, 40), (40, 40), (10, 10), (40, 40)]
    raw[:, 4] = 5.0  # the first key point lies 5 px right of the anchor
    logits = np.log(np.array([0.6, 0.9, 0.7, 0.2]) / np.array([0.4, 0.1, 0.3, 0.8]))
    boxes = mesh_networks._decoded(raw, logits.astype(np.float32), anchors, 0.0, size)
    found = mesh_networks._merged(*boxes)
    assert found.shape == (2, 8, 2)  # the fourth is no face
    x = (0.9 * 0.4 + 0.6 * 0.3) / 1.5
    np.testing.assert_allclose(found[0, :3], [(x - 0.2, 0.3), (x + 0.2, 0.7), (x + 0.05, 0.5)])
    np.testing.assert_allclose(found[1, :2], [(0.8, 0.45), (0.9, 0.55)])


def test_features_are_sampled_where_the_vertices_lie():
    """A feature that is its own column and row gives the window's pixels' places."""
    features = np.stack(np.meshgrid(np.arange(48.0), np.arange(48.0)), axis=-1).astype(np.float32)
    mesh = np.zeros((4, 3))
    mesh[:, :2] = [(60, 80), (100, 80), (80, 70), (80, 90)]  # a box of 40 x 20 px, level
    vertices = np.arange(4)
    window, found = mesh_networks._window(features, mesh, vertices, 0, 1, 1.5, 16)
    # In the feature map: centre (20, 20), sides 10 x 5, the window's 15 x 7.5
    assert window.shape == (1, 16, 16, 2)
    np.testing.assert_allclose(found, [[15 / 16, 0, 12.5], [0, 7.5 / 16, 16.25]], atol=1e-12)
    np.testing.assert_allclose(window[0, 0, 0], [12.5 + 15 / 32 - 0.5, 16.25 + 7.5 / 32 - 0.5])
    np.testing.assert_allclose(window[0, -1, -1], [27.5 - 15 / 32 - 0.5, 23.75 - 7.5 / 32 - 0.5])
    # Its middle, in the window's pixels times 4, is the box's middle in the picture's
    mesh_networks._replace(mesh, vertices[:1], np.array([32.0, 32.0]), found)
    np.testing.assert_allclose(mesh[0, :2], (80, 80))


def test_another_network_than_the_known_one_is_refused():
    with pytest.raises(ValueError, match=r"another face_landmark.*choose the detector 'mediapipe_"):
        mesh_networks._content("face_landmark/face_landmark.tflite", "0" * 64)


def test_without_litert_the_graphs_are_used_and_the_version_says_so(monkeypatch):
    """What prepared a corpus is never mixed with what differs from it, however little."""
    with_it = detector_version("mediapipe")
    assert "LiteRT" in with_it
    monkeypatch.setattr(detectors, "_has_litert", lambda: False)
    assert detector_version("mediapipe") == detector_version("mediapipe_graph") != with_it
    made = make_detector("mediapipe")
    assert made.version == detector_version("mediapipe_graph")
    assert isinstance(made._engine, detectors._MeshGraphs)


@pytest.mark.data
def test_real_faces_equal_those_of_the_graphs(media_root, networks, graphs):
    for name in ("grid_s1/bbas3a.mpg", "mead_av/M026_level_3_disgusted_018.mp4"):
        apart = []
        for picture in islice(read_video(media_root / name), 0, 30, 6):
            ours, theirs = networks.detect(picture).points, graphs.detect(picture).points
            size = np.ptp(theirs, axis=0).max()
            apart.append(np.linalg.norm(ours - theirs, axis=1) * 256 / (2.1 * size))
        assert np.mean(apart) < 0.01, name
        assert np.max(apart) < 0.1, name
