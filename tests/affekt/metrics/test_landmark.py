"""LD and LVD by each convention: by hand, against slow loops, and by what must (not) move them."""

import math

import numpy as np
import pytest

from affekt.media.faces.crop import EAMM_TEMPLATE
from affekt.media.faces.geometry import RIGID_TEMPLATE, align_2d, apply, similarity
from affekt.media.faces.points import BROWS, MOUTH, RIGID
from affekt.metrics.landmark import (
    aligned,
    atvg,
    centred,
    correlation,
    distance,
    eat,
    evp,
    landmark_distances,
    landmark_scores,
    makeittalk,
    mouth_correlation,
    moved_toward,
    point_distance,
    shared_frames,
)

CONVENTIONS = ("evp", "atvg", "eat", "makeittalk", "eamm")
FIGURES = ("m_ld", "m_lvd", "f_ld", "f_lvd")
PARTS = {"m": list(MOUTH), "f": list(range(68))}


def talking(frames=15, seed=0, head=0.0):
    """Landmarks (T, 68, 2) at 256 px: mouth and brows move, the head by `head` pixels a frame."""
    rng = np.random.default_rng(seed)
    face = np.random.default_rng(99).uniform(40, 216, (68, 2))
    face[list(RIGID)] = RIGID_TEMPLATE[:, :2]
    moving = np.setdiff1d(np.arange(68), RIGID)
    points = np.repeat(face[None], frames, axis=0)
    points[:, moving] += rng.standard_normal((frames, len(moving), 2)).cumsum(axis=0)
    return points + head * rng.standard_normal((frames, 1, 2)).cumsum(axis=0)


def holes(points, missing):
    points = points.copy()
    points[list(missing)] = np.nan
    return points


def slow(result, truth, placed, stepped):
    """Return the four figures by loops over frames and points, from the definition's words."""
    figures = {}
    for name, part in PARTS.items():
        lds, lvds = [], []
        for t in range(len(truth)):
            if not whole(result[t], truth[t]):
                continue
            ours, theirs = placed(result[t], part), placed(truth[t], part)
            lds.append(sum(math.dist(a, b) for a, b in zip(ours, theirs, strict=True)) / len(part))
            if t == 0 or not whole(result[t - 1], truth[t - 1]):
                continue
            step = stepped(result[t], part) - stepped(result[t - 1], part)
            true_step = stepped(truth[t], part) - stepped(truth[t - 1], part)
            lengths = [math.hypot(*off) for off in step - true_step]
            lvds.append(sum(lengths) / len(part))
        figures[f"{name}_ld"] = sum(lds) / len(lds)
        figures[f"{name}_lvd"] = sum(lvds) / len(lvds)
    return figures


def whole(*frames):
    return all(np.isfinite(frame).all() for frame in frames)


def raw(frame, part):
    return frame[part]


def centred_part(frame, part):
    return frame[part] - sum(frame[k] for k in part) / len(part)


def aligned_part(frame, part):
    return apply(similarity(frame[list(RIGID)], RIGID_TEMPLATE[:, :2]), frame)[part]


@pytest.mark.parametrize(
    ("convention", "placed", "stepped"),
    [("evp", *[aligned_part] * 2), ("atvg", *[centred_part] * 2), ("eat", centred_part, raw)],
)
def test_a_convention_equals_a_slow_loop_with_faces_missing_on_both_sides(
    convention, placed, stepped
):
    result = holes(talking(seed=1, head=2), (3, 9, 10))
    truth = holes(talking(seed=2, head=2), (5, 10))
    scores = landmark_distances(result, truth, convention)
    wanted = slow(result, truth, placed, stepped)
    assert {name: scores[name] for name in FIGURES} == pytest.approx(wanted, rel=1e-12)


def test_makeittalk_is_evps_in_percent_of_the_truths_widest_mouth():
    result, truth = holes(talking(seed=1), (4,)), holes(talking(seed=2), (7,))
    widths = [math.dist(*aligned_part(frame, [48, 54])) for frame in truth if whole(frame)]
    wanted = slow(result, truth, aligned_part, aligned_part)
    scores = landmark_distances(result, truth, "makeittalk")
    for name in FIGURES:
        assert scores[name] == pytest.approx(100 * wanted[name] / max(widths))


def test_evps_percent_are_of_the_eyes_distance_in_all_true_frames_with_a_face():
    rng = np.random.default_rng(5)
    result = holes(talking(seed=1), (4,))
    truth = holes(talking(seed=2) + 3 * rng.standard_normal((15, 68, 2)), (7,))
    spans = [math.dist(*aligned_part(frame, [36, 45])) for frame in truth if whole(frame)]
    assert np.ptp(spans) > 1
    scores = landmark_distances(result, truth, "evp")
    for name in FIGURES:
        assert scores[f"{name}_iod"] == pytest.approx(100 * scores[name] / np.mean(spans))


def test_eamm_crops_each_clip_by_its_first_face_and_then_removes_the_centroids():
    result, truth = holes(2 * talking(seed=1), (0,)), talking(seed=2)

    def cropped(points, first):
        return apply(similarity(points[first][list(RIGID)], EAMM_TEMPLATE), points)

    wanted = slow(cropped(result, 1), cropped(truth, 0), centred_part, centred_part)
    assert landmark_distances(result, truth, "eamm") == pytest.approx(wanted)


def test_hand_worked_numbers_of_the_mouth():
    """One lip point of a still face moves by (0, 20) in the last of two frames."""
    truth = np.repeat(talking(1), 2, axis=0)
    result = truth.copy()
    result[1, 57, 1] += 20
    # The point is 20 off in one of two frames: 20 / 20 points / 2 frames. Its step differs by 20.
    scores = evp(result, truth)
    assert scores["m_ld"] == pytest.approx(0.5)
    assert scores["m_lvd"] == pytest.approx(1)
    assert scores["f_ld"] == pytest.approx(10 / 68)
    assert scores["f_lvd"] == pytest.approx(20 / 68)
    assert scores["m_ld_iod"] == pytest.approx(100 * 0.5 / 124)  # the template's outer corners
    assert scores["f_lvd_iod"] == pytest.approx(100 * 20 / 68 / 124)
    # Less the centroid, which moves by 1: one point is 19 off, nineteen are 1 off.
    assert atvg(result, truth)["m_ld"] == pytest.approx((19 + 19) / 20 / 2)
    assert atvg(result, truth)["m_ld_sum"] == pytest.approx(19)
    assert atvg(result, truth)["m_lvd"] == pytest.approx(38 / 20)
    assert eat(result, truth)["m_ld"] == pytest.approx(0.95)
    assert eat(result, truth)["m_lvd"] == pytest.approx(1)  # velocities are not centred
    truth[:, [48, 54]] = [[100, 180], [150, 180]]
    result[:, [48, 54]] = truth[:, [48, 54]]
    assert makeittalk(result, truth)["m_lvd"] == pytest.approx(2)  # 1 px of a 50 px mouth


def test_the_published_f_lvd_of_eat_comes_under_its_switch_alone():
    result, truth = talking(seed=1), talking(seed=2)
    right = landmark_distances(result, truth, "eat")
    wrong = landmark_distances(result, truth, "eat", eat_flvd_bug=True)
    assert wrong["f_lvd"] == pytest.approx(right["m_lvd"] * 20 / 68)
    assert wrong["f_lvd"] < 0.5 * right["f_lvd"]
    assert {**wrong, "f_lvd": 0} == {**right, "f_lvd": 0}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_truth_itself_is_zero_and_a_shift_of_3_px_counts_in_raw_landmarks_alone(convention):
    truth = holes(talking(head=1), (2,))
    assert set(landmark_distances(truth, truth, convention).values()) == {0.0}
    result = truth + np.array([3, 0])
    assert np.nanmean(distance(result, truth)) == pytest.approx(3)
    assert max(landmark_distances(result, truth, convention).values()) < 1e-9


def test_two_percent_of_zoom_counts_by_centroid_and_not_by_similarity():
    truth = talking()
    zoomed = truth[0].mean(axis=0) + 1.02 * (truth - truth[0].mean(axis=0))
    spread = np.linalg.norm(centred(truth), axis=-1).mean()
    for convention in ("atvg", "eat"):
        scores = landmark_distances(zoomed, truth, convention)
        assert scores["f_ld"] == pytest.approx(0.02 * spread)
    for convention in ("evp", "makeittalk", "eamm"):
        assert landmark_distances(zoomed, truth, convention)["f_ld"] < 1e-9


def test_a_zoom_after_the_first_frame_escapes_eamms_crop_and_not_evps_alignment():
    truth = np.repeat(talking(1), 10, axis=0)
    zoom = np.linspace(1, 1.1, 10)[:, None, None]
    assert landmark_distances(zoom * truth, truth, "eamm")["f_ld"] > 1
    assert landmark_distances(zoom * truth, truth, "evp")["f_ld"] < 1e-9


def test_the_size_of_the_picture_leaves_evp_and_scales_atvg():
    result, truth = talking(seed=1), talking(seed=2)
    for convention, factor in (("evp", 1), ("makeittalk", 1), ("eamm", 1), ("atvg", 3), ("eat", 3)):
        small = landmark_distances(result, truth, convention)
        large = landmark_distances(3 * result, 3 * truth, convention)
        for name, value in small.items():
            assert large[name] == pytest.approx(factor * value)


def test_raw_velocity_holds_the_heads_motion_by_eat_and_not_by_the_others():
    truth = np.repeat(talking(1), 10, axis=0)
    drifting = truth + 2 * np.arange(10)[:, None, None] * [1, 0]
    scores = {name: landmark_distances(drifting, truth, name) for name in CONVENTIONS}
    assert scores["eat"]["m_ld"] < 1e-9
    assert scores["eat"]["m_lvd"] == pytest.approx(2)
    assert max(scores[name]["m_lvd"] for name in CONVENTIONS if name != "eat") < 1e-9


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_delay_costs_and_a_frozen_face_has_the_truths_own_motion_as_lvd(convention):
    truth = talking(40, head=0.5)
    late = truth[np.maximum(np.arange(40) - 1, 0)]
    at_rest = landmark_distances(np.repeat(truth[:1], 40, axis=0), truth, convention)
    delayed = landmark_distances(late, truth, convention)
    assert at_rest["m_ld"] > delayed["m_ld"] > 0.1
    # LVD prefers no motion to motion one frame late.
    assert at_rest["m_lvd"] < delayed["m_lvd"]
    if convention == "evp":
        own = np.linalg.norm(np.diff(align_2d(truth)[:, PARTS["m"]], axis=0), axis=-1).mean()
        assert at_rest["m_lvd"] == pytest.approx(own)
    if convention == "eat":
        own = np.linalg.norm(np.diff(truth[:, PARTS["f"]], axis=0), axis=-1).mean()
        assert at_rest["f_lvd"] == pytest.approx(own)


def test_the_3d_view_takes_out_a_turn_of_the_head_and_needs_depth():
    face = np.concatenate([talking(1)[0], np.random.default_rng(3).uniform(-60, 0, (68, 1))], 1)
    face[list(RIGID)] = RIGID_TEMPLATE
    turns = np.radians(np.linspace(-20, 20, 8))
    cos, sin, zero = np.cos(turns), np.sin(turns), np.zeros(8)
    yaw = np.stack([cos, zero, sin, zero, zero + 1, zero, -sin, zero, cos], 1).reshape(-1, 3, 3)
    turning, still = face @ yaw.transpose(0, 2, 1), np.repeat(face[None], 8, 0)
    for convention in ("evp", "makeittalk"):
        assert max(landmark_distances(turning, still, convention, "3d").values()) < 1e-9
        assert landmark_distances(turning, still, convention, "2d")["m_ld"] > 2
    flat = talking()
    with pytest.raises(ValueError, match="no depth, which the 3d view needs"):
        landmark_distances(flat, flat, "evp", "3d")


def test_depth_changes_nothing_of_the_2d_conventions():
    result, truth = talking(seed=1), talking(seed=2)
    deep = [np.concatenate([points, 50 + points[..., :1]], axis=-1) for points in (result, truth)]
    for convention in CONVENTIONS:
        flat = landmark_distances(result, truth, convention)
        assert landmark_distances(*deep, convention) == pytest.approx(flat)


def test_the_figures_are_those_of_aligned_landmarks():
    result, truth = holes(talking(seed=1), (0, 6)), talking(seed=2)
    scores = landmark_distances(result, truth)
    wanted = {name: scores[name] for name in FIGURES}
    assert landmark_scores(aligned(result), aligned(truth)) == wanted
    assert shared_frames(result, truth).mean() == pytest.approx(13 / 15)


def test_what_cannot_be_compared_is_refused():
    truth = talking(6)
    nobody = np.full_like(truth, np.nan)
    for convention in CONVENTIONS:
        for pair in ((nobody, truth), (truth, nobody), (holes(truth, (1, 3, 5)), truth)):
            with pytest.raises(ValueError, match="no two consecutive frames of 6 have a face"):
                landmark_distances(*pair, convention)
        with pytest.raises(ValueError, match="6 frames cannot be compared with 5"):
            landmark_distances(truth, truth[:5], convention)


def face(opening=0.0, brows=0.0, frames=8):
    landmarks = np.random.default_rng(0).uniform(60, 190, (68, 2)) + np.zeros((frames, 1, 1))
    landmarks[:, (61, 62, 63)] = landmarks[:, (67, 66, 65)]
    landmarks[:, (67, 66, 65), 1] += np.reshape(opening, (-1, 1))
    landmarks[:, BROWS, 1] -= brows
    return landmarks


def test_mouth_correlation_is_of_openings_and_unknown_for_a_still_mouth():
    opening = np.array([0, 3, 6, 2, 1, 5, 4, 0.0])
    assert mouth_correlation(face(opening), face(2 * opening)) == pytest.approx(1)
    assert mouth_correlation(face(opening), face(10 - opening)) == pytest.approx(-1)
    assert math.isnan(mouth_correlation(face(opening), face(0)))


def test_point_distance_is_the_mean_over_the_named_points():
    first = face()
    second = first.copy()
    second[:, 48] += (3, 4)
    assert point_distance(first, second, (48, 49)) == pytest.approx(2.5)


def test_a_swap_counts_when_it_ends_nearer_the_target():
    source, target = face(brows=0)[0], face(brows=10)[0]
    assert moved_toward(face(opening=7, brows=6), source, target)
    assert not moved_toward(face(opening=7, brows=4), source, target)


def test_correlation_is_of_what_both_know_and_unknown_for_a_still_track():
    nan = float("nan")
    first = [0, 1, 2, 3, nan, 100]
    assert correlation(first, [0, -2, -4, -6, 50, nan]) == pytest.approx(-1)
    assert math.isnan(correlation(first, np.ones(6)))
    assert math.isnan(correlation([nan, nan], [1, 2]))
