import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affekt.media.emotions import EMOTIONS, canonical, index
from affekt.media.faces import geometry, points

SEEDS = st.integers(0, 10_000)


def random_similarity(rng, dims):
    rotation, _ = np.linalg.qr(rng.normal(size=(5, dims, dims)))
    rotation[..., 0] *= np.sign(np.linalg.det(rotation))[:, None]
    scale, translation = rng.uniform(0.5, 2, 5), rng.normal(size=(5, dims))
    return geometry.Similarity(scale, rotation, translation)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from([2, 3]))
def test_a_known_similarity_is_recovered_and_undone(seed, dims):
    rng = np.random.default_rng(seed)
    known = random_similarity(rng, dims)
    source = rng.normal(size=(5, 9, dims))
    target = geometry.apply(known, source)
    for found, wanted in zip(geometry.similarity(source, target), known, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-8)
    np.testing.assert_allclose(geometry.apply(geometry.invert(known), target), source, atol=1e-8)


def test_a_mirrored_target_gives_the_best_rotation_not_a_reflection():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(20, 3))
    found = geometry.similarity(source, source * [-1, 1, 1])
    assert np.linalg.det(found.rotation) == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_rotation_vectors_agree_with_opencv_and_come_back(seed):
    rng = np.random.default_rng(seed)
    vector = rng.normal(size=3)
    vector *= rng.uniform(0, np.pi - 1e-3) / np.linalg.norm(vector)
    matrix = geometry.rotation_matrix(vector)
    np.testing.assert_allclose(matrix, cv2.Rodrigues(vector)[0], atol=1e-12)
    np.testing.assert_allclose(geometry.rotation_vector(matrix), vector, atol=1e-9)


def test_rotation_angles_by_hand():
    quarter = geometry.rotation_matrix(np.array([[0, 0, np.pi / 2], [0, 1e-9, 0]]))
    np.testing.assert_allclose(geometry.rotation_angle_deg(quarter, np.eye(3)), [90, 0], atol=1e-6)


def test_affine_is_what_opencv_applies():
    turn = geometry.Similarity(np.array(2.0), geometry.rotation_matrix([0, 0, 0.3])[:2, :2], [5, 7])
    turn = geometry.Similarity(*map(np.asarray, turn))
    source = np.random.default_rng(0).normal(size=(6, 2))
    moved = cv2.transform(source[None], geometry.affine(turn))[0]
    np.testing.assert_allclose(moved, geometry.apply(turn, source))


def head():
    rng = np.random.default_rng(1)
    face = rng.normal(size=(68, 3)) * 30 + 128
    face[list(points.RIGID)] = geometry.RIGID_TEMPLATE
    return face


def test_the_3d_view_undoes_any_head_pose_and_keeps_the_mouth():
    face = head()
    frames = np.stack([face, face])
    frames[1, points.MOUTH] += [0, 5, 0]
    pose = random_similarity(np.random.default_rng(2), 3)
    pose = geometry.Similarity(*(part[:2] for part in pose))
    aligned = geometry.align_3d(geometry.apply(pose, frames))
    np.testing.assert_allclose(aligned, frames[..., :2], atol=1e-8)


def test_the_2d_view_undoes_in_plane_motion_only():
    face = head()[None]
    template = geometry.align_2d(face[..., :2])
    pose = random_similarity(np.random.default_rng(3), 2)
    pose = geometry.Similarity(*(part[:1] for part in pose))
    moved = geometry.align_2d(geometry.apply(pose, face[..., :2]))
    np.testing.assert_allclose(moved, template, atol=1e-8)
    turned = face @ geometry.rotation_matrix(np.array([0, 0.4, 0])).T
    assert np.abs(geometry.align_2d(turned[..., :2]) - template).max() > 5


def test_openings_by_hand():
    face = np.zeros((2, 68, 2))
    face[1, (67, 66, 65), 1] = 4  # lower inner lip 4 px below the upper one
    face[1, (41, 40, 47, 46), 1] = 3
    np.testing.assert_allclose(points.mouth_opening(face), [0, 4])


def test_the_groups_part_the_face():
    together = [point for group in points.GROUPS.values() for point in group]
    assert sorted(together) == list(range(68))


def test_spellings_of_emotions():
    assert [index(name) for name in EMOTIONS] == list(range(8))
    assert canonical("Disgust") == "disgusted"
    assert canonical("surprise ") == "surprised"
    with pytest.raises(ValueError, match="unknown emotion 'calm'"):
        canonical("calm")  # a class of RAVDESS's own, beside neutral
    with pytest.raises(ValueError, match="unknown emotion 'hapy'; did you mean 'happy'"):
        canonical("hapy")
