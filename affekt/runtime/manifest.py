"""Manifests: CSV files with a clip a line and the inputs that it is made of.

    clip_id,audio,target,emotion
    M003_happy_3_001,audio/M003_happy_3_001.wav,truth/M003_happy_3_001.mp4,happy

A file's cell is relative to the manifest's own folder, or absolute. Unknown columns are
ignored; an empty cell takes the value of the command line.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affekt.runtime.csv_files import read_csv, write_csv
from affekt.runtime.files import nfc

CLIP_ID = "clip_id"


@dataclass(frozen=True, eq=False)
class ManifestRow:
    """One clip of a manifest."""

    line: int  # of the file, from 1
    clip_id: str
    cells: Mapping[str, str]  # by column, stripped


@dataclass(frozen=True)
class Manifest:
    """A manifest: its clips in the order of the file."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[ManifestRow, ...]


@dataclass(frozen=True)
class Column:
    """A column that stands for an option of a command line."""

    name: str
    option: str = ""  # as argparse stores it; none: the column's name
    needed: bool = True  # there is no result without it
    is_file: bool = True  # a file's name, else plain text
    words: tuple[str, ...] = ()  # cells that are no file's name
    instead_of: tuple[str, ...] = ()  # options that a cell of this column sets aside

    @property
    def argument(self) -> str:
        """Return the name of the option's value."""
        return self.option or self.name

    def values(self, cell: str, folder: Path) -> dict[str, Any]:
        """Return the values of options that a cell gives."""
        plain = not self.is_file or cell in self.words
        return dict.fromkeys(self.instead_of) | {self.argument: cell if plain else folder / cell}


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        FileNotFoundError: no such file.
        ValueError: see `read_csv`; no clip at all, a clip id that is empty, stands there twice or
            could not be the name of a file.
    """
    columns, lines = read_csv(path, [CLIP_ID])
    if not lines:
        raise ValueError(f"{path} names no clip: it has no line after its header")
    rows: dict[str, ManifestRow] = {}
    for line, cells in lines:
        row = _parse_row(path, line, cells)
        first = rows.setdefault(row.clip_id, row)
        if first is not row:
            raise ValueError(
                f"{path}: the {CLIP_ID} {row.clip_id!r} stands in line {first.line} "
                f"and again in line {line}"
            )
    return Manifest(path, columns, tuple(rows.values()))


def write_manifest_file(
    path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]
) -> None:
    """Write a manifest that `read_manifest` reads, whole or not at all; absent cells are empty.

    Raises:
        ValueError: a row has a cell of no column.
    """
    lines = []
    for row in rows:
        unknown = row.keys() - set(columns)
        if unknown:
            raise ValueError(f"{path}: a row has cells of no column: {', '.join(sorted(unknown))}")
        lines.append([row.get(column, "") for column in columns])
    write_csv(path, columns, lines)


def check_columns(manifest: Manifest, columns: Sequence[Column], given: argparse.Namespace) -> None:
    """Refuse a manifest without a column that is needed and that the command line does not give.

    Raises:
        ValueError: names every such column.
    """
    needed = [each for each in columns if each.needed and each.name not in manifest.columns]
    absent = [column for column in needed if getattr(given, column.argument) is None]
    if absent:
        names = " and ".join(column.name for column in absent)
        options = " and ".join(f"--{column.argument.replace('_', '-')}" for column in absent)
        raise ValueError(
            f"{manifest.path} has no column {names}; found: {', '.join(manifest.columns)}; "
            f"add it, or give {options} for all clips"
        )


def with_row(
    manifest: Manifest, row: ManifestRow, columns: Sequence[Column], given: argparse.Namespace
) -> argparse.Namespace:
    """Return a command line's options, those that a row gives replaced by the row's.

    Raises:
        ValueError: a cell is empty whose value the command line does not give either, or two
            columns have one of which only one can be meant.
    """
    values = dict(vars(given))
    filled = {column.argument: column.name for column in columns if row.cells.get(column.name)}
    for column in columns:
        cell = row.cells.get(column.name, "")
        if cell:
            rivals = [filled[option] for option in column.instead_of if option in filled]
            if rivals:
                raise ValueError(f"both {column.name} and {rivals[0]} are given; keep one of them")
            values |= column.values(cell, manifest.path.parent)
        elif column.needed and values[column.argument] is None:
            option = column.argument.replace("_", "-")
            raise ValueError(f"its {column.name} is empty, and no --{option} is given")
    return argparse.Namespace(**values)


def _parse_row(path: Path, line: int, cells: dict[str, str]) -> ManifestRow:
    clip_id = nfc(cells[CLIP_ID])
    if not clip_id:
        raise ValueError(f"{path}, line {line}: the {CLIP_ID} is empty")
    if clip_id.startswith(".") or not clip_id.isprintable() or set(clip_id) & set("/\\"):
        raise ValueError(
            f"{path}, line {line}: the {CLIP_ID} {clip_id!r} cannot name a file; wanted no "
            "separator of folders, and no dot in front"
        )
    return ManifestRow(line, clip_id, cells)
