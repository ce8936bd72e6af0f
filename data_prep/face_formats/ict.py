"""ICT-FaceKit: a checkout of github.com/ICT-VGL/ICT-FaceKit, whose FaceXModel folder holds meshes.

    generic_neutral_mesh.obj    the mean, in centimetres
    identity000.obj, ...        the mean plus one standard deviation of each identity mode
    jawOpen.obj, ...            the mean plus each expression at weight 1
    vertex_indices.json         `expressions`, the names of these files in order, and
                                `idx_to_landmark_verts`, the vertices of the 68 landmarks from 0
as in its Scripts/face_model_io.py. Prior widths are those of affekt/media/face3d/model.py.
"""

import json
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.face3d.model import ICT_EXPRESSION_RANGE, ICT_EXPRESSION_STD, ICT_IDENTITY_STD
from data_prep.face_formats.basis import Basis, the_file
from data_prep.face_formats.landmark_rows import read_landmarks

FOLDER, NEUTRAL, INDICES = "FaceXModel", "generic_neutral_mesh.obj", "vertex_indices.json"


def read_ict(source: Path) -> Basis:
    """Read a checkout, or its FaceXModel folder.

    Raises:
        FileNotFoundError: a mesh or the list is missing.
        ValueError: a mesh that cannot be read or has other vertices, or a list of another kind.
    """
    folder = source / FOLDER if (source / FOLDER).is_dir() else source
    mean = _vertices(the_file(folder, NEUTRAL, "the mean mesh of an ICT-FaceKit checkout"))
    indices = the_file(folder, INDICES, "the expressions and landmarks of an ICT-FaceKit checkout")
    first = the_file(folder, "identity000.obj", "the first identity mode of ICT-FaceKit")
    identity = []
    while first.is_file():
        identity.append(_offsets(first, mean))
        first = folder / f"identity{len(identity):03d}.obj"
    expression = [
        _offsets(the_file(folder, f"{name}.obj", f"an expression that {INDICES} names"), mean)
        for name in _expression_names(indices)
    ]
    E = len(expression)
    return Basis(
        mean,
        np.stack(identity),
        np.stack(expression),
        np.full(len(identity), ICT_IDENTITY_STD),
        np.full(E, ICT_EXPRESSION_STD),
        np.tile(ICT_EXPRESSION_RANGE, (E, 1)),
        "ICT-FaceKit",
        read_landmarks(indices),
    )


def _expression_names(path: Path) -> list[str]:
    try:
        names = json.loads(path.read_text(encoding="utf-8")).get("expressions")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is no JSON object: {error}") from None
    usable = isinstance(names, list) and all(
        isinstance(name, str) and Path(name).name == name for name in names
    )
    if not usable or not names:
        raise ValueError(f"{path}: 'expressions' is {names!r:.60}, wanted names of meshes")
    return [str(name) for name in names]


def _vertices(path: Path) -> Array:
    """Return the vertices (V, 3) of an OBJ file, the lines `v x y z`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [line.split()[1:4] for line in lines if line.startswith("v ")]
        vertices = np.array(found, np.float32)
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{path}: {error}; wanted lines 'v x y z' of an OBJ mesh") from None
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"{path} has no vertices; wanted lines 'v x y z' of an OBJ mesh")
    return vertices


def _offsets(path: Path, mean: Array) -> Array:
    vertices = _vertices(path)
    if vertices.shape != mean.shape:
        raise ValueError(f"{path} has {len(vertices)} vertices, {NEUTRAL} {len(mean)}")
    return vertices - mean
