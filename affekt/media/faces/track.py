"""Track the face of a video: its landmarks in every frame at 25 fps, and the clip's crop.

The video is read once, as a stream: memory does not grow with its length but for landmarks.

Frames without a face: a gap of up to 5 frames is filled by straight lines between its neighbours
(held at the ends of the clip), and the frames are named in the track; a longer one refuses the
clip. Ours: the papers drop or re-detect such clips by hand.

Letters: T frames at 25 fps, D coordinates of a point.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.constants import FRAME_RATE
from affekt.media.faces.crop import Crop, Profile, choose_crop, cut
from affekt.media.faces.detector import Detection, Detector
from affekt.media.video.container import MediaError
from affekt.media.video.frames import Kind
from affekt.media.video.video import read_video

MIN_FRAMES = 7  # the audio window of one frame spans seven (28 MFCC rows)
MAX_GAP = 5  # frames without a face that are filled in: 0.2 s, about a blink
MAX_JUMP = 0.5  # face widths a frame: faster than a head, so another face or a cut
MAX_CACHED = 256  # tracks that a FaceTracker keeps, some 100 kB each


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
class FaceTrack:
    """The faces of a video at 25 fps, and the crop that its frames are stored with."""

    landmarks: Array  # (T, 68, 2) float32, source pixels
    landmarks3d: Array | None  # (T, 68, 3) float32, where the detector gives depth
    crop: Crop
    filled: tuple[int, ...]  # frames whose face is interpolated


def track_face(
    path: Path,
    detector: Detector,
    config: FramesConfig | None = None,
    write: Callable[[Image], None] | None = None,
    count: int | None = None,
) -> FaceTrack:
    """Detect the face in every frame of a video, as a stream, and choose the clip's crop.

    Args:
        path: any video; it is read at constant 25 fps.
        detector: of affekt.media.faces.detector.
        config: profile and size of the crop.
        write: called with every cropped frame, in order (video/frames.py has writers).
        count: frames that are needed, from the first; None: all. At least `MIN_FRAMES` are tracked.
            Later ones are looked at only where the last face is missing, to fill its gap as in the
            track of the whole video.

    Raises:
        MediaError: unreadable, too_short, no_face, face_vanishes, face_jumps.
    """
    config = config or FramesConfig()
    end = None if count is None else max(count, MIN_FRAMES)
    faces: list[Detection | None] = []  # of the frames so far
    waiting: list[Image] = []  # frames before the first face, at most MAX_GAP
    crop: Crop | None = None
    # Stream: one detection a frame; the first face decides the crop, and frames before it wait.
    for picture in read_video(path):
        if end is not None and len(faces) >= end and faces[-1] is not None:
            break
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
    # Refuse what cannot be used, fill short gaps.
    _check_length(len(faces), path)
    if crop is None:
        raise MediaError("no_face", f"{path}: none of its {len(faces)} frames shows a face")
    landmarks, filled = _filled([face.points if face else None for face in faces])
    _check_jumps(landmarks, path)
    depths = [face.points3d if face else None for face in faces]
    has_depth = any(points is not None for points in depths)
    landmarks3d = _filled(depths)[0][:end] if has_depth else None
    wanted = tuple(frame for frame in filled if end is None or frame < end)
    return FaceTrack(landmarks[:end], landmarks3d, crop, wanted)


class FaceTracker:
    """`track_face` with one detector, cached: a frame of a video is looked at once.

    Faces are cached by path: no file may change while the tracker is in use.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self._tracks = functools.lru_cache(MAX_CACHED)(self._track)
        self._faces = functools.lru_cache(MAX_CACHED)(lambda path: _KnownFaces(detector))

    def track(
        self, path: Path, config: FramesConfig | None = None, count: int | None = None
    ) -> FaceTrack:
        """Return the face track of a video's first frames; see `track_face` for all of it."""
        return self._tracks(path, config or FramesConfig(), count)

    def _track(self, path: Path, config: FramesConfig, count: int | None) -> FaceTrack:
        faces = self._faces(path)
        faces.position = 0
        return track_face(path, faces, config, count=count)


class _KnownFaces:
    """A detector of one video's frames, given in their order; it looks at each frame once."""

    def __init__(self, detector: Detector) -> None:
        self.detector, self.version = detector, detector.version
        self.found: list[Detection | None] = []
        self.position = 0

    def detect(self, picture: Image) -> Detection | None:
        if self.position == len(self.found):
            self.found.append(self.detector.detect(picture))
        self.position += 1
        return self.found[self.position - 1]


def _filled(points: Sequence[Array | None]) -> tuple[Array, tuple[int, ...]]:
    """Return (T, 68, D) with the missing frames interpolated, and which those are."""
    detected = np.array([k for k, found in enumerate(points) if found is not None])
    values = np.stack([found for found in points if found is not None])
    frames = np.arange(len(points))
    if len(detected) == len(points):
        return values, ()
    flat = values.reshape(len(detected), -1)
    whole = np.stack([np.interp(frames, detected, column) for column in flat.T], axis=1)
    missing = tuple(int(k) for k in np.setdiff1d(frames, detected))
    return whole.reshape(-1, *values.shape[1:]).astype(np.float32), missing


def _check_gap(faces: Sequence[Detection | None], has_face: bool, path: Path) -> None:
    """Refuse a clip whose face is missing for too long at the end of `faces`."""
    gap = next((k for k, face in enumerate(reversed(faces)) if face), len(faces))
    if has_face and gap > MAX_GAP:
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
