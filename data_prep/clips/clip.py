"""One clip from its source files to its folder: faces found, pictures cut, sound and MFCC beside.

A corpus without pictures gives a folder of sound and MFCC alone. The video is read once, as a
stream (affekt/media/faces/track.py).
"""

import typing as tp
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.audio.mfcc import MfccBackend, clip_mfcc
from affekt.media.audio.reader import AudioReader, fitted, read_audio, write_wav
from affekt.media.constants import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME
from affekt.media.faces.crop import Crop, cut
from affekt.media.faces.detector import Detector
from affekt.media.faces.track import FaceTrack, FramesConfig, track_face
from affekt.media.video.container import MediaError
from affekt.media.video.frames import frame_writer
from affekt.media.video.video import read_video
from affekt.runtime.files import save_npy, sha256, write_json
from data_prep.clips.layouts import Source

MIN_SOUND = 0.9  # share of the pictures that the sound must last for


@dataclass(frozen=True)
class AudioConfig:
    """How sound is read."""

    reader: AudioReader = "fast"
    # Of full scale, for a corpus without pictures: quiet ends are cut off. Copies in circulation
    # are padded with silence or cut to one length, and silence carries no emotion.
    trim_below: float = 0.0


@dataclass(frozen=True)
class MfccConfig:
    """How the MFCC are computed; the definition is that of affekt/media/audio/mfcc.py."""

    backend: MfccBackend = "fast"


@dataclass(frozen=True)
class ClipConfig:
    """What a clip's folder holds, and how it is computed."""

    frames: FramesConfig | None  # None: no pictures
    sound_required: bool = True
    audio: AudioConfig = field(default_factory=AudioConfig)
    mfcc: MfccConfig = field(default_factory=MfccConfig)


def cropped_frames(path: Path, crop: Crop) -> Iterator[Image]:
    """Yield the frames of a video at 25 fps as they would be stored, one at a time."""
    return (cut(picture, crop) for picture in read_video(path))


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
        MediaError: the source cannot be used; `reason` says why.
    """
    if config.frames is None or detector is None:
        return _prepare_sound(source, folder, config)
    samples = _sound(source, config)
    with frame_writer(folder, config.frames.store) as write:
        analysis = track_face(source.video, detector, config.frames, write)
    count = len(analysis.landmarks)
    if config.sound_required:
        _check_sound_lasts(samples, count, source)
    _write_analysis(folder, analysis)
    stored = folder / "audio.wav"
    write_wav(stored, fitted(samples, count * SAMPLES_PER_FRAME))
    mfcc = clip_mfcc(read_audio(stored), count, config.mfcc.backend)  # of what is stored
    save_npy(folder / "mfcc.npy", mfcc)
    return {"frames": count, "sha256": sha256(source.video), "filled": list(analysis.filled)}


def _prepare_sound(source: Source, folder: Path, config: ClipConfig) -> dict[str, tp.Any]:
    """Write a clip without pictures: its sound without quiet ends, up to a whole video frame."""
    samples = read_audio(source.video, config.audio.reader)
    loud = np.flatnonzero(np.abs(samples) > config.audio.trim_below)
    if not loud.size:
        text = f"{source.video}: nothing is louder than {config.audio.trim_below} of full scale"
        raise MediaError("silent", text)
    samples = samples[loud[0] : loud[-1] + 1]
    count = -(-len(samples) // SAMPLES_PER_FRAME)
    samples = fitted(samples, count * SAMPLES_PER_FRAME)
    write_wav(folder / "audio.wav", samples)
    save_npy(folder / "mfcc.npy", clip_mfcc(samples, count, config.mfcc.backend))
    return {"frames": count, "sha256": sha256(source.video), "filled": []}


def _sound(source: Source, config: ClipConfig) -> Array:
    """Return the clip's sound; nothing where it has none and needs none."""
    path, required = source.audio or source.video, config.sound_required
    try:
        samples = read_audio(path, config.audio.reader)
    except MediaError as error:
        if required or error.reason != "no_audio":
            raise
        return np.zeros(0, np.float32)
    if required and not samples.any():
        seconds = len(samples) / SAMPLE_RATE
        raise MediaError("silent", f"{path} holds {seconds:.2f} s of digital silence")
    return samples


def _check_sound_lasts(samples: Array, count: int, source: Source) -> None:
    sound, pictures = len(samples) / SAMPLE_RATE, count / FRAME_RATE
    if sound < MIN_SOUND * pictures:
        path = source.audio or source.video
        text = f"{path}: the sound ends after {sound:.2f} s, the pictures after {pictures:.2f} s"
        raise MediaError("audio_short", text)


def _write_analysis(folder: Path, analysis: FaceTrack) -> None:
    save_npy(folder / "landmarks.npy", analysis.landmarks)
    if analysis.landmarks3d is not None:
        save_npy(folder / "landmarks3d.npy", analysis.landmarks3d)
    crop = analysis.crop
    record = {"matrix": crop.matrix.tolist(), "size": crop.size, "source_size": crop.source_size}
    write_json(folder / "crop.json", record)
