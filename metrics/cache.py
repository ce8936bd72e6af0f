"""Figures that were measured before: a line a clip, row and metric, keyed by all they depend on."""

import json
import logging
import math
import typing as tp
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Line:
    """One figure of one row of one clip."""

    clip: str
    measure: str
    key: str  # of both videos' content, the protocol, the detector, the weights
    row: str
    metric: str
    value: float | None  # None: no value for this clip


class Cache:
    """The lines of a file, by clip, measure and key; new ones are appended as they come."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a line that is damaged is left out, and measured again."""
        self.path = path
        self._known: dict[tuple[str, str, str], list[Line]] = {}
        self._whole = True
        if path.is_file():
            self._read()

    def has(self, clip: str, measure: str, key: str) -> bool:
        """Say whether a clip was measured so."""
        return (clip, measure, key) in self._known

    def lines(self, clip: str, measure: str, key: str) -> list[Line]:
        """Return the lines of a clip and a measure, none where it was not measured so."""
        return self._known.get((clip, measure, key), [])

    def add(self, lines: Sequence[Line]) -> None:
        """Append the lines of a clip, in one write."""
        self._take(lines)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        start = "" if self._whole else "\n"  # ends a line that a stopped run left half written
        text = "".join(json.dumps(asdict(line), allow_nan=False) + "\n" for line in lines)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(start + text)
        self._whole = True

    def _read(self) -> None:
        text = self.path.read_text(encoding="utf-8", errors="replace")
        self._whole = text.endswith("\n") or not text
        bad, lines = 0, []
        for row in text.split("\n"):
            line = _parsed(row) if row.strip() else None
            bad += bool(row.strip()) and line is None
            lines += [line] if line else []
        if bad:
            log.warning("%s: %d damaged lines are left out and measured again", self.path, bad)
        self._take(lines)

    def _take(self, lines: Sequence[Line]) -> None:
        for line in lines:
            known = self._known.setdefault((line.clip, line.measure, line.key), [])
            if all((old.row, old.metric) != (line.row, line.metric) for old in known):
                known.append(line)


def _parsed(row: str) -> Line | None:
    """Return a line, or None if it is not one."""
    try:
        found: tp.Any = json.loads(row)
    except json.JSONDecodeError:
        return None
    names = {each.name for each in fields(Line)}
    if not isinstance(found, dict) or found.keys() != names:
        return None
    value = found.pop("value")
    number = type(value) in (int, float) and math.isfinite(value)
    if not all(isinstance(each, str) for each in found.values()) or not (number or value is None):
        return None
    return Line(**found, value=value)
