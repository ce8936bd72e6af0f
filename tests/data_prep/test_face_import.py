import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy.io import savemat

import tests.corpora.published_faces as published
from affekt.media.face3d.fit import fit_clip, rotation_error_deg
from affekt.media.face3d.model import canonical, load_face_model, project
from data_prep import face_model
from data_prep.face_formats.basis import landmark_vertices, read_landmarks
from data_prep.face_formats.importer import ImportConfig, import_face_model

KINDS = {
    "bfm2009": ("bfm2009", published.write_bfm2009, 9e4),
    "bfm2017": ("bfm2017", published.write_bfm2017, 90.0),
    "ict": ("ict", published.write_ict, 9.0),
}


def written(name, folder):
    """Write a made-up mesh in a genuine format; return it and the import's settings."""
    kind, write, unit = KINDS[name]
    mesh = published.made_up_mesh(unit=unit)
    if name == "ict":  # which knows no standard deviations: modes are of one
        stretched = mesh.identity * mesh.identity_std[:, None, None] / 3
        mesh = replace(mesh, identity=stretched)
    source = write(folder, mesh)
    landmarks = None
    if name == "bfm2017":  # which names no landmarks
        landmarks = folder / "landmarks.txt"
        landmarks.write_text("# all points\n" + " ".join(map(str, mesh.where)))
    return mesh, ImportConfig(kind, source, folder / "out.npz", landmarks)


def expected(mesh, model):
    """Return the model worked out from the mesh, with the priors of the imported one."""
    rows = {
        key: getattr(mesh, key)[..., mesh.where, :] * published.SOURCE_AXES
        for key in ("mean", "identity", "expression")
    }
    return canonical(replace(model, **rows))


@pytest.mark.parametrize("name", KINDS)
def test_a_published_file_becomes_its_landmark_rows(tmp_path, name):
    mesh, config = written(name, tmp_path)
    import_face_model(config)
    model = load_face_model(config.out)
    wanted = expected(mesh, model)
    for key in ("mean", "identity", "expression"):
        np.testing.assert_allclose(getattr(model, key), getattr(wanted, key), atol=3e-6)
    if name == "ict":  # whose weights are meant for [0, 1]
        np.testing.assert_array_equal(model.expression_std, 0.15)
        np.testing.assert_array_equal(model.expression_range, [[-0.3, 1]] * 3)
    else:
        np.testing.assert_allclose(model.identity_std, mesh.identity_std, rtol=1e-5)
        np.testing.assert_allclose(model.expression_std, mesh.expression_std, rtol=1e-5)
        ends = 3 * mesh.expression_std
        np.testing.assert_allclose(model.expression_range, np.stack([-ends, ends], 1), rtol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_an_imported_model_fits_what_the_published_one_shows(tmp_path, name):
    """Landmarks come from the mesh in its own unit, not through the import."""
    mesh, config = written(name, tmp_path)
    model = import_face_model(config)
    rng = np.random.default_rng(2)
    identity = rng.normal(size=4) * model.identity_std
    expression = np.clip(rng.normal(size=(6, 3)) * model.expression_std, 0, 1)
    faces = mesh.landmarks(identity, expression)
    eyes = np.linalg.norm(mesh.mean[mesh.where[36]] - mesh.mean[mesh.where[45]])
    turns = np.stack([[0.1, yaw, 0.05] for yaw in np.linspace(-0.4, 0.4, 6)])
    pose = np.hstack([turns, np.full((6, 1), np.log(110 / eyes)), np.full((6, 2), 128.0)])
    fit = fit_clip(model, project(faces, pose))
    assert fit.residual_px.max() < 0.5
    assert rotation_error_deg(fit.pose, pose).max() < 1


def test_of_basel_2009_the_first_29_expressions_are_taken_as_in_evp(tmp_path):
    mesh = published.made_up_mesh(K=5, E=31, unit=9e4)
    published.write_bfm2009(tmp_path, mesh)
    model = import_face_model(ImportConfig("bfm2009", tmp_path, tmp_path / "out.npz"))
    assert model.name == "Basel Face Model 2009 5+29"
    np.testing.assert_allclose(model.expression_std, mesh.expression_std[:29], rtol=1e-5)


def swap(name, data):
    content = data.encode() if isinstance(data, str) else data
    return lambda folder: (folder / name).write_bytes(content)


def cut(name, count):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-count])


def gone(name):
    return lambda folder: (folder / name).unlink()


def mat(name, **arrays):
    return lambda folder: savemat(folder / name, arrays)


def without_expression(folder):
    with h5py.File(folder / "model2017-1_face12_nomouth.h5", "a") as file:
        del file["expression"]


H5 = "model2017-1_face12_nomouth.h5"
WRONG = [
    ("bfm2009", gone("Exp_Pca.bin"), "expected Guo et al.'s expression modes"),
    ("bfm2009", gone("std_exp.txt"), "expected the 3 standard deviations of Exp_Pca.bin"),
    ("bfm2009", gone("BFM_exp_idx.mat"), "expected trimIndex, the 93 of .* 100 vertices"),
    ("bfm2009", cut("Exp_Pca.bin", 4), "declares 3 modes, .* wanted int32 E, then float32 mean"),
    ("bfm2009", swap("Exp_Pca.bin", b"text"), "is no Exp_Pca.bin; wanted int32 E"),
    ("bfm2009", swap("std_exp.txt", "1 2"), r"shape \(2,\), wanted numbers of \(3,\)"),
    ("bfm2009", swap("std_exp.txt", "one"), "wanted 3 numbers, as text"),
    ("bfm2009", swap("std_exp.txt", "1 0 2"), "expression_std .* value of 0 or less"),
    ("bfm2009", swap("std_exp.txt", "1 nan 2"), "expression_std .* NaN or infinity"),
    ("bfm2009", swap("01_MorphableModel.mat", b"x" * 200), "wanted a MATLAB file that ho"),
    ("bfm2009", mat("01_MorphableModel.mat", texMU=1), "has no 'shapeMU'; wanted .*shapePC"),
    ("bfm2009", mat("BFM_exp_idx.mat", trimIndex=[1, 2]), "has 2 indices up to 2, wanted 93 up"),
    ("bfm2009", mat("BFM_front_idx.mat", idx=[1, 2]), "the files do not belong together"),
    ("bfm2009", mat("facemodel_info.mat", keypoints=[1, 2]), r"wanted numbers of \(68,\)"),
    ("bfm2009", gone("facemodel_info.mat"), r"iBUG points \(from 1\) 1, 2, .*--landmarks FILE"),
    ("bfm2017", swap(H5, b"no HDF5 at all"), "is no readable HDF5 file"),
    ("bfm2017", without_expression, "has no dataset 'expression/model/mean'; wanted a Basel"),
    ("ict", gone("FaceXModel/generic_neutral_mesh.obj"), "expected the mean mesh of an ICT-F"),
    ("ict", gone("FaceXModel/identity000.obj"), "expected the first identity mode"),
    ("ict", gone("FaceXModel/expression1.obj"), "an expression that vertex_indices.json names"),
    ("ict", swap("FaceXModel/identity001.obj", "v 1 2 3"), "has 1 vertices, .* 93"),
    ("ict", swap("FaceXModel/identity001.obj", "# none"), "has no vertices; wanted lines"),
    ("ict", swap("FaceXModel/identity001.obj", "v a b c"), "wanted lines 'v x y z'"),
    ("ict", swap("FaceXModel/vertex_indices.json", "[]"), "is no JSON object"),
    ("ict", swap("FaceXModel/vertex_indices.json", '{"expressions": ["../a"]}'), "wanted na"),
]


@pytest.mark.parametrize(("name", "damage", "message"), WRONG)
def test_a_wrong_file_says_what_was_expected(tmp_path, name, damage, message):
    _, config = written(name, tmp_path)
    damage(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        import_face_model(config)
    assert str(tmp_path) in str(error.value)
    assert not config.out.exists()


def test_of_basel_2017_the_file_itself_is_the_source(tmp_path):
    _, config = written("bfm2017", tmp_path)
    with pytest.raises(FileNotFoundError, match="expected one such as model2017"):
        import_face_model(replace(config, source=tmp_path))


def test_a_face_that_is_upside_down_is_not_imported(tmp_path):
    mesh = published.made_up_mesh()
    published.write_ict(tmp_path, replace(mesh, mean=mesh.mean * [1, -1, 1]))
    with pytest.raises(ValueError, match="chin is not below the brows"):
        import_face_model(ImportConfig("ict", tmp_path, tmp_path / "out.npz"))
    assert not (tmp_path / "out.npz").exists()


def test_a_list_that_is_given_goes_before_the_source_s_own(tmp_path):
    mesh, config = written("ict", tmp_path)
    (tmp_path / "one.txt").write_text(f"31 = {mesh.where[29]}\n")
    model = import_face_model(replace(config, landmarks=tmp_path / "one.txt"))
    np.testing.assert_array_equal(model.mean[30], model.mean[29])


def test_lists_of_landmarks_come_in_three_forms(tmp_path):
    wanted = {point: 200 - point for point in range(68)}
    vertices = list(wanted.values())
    np.save(tmp_path / "list.npy", vertices)
    (tmp_path / "list.json").write_text(json.dumps(vertices))
    (tmp_path / "object.json").write_text(json.dumps({"idx_to_landmark_verts": vertices}))
    (tmp_path / "list.txt").write_text("# from 0\n" + ",\n".join(map(str, vertices)))
    pairs = [f"{point + 1} = {vertex} # {point}" for point, vertex in wanted.items()]
    (tmp_path / "pairs.txt").write_text("\n".join(pairs))
    for name in ("list.npy", "list.json", "object.json", "list.txt", "pairs.txt"):
        assert read_landmarks(tmp_path / name) == wanted, name


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.txt", "1 2 3", r"an array of shape \(3,\); wanted 68 vertex indices from 0"),
        ("list.txt", "one two", "holds more than numbers"),
        ("pairs.txt", "69 = 3", "wanted each point from 1 to 68 at most once"),
        ("pairs.txt", "1 = 3\n1 = 4", "2 lines 'point = vertex' of 1 points"),
        ("pairs.txt", "right = [1,", "0 lines 'point = vertex' of 0 points"),
        ("list.json", "{", "is no list of landmarks"),
        ("list.json", '{"landmarks": [1]}', r"an array of shape \(\)"),
        ("list.npy", "no array", "is no numpy array; wanted 68 vertex"),
    ],
)
def test_a_wrong_list_of_landmarks_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_landmarks(tmp_path / name)


def test_landmarks_of_another_mesh_are_refused():
    named = {point: point + 1 for point in range(68)}
    assert landmark_vertices(named, 69, "a mesh")[-1] == 68
    with pytest.raises(ValueError, match=r"vertices 1 to 68 of a mesh of 68; .* counts from 1"):
        landmark_vertices(named, 68, "a mesh")


def test_the_command_imports_and_says_what_went_wrong(tmp_path, capsys):
    _, config = written("ict", tmp_path)
    paths = ["--source", str(tmp_path), "--out", str(config.out)]
    arguments = ["import", "--kind", "ict", *paths]
    assert face_model.main(arguments) == 0
    assert "ICT-FaceKit 4+3, 68 landmarks" in capsys.readouterr().out
    assert load_face_model(config.out).identity.shape == (4, 68, 3)
    with pytest.raises(SystemExit, match="expected the shape of the Basel Face Model 2009"):
        face_model.main(["import", "--kind", "bfm2009", *paths])
    with pytest.raises(SystemExit, match="no none"):
        face_model.main(["import", "--kind", "ict", "--source", "none", *paths[2:]])
    with pytest.raises(SystemExit):
        face_model.main(["import", "--kind", "flame", *paths])
    with pytest.raises(ValueError, match="wanted one of bfm2009, bfm2017, ict"):
        replace(config, kind="flame")


@pytest.mark.data
def test_real_ict_meshes_give_the_rows_that_were_taken_from_them(tmp_path, media_root):
    """Ten modes of the face's 6706 vertices (half precision), written as a checkout's meshes."""
    with np.load(media_root / "face_model" / "ict_face6706_f16.npz") as arrays:
        mean, where = arrays["mean"].astype(float), arrays["landmark68"]
        identity, expression = (
            arrays[key][first : first + 5].astype(float)
            for key, first in (("identity", 0), ("expression", 24))
        )
    mesh = published.Mesh(mean, identity, expression, np.ones(5), np.ones(5), where)
    published.write_ict(tmp_path, mesh)
    model = import_face_model(ImportConfig("ict", tmp_path, tmp_path / "out.npz"))
    real = load_face_model(media_root / "face_model" / "ict_68.npz")
    np.testing.assert_allclose(model.mean, real.mean, atol=1e-5)
    np.testing.assert_allclose(model.identity, real.identity[:5], atol=3e-4)
    np.testing.assert_allclose(model.expression, real.expression[24:29], atol=3e-4)
    np.testing.assert_array_equal(model.identity_std, real.identity_std[:5])
    np.testing.assert_array_equal(model.expression_range, real.expression_range[:5])
