"""3DDFA's bases: the Basel Face Model 2009 cut to 40 + 10 modes, the landmarks' rows as text.

Of c++/weights in a checkout of github.com/cleardusk/3DDFA: u_base.txt (3 * 68), w_shp_base.txt
(3 * 68, K) and w_exp_base.txt (3 * 68, E), row after row, in micrometres; param_std.txt
(12 + K + E), the standard deviations of its pose parameters, then of the coefficients, over
300W-LP. K is 40 and E 10 there.
"""

from pathlib import Path

from affekt.arrays import Array
from data_prep.face_formats.basis import (
    Basis,
    modes_of_columns,
    of_shape,
    pca_range,
    text_numbers,
    the_file,
)

POINTS = 68
ROWS = 3 * POINTS
POSE = 12  # parameters before the coefficients: a 3 x 4 camera


def read_3ddfa(folder: Path) -> Basis:
    """Read the text files of a folder.

    Raises:
        FileNotFoundError: a file is missing; the message says what it is.
        ValueError: a file is of another kind, or two files do not belong together.
    """
    path = the_file(folder, "u_base.txt", "the mean face of 3DDFA's c++/weights")
    mean = of_shape(text_numbers(path, f"{ROWS} numbers"), (ROWS,), path, "numbers")
    identity, expression = (_modes(folder, f"w_{name}_base.txt") for name in ("shp", "exp"))
    K, E = identity.shape[1], expression.shape[1]
    count = f"{POSE} + {K} + {E}"
    path = the_file(folder, "param_std.txt", f"{count} standard deviations, of 3DDFA's c++/weights")
    std = of_shape(text_numbers(path, f"{count} numbers"), (POSE + K + E,), path, "numbers")
    return Basis(
        mean.reshape(-1, 3),
        modes_of_columns(identity),
        modes_of_columns(expression),
        std[POSE : POSE + K],
        std[POSE + K :],
        pca_range(std[POSE + K :]),
        "3DDFA's Basel Face Model 2009",
        {point: point for point in range(POINTS)},
    )


def _modes(folder: Path, name: str) -> Array:
    path = the_file(folder, name, f"{ROWS} rows of modes, of 3DDFA's c++/weights")
    numbers = text_numbers(path, f"{ROWS} rows of numbers")
    if not len(numbers) or len(numbers) % ROWS:
        raise ValueError(f"{path} holds {len(numbers)} numbers, wanted {ROWS} rows of them")
    return numbers.reshape(ROWS, -1)
