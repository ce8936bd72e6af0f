"""Atomic writes (beside the place, then renamed) and checked reads of text, JSON and arrays."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import typing as tp
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.lib.format import MAGIC_PREFIX

from affekt.arrays import Array

TEMPORARY = ".affekt-"  # begins the names of what is not whole yet, however long the final ones
LONGEST_SUFFIX = 16  # bytes; encoders choose a format by it
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

    Readers see the old file or the new one, never a part: a full disk or a crash midway leaves
    `path` as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix if len(path.suffix) <= LONGEST_SUFFIX else ""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY, suffix=suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp makes files that only their owner reads
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; rename it over `path` on success, remove it on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=TEMPORARY))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: tp.Any) -> None:
    """Write `value` as indented JSON; NaN and infinity are refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> tp.Any:
    """Read a JSON file.

    Raises:
        ValueError: the file is not JSON; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None


def write_jsonl(path: Path, rows: Iterable[tp.Any]) -> None:
    """Write one JSON value a line."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> list[tp.Any]:
    """Read one JSON value a line.

    Raises:
        ValueError: a line is not JSON; the message names the file and the line.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}, is not JSON: {error}") from None
    return rows


def save_npy(path: Path, array: Array) -> None:
    """Write `array` as .npy, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


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
        with path.open("rb") as file:
            is_array = file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX
        array: Array = np.load(path, allow_pickle=False) if is_array else np.zeros(0)
    except BROKEN_ARRAY as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedFileError(f"{path} is damaged ({reason}); {what}") from None
    if not is_array:
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


def sha256(path: Path) -> str:
    """Return the file's SHA-256 as hexadecimal digits, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
