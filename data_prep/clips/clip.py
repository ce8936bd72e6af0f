"""Prepare clips: from source files to folders, in several processes.

A folder holds what affekt/media/corpus.py reads; of a corpus without pictures, sound and MFCC
alone. Sound and video are read once each, as streams, and written as they come, so that memory does
not grow with a clip's length (but for mfcc.backend=python_speech_features and audio.reader=librosa,
which hold the sound). A clip that cannot be used ends in a `ClipOutcome` with a reason. Only what
concerns all clips stops the run: a full disk, a missing detector, the user.
"""

import contextlib
import functools
import logging
import math
import re
import traceback
import typing as tp
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import soundfile

from affekt.arrays import Array
from affekt.media.audio.mfcc import MfccBackend, mfcc_blocks
from affekt.media.audio.reader import BLOCK, AudioReader, fit_wav, sound_blocks, wav_writer
from affekt.media.constants import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME
from affekt.media.faces.detector import (
    Detection,
    Detector,
    DetectorDevice,
    DetectorName,
    make_detector,
)
from affekt.media.faces.track import FramesConfig, stream_face
from affekt.media.integrity import CLIP, described, write_sealed
from affekt.media.video.container import MediaError, limited_length
from affekt.media.video.frames import frame_writer
from affekt.media.video.video import keep_buffers
from affekt.runtime.files import (
    TEMPORARY,
    UNFINISHED,
    is_disk_error,
    npy_writer,
    replacing_folder,
    sha256,
    write_json,
)
from affekt.runtime.parallel import Loss, parallel_map, ray_map
from data_prep.clips.boxes import BoxedDetector, read_boxes
from data_prep.clips.layouts.config import Source
from data_prep.clips.words import read_words, shifted

log = logging.getLogger(__name__)

# Where a clip failed: what to look at first.
STAGES = {
    "no_audio": "sound",
    "silent": "sound",
    "audio_short": "sound",
    "no_face": "face",
    "face_vanishes": "face",
    "face_jumps": "face",
}
# The only files of a clip's folder that data_prep makes, and so removes.
OWN = re.compile(
    r"(audio\.wav|mfcc\.npy|landmarks(3d)?\.npy|frames\.(jpegs|npy|mp4)|flow\.(pngs|json)"
    rf"|(clip|crop)\.json|(pose|mel|expression)\.(npy|json)|{UNFINISHED.pattern})"
)
# To be raised with every change of the code after which a clip's arrays or frames are others: a
# corpus is of one version, as it is of one setting. The detector has a version of its own.
CONTENTS_VERSION = 1
AUDIO = "audio.wav"
MIN_SOUND = 0.9  # share of the pictures that the sound must last for


@dataclass(frozen=True)
class AudioConfig:
    """Reading of sound."""

    reader: AudioReader = "fast"
    # Of full scale, for a corpus without pictures: quiet ends are cut off. Copies in circulation
    # are padded with silence or cut to one length, and silence carries no emotion.
    trim_below: float = 0.0


@dataclass(frozen=True)
class MfccConfig:
    """Computation of the MFCC; the definition is that of affekt/media/audio/mfcc.py."""

    backend: MfccBackend = "fast"


@dataclass(frozen=True)
class ClipConfig:
    """Contents of a clip's folder, and the settings they are computed with."""

    frames: FramesConfig | None  # None: no pictures
    sound_required: bool = True
    audio: AudioConfig = field(default_factory=AudioConfig)
    mfcc: MfccConfig = field(default_factory=MfccConfig)


@dataclass(frozen=True)
class DetectorConfig:
    """The landmark detector, and the device it runs on."""

    name: DetectorName = "mediapipe"
    device: DetectorDevice = "cpu"  # of face_alignment; mediapipe runs on the CPU
    # Folder of face_alignment's files where $AFFEKT_WEIGHTS names none; null: ./weights.
    weights: Path | None = None


@dataclass(frozen=True)
class PrepareJob:
    """Settings shared by all clips of a corpus."""

    out: Path
    clip: ClipConfig
    detector: DetectorConfig
    settings: str = ""  # their SHA-256, which every clip names
    minutes: float = math.inf  # that a source may last


@dataclass(frozen=True)
class Engine:
    """What prepares the clips of a corpus."""

    workers: int = 0  # processes; 0: this one
    seconds: float | None = None  # that a clip may take in a worker process
    ray: str = ""  # address of a Ray cluster, instead of processes here


@dataclass(frozen=True)
class ClipOutcome:
    """Result of one source: prepared, or refused with a reason."""

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
    more = tuple(path for path in (source.boxes, source.alignment) if path is not None)
    for path in (source.video, source.audio, *more):
        if path is None or not path.is_file():
            found.append(None)
            continue
        status = path.stat()
        found.append([status.st_size, status.st_mtime_ns])
    return found


def remove_clip(folder: Path) -> None:
    """Remove what data_prep wrote of a clip, and its folder if that is empty then.

    Nothing is removed through a link: neither clips/, nor the speaker's folder, nor the clip's.
    """
    if not folder.is_dir() or any(path.is_symlink() for path in (folder, *folder.parents[:2])):
        return
    for path in folder.iterdir():
        if OWN.fullmatch(path.name) and not (path.is_dir() and not path.is_symlink()):
            path.unlink()
    with contextlib.suppress(OSError):  # somebody's own files stay
        folder.rmdir()


def remove_unfinished_clips(out: Path) -> None:
    """Remove the folders that killed runs left half-written; hold the lock of `out`.

    Only folders with a temporary name that hold nothing but a clip's files, in a prepared corpus.
    """
    if not (out / "corpus.json").is_file():
        return
    for left in out.glob(f"clips/*/{TEMPORARY}*/"):
        if not UNFINISHED.fullmatch(left.name):
            continue
        foreign = sorted(path.name for path in left.iterdir() if not OWN.fullmatch(path.name))
        if foreign:
            log.warning("%s stays: data_prep did not write %s", left, ", ".join(foreign[:5]))
        else:
            remove_clip(left)


def outcomes(
    sources: Sequence[Source], job: PrepareJob, engine: Engine | None = None
) -> Iterator[ClipOutcome]:
    """Prepare the sources and yield the result of each, in any order.

    Args:
        sources: what to prepare.
        job: how.
        engine: where; None: in this process.

    Raises:
        OSError: the disk is full or cannot be written.
        FileNotFoundError: the detector's weights are missing.
    """
    prepare = functools.partial(_prepare, job)
    engine = engine or Engine()
    if engine.ray:
        yield from ray_map(prepare, sources, engine.ray, _start, _lost, engine.seconds)
    else:
        yield from parallel_map(prepare, sources, engine.workers, _start, _lost, engine.seconds)


def _lost(source: Source, loss: Loss) -> ClipOutcome:
    if isinstance(loss, TimeoutError):
        text = f"{source.video}: {loss}; to try again: a larger clip_seconds, and retry=true"
        return ClipOutcome(source, "timeout", text)
    return ClipOutcome(source, "failed", f"{source.video}: {loss}")


def _start() -> None:
    cv2.setNumThreads(1)  # clips run side by side, by processes
    keep_buffers()
    _loaded_detector.cache_clear()


@functools.cache
def _loaded_detector(config: DetectorConfig) -> Detector:
    """Load the detector, once in every process; what is wrong with it concerns all clips."""
    return make_detector(config.name, config.device, config.weights)


def _prepare(job: PrepareJob, source: Source) -> ClipOutcome:
    detector = _loaded_detector(job.detector) if job.clip.frames is not None else None
    folder = clip_folder(job.out, source)
    known = stamp(source)
    try:
        with replacing_folder(folder, OWN) as temporary:
            with limited_length(job.minutes):
                record = prepare_clip(source, temporary, detector, job.clip)
            record |= {"stamp": known, "settings_sha256": job.settings}
            write_sealed(temporary / CLIP, record | {"files": described(temporary)})
    except MediaError as error:
        reason, message = str(error.reason), error.message
    except Exception as error:  # one clip's fault, whatever it is, must not stop the others
        if is_disk_error(error):
            raise
        log.warning("%s failed:\n%s", source.video, traceback.format_exc())
        reason, message = "failed", f"{source.video}: {type(error).__name__}: {error}"
    else:
        return ClipOutcome(source)
    # An older version of a source that is now bad goes; a source may be merely away (a drive that
    # is not mounted, a network that fails), and comes back as it was
    if reason not in ("missing", "failed"):
        remove_clip(folder)
    return ClipOutcome(source, reason, message)


def prepare_clip(
    source: Source, folder: Path, detector: Detector | None, config: ClipConfig
) -> dict[str, tp.Any]:
    """Write what a prepared clip holds into `folder`; return its frames, sha256 and filled frames.

    Args:
        source: the clip as published.
        folder: where it goes.
        detector: of faces; None with config.frames = None.
        config: what is written.

    Raises:
        MediaError: the source cannot be used; `reason` is the code of the cause.
    """
    if config.frames is None or detector is None:
        return _prepare_sound(source, folder, config)
    samples = _write_sound(source, folder, config)
    if source.boxes is not None:
        detector = BoxedDetector(detector, read_boxes(source.boxes), source.boxes)
    with frame_writer(folder, config.frames.store) as write, _landmark_writer(folder) as keep:
        found = stream_face(source.video, detector, keep, config.frames, write)
    count = found.frames
    if config.sound_required:
        _check_sound_lasts(samples, count, source)
    crop = found.crop
    record = {"matrix": crop.matrix.tolist(), "size": crop.size, "source_size": crop.source_size}
    write_json(folder / "crop.json", record)
    # The MFCC are those of the sound as it is stored
    fit_wav(folder / AUDIO, count * SAMPLES_PER_FRAME)
    with soundfile.SoundFile(folder / AUDIO) as sound:

        def read(start: int, stop: int) -> Array:
            sound.seek(start)
            return sound.read(stop - start, "float32")

        _write_mfcc(folder, read, count, config.mfcc.backend)
    return _record(source, count, found.filled)


def _prepare_sound(source: Source, folder: Path, config: ClipConfig) -> dict[str, tp.Any]:
    """Write a clip without pictures: its sound without quiet ends, up to a whole video frame."""
    # Decode it into a file, and find where it is loud
    floats = folder / f"{TEMPORARY}samples.f32"
    first, end, done = -1, 0, 0
    with floats.open("wb") as file:
        for samples in sound_blocks(source.video, config.audio.reader):
            file.write(samples.data)
            loud = np.flatnonzero(np.abs(samples) > config.audio.trim_below)
            if loud.size:
                first = done + int(loud[0]) if first < 0 else first
                end = done + int(loud[-1]) + 1
            done += len(samples)
    if first < 0:
        text = f"{source.video}: nothing is louder than {config.audio.trim_below} of full scale"
        raise MediaError("silent", text)

    def read(start: int, stop: int) -> Array:
        stop = min(stop, end - first)
        return np.fromfile(floats, np.float32, max(0, stop - start), offset=4 * (first + start))

    # Write what is between
    count = -(-(end - first) // SAMPLES_PER_FRAME)
    with wav_writer(folder / AUDIO) as append:
        for start in range(0, end - first, BLOCK):
            append(read(start, start + BLOCK))
    fit_wav(folder / AUDIO, count * SAMPLES_PER_FRAME)
    _write_mfcc(folder, read, count, config.mfcc.backend)
    floats.unlink()
    return _record(source, count, (), first / SAMPLE_RATE)


def _record(
    source: Source, frames: int, filled: Sequence[int], cut: float = 0.0
) -> dict[str, tp.Any]:
    """Return what clip.json says of a clip that begins `cut` seconds later than its source."""
    record = {"frames": frames, "sha256": sha256(source.video), "filled": list(filled)}
    words = read_words(source.alignment) if source.alignment else ()
    return record | ({"words": shifted(words, cut)} if words else {})


def _write_sound(source: Source, folder: Path, config: ClipConfig) -> int:
    """Write the clip's sound as it comes and return its samples: none where it needs none."""
    path, required = source.audio or source.video, config.sound_required
    count, silent = 0, True
    with wav_writer(folder / AUDIO) as append:
        try:
            for samples in sound_blocks(path, config.audio.reader):
                append(samples)
                count += len(samples)
                silent = silent and not samples.any()
        except MediaError as error:
            if required or error.reason != "no_audio":
                raise
    if required and silent:
        raise MediaError("silent", f"{path} holds {count / SAMPLE_RATE:.2f} s of digital silence")
    return count


def _check_sound_lasts(samples: int, count: int, source: Source) -> None:
    sound, pictures = samples / SAMPLE_RATE, count / FRAME_RATE
    if sound < MIN_SOUND * pictures:
        path = source.audio or source.video
        text = f"{path}: the sound ends after {sound:.2f} s, the pictures after {pictures:.2f} s"
        raise MediaError("audio_short", text)


@contextlib.contextmanager
def _landmark_writer(folder: Path) -> Iterator[Callable[[Detection], None]]:
    """Yield a function that appends a face to landmarks.npy, and its depth to landmarks3d.npy."""
    with contextlib.ExitStack() as stack:
        append = stack.enter_context(npy_writer(folder / "landmarks.npy"))
        append3d: list[Callable[[Array], None]] = []  # where the detector gives depth

        def keep(face: Detection) -> None:
            append(face.points[None])
            if face.points3d is not None:
                if not append3d:
                    append3d.append(stack.enter_context(npy_writer(folder / "landmarks3d.npy")))
                append3d[0](face.points3d[None])

        yield keep


def _write_mfcc(
    folder: Path, read: Callable[[int, int], Array], frames: int, backend: MfccBackend
) -> None:
    with npy_writer(folder / "mfcc.npy") as append:
        for rows in mfcc_blocks(read, frames, backend):
            append(rows)
