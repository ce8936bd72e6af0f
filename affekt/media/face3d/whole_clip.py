"""What a fit may ask of a whole clip: a robust loss, smooth motion, bounds on expression.

With D x_t = x_{t-1} - 2 x_t + x_{t+1}, and q the squared residual of a point in standard deviations
of its noise, affekt/media/face3d/gauss_newton.py's objective becomes

    F = frame_weight / 2 [ sum_tn rho(q_tn) + priors of the expressions
                           + pose_weight sum_t (|D R_t|^2 / 2 + |D log s_t|^2 + |D c_t|^2)
                           + expression_weight sum_t |D e_t|^2 ] + 1/2 |g|^2,   low <= e_t <= high.

For small turns |D R|^2 / 2 is the squared angular acceleration. Everything is ours; losses:

    huber          rho = q up to c^2, then 2 c sqrt(q) - c^2 (Huber 1964): a wild point has a
                   bounded pull
    geman_mcclure  rho = q c^2 / (q + c^2) (Geman and McClure 1987): the pull of a wild point goes
                   to 0. It has local minima, so that Huber's end is its start.

Both are minimised by reweighting: a point counts rho'(q) times. Second differences tie a frame to
the next two, so frames in pairs make a block tridiagonal matrix, factorised in one sweep over the
clip with the geometry's columns carried along (whole clip at once, no lag: both neighbours count
alike). Bounds are held by projection: coefficients that lie on a bound and pull outwards are left
out of the step, the others are cut off where they would cross it (Bertsekas 1982).

Letters: T frames, C of a chunk, N points, K identity modes, E expression modes, P = 6 + E.
"""

import typing as tp
from dataclasses import dataclass, replace

import numpy as np

from affekt.arrays import Array
from affekt.media.face3d.block_tridiagonal import backward, forward
from affekt.media.face3d.gauss_newton import (
    FIRST_DAMPING,
    MOST_DAMPING,
    POSE,
    Problem,
    State,
    chunks_of,
    jacobian_of,
    model_matrix,
    moved_by,
    outside_range,
    weighted_residual,
)

Loss = tp.Literal["square", "huber", "geman_mcclure"]

SECOND_DIFFERENCE = (1.0, -2.0, 1.0)


@dataclass(frozen=True)
class Terms:
    """What is asked of a clip beyond the plain objective, in the units of `Problem`."""

    loss: Loss = "square"
    loss_at: float = 3.0  # c, standard deviations of a landmark's noise
    # Of squared second differences: one over the variance of the head's acceleration per frame, in
    # radians, log scale and face units (1e5: 0.2 degrees), and of the coefficients' over their std.
    pose_weight: float = 0.0
    expression_weight: float = 0.0
    bounded: bool = False  # expression within the model's range

    def __post_init__(self) -> None:
        if not self.loss_at > 0 or not min(self.pose_weight, self.expression_weight) >= 0:
            raise ValueError(f"{self}: loss_at is above 0, the weights are 0 or more")

    @property
    def smooth(self) -> bool:
        """Whether frames are tied to their neighbours."""
        return max(self.pose_weight, self.expression_weight) > 0

    def per_unknown(self, P: int) -> Array:
        """Return the weights of the second differences of a frame's P unknowns."""
        return np.repeat([self.pose_weight, self.expression_weight], [POSE, P - POSE])


class _Linear(tp.NamedTuple):
    """The normal equations at a state, not yet factorised."""

    gradient: Array  # (T, P)
    normal: Array  # (T, P, P)
    cross: Array  # (T, P, K), of the frames' unknowns and the geometry
    geometry_gradient: Array  # (K,)
    geometry: Array  # (K, K)


def minimise_clip(
    problem: Problem, terms: Terms, start: State, tolerance: float, iterations: int
) -> State:
    """Return the state where a step lowers the objective by less than `tolerance`, relatively.

    Frames must be consecutive where `terms` asks for smoothness.
    """
    if terms.loss == "geman_mcclure":
        convex = replace(terms, loss="huber")
        start = minimise_clip(problem, convex, start, tolerance, iterations)
    state = _within(problem, terms, start)
    value, damping = clip_objective(problem, terms, state), 0.0
    linear = _linearise(problem, terms, state)
    for _ in range(iterations):
        moved = _within(problem, terms, _stepped(problem, terms, state, linear, damping))
        moved_value = clip_objective(problem, terms, moved)
        if not moved_value <= value:  # NaN counts as a failure
            if damping >= MOST_DAMPING:
                break
            damping = max(FIRST_DAMPING, 10 * damping)
            continue
        gain, state, value = value - moved_value, moved, moved_value
        if gain <= tolerance * value and not damping:
            break
        damping = damping / 10 if damping > FIRST_DAMPING else 0.0
        linear = _linearise(problem, terms, state)
    return state


def clip_objective(problem: Problem, terms: Terms, state: State) -> float:
    """Return F of the module's first lines."""
    residual, _ = weighted_residual(problem, state)
    outside = outside_range(problem, state)
    frames = (
        rho(np.square(residual).sum(axis=1), terms).sum()
        + problem.expression_weight * np.vdot(state.expression, state.expression)
        + problem.range_weight * np.vdot(outside, outside)
        + _roughness(terms, state)
    )
    total = problem.frame_weight * frames + np.vdot(state.identity, state.identity)
    return 0.5 * float(total)


def rho(q: Array, terms: Terms) -> Array:
    """Return the loss of squared residuals `q`, in squared standard deviations."""
    limit = terms.loss_at**2
    if terms.loss == "huber":
        return np.where(q <= limit, q, 2 * np.sqrt(limit * q) - limit)
    if terms.loss == "geman_mcclure":
        return np.asarray(q * limit / (q + limit))
    return q


def rho_slope(q: Array, terms: Terms) -> Array:
    """Return the derivative of `rho`: how much a point of squared residual `q` counts, 0 to 1."""
    limit = terms.loss_at**2
    if terms.loss == "huber":
        return np.asarray(np.sqrt(limit / np.maximum(q, limit)))
    if terms.loss == "geman_mcclure":
        return np.asarray(np.square(limit / (q + limit)))
    return np.ones_like(q)


def _second_differences(values: Array) -> Array:
    """Return D of values (T, ...), (T - 2, ...); none of fewer than three frames."""
    before, middle, after = values[:-2], values[1:-1], values[2:]
    return before - 2 * middle[: len(before)] + after


def _back(differences: Array, T: int) -> Array:
    """Return D^T of differences (T - 2, ...), (T, ...)."""
    out = np.zeros((T, *differences.shape[1:]))
    for shift, factor in enumerate(SECOND_DIFFERENCE):
        out[shift : shift + len(differences)] += factor * differences
    return out


def _roughness(terms: Terms, state: State) -> float:
    turn, size, place, face = (
        float(np.square(_second_differences(values)).sum())
        for values in (state.rotation, state.log_scale, state.translation, state.expression)
    )
    return terms.pose_weight * (turn / 2 + size + place) + terms.expression_weight * face


def _roughness_gradient(terms: Terms, state: State) -> Array:
    """Return half the gradient of `_roughness`, (T, P)."""
    T = len(state.expression)
    flat = np.column_stack([state.log_scale, state.translation, state.expression])
    pulled = _back(_second_differences(flat), T)
    turned = _back(_second_differences(state.rotation), T) @ state.rotation.swapaxes(1, 2) / 2
    skew = turned - turned.swapaxes(1, 2)
    about = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=1)
    own = np.concatenate([about, pulled], axis=1)
    return np.asarray(own * terms.per_unknown(own.shape[1]))


def _linearise(problem: Problem, terms: Terms, state: State) -> _Linear:
    residual, _ = weighted_residual(problem, state)
    counts = np.sqrt(rho_slope(np.square(residual).sum(axis=1), terms))
    problem = replace(problem, weights=problem.weights * counts)
    parts = [
        _frames(problem.take(frames), state.take(frames))
        for frames in chunks_of(len(state.expression))
    ]
    gradient, normal, cross = (np.concatenate([part[k] for part in parts]) for k in range(3))
    gradient += _roughness_gradient(terms, state)
    geometry_gradient = sum(part[3] for part in parts) + state.identity / problem.frame_weight
    K = len(problem.identity)
    G = problem.identity.reshape(K, 3 * problem.mean.shape[1])
    geometry = np.asarray(G @ sum(part[4] for part in parts) @ G.T)
    geometry[np.diag_indices(K)] += 1 / problem.frame_weight
    if terms.bounded:
        _hold(problem, state, gradient, normal, cross)
    return _Linear(gradient, normal, cross, geometry_gradient, geometry)


def _frames(problem: Problem, state: State) -> tuple[Array, Array, Array, Array, Array]:
    """Return the chunk's part of `_Linear`; the last in model coordinates, (3N, 3N)."""
    residual, turned = weighted_residual(problem, state)
    jacobian, back = jacobian_of(problem, state, turned)
    C, P, _, N = jacobian.shape
    K = len(problem.identity)
    flat = jacobian.reshape(C, P, 2 * N)
    normal = flat @ flat.swapaxes(1, 2)
    outside = outside_range(problem, state)
    diagonal = np.einsum("cpp->cp", normal)  # a writable view
    diagonal[:, POSE:] += problem.expression_weight + problem.range_weight * (outside != 0)
    gradient = (flat @ residual.reshape(C, 2 * N, 1))[:, :, 0]
    gradient[:, POSE:] += problem.expression_weight * state.expression
    gradient[:, POSE:] += problem.range_weight * outside
    G = problem.identity.reshape(K, 3 * problem.mean.shape[1])
    carried = back[:, None] @ (jacobian * problem.weights[:, None, None])
    cross = (carried.reshape(C * P, 3 * N) @ G.T).reshape(C, P, K)
    pulled = (back @ (problem.weights[:, None] * residual)).sum(axis=0).ravel()
    return gradient, normal, cross, G @ pulled, model_matrix(back, problem.weights)


def _hold(problem: Problem, state: State, gradient: Array, normal: Array, cross: Array) -> None:
    """Take coefficients that lie on a bound and pull outwards out of the equations, in place."""
    low, high = problem.expression_range
    slope = gradient[:, POSE:]
    below = (state.expression <= low) & (slope > 0)
    above = (state.expression >= high) & (slope < 0)
    held = np.zeros(gradient.shape, bool)
    held[:, POSE:] = below | above
    gradient[held] = 0
    cross[held] = 0
    normal[held] = 0
    normal.swapaxes(1, 2)[held] = 0
    # A held coefficient keeps still: smoothness ties it to its neighbours, but not by any force
    # that its own stiffness would feel.
    np.einsum("tpp->tp", normal)[held] = 1 / np.finfo(float).eps


def _within(problem: Problem, terms: Terms, state: State) -> State:
    if not terms.bounded:
        return state
    return replace(state, expression=np.clip(state.expression, *problem.expression_range))


def _stepped(
    problem: Problem, terms: Terms, state: State, linear: _Linear, damping: float
) -> State:
    """Return the state after one damped step: forward over the clip, geometry, and back."""
    T, P, K = linear.cross.shape
    blocks, beside = _paired(linear.normal, terms, damping)
    right = np.concatenate([linear.cross, linear.gradient[:, :, None]], axis=2)
    rows = np.zeros((2 * len(blocks), P, K + 1))  # an odd clip's last pair has an empty frame
    rows[:T] = right
    lowers, links, whitened = forward(blocks, beside, rows.reshape(len(blocks), 2 * P, K + 1))
    towards = np.zeros(K)
    if K:
        flat = whitened.reshape(-1, K + 1)
        product = flat[:, :K].T @ flat
        reduced = linear.geometry - product[:, :K]
        reduced[np.diag_indices(K)] *= 1 + damping
        towards = -np.linalg.solve(reduced, linear.geometry_gradient - product[:, K])
    wanted = -whitened[:, :, K] - whitened[:, :, :K] @ towards
    step = backward(lowers, links, wanted).reshape(-1, P)[:T]
    return moved_by(state, towards, step)


def _paired(normal: Array, terms: Terms, damping: float) -> tuple[Array, Array]:
    """Return frames in pairs: (S, 2P, 2P) and what ties each pair to the next, (S - 1, 2P, 2P)."""
    T, P, _ = normal.shape
    S, weights = (T + 1) // 2, terms.per_unknown(P)
    whole = np.zeros((2 * S, 3, P))  # diagonals of D^T D: own, next frame, next but one
    for first, factor in enumerate(SECOND_DIFFERENCE):
        for apart, other in enumerate(SECOND_DIFFERENCE[first:]):
            whole[first : first + max(T - 2, 0), apart] += factor * other * weights
    blocks = np.zeros((S, 2, P, 2, P))
    every = np.arange(P)
    for half in range(2):
        frames = normal[half::2]
        blocks[: len(frames), half, :, half] = frames
        blocks[:, half, every, half, every] += whole[half::2, 0]
        blocks[:, half, every, half, every] *= 1 + damping
    blocks[T // 2 :, 1, every, 1, every] += T % 2  # the empty frame of an odd clip
    blocks[:, 1, every, 0, every] = blocks[:, 0, every, 1, every] = whole[::2, 1]
    beside = np.zeros((S, 2, P, 2, P))
    beside[:, 0, every, 0, every] = whole[::2, 2]
    beside[:, 1, every, 1, every] = whole[1::2, 2]
    beside[:, 0, every, 1, every] = whole[1::2, 1]
    size = (2 * P, 2 * P)
    return blocks.reshape(S, *size), beside[:-1].reshape(S - 1, *size)
