import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest

from affekt.media.face3d.model import (
    FaceModel,
    canonical,
    load_face_model,
    project,
    save_face_model,
    without_similarity,
)
from affekt.media.faces.points import RIGID
from tests.corpora.made_up_faces import head, made_up_model

ICT_AXES = np.array([1.0, -1.0, -1.0])  # y up, z towards the viewer


def write_ict(path, **changes):
    """Write a file with ICT's keys, axes and centimetres; a change of None leaves a key out."""
    model = made_up_model(K=3, E=2)
    arrays = {name: getattr(model, name) * ICT_AXES * 9 for name in ("mean", "identity")}
    arrays["expression"] = model.expression * ICT_AXES * 9
    arrays |= {"expression_names": np.array(["jawOpen", "mouthSmile_L"])} | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return model


@pytest.mark.parametrize(
    ("point", "pose", "wanted"),
    [
        # a quarter turn about z takes (1, 3, 5) to (-3, 1, 5); then 2 (-3, 1) + (10, 20)
        ([1.0, 3.0, 5.0], [0, 0, np.pi / 2, np.log(2), 10, 20], [4, 22]),
        # the right-hand rule about +y takes the nose, -z (towards the viewer), to -x
        ([0.0, 0.0, -1.0], [0, np.pi / 2, 0, 0, 0, 0], [-1, 0]),
    ],
)
def test_project_is_scaled_orthography_by_hand(point, pose, wanted):
    np.testing.assert_allclose(project(np.array([point]), np.array(pose)), [wanted], atol=1e-12)


def test_shapes_and_projections_broadcast_over_frames():
    model = made_up_model(K=3, E=2)
    identity, expression = np.array([1.0, -1, 0.5]), np.array([[0.2, 0], [0, 2.0]])
    faces = model.shapes(identity, expression)
    by_hand = model.mean + model.identity[0] - model.identity[1] + 0.5 * model.identity[2]
    np.testing.assert_allclose(faces[1], by_hand + 2 * model.expression[1])
    poses = np.zeros((2, 6))
    assert project(faces, poses).shape == (2, 68, 2)


def test_a_model_survives_its_file_which_is_checked(tmp_path):
    model = made_up_model()
    save_face_model(model, tmp_path / "model.npz")
    loaded = load_face_model(tmp_path / "model.npz")
    assert loaded.name == model.name
    for field in fields(FaceModel):
        if field.name != "name":
            found, wanted = getattr(loaded, field.name), getattr(model, field.name)
            np.testing.assert_allclose(found, wanted, atol=1e-12)
    save_face_model(replace(model, identity_std=np.zeros(8)), tmp_path / "own.npz")
    with pytest.raises(ValueError, match="identity_std holds a value of 0 or less"):
        load_face_model(tmp_path / "own.npz")


def test_the_unit_is_the_eye_span_and_the_origin_the_rigid_points():
    model = made_up_model()
    moved = canonical(replace(model, mean=7 * model.mean + 3, expression=7 * model.expression))
    assert np.linalg.norm(moved.mean[36] - moved.mean[45]) == pytest.approx(1)
    np.testing.assert_allclose(moved.mean[list(RIGID)].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(moved.expression, model.expression)


def test_identity_holds_no_pose_and_no_scale():
    face = head()
    turn = np.cross([0.2, 0.1, -0.3], face)
    warp = np.random.default_rng(0).normal(size=(1, 68, 3))
    spoilt = warp + 0.3 * face + turn + [1, 2, 3]
    cleaned = without_similarity(spoilt, face)
    np.testing.assert_allclose(cleaned, without_similarity(warp, face), atol=1e-9)
    np.testing.assert_allclose(cleaned.sum(axis=1), 0, atol=1e-9)
    centred = face - face.mean(axis=0)
    np.testing.assert_allclose((cleaned * centred).sum(), 0, atol=1e-9)
    np.testing.assert_allclose(np.cross(centred, cleaned[0]).sum(axis=0), 0, atol=1e-9)


def test_a_file_of_ict_axes_is_turned_to_the_image(tmp_path):
    wanted = write_ict(tmp_path / "ict.npz")
    model = load_face_model(tmp_path / "ict.npz")
    for key in ("mean", "identity", "expression"):
        np.testing.assert_allclose(getattr(model, key), getattr(wanted, key), atol=1e-6)
    np.testing.assert_array_equal(model.expression_range, [[-0.3, 1], [-0.3, 1]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identity": None}, "no key 'identity'; it holds expression, expression_names, mean"),
        (
            {"mean": np.zeros((106, 3))},
            r"'mean' is float64 of shape \(106, 3\), wanted .*\(68, 3\)",
        ),
        ({"expression": np.zeros((2, 68))}, r"'expression' .* wanted numbers of \('any', 68, 3\)"),
        ({"mean": np.full((68, 3), np.nan)}, "mean holds NaN"),
        ({"mean": np.full((68, 3), "a")}, "wanted numbers"),
        ({"mean": head()}, "chin is not below the brows"),
        ({"mean": head() * [-1, -1, -1]}, "point 0 is not at the image left"),
        ({"mean": head() * [1, -1, 1]}, "nose tip is not nearer"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, changes, message):
    path = tmp_path / "wrong.npz"
    write_ict(path, **changes)
    with pytest.raises(ValueError, match=message) as error:
        load_face_model(path)
    assert str(path) in str(error.value)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data_prep\.face_model learns one"):
        load_face_model(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "pickled.npz", mean=np.array([{"a": 1}], dtype=object))
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("readme.txt", "no arrays")
    for name in ("text", "pickled", "other"):
        with pytest.raises(ValueError, match=r"no key|no \.npz file"):
            load_face_model(tmp_path / f"{name}.npz")


@pytest.mark.data
def test_the_ict_rows_are_read(media_root):
    model = load_face_model(media_root / "face_model" / "ict_68.npz")
    assert model.identity.shape == (100, 68, 3)
    assert model.expression.shape == (53, 68, 3)
    assert model.name == "ICT-FaceKit 100+53"
    left, right, chin, tip = model.mean[[0, 16, 8, 30]]
    assert left[0] < 0 < right[0]
    assert chin[1] > 1.0  # below the eyes
    assert tip[2] < left[2]  # nearer to the viewer
    jaw_open = model.expression[26]
    assert jaw_open[57, 1] > 0.2  # the lower lip goes down
