"""The robust kernels of the fit: wild landmarks lose their pull."""

import numpy as np
import pytest
from scipy.optimize import least_squares

import affekt.media.face3d.fit
from affekt.media.face3d.fit import FitConfig, PointWeights, fit_clip, weak_perspective
from affekt.media.face3d.model import project
from affekt.media.face3d.stages import robust_kernel, robust_weight
from affekt.media.faces import geometry
from tests.corpora.made_up_faces import made_up_clip, made_up_model

WEIGHTS = PointWeights(jaw=0.5)


@pytest.fixture(scope="module")
def model():
    return made_up_model(K=4, E=3)


class Oracle:
    """The objective of a clip written anew, in the user's units, for scipy's least_squares."""

    def __init__(self, model, landmarks, config):
        self.model, self.landmarks, self.config = model, landmarks, config
        self.per_point = config.weights.per_point()
        self.unit = np.median(weak_perspective(model, landmarks, self.per_point)[0])
        self.units = np.array([1, 1, 1, 1, self.unit, self.unit])
        self.T, self.K, self.E = len(landmarks), len(model.identity), len(model.expression)

    def pack(self, fit):
        frames = np.hstack([fit.pose / self.units, fit.expression / self.model.expression_std])
        return np.concatenate([fit.identity, frames.ravel()])

    def split(self, unknowns):
        frames = unknowns[self.K :].reshape(self.T, 6 + self.E)
        expression = frames[:, 6:] * self.model.expression_std
        return unknowns[: self.K], frames[:, :6] * self.units, expression

    def terms(self, unknowns):
        identity, pose, expression = self.split(unknowns)
        config, model = self.config, self.model
        error = project(model.shapes(identity, expression), pose) - self.landmarks
        error *= self.per_point[:, None] / (config.noise * self.unit)
        q = np.square(error).sum(axis=2, keepdims=True)
        error *= np.sqrt(self.loss(q) / np.maximum(q, 1e-300))  # squared, it is the loss
        low, high = model.expression_range.T
        outside = np.maximum(0, expression - high) + np.minimum(0, expression - low)
        parts = (
            error,
            np.sqrt(config.expression_weight) * expression / model.expression_std,
            np.sqrt(config.range_weight) * outside / model.expression_std,
        )
        share = np.sqrt(min(1.0, config.independent_frames / self.T))
        flat = np.concatenate([part.ravel() for part in parts])
        return np.concatenate([share * flat, identity / model.identity_std])

    def loss(self, q):
        limit = self.config.loss_at**2
        if self.config.loss == "huber":
            return np.where(q <= limit, q, 2 * np.sqrt(limit) * np.sqrt(q) - limit)
        return q * limit / (q + limit)

    def cost(self, unknowns):
        return 0.5 * np.square(self.terms(unknowns)).sum()


def spoiled(model, T, seed=1):
    """A clip with noise and wild points."""
    clip = made_up_clip(model, T, noise=1.0, turn=0.5, seed=seed)
    rng = np.random.default_rng(seed)
    landmarks = clip.landmarks.copy()
    landmarks[np.arange(T), rng.integers(17, 68, T)] += rng.normal(size=(T, 2)) * 25
    return clip, landmarks


@pytest.mark.parametrize("loss", ["huber", "geman_mcclure"])
@pytest.mark.parametrize("T", [2, 7])
def test_the_objective_equals_what_scipy_reaches(model, loss, T):
    config = FitConfig(weights=WEIGHTS, loss=loss, loss_at=2.0, range_weight=4.0)
    clip, landmarks = spoiled(model, T)
    oracle = Oracle(model, landmarks, config)
    ours = oracle.pack(fit_clip(model, landmarks, config))
    shaken = ours + np.random.default_rng(0).normal(size=ours.shape) * 0.01
    # A redescending loss has local minima: the lower of both ends counts.
    exact = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-13)
    found = min(
        least_squares(oracle.terms, start, **exact).cost for start in (oracle.pack(clip), shaken)
    )
    assert oracle.cost(ours) == pytest.approx(found, rel=1e-6)


def test_kernels_by_hand():
    """c = 2: q = 1 and 16; huber 1 and 2 * 2 * 4 - 4; geman_mcclure 4 / 5 and 64 / 20."""
    q = np.array([1.0, 16.0])
    np.testing.assert_allclose(robust_kernel(q, "huber", 2.0), [1, 12])
    np.testing.assert_allclose(robust_weight(q, "huber", 2.0), [1, 0.5])
    np.testing.assert_allclose(robust_kernel(q, "geman_mcclure", 2.0), [0.8, 3.2])
    np.testing.assert_allclose(robust_weight(q, "geman_mcclure", 2.0), [0.64, 0.04])
    np.testing.assert_array_equal(robust_kernel(q, "square", 2.0), q)


def test_the_least_squares_fit_never_meets_a_kernel(model, monkeypatch):
    landmarks = made_up_clip(model, T=12, noise=0.5).landmarks

    def refused(*_, **__):
        raise AssertionError("a kernel ran")

    monkeypatch.setattr(affekt.media.face3d.fit, "refine", refused)
    fit_clip(model, landmarks, FitConfig())
    with pytest.raises(AssertionError, match="a kernel ran"):
        fit_clip(model, landmarks, FitConfig(loss="huber"))


@pytest.mark.parametrize("T", [1, 3, 40])
def test_a_kernel_that_no_point_reaches_changes_next_to_nothing(model, T):
    landmarks = made_up_clip(model, T, noise=0.5).landmarks
    plain = fit_clip(model, landmarks, FitConfig(tolerance=1e-12))
    almost = fit_clip(model, landmarks, FitConfig(loss="huber", loss_at=1e6))
    np.testing.assert_allclose(almost.pose, plain.pose, atol=1e-3)
    np.testing.assert_allclose(almost.expression, plain.expression, atol=1e-3)


def turned_deg(fit, other):
    first, second = (geometry.rotation_matrix(each.pose[:, :3]) for each in (fit, other))
    return geometry.rotation_angle_deg(first, second)


def test_one_wild_landmark_does_not_move_a_robust_pose(model):
    landmarks = made_up_clip(model, T=20, noise=0.5).landmarks
    wild = landmarks.copy()
    wild[9, 45] += [60, -40]
    moved = {
        loss: turned_deg(
            *(fit_clip(model, each, FitConfig(loss=loss)) for each in (wild, landmarks))
        )[9]
        for loss in ("square", "huber", "geman_mcclure")
    }
    assert moved["square"] > 8
    assert moved["huber"] < 0.5 * moved["square"]
    assert moved["geman_mcclure"] < 0.5


def test_a_long_clip_and_a_held_geometry_take_the_kernel_too(model):
    clip, landmarks = spoiled(model, T=90)
    config = FitConfig(loss="huber")
    whole = fit_clip(model, landmarks, config)
    part = fit_clip(model, landmarks, FitConfig(loss="huber", geometry_frames=40))
    assert turned_deg(part, whole).max() < 1.0
    held = fit_clip(model, landmarks, config, identity=clip.identity)
    np.testing.assert_allclose(held.identity, clip.identity)
    least_squares_fit = fit_clip(model, landmarks, identity=clip.identity)
    assert turned_deg(held, clip).mean() < 0.8 * turned_deg(least_squares_fit, clip).mean()


def test_a_kernel_without_width_is_refused():
    with pytest.raises(ValueError, match=r"loss_at is 0\.0"):
        FitConfig(loss_at=0.0)
