"""Arrays of .mat files of MATLAB's versions 4 to 7, which hold no code."""

import zlib
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from affekt.arrays import Array

UNREADABLE = (ValueError, TypeError, OSError, EOFError, NotImplementedError, KeyError, IndexError)


def read_mat(path: Path, keys: tuple[str, ...]) -> dict[str, Array]:
    """Return the arrays `keys` of a .mat file, each at least 2-dimensional as MATLAB has them.

    Raises:
        ValueError: no such file, one of version 7.3 (HDF5), a key missing or not of numbers; the
            message names the file and the keys that were expected.
    """
    wanted = f"wanted a MATLAB file that holds {', '.join(keys)}"
    try:
        arrays = loadmat(path, variable_names=keys)
    except (*UNREADABLE, MatReadError, zlib.error) as error:
        raise ValueError(f"{path} is not readable: {error}; {wanted}") from None
    for key in keys:
        if key not in arrays:
            raise ValueError(f"{path} has no '{key}'; {wanted}")
        if not isinstance(arrays[key], np.ndarray) or arrays[key].dtype.kind not in "fiu":
            raise ValueError(f"{path}: '{key}' is not an array of numbers; {wanted}")
    return {key: arrays[key] for key in keys}


def from_one(indices: Array) -> Array:
    """Return MATLAB's indices, counted from 1, as (n,) integers counted from 0."""
    return np.asarray(indices).ravel().astype(np.int64) - 1
