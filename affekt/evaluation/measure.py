"""Measure every clip of an evaluation once: what is known already is read from the cache.

Figures go into the cache as clips are done, so that a stopped run goes on where it was and a
second run is instant. A clip that cannot be measured is listed with its reason, whatever it is;
the others go on.
"""

import logging
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from affekt.evaluation.cache import Cache, Scores
from affekt.evaluation.control_rows import OTHER, RESULT, TRUTH
from affekt.evaluation.controls import Reordered, controls_of
from affekt.evaluation.measures import Facts, Measure
from affekt.evaluation.networks import Tools, measures_of
from affekt.evaluation.pairing import Case
from affekt.evaluation.protocol import Protocol
from affekt.evaluation.video import Content, FaceFinder, Shown, StoredVideo, VideoFile, digest
from affekt.evaluation.video_shape import Form, refuse_unlike
from affekt.media.constants import FRAME_RATE
from affekt.media.corpus import Clip
from affekt.media.faces.detector import (
    Detection,
    Detector,
    DetectorDevice,
    DetectorName,
    detector_version,
    make_detector,
)
from affekt.media.video.container import is_disk_error
from affekt.media.video.video import probe
from affekt.runtime.parallel import parallel_map

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What every clip of an evaluation is measured with."""

    protocol: Protocol
    tools: Tools
    cache: Path  # folder of found landmarks and features
    with_controls: bool = True
    detector_device: DetectorDevice = "auto"  # of face_alignment


@dataclass(frozen=True)
class Task:
    """A clip, a clip of another speaker, and the keys under which each measure is kept."""

    case: Case
    other: Case | None
    keys: dict[str, str]
    truth: str = ""  # what the content of the truth is known by


@dataclass(frozen=True)
class Outcome:
    """What became of a clip: the rows of each measure, or why there are none."""

    task: Task
    found: dict[str, dict[str, Scores]]
    reason: str | None = None
    message: str = ""


class LazyDetector:
    """A detector that is loaded when the first face is looked for."""

    def __init__(self, name: DetectorName, device: DetectorDevice = "auto") -> None:
        self.name, self.device = name, device
        self.version = detector_version(name)

    @cached_property
    def _loaded(self) -> Detector:
        return make_detector(self.name, self.device)

    def detect(self, picture: NDArray[np.uint8]) -> Detection | None:
        """Return the face of a picture (H, W, 3) uint8 RGB, or None where there is none."""
        return self._loaded.detect(picture)


def plan(
    cases: Sequence[Case],
    truths: Sequence[Case],
    measures: Sequence[Measure],
    job: Job,
    finder: FaceFinder,
) -> Iterator[Task | Outcome]:
    """Yield what is to be done of every clip, or why nothing can be.

    Args:
        cases: the clips.
        truths: all true clips, of which the other speakers' are taken, with a result or without.
        measures: of the evaluation.
        job: how.
        finder: of faces.
    """
    keys: dict[str, str] = {}  # of the truths; another speaker's is needed more than once

    def key_of(case: Case | None) -> str:
        if case is None:
            return ""
        if case.id not in keys:
            keys[case.id] = opened(case.truth, finder).key
        return keys[case.id]

    common = (job.protocol.hash, finder.detector.version, str(job.with_controls))
    for case in cases:
        other = another_speaker(case, truths) if job.with_controls else None
        try:
            truth, others = key_of(case), key_of(other)
            result = opened(case.result, finder).key if case.result else ""
            facts = [measure.depends_on(_facts(case)) for measure in measures]
        except (OSError, ValueError) as error:
            yield _failed(Task(case, other, {}), error)
            continue
        task = Task(case, other, {}, truth)
        for measure, fact in zip(measures, facts, strict=True):
            shown = (truth, result, others if OTHER in measure.rows else "", fact)
            task.keys[measure.name] = digest(*shown, *common, measure.name, measure.identity)
        yield task


def measure_all(
    tasks: Sequence[Task],
    measures: Sequence[Measure],
    job: Job,
    cache: Cache,
    workers: int,
    detector: Detector | None = None,
) -> Iterator[Outcome]:
    """Yield every clip's outcome, in any order; what was measured goes into the cache.

    Args:
        tasks: of `plan`.
        measures: of the evaluation.
        job: how.
        cache: of figures.
        workers: processes; 0: in this one.
        detector: in place of the protocol's; needs workers = 0.
    """
    left = []
    for task in tasks:
        todo = {
            measure.name: task.keys[measure.name]
            for measure in measures
            if not (
                cache.has(task.case.id, measure.name, task.keys[measure.name])
                and measure.is_kept(task.keys[measure.name])
            )
        }
        if todo:
            left.append(Task(task.case, task.other, todo))
        else:
            yield Outcome(task, {})
    for outcome in parallel_map(_measure, left, workers, partial(_start, job, detector), _died):
        for name, rows in outcome.found.items():
            cache.add(outcome.task.case.id, name, outcome.task.keys[name], rows)
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
    truth = opened(case.truth, finder)
    rows: dict[str, Shown] = {TRUTH: truth}
    if job.with_controls:
        other = opened(task.other.truth, finder) if task.other else None
        rows = controls_of(truth, other, folder, finder)
    if case.result is None:
        return rows
    result = opened(case.result, finder)
    forms = form_of(case.result, result), form_of(case.truth, truth)
    refuse_unlike(case.id, *forms, job.protocol.length_slack)
    rows = {RESULT: result, **rows}
    shortest = min(result.length, truth.length)
    return {name: shortened(shown, shortest) for name, shown in rows.items()}


def shortened(shown: Shown, length: int) -> Shown:
    """Return the first pictures of a video, or all of it if it has no more."""
    return shown if shown.length == length else Reordered(shown, tuple(range(length)), shown)


def form_of(content: Path | Clip, shown: Shown) -> Form:
    """Return a video's frame rate as its file declares it, its size and its counted length."""
    rate = probe(content).fps if isinstance(content, Path) else float(FRAME_RATE)
    return Form(rate, shown.size, shown.length)


def another_speaker(case: Case, truths: Sequence[Case]) -> Case | None:
    """Return another speaker's clip, of the same emotion if there is one; None: one speaker.

    Which one depends on the two clips alone, not on what else is measured: the one whose id gives
    the least hash with the clip's own.
    """
    others = [each for each in truths if each.speaker != case.speaker]
    alike = [each for each in others if each.emotion == case.emotion] or others
    return min(alike, key=lambda each: digest(case.id, each.id), default=None)


def _facts(case: Case) -> Facts:
    return Facts(case.id, case.emotion, case.source)


_job: Job
_finder: FaceFinder
_measures: Sequence[Measure]


def _start(job: Job, detector: Detector | None) -> None:
    global _job, _finder, _measures
    cv2.setNumThreads(1)  # clips run side by side, by processes
    torch.set_num_threads(1)
    _job = job
    detector = detector or LazyDetector(job.protocol.landmarks.detector, job.detector_device)
    _finder = FaceFinder(detector, job.cache / "faces")
    _measures = measures_of(job.protocol, job.tools, job.cache, detector)


def _measure(task: Task) -> Outcome:
    try:
        with tempfile.TemporaryDirectory(prefix="affekt-") as folder:
            rows = rows_of(task, _job, _finder, Path(folder))
            found = {
                measure.name: measure.of(rows, _facts(task.case), task.keys[measure.name])
                for measure in _measures
                if measure.name in task.keys
            }
    except Exception as error:  # one clip's fault, whatever it is, must not stop the others
        if is_disk_error(error):
            raise
        if not isinstance(error, (OSError, ValueError)):
            log.warning("%s failed:\n%s", task.case.id, traceback.format_exc())
        return _failed(task, error)
    return Outcome(task, found)


def _failed(task: Task, error: Exception) -> Outcome:
    name = type(error).__name__
    text = str(error) if isinstance(error, (OSError, ValueError)) else f"{name}: {error}"
    return Outcome(task, {}, str(getattr(error, "reason", name)), text)


def _died(task: Task) -> Outcome:
    return Outcome(task, {}, "died", f"{task.case.id}: the process that measured it died")
