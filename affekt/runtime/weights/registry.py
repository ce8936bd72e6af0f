"""Find weights that are not part of the project, and check that they are the right ones.

Nothing is ever downloaded. A file is put into one folder by hand (or by `test.py weights add`) and
is checked before anything reads it, since a torch pickle or a graph that was swapped or cut off
gives wrong figures at best. Three levels, by what its publisher states (weights.yaml):

1. the whole SHA-256: another one is an error;
2. its first digits, by torch's naming rule: others are an error;
3. nothing: any file that is no web page, pointer or fragment is taken.

This guards against mistakes and damage, not against somebody who may write into the folder. A file
is hashed whole at each use: VGG-19's 575 MB take one to two seconds.
"""

import difflib
import os
import shutil
import typing as tp
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from affekt.runtime.files import replacing, sha256
from affekt.runtime.weights.table import (
    FILES,
    InvalidWeightsError,
    MissingWeightsError,
    WeightsFile,
    file_problem,
    hash_problem,
    published,
)

VARIABLE = "AFFEKT_WEIGHTS"
DEFAULT = Path("weights")

State = tp.Literal["ok", "missing", "bad"]


@dataclass(frozen=True)
class Status:
    """What is known of one file."""

    file: WeightsFile
    path: Path  # where it is, or should be; absolute
    state: State
    problem: str  # what is wrong with it, and what to do; "" where nothing is
    sha256: str = ""  # of the file as it is; "" where it was not worth hashing


def root(folder: Path | None = None) -> Path:
    """Return the absolute weights folder: $AFFEKT_WEIGHTS, else `folder` (a config's), ./weights.

    The variable wins over a configuration: it says where files are on this machine.
    """
    named = os.environ.get(VARIABLE)
    chosen = Path(named).expanduser() if named else folder or DEFAULT
    return chosen.absolute()


def entry(key: str) -> WeightsFile:
    """Return what is published about a file.

    Raises:
        ValueError: no such key; the message names the nearest one.
    """
    if key not in FILES:
        near = difflib.get_close_matches(key, FILES, n=1, cutoff=0.0)
        raise ValueError(
            f"no weights file has the key {key!r}; nearest: {near[0]!r} (test.py weights list)"
        )
    return FILES[key]


def place(key: str, folder: Path | None = None) -> Path:
    """Return the absolute path where a file is, under any of its names, or else should be."""
    file, base = entry(key), root(folder)
    candidates = [base / name for name in (file.file, *file.aliases)]
    return next((path for path in candidates if os.path.lexists(path)), candidates[0])


def status(key: str, folder: Path | None = None) -> Status:
    """Look at a file; nothing is raised for what is wrong with it.

    Args:
        key: of weights.yaml.
        folder: a configuration's weights folder, see `root`.

    Raises:
        ValueError: unknown key.
    """
    file, path = entry(key), place(key, folder)
    if not os.path.lexists(path):
        return Status(file, path, "missing", "is missing")
    found = ""
    try:
        problem = file_problem(file, path)
        if not problem:
            found = sha256(path)
            problem = hash_problem(file, found)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
    return Status(file, path, "bad" if problem else "ok", problem, found)


def find(key: str, folder: Path | None = None) -> Path:
    """Return the absolute path of a file that is there and is the right one.

    Args:
        key: of weights.yaml.
        folder: a configuration's weights folder; $AFFEKT_WEIGHTS wins over it, see `root`.

    Raises:
        MissingWeightsError: (a FileNotFoundError) it is not there; the message says what to put
            where, from where, and what cannot be computed without it.
        InvalidWeightsError: (a ValueError) it is there and is not the right one.
        ValueError: unknown key.
    """
    return find_all((key,), folder)[key]


def find_all(keys: Iterable[str], folder: Path | None = None) -> dict[str, Path]:
    """Return `find` of several files; an error names every one that is wrong.

    Raises:
        As `find`; InvalidWeightsError where one is missing and another is wrong.
    """
    found = [status(key, folder) for key in keys]
    require(found)
    return {one.file.key: one.path for one in found}


def require(found: Iterable[Status]) -> None:
    """Raise for files that cannot be used.

    Raises:
        MissingWeightsError, InvalidWeightsError: as `find`.
    """
    refused = [one for one in found if one.state != "ok"]
    if refused:
        text = "\n".join(explanation(one) for one in refused)
        bad = any(one.state == "bad" for one in refused)
        raise InvalidWeightsError(text) if bad else MissingWeightsError(text)


def explanation(one: Status) -> str:
    """Return what is wrong with a file, what to put where, and what does not work without it."""
    file = one.file
    parts = [
        f"weights {file.key}: {one.path} {one.problem}",
        f"wanted: {file.source} ({published(file)})",
        file.note,
        f"nothing is downloaded here; python test.py weights add {file.key} FILE puts it",
        "without it: no " + ", ".join(file.needed_by) if file.needed_by else "",
        file.instead,
    ]
    return "; ".join(part for part in parts if part)


def add(key: str, source: Path, folder: Path | None = None, replace: bool = False) -> Path:
    """Copy a file to its place after checking it; return that place. It is there whole or not.

    Args:
        key: of weights.yaml.
        source: the file, under any name.
        folder: a configuration's weights folder, see `root`.
        replace: let a good file be replaced by another one whose hash is not published either.

    Raises:
        FileNotFoundError: no such source.
        InvalidWeightsError: the source is not the file wanted; nothing was changed.
        ValueError: unknown key; or the place is taken by another good file, or by a folder.
    """
    file, target = entry(key), root(folder) / entry(key).file
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist")
    _refuse(file, source, file_problem(file, source))
    digest = sha256(source)
    _refuse(file, source, hash_problem(file, digest))
    there = status(key, folder)
    if there.path.is_dir():
        raise ValueError(f"{there.path} is a folder; move it away")
    if there.state == "ok" and there.sha256 != digest and not replace:
        raise ValueError(
            f"{there.path} is another file (sha256 {there.sha256}, given {digest}), and which of "
            "the two is right is not published; --replace takes the new one"
        )
    if not (target.exists() and target.samefile(source)):
        _copy(source, target, digest)
    return target


def _refuse(file: WeightsFile, path: Path, problem: str) -> None:
    if problem:
        raise InvalidWeightsError(explanation(Status(file, path, "bad", problem)))


def _copy(source: Path, target: Path, digest: str) -> None:
    """Copy a file whole or not at all, and only if the copy has the hash that was checked."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
        if sha256(temporary) != digest:
            raise OSError(f"{source} changed while it was copied; nothing was put to {target}")
