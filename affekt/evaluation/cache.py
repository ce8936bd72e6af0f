"""Cache of scores: a line a clip and measure, keyed by everything that they depend on."""

import json
import logging
import math
import typing as tp
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

Scores = dict[str, float | None]  # metric: value; None: no value for this clip
Place = tuple[str, str, str]  # clip, measure, key


@dataclass(frozen=True)
class Line:
    """One figure of one row of one clip."""

    clip: str
    measure: str
    key: str  # of both videos' content, the protocol, the detector, the weights
    row: str
    metric: str
    value: float | None


class Cache:
    """The lines of a file; each holds all rows of a clip and measure, so that it counts whole."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a line that is damaged is left out, and measured again."""
        self.path = path
        self._scores: dict[Place, dict[str, Scores]] = {}
        self._whole = True
        if path.is_file():
            self._read()

    def has(self, clip: str, measure: str, key: str) -> bool:
        """Return whether a clip was measured under this key."""
        return (clip, measure, key) in self._scores

    def lines(self, clip: str, measure: str, key: str) -> list[Line]:
        """Return the figures of a clip, none where it was not measured so."""
        rows = self._scores.get((clip, measure, key), {})
        return [
            Line(clip, measure, key, row, metric, value)
            for row, scores in rows.items()
            for metric, value in scores.items()
        ]

    def add(self, clip: str, measure: str, key: str, rows: dict[str, Scores]) -> None:
        """Append the figures of a clip."""
        self._scores[clip, measure, key] = rows
        line = json.dumps(
            {"clip": clip, "measure": measure, "key": key, "rows": rows}, allow_nan=False
        )
        start = "" if self._whole else "\n"  # ends a line that a stopped run left half written
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{start}{line}\n")
        self._whole = True

    def _read(self) -> None:
        text = self.path.read_text(encoding="utf-8", errors="replace")
        self._whole = text.endswith("\n") or not text
        bad = 0
        for row in text.split("\n"):
            if not row.strip():
                continue
            found = _parsed(row)
            if found is None:
                bad += 1
            else:
                self._scores[found[0]] = found[1]
        if bad:
            log.warning("%s: %d damaged lines are left out and measured again", self.path, bad)


def _parsed(line: str) -> tuple[Place, dict[str, Scores]] | None:
    """Return what a line holds, or None if it is damaged."""
    try:
        found: tp.Any = json.loads(line)
        place = (found["clip"], found["measure"], found["key"])
        rows: dict[str, Scores] = found["rows"]
        values = [value for scores in rows.values() for value in scores.values()]
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    if not all(isinstance(part, str) for part in place):
        return None
    return (place, rows) if all(map(_is_figure, values)) else None


def _is_figure(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and math.isfinite(value))
