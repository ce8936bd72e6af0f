"""Read published face models into a `Basis`: Basel 2009 and 2017, ICT-FaceKit."""

import json
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError

from affekt.arrays import Array
from affekt.media.face3d.model import (
    ICT_EXPRESSION_RANGE,
    ICT_EXPRESSION_STD,
    ICT_IDENTITY_STD,
    of_shape,
)
from data_prep.face_formats.basis import (
    Basis,
    coordinates,
    modes_of_columns,
    pca_range,
    read_landmarks,
    the_file,
)

BFM2009_EXPRESSIONS = 29  # of the 79: EVP supplement Sec. 1.2
# Files of bfm2009
SHAPE, MODES = "01_MorphableModel.mat", "Exp_Pca.bin"
STD, TRIM = "std_exp.txt", "BFM_exp_idx.mat"
FRONT, KEYPOINTS = "BFM_front_idx.mat", "facemodel_info.mat"
BFM2017 = "model2017-1_face12_nomouth.h5"
UNREADABLE = (
    *(ValueError, TypeError, OSError, EOFError, LookupError, AttributeError, AssertionError),
    *(RuntimeError, MemoryError, ArithmeticError, struct.error, MatReadError, zlib.error),
)  # what loadmat and h5py raise for a file of another kind, or one that claims more than it has
LARGEST = 2**26  # numbers of an array: the largest of Basel's has half as many
# Files of ict
FOLDER, NEUTRAL, INDICES = "FaceXModel", "generic_neutral_mesh.obj", "vertex_indices.json"


def read_bfm2009(folder: Path) -> Basis:
    """Read the Basel Face Model 2009 with Guo et al.'s expressions, EVP's 199 + 29.

    A folder with files of these names, those of the BFM folder of Deep3DFaceRecon_pytorch, whose
    util/load_mats.py reads them; V vertices are those of the expression modes:
    01_MorphableModel.mat  shapeMU (3V', 1), shapePC (3V', 199), shapeEV (199, 1); micrometres; V'
                           is 53490. shapeEV are standard deviations: bases are shapePC * shapeEV.
    Exp_Pca.bin            little-endian: int32 E, float32 mean (3V), float32 modes (E, 3V); E is 79
                           and V 53215; micrometres. Of Guo et al. 2018, github.com/Juyong/3DFace,
                           built from FaceWarehouse.
    std_exp.txt            E numbers, the modes' standard deviations.
    BFM_exp_idx.mat        trimIndex: which of the V' vertices the V are, counted from 1.
    and for the landmarks, unless a file of them is given:
    BFM_front_idx.mat      idx: which of the V vertices the 35709 of its cropped face are, from 1.
    facemodel_info.mat     keypoints: the 68 landmarks among the cropped face's vertices, from 1.

    Zero expression is the neutral face: the mean in Exp_Pca.bin, that of its training expressions,
    is left out, as there.

    Raises:
        FileNotFoundError: a file is missing; the message says what it is.
        ValueError: a file is of another kind, or two files do not belong together.
    """
    # Geometry, of all vertices; expression, of a part of them
    path = the_file(folder, SHAPE, "the shape of the Basel Face Model 2009")
    expression = _bfm_expression(the_file(folder, MODES, "Guo et al.'s expression modes"))
    V = len(expression) // 3
    shape = read_mat(path, ("shapeMU", "shapePC", "shapeEV"))
    mean = coordinates(of_shape(shape["shapeMU"], (None, 1), path, "shapeMU"), path, "shapeMU")
    modes = of_shape(shape["shapePC"], (len(mean), None), path, "shapePC")
    K, E = modes.shape[1], expression.shape[1]
    identity_std = of_shape(shape["shapeEV"].ravel(), (K,), path, "shapeEV").astype(np.float64)
    kept = _bfm_trim(folder, len(mean) // 3, V)
    # Standard deviations of the expression modes stand in a text file
    std_path = the_file(folder, STD, f"the {E} standard deviations of {MODES}'s modes")
    try:
        stds = np.array(std_path.read_text(encoding="utf-8").split(), np.float64)
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{std_path}: {error}; wanted {E} numbers, as text") from None
    expression_std = of_shape(stds, (E,), std_path, "numbers")[:BFM2009_EXPRESSIONS]
    return Basis(
        mean.reshape(-1, 3)[kept],
        modes_of_columns(modes)[:, kept],
        modes_of_columns(expression)[:BFM2009_EXPRESSIONS],
        identity_std,
        expression_std,
        pca_range(expression_std),
        "Basel Face Model 2009",
        _bfm_landmarks(folder, V),
    )


def _bfm_expression(path: Path) -> Array:
    """Return the modes (3V, E) of Exp_Pca.bin, less its mean."""
    layout = "wanted int32 E, then float32 mean (3V) and modes (E, 3V)"
    size = path.stat().st_size
    count = np.fromfile(path, "<i4", 1)
    if size < 4 or not 1 <= count[0] <= size // 4:
        raise ValueError(f"{path} ({size} bytes) is no Exp_Pca.bin; {layout}")
    E = int(count[0])
    numbers, rest = divmod(size - 4, 4)
    if rest or numbers % (3 * (E + 1)):
        raise ValueError(
            f"{path} declares {E} modes, its {size} bytes do not hold so many; {layout}"
        )
    return np.fromfile(path, "<f4", offset=4).reshape(E + 1, -1)[1:].T


def _bfm_trim(folder: Path, whole: int, V: int) -> Array:
    """Return which of the `whole` model's vertices have expression modes, (V,), from 0."""
    if whole == V:
        return np.arange(V)
    path = the_file(
        folder, TRIM, f"trimIndex, the {V} of {SHAPE}'s {whole} vertices that {MODES} has modes of"
    )
    kept = _from_one(read_mat(path, ("trimIndex",))["trimIndex"])
    if len(kept) != V or kept.min() < 0 or kept.max() >= whole:
        raise ValueError(
            f"{path}: trimIndex has {len(kept)} indices up to {kept.max() + 1}, wanted {V} up to "
            f"{whole}"
        )
    return kept


def _bfm_landmarks(folder: Path, V: int) -> dict[int, int]:
    """Return the landmarks that the folder names, none if either of the two files is missing."""
    if not all((folder / name).is_file() for name in (FRONT, KEYPOINTS)):
        return {}
    front = _from_one(read_mat(folder / FRONT, ("idx",))["idx"])
    marks = _from_one(read_mat(folder / KEYPOINTS, ("keypoints",))["keypoints"])
    of_shape(marks, (68,), folder / KEYPOINTS, "keypoints")
    if marks.min() < 0 or marks.max() >= len(front) or front.min() < 0 or front.max() >= V:
        raise ValueError(
            f"{folder}: {KEYPOINTS} names vertex {marks.max() + 1} of {FRONT}'s {len(front)}, "
            f"which names vertex {front.max() + 1} of {V}; the files do not belong together"
        )
    return {point: int(front[vertex]) for point, vertex in enumerate(marks)}


def mat_names(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays of a .mat file of MATLAB's versions 4 to 7."""
    try:
        return tuple(name for name, _, _ in whosmat(path))
    except UNREADABLE as error:
        raise ValueError(f"{path} is not readable: {error}; wanted a MATLAB file") from None


def read_mat(path: Path, keys: tuple[str, ...]) -> dict[str, Array]:
    """Return the arrays `keys` of a .mat file of MATLAB's versions 4 to 7, which hold no code."""
    wanted = f"wanted a MATLAB file that holds {', '.join(keys)}"
    try:
        for key, shape, _ in whosmat(path):
            _check_size(shape, f"'{key}'")
        arrays = loadmat(path, variable_names=keys)
    except UNREADABLE as error:
        raise ValueError(f"{path} is not readable: {error}; {wanted}") from None
    for key in keys:
        if key not in arrays:
            raise ValueError(f"{path} has no '{key}'; {wanted}")
        if not isinstance(arrays[key], np.ndarray) or arrays[key].dtype.kind not in "fiu":
            raise ValueError(f"{path}: '{key}' is not an array of numbers; {wanted}")
    return {key: arrays[key] for key in keys}


def _check_size(shape: Sequence[int], what: str) -> None:
    """Refuse an array before room is made for it; packed, a few bytes stand for gigabytes."""
    if math.prod(shape) > LARGEST:
        raise ValueError(f"{what} claims shape {tuple(shape)}, more than {LARGEST} numbers")


def _from_one(indices: Array) -> Array:
    """Return MATLAB's indices, counted from 1, as (n,) integers counted from 0."""
    return np.asarray(indices).ravel().astype(np.int64) - 1


def read_bfm2017(path: Path) -> Basis:
    """Read the Basel Face Model 2017 or 2019: its statismo .h5.

    Keys (Gerig et al. 2018, Morphable Face Models - An Open Framework; eos's conversion of it), in
    millimetres:
    shape/model/mean (3V,), pcaBasis (3V, K) orthonormal, pcaVariance (K,)
    expression/model/ the same three of E modes; its mean is an offset that is part of the model
    The file names some points of its own (metadata/landmarks), but no iBUG-68: the vertices of
    these must be given. eos's ibug_to_bfm2017-1_bfm_nomouth.txt has 26 of them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no HDF5, a key missing or of a wrong shape, NaN.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; expected one such as {BFM2017}")
    # Two statistical models over the same vertices
    try:
        with h5py.File(path, "r") as file:
            mean, identity, variance = _h5_pca(file, "shape/model", path)
            offset, expression, spread = _h5_pca(file, "expression/model", path)
    except (OSError, RuntimeError, LookupError, TypeError, MemoryError) as error:
        raise ValueError(f"{path} is no readable HDF5 file: {error}") from None
    if len(offset) != len(mean):
        raise ValueError(
            f"{path}: {len(mean) // 3} vertices in shape, {len(offset) // 3} in expression"
        )
    return Basis(
        (mean + offset).reshape(-1, 3),
        modes_of_columns(identity),
        modes_of_columns(expression),
        np.sqrt(variance),
        np.sqrt(spread),
        pca_range(np.sqrt(spread)),
        f"Basel Face Model ({path.stem})",
    )


def _h5_pca(file: h5py.File, group: str, path: Path) -> tuple[Array, Array, Array]:
    """Return mean (3V,), modes (3V, K) and variances (K,) of a group, float64, float32, float64."""
    arrays = []
    for key in ("mean", "pcaBasis", "pcaVariance"):
        name = f"{group}/{key}"
        if not isinstance(file.get(name), h5py.Dataset):
            raise ValueError(
                f"{path} has no dataset '{name}'; wanted a Basel Face Model of 2017 or 2019, "
                "which has shape and expression"
            )
        _check_size(file[name].shape, f"{path}: '{name}'")
        arrays.append(np.asarray(file[name]))
    mean, basis, variance = arrays
    coordinates(of_shape(mean, (None,), path, f"{group}/mean"), path, f"{group}/mean")
    of_shape(basis, (len(mean), None), path, f"{group}/pcaBasis")
    of_shape(variance, (basis.shape[1],), path, f"{group}/pcaVariance")
    if (variance <= 0).any():
        raise ValueError(f"{path}: {group}/pcaVariance holds a value of 0 or less")
    return mean.astype(np.float64), basis, variance.astype(np.float64)


def read_ict(source: Path) -> Basis:
    """Read a checkout of github.com/ICT-VGL/ICT-FaceKit, or its FaceXModel folder of meshes.

    generic_neutral_mesh.obj    the mean, in centimetres
    identity000.obj, ...        the mean plus one standard deviation of each identity mode
    jawOpen.obj, ...            the mean plus each expression at weight 1
    vertex_indices.json         `expressions`, the names of these files in order, and
                                `idx_to_landmark_verts`, the vertices of the 68 landmarks from 0
    as in its Scripts/face_model_io.py. Prior widths are those of affekt/media/face3d/model.py.

    Raises:
        FileNotFoundError: a mesh or the list is missing.
        ValueError: a mesh that cannot be read or has other vertices, or a list of another kind.
    """
    folder = source / FOLDER if (source / FOLDER).is_dir() else source
    mean = _vertices(the_file(folder, NEUTRAL, "the mean mesh of an ICT-FaceKit checkout"))
    indices = the_file(folder, INDICES, "the expressions and landmarks of an ICT-FaceKit checkout")
    first = the_file(folder, "identity000.obj", "the first identity mode of ICT-FaceKit")
    # A mesh a mode; modes are differences from the mean
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
