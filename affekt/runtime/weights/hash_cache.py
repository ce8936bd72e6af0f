"""SHA-256 of large files, remembered so that weights of 500 MB are not read at every start.

A hash is remembered for (path, size, time of modification, time of change, inode): replacing the
file or writing into it changes at least one of them. The memory is a convenience alone: damaged,
absent or unwritable, it costs time and nothing else.
"""

import contextlib
import json
import re
import time
import typing as tp
from pathlib import Path

from affekt.runtime.files import sha256, write_json

SCHEMA = 1
# Seconds. File systems count time in steps (4 ms for ext4 on a 250 Hz kernel, 2 s for FAT), so a
# file written again within one step looks unchanged; a file this young is not remembered yet.
SETTLED = 2.0
DIGEST = re.compile(r"[0-9a-f]{64}")


def cached_sha256(path: Path, memory: Path, fresh: bool = False) -> str:
    """Return the file's SHA-256, 64 hexadecimal digits, read from `memory` where it is known there.

    Args:
        path: the file.
        memory: the JSON file of remembered hashes; written where its folder allows it.
        fresh: hash the file in any case.

    Raises:
        OSError: the file cannot be read, or changed while it was.
    """
    name, before, known = str(path.absolute()), _identity(path), _read(memory)
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


def _identity(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _read(memory: Path) -> dict[str, dict[str, tp.Any]]:
    """Return what is remembered; a damaged memory is an empty one."""
    try:
        stored = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        return {}
    files = stored.get("files")
    return {k: v for k, v in files.items() if _is_row(v)} if isinstance(files, dict) else {}


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("identity"), list):
        return False
    return isinstance(row.get("sha256"), str) and bool(DIGEST.fullmatch(row["sha256"]))
