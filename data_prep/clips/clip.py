"""One clip from its source files to its folder: faces found, pictures cut, sound and MFCC beside.

The video is read once, as a stream: memory does not grow with its length but for landmarks.
`analyse_video` alone serves generate.py, which needs the landmarks and the crop of a target video.

Frames without a face: a gap of up to 5 frames is filled by straight lines between its neighbours
(held at the ends of the clip), and the frames are named in clip.json; a longer one refuses the
clip. Ours: the papers drop or re-detect such clips by hand.
"""

import typing as tp
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.audio.mfcc import clip_mfcc
from affekt.media.audio.reader import fitted, read_audio, write_wav
from affekt.media.constants import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME
from affekt.media.faces.crop import Crop, Profile, choose_crop, cut
from affekt.media.faces.detector import Detection, Detector
from affekt.media.video.container import MediaError
from affekt.media.video.frames import Kind, frame_writer
from affekt.media.video.video import read_video
from affekt.runtime.files import save_npy, sha256, write_json
from data_prep.clips.layouts import Source

MIN_FRAMES = 7  # the audio window of one frame spans seven (28 MFCC rows)
MAX_GAP = 5  # frames without a face that are filled in: 0.2 s, about a blink
MAX_JUMP = 0.5  # face widths a frame: faster than a head, so another face or a cut
MIN_SOUND = 0.9  # share of the pictures that the sound must last for


@dataclass(frozen=True)
class FramesConfig:
    """Which part of the pictures is stored, and how."""

    profile: Profile = "portrait"
    size: int = 256  # pixels a side
    store: Kind = "jpeg"

    def __post_init__(self) -> None:
        if self.size < 16 or self.size % 2:
            raise ValueError(f"frames.size is {self.size}; wanted an even number of pixels, >= 16")


@dataclass(frozen=True)
class Analysis:
    """The faces of a video at 25 fps, and the crop that its frames are stored with."""

    landmarks: Array  # (T, 68, 2) float32, source pixels
    landmarks3d: Array | None  # (T, 68, 3) float32, where the detector gives depth
    crop: Crop
    filled: tuple[int, ...]  # frames whose face is interpolated


def analyse_video(
    path: Path,
    detector: Detector,
    config: FramesConfig | None = None,
    write: Callable[[Image], None] | None = None,
) -> Analysis:
    """Find the face in every frame of a video, as a stream, and choose the clip's crop.

    Args:
        path: any video; it is read at constant 25 fps.
        detector: of affekt.media.faces.detector.
        config: profile and size of the crop.
        write: called with every cropped frame, in order (a affekt.media.video.frames.frame_writer).

    Raises:
        MediaError: unreadable, too_short, no_face, face_vanishes, face_jumps.
    """
    config = config or FramesConfig()
    faces: list[Detection | None] = []
    waiting: list[Image] = []  # frames before the first face, at most MAX_GAP
    crop: Crop | None = None
    for picture in read_video(path):
        face = detector.detect(picture)
        faces.append(face)
        if face is None:
            _check_gap(faces, crop is not None, path)
        elif crop is None:
            _check_gap(faces[:-1], len(faces) > 1 + MAX_GAP, path)
            size = (picture.shape[1], picture.shape[0])
            crop = choose_crop(config.profile, face.points, size, config.size)
        if write is None or len(waiting) > MAX_GAP:
            continue
        waiting.append(picture)
        if crop is not None:
            for held in waiting:
                write(cut(held, crop))
            waiting.clear()
    _check_length(len(faces), path)
    if crop is None:
        raise MediaError("no_face", f"{path}: none of its {len(faces)} frames shows a face")
    landmarks, filled = _filled([face.points if face else None for face in faces])
    _check_jumps(landmarks, path)
    depths = [face.points3d if face else None for face in faces]
    has_depth = any(points is not None for points in depths)
    return Analysis(landmarks, _filled(depths)[0] if has_depth else None, crop, filled)


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
        analysis = analyse_video(source.video, detector, config, write)
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


def _write_analysis(folder: Path, analysis: Analysis) -> None:
    save_npy(folder / "landmarks.npy", analysis.landmarks)
    if analysis.landmarks3d is not None:
        save_npy(folder / "landmarks3d.npy", analysis.landmarks3d)
    crop = analysis.crop
    record = {"matrix": crop.matrix.tolist(), "size": crop.size, "source_size": crop.source_size}
    write_json(folder / "crop.json", record)


def _filled(points: Sequence[Array | None]) -> tuple[Array, tuple[int, ...]]:
    """Return (T, 68, D) with the missing frames interpolated, and which those are."""
    known = np.array([k for k, found in enumerate(points) if found is not None])
    values = np.stack([found for found in points if found is not None])
    frames = np.arange(len(points))
    if len(known) == len(points):
        return values, ()
    flat = values.reshape(len(known), -1)
    whole = np.stack([np.interp(frames, known, column) for column in flat.T], axis=1)
    missing = tuple(int(k) for k in np.setdiff1d(frames, known))
    return whole.reshape(-1, *values.shape[1:]).astype(np.float32), missing


def _check_gap(faces: Sequence[Detection | None], seen: bool, path: Path) -> None:
    """Refuse a clip whose face is missing for too long at the end of `faces`."""
    gap = next((k for k, face in enumerate(reversed(faces)) if face), len(faces))
    if seen and gap > MAX_GAP:
        first, last = len(faces) - gap, len(faces) - 1
        raise MediaError(
            "face_vanishes",
            f"{path}: no face from frame {first} to {last} at least ({first / FRAME_RATE:.2f} s); "
            f"gaps of up to {MAX_GAP} frames are filled",
        )


def _check_length(count: int, path: Path) -> None:
    if count < MIN_FRAMES:
        seconds = count / FRAME_RATE
        text = f"{path} has {count} frames at 25 fps ({seconds:.2f} s); a clip needs {MIN_FRAMES}"
        raise MediaError("too_short", text)


def _check_jumps(landmarks: Array, path: Path) -> None:
    """Refuse a clip whose face changes place between two frames: a cut, or someone else."""
    steps = np.linalg.norm(np.diff(landmarks, axis=0), axis=2).mean(axis=1)
    widths = np.ptp(landmarks[..., 0], axis=1)
    jumps = np.flatnonzero(steps > MAX_JUMP * np.minimum(widths[1:], widths[:-1]))
    if jumps.size:
        frame = int(jumps[0]) + 1
        raise MediaError(
            "face_jumps",
            f"{path}: at frame {frame} the face moves {steps[frame - 1]:.0f} px "
            f"({widths[frame]:.0f} px wide): a cut, or another face",
        )
