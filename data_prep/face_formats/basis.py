"""Linear face model over a whole mesh: mean, identity and expression modes, plausible ranges.

Letters: V vertices, K identity modes, E expression modes, F triangles.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from affekt.arrays import Array

# Ours: a component of a PCA is Gaussian, and beyond three standard deviations next to nothing is.
PLAUSIBLE_DEVIATIONS = 3.0


@dataclass(frozen=True, eq=False)
class Basis:
    """A face model in its source's unit and axes: x to the image right, y up, z to the viewer.

    All five kinds that are read have these axes; the x of the subject's left side is positive.

    Attributes:
        mean: (V, 3).
        identity, expression: (K, V, 3), (E, V, 3), in the unit of the mean per unit of coefficient.
        identity_std, expression_std: (K,), (E,), of the coefficients, positive.
        expression_range: (E, 2), lowest and highest plausible coefficient.
        name: what the model is.
        landmarks: vertex of each iBUG-68 point (counted from 0) that the source itself names.
        triangles: (F, 3), vertices counted from 0; F = 0 where the source has none.
    """

    mean: Array
    identity: Array
    expression: Array
    identity_std: Array
    expression_std: Array
    expression_range: Array
    name: str
    landmarks: dict[int, int] = field(default_factory=dict)
    triangles: Array = field(default_factory=lambda: np.zeros((0, 3), np.int32))

    def first(self, identities: int | None, expressions: int | None) -> "Basis":
        """Return the basis of the first modes of each set; None keeps all.

        Raises:
            ValueError: more modes are wanted than there are, or none.
        """
        wanted = (("identity", identities), ("expression", expressions))
        for what, count in wanted:
            held = len(getattr(self, what))
            if count is not None and not 1 <= count <= held:
                raise ValueError(f"{self.name} has {held} {what} modes, {count} are wanted")
        return replace(
            self,
            identity=self.identity[:identities],
            identity_std=self.identity_std[:identities],
            expression=self.expression[:expressions],
            expression_std=self.expression_std[:expressions],
            expression_range=self.expression_range[:expressions],
        )

    def checked(self, source: Path) -> "Basis":
        """Return the basis if its numbers can be a model's.

        Raises:
            ValueError: NaN or infinity, or a standard deviation of 0 or less; the message names
                `source` and the array.
        """
        for what in ("mean", "identity", "expression", "identity_std", "expression_std"):
            if not np.isfinite(getattr(self, what)).all():
                raise ValueError(f"{source}: {what} of {self.name} holds NaN or infinity")
        for what in ("identity_std", "expression_std"):
            if (getattr(self, what) <= 0).any():
                raise ValueError(f"{source}: {what} of {self.name} holds a value of 0 or less")
        return self


def modes_of_columns(columns: Array) -> Array:
    """Return modes (K, V, 3) of a matrix (3V, K) whose rows are x, y, z of vertex after vertex."""
    return columns.reshape(len(columns) // 3, 3, -1).transpose(2, 0, 1)


def pca_range(std: Array) -> Array:
    """Return the plausible range (E, 2) of Gaussian coefficients of standard deviations (E,)."""
    return np.outer(std, [-PLAUSIBLE_DEVIATIONS, PLAUSIBLE_DEVIATIONS])


def the_file(folder: Path, name: str, what: str) -> Path:
    """Return `folder`/`name`.

    Raises:
        FileNotFoundError: it is not there; the message says `what` was expected.
    """
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"no {path}; expected {what}")
    return path


def of_shape(array: Array, shape: tuple[int, ...], path: Path, key: str) -> Array:
    """Return `array` if it holds numbers of `shape`, where -1 stands for any size of 1 or more.

    Raises:
        ValueError: it does not; the message names the file and the key, and what was wanted.
    """
    fits = array.ndim == len(shape) and all(
        found >= 1 if wanted == -1 else found == wanted
        for found, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype.kind not in "fiu":
        sizes = tuple("any" if size == -1 else size for size in shape)
        raise ValueError(
            f"{path}: '{key}' is {array.dtype} of shape {array.shape}, wanted numbers of {sizes}"
        )
    return array


def coordinates(array: Array, path: Path, key: str) -> Array:
    """Return an array whose first size is 3V, the x, y, z of each vertex in turn.

    Raises:
        ValueError: it is no multiple of 3.
    """
    if len(array) % 3:
        raise ValueError(f"{path}: '{key}' has {len(array)} rows, wanted x, y, z of each vertex")
    return array


def text_numbers(path: Path, wanted: str) -> Array:
    """Return the numbers (n,) of a text file, apart by blanks or line ends.

    Raises:
        ValueError: something else stands there; the message says what was `wanted`.
    """
    try:
        return np.array(path.read_text(encoding="utf-8").split(), np.float64)
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}; wanted {wanted}, as text") from None
