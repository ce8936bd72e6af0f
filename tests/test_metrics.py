"""Landmark metrics, controls and table: by hand, by slow loops, by what moves the figures."""

import numpy as np
import pytest

from media.geometry import RIGID_TEMPLATE, align_2d
from media.landmarks import Detection
from media.points import MOUTH, RIGID
from metrics.controls import frozen, frozen_track, late, late_track, mean_face_tracks
from metrics.landmark import (
    Track,
    coverage,
    distance,
    landmark_scores,
    track,
    velocity_difference,
)
from metrics.table import EVP_TABLE_1, as_json, markdown, table_1


def talking(frames=20, seed=0):
    """Landmarks (T, 68, 2) at 256 px whose mouth and brows move while the head is still."""
    rng = np.random.default_rng(seed)
    face = rng.uniform(40, 216, (68, 2))
    face[list(RIGID)] = RIGID_TEMPLATE[:, :2]
    moving = np.setdiff1d(np.arange(68), RIGID)
    points = np.repeat(face[None], frames, axis=0)
    points[:, moving] += rng.standard_normal((frames, len(moving), 2)).cumsum(axis=0)
    return points


# --- landmark distance and velocity difference


def test_ld_and_lvd_by_hand():
    truth = np.zeros((3, 2, 2))
    result = np.array([[[3, 4], [0, 0]], [[3, 4], [0, 2]], [[0, 0], [0, 2]]], float)
    assert distance(result, truth).tolist() == [2.5, 3.5, 1.0]
    # steps: point 0 moves by (0, 0) and then (-3, -4); point 1 by (0, 2) and then (0, 0)
    assert velocity_difference(result, truth).tolist() == [1.0, 2.5]


def test_scores_equal_a_slow_loop_on_mouth_and_face():
    result, truth = talking(seed=1), talking(seed=2)
    scores = landmark_scores(Track(result), Track(truth))
    for name, group in (("m", MOUTH), ("f", range(68))):
        ld, lvd = [], []
        for t in range(len(truth)):
            for n in group:
                ld.append(np.hypot(*(result[t, n] - truth[t, n])))
                if t:
                    ours, theirs = result[t, n] - result[t - 1, n], truth[t, n] - truth[t - 1, n]
                    lvd.append(np.hypot(*(ours - theirs)))
        assert scores[f"{name}_ld"] == pytest.approx(np.mean(ld))
        assert scores[f"{name}_lvd"] == pytest.approx(np.mean(lvd))


def test_the_truth_against_itself_is_zero():
    assert set(landmark_scores(Track(talking()), Track(talking())).values()) == {0.0}


class Reader:
    """A detector for frames that are not pictures: each holds its own landmarks, or nothing."""

    version = "reader"

    def detect(self, frame):
        if frame is None:
            return None
        return Detection(frame[:, :2], frame if frame.shape[1] == 3 else None)


def moved(points, scale=1.0, degrees=0.0, shift=(0.0, 0.0)):
    turn = np.radians(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return scale * points @ rotation.T + shift


def test_shift_zoom_and_tilt_of_the_head_move_raw_landmarks_and_not_the_aligned_scores():
    truth = talking()
    drift = np.linspace(0, 9, len(truth))[:, None, None]
    result = moved(truth, scale=1.4, degrees=12, shift=(30, -4)) + drift
    assert distance(result, truth).mean() > 10
    assert velocity_difference(result, truth).mean() > 0.3
    scores = landmark_scores(track(result, Reader()), track(truth, Reader()))
    assert max(scores.values()) < 1e-9


def test_the_size_of_the_video_does_not_matter():
    result, truth = talking(seed=1), talking(seed=2)
    small = landmark_scores(track(result / 2, Reader()), track(truth / 2, Reader()))
    large = landmark_scores(track(result * 3, Reader()), track(truth * 3, Reader()))
    assert small == pytest.approx(large)


def test_a_moved_mouth_counts_in_pixels_of_the_256_px_face():
    truth = talking()
    result = truth.copy()
    result[:, list(MOUTH), 1] += 5
    video = 2.5  # the face of the template, shown that large
    scores = landmark_scores(track(video * result, Reader()), track(video * truth, Reader()))
    assert scores["m_ld"] == pytest.approx(5)
    assert scores["f_ld"] == pytest.approx(5 * 20 / 68)
    assert scores["m_lvd"] == pytest.approx(0, abs=1e-9)


def test_one_frame_of_delay_moves_both_and_freezing_takes_all_velocity():
    truth = Track(talking(frames=40))
    shifted = landmark_scores(late_track(truth), truth)
    still = landmark_scores(frozen_track(truth), truth)
    assert min(shifted.values()) > 0.1
    assert still["m_ld"] > shifted["m_ld"]
    own = np.linalg.norm(np.diff(truth.points[:, list(MOUTH)], axis=0), axis=-1).mean()
    assert still["m_lvd"] == pytest.approx(own)
    assert still["m_lvd"] < shifted["m_lvd"]  # LVD prefers no motion to motion a frame late


def test_3d_alignment_takes_out_a_turn_of_the_head_that_2d_leaves():
    face = np.concatenate([talking(1)[0], np.random.default_rng(3).uniform(-60, 0, (68, 1))], 1)
    face[list(RIGID)] = RIGID_TEMPLATE
    turns = np.radians(np.linspace(-20, 20, 12))
    cos, sin, zero = np.cos(turns), np.sin(turns), np.zeros(12)
    yaw = np.stack([cos, zero, sin, zero, zero + 1, zero, -sin, zero, cos], 1).reshape(-1, 3, 3)
    turning, still = face @ yaw.transpose(0, 2, 1), np.repeat(face[None], 12, 0)
    in_3d = landmark_scores(track(turning, Reader(), "3d"), track(still, Reader(), "3d"))
    in_2d = landmark_scores(track(turning, Reader()), track(still, Reader()))
    assert max(in_3d.values()) < 1e-9
    assert in_2d["m_ld"] > 3
    with pytest.raises(ValueError, match="reader gives no depth"):
        track(talking(), Reader(), "3d")


def test_frames_without_a_face_are_left_out_and_counted():
    truth, result = talking(10), talking(10, seed=1)
    with_gap = [frame if t not in (4, 5) else None for t, frame in enumerate(result)]
    ours, theirs = track(with_gap, Reader()), track(truth, Reader())
    assert coverage(ours, theirs) == pytest.approx(0.8)
    aligned = align_2d(result), align_2d(truth)
    kept, steps = [0, 1, 2, 3, 6, 7, 8, 9], [0, 1, 2, 6, 7, 8]
    scores = landmark_scores(ours, theirs)
    assert scores["f_ld"] == pytest.approx(distance(*aligned)[kept].mean())
    assert scores["f_lvd"] == pytest.approx(velocity_difference(*aligned)[steps].mean())
    nobody = track([None] * 10, Reader())
    assert coverage(nobody, theirs) == 0
    with pytest.raises(ValueError, match="no two consecutive frames of 10 have a face"):
        landmark_scores(nobody, theirs)


def test_tracks_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="20 frames cannot be held against 19"):
        landmark_scores(Track(talking(20)), Track(talking(19)))


def test_the_mean_face_is_the_mean_of_all_clips_and_stands_still():
    truths = [Track(talking(4, seed=1)), Track(talking(12, seed=2))]
    means = mean_face_tracks(truths)
    expected = np.concatenate([truths[0].points, truths[1].points]).mean(axis=0)
    for mean, truth in zip(means, truths, strict=True):
        assert mean.points.shape == truth.points.shape
        np.testing.assert_allclose(mean.points, np.broadcast_to(expected, truth.points.shape))


# --- controls and table


def test_late_and_frozen_frames():
    assert list(late(iter("abcd"))) == list("aabc")
    assert list(frozen(iter("abcd"))) == list("aaaa")
    assert list(late(iter(""))) == list(frozen(iter(""))) == []


def summary(name, m_ld, control=1.0):
    rows = {"result": {"m_ld": m_ld, "ssim": 0.91234}, "frozen first frame": {"m_ld": control}}
    return {
        "name": name,
        "rows": rows,
        "clips": 3,
        "frames": 75,
        "missing": ["d"],
        "failed": [],
        "frame_coverage": 0.995,
        "alignment": "2d",
        "detector": "reader",
        "sizes": "256 x 256",
    }


def test_the_table_has_results_controls_and_the_papers_rows_in_the_papers_layout():
    table = table_1([summary("ours", 2.346)])
    assert [row.name for row in table.rows] == ["ours", "frozen first frame", *EVP_TABLE_1]
    headings = [column.heading.split()[0] for column in table.columns]
    assert headings[:5] == ["M-LD", "M-LVD", "F-LD", "F-LVD", "SSIM"]
    text = markdown(table)
    ours = next(line for line in text.splitlines() if line.startswith("| ours"))
    assert [cell.strip() for cell in ours.strip("|").split("|")][1:6] == [
        *("2.35", "n/a", "n/a", "n/a"),
        "0.912",
    ]
    assert "| EVP (paper)" in text
    assert "3 of 4 clips, 75 frames, a face on both sides in 99.5 %" in text
    assert as_json(table)["rows"][0]["values"]["m_ld"] == 2.346
    widths = {len(line) for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_the_papers_psnr_never_stands_in_the_true_psnr_column():
    for values in EVP_TABLE_1.values():
        assert values.keys() == {"m_ld", "m_lvd", "f_ld", "f_lvd", "ssim", "printed_psnr", "fid"}
    assert EVP_TABLE_1["EVP (paper)"]["m_ld"] == 2.45
    assert EVP_TABLE_1["EVP (paper)"]["printed_psnr"] == 29.53


def test_controls_of_two_evaluations_stand_once_if_they_are_the_same():
    same = table_1([summary("a", 2.0), summary("b", 3.0)])
    assert [row.name for row in same.rows if row.kind == "control"] == ["frozen first frame"]
    other = table_1([summary("a", 2.0), summary("b", 3.0, control=1.5)])
    names = [row.name for row in other.rows if row.kind == "control"]
    assert names == ["frozen first frame", "frozen first frame (b)"]
