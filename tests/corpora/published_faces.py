"""A small made-up mesh, and writers of the file formats in which 3D face models are published."""

import json
import struct
from dataclasses import dataclass

import h5py
import numpy as np
from scipy.io import savemat

from tests.corpora.made_up_faces import made_up_model

SOURCE_AXES = np.array([1.0, -1.0, -1.0])  # published models have y up and z towards the viewer
SPARE = 25  # vertices that are no landmark


@dataclass(frozen=True, eq=False)
class Mesh:
    """A model over V vertices in a source's axes and unit; `where` (68,) are its landmarks."""

    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    identity_std: np.ndarray
    expression_std: np.ndarray
    where: np.ndarray

    def landmarks(self, identity, expression):
        """Return the landmarks (..., 68, 3) of coefficients in the project's axes."""
        shapes = self.mean + np.tensordot(identity, self.identity, 1)
        shapes = shapes + np.tensordot(expression, self.expression, 1)
        return shapes[..., self.where, :] * SOURCE_AXES


def made_up_mesh(K=4, E=3, unit=90.0, seed=0):
    """Return a mesh whose landmarks stand anywhere among its vertices, `unit` wide at the eyes."""
    rng = np.random.default_rng(seed)
    model = made_up_model(K=K, E=E, seed=seed)
    V = 68 + SPARE
    where = rng.permutation(V)[:68]
    arrays = {}
    for name, count in (("mean", 1), ("identity", K), ("expression", E)):
        rows = rng.normal(size=(count, V, 3)) * (0.5 if name == "mean" else 0.02)
        rows[:, where] = getattr(model, name)
        arrays[name] = rows * SOURCE_AXES * unit
    std = rng.uniform(0.5, 2, K), rng.uniform(0.5, 2, E)
    offset = rng.normal(size=3) * unit
    identity = arrays["identity"] / std[0][:, None, None]
    expression = arrays["expression"] / std[1][:, None, None]
    return Mesh(arrays["mean"][0] + offset, identity, expression, *std, where)


def columns(modes):
    """Return modes (K, V, 3) as a matrix (3V, K) of single precision."""
    return modes.reshape(len(modes), -1).T.astype(np.float32)


def write_bfm2009(folder, mesh):
    """Write Basel 2009: 7 vertices have no expressions; landmarks are named in a cropped face."""
    V, K = len(mesh.mean), len(mesh.identity)
    rng = np.random.default_rng(1)
    kept = np.sort(rng.permutation(V + 7)[:V])
    mean, modes = rng.normal(size=(V + 7, 3)), rng.normal(size=(K, V + 7, 3))
    mean[kept], modes[:, kept] = mesh.mean, mesh.identity
    shape = {"shapeMU": mean.reshape(-1, 1).astype(np.float32), "shapePC": columns(modes)}
    shape["shapeEV"] = mesh.identity_std[:, None].astype(np.float32)
    savemat(folder / "01_MorphableModel.mat", shape)
    savemat(folder / "BFM_exp_idx.mat", {"trimIndex": kept[:, None] + 1})
    front = rng.permutation(V)
    savemat(folder / "BFM_front_idx.mat", {"idx": front[:, None] + 1})
    savemat(folder / "facemodel_info.mat", {"keypoints": np.argsort(front)[mesh.where][None] + 1})
    with (folder / "Exp_Pca.bin").open("wb") as file:
        file.write(struct.pack("<i", len(mesh.expression)))
        file.write(rng.normal(size=3 * V).astype("<f4").tobytes())  # its mean, which is left out
        file.write(mesh.expression.astype("<f4").tobytes())
    (folder / "std_exp.txt").write_text(" ".join(f"{std:.8g}" for std in mesh.expression_std))
    return folder


def write_bfm2017(folder, mesh):
    """Write Basel 2017; half of the mean is in the expression model's."""
    path = folder / "model2017-1_face12_nomouth.h5"
    sets = {"shape": (mesh.identity, mesh.identity_std)}
    sets["expression"] = (mesh.expression, mesh.expression_std)
    with h5py.File(path, "w") as file:
        for name, (modes, std) in sets.items():
            file[f"{name}/model/mean"] = (mesh.mean.ravel() / 2).astype(np.float32)
            file[f"{name}/model/pcaBasis"] = columns(modes)
            file[f"{name}/model/pcaVariance"] = np.square(std).astype(np.float32)
        file["shape/representer/cells"] = np.array([[0, 1], [1, 2], [2, 3]])
    return path


def write_ict(folder, mesh):
    """Write an ICT-FaceKit checkout."""
    inside = folder / "FaceXModel"
    inside.mkdir()
    names = [f"expression{index}" for index in range(len(mesh.expression))]
    meshes = {"generic_neutral_mesh": mesh.mean}
    meshes |= {f"identity{k:03d}": mesh.mean + mode for k, mode in enumerate(mesh.identity)}
    meshes |= dict(zip(names, mesh.mean + mesh.expression, strict=True))
    for name, vertices in meshes.items():
        lines = ["# OBJ", *(f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in vertices)]
        lines += ["vt 0.5 0.5", "vn 0 0 1", "f 1/1/1 2/1/1 3/1/1"]
        (inside / f"{name}.obj").write_text("\n".join(lines))
    lists = {"expressions": names, "idx_to_landmark_verts": mesh.where.tolist()}
    (inside / "vertex_indices.json").write_text(json.dumps(lists))
    return folder
