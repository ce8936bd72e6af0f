"""The Surrey Face Model as eos stores it: the share folder of github.com/patrikhuber/eos.

    sfm_shape_3448.bin                 uint32 version 1; a PCA model of the shape; what follows is
                                       not needed
    expression_blendshapes_3448.bin    uint64 count, of each its name and its offsets (3V, 1)
    ibug_to_sfm.txt                    the vertices of 50 of the 68 points: chin, brows, nose, eyes
                                       and lips; the rest of the jaw and the inner mouth corners
                                       must be given
A PCA model is its mean (3V, 1), orthonormal modes (3V, K), variances (K, 1) and triangles.

These are archives of the C++ library cereal: little-endian without padding or marks; a container's
size as uint64, text as its size and its bytes, an Eigen matrix as int32 rows, int32 columns and
float32 columns one after the other (eos, MorphableModel.hpp, PcaModel.hpp, Blendshape.hpp).
"""

from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.face3d.model import ICT_EXPRESSION_RANGE, ICT_EXPRESSION_STD
from data_prep.face_formats.basis import Basis, modes_of_columns, of_shape, the_file
from data_prep.face_formats.landmark_rows import read_landmarks

VERSION = 1  # of a model without expressions of its own
SHAPE, BLENDSHAPES = "sfm_shape_3448.bin", "expression_blendshapes_3448.bin"
LANDMARKS = "ibug_to_sfm.txt"


class Archive:
    """A file that is read from its start on; reading past its end is a ValueError."""

    def __init__(self, path: Path, what: str) -> None:
        """Open `path`; `what` says in messages what the file should have been."""
        self.path = path
        self._what = what
        self._bytes = path.read_bytes()
        self._at = 0

    @property
    def ended(self) -> bool:
        """Whether all of the file was read."""
        return self._at == len(self._bytes)

    def wrong(self, why: str) -> ValueError:
        """Return the error of a file that is something else."""
        return ValueError(f"{self.path} is not {self._what}: {why}, at byte {self._at}")

    def array(self, kind: str, count: int) -> Array:
        """Return the next `count` numbers of a numpy dtype."""
        size = np.dtype(kind).itemsize * count
        if count < 0 or size > len(self._bytes) - self._at:
            raise self.wrong(f"{count} numbers ({kind}) should follow and do not")
        numbers = np.frombuffer(self._bytes, kind, count, self._at)
        self._at += size
        return numbers

    def number(self, kind: str) -> int:
        """Return the next number of a numpy dtype."""
        return int(self.array(kind, 1)[0])

    def matrix(self) -> Array:
        """Return the next matrix (rows, columns)."""
        rows, columns = (self.number("<i4") for _ in range(2))
        if rows < 0 or columns < 0:
            raise self.wrong(f"a matrix of {rows} x {columns}")
        return self.array("<f4", rows * columns).reshape(columns, rows).T

    def triangles(self) -> Array:
        """Return the next list of triangles (F, 3)."""
        count = self.number("<u8")
        return self.array("<i4", 3 * count).reshape(count, 3)


def read_eos(folder: Path) -> Basis:
    """Read eos's share folder.

    Raises:
        FileNotFoundError: a file is missing; the message says what it is.
        ValueError: a file of another kind or version, or shapes that do not fit each other.
    """
    # The shape: a PCA model.
    path = the_file(folder, SHAPE, "the Surrey Face Model of eos's share folder")
    archive = Archive(path, f"a model of eos (MorphableModel, version {VERSION})")
    version = archive.number("<u4")
    if version != VERSION:
        raise archive.wrong(f"its version is {version}")
    mean, modes, variance = (archive.matrix() for _ in range(3))
    if mean.size % 3 or len(modes) != mean.size or variance.size != modes.shape[1]:
        raise archive.wrong(
            f"a PCA model of mean {mean.shape}, modes {modes.shape}, variances {variance.shape}"
        )
    if (variance <= 0).any():
        raise archive.wrong("a variance of 0 or less")
    triangles = archive.triangles()
    # Expressions and landmarks stand in files of their own.
    expressions = _blendshapes(the_file(folder, BLENDSHAPES, "eos's blendshapes"), mean.size)
    named = folder / LANDMARKS
    E = expressions.shape[1]
    return Basis(
        mean.astype(np.float64).reshape(-1, 3),
        modes_of_columns(modes),
        modes_of_columns(expressions),
        np.sqrt(variance.ravel().astype(float)),
        np.full(E, ICT_EXPRESSION_STD),
        np.tile(ICT_EXPRESSION_RANGE, (E, 1)),
        f"eos {path.stem}",
        read_landmarks(named) if named.is_file() else {},
        triangles,
    )


def _blendshapes(path: Path, rows: int) -> Array:
    """Return blendshapes (3V, E); their weights are used as ICT-FaceKit's are, in [0, 1]."""
    archive = Archive(path, f"eos's blendshapes over {rows // 3} vertices")
    count = archive.number("<u8")
    offsets = []
    for _ in range(count):
        archive.array("u1", archive.number("<u8"))  # its name
        offsets.append(of_shape(archive.matrix(), (-1, 1), path, "blendshape").ravel())
    if not offsets or not archive.ended or any(len(offset) != rows for offset in offsets):
        raise archive.wrong(f"{count} blendshapes of other sizes, or none")
    return np.stack(offsets, 1)
