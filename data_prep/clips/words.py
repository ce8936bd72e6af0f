"""When the words of a clip are said: GRID's alignments, a line a word in 1/25000 s.

0 23750 sil         begin, end and word; sil and sp are pauses
23750 29500 bin     GRID publishes them as <speaker>/align/bbaf2n.align, and beside the videos
"""

from pathlib import Path

TICKS = 25_000  # a second
PAUSES = ("sil", "sp")
LONGEST = 100_000  # bytes; a published file has 150
POINTER = "version https://git-lfs"

Words = tuple[tuple[float, float, str], ...]  # begin and end in seconds of the source, word


def read_words(path: Path) -> Words:
    """Return the words of an .align file and when they are said, without pauses.

    Raises:
        ValueError: it is no such file; the message says which line does not do.
    """
    if path.stat().st_size > LONGEST:
        raise ValueError(f"{path} has more than {LONGEST} bytes, which no alignment has")
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if text.startswith(POINTER):
        raise ValueError(f"{path} is a pointer of Git LFS; `git lfs pull` brings the file")
    words, last = [], 0
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        good = len(fields) == 3 and fields[0].isdecimal() and fields[1].isdecimal()
        if not good or not last <= int(fields[0]) < int(fields[1]):
            raise ValueError(f"{path}, line {number}: wanted BEGIN END WORD, found {line[:60]!r}")
        last = int(fields[1])
        if fields[2] not in PAUSES:
            words.append((int(fields[0]) / TICKS, last / TICKS, fields[2]))
    if not words:
        raise ValueError(f"{path} has no word")
    return tuple(words)


def shifted(words: Words, seconds: float) -> list[tuple[float, float, str]]:
    """Return the words of a clip that begins `seconds` later than its source."""
    return [(round(b - seconds, 4), round(e - seconds, 4), word) for b, e, word in words]
