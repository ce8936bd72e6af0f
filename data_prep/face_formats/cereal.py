"""The binary archives of the C++ library cereal, as far as eos writes them.

Little-endian without padding or marks: int32 and uint32 as they are, a container's size as uint64,
a flag as one byte, text as its size and its bytes, an Eigen matrix as int32 rows, int32 columns and
float32 columns one after the other (eos, morphablemodel/io/eigen_cerealisation.hpp).
"""

from pathlib import Path

import numpy as np

from affekt.arrays import Array


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

    def text(self) -> str:
        """Return the next text."""
        return bytes(self.array("u1", self.number("<u8"))).decode("utf-8", "replace")

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
