"""One clip from its source files to its folder: faces found, pictures cut, sound and MFCC beside.

The video is read once, as a stream (affekt/media/faces/track.py).
"""

import typing as tp
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.audio.mfcc import clip_mfcc
from affekt.media.audio.reader import fitted, read_audio, write_wav
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


def cropped_frames(path: Path, crop: Crop) -> Iterator[Image]:
    """Yield the frames of a video at 25 fps as they would be stored, one at a time."""
    return (cut(picture, crop) for picture in read_video(path))


def prepare_clip(
    source: Source, folder: Path, detector: Detector, config: FramesConfig, sound_required: bool
) -> dict[str, tp.Any]:
    """Write what a prepared clip holds into `folder`; return its frames, sha256 and filled frames.

    Raises:
        MediaError: the source cannot be used; `reason` says why.
    """
    samples = _sound(source, sound_required)
    with frame_writer(folder, config.store) as write:
        analysis = track_face(source.video, detector, config, write)
    count = len(analysis.landmarks)
    if sound_required:
        _check_sound_lasts(samples, count, source)
    _write_analysis(folder, analysis)
    stored = folder / "audio.wav"
    write_wav(stored, fitted(samples, count * SAMPLES_PER_FRAME))
    save_npy(folder / "mfcc.npy", clip_mfcc(read_audio(stored), count))  # of what is stored
    return {"frames": count, "sha256": sha256(source.video), "filled": list(analysis.filled)}


def _sound(source: Source, required: bool) -> Array:
    """Return the clip's sound; nothing where it has none and needs none."""
    path = source.audio or source.video
    try:
        samples = read_audio(path)
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
