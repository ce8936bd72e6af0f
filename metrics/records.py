"""What an evaluation leaves on disk, and how its figures are summed up.

scores.jsonl   a line a clip, row (the result or a control) and metric: clip, row, metric, value
summary.json   means over the clips by row and metric, coverage, and what could not be compared
"""

import typing as tp
from dataclasses import asdict
from pathlib import Path

import numpy as np

from media.geometry import View
from metrics.compare import Comparison
from runtime.files import read_json, write_json, write_jsonl

SCHEMA = 1  # of summary.json


def save(folder: Path, comparison: Comparison, summary: dict[str, tp.Any]) -> None:
    """Write scores.jsonl and summary.json."""
    write_jsonl(
        folder / "scores.jsonl",
        (
            {"clip": clip.id, "row": row, "metric": metric, "value": value}
            for clip in comparison.clips
            for row, scores in clip.rows.items()
            for metric, value in scores.items()
        ),
    )
    write_json(folder / "summary.json", summary)


def load_summary(folder: Path) -> dict[str, tp.Any]:
    """Read an evaluation's summary.

    Raises:
        FileNotFoundError: no evaluation there.
        ValueError: written by another version.
    """
    path = folder / "summary.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run python test.py run --out {folder}")
    summary: dict[str, tp.Any] = read_json(path)
    if summary.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema {summary.get('schema')}, wanted {SCHEMA}; run it anew")
    return summary


def summarize(comparison: Comparison, name: str, detector: str, view: View) -> dict[str, tp.Any]:
    """Return the means over clips, each clip with equal weight, and what they stand on."""
    clips, pairing = comparison.clips, comparison.pairing
    rows: dict[str, dict[str, list[float]]] = {}
    for clip in clips:
        for row, scores in clip.rows.items():
            for metric, value in scores.items():
                rows.setdefault(row, {}).setdefault(metric, []).append(value)
    frames = [clip.frames for clip in clips]
    covered = np.average([clip.coverage for clip in clips], weights=frames) if clips else 0.0
    sizes = sorted({clip.size for clip in clips})
    return {
        "schema": SCHEMA,
        "name": name,
        "detector": detector,
        "alignment": view,
        "sizes": ", ".join(f"{width} x {height}" for width, height in sizes),
        "clips": len(clips),
        "frames": sum(frames),
        "frame_coverage": float(covered),
        "clip_coverage": len(clips) / (len(pairing.pairs) + len(pairing.missing)),
        "missing": pairing.missing,
        "extra": pairing.extra,
        "failed": [asdict(failure) for failure in comparison.failures],
        "rows": {
            row: {metric: float(np.mean(values)) for metric, values in metrics.items()}
            for row, metrics in rows.items()
        },
    }
