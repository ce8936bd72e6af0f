import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from affekt.media.face3d.model import project
from emospace.networks.flow_prior import FlowPrior, PriorConfig, rotation_matrices, spread
from emospace.networks.renderer import warp_source
from tests.corpora.emotion_space_corpus import JAW, emotion_model

MODES = 6
SIZE = 64


@pytest.fixture(scope="module")
def prior():
    return FlowPrior(emotion_model(MODES), PriorConfig())


def motion(**changes):
    """A frontal neutral face in the middle of the picture, but for `changes` of its numbers."""
    numbers = torch.zeros(1, 6 + MODES)
    numbers[:, 3] = np.log(0.6)
    for place, value in changes.items():
        numbers[:, int(place.removeprefix("at"))] = value
    return numbers


def read(flow, places):
    """The flow at places (1, N, 2), (N, 2)."""
    found = F.grid_sample(flow, places[:, :, None], align_corners=False)
    return found[0, ..., 0].T


def test_the_landmarks_are_the_face_models_under_scaled_orthography(prior):
    model = emotion_model(MODES)
    rng = np.random.default_rng(0)
    motions = 0.3 * rng.standard_normal((5, 6 + MODES))
    faces = model.shapes(np.zeros(4), motions[:, 6:])
    wanted = project(faces, motions[:, :6])
    found = prior.landmarks(torch.from_numpy(motions).float())
    torch.testing.assert_close(found, torch.from_numpy(wanted).float(), rtol=1e-4, atol=1e-5)


def test_rotations_are_those_of_scipy_and_nothing_breaks_at_none():
    vectors = torch.tensor(
        [[0.3, -1.0, 0.5], [0.0, 0.0, 0.0], [1e-5, 0.0, 0.0]], requires_grad=True
    )
    found = rotation_matrices(vectors)
    wanted = Rotation.from_rotvec(vectors.detach().numpy()).as_matrix()
    torch.testing.assert_close(found, torch.from_numpy(wanted).float(), rtol=1e-5, atol=1e-5)
    found.sum().backward()
    assert vectors.grad.isfinite().all()


@pytest.mark.parametrize("size", [16, SIZE, 2 * SIZE])
def test_a_face_that_is_moved_takes_its_landmarks_along_and_leaves_the_corners(prior, size):
    places, moves = prior(motion(), motion(at4=0.12, at5=-0.06))
    flow = prior.flow(places, moves, size)
    assert flow.shape == (1, 2, size, size)
    back = torch.tensor([-0.12, 0.06]).expand(68, 2)  # where the frame came from
    torch.testing.assert_close(read(flow, places), back, rtol=0.06, atol=0.004)
    assert flow[..., 0, 0].abs().max() < 0.03


def test_an_opened_mouth_moves_the_lower_lip_and_not_the_brows(prior):
    places, moves = prior(motion(), motion(at6=2.0))
    found = read(prior.flow(places, moves, SIZE), places)
    down = moves[0, JAW, 1]
    assert down.min() > 0.05
    assert (found[list(JAW), 1] / -down).mean() > 0.7
    assert found[17:27].abs().max() < 0.1 * down.max()


def test_the_flow_brings_what_lies_at_a_landmark_to_where_it_moves(prior):
    spot = prior.landmarks(motion())
    places, moves = prior(motion(), motion(at4=0.25), spot)
    picture = torch.zeros(1, 1, SIZE, SIZE)
    x, y = ((spot[0, 30] + 1) * SIZE / 2).long().tolist()  # the tip of the nose
    picture[..., y - 1 : y + 2, x - 1 : x + 2] = 1
    warped = warp_source(picture, prior.flow(places, moves, SIZE))[0, 0]
    columns = torch.arange(SIZE)
    there = float((warped.sum(dim=0) * columns).sum() / warped.sum())
    assert there - x == pytest.approx(0.25 * SIZE / 2, abs=1)


def test_detected_landmarks_are_where_the_motion_begins(prior):
    detected = prior.landmarks(motion()) + 0.1
    places, moves = prior(motion(), motion(at4=0.2), detected)
    torch.testing.assert_close(places, detected + torch.tensor([0.2, 0.0]))
    torch.testing.assert_close(moves, torch.tensor([0.2, 0.0]).expand(1, 68, 2))


def test_it_stays_float32_under_autocast(prior):
    with torch.autocast("cpu", torch.bfloat16):
        places, moves = prior(motion(), motion(at0=0.3))
        under = prior.flow(places, moves, SIZE)
    exact = prior.flow(*prior(motion(), motion(at0=0.3)), SIZE)
    assert torch.equal(under, exact)


def test_nothing_moves_where_nothing_is_given():
    still = spread(torch.zeros(1, 68, 2), torch.zeros(1, 68, 2), 8, PriorConfig())
    assert torch.equal(still, torch.zeros(1, 2, 8, 8))
