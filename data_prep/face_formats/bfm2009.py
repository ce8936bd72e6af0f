"""Basel Face Model 2009 with Guo et al.'s expressions: EVP's 199 + 29 (supplement Sec. 1.2).

A folder with files of these names, those of the BFM folder of Deep3DFaceRecon_pytorch, whose
util/load_mats.py reads them:
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

Zero expression is the neutral face: the mean in Exp_Pca.bin, that of its training expressions, is
left out, as there.
"""

import zlib
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from affekt.arrays import Array
from data_prep.face_formats.basis import (
    Basis,
    coordinates,
    modes_of_columns,
    of_shape,
    pca_range,
    text_numbers,
    the_file,
)

EXPRESSIONS = 29  # of the 79: EVP supplement Sec. 1.2
SHAPE, MODES = "01_MorphableModel.mat", "Exp_Pca.bin"
STD, TRIM = "std_exp.txt", "BFM_exp_idx.mat"
FRONT, KEYPOINTS = "BFM_front_idx.mat", "facemodel_info.mat"
UNREADABLE = (
    *(ValueError, TypeError, OSError, EOFError, NotImplementedError, KeyError, IndexError),
    *(MatReadError, zlib.error),
)  # what loadmat raises for a file of another kind


def read_bfm2009(folder: Path) -> Basis:
    """Read the model over the vertices of the expression modes (V).

    Raises:
        FileNotFoundError: a file is missing; the message says what it is.
        ValueError: a file is of another kind, or two files do not belong together.
    """
    path = the_file(folder, SHAPE, "the shape of the Basel Face Model 2009")
    expression = _expression(the_file(folder, MODES, "Guo et al.'s expression modes"))
    V = len(expression) // 3
    shape = _read_mat(path, ("shapeMU", "shapePC", "shapeEV"))
    mean = coordinates(of_shape(shape["shapeMU"], (-1, 1), path, "shapeMU"), path, "shapeMU")
    modes = of_shape(shape["shapePC"], (len(mean), -1), path, "shapePC")
    K, E = modes.shape[1], expression.shape[1]
    identity_std = of_shape(shape["shapeEV"].ravel(), (K,), path, "shapeEV").astype(np.float64)
    kept = _trim(folder, len(mean) // 3, V)
    std_path = the_file(folder, STD, f"the {E} standard deviations of {MODES}'s modes")
    expression_std = of_shape(text_numbers(std_path, f"{E} numbers"), (E,), std_path, "numbers")
    return Basis(
        mean.reshape(-1, 3)[kept],
        modes_of_columns(modes)[:, kept],
        modes_of_columns(expression),
        identity_std,
        expression_std,
        pca_range(expression_std),
        "Basel Face Model 2009",
        _landmarks(folder, V),
    )


def _expression(path: Path) -> Array:
    """Return the modes (3V, E) of Exp_Pca.bin, less its mean."""
    layout = "wanted int32 E, then float32 mean (3V) and modes (E, 3V)"
    size = path.stat().st_size
    count = np.fromfile(path, "<i4", 1)
    if size < 4 or not 1 <= count[0] <= size // 4:
        raise ValueError(f"{path} ({size} bytes) is no Exp_Pca.bin; {layout}")
    E = int(count[0])
    numbers, rest = divmod(size - 4, 4)
    if rest or numbers % (3 * (E + 1)):
        raise ValueError(f"{path} says {E} modes, its {size} bytes do not hold so many; {layout}")
    return np.fromfile(path, "<f4", offset=4).reshape(E + 1, -1)[1:].T


def _trim(folder: Path, whole: int, V: int) -> Array:
    """Return which of the `whole` model's vertices have expression modes, (V,), from 0."""
    if whole == V:
        return np.arange(V)
    path = the_file(
        folder, TRIM, f"trimIndex, the {V} of {SHAPE}'s {whole} vertices that {MODES} has modes of"
    )
    kept = _from_one(_read_mat(path, ("trimIndex",))["trimIndex"])
    if len(kept) != V or kept.min() < 0 or kept.max() >= whole:
        raise ValueError(
            f"{path}: trimIndex has {len(kept)} indices up to {kept.max() + 1}, wanted {V} up to "
            f"{whole}"
        )
    return kept


def _landmarks(folder: Path, V: int) -> dict[int, int]:
    """Return the landmarks that the folder names, none if either of the two files is missing."""
    if not all((folder / name).is_file() for name in (FRONT, KEYPOINTS)):
        return {}
    front = _from_one(_read_mat(folder / FRONT, ("idx",))["idx"])
    points = _from_one(_read_mat(folder / KEYPOINTS, ("keypoints",))["keypoints"])
    of_shape(points, (68,), folder / KEYPOINTS, "keypoints")
    if points.min() < 0 or points.max() >= len(front) or front.min() < 0 or front.max() >= V:
        raise ValueError(
            f"{folder}: {KEYPOINTS} names vertex {points.max() + 1} of {FRONT}'s {len(front)}, "
            f"which names vertex {front.max() + 1} of {V}; the files do not belong together"
        )
    return {point: int(front[vertex]) for point, vertex in enumerate(points)}


def _read_mat(path: Path, keys: tuple[str, ...]) -> dict[str, Array]:
    """Return the arrays `keys` of a .mat file of MATLAB's versions 4 to 7, which hold no code."""
    wanted = f"wanted a MATLAB file that holds {', '.join(keys)}"
    try:
        arrays = loadmat(path, variable_names=keys)
    except UNREADABLE as error:
        raise ValueError(f"{path} is not readable: {error}; {wanted}") from None
    for key in keys:
        if key not in arrays:
            raise ValueError(f"{path} has no '{key}'; {wanted}")
        if not isinstance(arrays[key], np.ndarray) or arrays[key].dtype.kind not in "fiu":
            raise ValueError(f"{path}: '{key}' is not an array of numbers; {wanted}")
    return {key: arrays[key] for key in keys}


def _from_one(indices: Array) -> Array:
    """Return MATLAB's indices, counted from 1, as (n,) integers counted from 0."""
    return np.asarray(indices).ravel().astype(np.int64) - 1
