"""Run an evaluation, and write its scores and their record.

scores.jsonl     a line a clip, row (result, truth or control) and metric
evaluation.json  protocol, detector, weights and coverage behind the scores, what failed, what is
                 not available and why, FID and KID of every row
cache.jsonl      every score that was ever measured here, so that a second run is instant
"""

import logging
import typing as tp
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affekt.evaluation.cache import Cache, Line
from affekt.evaluation.controls import MEAN_FACE, RESULT, mean_faces
from affekt.evaluation.measure import Job, LazyDetector, Outcome, Task, measure_all, plan
from affekt.evaluation.measures import LandmarkMeasure, ShapeMeasure
from affekt.evaluation.networks import distributions, measures_of
from affekt.evaluation.pairing import ClipPair, Pairing
from affekt.evaluation.tables.evaluations import SCHEMA
from affekt.evaluation.video import FaceFinder, opened
from affekt.media.faces.detector import Detector
from affekt.runtime.files import write_json, write_jsonl
from affekt.runtime.provenance import versions

log = logging.getLogger(__name__)

Record = dict[str, tp.Any]
OnDone = Callable[[Outcome], None]

SHAPE = ShapeMeasure().name


@dataclass(frozen=True)
class EvaluationRun:
    """The record of an evaluation, and the clips that could not be measured."""

    record: Record
    failed: list[Outcome]


def run_evaluation(
    pairing: Pairing,
    job: Job,
    out: Path,
    name: str,
    workers: int = 0,
    on_done: OnDone | None = None,
    detector: Detector | None = None,
) -> EvaluationRun:
    """Measure what is not cached yet of every clip, and write scores.jsonl and evaluation.json.

    Args:
        pairing: the clips.
        job: how they are measured.
        out: the evaluation's folder.
        name: of the method.
        workers: processes; 0: in this one.
        on_done: called with every clip that is done.
        detector: in place of the protocol's; needs workers = 0.

    Raises:
        ValueError: no clip could be measured.
    """
    # Face detection, measures and their cache
    found_by = detector or LazyDetector(job.protocol.landmarks.detector, job.detector_device)
    finder = FaceFinder(found_by, job.cache / "faces")
    measures = measures_of(job.protocol, job.networks, job.cache, found_by)
    cache = Cache(out / "cache.jsonl")
    # What is cached is not measured again
    planned = list(plan(pairing.pairs, pairing.truths, measures, job, finder))
    tasks = [each for each in planned if isinstance(each, Task)]
    failed = [each for each in planned if isinstance(each, Outcome)]
    for outcome in measure_all(tasks, measures, job, cache, workers, detector):
        failed += [outcome] if outcome.reason else []
        if on_done is not None:
            on_done(outcome)
    # A clip counts only if all its measures succeeded
    failed_ids = {outcome.task.pair.id for outcome in failed}
    done = [task for task in tasks if task.pair.id not in failed_ids]
    if not done:
        raise ValueError(
            f"none of the {len(pairing.pairs)} clips could be measured; the first: "
            f"{failed[0].message}"
        )
    # All scores, and the controls over all clips together
    lines = [line for task in done for name, key in task.keys.items()
             for line in cache.lines(task.pair.id, name, key)]  # fmt: skip
    if job.with_controls and "landmarks" in job.protocol.measures:
        lines += _mean_face_lines(done, job, finder)
    # evaluation.json, the summary, and scores.jsonl
    record = _record(pairing, job, name, found_by.version, lines, failed)
    record["truths"] = {task.pair.id: task.truth for task in done}
    record["distribution"] = distributions(lines, job.cache / "features")
    write_jsonl(out / "scores.jsonl", _rows(lines, {task.pair.id: task.pair for task in done}))
    write_json(out / "evaluation.json", record)
    return EvaluationRun(record, failed)


def _mean_face_lines(done: Sequence[Task], job: Job, finder: FaceFinder) -> list[Line]:
    """Return the figures of the mean face, which needs every truth."""
    measure = LandmarkMeasure(job.protocol.landmarks)
    truths = [opened(task.pair.truth, finder).landmarks() for task in done]
    if not any(np.isfinite(points).any() for points in truths):
        return []
    return [
        Line(task.pair.id, measure.name, task.keys[measure.name], MEAN_FACE, metric, value)
        for task, face, truth in zip(done, mean_faces(truths), truths, strict=True)
        for metric, value in measure.between(face, truth).items()
    ]


def _rows(lines: Sequence[Line], pairs: dict[str, ClipPair]) -> list[Record]:
    """Return the lines of scores.jsonl, in an order that does not depend on who was done first."""
    scores = sorted((line for line in lines if line.measure != SHAPE), key=_place)
    return [
        {
            "clip": line.clip,
            "speaker": pairs[line.clip].speaker,
            "emotion": pairs[line.clip].emotion,
            "row": line.row,
            "metric": line.metric,
            "value": line.value,
            "key": line.key,
        }
        for line in scores
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
    # Number of frames, share with a face, and size of each measured clip
    shapes: dict[str, dict[str, float]] = {}
    for line in lines:
        if line.measure == SHAPE and line.value is not None:
            shapes.setdefault(line.clip, {})[line.metric] = line.value
    frames = [clip["frames"] for clip in shapes.values()]
    covered = np.average([clip["covered"] for clip in shapes.values()], weights=frames)
    sizes = {(int(clip["width"]), int(clip["height"])) for clip in shapes.values()}
    wanted = len(pairing.pairs) + len(pairing.missing)
    # What was measured with what, on which clips, and what is missing
    protocol = job.protocol
    return {
        "schema": SCHEMA,
        "name": name,
        "protocol": {"id": protocol.id, "version": protocol.version, "hash": protocol.hash},
        "tables": list(protocol.tables),
        "convention": protocol.landmarks.convention,
        "view": protocol.landmarks.view,
        "detector": detector,
        "weights": job.networks.checksums,
        "trained_here": job.networks.trained_here,
        "versions": versions(),
        "sizes": [f"{width} x {height}" for width, height in sorted(sizes)],
        "clips": len(shapes),
        "speakers": sorted({pair.speaker for pair in pairing.pairs if pair.speaker}),
        "frames": int(sum(frames)),
        "clip_coverage": len(shapes) / wanted,
        "frame_coverage": float(covered),
        "missing": pairing.missing,
        "extra": pairing.extra,
        "failed": [
            {"id": each.task.pair.id, "reason": each.reason, "message": each.message}
            for each in failed
        ],
        "unavailable": job.networks.unavailable,
        "without": _without(lines),
        "papers_own": protocol.papers_own,
        "notes": [],
        "results": any(pair.result is not None for pair in pairing.pairs),
    }


def _without(lines: Sequence[Line]) -> dict[str, list[str]]:
    """Return, for each metric, the clips whose result has no figure: no face, sound or label."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.row == RESULT and line.value is None:
            found.setdefault(line.metric, []).append(line.clip)
    return {metric: sorted(clips) for metric, clips in sorted(found.items())}
