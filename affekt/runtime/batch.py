"""A folder of generated files that can be continued: what is there, of which inputs, what failed.

    <id>.mp4          the results
    generated.jsonl   a line a file: its id, the fingerprint of its inputs, its own SHA-256
    failed.jsonl      a line for each that could not be made in the last run, with the reason

A result is complete if its last line holds the wanted fingerprint and the file has that SHA-256; a
run that was stopped, at whatever point, continues there.
"""

import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from affekt.runtime.files import read_text, sha256, write_jsonl

log = logging.getLogger(__name__)

MADE, FAILED = "generated.jsonl", "failed.jsonl"
# Fields of a job that do not change the result: its place, and the number of processes.
WITHOUT_EFFECT = ("out", "workers")
RUN_FILES = ("checkpoints/*", "*.safetensors", "*.yaml", "*.json", "*.npz")  # that inference reads


class Fingerprints:
    """Fingerprints of jobs: their settings, and the contents of their files.

    A file counts by its SHA-256, wherever it lies, and a run's folder by the names, sizes and times
    of the files that inference reads. Each is read once.
    """

    def __init__(self) -> None:
        self._contents: dict[Path, str] = {}

    def of(self, job: Any) -> str:
        """Return the fingerprint of a dataclass of settings and paths, 64 hexadecimal digits."""

        def settings(items: list[tuple[str, Any]]) -> dict[str, Any]:
            return {name: value for name, value in items if name not in WITHOUT_EFFECT}

        values = dataclasses.asdict(job, dict_factory=settings)
        text = json.dumps([type(job).__name__, values], default=self._plain, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _plain(self, value: Any) -> Any:
        if isinstance(value, frozenset):
            return sorted(value)
        if value not in self._contents:
            self._contents[value] = _contents(value)
        return self._contents[value]


class ResultFolder:
    """The results of many clips, and the records of how they were made."""

    def __init__(self, folder: Path) -> None:
        """Read the records; the folder is made where it is missing.

        Raises:
            ValueError: there is a file of that name, or generated.jsonl is damaged.
        """
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is a file, wanted a folder for the results")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.failures: list[dict[str, Any]] = []
        self._made = {row["clip_id"]: row for row in _records(folder / MADE)}

    def path(self, clip_id: str) -> Path:
        """Return where a clip's result belongs."""
        return self.folder / f"{clip_id}.mp4"

    def fingerprint(self, clip_id: str) -> str | None:
        """Return the fingerprint that a clip's result was made with, if there ever was one."""
        return str(self._made[clip_id]["fingerprint"]) if clip_id in self._made else None

    def holds(self, clip_id: str, fingerprint: str) -> bool:
        """Return whether the result of this fingerprint is there, whole."""
        path = self.path(clip_id)
        if self.fingerprint(clip_id) != fingerprint or not path.is_file():
            return False
        return bool(self._made[clip_id]["sha256"] == sha256(path))

    def add(self, clip_id: str, fingerprint: str) -> None:
        """Record a result that was just written."""
        record = {"clip_id": clip_id, "fingerprint": fingerprint}
        record["sha256"] = sha256(self.path(clip_id))
        with (self.folder / MADE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self._made[clip_id] = record

    def fail(self, clip_id: str, line: int, message: str) -> None:
        """Record that a clip could not be made, and remove an older result of its name."""
        self.path(clip_id).unlink(missing_ok=True)
        self.failures.append({"clip_id": clip_id, "line": line, "message": message})
        write_jsonl(self.folder / FAILED, self.failures)

    def close(self) -> None:
        """Remove the list of failures of an earlier run where there are none now."""
        if not self.failures:
            (self.folder / FAILED).unlink(missing_ok=True)


def _records(path: Path) -> list[dict[str, Any]]:
    """Return the lines of generated.jsonl; an incomplete last one is dropped from the file."""
    if not path.is_file():
        return []
    text = read_text(path)
    whole, _, torn = text.rpartition("\n")
    try:
        records = [json.loads(line) for line in whole.splitlines()]
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}; remove it to make all clips anew") from None
    if torn:
        log.warning("%s ends in a part of a line, which is dropped", path)
        write_jsonl(path, records)
    return records


def _contents(path: Path) -> str:
    if path.is_file():
        return sha256(path)
    if not path.is_dir():
        return f"missing: {path}"
    files = sorted({file for pattern in RUN_FILES for file in path.glob(pattern)})
    stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()
