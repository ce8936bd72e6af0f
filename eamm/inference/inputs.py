"""Driving videos and emotion sources of EAMM and FOMM, cut as frame profile `eamm` stores them.

Letters: S pixels a side of what is cut from a picture.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from affekt.arrays import Array, Image
from affekt.media.faces.crop import Crop, centred_square
from affekt.media.faces.detector import Detector
from affekt.media.faces.portrait import Framing, cut_whole, no_face, template_crop, warn_of_others
from affekt.media.video.video import read_video
from eamm.fomm.transfer import pose_distance


@dataclass(frozen=True, eq=False)
class DrivingVideo:
    """A video whose motion is taken."""

    path: Path
    crop: Crop
    initial: Image | None = None  # (S, S, 3), the frame that resembles the source most

    def frames(self) -> Iterator[Image]:
        """Yield the frames at 25 fps as the networks take them, (S, S, 3), one at a time."""
        return (cut_whole(picture, self.crop) for picture in read_video(self.path))


def load_driving(
    path: Path, size: int, detector: Detector, framing: Framing, like: Array | None = None
) -> DrivingVideo:
    """Find the part of a driving video that is followed: that around its first face.

    Args:
        path: any video.
        size: S.
        detector: finds the face.
        framing: `none` for a video that is cut already: its largest centred square.
        like: landmarks (68, 2) of the source; the frame that resembles them most is looked for,
            which takes as long as a face in every frame.

    Raises:
        MediaError: no readable video, or no face where one is needed.
    """
    crop = _first_crop(path, size, detector, framing)
    return DrivingVideo(path, crop, None if like is None else _best(path, crop, detector, like))


def align_per_frame(path: Path, landmarks: Array, size: int) -> Iterator[Image]:
    """Yield a video's frames, (S, S, 3), each cut on its own: the face stays on the template.

    Args:
        path: any video.
        landmarks: (N, 68, 2) of its first N frames at 25 fps, pixels of the video.
        size: S.
    """
    frames = itertools.islice(read_video(path), len(landmarks))
    for picture, points in zip(frames, landmarks, strict=True):
        yield cut_whole(picture, template_crop(picture, points, size))


def _first_crop(path: Path, size: int, detector: Detector, framing: Framing) -> Crop:
    for picture in read_video(path):
        if framing == "none":
            return centred_square(picture.shape[1], picture.shape[0], size)
        face = detector.detect(picture)
        if face is not None:
            warn_of_others(path, picture, face, detector)
            return template_crop(picture, face.points, size)
    raise no_face(path)


def _best(path: Path, crop: Crop, detector: Detector, like: Array) -> Image:
    least, best = float("inf"), None
    for picture in read_video(path):
        face = detector.detect(picture)
        distance = float("inf") if face is None else pose_distance(like, face.points)
        if distance < least:
            least, best = distance, cut_whole(picture, crop)
    if best is None:
        raise no_face(path)
    return best
