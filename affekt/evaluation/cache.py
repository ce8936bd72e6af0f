"""Cache of scores: a line a clip and measure, keyed by everything that they depend on."""

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

Scores = dict[str, float | None]  # metric: value; None: no value for this clip


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
        self._scores: dict[tuple[str, str, str], dict[str, Scores]] = {}  # by clip, measure, key
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
        for line in filter(str.strip, text.split("\n")):
            try:
                found = json.loads(line)
                values = [v for scores in found["rows"].values() for v in scores.values()]
                if not all(value is None or math.isfinite(value) for value in values):
                    raise ValueError
                self._scores[found["clip"], found["measure"], found["key"]] = found["rows"]
            except (ValueError, KeyError, TypeError, AttributeError):
                bad += 1
        if bad:
            log.warning("%s: %d damaged lines are left out and measured again", self.path, bad)
