"""Fit a face model to the landmarks of a clip, and give a face another head's pose (EVP Sec. 3.3).

EVP recovers pose, geometry (199) and expression (29) of each pair of predicted and detected
landmarks by non-linear optimisation (supplement Sec. 1.2). Here geometry is shared over the clip,
because a skull does not change from frame to frame and one frame does not determine its depth.

Ours, since the paper names neither solver nor priors: the objective and solver of
affekt/media/face3d/gauss_newton.py; landmark noise in units of the face, so that a clip fits alike
at any resolution; no scale mode in the geometry (affekt/media/face3d/model.py).

Letters: T frames, K identity modes, E expression modes.
"""

import functools
import typing as tp
from dataclasses import dataclass, field, replace

import numpy as np
from threadpoolctl import ThreadpoolController

from affekt.arrays import Array
from affekt.media.face3d.gauss_newton import Problem, State, minimise, residuals
from affekt.media.face3d.model import FaceModel, project
from affekt.media.faces import geometry, points

Residual = tp.Literal["keep", "drop"]

KEYFRAMES = 24  # frames that find a first geometry before all frames take part
ROUGH = 1e-2  # relative gain at which that first geometry is good enough
START_ITERATIONS = 2  # of all frames under it


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

    def __post_init__(self) -> None:
        above_zero = ("noise", "identity_weight", "expression_weight", "independent_frames")
        for key in (*above_zero, "geometry_frames", "iterations"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} is {getattr(self, key)}, wanted more than 0")


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted clip; `model.shapes(fit.identity, fit.expression)` are its faces."""

    pose: Array  # (T, 6): rotation vector, log scale, tx, ty, in the landmarks' pixels
    identity: Array  # (K,)
    expression: Array  # (T, E)
    residual_px: Array  # (T,), root mean square distance over the points of weight above 0


def fit_clip(
    model: FaceModel,
    landmarks: Array,
    config: FitConfig | None = None,
    identity: Array | None = None,
) -> Fit:
    """Fit pose and expression of each frame and one geometry to landmarks (T, 68, 2), in pixels.

    `identity` (K,) holds the geometry fixed, of a speaker whose geometry was fitted before.

    Raises:
        ValueError: no frames, a wrong shape, NaN or infinity, or points all on one spot; the
            message names the first such frame.
    """
    config = config or FitConfig()
    landmarks = _checked(landmarks)
    with _blas().limit(limits=1, user_api="blas"):
        return _fit(model, landmarks, config, identity)


def _fit(model: FaceModel, landmarks: Array, config: FitConfig, identity: Array | None) -> Fit:
    # Normalise the landmarks: mean face of unit size around the origin
    scale, rotation, translation = weak_perspective(model, landmarks, config.weights.per_point())
    unit, centre = float(np.median(scale)), translation.mean(axis=0)
    spread = model.identity_std / np.sqrt(config.identity_weight)
    problem = _problem(model, spread, (landmarks - centre) / unit, config)
    no_expression = np.zeros((len(landmarks), len(model.expression)))
    # Start from the weak-perspective pose of the mean face
    log_scale, offset = np.log(scale / unit), (translation - centre) / unit
    state = State(np.zeros(len(model.identity)), no_expression, rotation, log_scale, offset)
    # Least squares over all parameters, or over pose and expression alone
    if identity is None:
        state = _solve(problem, state, config)
    else:
        held = replace(state, identity=identity / spread)
        state = _pose_and_expression(problem, held, config.tolerance, config.iterations)
    # Back to pixels
    squared = np.square(residuals(problem, state)).sum(axis=1)
    distance = np.sqrt(squared[:, problem.weights[0] > 0].mean(axis=1))
    vector = geometry.rotation_vector(state.rotation)
    moved = unit * state.translation + centre
    pose = np.column_stack([vector, state.log_scale + np.log(unit), moved])
    return Fit(
        pose,
        state.identity * spread,
        state.expression * model.expression_std,
        unit * distance,
    )


def _solve(problem: Problem, state: State, config: FitConfig) -> State:
    """Find geometry on few frames, then on all; beyond `geometry_frames`, on those alone."""
    T = len(problem.points)
    if T > KEYFRAMES:
        few = _spread_frames(T, KEYFRAMES)
        rough = minimise(
            _shared(problem.take(few), config), state.take(few), ROUGH, config.iterations
        )
        start = replace(state, identity=rough.identity)
        state = _pose_and_expression(problem, start, ROUGH, START_ITERATIONS)
    if config.geometry_frames >= T:
        return minimise(_shared(problem, config), state, config.tolerance, config.iterations)
    many = _spread_frames(T, config.geometry_frames)
    some = _shared(problem.take(many), config)
    found = minimise(some, state.take(many), config.tolerance, config.iterations)
    start = replace(state, identity=found.identity)
    return _pose_and_expression(problem, start, config.tolerance, config.iterations)


def _pose_and_expression(
    problem: Problem, state: State, tolerance: float, iterations: int
) -> State:
    """Fit each frame under the geometry of `state`, which then is the mean face."""
    neutral = problem.mean + np.tensordot(state.identity, problem.identity, 1)
    held = replace(problem, mean=neutral, identity=problem.identity[:0])
    fitted = minimise(held, replace(state, identity=np.zeros(0)), tolerance, iterations)
    return replace(fitted, identity=state.identity)


def _shared(problem: Problem, config: FitConfig) -> Problem:
    """Return the problem with its frames weighed against the geometry's prior."""
    return replace(problem, frame_weight=min(1.0, config.independent_frames / len(problem.points)))


def _spread_frames(total: int, count: int) -> Array:
    return np.linspace(0, total - 1, count).round().astype(int)


def weak_perspective(
    model: FaceModel, landmarks: Array, weights: Array
) -> tuple[Array, Array, Array]:
    """Return scale (T,), rotation (T, 3, 3), translation (T, 2) of the mean face in (T, 68, 2).

    The least-squares affine camera, then the nearest scaled rotation: the first pass of POS
    (DeMenthon and Davis 1995, Model-based object pose in 25 lines of code).
    """
    share = np.square(weights) / np.square(weights).sum()
    middle = share @ model.mean
    centres = np.einsum("n,tnd->td", share, landmarks)
    shape = model.mean - middle
    lever = np.linalg.solve(shape.T @ (share[:, None] * shape), (share[:, None] * shape).T)
    camera = (lever @ (landmarks - centres[:, None])).swapaxes(1, 2)  # (T, 2, 3)
    left, singular, right = np.linalg.svd(camera, full_matrices=False)
    rows = left @ right
    rotation = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], axis=1)
    scale = singular.mean(axis=1)
    return scale, rotation, centres - scale[:, None] * (rows @ middle)


def replace_pose(
    model: FaceModel,
    predicted: Array,
    target_pose: Array,
    config: FitConfig | None = None,
    residual: Residual = "keep",
    identity: Array | None = None,
) -> Array:
    """Return predicted landmarks (T, 68, 2) under the poses (T, 6) of a target video (EVP Eq. 8).

        l_p = s_t Pr R_t L_p + t_t

    `drop` is that equation on the fitted face L_p. The paper notes (Sec. 3.3) that fitted
    expressions do not represent detailed emotions and that its model serves alignment alone, so
    `keep`, the default and ours, carries what the fit leaves over: predicted minus refitted
    points, taken as displacements parallel to the predicted image plane, turned with the head
    (R_t R_p^T), scaled by s_t / s_p and projected. With the predicted pose itself as the target,
    `keep` returns the predicted points.

    Raises:
        ValueError: as `fit_clip`, or the numbers of frames differ.
    """
    target_pose = np.asarray(target_pose, float)
    if target_pose.shape != (len(predicted), 6):
        wanted = (len(predicted), 6)
        raise ValueError(f"target poses have shape {target_pose.shape}, wanted {wanted}")
    # Eq. 8: the fitted face, projected under the target's pose
    fit = fit_clip(model, predicted, config, identity)
    faces = model.shapes(fit.identity, fit.expression)
    moved = project(faces, target_pose)
    if residual == "drop":
        return moved
    # What the fit does not explain, turned and scaled with the head
    detail = np.asarray(predicted, float) - project(faces, fit.pose)
    to_target = geometry.rotation_matrix(target_pose[:, :3])
    from_predicted = geometry.rotation_matrix(fit.pose[:, :3]).swapaxes(1, 2)
    in_plane = (to_target @ from_predicted)[:, :2, :2]
    growth = np.exp(target_pose[:, 3] - fit.pose[:, 3])[:, None, None]
    return moved + growth * (detail @ in_plane.swapaxes(1, 2))


def rotation_error_deg(pose: Array, truth_pose: Array) -> Array:
    """Return the angle (T,) between the rotations of poses (T, 6) and of the truth, in degrees.

    A face model's frontal view is a convention: two models, or a model and a renderer's head,
    differ by a constant rotation Q of the head's own axes, R = R_truth Q. It is estimated as the
    mean of R_truth^T R over the frames given and removed: pass the frames of one speaker at once.
    A constant `pose` (such as all zero) gives the error of assuming that the head does not turn.
    """
    found = geometry.rotation_matrix(np.asarray(pose, float)[:, :3])
    truth = geometry.rotation_matrix(np.asarray(truth_pose, float)[:, :3])
    left, _, right = np.linalg.svd((truth.swapaxes(1, 2) @ found).mean(axis=0))
    left[:, 2] *= np.linalg.det(left) * np.linalg.det(right)
    return geometry.rotation_angle_deg(found, truth @ (left @ right))


def px_at_256(pose: Array) -> Array:
    """Return the factor (...) from pixels of poses (..., 6) to those of a 256 px aligned face."""
    eyes = geometry.RIGID_TEMPLATE[[4, 7], 0]  # the outer corners, 1 unit of the model apart
    return (eyes[1] - eyes[0]) / np.exp(pose[..., 3])


def _checked(landmarks: Array) -> Array:
    landmarks = np.asarray(landmarks, float)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (points.COUNT, 2) or not len(landmarks):
        raise ValueError(f"landmarks have shape {landmarks.shape}, wanted (1 or more, 68, 2)")
    faults = {
        "NaN or infinite": ~np.isfinite(landmarks).all(axis=(1, 2)),
        "all on one line": (landmarks.max(axis=1) == landmarks.min(axis=1)).any(axis=1),
    }
    for fault, frames in faults.items():
        if frames.any():
            first = int(np.argmax(frames))
            raise ValueError(f"landmarks of frame {first} are {fault}; fit frames with a face only")
    return landmarks


@functools.cache
def _blas() -> ThreadpoolController:
    """BLAS with two threads is 4 to 30 times slower than with one on matrices this small."""
    return ThreadpoolController()


def _problem(model: FaceModel, spread: Array, landmarks: Array, config: FitConfig) -> Problem:
    weights = config.weights.per_point() / config.noise
    identity = model.identity * spread[:, None, None]
    expression = model.expression * model.expression_std[:, None, None]
    return Problem(
        points=np.ascontiguousarray(landmarks.swapaxes(1, 2)),
        weights=np.broadcast_to(weights, landmarks.shape[:2]),
        mean=np.ascontiguousarray(model.mean.T),
        identity=np.ascontiguousarray(identity.swapaxes(1, 2)),
        expression=np.ascontiguousarray(expression.swapaxes(1, 2)),
        expression_range=model.expression_range.T / model.expression_std,
        expression_weight=config.expression_weight,
        range_weight=config.range_weight,
        frame_weight=1.0,
    )
