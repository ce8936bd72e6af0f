"""Write .npz files, and read those that may come from others: checksums compared, sizes limited."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.runtime.files import BROKEN_ARRAY, DamagedFileError, replacing

LARGEST = 2**29  # bytes of all arrays together: a dense face model has 150 MB, a bomb any number
BROKEN = (*BROKEN_ARRAY, zipfile.BadZipFile, zlib.error, NotImplementedError)


def load_npz(path: Path, what: str) -> dict[str, Array]:
    """Return all arrays of a file, by name; `what` says how to come by a good one.

    Raises:
        FileNotFoundError: no such file.
        DamagedFileError: no .npz file, damaged, with pickled objects, or larger than LARGEST.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {what}")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > LARGEST:
                raise ValueError(f"it unpacks to {size} bytes, more than {LARGEST}")
            wrong = archive.testzip()
            if wrong is not None:
                raise ValueError(f"the checksum of {wrong} is another")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except BROKEN as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedFileError(f"{path} is damaged, or no .npz file ({reason}); {what}") from None


def save_npz(path: Path, **arrays: Array) -> None:
    """Write arrays with a checksum each; the file appears whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
