"""Read CSV files as people save them, and write what is read again: tables of users.

byte order mark                     left out (Excel's "CSV UTF-8")
UTF-16 with its mark                read (Excel's "Unicode text")
commas, semicolons or tabs          by the header (Excel's separator follows the language)
any line ending, empty lines        read, left out
another encoding, such as Latin-1   refused, with what to do
a line of another length            refused by its number
a cell of more than 131,072 letters refused (a quotation mark that never ends)
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from affekt.runtime.files import replacing

SEPARATORS = (",", ";", "\t")


class Line(NamedTuple):
    """A line of a table."""

    number: int  # in the file, from 1; of its last line where a cell holds line ends
    cells: dict[str, str]  # by column, without spaces around them


def read_csv(path: Path, needed: Sequence[str] = ()) -> tuple[tuple[str, ...], list[Line]]:
    """Return the columns of a CSV file and its lines.

    Args:
        path: the file.
        needed: columns that must be there.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no CSV, another encoding than UTF-8 or UTF-16, no or two columns of a name, a
            line with more or fewer cells than columns. The message names the file and the line.
    """
    text = _text(path)
    # The header decides the separator: the one that gives the most of the columns needed
    text = re.sub(r"\Asep=.\r?\n", "", text)  # Excel's own first line
    first = text.lstrip("\r\n").splitlines()[:1] or [""]
    separator = max(
        SEPARATORS,
        key=lambda mark: (len(set(needed) & set(_split(first[0], mark))), first[0].count(mark)),
    )
    try:
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
        )
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV file: {error}") from None
    (_, header), *rows = [line for line in lines if any(line[1])] or [(1, [])]
    # Empty columns at the end are what a spreadsheet leaves
    width = max((k for k, name in enumerate(header, 1) if name), default=0)
    header = header[:width]
    rows = [(n, cells if any(cells[width:]) else cells[:width]) for n, cells in rows]
    _check_header(path, header, needed)
    for number, cells in rows:
        if len(cells) != len(header):
            raise ValueError(
                f"{path}, line {number}, has {len(cells)} cells, wanted {len(header)}: "
                f"{', '.join(header)}; an empty cell keeps its separator"
            )
    return tuple(header), [Line(n, dict(zip(header, cells, strict=True))) for n, cells in rows]


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table that `read_csv` reads as it was, whole or not at all; a file is replaced."""
    rows = [columns, *rows]
    # A bare carriage return would be a line's end to every reader; csv quotes line feeds alone
    returns = any("\r" in cell for row in rows for cell in row)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(
            file, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
        )
        writer.writerows(rows)


def _text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist or is no file")
    data = path.read_bytes()
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}, is no text in UTF-8 (byte {data[error.start]:#04x}); save it as "
            f"UTF-8, of Latin-1: iconv -f latin1 -t utf-8 {path.name}"
        ) from None


def _split(line: str, separator: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(separator)]


def _check_header(path: Path, header: Sequence[str], needed: Sequence[str]) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise ValueError(f"{path} has two columns {twice[0]!r}; keep one of them")
    missing = [name for name in needed if name not in header]
    if missing:
        found = ", ".join(header) or "nothing"
        raise ValueError(f"{path} has no column {', '.join(missing)}; found: {found}")
