"""Find weights that are not part of the project, and check that they are the right ones.

Nothing is ever downloaded. A file is put into one folder by hand (or by `test.py weights add`) and
is checked before anything reads it, since a torch pickle or a graph that was swapped or cut off
gives wrong figures at best. Three levels, by what its publisher states (weights.yaml):

1. the whole SHA-256: another one is an error;
2. its first digits, by torch's naming rule: others are an error;
3. nothing: any file that is no web page, pointer or fragment is taken.

A download that went wrong is recognised before it is hashed: "cut off" says more than "another
hash", and a web page more than "cut off". This guards against mistakes and damage, not against
somebody who may write into the folder. A file is hashed whole at each use: VGG-19's 575 MB take one
to two seconds.
"""

import difflib
import os
import shutil
import typing as tp
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from affekt.runtime.config import build
from affekt.runtime.files import DamagedFileError, replacing, sha256

VARIABLE = "AFFEKT_WEIGHTS"
DEFAULT = Path("weights")

DIGITS = 64  # of a whole SHA-256
HEAD = 256  # bytes; enough to recognise a web page or a pointer
POINTER = b"version https://git-lfs.github.com/spec/"
PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

State = tp.Literal["ok", "missing", "bad"]


class MissingWeightsError(FileNotFoundError):
    """A weights file is not where it should be."""


class InvalidWeightsError(DamagedFileError):
    """A weights file is there, but is not the one that was published."""


@dataclass(frozen=True)
class WeightsFile:
    """One file that is not part of the project; the fields are described in weights.yaml."""

    key: str
    file: str
    source: str
    licence: str
    needed_by: tuple[str, ...]
    size: int | None = None
    sha256: str = ""
    aliases: tuple[str, ...] = ()
    note: str = ""
    instead: str = ""


@dataclass(frozen=True)
class Status:
    """What is known of one file."""

    file: WeightsFile
    path: Path  # where it is, or should be; absolute
    state: State
    problem: str  # what is wrong with it, and what to do; "" where nothing is
    sha256: str = ""  # of the file as it is; "" where it was not worth hashing


def read_table(path: Path) -> dict[str, WeightsFile]:
    """Read a table of weights files by key.

    Raises:
        ConfigError: an entry has an unknown field, lacks one, or holds a value of another type.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        key: build(WeightsFile, {"key": key, **fields}, f"{key}.")
        for key, fields in entries.items()
    }


FILES = read_table(Path(__file__).with_name("weights.yaml"))


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
    try:
        problem, found = _problem(file, path)
    except OSError as error:
        problem, found = f"cannot be read ({error.strerror or error})", ""
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


def add(key: str, source: Path, folder: Path | None = None) -> Path:
    """Copy a file to its place after checking it; return that place. It is there whole or not.

    Args:
        key: of weights.yaml.
        source: the file, under any name.
        folder: a configuration's weights folder, see `root`.

    Raises:
        FileNotFoundError: no such source.
        InvalidWeightsError: the source is not the file wanted; nothing was changed.
        ValueError: unknown key; or the place is taken by another good file, or by a folder.
    """
    file, target = entry(key), root(folder) / entry(key).file
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist")
    # The file is what it should be, and its place is free or holds the same
    problem, digest = _problem(file, source)
    if problem:
        raise InvalidWeightsError(explanation(Status(file, source, "bad", problem)))
    there = status(key, folder)
    if there.path.is_dir():
        raise ValueError(f"{there.path} is a folder; move it away")
    if there.state == "ok" and there.sha256 != digest:
        raise ValueError(
            f"{there.path} is another file (sha256 {there.sha256}, given {digest}), and which of "
            "the two is right is not published; move that one away to take the new one"
        )
    if not (target.exists() and target.samefile(source)):
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
    return target


def _problem(file: WeightsFile, path: Path) -> tuple[str, str]:
    """Return what is wrong with a file, or "", and its hash where it was worth hashing."""
    problem = _visible_problem(file, path)
    if problem:
        return problem, ""
    found = sha256(path)
    if found.startswith(file.sha256):
        return "", found
    start = "" if len(file.sha256) == DIGITS else "one that starts with "
    wanted = f"wanted {start}{file.sha256}"
    return f"has sha256 {found}, {wanted}: damaged, or another file; download it again", found


def _visible_problem(file: WeightsFile, path: Path) -> str:
    """Return what is wrong with a file that its hash would only call different, or ""."""
    if path.is_symlink() and not path.exists():
        return f"is a link to {path.readlink()}, which does not exist"
    if path.is_dir():
        return "is a folder, not a file; move it away"
    if not path.is_file():
        return "is no plain file; move it away"
    size = path.stat().st_size
    with path.open("rb") as opened:
        head = opened.read(HEAD)
    if not head:
        return "is empty; download it again"
    if head.startswith(POINTER):
        return "is a git LFS pointer, not the file it stands for; run git lfs pull where it is from"
    if head.removeprefix(BYTE_ORDER_MARK).lstrip().lower().startswith(PAGE):
        return "is a web page: the download was refused, or asked a question first; try a browser"
    if file.size is None or size == file.size:
        return ""
    if size < file.size:
        return f"is cut off: {size:,} bytes of {file.size:,}; download it again"
    return f"is too large: {size:,} bytes, wanted {file.size:,}; another file or still packed"


def published(file: WeightsFile) -> str:
    """Return what is published of a file's size and hash, as text."""
    size = "size not published" if file.size is None else f"{file.size:,} bytes"
    if not file.sha256:
        return f"{size}, sha256 not published"
    start = "sha256" if len(file.sha256) == DIGITS else "sha256 starts with"
    return f"{size}, {start} {file.sha256}"
