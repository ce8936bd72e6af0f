"""Prepare clips in several processes; whatever one clip does, the others are finished.

A clip that cannot be used ends in an `Outcome` with a reason. Only what concerns all clips stops
the run: a full disk, a missing detector, the user.
"""

import logging
import shutil
import traceback
import typing as tp
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2

from affekt.media.faces.detector import Detector, DetectorDevice, DetectorName, make_detector
from affekt.media.video.container import MediaError, is_disk_error
from affekt.runtime.files import replacing_folder, write_json
from affekt.runtime.parallel import parallel_map
from data_prep.clips.clip import ClipConfig, prepare_clip
from data_prep.clips.layouts import Source

log = logging.getLogger(__name__)

Row = dict[str, tp.Any]
# Where a clip failed: what to look at first.
STAGES = {
    "no_audio": "sound",
    "silent": "sound",
    "audio_short": "sound",
    "no_face": "face",
    "face_vanishes": "face",
    "face_jumps": "face",
}


@dataclass(frozen=True)
class DetectorConfig:
    """Which detector finds the landmarks, and where it runs."""

    name: DetectorName = "mediapipe"
    device: DetectorDevice = "auto"  # of face_alignment; mediapipe runs on the CPU
    # Folder of face_alignment's files where $AFFEKT_WEIGHTS names none; null: ./weights.
    weights: Path | None = None


@dataclass(frozen=True)
class Job:
    """What every clip of a corpus is prepared with."""

    out: Path
    clip: ClipConfig
    detector: DetectorConfig


@dataclass(frozen=True)
class Outcome:
    """What became of one source: prepared, or refused with a reason."""

    source: Source
    reason: str | None = None
    message: str = ""

    @property
    def stage(self) -> str:
        """The part of the preparation that refused the source."""
        return STAGES.get(self.reason or "", "read")


def clip_folder(out: Path, source: Source) -> Path:
    """Return where a clip lives in a prepared corpus."""
    return out / "clips" / source.speaker / source.id


def stamp(source: Source) -> list[list[int] | None]:
    """Return size and time of change of the source's files, by which a new version is known."""
    found: list[list[int] | None] = []
    for path in (source.video, source.audio):
        if path is None or not path.is_file():
            found.append(None)
            continue
        status = path.stat()
        found.append([status.st_size, status.st_mtime_ns])
    return found


def outcomes(sources: Sequence[Source], job: Job, workers: int) -> Iterator[Outcome]:
    """Prepare the sources and yield what became of each, in any order.

    Args:
        sources: what to prepare.
        job: how.
        workers: processes; 0: in this one.

    Raises:
        OSError: the disk is full or cannot be written.
        FileNotFoundError: the detector's weights are missing.
    """
    yield from parallel_map(_prepare, sources, workers, partial(_start, job), _died)


def _died(source: Source) -> Outcome:
    return Outcome(source, "failed", f"{source.video}: the process that read it died")


_job: Job
_detector: Detector | None


def _start(job: Job) -> None:
    global _job, _detector
    cv2.setNumThreads(1)  # clips run side by side, by processes
    _job, _detector = job, None


def _loaded_detector() -> Detector | None:
    """Load the detector, once in every process; what is wrong with it concerns all clips."""
    global _detector
    if _detector is None and _job.clip.frames is not None:
        config = _job.detector
        _detector = make_detector(config.name, config.device, config.weights)
    return _detector


def _prepare(source: Source) -> Outcome:
    detector = _loaded_detector()
    folder = clip_folder(_job.out, source)
    known = stamp(source)
    try:
        with replacing_folder(folder) as temporary:
            record = prepare_clip(source, temporary, detector, _job.clip)
            write_json(temporary / "clip.json", record | {"stamp": known})
    except MediaError as error:
        reason, message = str(error.reason), error.message
    except Exception as error:  # one clip's fault, whatever it is, must not stop the others
        if is_disk_error(error):
            raise
        log.warning("%s failed:\n%s", source.video, traceback.format_exc())
        reason, message = "failed", f"{source.video}: {type(error).__name__}: {error}"
    else:
        return Outcome(source)
    shutil.rmtree(folder, ignore_errors=True)  # an older version of a source that is now bad
    return Outcome(source, reason, message)
