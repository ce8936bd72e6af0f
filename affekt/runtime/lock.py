"""One process at a time in a folder: an advisory lock that ends with its process, however it ends.

A record lock of POSIX belongs to a process alone: a loader process that outlives its killed parent
for some seconds does not hold it, and over NFS it keeps other machines out too.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import platform
import time
import typing as tp
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

LOCK = ".lock"  # the file, which stays: to remove it would let two processes in
TAKEN = (errno.EACCES, errno.EAGAIN)
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class FolderInUseError(ValueError):
    """Another process works in the folder; the message names it."""


class _Held(tp.NamedTuple):
    """A lock file that this process has open, and how many of its locks are not released yet."""

    file: tp.TextIO
    locks: int


_held: dict[Path, _Held] = {}


class FolderLock:
    """Keeps other processes out of a folder until it is released or this process ends.

    A process may take several locks of one folder; the last one's release lets others in.
    """

    def __init__(self, folder: Path, doing: str) -> None:
        """Take the lock; the folder is made where it is missing.

        Args:
            folder: to be held.
            doing: what for, which another process is told: "training".

        Raises:
            FolderInUseError: another process holds it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path = (folder / LOCK).resolve()
        held = _held.get(self._path)
        file = _taken(self._path, folder, doing) if held is None else held.file
        _held[self._path] = _Held(file, 1 if held is None else held.locks + 1)
        self._released = False

    def release(self) -> None:
        """Let other processes in; a second call changes nothing."""
        if self._released:
            return
        self._released = True
        held = _held.pop(self._path)
        if held.locks > 1:
            _held[self._path] = held._replace(locks=held.locks - 1)
        else:
            held.file.close()

    def __del__(self) -> None:
        if hasattr(self, "_released"):  # it was taken
            self.release()


@contextlib.contextmanager
def locked(folder: Path, doing: str) -> Iterator[None]:
    """Hold a folder's lock inside the `with`; arguments and errors are those of FolderLock."""
    lock = FolderLock(folder, doing)
    try:
        yield
    finally:
        lock.release()


def _taken(path: Path, folder: Path, doing: str) -> tp.TextIO:
    """Return the locked lock file, which says who holds it."""
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            who = _holder(file)
            file.close()
            raise FolderInUseError(
                f"{folder} is in use by {who}: wait for it or stop it, or name another folder"
            ) from None
        if error.errno not in WITHOUT_LOCKS:
            raise
        log.warning("%s is on a disk without locks: see that one process alone uses it", folder)
    me = {"pid": os.getpid(), "host": platform.node(), "doing": doing}
    text = json.dumps(me | {"since": time.strftime("%Y-%m-%d %H:%M:%S")}) + "\n"
    with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
        file.truncate(0)
        os.write(file.fileno(), text.encode())
    return file


def _holder(file: tp.TextIO) -> str:
    file.seek(0)
    try:
        one = json.loads(file.read(4096))
        return f"process {one['pid']} on {one['host']} ({one['doing']} since {one['since']})"
    except (ValueError, LookupError, TypeError):  # it is being written, or damaged
        return "another process"
