"""3DDFA's bases: the Basel Face Model 2009 cut to 40 + 10 modes, as text or as .npy files.

Of the checkout of github.com/cleardusk/3DDFA (its params.py and c++/ tell how they are read):
    text, c++/weights      u_base.txt (3 * 68), w_shp_base.txt (3 * 68, K), w_exp_base.txt
                           (3 * 68, E), row after row: the landmarks' rows alone
    .npy, configs          u_shp.npy, u_exp.npy (3V, 1), w_shp_sim.npy (3V, K), w_exp_sim.npy
                           (3V, E), keypoints_sim.npy (3 * 68): which coordinates are the landmarks'
    both                   param_std.txt (12 + K + E): standard deviations of its pose parameters,
                           then of the coefficients, over 300W-LP
Micrometres. K is 40 and E 10 there; V is 53215. The .npy files come with a pickle of the standard
deviations (param_whitening.pkl), which is not read: copy the text beside them.
"""

from pathlib import Path

import numpy as np

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

POINTS = 68
POSE = 12  # parameters before the coefficients: a 3 x 4 camera
TEXT, STD = "u_base.txt", "param_std.txt"


def read_3ddfa(folder: Path) -> Basis:
    """Read the text files where they are, else the .npy files.

    Raises:
        FileNotFoundError: a file is missing; the message says what it is.
        ValueError: a file is of another kind, or two files do not belong together.
    """
    if (folder / TEXT).is_file():
        mean, identity, expression = _text(folder)
        landmarks = {point: point for point in range(POINTS)}
    else:
        mean, identity, expression, landmarks = _npy(folder)
    K, E = identity.shape[1], expression.shape[1]
    path = the_file(folder, STD, f"{POSE} + {K} + {E} standard deviations, of 3DDFA's c++/weights")
    wanted = (POSE + K + E,)
    std = of_shape(text_numbers(path, f"{POSE} + {K} + {E} numbers"), wanted, path, "numbers")
    return Basis(
        mean.reshape(-1, 3),
        modes_of_columns(identity),
        modes_of_columns(expression),
        std[POSE : POSE + K],
        std[POSE + K :],
        pca_range(std[POSE + K :]),
        "3DDFA's Basel Face Model 2009",
        landmarks,
    )


def _text(folder: Path) -> tuple[Array, Array, Array]:
    rows = 3 * POINTS
    path = folder / TEXT
    mean = of_shape(text_numbers(path, f"{rows} numbers"), (rows,), path, "numbers")
    modes = []
    for name in ("w_shp_base.txt", "w_exp_base.txt"):
        path = the_file(folder, name, f"{rows} rows of modes, of 3DDFA's c++/weights")
        numbers = text_numbers(path, f"{rows} rows of numbers")
        if not len(numbers) or len(numbers) % rows:
            raise ValueError(f"{path} holds {len(numbers)} numbers, wanted {rows} rows of them")
        modes.append(numbers.reshape(rows, -1))
    return mean, modes[0], modes[1]


def _npy(folder: Path) -> tuple[Array, Array, Array, dict[int, int]]:
    path = the_file(folder, "u_shp.npy", f"3DDFA's bases: {TEXT} and so on, or u_shp.npy and so on")
    shape = coordinates(_load(path).reshape(-1), path, "the array")
    n = len(shape)
    arrays = {}
    for name in ("u_exp", "w_shp_sim", "w_exp_sim", "keypoints_sim"):
        path = the_file(folder, f"{name}.npy", f"3DDFA's {name} beside u_shp.npy")
        arrays[name] = _load(path)
        if name.startswith("w_"):
            of_shape(arrays[name], (n, -1), path, "the array")
    offset = of_shape(arrays["u_exp"].reshape(-1), (n,), folder / "u_exp.npy", "the array")
    keypoints = arrays["keypoints_sim"].reshape(-1)
    path = folder / "keypoints_sim.npy"
    of_shape(keypoints, (3 * POINTS,), path, "the array")
    triples = keypoints.astype(np.int64).reshape(POINTS, 3)
    vertices = triples[:, 0] // 3
    if (triples != 3 * vertices[:, None] + np.arange(3)).any():
        raise ValueError(f"{path}: wanted indices 3v, 3v + 1, 3v + 2 of each landmark's vertex v")
    landmarks = {point: int(vertex) for point, vertex in enumerate(vertices)}
    mean = shape.astype(np.float64) + offset
    return mean, arrays["w_shp_sim"], arrays["w_exp_sim"], landmarks


def _load(path: Path) -> Array:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no .npy file of numbers: {error}") from None
    if not isinstance(loaded, np.ndarray) or loaded.dtype.kind not in "fiu":
        raise ValueError(f"{path} is no .npy file of numbers")
    return loaded
