"""Track the face of a video: its landmarks in every frame at 25 fps, and the clip's crop.

The video is read once, as a stream: `stream_face` hands frames and landmarks on as they come, and
its memory does not grow with the length; `track_face` keeps the landmarks.

Frames without a face: a gap of up to 5 frames is filled by straight lines between its neighbours
(held at the ends of the clip), and the frames are named in the track; a longer one refuses the
clip. Ours: the papers drop or re-detect such clips by hand.

Letters: T frames at 25 fps, D coordinates of a point.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
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


@dataclass(frozen=True)
class StreamedFace:
    """What a stream of faces leaves when its landmarks are handed on."""

    crop: Crop
    frames: int  # T
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
    end = None if count is None else max(count, MIN_FRAMES)
    faces: list[Detection] = []
    found = stream_face(path, detector, faces.append, config or FramesConfig(), write, end)
    depths = [face.points3d for face in faces[:end] if face.points3d is not None]
    landmarks = np.stack([face.points for face in faces[:end]])
    wanted = tuple(frame for frame in found.filled if end is None or frame < end)
    return FaceTrack(landmarks, np.stack(depths) if depths else None, found.crop, wanted)


def stream_face(
    path: Path,
    detector: Detector,
    keep: Callable[[Detection], None],
    config: FramesConfig,
    write: Callable[[Image], None] | None = None,
    end: int | None = None,
) -> StreamedFace:
    """Detect the face in every frame of a video and hand it on; short gaps are filled.

    Args:
        path: any video; it is read at constant 25 fps.
        detector: of affekt.media.faces.detector.
        keep: called with the face of every frame, in order, at most MAX_GAP + 1 frames late.
        config: profile and size of the crop.
        write: called with every cropped frame, in order, at most MAX_GAP + 1 frames late.
        end: frames, at least MIN_FRAMES, after which it is left at the next face; None: all.

    Raises:
        MediaError: as `track_face`.
    """
    faces = _FaceStream(path, keep)
    waiting: list[Image] = []  # frames before the first face, at most MAX_GAP
    crop: Crop | None = None
    # Stream: one detection a frame; the first face decides the crop, and frames before it wait.
    for picture in read_video(path):
        if end is not None and faces.count >= end and not faces.gap:
            break
        face = detector.detect(picture)
        faces.add(face)
        if crop is None and face is not None:
            size = (picture.shape[1], picture.shape[0])
            crop = choose_crop(config.profile, face.points, size, config.size)
        if write is None or len(waiting) > MAX_GAP:
            continue
        waiting.append(picture)
        if crop is not None:
            for held in waiting:
                write(cut(held, crop))
            waiting.clear()
    faces.close()
    assert crop is not None  # else `close` refused the clip
    return StreamedFace(crop, faces.count, tuple(faces.filled))


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


class _FaceStream:
    """Fills short gaps in a stream of faces, hands them on, and refuses what cannot be used."""

    def __init__(self, path: Path, keep: Callable[[Detection], None]) -> None:
        self.path, self.keep = path, keep
        self.count = 0  # frames so far
        self.filled: list[int] = []  # frames without a face, but for those at the end
        self.gap = 0  # frames without a face at the end so far
        self._last: Detection | None = None  # the last face handed on
        self._handed = 0  # how many of them
        self._jump: MediaError | None = None  # the first

    def add(self, face: Detection | None) -> None:
        """Add the next frame.

        Raises:
            MediaError: face_vanishes.
        """
        self.count += 1
        if face is None:
            self.gap += 1
            if self._last is not None:
                self._check_gap(self.count)
            return
        self._check_gap(self.count - 1)
        missing = range(self.count - 1 - self.gap, self.count - 1)
        self.filled += missing
        for between in _between(self._last, face, len(missing)):
            self._hand_on(between)
        self._hand_on(face)
        self.gap = 0

    def close(self) -> None:
        """End the stream.

        Raises:
            MediaError: too_short, no_face, face_jumps.
        """
        _check_length(self.count, self.path)
        if self._last is None:
            text = f"{self.path}: none of its {self.count} frames shows a face"
            raise MediaError("no_face", text)
        self.filled += range(self.count - self.gap, self.count)
        for _ in range(self.gap):
            self._hand_on(self._last)
        if self._jump is not None:
            raise self._jump

    def _hand_on(self, face: Detection) -> None:
        if self._last is not None and self._jump is None:
            self._jump = self._jump_to(face, self._last)
        self._last, self._handed = face, self._handed + 1
        self.keep(face)

    def _check_gap(self, count: int) -> None:
        """Refuse a clip whose face is missing for too long at the end of `count` frames."""
        if self.gap > MAX_GAP:
            first, last = count - self.gap, count - 1
            raise MediaError(
                "face_vanishes",
                f"{self.path}: no face from frame {first} to {last} at least "
                f"({first / FRAME_RATE:.2f} s); gaps of up to {MAX_GAP} frames are filled",
            )

    def _jump_to(self, face: Detection, last: Detection) -> MediaError | None:
        """Return why a face cannot follow another: it changes place, a cut or someone else."""
        step = np.linalg.norm(face.points - last.points, axis=1).mean()
        widths = [np.ptp(each.points[:, 0]) for each in (face, last)]
        if not step > MAX_JUMP * min(widths):
            return None
        return MediaError(
            "face_jumps",
            f"{self.path}: at frame {self._handed} the face moves {step:.0f} px "
            f"({widths[0]:.0f} px wide): a cut, or another face",
        )


def _between(before: Detection | None, after: Detection, count: int) -> Iterator[Detection]:
    """Yield `count` faces on straight lines between two; without the first, `after`."""
    if before is None or not count:
        yield from [after] * count
        return
    points = _lines(before.points, after.points, count)
    depths: Sequence[Array | None] = [None] * count
    if before.points3d is not None and after.points3d is not None:
        depths = _lines(before.points3d, after.points3d, count)
    yield from map(Detection, points, depths)


def _lines(before: Array, after: Array, count: int) -> list[Array]:
    """Return `count` arrays evenly spread between two of the same shape."""
    ends = np.stack([before, after]).reshape(2, -1)
    places, at = np.arange(1, count + 1), [0, count + 1]
    values = np.stack([np.interp(places, at, column) for column in ends.T], axis=1)
    return list(values.reshape(count, *before.shape).astype(np.float32))


def _check_length(count: int, path: Path) -> None:
    if count < MIN_FRAMES:
        seconds = count / FRAME_RATE
        text = f"{path} has {count} frames at 25 fps ({seconds:.2f} s); a clip needs {MIN_FRAMES}"
        raise MediaError("too_short", text)
