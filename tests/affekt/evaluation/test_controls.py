"""The videos that are no method's: each is what its name says."""

from pathlib import Path

import numpy as np
import pytest

from affekt.evaluation.controls import (
    FLOOR,
    FROZEN,
    LATE,
    OTHER,
    RE_ENCODED,
    TRUTH,
    controls_of,
    mean_faces,
)
from affekt.evaluation.measure import another_speaker
from affekt.evaluation.pairing import ClipPair
from affekt.evaluation.video import FaceFinder, VideoFile
from affekt.media.faces.geometry import align_2d
from affekt.media.faces.points import RIGID
from affekt.media.video.video import read_frames, write_video
from tests.corpora.drawn_clips import BarDetector, draw, mouth


@pytest.fixture
def finder(tmp_path):
    return FaceFinder(BarDetector(), tmp_path / "faces")


@pytest.fixture
def truth(tmp_path, finder):
    write_video(tmp_path / "truth.mp4", draw(mouth(0)), np.zeros(12 * 640, np.float32))
    return VideoFile(tmp_path / "truth.mp4", finder)


@pytest.fixture
def other(tmp_path, finder):
    write_video(tmp_path / "other.mp4", draw(mouth(1, 5), 1), np.full(5 * 640, 0.1, np.float32))
    return VideoFile(tmp_path / "other.mp4", finder)


def pictures(shown):
    return np.stack(list(shown.frames()))


def test_late_shows_every_picture_once_more_and_frozen_the_first(truth, other, tmp_path):
    rows = controls_of(truth, other, tmp_path)
    true = read_frames(truth.path)
    assert (pictures(rows[LATE]) == true[[0, *range(11)]]).all()
    assert (pictures(rows[FROZEN]) == true[[0] * 12]).all()
    assert (rows[LATE].landmarks() == truth.landmarks()[[0, *range(11)]]).all()
    assert (rows[FROZEN].landmarks() == truth.landmarks()[:1]).all()
    assert all(rows[name].length == 12 for name in rows)


def test_another_speaker_starts_again_under_the_truths_sound(truth, other, tmp_path):
    row = controls_of(truth, other, tmp_path)[OTHER]
    order = [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert (pictures(row) == read_frames(other.path)[order]).all()
    assert (row.landmarks() == other.landmarks()[order]).all()
    assert (row.sound() == truth.sound()).all()
    assert OTHER not in controls_of(truth, None, tmp_path)


def test_copies_are_of_the_truths_size_and_the_finer_is_the_nearer(truth, tmp_path):
    rows = controls_of(truth, None, tmp_path)
    true = pictures(rows[TRUTH]).astype(float)
    coarse, fine = (np.abs(pictures(rows[name]) - true).mean() for name in (RE_ENCODED, FLOOR))
    assert 0 < fine < coarse < 10


def test_the_mean_face_stands_still_after_alignment_wherever_the_head_is():
    rng = np.random.default_rng(0)
    face = rng.normal(0, 40, (68, 2)) + 128
    turn = np.array([[0.9, -0.2], [0.2, 0.9]])
    first = np.stack([face, face + 7, face @ turn.T * 1.3])
    changed = face + rng.normal(0, 4, face.shape)
    changed[list(RIGID)] = face[list(RIGID)]  # a mean of faces held differently shifts a little
    second = np.stack([changed, np.full((68, 2), np.nan)])
    means = mean_faces([first, second])
    assert np.isnan(means[1][1]).all()
    still = np.concatenate([align_2d(means[0]), align_2d(means[1][:1])])
    assert np.ptp(still, axis=0).max() < 1e-9
    everything = np.concatenate([align_2d(first), align_2d(second[:1])])
    assert still[0] == pytest.approx(everything.mean(axis=0), abs=1e-6)
    # put on the head of the truth: where the truth moved by 7 pixels, so does the mean
    assert means[0][1] - means[0][0] == pytest.approx(np.full((68, 2), 7.0))


def test_landmarks_are_found_once_and_kept(truth, tmp_path, monkeypatch):
    first = truth.landmarks()
    monkeypatch.setattr(BarDetector, "seen", 0)
    again = VideoFile(truth.path, FaceFinder(BarDetector(), tmp_path / "faces"))
    assert (again.landmarks() == first).all()
    assert BarDetector.seen == 0


def test_kept_landmarks_with_a_flipped_byte_are_found_anew(truth, tmp_path, monkeypatch, caplog):
    first = truth.landmarks()
    (path,) = (tmp_path / "faces").rglob("*.npz")
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    monkeypatch.setattr(BarDetector, "seen", 0)
    again = VideoFile(truth.path, FaceFinder(BarDetector(), tmp_path / "faces"))
    assert (again.landmarks() == first).all()
    assert BarDetector.seen == truth.length
    assert "damaged" in caplog.text


def test_another_speaker_depends_on_the_two_clips_alone_and_is_not_always_the_same():
    cases = [ClipPair(f"{who}{k}", Path(), None, who, ("sad", "happy")[k % 2])
             for who in "abc" for k in range(8)]  # fmt: skip
    partners = {case.id: another_speaker(case, cases) for case in cases}
    assert all(partners[case.id].speaker != case.speaker for case in cases)
    assert all(partners[case.id].emotion == case.emotion for case in cases)
    assert len({other.id for other in partners.values()}) > 6
    for case in cases:
        for gone in cases:
            if gone not in (case, partners[case.id]):
                left = [each for each in cases if each is not gone]
                assert another_speaker(case, left) == partners[case.id]
    only = [case for case in cases if case.speaker == "a" or case.emotion == "sad"]
    assert another_speaker(ClipPair("a1", Path(), None, "a", "happy"), only).emotion == "sad"
    assert another_speaker(cases[0], cases[:8]) is None
