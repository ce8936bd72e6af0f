"""SHA-256 of weights files: remembered between starts, and locked where none is published.

weights.hashes.json spares reading 500 MB at every start. A hash is remembered for (path, size, time
of modification, time of change, inode): replacing the file or writing into it changes at least one
of them. Damaged, absent or unwritable, this memory costs time and nothing else.

weights.lock.json holds the hash that a file without a published one had at its first use. A damaged
lock is an error, never an empty one.
"""

import contextlib
import fcntl
import json
import os
import re
import time
import typing as tp
from collections.abc import Iterator
from pathlib import Path

from affekt.runtime.files import read_json, sha256, write_json
from affekt.runtime.weights.table import LOCK, InvalidWeightsError, WeightsFile, hash_problem

SCHEMA = 1  # of both files
MEMORY = "weights.hashes.json"
# Seconds. File systems count time in steps (4 ms for ext4 on a 250 Hz kernel, 2 s for FAT), so a
# file written again within one step looks unchanged; a file this young is not remembered yet.
SETTLED = 2.0
DIGEST = re.compile(r"[0-9a-f]{64}")


def cached_sha256(path: Path, fresh: bool = False) -> str:
    """Return the file's SHA-256, from the memory beside it where it is known there.

    Args:
        path: the file.
        fresh: hash the file in any case.

    Raises:
        OSError: the file cannot be read, or changed while it was.
    """
    memory = path.parent / MEMORY
    name, before, known = str(path.absolute()), _identity(path), _remembered(memory)
    row = known.get(name)
    if not fresh and row is not None and row["identity"] == before:
        return str(row["sha256"])
    found = sha256(path)
    if _identity(path) != before:
        raise OSError(f"{path} changed while it was read; wait until it is copied, then try again")
    if time.time() - path.stat().st_ctime > SETTLED:
        known[name] = {"identity": before, "sha256": found}
        with contextlib.suppress(OSError):  # a folder that may only be read is hashed every time
            write_json(memory, {"schema": SCHEMA, "files": known})
    return found


def lock_hash(file: WeightsFile, path: Path, renew: bool = False) -> str:
    """Record the hash of a file of which none is published; return what is wrong, or "".

    Args:
        file: its entry.
        path: where it is.
        renew: replace the hash of an earlier use.

    Raises:
        InvalidWeightsError: the lock is damaged.
        OSError: the folder may only be read.
    """
    digest = sha256(path)  # not a remembered one: this is the one that later files are held to
    with _exclusive(path.parent):
        lock = read_lock(path.parent)
        known = lock.get(file.file)
        if known == digest:
            return ""
        if known is not None and not renew:  # by another process, a moment ago
            return hash_problem(file, digest, known)
        try:
            value = {"schema": SCHEMA, "sha256": lock | {file.file: digest}}
            write_json(path.parent / LOCK, value)
        except OSError as error:
            raise OSError(
                f"{path}: its hash is not published and cannot be locked in {path.parent / LOCK} "
                f"({error.strerror or error}); let somebody who may write there run "
                f"python test.py weights verify {file.key} once"
            ) from None
    return ""


def read_lock(folder: Path) -> dict[str, str]:
    """Return the locked hashes of a folder by file name.

    Raises:
        InvalidWeightsError: the lock is damaged.
    """
    path = folder / LOCK
    if not path.exists():
        return {}
    try:
        stored = read_json(path)
        locked = stored["sha256"] if stored["schema"] == SCHEMA else None
    except (ValueError, KeyError, TypeError):
        locked = None
    if not isinstance(locked, dict) or not all(DIGEST.fullmatch(str(v)) for v in locked.values()):
        raise InvalidWeightsError(
            f"{path} is damaged; restore it, or delete it to trust the files that are there now"
        )
    return locked


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Keep other processes from changing the lock of a folder meanwhile."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # and with it the lock


def _identity(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _remembered(memory: Path) -> dict[str, dict[str, tp.Any]]:
    """Return what is remembered; a damaged memory is an empty one."""
    try:
        stored = json.loads(memory.read_text(encoding="utf-8"))
        files = stored["files"] if stored["schema"] == SCHEMA else {}
        return {name: row for name, row in files.items() if _is_row(row)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _is_row(row: tp.Any) -> bool:
    return isinstance(row["identity"], list) and bool(DIGEST.fullmatch(row["sha256"]))
