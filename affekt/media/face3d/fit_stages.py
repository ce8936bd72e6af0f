"""In which order a fit finds geometry, pose and expression of a clip.

Geometry first on few frames, then on all; of a long clip on `geometry_frames`, evenly spread, whose
geometry is then held. Options (robust loss, smooth motion, bounds, a contour that slides) come last
and start where the plain fit ends.
"""

from dataclasses import replace

import numpy as np

from affekt.arrays import Array
from affekt.media.face3d.contour import Contour, slide, with_candidates
from affekt.media.face3d.fit_config import FitConfig
from affekt.media.face3d.gauss_newton import Problem, State, minimise
from affekt.media.face3d.whole_clip import Terms, minimise_clip

KEYFRAMES = 24  # frames that find a first geometry before all frames take part
ROUGH = 1e-2  # relative gain at which that first geometry is good enough
START_ITERATIONS = 2  # of all frames under it
# Reweighting gains little by little, so that it ends later than the plain fit for the same 1e-6.
FINER = 1e-3  # of the configured tolerance
LONGER = 10  # times the configured iterations


def _shared(problem: Problem, config: FitConfig) -> Problem:
    """Return the problem with its frames weighed against the geometry's prior."""
    return replace(problem, frame_weight=min(1.0, config.independent_frames / len(problem.points)))


def solve(problem: Problem, state: State, config: FitConfig) -> State:
    """Find geometry on few frames, then on all; beyond `geometry_frames`, answer it alone."""
    T = len(problem.points)
    if T > KEYFRAMES:
        few = _spread_frames(T, KEYFRAMES)
        rough = minimise(
            _shared(problem.take(few), config), state.take(few), ROUGH, config.iterations
        )
        state = answer(problem, replace(state, identity=rough.identity), ROUGH, START_ITERATIONS)
    if config.geometry_frames >= T:
        return minimise(_shared(problem, config), state, config.tolerance, config.iterations)
    many = _spread_frames(T, config.geometry_frames)
    some = _shared(problem.take(many), config)
    found = minimise(some, state.take(many), config.tolerance, config.iterations)
    return answer(
        problem, replace(state, identity=found.identity), config.tolerance, config.iterations
    )


def answer(problem: Problem, state: State, tolerance: float, iterations: int) -> State:
    """Fit each frame under the geometry of `state`."""
    held, alone = _hold(problem, state)
    fitted = minimise(held, alone, tolerance, iterations)
    return replace(fitted, identity=state.identity)


def _hold(problem: Problem, state: State) -> tuple[Problem, State]:
    """Return problem and state without unknowns of the geometry: that of `state` is the mean."""
    E = state.expression.shape[1]
    neutral = problem.mean + np.tensordot(state.identity, problem.identity, 1)
    held = replace(problem, mean=neutral, identity=problem.identity[:0])
    alone = replace(state, identity=np.zeros(0), expression=state.expression.reshape(-1, E))
    return held, alone


def _spread_frames(total: int, count: int) -> Array:
    return np.linspace(0, total - 1, count).round().astype(int)


def refine(
    problem: Problem, state: State, config: FitConfig, contour: Contour | None, known: bool
) -> tuple[Problem, State]:
    """Return the fit under the options of `config`, and the problem with the points it chose.

    Args:
        state: where the plain fit of `problem` ended.
        contour: candidates of the jaw's landmarks, or None for its rows.
        known: the geometry of `state` is held.
    """
    T, terms = len(problem.points), config.terms
    if contour is not None:
        problem = with_candidates(problem, contour)
    if not known and config.geometry_frames < T:
        many = _spread_frames(T, config.geometry_frames)
        apart = replace(terms, pose_weight=0.0, expression_weight=0.0)  # no neighbours there
        part = _shared(problem.take(many), config)
        _, found = _optimum(part, apart, state.take(many), config, contour)
        state, known = replace(state, identity=found.identity), True
    if not known:
        return _optimum(_shared(problem, config), terms, state, config, contour)
    held, alone = _hold(problem, state)
    held, fitted = _optimum(held, terms, alone, config, contour)
    freed = replace(held, mean=problem.mean, identity=problem.identity)
    return freed, replace(fitted, identity=state.identity)


def _optimum(
    problem: Problem, terms: Terms, start: State, config: FitConfig, contour: Contour | None
) -> tuple[Problem, State]:
    tolerance, iterations = FINER * config.tolerance, LONGER * config.iterations
    if contour is not None:
        return slide(problem, contour, terms, start, tolerance, iterations)
    return problem, minimise_clip(problem, terms, start, tolerance, iterations)
