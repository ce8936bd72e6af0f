"""Settings of a fit, and the order in which it finds geometry, pose and expression of a clip.

Geometry first on few frames, then on all; of a long clip on `geometry_frames`, evenly spread, whose
geometry is then held. A robust kernel comes last and starts where the least-squares fit ends. The
fit of EVP's supplement, Sec. 1.2, has none: it is off by default.
"""

import typing as tp
from dataclasses import dataclass, field, replace

import numpy as np

from affekt.arrays import Array
from affekt.media.face3d.gauss_newton import Problem, State, minimise, robust_objective, squared
from affekt.media.faces import points

KEYFRAMES = 24  # frames that find a first geometry before all frames take part
ROUGH = 1e-2  # relative gain at which that first geometry is good enough
START_ITERATIONS = 2  # of all frames under it
# Reweighting gains little by little, so that it ends later than the plain fit for the same 1e-6.
FINER = 1e-3  # of the configured tolerance
ROUNDS = 400  # of reweighting, at most
ROUND_ITERATIONS = 2  # of Gauss-Newton in each

Loss = tp.Literal["square", "huber", "geman_mcclure"]


@dataclass(frozen=True)
class PointWeights:
    """Trust in each group of points: one over its standard deviation relative to `noise`.

    The defaults are measured: of those tried, the smallest error of rotation of lively heads of the
    mini corpus under a learned model (2.5 degrees; 2.9 with nose and eyes at 1, jaw at 0.3).
    """

    jaw: float = 0.2  # contour points slide over the skin as the head turns
    brows: float = 1.0
    nose: float = 0.3  # the bridge's points slide along it: they show a third too little pitch
    eyes: float = 2.0  # corners and lids are the sharpest edges of a face
    mouth: float = 1.0

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 0 or self.nose == 0 or self.eyes == 0:
            raise ValueError(f"{self}: weights are 0 or more, those of nose and eyes above 0")

    def per_point(self) -> Array:
        """Return the weights of the 68 points."""
        weights = np.zeros(points.COUNT)
        for group, members in points.GROUPS.items():
            weights[list(members)] = getattr(self, group)
        return weights


@dataclass(frozen=True)
class FitConfig:
    """Priors and limits of a fit."""

    noise: float = 0.0125  # standard deviation of a landmark, outer-eye distances: 1.5 px at 256
    weights: PointWeights = field(default_factory=PointWeights)
    identity_weight: float = 1.0  # of the Gaussian priors on coefficients over their std
    expression_weight: float = 1.0
    range_weight: float = 10.0  # of expression outside the model's range
    # A clip counts as at most this many frames against the geometry's prior: a detector's errors
    # repeat from frame to frame, and without a limit geometry takes over ever more of the
    # expression as clips grow (mini corpus, calm clips: 1.6 degrees of error with 5, 1.8 with 20).
    independent_frames: int = 5
    geometry_frames: int = 400  # of a longer clip this many, evenly spread, find the geometry
    # Relative gain of the objective at which the fit ends: gains fall fivefold a step or faster, so
    # the end is within 1e-6 of the optimum.
    tolerance: float = 2e-6
    iterations: int = 40
    loss: Loss = "square"  # robust kernels for outliers; see `robust_kernel`
    loss_at: float = 3.0  # c of the kernel, standard deviations of a landmark's noise

    def __post_init__(self) -> None:
        above_zero = ("noise", "identity_weight", "expression_weight", "independent_frames")
        for key in (*above_zero, "geometry_frames", "iterations", "loss_at"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} is {getattr(self, key)}, wanted more than 0")


def solve(problem: Problem, state: State, config: FitConfig) -> State:
    """Find geometry on few frames, then on all; beyond `geometry_frames`, on those alone."""
    T = len(problem.points)
    if T > KEYFRAMES:
        few = _spread_frames(T, KEYFRAMES)
        rough = minimise(
            _shared(problem.take(few), config), state.take(few), ROUGH, config.iterations
        )
        start = replace(state, identity=rough.identity)
        state = pose_and_expression(problem, start, ROUGH, START_ITERATIONS)
    if config.geometry_frames >= T:
        return minimise(_shared(problem, config), state, config.tolerance, config.iterations)
    many = _spread_frames(T, config.geometry_frames)
    some = _shared(problem.take(many), config)
    found = minimise(some, state.take(many), config.tolerance, config.iterations)
    start = replace(state, identity=found.identity)
    return pose_and_expression(problem, start, config.tolerance, config.iterations)


def pose_and_expression(problem: Problem, state: State, tolerance: float, iterations: int) -> State:
    """Fit each frame under the geometry of `state`."""
    held, alone = _hold(problem, state)
    fitted = minimise(held, alone, tolerance, iterations)
    return replace(fitted, identity=state.identity)


def refine(problem: Problem, state: State, config: FitConfig, geometry_held: bool) -> State:
    """Return the fit under the robust kernel of `config`, from `state`, the least-squares fit."""
    T = len(problem.points)
    if not geometry_held and config.geometry_frames < T:
        many = _spread_frames(T, config.geometry_frames)
        found = _reweighted(_shared(problem.take(many), config), state.take(many), config)
        state, geometry_held = replace(state, identity=found.identity), True
    if not geometry_held:
        return _reweighted(_shared(problem, config), state, config)
    held, alone = _hold(problem, state)
    return replace(_reweighted(held, alone, config), identity=state.identity)


def robust_kernel(q: Array, loss: Loss, at: float) -> Array:
    """Return the loss of squared residuals `q`, in squared standard deviations.

    huber          q up to c^2, then 2 c sqrt(q) - c^2 (Huber 1964): an outlier has a bounded pull
    geman_mcclure  q c^2 / (q + c^2) (Geman and McClure 1987): the pull of an outlier goes to 0.
                   It has local minima, so that the fit under Huber's is its start.
    """
    limit = at**2
    if loss == "huber":
        return np.where(q <= limit, q, 2 * np.sqrt(limit * q) - limit)
    return q * limit / (q + limit) if loss == "geman_mcclure" else q


def robust_weight(q: Array, loss: Loss, at: float) -> Array:
    """Return the derivative of `robust_kernel`: how much a point counts, 0 to 1."""
    limit = at**2
    if loss == "huber":
        return np.sqrt(limit / np.maximum(q, limit))
    return np.square(limit / (q + limit)) if loss == "geman_mcclure" else np.ones_like(q)


def _reweighted(problem: Problem, state: State, config: FitConfig) -> State:
    """Minimise the robust objective by iteratively reweighted least squares."""
    if config.loss == "geman_mcclure":
        state = _reweighted(problem, state, replace(config, loss="huber"))

    def kernel(q: Array) -> Array:
        return robust_kernel(q, config.loss, config.loss_at)

    value = robust_objective(problem, state, kernel)
    for _ in range(ROUNDS):
        counts = robust_weight(squared(problem, state), config.loss, config.loss_at)
        round_problem = replace(problem, weights=problem.weights * np.sqrt(counts))
        state = minimise(round_problem, state, 0.0, ROUND_ITERATIONS)
        before, value = value, robust_objective(problem, state, kernel)
        if before - value <= FINER * config.tolerance * value:
            break
    return state


def _shared(problem: Problem, config: FitConfig) -> Problem:
    """Return the problem with its frames weighed against the geometry's prior."""
    return replace(problem, frame_weight=min(1.0, config.independent_frames / len(problem.points)))


def _hold(problem: Problem, state: State) -> tuple[Problem, State]:
    """Return problem and state without unknowns of the geometry: that of `state` is the mean."""
    E = state.expression.shape[1]
    neutral = problem.mean + np.tensordot(state.identity, problem.identity, 1)
    held = replace(problem, mean=neutral, identity=problem.identity[:0])
    alone = replace(state, identity=np.zeros(0), expression=state.expression.reshape(-1, E))
    return held, alone


def _spread_frames(total: int, count: int) -> Array:
    return np.linspace(0, total - 1, count).round().astype(int)
