"""Many small pieces in one file, any of them at random: what stored frames and stored flow share.

A packed file is a header of 32 bytes (little-endian: magic, version, count, height, width, place of
the index); the pieces, one after the other; the index, the count + 1 places (uint64) where pieces
begin, the last of which is the index's own place and the end of the last piece.
"""

import contextlib
import struct
import typing as tp
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affekt.runtime.files import DamagedFileError

Bytes = NDArray[np.uint8]
Append = Callable[[Bytes, int, int], None]  # a piece, and the height and width of its picture

HEADER = struct.Struct("<8sIIIIQ")


@dataclass(frozen=True)
class PackedKind:
    """How one kind of packed file is identified, and what to do where a file is none."""

    magic: bytes  # 8
    version: int
    remedy: str  # ends every error


class Packed:
    """A packed file. It holds the index and no descriptor, so it can be sent to other processes."""

    def __init__(self, path: Path, kind: PackedKind) -> None:
        """Read header and index.

        Raises:
            DamagedFileError: the file is damaged, truncated, or of another kind or version.
        """
        self.path, self.kind = path, kind
        with path.open("rb") as file:
            head = file.read(HEADER.size)
            self.check(len(head) == HEADER.size, "it is shorter than its header")
            # Header: kind, version, and a length that fits
            magic, version, count, height, width, place = HEADER.unpack(head)
            self.check(magic == kind.magic, f"it begins with {magic!r}, not {kind.magic!r}")
            self.check(version == kind.version, f"its version is {version}, wanted {kind.version}")
            wanted, found = place + 8 * (count + 1), path.stat().st_size
            self.check(found == wanted, f"it has {found} bytes, wanted {wanted}")
            file.seek(place)
            self.places = np.frombuffer(file.read(), "<u8").astype(np.int64)
        # Index: one place a picture and the end, in rising order
        rising = count > 0 and bool((np.diff(self.places) > 0).all())
        framed = rising and self.places[0] == HEADER.size and self.places[-1] == place
        self.check(bool(framed), "its index is wrong")
        self.count: int = count
        self.size: tuple[int, int] = (width, height)  # of every picture, pixels

    def __len__(self) -> int:
        return self.count

    def pieces(self, indices: Sequence[int]) -> Iterator[Bytes]:
        """Yield the pieces with these numbers, 0 to count - 1, as bytes (N,)."""
        with self.path.open("rb", buffering=0) as file:
            for index in indices:
                begin, end = self.places[index], self.places[index + 1]
                file.seek(begin)
                yield np.frombuffer(file.read(end - begin), np.uint8)

    def check(self, fine: bool, complaint: str) -> None:
        """Raise a DamagedFileError that names the file, if something about it is not fine."""
        check(fine, self.path, complaint, self.kind.remedy)


@contextlib.contextmanager
def packed_writer(path: Path, kind: PackedKind) -> Iterator[Append]:
    """Yield a function that appends a piece; header and index are written at the end."""
    places = [HEADER.size]
    size = (0, 0)
    with path.open("wb") as file:
        file.write(bytes(HEADER.size))

        def append(piece: Bytes, height: int, width: int) -> None:
            nonlocal size
            size = (height, width)
            file.write(piece.tobytes())
            places.append(places[-1] + piece.size)

        yield append
        file.write(np.array(places, "<u8").tobytes())
        file.seek(0)
        file.write(HEADER.pack(kind.magic, kind.version, len(places) - 1, *size, places[-1]))


def check(fine: tp.Any, path: Path, complaint: str, remedy: str) -> None:
    """Raise an error that a file is damaged, with the remedy, unless it is fine.

    Raises:
        DamagedFileError: it is not.
    """
    if not fine:
        raise DamagedFileError(f"{path} is damaged: {complaint}; {remedy}")
