"""The table of weights files (weights.yaml), and how a file is compared with its entry.

A download that went wrong is recognised before it is hashed: "cut off" says more than "another
hash", and a web page more than "cut off".
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from affekt.runtime.config import build

DIGITS = 64  # of a whole SHA-256
HEAD = 256  # bytes; enough to recognise a web page or a pointer
POINTER = b"version https://git-lfs.github.com/spec/"
PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class MissingWeightsError(FileNotFoundError):
    """A weights file is not where it should be."""


class InvalidWeightsError(ValueError):
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


def file_problem(file: WeightsFile, path: Path) -> str:
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


def hash_problem(file: WeightsFile, found: str) -> str:
    """Return why a hash is not the one wanted, or ""."""
    if found.startswith(file.sha256):
        return ""
    start = "" if len(file.sha256) == DIGITS else "one that starts with "
    wanted = f"wanted {start}{file.sha256}"
    return f"has sha256 {found}, {wanted}: damaged, or another file; download it again"


def published(file: WeightsFile) -> str:
    """Return what is published of a file's size and hash, as text."""
    size = "size not published" if file.size is None else f"{file.size:,} bytes"
    if not file.sha256:
        return f"{size}, sha256 not published"
    start = "sha256" if len(file.sha256) == DIGITS else "sha256 starts with"
    return f"{size}, {start} {file.sha256}"
