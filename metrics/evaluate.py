"""Measure every clip of an evaluation once: what is known already is read from the cache.

Figures go into the cache as clips are done, so that a stopped run goes on where it was and a
second run is instant. A clip that cannot be measured is listed with its reason; the others go on.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from media.corpus import Clip
from media.landmarks import Detection, Detector, DetectorName, detector_version, make_detector
from media.video import probe
from metrics.cache import Cache, Line
from metrics.controls import Reordered, controls_of
from metrics.measures import Facts, Measure
from metrics.pairing import Case
from metrics.protocol import Protocol
from metrics.rows import RESULT, TRUTH
from metrics.shown import Content, FaceFinder, Shown, StoredVideo, VideoFile, digest
from metrics.toolbox import Tools, measures_of
from runtime.pool import each

log = logging.getLogger(__name__)

SAME_RATE = 0.01  # frames per second that containers may round away


@dataclass(frozen=True)
class Job:
    """What every clip of an evaluation is measured with."""

    protocol: Protocol
    tools: Tools
    cache: Path  # folder of found landmarks and features
    with_controls: bool = True


@dataclass(frozen=True)
class Task:
    """A clip, a clip of another speaker, and the keys under which each measure is kept."""

    case: Case
    other: Case | None
    keys: dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """What became of a clip: its lines, or why there are none."""

    task: Task
    lines: list[Line]
    reason: str | None = None
    message: str = ""


class LazyDetector:
    """A detector that is loaded when the first face is looked for."""

    def __init__(self, name: DetectorName) -> None:
        self.name = name
        self.version = detector_version(name)

    @cached_property
    def _loaded(self) -> Detector:
        return make_detector(self.name)

    def detect(self, picture: NDArray[np.uint8]) -> Detection | None:
        """Return the face of a picture (H, W, 3) uint8 RGB, or None where there is none."""
        return self._loaded.detect(picture)


def plan(cases: Sequence[Case], job: Job, detector: Detector) -> Iterator[Task | Outcome]:
    """Yield what is to be done of every clip, or why nothing can be."""
    finder = FaceFinder(detector, job.cache / "faces")
    measures = measures_of(job.protocol, job.tools, job.cache, detector)
    keys: dict[str, str] = {}  # of the truths; another speaker's is needed more than once

    def key_of(case: Case) -> str:
        if case.id not in keys:
            keys[case.id] = opened(case.truth, finder).key
        return keys[case.id]

    for number, case in enumerate(cases):
        other = _other(cases, number) if job.with_controls else None
        task = Task(case, other, {})
        try:
            contents = [key_of(case), key_of(other) if other else ""]
            contents.append(opened(case.result, finder).key if case.result else "")
            contents.append(f"{case.emotion}\0{case.source}")
        except (OSError, ValueError) as error:
            yield _failed(task, error)
            continue
        common = (*contents, job.protocol.hash, detector.version, str(job.with_controls))
        for measure in measures:
            task.keys[measure.name] = digest(*common, measure.name, measure.identity)
        yield task


def measure_all(
    tasks: Sequence[Task], job: Job, cache: Cache, workers: int, detector: Detector | None = None
) -> Iterator[Outcome]:
    """Yield every clip's outcome, in any order; what was measured goes into the cache.

    Args:
        tasks: of `plan`.
        job: how.
        cache: of figures.
        workers: processes; 0: in this one.
        detector: in place of the protocol's; needs workers = 0.
    """
    left = []
    for task in tasks:
        todo = {
            name: key for name, key in task.keys.items() if not cache.has(task.case.id, name, key)
        }
        if todo:
            left.append(Task(task.case, task.other, todo))
        else:
            yield Outcome(task, [])
    for outcome in each(_measure, left, workers, partial(_start, job, detector), _died):
        cache.add(outcome.lines)
        yield outcome


def opened(content: Path | Clip, finder: FaceFinder) -> Content:
    """Return a video file or a prepared clip as the metrics see it."""
    return VideoFile(content, finder) if isinstance(content, Path) else StoredVideo(content, finder)


def rows_of(task: Task, job: Job, finder: FaceFinder, folder: Path) -> dict[str, Shown]:
    """Return the rows of a clip: the result, the truth, and the controls.

    Raises:
        MediaError: a file cannot be read.
        ValueError: other frame rate, size or length.
    """
    case = task.case
    truth: Shown = opened(case.truth, finder)
    rows: dict[str, Shown] = {TRUTH: truth}
    if job.with_controls:
        other = opened(task.other.truth, finder) if task.other else None
        rows = controls_of(opened(case.truth, finder), other, folder, finder)
    if case.result is None:
        return rows
    result = opened(case.result, finder)
    check_rates(case)
    check_form(case.id, result, truth, job.protocol.length_slack)
    rows = {RESULT: result, **rows}
    shortest = min(result.length, truth.length)
    return {name: shortened(shown, shortest) for name, shown in rows.items()}


def shortened(shown: Shown, length: int) -> Shown:
    """Return the first pictures of a video, or all of it if it has no more."""
    return shown if shown.length == length else Reordered(shown, tuple(range(length)), shown)


def check_rates(case: Case) -> None:
    """Refuse a result of another frame rate than its truth.

    Raises:
        ValueError: so it is.
    """
    assert case.result is not None
    rate = probe(case.truth).fps if isinstance(case.truth, Path) else 25.0
    found = probe(case.result).fps
    if abs(found - rate) > SAME_RATE:
        raise ValueError(
            f"{case.id}: the result has {found:g} frames per second, the truth {rate:g}; "
            "convert one of them before comparing"
        )


def check_form(clip: str, result: Shown, truth: Shown, slack: int) -> None:
    """Refuse a result of another size or length than its truth.

    Raises:
        ValueError: so it is.
    """
    if result.size != truth.size:
        (width, height), (true_width, true_height) = result.size, truth.size
        raise ValueError(
            f"{clip}: the result is {width} x {height}, the truth {true_width} x {true_height} "
            "pixels; crop and scale both alike before comparing"
        )
    if abs(result.length - truth.length) > slack:
        raise ValueError(
            f"{clip}: the result has {result.length} frames, the truth {truth.length}; both must "
            "show the same frames" + (f", give or take {slack}" if slack else "")
        )


def _other(cases: Sequence[Case], number: int) -> Case | None:
    """Return a clip of the next speaker, of the same emotion if there is one; None: one speaker."""
    case = cases[number]
    speakers = sorted({each.speaker for each in cases})
    if len(speakers) < 2:
        return None
    speaker = speakers[(speakers.index(case.speaker) + 1) % len(speakers)]
    theirs = [each for each in cases if each.speaker == speaker]
    alike = [each for each in theirs if each.emotion == case.emotion] or theirs
    return alike[number % len(alike)]


_job: Job
_finder: FaceFinder
_measures: Sequence[Measure]


def _start(job: Job, detector: Detector | None) -> None:
    global _job, _finder, _measures
    cv2.setNumThreads(1)  # clips run side by side, by processes
    torch.set_num_threads(1)
    _job = job
    detector = detector or LazyDetector(job.protocol.landmarks.detector)
    _finder = FaceFinder(detector, job.cache / "faces")
    _measures = measures_of(job.protocol, job.tools, job.cache, detector)


def _measure(task: Task) -> Outcome:
    try:
        with tempfile.TemporaryDirectory(prefix="affekt-") as folder:
            rows = rows_of(task, _job, _finder, Path(folder))
            return Outcome(task, list(_lines(task, rows)))
    except (OSError, ValueError) as error:
        return _failed(task, error)


def _lines(task: Task, rows: dict[str, Shown]) -> Iterator[Line]:
    facts = Facts(task.case.id, task.case.emotion, task.case.source)
    for measure in _measures:
        key = task.keys.get(measure.name)
        if key is None:
            continue
        for row, scores in measure.of(rows, facts, key).items():
            for metric, value in scores.items():
                yield Line(task.case.id, measure.name, key, row, metric, value)


def _failed(task: Task, error: Exception) -> Outcome:
    reason = str(getattr(error, "reason", type(error).__name__))
    return Outcome(task, [], reason, str(error))


def _died(task: Task) -> Outcome:
    return Outcome(task, [], "died", f"{task.case.id}: the process that measured it died")
