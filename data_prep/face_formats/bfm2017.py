"""Basel Face Model 2017 (and 2019): one .h5 file in the statismo format.

Keys (Gerig et al. 2018, Morphable Face Models - An Open Framework; eos's conversion script of it):
    shape/model/mean (3V,), pcaBasis (3V, K) orthonormal, pcaVariance (K,)
    expression/model/ the same three of E modes; its mean is an offset that is part of the model
    shape/representer/cells (3, F)
Millimetres. The file names some points of its own (metadata/landmarks), but no iBUG-68: the
vertices of these must be given. eos's ibug_to_bfm2017-1_bfm_nomouth.txt has 26 of them.
"""

from pathlib import Path

import h5py
import numpy as np

from affekt.arrays import Array
from data_prep.face_formats.basis import Basis, coordinates, modes_of_columns, of_shape, pca_range

CELLS = "shape/representer/cells"


def read_bfm2017(source: Path) -> Basis:
    """Read a model file, or the only .h5 file of a folder.

    Raises:
        FileNotFoundError: no such file.
        ValueError: several files, no HDF5, a key missing or of a wrong shape, NaN.
    """
    path = _the_model(source)
    try:
        with h5py.File(path, "r") as file:
            mean, identity, variance = _pca(file, "shape/model", path)
            offset, expression, spread = _pca(file, "expression/model", path)
            cells = np.asarray(file[CELLS]) if CELLS in file else np.zeros((3, 0))
    except OSError as error:
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
        triangles=of_shape(cells, (3, cells.shape[-1]), path, CELLS).T.astype(np.int32),
    )


def _the_model(source: Path) -> Path:
    if not source.is_dir():
        if not source.is_file():
            raise FileNotFoundError(f"no {source}; expected the .h5 file of Basel Face Model 2017")
        return source
    files = sorted(source.glob("*.h5"))
    if not files:
        raise FileNotFoundError(
            f"no .h5 file in {source}; expected one such as model2017-1_face12_nomouth.h5"
        )
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise ValueError(f"{source} holds {names}; name one of them as the source")
    return files[0]


def _pca(file: h5py.File, group: str, path: Path) -> tuple[Array, Array, Array]:
    """Return mean (3V,), modes (3V, K) and variances (K,) of a group, float64, float32, float64."""
    arrays = []
    for key in ("mean", "pcaBasis", "pcaVariance"):
        name = f"{group}/{key}"
        if not isinstance(file.get(name), h5py.Dataset):
            raise ValueError(
                f"{path} has no dataset '{name}'; wanted a Basel Face Model of 2017 or 2019, "
                "which has shape and expression"
            )
        arrays.append(np.asarray(file[name]))
    mean, basis, variance = arrays
    coordinates(of_shape(mean, (-1,), path, f"{group}/mean"), path, f"{group}/mean")
    of_shape(basis, (len(mean), -1), path, f"{group}/pcaBasis")
    of_shape(variance, (basis.shape[1],), path, f"{group}/pcaVariance")
    if (variance <= 0).any():
        raise ValueError(f"{path}: {group}/pcaVariance holds a value of 0 or less")
    return mean.astype(np.float64), basis, variance.astype(np.float64)
