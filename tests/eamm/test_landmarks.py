"""What emotion does to rendered faces, on made-up landmarks whose figures are known."""

import numpy as np
import pytest
import torch

from affekt.media.faces.detector import Detection
from affekt.media.faces.geometry import RIGID_TEMPLATE
from affekt.media.faces.points import BROWS, JAW, RIGID
from affekt.media.video.tensors import to_tensor
from eamm.analysis.networks import (
    EXPRESSION,
    SHAPE,
    align_faces,
    clip_figures,
    detect_faces,
    emotion_summary,
    expression_distance,
    render_clip,
)
from eamm.fomm.keypoints import Keypoints
from tests.corpora.driven_corpus import make_fomm

LOWER_LIP = (65, 66, 67)


def face(seed=0):
    """A face that lies on the template, so that alignment leaves it as it is."""
    points = 128 + 60 * np.random.default_rng(seed).uniform(-1, 1, (68, 2))
    points[list(RIGID)] = RIGID_TEMPLATE[:, :2]
    points[[61, 62, 63]] = [[120, 150], [128, 150], [136, 150]]
    points[[67, 66, 65]] = [[120, 152], [128, 152], [136, 152]]
    return points


def clip(base, opening, brows=0.0):
    faces = np.repeat(base[None], len(opening), axis=0)
    faces[:, LOWER_LIP, 1] += np.asarray(opening)[:, None]
    faces[:, BROWS, 1] += brows
    return faces


OPENING = np.random.default_rng(1).uniform(0, 10, 20)


def test_brows_that_come_nearer_to_the_truth_count_as_nearer():
    truth = clip(face(), OPENING, brows=-10.0)
    without, halfway = clip(face(), OPENING), clip(face(), OPENING, brows=-5.0)
    found = clip_figures(without, halfway, truth, truth)
    share = np.sqrt(len(BROWS) / len(EXPRESSION))
    assert found["without_px"] == pytest.approx(10 * share)
    assert found["emotion_distance_px"] == pytest.approx(5 * share)
    assert emotion_summary([found])["emotion_nearer"] == 1
    assert found["emotion_mouth_r"] == pytest.approx(1)
    assert found["coverage"] == 1
    overdone = clip(face(), OPENING, brows=-21.0)
    found = clip_figures(without, overdone, truth, truth)
    assert emotion_summary([found])["emotion_nearer"] == 0


def test_heads_that_stand_elsewhere_are_aligned_first():
    truth = clip(face(), OPENING)
    assert expression_distance(align_faces(0.5 * truth + 30), align_faces(truth)) < 1e-9


def test_mouths_are_compared_frame_by_frame_where_both_have_a_face():
    still, truth = clip(face(), OPENING), clip(face(), OPENING)
    moved = clip(face(), 2 + 0.5 * OPENING)
    assert clip_figures(still, moved, truth, truth)["emotion_mouth_r"] == pytest.approx(1)
    shuffled = clip(face(), OPENING[::-1])
    by_hand = np.corrcoef(OPENING, OPENING[::-1])[0, 1]
    assert clip_figures(still, shuffled, truth, truth)["emotion_mouth_r"] == pytest.approx(by_hand)
    moved[3], still[[7, 8]] = np.nan, np.nan
    found = clip_figures(still, moved, truth, truth)
    assert found["emotion_mouth_r"] == pytest.approx(1)
    assert found["coverage"] == pytest.approx(1 - 3 / 40)


def test_a_mouth_that_never_moves_has_no_correlation():
    still, truth = clip(face(), np.zeros(20)), clip(face(), OPENING)
    assert np.isnan(clip_figures(still, truth, truth, truth)["emotion_mouth_r"])


def test_the_pull_is_the_share_of_the_way_to_the_other_identity():
    truth, source = clip(face(0), OPENING), clip(face(7), OPENING)
    way = face(7)[list(SHAPE)] - face(0)[list(SHAPE)]
    moved = truth.copy()
    moved[:, SHAPE] += 0.25 * way
    found = clip_figures(truth, moved, truth, source)
    assert found["identity_pull"] == pytest.approx(0.25)
    assert found["identity_shift_px"] == pytest.approx(0.25 * np.sqrt(np.square(way).sum(1).mean()))
    rendered, offset = truth.copy(), np.random.default_rng(2).standard_normal((len(SHAPE), 2))
    rendered[:, SHAPE] += offset  # what FOMM's pictures do to every shape is not the emotion's
    moved[:, SHAPE] += offset
    assert clip_figures(rendered, moved, truth, source)["identity_pull"] == pytest.approx(0.25)
    untouched = clip_figures(truth, clip(face(), OPENING, brows=-10.0), truth, source)
    assert untouched["identity_pull"] == untouched["identity_shift_px"] == 0
    assert set(SHAPE) > set(JAW)
    assert not set(SHAPE) & set(EXPRESSION)


def test_the_summary_is_a_share_medians_and_a_mean():
    truth = clip(face(), OPENING, brows=-10.0)
    without = clip(face(), OPENING)
    brows = (-5.0, -9.0, 5.0)
    found = [clip_figures(without, clip(face(), OPENING, b), truth, truth) for b in brows]
    figures = emotion_summary(found)
    assert figures["emotion_nearer"] == pytest.approx(2 / 3)
    assert figures["emotion_distance_px"] == pytest.approx(found[0]["emotion_distance_px"])
    assert figures["emotion_mouth_r"] == pytest.approx(1)
    assert figures["coverage"] == 1


def test_a_frame_without_a_face_is_nan():
    class Sees:
        version = "made up"

        def detect(self, picture):
            return Detection(np.ones((68, 2), np.float32), None) if picture.any() else None

    frames = np.zeros((3, 8, 8, 3), np.uint8)
    frames[1] = 9
    points = detect_faces(Sees(), frames)
    assert np.isnan(points[[0, 2]]).all()
    assert (points[1] == 1).all()


def test_a_clip_is_rendered_as_the_whole_fomm_renders_each_frame(tmp_path):
    fomm = make_fomm(tmp_path)
    picture = torch.rand(1, 3, 32, 32)
    still = fomm.detector(picture)
    moved = Keypoints(
        still.value + 0.2 * torch.rand(20, 3, 2), still.jacobian + 0.1 * torch.rand(20, 3, 2, 2)
    )
    frames = to_tensor(render_clip(fomm, picture, moved))
    assert frames.shape == (20, 3, 32, 32)
    with torch.no_grad():
        one = fomm.generator(picture, still, Keypoints(*(part[17:18] for part in moved)))
    torch.testing.assert_close(frames[17:18], one.prediction, atol=0.6 / 255, rtol=0)
