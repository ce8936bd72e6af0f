"""Jaw landmarks that slide: which point of the face is seen as the contour, frame by frame.

A detector's points 0-16 lie on the outline of the face in the picture. As the head turns, the
outline is another line on the skin, so that a fixed row of the model is the wrong partner: it pulls
the pose towards the front. Here each jaw landmark of a frame is given one of several candidates.

    curve    candidates between the jaw's rows, along the curve that they make, up to a row to
             either side; chosen: the one nearest to the landmark. Only the distance across the
             curve counts then. All that 68 rows allow.
    surface  candidates on the skin before and behind each row, from a dense model; chosen: the one
             that lies farthest out at the frame's pose, the silhouette (landmark marching, Zhu et
             al. 2015, High-fidelity pose and expression normalization, Sec. 3.2). Ours: paths are
             cuts of the mean face by the plane of the row's outward direction and the depth axis.

A choice is a weight: all candidates are points of the model, and those not chosen weigh 0, so the
solver does not know. Choosing and solving alternate until the choice stays.

Letters: T frames, V candidates of a jaw landmark, M vertices, K identity and E expression modes.
"""

import typing as tp
from dataclasses import dataclass, replace

import numpy as np

from affekt.arrays import Array
from affekt.media.face3d.gauss_newton import Problem, State, residuals
from affekt.media.face3d.model import FaceModel
from affekt.media.face3d.whole_clip import Terms, minimise_clip
from affekt.media.faces import points

Rule = tp.Literal["nearest", "outermost"]

JAW = len(points.JAW)  # the first rows of a model
REACH = 1  # rows to either side that a landmark may slide along the jaw
STEPS = 4  # candidates between two rows: 0.04 face units apart
PATH = 13  # candidates of a path over the skin
PATH_DEPTH = 0.6  # face units before and behind the row that a path covers
ROUNDS = 20  # of choosing and solving
PATH_WIDTH = 0.04  # face units: how far from the plane of the path a vertex may lie


@dataclass(frozen=True, eq=False)
class Contour:
    """Candidates of the jaw landmarks, in the face model's unit, axes and modes."""

    mean: Array  # (17, V, 3)
    identity: Array  # (K, 17, V, 3)
    expression: Array  # (E, 17, V, 3)
    rule: Rule


def jaw_curve(model: FaceModel) -> Contour:
    """Return candidates along the curve of the model's jaw rows, linear between rows."""
    offsets = np.arange(-REACH * STEPS, REACH * STEPS + 1) / STEPS
    place = np.clip(np.arange(JAW)[:, None] + offsets, 0, JAW - 1)  # (17, V), in rows
    row = np.minimum(place.astype(int), JAW - 2)
    part = (place - row)[..., None]

    def between(rows: Array) -> Array:
        return np.asarray((1 - part) * rows[..., row, :] + part * rows[..., row + 1, :])

    mean, identity, expression = map(between, (model.mean, model.identity, model.expression))
    return Contour(mean, identity, expression, "nearest")


def surface_paths(mean: Array, identity: Array, expression: Array, jaw: Array) -> Contour:
    """Return candidates over the skin of a dense model in the face model's unit, axes and modes.

    Args:
        mean, identity, expression: (M, 3), (K, M, 3), (E, M, 3).
        jaw: (17,), the vertices of the jaw's rows.
    """
    chosen = np.stack([_path(mean, vertex) for vertex in jaw])
    return Contour(mean[chosen], identity[:, chosen], expression[:, chosen], "outermost")


def with_candidates(problem: Problem, contour: Contour) -> Problem:
    """Return the problem with the jaw's rows replaced by candidates, behind the other points.

    Each candidate aims at its jaw landmark, with that landmark's weight: see `chosen`.
    """
    V = contour.mean.shape[1]

    def rows(own: Array, candidates: Array) -> Array:
        flat = candidates.reshape(*candidates.shape[:-3], JAW * V, 3).swapaxes(-1, -2)
        return np.concatenate([own[..., JAW:], flat], axis=-1)

    def each(values: Array) -> Array:
        return np.concatenate([values[..., JAW:], np.repeat(values[..., :JAW], V, -1)], axis=-1)

    return replace(
        problem,
        points=each(problem.points),
        weights=each(problem.weights),
        mean=rows(problem.mean, contour.mean),
        identity=rows(problem.identity, contour.identity),
        expression=rows(problem.expression, contour.expression),
    )


def chosen(problem: Problem, state: State, contour: Contour) -> Array:
    """Return which candidate each jaw landmark has at `state`, (T, 17); see `with_candidates`."""
    apart = residuals(problem, state)[..., points.COUNT - JAW :]
    T, V = len(apart), contour.mean.shape[1]
    apart = apart.reshape(T, 2, JAW, V)
    if contour.rule == "nearest":
        return np.asarray(np.square(apart).sum(axis=1).argmin(axis=2))
    # The landmark is the same for all candidates of a path, so that it drops out of the argmax.
    return np.asarray(np.einsum("tdjv,tjd->tjv", apart, _outwards(state, contour)).argmax(axis=2))


def only(problem: Problem, choice: Array) -> Problem:
    """Return the problem with all candidates but `choice` (T, 17) weighing nothing."""
    T, V = len(choice), (problem.weights.shape[1] - points.COUNT + JAW) // JAW
    kept = (np.arange(V) == choice[:, :, None]).reshape(T, JAW * V)
    rest = np.ones((T, points.COUNT - JAW))
    return replace(problem, weights=problem.weights * np.concatenate([rest, kept], axis=1))


def slide(
    problem: Problem,
    contour: Contour,
    terms: Terms,
    start: State,
    tolerance: float,
    iterations: int,
) -> tuple[Problem, State]:
    """Choose and solve in turn until the choice stays; return the chosen problem and its state.

    `problem` is of `with_candidates`; tolerance and iterations are those of `minimise_clip`.
    """
    state, choice = start, chosen(problem, start, contour)
    for _ in range(ROUNDS):
        narrowed = only(problem, choice)
        state = minimise_clip(narrowed, terms, state, tolerance, iterations)
        anew = chosen(problem, state, contour)
        if (anew == choice).all():
            break
        choice = anew
    return narrowed, state


def _outwards(state: State, contour: Contour) -> Array:
    """Return where outwards is in the picture for each jaw landmark (T, 17, 2): it leans along."""
    middle = contour.mean.mean(axis=1)[:, :2]
    left, _, right = np.linalg.svd(state.rotation[:, :2, :2])
    lean: Array = left @ right
    return np.asarray(_unit(middle) @ lean.swapaxes(1, 2))


def _path(mean: Array, vertex: int) -> Array:
    """Return the vertices (PATH,) that lie farthest out in each slice of depth around `vertex`."""
    outward = _unit(mean[vertex, :2])
    offset = mean - mean[vertex]
    along = offset[:, :2] @ outward
    across = np.abs(offset[:, 0] * outward[1] - offset[:, 1] * outward[0])
    edges = np.linspace(-PATH_DEPTH, PATH_DEPTH, PATH + 1)
    path = np.full(PATH, vertex)
    for index in range(PATH):
        inside = (edges[index] <= offset[:, 2]) & (offset[:, 2] < edges[index + 1])
        near = np.flatnonzero(inside & (across < PATH_WIDTH))
        if len(near) and index != PATH // 2:  # the middle is the row itself
            path[index] = near[along[near].argmax()]
    return path


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def dense_in_gauge(
    mean: Array, identity: Array, expression: Array, rows: Array
) -> tuple[Array, Array, Array]:
    """Return a dense model (M, 3), (K, M, 3), (E, M, 3) as `face_model.canonical` has its rows.

    `rows` (68,) are the landmarks' vertices, and decide unit, origin and gauge.
    """
    eyes = mean[rows[36]] - mean[rows[45]]
    unit = float(np.linalg.norm(eyes))
    mean = (mean - mean[rows[list(points.RIGID)]].mean(axis=0)) / unit
    centre = mean[rows].mean(axis=0)
    directions = [np.tile(axis, (len(mean), 1)) for axis in np.eye(3)]
    directions += [np.cross(axis, mean - centre) for axis in np.eye(3)]
    directions.append(mean - centre)
    every = np.stack(directions)  # (7, M, 3)
    modes = identity / unit
    at_rows = every[:, rows].reshape(7, -1).T
    share, *_ = np.linalg.lstsq(at_rows, modes[:, rows].reshape(len(modes), -1).T, rcond=None)
    return mean, modes - np.tensordot(share.T, every, 1), expression / unit
