"""Measure every clip of an evaluation once; what was measured before is read from the cache.

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

from affekt.evaluation.controls import OTHER, RESULT, TRUTH, Reordered, controls_of
from affekt.evaluation.measures import Cache, Measure, Scores
from affekt.evaluation.networks import MetricNetworks, measures_of
from affekt.evaluation.pairing import ClipPair
from affekt.evaluation.protocol import Protocol
from affekt.evaluation.video import FaceFinder, MismatchError, VideoView, digest, mismatch, opened
from affekt.media.faces.detector import (
    Detection,
    Detector,
    DetectorDevice,
    DetectorName,
    detector_version,
    make_detector,
)
from affekt.runtime.files import is_disk_error
from affekt.runtime.parallel import Loss, parallel_map

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What every clip of an evaluation is measured with."""

    protocol: Protocol
    networks: MetricNetworks
    cache: Path  # folder of found landmarks and features
    with_controls: bool = True
    detector_device: DetectorDevice = "cpu"  # of face_alignment


@dataclass(frozen=True)
class Task:
    """A clip, a clip of another speaker, and the cache key of each measure."""

    pair: ClipPair
    other: ClipPair | None
    keys: dict[str, str]
    truth: str = ""  # the key of the truth's content


@dataclass(frozen=True)
class Outcome:
    """The rows of each measure of a clip, or why there are none."""

    task: Task
    found: dict[str, dict[str, Scores]]
    reason: str | None = None
    message: str = ""


class LazyDetector:
    """A detector that is loaded when the first face is looked for."""

    def __init__(self, name: DetectorName, device: DetectorDevice = "cpu") -> None:
        self.name, self.device = name, device
        self.version = detector_version(name)

    @cached_property
    def _loaded(self) -> Detector:
        return make_detector(self.name, self.device)

    def detect(self, picture: NDArray[np.uint8]) -> Detection | None:
        """Return the face of a picture (H, W, 3) uint8 RGB, or None where there is none."""
        return self._loaded.detect(picture)


def plan(
    pairs: Sequence[ClipPair],
    truths: Sequence[ClipPair],
    measures: Sequence[Measure],
    job: Job,
    finder: FaceFinder,
) -> Iterator[Task | Outcome]:
    """Yield the task of every clip, or why there is none.

    Args:
        pairs: the clips.
        truths: all true clips, of which the other speakers' are taken, with a result or without.
        measures: of the evaluation.
        job: how.
        finder: of faces.
    """
    keys: dict[str, str] = {}  # of the truths; another speaker's is needed more than once

    def key_of(pair: ClipPair | None) -> str:
        if pair is None:
            return ""
        if pair.id not in keys:
            keys[pair.id] = opened(pair.truth, finder).key
        return keys[pair.id]

    # What every key depends on; then the content of each clip's videos
    common = (job.protocol.hash, finder.detector.version, str(job.with_controls))
    for pair in pairs:
        other = another_speaker(pair, truths) if job.with_controls else None
        try:
            truth, others = key_of(pair), key_of(other)
            result = opened(pair.result, finder).key if pair.result else ""
            metadata = [measure.depends_on(pair) for measure in measures]
        except (OSError, ValueError) as error:
            yield _failed(Task(pair, other, {}), error)
            continue
        # One key a measure: the result is cached under it
        task = Task(pair, other, {}, truth)
        for measure, fact in zip(measures, metadata, strict=True):
            content = (truth, result, others if OTHER in measure.rows else "", fact)
            task.keys[measure.name] = digest(*content, *common, measure.name, measure.identity)
        yield task


def measure_all(
    tasks: Sequence[Task],
    measures: Sequence[Measure],
    job: Job,
    cache: Cache,
    workers: int,
    seconds: float | None = None,
) -> Iterator[Outcome]:
    """Yield every clip's outcome, in any order; what was measured goes into the cache.

    Args:
        tasks: of `plan`.
        measures: of the evaluation.
        job: how.
        cache: of figures.
        workers: processes; 0: in this one.
        seconds: that a clip may take in a worker process.
    """
    # Clips whose figures are all cached are done; of the others, what is missing
    left = []
    for task in tasks:
        todo = {}
        for measure in measures:
            key = task.keys[measure.name]
            if not (cache.has(task.pair.id, measure.name, key) and measure.is_kept(key)):
                todo[measure.name] = key
        if todo:
            left.append(Task(task.pair, task.other, todo))
        else:
            yield Outcome(task, {})
    # The rest in worker processes
    for outcome in parallel_map(_measure, left, workers, partial(_start, job), _lost, seconds):
        for name, rows in outcome.found.items():
            cache.add(outcome.task.pair.id, name, outcome.task.keys[name], rows)
        yield outcome


def rows_of(task: Task, job: Job, finder: FaceFinder, folder: Path) -> dict[str, VideoView]:
    """Return the rows of a clip: the result, the truth, and the controls.

    Raises:
        MediaError: a file cannot be read.
        ValueError: other frame rate, size or length.
    """
    pair = task.pair
    truth = opened(pair.truth, finder)
    rows: dict[str, VideoView] = {TRUTH: truth}
    if job.with_controls:
        other = opened(task.other.truth, finder) if task.other else None
        rows = controls_of(truth, other, folder)
    if pair.result is None:
        return rows
    result = opened(pair.result, finder)
    for reason, sentence in mismatch(result.shape, truth.shape, job.protocol.length_slack).items():
        raise MismatchError(reason, f"{pair.id}: {sentence}")
    rows = {RESULT: result, **rows}
    shortest = min(result.length, truth.length)
    return {name: shortened(view, shortest) for name, view in rows.items()}


def shortened(view: VideoView, length: int) -> VideoView:
    """Return the first frames of a video, or all of it if it has no more."""
    return view if view.length == length else Reordered(view, tuple(range(length)), view)


def another_speaker(pair: ClipPair, truths: Sequence[ClipPair]) -> ClipPair | None:
    """Return another speaker's clip, of the same emotion if there is one; None: one speaker.

    Which one depends on the two clips alone, not on what else is measured: the one whose id gives
    the least hash with the clip's own.
    """
    others = [each for each in truths if each.speaker != pair.speaker]
    alike = [each for each in others if each.emotion == pair.emotion] or others
    return min(alike, key=lambda each: digest(pair.id, each.id), default=None)


_job: Job
_finder: FaceFinder
_measures: Sequence[Measure]


def _start(job: Job) -> None:
    global _job, _finder, _measures
    cv2.setNumThreads(1)  # clips run side by side, by processes
    torch.set_num_threads(1)
    _job = job
    detector = LazyDetector(job.protocol.landmarks.detector, job.detector_device)
    _finder = FaceFinder(detector, job.cache / "faces")
    _measures = measures_of(job.protocol, job.networks, job.cache, detector)


def _measure(task: Task) -> Outcome:
    try:
        with tempfile.TemporaryDirectory(prefix="affekt-") as folder:
            rows = rows_of(task, _job, _finder, Path(folder))
            found = {
                measure.name: measure.of(rows, task.pair, task.keys[measure.name])
                for measure in _measures
                if measure.name in task.keys
            }
    except Exception as error:  # one clip's fault, whatever it is, must not stop the others
        if is_disk_error(error):
            raise
        if not isinstance(error, (OSError, ValueError)):
            log.warning("%s failed:\n%s", task.pair.id, traceback.format_exc())
        return _failed(task, error)
    return Outcome(task, found)


def _failed(task: Task, error: Exception) -> Outcome:
    name = type(error).__name__
    text = str(error) if isinstance(error, (OSError, ValueError)) else f"{name}: {error}"
    return Outcome(task, {}, str(getattr(error, "reason", name)), text)


def _lost(task: Task, loss: Loss) -> Outcome:
    reason = "timeout" if isinstance(loss, TimeoutError) else "died"
    return Outcome(task, {}, reason, f"{task.pair.id}: {loss}")
