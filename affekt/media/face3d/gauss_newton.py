"""Gauss-Newton for a face model on a clip: one geometry, pose and expression of each frame.

Minimises over g, and over R_t, log s_t, c_t, e_t of each frame,

    F = frame_weight / 2 sum_t [ sum_n w_tn^2 |s_t Pr R_t L_tn + c_t - x_tn|^2
                                 + expression_weight |e_t|^2
                                 + range_weight |e_t - clip(e_t, low, high)|^2 ]
        + 1/2 |g|^2,                            L_t = mean + g identity + e_t expression.

Frames meet only in g, so the normal equations are an arrow: each frame's P equations are
eliminated by their Cholesky factor (Schur complement) and K remain. No frame's Jacobian is ever
multiplied by the K identity modes: with A_t = w_t s_t Pr R_t, the map from model coordinates to
residuals, and Z_t the whitened frame Jacobian carried back through it, the reduced matrix is

    G^T (sum_t A_t^T A_t - sum_t Z_t^T Z_t) G + 1 / frame_weight,

one symmetric rank-k update of size 3N per chunk of frames and two products with G (3N, K) at the
end. A chunk's arrays fit the processor's cache.

Letters: T frames, C frames of a chunk, N points, K identity modes, E expression modes, P = 6 + E
unknowns of a frame: rotation 3, log scale, translation 2, expression E. Rotations change by
R <- exp(w) R. Coordinates come before points: (3, N), (2, N).
"""

import typing as tp
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg.lapack import dtrtri

from affekt.arrays import Array
from affekt.media.faces import geometry

CHUNK = 32  # frames; with E = 53 their largest array is 3 MB
POSE = 6  # unknowns of a pose
FIRST_DAMPING, MOST_DAMPING = 1e-4, 1e8  # of the diagonal, once a step has failed
SLOW = 0.2  # gain over the gain before, from which new normal equations pay


@dataclass(frozen=True, eq=False)
class Problem:
    """What the objective holds. Modes are in units of their prior standard deviations."""

    points: Array  # (T, 2, N)
    weights: Array  # (T, N), w: one over the noise's standard deviation; 0 leaves a point out
    mean: Array  # (3, N)
    identity: Array  # (K, 3, N); K = 0 holds the geometry of `mean`
    expression: Array  # (E, 3, N)
    expression_range: Array  # (2, E), low and high
    expression_weight: float
    range_weight: float
    frame_weight: float

    def take(self, frames: tp.Any) -> "Problem":
        """Return the problem of some of the frames."""
        return replace(self, points=self.points[frames], weights=self.weights[frames])


@dataclass(frozen=True, eq=False)
class State:
    """The unknowns, in the units of `Problem`."""

    identity: Array  # (K,)
    expression: Array  # (T, E)
    rotation: Array  # (T, 3, 3)
    log_scale: Array  # (T,)
    translation: Array  # (T, 2)

    def take(self, frames: tp.Any) -> "State":
        """Return the state of some of the frames."""
        return replace(
            self,
            expression=self.expression[frames],
            rotation=self.rotation[frames],
            log_scale=self.log_scale[frames],
            translation=self.translation[frames],
        )


class _Chunk(tp.NamedTuple):
    """Some frames with their own unknowns eliminated."""

    factor: Array  # (C, P, P), the inverse of the Cholesky factor of each frame's normal matrix
    carried: Array  # (C, P, 3N), Z


# The normal equations of one state, factorised: the chunks, and the reduced matrix (K, K).
_Factors = tuple[list[_Chunk], Array]


def minimise(problem: Problem, start: State, tolerance: float, iterations: int) -> State:
    """Return the state where a step lowers the objective by less than `tolerance`, relatively.

    The normal equations are formed anew only where steps by the old ones stop to gain fast: such a
    step costs a fifth of a whole one, and gradients are always new, so that both end at the same
    state. A step that raises the objective is thrown away, and tried with damping if its equations
    were new.
    """
    state, value = start, objective(problem, start)
    factors, damping, last_gain = None, 0.0, np.inf
    for _ in range(iterations):
        # A step, by the factors kept from before where there are any
        fresh = factors is None
        factors = factors or _factors(problem, state, damping)
        moved = _step(problem, state, factors)
        moved_value = objective(problem, moved)
        # Reject a step that raises the objective; damp if its factors were new
        if not moved_value <= value:  # NaN counts as a failure
            factors = None
            if fresh and damping >= MOST_DAMPING:
                break
            damping = max(FIRST_DAMPING, 10 * damping) if fresh else damping
            continue
        # Accept it; new factors where the gain falls off
        gain = value - moved_value
        slow = gain > SLOW * last_gain
        state, value, last_gain = moved, moved_value, gain
        if gain <= tolerance * value and (fresh or not slow):
            break
        if slow or damping:
            factors = None
        damping = damping / 10 if damping > FIRST_DAMPING else 0.0
    return state


def objective(problem: Problem, state: State) -> float:
    """Return F of the module's first lines."""
    residual, _ = weighted_residual(problem, state)
    outside = outside_range(problem, state)
    frames = (
        float(np.vdot(residual, residual))
        + problem.expression_weight * np.vdot(state.expression, state.expression)
        + problem.range_weight * np.vdot(outside, outside)
    )
    total = problem.frame_weight * frames + np.vdot(state.identity, state.identity)
    return 0.5 * float(total)


def residuals(problem: Problem, state: State) -> Array:
    """Return model minus landmarks, unweighted, (T, 2, N)."""
    even = replace(problem, weights=np.ones_like(problem.weights))
    return weighted_residual(even, state)[0]


def weighted_residual(problem: Problem, state: State) -> tuple[Array, Array]:
    """Return weighted residuals (T, 2, N) and the turned, scaled faces s R L (T, 3, N)."""
    T, N = len(state.expression), problem.mean.shape[1]
    neutral = problem.mean + np.tensordot(state.identity, problem.identity, 1)
    moved = state.expression @ problem.expression.reshape(-1, 3 * N)
    faces = moved.reshape(T, 3, N) + neutral
    turned = (np.exp(state.log_scale)[:, None, None] * state.rotation) @ faces
    residual = turned[:, :2] + state.translation[:, :, None] - problem.points
    residual *= problem.weights[:, None]
    return residual, turned


def outside_range(problem: Problem, state: State) -> Array:
    """Return how far each expression coefficient is out of its range, signed, (T, E)."""
    low, high = problem.expression_range
    return state.expression - np.clip(state.expression, low, high)


def _factors(problem: Problem, state: State, damping: float) -> _Factors:
    N, K = problem.mean.shape[1], len(problem.identity)
    shared = np.zeros((3 * N, 3 * N) if K else (0, 0))
    chunks = []
    for frames in chunks_of(len(state.expression)):
        chunk, part = _eliminate(problem.take(frames), state.take(frames), damping)
        chunks.append(chunk)
        shared += part
    if not K:
        return chunks, shared
    G = problem.identity.reshape(K, -1)
    reduced = G @ shared @ G.T
    reduced[np.diag_indices(K)] += 1 / problem.frame_weight
    reduced[np.diag_indices(K)] *= 1 + damping
    return chunks, reduced


def _eliminate(problem: Problem, state: State, damping: float) -> tuple[_Chunk, Array]:
    """Return the frames' factors and their part of the reduced matrix in model coordinates."""
    _, turned = weighted_residual(problem, state)
    jacobian, back = jacobian_of(problem, state, turned)
    C, P, _, N = jacobian.shape
    flat = jacobian.reshape(C, P, 2 * N)
    normal = flat @ flat.swapaxes(1, 2)
    diagonal = np.einsum("cpp->cp", normal)  # a writable view
    diagonal[:, POSE:] += problem.expression_weight
    diagonal[:, POSE:] += problem.range_weight * (outside_range(problem, state) != 0)
    diagonal *= 1 + damping
    factor = _inverse_cholesky(normal)
    if not len(problem.identity):
        return _Chunk(factor, np.zeros((C, P, 0))), np.zeros((0, 0))
    whitened = (factor @ flat).reshape(C, P, 2, N) * problem.weights[:, None, None]
    carried = (back[:, None] @ whitened).reshape(C, P, 3 * N)
    rows = carried.reshape(C * P, 3 * N)
    return _Chunk(factor, carried), model_matrix(back, problem.weights) - rows.T @ rows


def _step(problem: Problem, state: State, factors: _Factors) -> State:
    """Return the state after one step against the gradient at `state`."""
    N, K = problem.mean.shape[1], len(problem.identity)
    pulled, whitened = np.zeros(3 * N if K else 0), []
    chunks, reduced = factors
    parts = list(zip(chunks_of(len(state.expression)), chunks, strict=True))
    # Per frame: pose and expression eliminated (Schur complement)
    for frames, chunk in parts:
        own, shared = _gradients(problem.take(frames), state.take(frames))
        whitened.append(chunk.factor @ own[:, :, None])
        if K:
            pulled += shared - whitened[-1].ravel() @ chunk.carried.reshape(-1, 3 * N)
    # The shared identity from what is left of all frames
    towards = np.zeros(K)
    if K:
        G = problem.identity.reshape(K, -1)
        gradient = G @ pulled + state.identity / problem.frame_weight
        towards = -np.linalg.solve(reduced, gradient)
        pull = towards @ G
        whitened = [
            y + (chunk.carried @ pull)[:, :, None]
            for (_, chunk), y in zip(parts, whitened, strict=True)
        ]
    # Back substitution: each frame's step
    steps = [
        -chunk.factor.swapaxes(1, 2) @ y for (_, chunk), y in zip(parts, whitened, strict=True)
    ]
    step = np.concatenate(steps)[:, :, 0]
    return State(
        state.identity + towards,
        state.expression + step[:, POSE:],
        geometry.rotation_matrix(step[:, :3]) @ state.rotation,
        state.log_scale + step[:, 3],
        state.translation + step[:, 4:6],
    )


def _gradients(problem: Problem, state: State) -> tuple[Array, Array]:
    """Return each frame's own gradient (C, P), and the geometry's in model coordinates (3N,)."""
    residual, turned = weighted_residual(problem, state)
    jacobian, back = jacobian_of(problem, state, turned)
    C, P, _, N = jacobian.shape
    own = (jacobian.reshape(C, P, 2 * N) @ residual.reshape(C, 2 * N, 1))[:, :, 0]
    own[:, POSE:] += problem.expression_weight * state.expression
    own[:, POSE:] += problem.range_weight * outside_range(problem, state)
    pulled = back @ (problem.weights[:, None] * residual)  # A^T r, (C, 3, N)
    return own, pulled.sum(axis=0).ravel()


def jacobian_of(problem: Problem, state: State, turned: Array) -> tuple[Array, Array]:
    """Return weighted derivatives (C, P, 2, N) and (s Pr R)^T (C, 3, 2)."""
    C, _, N = turned.shape
    E = len(problem.expression)
    out = np.zeros((C, POSE + E, 2, N))
    x, y, z = turned[:, 0], turned[:, 1], turned[:, 2]
    out[:, 0, 1] = -z  # d(exp(w) v) = w x v, v = s R L
    out[:, 1, 0] = z
    out[:, 2, 0], out[:, 2, 1] = -y, x
    out[:, 3] = turned[:, :2]
    out[:, 4, 0] = out[:, 5, 1] = 1.0
    ahead = np.exp(state.log_scale)[:, None, None] * state.rotation[:, :2]
    by_axis = problem.expression.swapaxes(0, 1).reshape(3, E * N)
    moved = (ahead.reshape(2 * C, 3) @ by_axis).reshape(C, 2, E, N)
    out[:, POSE:] = moved.swapaxes(1, 2)
    out *= problem.weights[:, None, None]
    return out, ahead.swapaxes(1, 2)


def model_matrix(back: Array, weights: Array) -> Array:
    """Return sum_t A_t^T A_t (3N, 3N): a 3 x 3 block per point, since points do not mix."""
    N = weights.shape[1]
    blocks = np.einsum("cij,ckj,cn->ikn", back, back, np.square(weights), optimize=True)
    matrix = np.zeros((3, N, 3, N))
    index = np.arange(N)
    matrix[:, index, :, index] = blocks.transpose(2, 0, 1)
    return matrix.reshape(3 * N, 3 * N)


def _inverse_cholesky(normal: Array) -> Array:
    """Return the inverses of the lower Cholesky factors of (C, P, P); twice as fast as inv."""
    factor = np.linalg.cholesky(normal)
    for index, lower in enumerate(factor):
        factor[index] = dtrtri(lower.T, lower=0)[0].T  # LAPACK reads columns first
    return factor


def chunks_of(total: int) -> list[slice]:
    """Return slices of CHUNK frames that cover `total`; the last one may reach beyond."""
    return [slice(first, first + CHUNK) for first in range(0, total, CHUNK)]
