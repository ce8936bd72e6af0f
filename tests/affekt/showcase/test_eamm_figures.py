"""The demo's mouth figures, on faces whose answer is known."""

import numpy as np
import pytest

from affekt.showcase.eamm_figures import mouth_figures
from tests.corpora.made_up_faces import plain_face


def talking(openings):
    """Return faces (T, 68, 2) whose lower lip is this far down."""
    faces = np.repeat(plain_face(256)[None], len(openings), axis=0)
    faces[:, 55:60, 1] += np.asarray(openings)[:, None]
    faces[:, 65:68, 1] += np.asarray(openings)[:, None]
    return faces


def test_a_mouth_that_opens_half_as_far_at_the_right_time():
    openings = np.array([0.0, 4.0, 10.0, 2.0, 8.0])
    found = mouth_figures(talking(openings / 2), talking(openings))
    assert found == pytest.approx((1.0, 0.5, 1.0))
    against = mouth_figures(talking(10 - openings), talking(openings))
    assert against == pytest.approx((-1.0, 1.0, 1.0))


def test_frames_without_a_face_count_in_the_coverage_alone():
    openings = np.array([0.0, 4.0, 10.0, 2.0])
    made = talking(openings)
    made[1] = np.nan
    assert mouth_figures(made, talking(openings)) == pytest.approx((1.0, 1.0, 0.75))
    nothing = mouth_figures(np.full_like(made, np.nan), talking(openings))
    assert np.isnan(nothing.r)
    assert nothing.coverage == 0
    # Neither has a mouth that never moves a correlation.
    assert np.isnan(mouth_figures(talking([3.0] * 4), talking([0.0, 1.0, 5.0, 2.0])).r)
