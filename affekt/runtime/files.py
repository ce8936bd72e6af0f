"""Atomic, flushed writes (beside the place, then renamed), checked reads of text, JSON, arrays."""

import contextlib
import errno
import functools
import hashlib
import io
import json
import math
import os
import re
import shutil
import tempfile
import typing as tp
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from tokenize import TokenError

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy
from numpy.lib.format import MAGIC_PREFIX

from affekt.arrays import Array

TEMPORARY = ".affekt-"  # begins the names of what is not whole yet, however long the final ones
LONGEST_SUFFIX = 16  # bytes; encoders choose a format by it
UNFINISHED = re.compile(re.escape(TEMPORARY) + r"[a-z0-9_]{8}(\.[^./]{1,15})?")  # as tempfile's
DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EFBIG: "a file is larger than allowed (ulimit -f)",
}
VERSION_1 = MAGIC_PREFIX + bytes([1, 0])  # of a .npy file's header; numpy writes it wherever it can
BROKEN_ARRAY = (  # all that numpy was seen to raise on cut or altered .npy files
    *(ValueError, OSError, EOFError, SyntaxError, TypeError, LookupError, AttributeError),
    *(MemoryError, OverflowError, RecursionError, TokenError),
)


def nfc(text: str) -> str:
    """Return a name in composed letters (Unicode NFC), in which names are compared.

    macOS and some archives write them decomposed: two names look alike and differ.
    """
    return unicodedata.normalize("NFC", text)


class DamagedFileError(ValueError):
    """A file does not hold what it should; the message names it and the remedy."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path of the same suffix; rename it to `path` on success, else remove it.

    Readers see the old file or the new one, never a part, after a power cut too: the file is
    flushed to the disk before it gets its name, and the folder after. Inside `replacing_folder`
    that is left to it.

    Raises:
        OSError: the disk is full; with its errno and `path`, whatever the writer made of that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix if len(path.suffix) <= LONGEST_SUFFIX else ""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY, suffix=suffix)
    os.close(handle)
    temporary = Path(name)
    flushed_later = any(folder.name.startswith(TEMPORARY) for folder in path.parents)
    try:
        with _disk_errors(temporary, path):
            yield temporary
            temporary.chmod(0o644)  # mkstemp makes files that only their owner reads
            if not flushed_later:
                _flush(temporary)
        temporary.replace(path)
        if not flushed_later:
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(
    path: Path, own: re.Pattern[str] | None = None, own_folders: Collection[str] = ()
) -> Iterator[Path]:
    """Yield a temporary folder; rename it to `path` on success, remove it on failure.

    It is flushed to the disk, with all files in it, before it gets its name.

    Args:
        path: of the folder; only with `own` may there be one already.
        own: files of it whose whole name fits are removed; all else in it is somebody's own and is
            moved into the new folder.
        own_folders: names of folders in it that are removed with all that they hold.

    Raises:
        OSError: as `replacing`; and where there is a folder, or a link to one, and no `own`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=TEMPORARY))
    try:
        with _disk_errors(temporary / f"{TEMPORARY}probe", path):
            yield temporary
            temporary.chmod(0o755)
            for inside in (*temporary.rglob("*"), temporary):
                _flush(inside)
        if own is not None and path.is_dir() and not path.is_symlink():
            for left in sorted(path.iterdir()):
                folder = left.is_dir() and not left.is_symlink()
                if folder and left.name in own_folders:
                    shutil.rmtree(left)
                elif own.fullmatch(left.name) and not folder:
                    left.unlink()
                else:
                    left.replace(temporary / left.name)
        temporary.replace(path)
        _flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left in `folder` of `replacing` and `replacing_folder`.

    Hold the folder's lock: a living process's files look the same. Only their own names are
    removed, and nothing is reached through a link.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    for left in folder.glob(f"{TEMPORARY}*"):
        if left.is_symlink() or not UNFINISHED.fullmatch(left.name):
            continue
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def is_disk_error(error: BaseException | None) -> tp.TypeGuard[OSError]:
    """Return whether an error is the disk's (full, over quota, read-only) and not one file's."""
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


@contextlib.contextmanager
def _disk_errors(probe: Path, path: Path) -> Iterator[None]:
    """Give an error inside the disk's errno and `path` where the disk is full.

    Writes to open files know no name, and torch's and numpy's errors no errno. A failed write
    leaves no room for another: one more is tried, at the end of `probe`.
    """
    try:
        yield
    except Exception as error:
        full = error if is_disk_error(error) else _refusal(probe)
        if not is_disk_error(full) or TEMPORARY not in str(full.filename or probe):
            raise  # or another disk is full
        raise OSError(full.errno, full.strerror, str(path)) from error


def _refusal(probe: Path) -> OSError | None:
    """Return why nothing more can be written to a file, None if it can."""
    try:
        with probe.open("ab") as file:
            file.write(bytes(2**20))
            _flush(probe)
    except OSError as error:
        return error
    return None


def _flush(path: Path) -> None:
    """Wait until a file or folder is on the disk; some file systems cannot, of folders."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        DamagedFileError: it holds other bytes; the message names the place of the first.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DamagedFileError(
            f"{path} is no UTF-8 text (byte {error.start} is {error.object[error.start]:#04x}); "
            "save it as UTF-8, or make it anew"
        ) from None


def put_aside(path: Path) -> Path:
    """Rename a damaged file that only reports, in place of an earlier one; return its new path."""
    return path.replace(path.with_name(path.name + ".damaged"))


def write_json(path: Path, value: tp.Any) -> None:
    """Write `value` as indented JSON; NaN and infinity are refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> tp.Any:
    """Read a JSON file.

    Raises:
        DamagedFileError: the file is not JSON; the message names it.
    """
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DamagedFileError(f"{path} is not JSON: {error}") from None


def write_jsonl(path: Path, rows: Iterable[tp.Any]) -> None:
    """Write one JSON value a line."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> list[tp.Any]:
    """Read one JSON value a line.

    Raises:
        DamagedFileError: a line is not JSON; the message names the file and the line.
    """
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except (json.JSONDecodeError, RecursionError) as error:
            raise DamagedFileError(f"{path}, line {number}, is not JSON: {error}") from None
    return rows


def save_npy(path: Path, array: Array) -> None:
    """Write `array` as .npy, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


@contextlib.contextmanager
def npy_writer(path: Path) -> Iterator[Callable[[Array], None]]:
    """Yield a function that appends rows (n, ...) of one type and shape to a .npy file.

    The bytes are those of numpy's for the whole array. The file is complete when the context ends;
    for one that appears whole or not at all, see `replacing`.
    """
    count, first = 0, np.zeros(0)

    def write_header(file: tp.BinaryIO) -> None:
        header = npy.header_data_from_array_1_0(first) | {"shape": (count, *first.shape[1:])}
        npy.write_array_header_1_0(file, header)  # leaves room for the count to grow

    with path.open("wb") as file:

        def append(rows: Array) -> None:
            nonlocal count, first
            if not len(rows):
                return
            if not count:
                first = np.ascontiguousarray(rows[:1])
                write_header(file)
            file.write(np.ascontiguousarray(rows, first.dtype).data)
            count += len(rows)

        yield append
        # The header again, now with the number of rows
        begin = file.tell() - count * first.nbytes
        file.seek(0)
        write_header(file)
        assert not count or file.tell() == begin, "numpy's header changed its length"


def load_npy(path: Path, shape: tuple[int | None, ...] | None, what: str) -> Array:
    """Read a finite .npy array of the given shape (None: any length, or any shape).

    `what` names what makes it, for the message.

    Raises:
        FileNotFoundError: no such file; `what` is appended, so name the command that writes it.
        DamagedFileError: damaged, of another shape, or holding NaN or infinity.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {what}")
    try:
        array = _read_npy(path)
    except BROKEN_ARRAY as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedFileError(f"{path} is damaged ({reason}); {what}") from None
    if array is None:
        raise DamagedFileError(f"{path} is no numpy array; {what}")
    if shape is not None and not (
        len(array.shape) == len(shape)
        and all(wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True))
    ):
        wanted = tuple("any" if size is None else size for size in shape)
        raise DamagedFileError(f"{path} has shape {array.shape}, wanted {wanted}; {what}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = np.argwhere(~np.isfinite(array))[0].tolist()
        raise DamagedFileError(f"{path} holds NaN or infinity, first at index {first}; {what}")
    return array


def map_npy(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike, what: str) -> Array:
    """Open a .npy array, of this shape and type, whose values are read when they are used.

    They are not looked at here: whoever uses them compares checksums. `what` names what makes it.

    Raises:
        FileNotFoundError: no such file; `what` is appended.
        DamagedFileError: no .npy file of numbers, cut off, or of another shape or type.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {what}")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except BROKEN_ARRAY as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedFileError(f"{path} is damaged ({reason}); {what}") from None
    if not isinstance(array, np.memmap) or (array.shape, array.dtype) != (shape, np.dtype(dtype)):
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.memmap) else "other data"
        wanted = f"{np.dtype(dtype)} {shape}"
        raise DamagedFileError(f"{path} holds {found}, wanted {wanted}; {what}")
    return array


def _read_npy(path: Path) -> Array | None:
    """Return the array of a .npy file, None where it is none.

    As numpy.load, but equal headers are parsed once: that is half the time of a clip's array, and
    a corpus has hundreds of thousands.
    """
    with path.open("rb") as file:
        begin = file.read(len(VERSION_1) + 2)
        if not begin.startswith(MAGIC_PREFIX):
            return None
        if begin.startswith(VERSION_1):
            length = begin[len(VERSION_1) :]
            header = length + file.read(int.from_bytes(length, "little"))
            shape, by_columns, dtype = _npy_header(header)
            if any(size < 0 for size in shape):  # numpy takes it for "as many as there are"
                raise ValueError(f"its header says the shape {shape}")
            if not (by_columns or dtype.hasobject):
                return np.fromfile(file, dtype, math.prod(shape)).reshape(shape)
    array: Array = np.load(path, allow_pickle=False)
    return array


@functools.lru_cache(maxsize=1024)
def _npy_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[tp.Any]]:
    """Return shape, whether columns come first, and type, of a header with its length before it."""
    shape, by_columns, dtype = npy.read_array_header_1_0(io.BytesIO(header))
    return shape, by_columns, dtype


def sha256(path: Path) -> str:
    """Return the file's SHA-256 as hexadecimal digits, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
