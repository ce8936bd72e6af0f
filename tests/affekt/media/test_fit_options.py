"""Options of the fit: robust loss, smooth motion, bounds, a contour that slides."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.optimize import least_squares

import affekt.media.face3d.fit
from affekt.media.face3d.block_tridiagonal import backward, forward
from affekt.media.face3d.contour import (
    chosen,
    dense_in_gauge,
    jaw_curve,
    slide,
    surface_paths,
    with_candidates,
)
from affekt.media.face3d.fit import FitConfig, PointWeights, fit_clip, weak_perspective
from affekt.media.face3d.gauss_newton import Problem, State, residuals
from affekt.media.face3d.model import FaceModel, canonical, load_face_model, project
from affekt.media.face3d.whole_clip import Terms, rho, rho_slope
from affekt.media.faces import geometry
from benchmarks.made_up_faces import made_up_clip, made_up_model
from benchmarks.pose import WHOLE, released_clip
from eamm.inference.pose import to_release

HUBER, GEMAN = Terms("huber", 2.0), Terms("geman_mcclure", 2.0)
SMOOTH = Terms(pose_weight=1e4, expression_weight=3.0)
BOUNDED = Terms(bounded=True)
ALL = replace(SMOOTH, loss="huber", loss_at=2.0, bounded=True)
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

    def pack(self, pose, identity, expression):
        frames = np.hstack([pose / self.units, expression / self.model.expression_std])
        return np.concatenate([identity, frames.ravel()])

    def split(self, unknowns):
        frames = unknowns[self.K :].reshape(self.T, 6 + self.E)
        expression = frames[:, 6:] * self.model.expression_std
        return unknowns[: self.K], frames[:, :6] * self.units, expression

    def terms(self, unknowns):
        identity, pose, expression = self.split(unknowns)
        config, options, model = self.config, self.config.terms, self.model
        error = project(model.shapes(identity, expression), pose) - self.landmarks
        error *= self.per_point[:, None] / (config.noise * self.unit)
        q = np.square(error).sum(axis=2, keepdims=True)
        error *= np.sqrt(self.loss(q) / np.maximum(q, 1e-300))  # squared, it is the loss
        low, high = model.expression_range.T
        outside = np.maximum(0, expression - high) + np.minimum(0, expression - low)
        own = expression / model.expression_std
        bend = partial(np.diff, n=2, axis=0)
        stiff = np.sqrt(options.pose_weight)
        parts = (
            error,
            np.sqrt(config.expression_weight) * own,
            np.sqrt(config.range_weight) * outside / model.expression_std,
            stiff * bend(geometry.rotation_matrix(pose[:, :3])) / np.sqrt(2),
            stiff * bend(pose[:, 3]),
            stiff * bend(pose[:, 4:] / self.unit),
            np.sqrt(options.expression_weight) * bend(own),
        )
        share = np.sqrt(min(1.0, config.independent_frames / self.T))
        flat = np.concatenate([part.ravel() for part in parts])
        return np.concatenate([share * flat, identity / model.identity_std])

    def loss(self, q):
        limit = self.config.terms.loss_at**2
        if self.config.terms.loss == "huber":
            return np.where(q <= limit, q, 2 * np.sqrt(limit) * np.sqrt(q) - limit)
        return q * limit / (q + limit) if self.config.terms.loss == "geman_mcclure" else q

    def bounds(self):
        low, high = np.full((2, self.T, 6 + self.E), np.inf) * np.array([-1, 1])[:, None, None]
        if self.config.terms.bounded:
            low[:, 6:], high[:, 6:] = self.model.expression_range.T[:, None]
            low[:, 6:], high[:, 6:] = low[:, 6:] / self.model.expression_std, high[:, 6:]
        free = np.full(self.K, np.inf)
        return np.concatenate([-free, low.ravel()]), np.concatenate([free, high.ravel()])

    def cost(self, fit):
        unknowns = self.pack(fit.pose, fit.identity, fit.expression)
        return 0.5 * np.square(self.terms(unknowns)).sum()


def spoiled(model, T, seed=1):
    """A clip with noise and wild points, and expressions that would leave a range of 1.2."""
    clip = made_up_clip(model, T, noise=1.0, turn=0.5, seed=seed)
    rng = np.random.default_rng(seed)
    landmarks = clip.landmarks.copy()
    landmarks[np.arange(T), rng.integers(17, 68, T)] += rng.normal(size=(T, 2)) * 25
    return clip, landmarks


@pytest.mark.parametrize("terms", [HUBER, GEMAN, SMOOTH, BOUNDED, ALL], ids=str)
@pytest.mark.parametrize("T", [2, 7])
def test_the_objective_equals_what_scipy_reaches(model, terms, T):
    narrow = replace(model, expression_range=np.tile([-0.4, 0.6], (3, 1)))
    config = FitConfig(weights=WEIGHTS, terms=terms, range_weight=4.0, independent_frames=5)
    clip, landmarks = spoiled(narrow, T)
    fit = fit_clip(narrow, landmarks, config)
    oracle = Oracle(narrow, landmarks, config)
    low, high = oracle.bounds()
    ours = oracle.pack(fit.pose, fit.identity, fit.expression)
    truth = oracle.pack(clip.pose, clip.identity, clip.expression)
    shaken = ours + np.random.default_rng(0).normal(size=ours.shape) * 0.01
    # A redescending loss has local minima: the lower of both ends counts.
    found = min(
        least_squares(
            oracle.terms,
            np.clip(start, low + 1e-3, high - 1e-3),
            bounds=(low, high),
            **dict.fromkeys(("xtol", "ftol", "gtol"), 1e-13),
        ).cost
        for start in (truth, shaken)
    )
    assert oracle.cost(fit) == pytest.approx(found, rel=1e-6)


def test_a_sweep_over_blocks_solves_the_whole_matrix():
    rng = np.random.default_rng(0)
    S, Q = 4, 3
    lower = np.tril(rng.normal(size=(S * Q, S * Q))) + 4 * np.eye(S * Q)
    place = np.arange(S * Q) // Q
    lower[place[:, None] - place > 1] = 0  # of two blocks a row, as is the product's
    whole = lower @ lower.T
    tiles = whole.reshape(S, Q, S, Q).swapaxes(1, 2)
    blocks, beside = tiles[range(S), range(S)], tiles[range(1, S), range(S - 1)]
    right = rng.normal(size=(S, Q, 2))
    lowers, links, whitened = forward(blocks, beside, right)
    wanted = np.linalg.solve(whole, right.reshape(S * Q, 2))
    for column in range(2):
        found = backward(lowers, links, whitened[..., column])
        np.testing.assert_allclose(found.ravel(), wanted[:, column], atol=1e-10)


def test_losses_by_hand():
    """c = 2: q = 1 and 16; huber 1 and 2 * 2 * 4 - 4; geman_mcclure 4 / 5 and 64 / 20."""
    q = np.array([1.0, 16.0])
    np.testing.assert_allclose(rho(q, HUBER), [1, 12])
    np.testing.assert_allclose(rho_slope(q, HUBER), [1, 0.5])
    np.testing.assert_allclose(rho(q, GEMAN), [0.8, 3.2])
    np.testing.assert_allclose(rho_slope(q, GEMAN), [0.64, 0.04])
    np.testing.assert_array_equal(rho(q, Terms()), q)


def test_options_are_off_by_default_and_the_plain_fit_never_meets_them(model, monkeypatch):
    landmarks = made_up_clip(model, T=12, noise=0.5).landmarks
    before = fit_clip(model, landmarks)

    def refused(*arguments):
        raise AssertionError("an option ran")

    monkeypatch.setattr(affekt.media.face3d.fit, "refine", refused)
    after = fit_clip(model, landmarks, FitConfig())
    np.testing.assert_array_equal(after.pose, before.pose)
    with pytest.raises(AssertionError, match="an option ran"):
        fit_clip(model, landmarks, FitConfig(terms=HUBER))


@pytest.mark.parametrize("T", [1, 2, 3, 40])
def test_options_that_ask_for_next_to_nothing_change_next_to_nothing(model, T):
    landmarks = made_up_clip(model, T, noise=0.5).landmarks
    plain = fit_clip(model, landmarks, FitConfig(tolerance=1e-12))
    terms = Terms("huber", 1e6, 1e-9, 1e-9)
    almost = fit_clip(model, landmarks, FitConfig(terms=terms))
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
            *(fit_clip(model, each, FitConfig(terms=Terms(loss))) for each in (wild, landmarks))
        )[9]
        for loss in ("square", "huber", "geman_mcclure")
    }
    assert moved["square"] > 8
    assert moved["huber"] < 0.5 * moved["square"]
    assert moved["geman_mcclure"] < 0.5


def jitter(values):
    return np.abs(np.diff(values, 2, axis=0)).mean()


def test_a_smooth_fit_jitters_less_and_is_nearer_to_the_truth(model):
    landmarks, pose, _, expression = made_up_clip(model, T=100, noise=1.5)
    plain, smooth = (fit_clip(model, landmarks, FitConfig(terms=t)) for t in (Terms(), SMOOTH))
    assert jitter(smooth.pose[:, :3]) < 0.3 * jitter(plain.pose[:, :3])
    assert jitter(smooth.expression) < 0.5 * jitter(plain.expression)
    off = [np.abs(fit.pose[:, :3] - pose[:, :3]).mean() for fit in (smooth, plain)]
    assert off[0] < 0.9 * off[1]
    off = [np.abs(fit.expression - expression).mean() for fit in (smooth, plain)]
    assert off[0] < off[1]


def test_a_smooth_fit_does_not_lag(model):
    """The past counts as the future does: a clip played backwards fits backwards."""
    landmarks, pose, *_ = made_up_clip(model, T=61, noise=1.0)
    config = FitConfig(terms=SMOOTH)
    forward, backward = (fit_clip(model, each, config) for each in (landmarks, landmarks[::-1]))
    np.testing.assert_allclose(backward.pose[::-1], forward.pose, atol=1e-3)
    yaw, truth = forward.pose[5:-5, 1], pose[:, 1]
    late = [np.abs(yaw - truth[5 - shift : 56 - shift]).mean() for shift in (-1, 0, 1)]
    assert np.argmin(late) == 1


def test_a_bounded_expression_never_leaves_its_range(model):
    _, pose, identity, expression = made_up_clip(model, T=20)
    far = project(model.shapes(identity, 4 * expression), pose)
    fit = fit_clip(model, far, FitConfig(terms=BOUNDED))
    low, high = model.expression_range.T
    assert (low <= fit.expression).all()
    assert (fit.expression <= high).all()
    assert (fit.expression == high).any()


def test_scale_does_not_drift_under_the_options(model):
    landmarks, pose, *_ = made_up_clip(model, T=30, noise=1.0)
    config = FitConfig(terms=replace(ALL, pose_weight=1.0), independent_frames=1000)

    def growth(times):
        fit = fit_clip(model, np.concatenate([landmarks, landmarks[::-1]] * times), config)
        return (fit.pose[:30, 3] - pose[:, 3]).mean()

    assert abs(growth(1)) < 0.01
    assert abs(growth(6) - growth(1)) < 0.005


def test_a_long_clip_and_a_known_geometry_take_the_options_too(model):
    landmarks, _, identity, _ = made_up_clip(model, T=90, noise=1.0)
    whole = fit_clip(model, landmarks, FitConfig(terms=ALL))
    part = fit_clip(model, landmarks, FitConfig(terms=ALL, geometry_frames=40))
    assert turned_deg(part, whole).max() < 1.0
    assert jitter(part.pose[:, :3]) == pytest.approx(jitter(whole.pose[:, :3]), rel=0.1)
    held = fit_clip(model, landmarks, FitConfig(terms=ALL, slide=True), identity=identity)
    np.testing.assert_allclose(held.identity, identity)


# the contour


def slid_along(model, clip):
    """The clip with jaw points up to a row farther along the jaw, the more the head turns."""
    faces = model.shapes(clip.identity, clip.expression)
    place = np.clip(np.arange(17) + 2.0 * np.sin(clip.pose[:, 1:2]), 0, 16)
    row = np.minimum(place.astype(int), 15)
    part = (place - row)[..., None]
    frame = np.arange(len(faces))[:, None]
    faces[:, :17] = (1 - part) * faces[frame, row] + part * faces[frame, row + 1]
    return project(faces, clip.pose)


def rotation_error(model, landmarks, clip, config, contour=None):
    fit = fit_clip(model, landmarks, config, contour=contour)
    return turned_deg(fit, clip).mean()


def test_points_that_slide_along_the_jaw_do_not_turn_a_sliding_fit(model):
    clip = made_up_clip(model, T=40, noise=0.5)
    landmarks, weights = slid_along(model, clip), PointWeights(jaw=1.0)
    error = partial(rotation_error, model, landmarks, clip)
    fixed, sliding = (error(FitConfig(weights=weights, slide=s)) for s in (False, True))
    assert sliding < 0.6 * fixed


DEPTHS = np.linspace(-0.6, 0.6, 27)[1::2]  # the middles of the slices that a path has


def cheeks(model):
    """A dense model: the 68 rows, then skin before and behind the jaw's, which falls away."""
    outward = model.mean[:17, :2] / np.linalg.norm(model.mean[:17, :2], axis=1, keepdims=True)
    skin = np.zeros((17, len(DEPTHS), 3))
    skin[..., :2] = -0.8 * np.square(DEPTHS)[:, None] * outward[:, None]
    skin[..., 2] = DEPTHS
    mean = np.concatenate([model.mean, (model.mean[:17, None] + skin).reshape(-1, 3)])
    rows = np.concatenate([np.arange(68), np.repeat(np.arange(17), len(DEPTHS))])
    return mean, model.identity[:, rows], model.expression[:, rows]


def outlined(model, clip):
    """The clip with each jaw point where the skin of `cheeks` reaches farthest out."""
    mean, identity, expression = cheeks(model)
    faces = mean + np.tensordot(clip.identity, identity, 1)
    skin = project(faces + np.tensordot(clip.expression, expression, 1), clip.pose)[:, 68:]
    skin = skin.reshape(len(skin), 17, -1, 2)
    outward = project(np.concatenate([model.mean[:17, :2], np.zeros((17, 1))], 1), clip.pose)
    outward -= clip.pose[:, None, 4:]
    best = np.einsum("tjvd,tjd->tjv", skin, outward).argmax(axis=2)
    landmarks = clip.landmarks.copy()
    landmarks[:, :17] = np.take_along_axis(skin, best[..., None, None], 2)[:, :, 0]
    return landmarks, best


def test_paths_over_the_skin_are_found_from_its_vertices(model):
    dense = cheeks(model)
    contour = surface_paths(*dense, np.arange(17))
    found, wanted = contour.mean, dense[0][68:].reshape(17, -1, 3)
    np.testing.assert_allclose(found[3:14], wanted[3:14], atol=1e-12)
    np.testing.assert_array_equal(contour.identity[:, 5, 0], model.identity[:, 5])


def test_an_outline_seen_from_the_side_does_not_turn_a_sliding_fit(model):
    clip = made_up_clip(model, T=40, noise=0.5)
    landmarks, best = outlined(model, clip)
    assert np.ptp(best[:, 2]) > 2  # the outline wanders over the skin
    contour = surface_paths(*cheeks(model), np.arange(17))
    error = partial(rotation_error, model, landmarks, clip, FitConfig(weights=PointWeights(jaw=1)))
    assert error(contour) < 0.6 * error()


def problem_of(model, clip):
    """The clip's problem in the solver's terms, and its true state."""
    T = len(clip.landmarks)
    across = [each.swapaxes(-1, -2) for each in (model.mean, model.identity, model.expression)]
    unit = np.exp(clip.pose[0, 3])
    points = clip.landmarks.swapaxes(1, 2) / unit
    limits = model.expression_range.T
    problem = Problem(points, np.full((T, 68), 80.0), *across, limits, 1.0, 0.0, 1.0)
    rotation = geometry.rotation_matrix(clip.pose[:, :3])
    place = clip.pose[:, 4:] / unit
    scale = clip.pose[:, 3] - clip.pose[0, 3]
    return problem, State(clip.identity, clip.expression, rotation, scale, place)


def test_what_a_sliding_fit_chose_is_what_it_would_choose_again(model):
    clip = made_up_clip(model, T=10, noise=0.5)
    contour = jaw_curve(model)
    problem, truth = problem_of(model, clip)
    start = replace(truth, log_scale=truth.log_scale + 0.1)  # its first choice is another
    wide = with_candidates(problem, contour)
    narrowed, state = slide(wide, contour, Terms(), start, 1e-9, 100)
    apart = np.square(residuals(wide, state)[..., 51:]).sum(axis=1).reshape(10, 17, -1)
    np.testing.assert_array_equal(chosen(wide, state, contour), apart.argmin(axis=2))
    assert ((narrowed.weights[:, 51:] > 0).reshape(10, 17, -1).sum(axis=2) == 1).all()
    kept = narrowed.weights[:, 51:].reshape(10, 17, -1).argmax(axis=2)
    np.testing.assert_array_equal(kept, apart.argmin(axis=2))


def test_a_dense_model_comes_into_the_gauge_of_its_rows(model):
    rng = np.random.default_rng(0)
    mean, _, expression = cheeks(model)
    identity = rng.normal(size=(2, len(mean), 3))
    moved = 7 * mean + [1, 2, 3]
    std, spans = np.ones(2), np.ones((3, 2))
    rows = FaceModel(moved[:68], identity[:, :68], expression[:, :68], std, np.ones(3), spans)
    canon = canonical(rows)
    found = dense_in_gauge(moved, identity, expression, np.arange(68))
    for dense, own in zip(found, (canon.mean, canon.identity, canon.expression), strict=True):
        np.testing.assert_allclose(dense[..., :68, :], own, atol=1e-12)


def test_wrong_options_are_refused(model):
    with pytest.raises(ValueError, match="loss_at is above 0"):
        Terms(loss_at=0.0)
    with pytest.raises(ValueError, match="weights are 0 or more"):
        Terms(pose_weight=-1.0)
    other = made_up_model(K=5, E=3)
    with pytest.raises(ValueError, match=r"has 5 \+ 3 modes, wanted the face model's 4 \+ 3"):
        fit_clip(model, made_up_clip(model, 3).landmarks, contour=jaw_curve(other))


@pytest.mark.data
def test_poses_of_the_released_lrw_clip_differ_by_what_frontal_means(media_root):
    """Spans of 1.5, 5.2, 1.8 degrees: yaw and roll are near, pitch moves alike, off by a constant.

    ICT-FaceKit's front looks down by 6 degrees of the release (tests/eamm/inference/test_pose.py).
    """
    landmarks, released = released_clip(media_root / "eamm_lrw" / "LRW_ABOUT_00001.tar")
    assert landmarks.shape == (29, 68, 2)
    ict = load_face_model(media_root / "face_model" / "ict_68.npz")
    for config in (FitConfig(), FitConfig(terms=Terms(pose_weight=1e4, expression_weight=3.0))):
        found = to_release(fit_clip(ict, landmarks, config).pose, WHOLE)[:, :3]
        yaw, pitch, roll = (found - released[:, :3]).mean(axis=0)
        assert abs(yaw) < 1
        assert 4 < pitch < 8
        assert abs(roll) < 1
        assert np.corrcoef(found[:, 1], released[:, 1])[0, 1] > 0.7
