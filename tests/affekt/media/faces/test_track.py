"""Tracking the first frames of a video: none is looked at in vain, and none twice."""

from pathlib import Path

import numpy as np
import pytest

from affekt.media.faces import track as track_module
from affekt.media.faces.detector import Detection
from affekt.media.faces.track import FaceTracker, FramesConfig, track_face
from affekt.media.video.container import MediaError

LENGTH = 30
VIDEO = Path("a.mp4")


class SeenFaces:
    """A detector that knows frames by their grey level, and lists those it was given."""

    version = "seen"

    def __init__(self, missing=()):
        self.missing, self.seen = missing, []

    def detect(self, picture):
        number = int(picture[0, 0, 0])
        self.seen.append(number)
        if number in self.missing:
            return None
        points = np.random.default_rng(5).uniform(20, 44, (68, 2)) + 0.1 * number**1.3
        depth = np.full((68, 1), number)
        return Detection(points.astype(np.float32), np.hstack([points, depth]).astype(np.float32))


@pytest.fixture(autouse=True)
def video(monkeypatch):
    frames = [np.full((64, 64, 3), number, np.uint8) for number in range(LENGTH)]
    monkeypatch.setattr(track_module, "read_video", lambda _path: iter(frames))


def tracked(missing=(), count=None):
    detector = SeenFaces(missing)
    return track_face(VIDEO, detector, count=count), detector.seen


def assert_is_start_of(part, whole):
    count = len(part.landmarks)
    np.testing.assert_array_equal(part.landmarks, whole.landmarks[:count])
    np.testing.assert_array_equal(part.landmarks3d, whole.landmarks3d[:count])
    np.testing.assert_array_equal(part.crop.matrix, whole.crop.matrix)
    assert part.filled == tuple(frame for frame in whole.filled if frame < count)


@pytest.mark.parametrize(
    ("count", "missing", "last"),
    [
        (9, (), 8),
        (9, (0, 1, 5), 8),
        (9, (7, 8, 9), 10),  # the gap's other end is needed
        (9, (9, 10), 8),
        (3, (), 6),  # a track has 7 frames at least
        (LENGTH, (), LENGTH - 1),
        (LENGTH + 5, (28, 29), LENGTH - 1),
    ],
)
def test_the_first_frames_are_those_of_the_whole_track_and_no_more_are_seen(count, missing, last):
    whole, _ = tracked(missing)
    part, seen = tracked(missing, count)
    assert seen == list(range(last + 1))
    assert len(part.landmarks) == min(max(count, 7), LENGTH)
    assert_is_start_of(part, whole)


def test_a_face_may_vanish_after_the_frames_that_are_needed_only():
    gone = range(12, 20)
    assert len(tracked(gone, 12)[0].landmarks) == 12
    for count in (13, None):
        with pytest.raises(MediaError, match="no face from frame 12"):
            tracked(gone, count)


def test_a_tracker_looks_at_a_frame_once_whatever_is_asked_of_it():
    detector = SeenFaces((8, 9))
    tracker = FaceTracker(detector)
    counts = (9, 20, 12, None, 9)
    parts = [tracker.track(VIDEO, FramesConfig(size=size), n) for n in counts for size in (64, 128)]
    assert detector.seen == list(range(LENGTH))
    whole, _ = tracked((8, 9))
    for part, count in zip(parts[::2], counts, strict=True):
        assert len(part.landmarks) == (count or LENGTH)
        np.testing.assert_array_equal(part.landmarks, whole.landmarks[: len(part.landmarks)])
    assert [part.crop.size[0] for part in parts[:2]] == [64, 128]
