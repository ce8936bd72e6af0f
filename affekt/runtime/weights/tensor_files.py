"""Tensors in files, torch's and safetensors': checked against their checksums before they are used.

A zip file of torch's holds a CRC-32 of each record, which torch writes and never compares, and none
of its headers: of a record that one flipped bit makes a folder, torch returns memory as it was.
`save_torch` adds a CRC-32 of the whole file as the archive's comment; of files without it the
records' are compared. safetensors has none: `save_tensors` adds one of all names, types, shapes,
values and metadata as metadata of its own; files without it are read as they are.
"""

import io
import json
import os
import pickle
import re
import struct
import typing as tp
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from affekt.runtime.files import DamagedFileError, replacing

BROKEN = (  # all that torch, pickle, zipfile and safetensors raise on cut or altered files
    *(RuntimeError, EOFError, OSError, ValueError, LookupError, struct.error, AssertionError),
    *(AttributeError, TypeError, MemoryError, OverflowError, zlib.error),
    *(pickle.UnpicklingError, zipfile.BadZipFile, SafetensorError),
)
CHECKSUM = "affekt_crc32"  # of safetensors' metadata
SEAL = re.compile(rb"(..)affekt_crc32 ([0-9a-f]{8})\n", re.DOTALL)  # the comment and its length
SEAL_LENGTH = 24  # bytes, two of them the comment's length
BLOCK = 2**20  # bytes
FOLDER = 0x10  # the bit of a zip record's attributes


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's message, or its name where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class _Summing(io.RawIOBase):
    """Write to a file and keep the CRC-32 of what was written."""

    def __init__(self, file: tp.BinaryIO) -> None:
        self.file, self.total = file, 0

    def writable(self) -> bool:
        return True

    def write(self, data: tp.Any) -> int:
        self.total = zlib.crc32(data, self.total)
        return self.file.write(data)


def save_torch(value: tp.Any, path: Path) -> None:
    """Write a torch file with a CRC-32 of all of it, as the comment of the archive."""
    with path.open("wb") as file:
        summing = _Summing(file)
        torch.save(value, tp.cast(tp.IO[bytes], summing))
        comment = b"affekt_crc32 %08x\n" % summing.total
        file.seek(-2, os.SEEK_END)  # the comment's length, which torch leaves 0
        file.write(len(comment).to_bytes(2, "little") + comment)


def load_torch(path: Path) -> tp.Any:
    """Return what a torch file holds, on the CPU; tensors and plain values are all it may hold.

    Raises:
        FileNotFoundError: no such file.
        DamagedFileError: a record's checksum is another, or it is no torch file.
    """
    try:
        check_torch(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError):
        raise
    except BROKEN as error:
        raise DamagedFileError(f"{path} is damaged ({reason_of(error)})") from None


def check_torch(path: Path) -> None:
    """Compare a torch file with its CRC-32, or else every record of it with its own.

    Raises:
        zipfile.BadZipFile: one differs, or the file is no zip file. Altered headers raise others of
            BROKEN.
    """
    with path.open("rb") as file:
        body = file.seek(0, os.SEEK_END) - SEAL_LENGTH
        file.seek(max(body, 0))
        seal = SEAL.fullmatch(file.read())
        if seal is not None:
            file.seek(0)
            total = 0
            for start in range(0, body, BLOCK):
                total = zlib.crc32(file.read(min(BLOCK, body - start)), total)
            total = zlib.crc32(bytes(2), total)  # where the comment's length stands now
            if total != int(seal[2], 16) or int.from_bytes(seal[1], "little") != SEAL_LENGTH - 2:
                raise zipfile.BadZipFile("its checksum is another")
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type for member in archive.infolist()):
            raise zipfile.BadZipFile("its records are packed, as torch never writes them")
        if seal is not None:
            return
        wrong = [each.filename for each in archive.infolist() if each.external_attr & FOLDER]
        wrong += [archive.testzip() or ""]
    if wrong != [""]:
        raise zipfile.BadZipFile(f"the checksum of its record {wrong[0]} is another")


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file with a checksum, whole or not at all.

    Raises:
        FloatingPointError: a tensor holds NaN or infinity; it is named and nothing is written.
    """
    wrong = not_finite(tensors)
    if wrong is not None:
        raise FloatingPointError(f"{wrong} holds NaN or infinity; {path} is not written")
    # Copies: safetensors refuses tensors that share memory
    whole = torch.contiguous_format
    plain = {name: v.detach().cpu().clone(memory_format=whole) for name, v in tensors.items()}
    described = dict(metadata or {})
    with replacing(path) as temporary:
        save_file(plain, temporary, {**described, CHECKSUM: _checksum(plain, described)})
        _sort_metadata(temporary)


def _sort_metadata(path: Path) -> None:
    """Put a file's metadata in the order of their names: safetensors' own differs by process."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        file.seek(8)
        file.write(text.ljust(length))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, on the CPU, and its metadata.

    Raises:
        FileNotFoundError: no such file.
        DamagedFileError: its checksum is another, it is no safetensors file, or a tensor holds NaN
            or infinity.
    """
    try:
        with safe_open(path, "pt") as opened:
            metadata = dict(opened.metadata() or {})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (FileNotFoundError, PermissionError):
        raise
    except BROKEN as error:
        raise DamagedFileError(
            f"{path} is damaged, or is no safetensors file: {reason_of(error)}"
        ) from None
    written = metadata.pop(CHECKSUM, None)
    if written not in (None, _checksum(tensors, metadata)):
        raise DamagedFileError(f"{path} is damaged (its checksum is another); make it anew")
    wrong = not_finite(tensors)
    if wrong is not None:
        raise DamagedFileError(f"{path}: {wrong} holds NaN or infinity; make it anew")
    return tensors, metadata


def not_finite(state: tp.Any, name: str = "") -> str | None:
    """Return the dotted name of the first tensor of a state dict with NaN or infinity, or None."""
    if isinstance(state, Tensor):
        if not state.is_floating_point() or bool(state.sum().isfinite()):
            return None  # a sum is five times as fast, and finite only where every value is
        return None if bool(state.isfinite().all()) else name
    items: Iterable[tuple[tp.Any, tp.Any]] = ()
    if isinstance(state, Mapping):
        items = state.items()
    elif isinstance(state, (list, tuple)):
        items = enumerate(state)
    found = (not_finite(value, f"{name}.{key}".lstrip(".")) for key, value in items)
    return next((each for each in found if each is not None), None)


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    total = zlib.crc32(json.dumps(sorted(metadata.items())).encode())
    for name, value in sorted(tensors.items()):
        total = zlib.crc32(f"{name} {value.dtype} {tuple(value.shape)}".encode(), total)
        total = zlib.crc32(value.flatten().view(torch.uint8).numpy().data, total)
    return f"{total:08x}"
