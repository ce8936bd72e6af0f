"""A whole evaluation, and what it leaves on disk.

scores.jsonl     a line a clip, row (result, truth or control) and metric
evaluation.json  what the figures stand on: protocol, detector, weights, coverage, what failed, what
                 is not available and why, FID and KID of every row
cache.jsonl      every figure that was ever measured here, so that a second run is instant
"""

import logging
import typing as tp
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affekt.evaluation.cache import Cache, Line
from affekt.evaluation.control_rows import MEAN_FACE, RESULT
from affekt.evaluation.controls import mean_faces
from affekt.evaluation.distribution import distributions
from affekt.evaluation.measure import Job, LazyDetector, Outcome, Task, measure_all, opened, plan
from affekt.evaluation.measures import LandmarkMeasure
from affekt.evaluation.networks import measures_of
from affekt.evaluation.pairing import Case, Pairing
from affekt.evaluation.tables.evaluations import SCHEMA
from affekt.evaluation.video import FaceFinder
from affekt.media.faces.detector import Detector
from affekt.runtime.files import write_json, write_jsonl
from affekt.runtime.provenance import versions

log = logging.getLogger(__name__)

Record = dict[str, tp.Any]
Watch = Callable[[Outcome], None]

FORM = "form"  # the measure of a clip's own size, length and coverage


@dataclass(frozen=True)
class Evaluation:
    """What was measured of which clips."""

    record: Record
    failed: list[Outcome]


def evaluate(
    pairing: Pairing,
    job: Job,
    out: Path,
    name: str,
    workers: int = 0,
    watch: Watch | None = None,
    detector: Detector | None = None,
) -> Evaluation:
    """Measure what is not known yet of every clip, and write scores.jsonl and evaluation.json.

    Args:
        pairing: the clips.
        job: how they are measured.
        out: the evaluation's folder.
        name: of the method.
        workers: processes; 0: in this one.
        watch: told of every clip that is done.
        detector: in place of the protocol's; needs workers = 0.

    Raises:
        ValueError: no clip could be measured.
    """
    seeing = detector or LazyDetector(job.protocol.landmarks.detector, job.detector_device)
    finder = FaceFinder(seeing, job.cache / "faces")
    measures = measures_of(job.protocol, job.tools, job.cache, seeing)
    cache = Cache(out / "cache.jsonl")
    planned = list(plan(pairing.cases, pairing.truths, measures, job, finder))
    tasks = [each for each in planned if isinstance(each, Task)]
    failed = [each for each in planned if isinstance(each, Outcome)]
    for outcome in measure_all(tasks, measures, job, cache, workers, detector):
        failed += [outcome] if outcome.reason else []
        if watch is not None:
            watch(outcome)
    lost = {outcome.task.case.id for outcome in failed}
    done = [task for task in tasks if task.case.id not in lost]
    if not done:
        raise ValueError(
            f"none of the {len(pairing.cases)} clips could be measured; the first: "
            f"{failed[0].message}"
        )
    lines = [line for task in done for name, key in task.keys.items()
             for line in cache.lines(task.case.id, name, key)]  # fmt: skip
    if job.with_controls and "landmarks" in job.protocol.measures:
        lines += _mean_face_lines(done, job, finder)
    record = _record(pairing, job, name, seeing.version, lines, failed)
    record["truths"] = {task.case.id: task.truth for task in done}
    record["distribution"] = distributions(lines, job.cache / "features")
    write_jsonl(out / "scores.jsonl", _rows(lines, {task.case.id: task.case for task in done}))
    write_json(out / "evaluation.json", record)
    return Evaluation(record, failed)


def _mean_face_lines(done: Sequence[Task], job: Job, finder: FaceFinder) -> list[Line]:
    """Return the figures of the mean face, which needs every truth."""
    measure = LandmarkMeasure(job.protocol.landmarks)
    truths = [opened(task.case.truth, finder).landmarks() for task in done]
    if not any(np.isfinite(points).any() for points in truths):
        return []
    return [
        Line(task.case.id, measure.name, task.keys[measure.name], MEAN_FACE, metric, value)
        for task, face, truth in zip(done, mean_faces(truths), truths, strict=True)
        for metric, value in measure.between(face, truth).items()
    ]


def _rows(lines: Sequence[Line], cases: dict[str, Case]) -> list[Record]:
    """Return the lines of scores.jsonl, in an order that does not depend on who was done first."""
    known = sorted((line for line in lines if line.measure != FORM), key=_place)
    return [
        {
            "clip": line.clip,
            "speaker": cases[line.clip].speaker,
            "emotion": cases[line.clip].emotion,
            "row": line.row,
            "metric": line.metric,
            "value": line.value,
            "key": line.key,
        }
        for line in known
    ]


def _place(line: Line) -> tuple[str, str, str]:
    return line.clip, line.row, line.metric


def _record(
    pairing: Pairing,
    job: Job,
    name: str,
    detector: str,
    lines: Sequence[Line],
    failed: Sequence[Outcome],
) -> Record:
    form: dict[str, dict[str, float]] = {}
    for line in lines:
        if line.measure == FORM and line.value is not None:
            form.setdefault(line.clip, {})[line.metric] = line.value
    frames = [clip["frames"] for clip in form.values()]
    covered = np.average([clip["covered"] for clip in form.values()], weights=frames)
    sizes = {(int(clip["width"]), int(clip["height"])) for clip in form.values()}
    wanted = len(pairing.cases) + len(pairing.missing)
    protocol = job.protocol
    return {
        "schema": SCHEMA,
        "name": name,
        "protocol": {"id": protocol.id, "version": protocol.version, "hash": protocol.hash},
        "tables": list(protocol.tables),
        "convention": protocol.landmarks.convention,
        "view": protocol.landmarks.view,
        "detector": detector,
        "weights": job.tools.checksums,
        "trained_here": job.tools.trained_here,
        "versions": versions(),
        "sizes": [f"{width} x {height}" for width, height in sorted(sizes)],
        "clips": len(form),
        "speakers": sorted({case.speaker for case in pairing.cases if case.speaker}),
        "frames": int(sum(frames)),
        "clip_coverage": len(form) / wanted,
        "frame_coverage": float(covered),
        "missing": pairing.missing,
        "extra": pairing.extra,
        "failed": [
            {"id": each.task.case.id, "reason": each.reason, "message": each.message}
            for each in failed
        ],
        "unavailable": job.tools.unavailable,
        "without": _without(lines),
        "papers_own": protocol.papers_own,
        "notes": [],
        "results": any(case.result is not None for case in pairing.cases),
    }


def _without(lines: Sequence[Line]) -> dict[str, list[str]]:
    """Return, for each metric, the clips whose result has no figure: no face, sound or label."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.row == RESULT and line.value is None:
            found.setdefault(line.metric, []).append(line.clip)
    return {metric: sorted(clips) for metric, clips in sorted(found.items())}
