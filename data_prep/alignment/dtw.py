"""Dynamic time warping of feature sequences: the path of least cost, and the warp along it.

EVP (CVPR 2021) Sec. 3.2, eq. 1: among the paths from (0, 0) to the ends of both sequences, whose
steps are (1, 0), (0, 1) and (1, 1) with equal weight, take the one with the least sum of distances.
That is dtw-python's `symmetric1`, and path and cost equal that library's bit by bit: distances are
summed in the same order, in float64, and ties go to the step that it prefers. The library itself is
the backend `dtw-python` (GPL, 12 to 20 times slower, imported only where it is chosen): for a check
of the kernel, or where numba does not run.

Letters: n, m lengths of the two sequences; d features of a row. `a` is the sequence to be warped
(index i), `b` the reference (index j).

Four rows of the recursion advance together, each one column behind the row above, so that four
chains of min and add overlap; the four rows' steps are stored as 2 bits each in one byte. That is
n m / 4 bytes in all, a hundredth of what a matrix of costs and its copies take.
"""

import typing as tp

import numpy as np
from numpy.typing import ArrayLike

from affekt.arrays import Array
from affekt.media.compiled import compiled

Metric = tp.Literal["l1", "l2"]
Backend = tp.Literal["numba", "dtw-python"]
LIBRARY_METRICS = {"l1": "cityblock", "l2": "euclidean"}

ROWS = 4  # rows that advance together; 2 bits of each fill the byte of a step
# A step is coded as (diagonal > other) + 2 * (left > up), so an even code is the diagonal.
LEFT, UP = 1, 3  # come from (i, j - 1), from (i - 1, j)


def dtw_path(
    a: ArrayLike, b: ArrayLike, metric: Metric = "l1", backend: Backend = "numba"
) -> tuple[Array, float]:
    """Return the best path from `a` (n, d) to `b` (m, d) and its cost.

    The path is (k, 2) int64: pairs (i, j) from (0, 0) to (n - 1, m - 1). The cost is the sum of
    the L1 or L2 distances along it. Of equally good steps the diagonal wins, then (i, j - 1).

    Raises:
        ValueError: an empty sequence, NaN or infinity, or different numbers of features.
    """
    if metric not in ("l1", "l2"):
        raise ValueError(f"unknown metric {metric!r}; known: l1, l2")
    if backend not in ("numba", "dtw-python"):
        raise ValueError(f"unknown backend {backend!r}; known: numba, dtw-python")
    first, second = _checked(a, "first"), _checked(b, "second")
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"the first sequence has {first.shape[1]} features a row, the second "
            f"{second.shape[1]}; both need the same"
        )
    if backend == "dtw-python":
        return _library_path(first, second, metric)
    path, cost = _best_path(first, np.ascontiguousarray(second.T), metric == "l2")
    return path, float(cost)


def warp(values: Array, path: Array, length: int) -> Array:
    """Return `values` (n, ...) stretched and shrunk along `path` to the reference's length.

    Row j of the result is row i of `values` for the last pair (i, j) of the path, row 0 included.
    (EVP's release skips the first pair, so that its row 0 is mostly the reference's own.)

    Raises:
        ValueError: the path does not lead from (0, 0) to the ends of both.
    """
    ends = (len(values) - 1, length - 1)
    if len(path) == 0 or tuple(path[0]) != (0, 0) or tuple(path[-1]) != ends:
        found = f"{tuple(path[0])} to {tuple(path[-1])}" if len(path) else "nowhere"
        raise ValueError(f"the path leads from {found}, wanted (0, 0) to {ends}")
    last_of_column = np.append(path[1:, 1] != path[:-1, 1], True)
    return values[path[last_of_column, 0]]


def _library_path(a: Array, b: Array, metric: Metric) -> tuple[Array, float]:
    """Return dtw-python's path (k, 2) int64 and cost; it needs two rows or more of either."""
    import dtw

    found = dtw.dtw(a, b, dist_method=LIBRARY_METRICS[metric], step_pattern="symmetric1")
    return np.stack([found.index1, found.index2], axis=1).astype(np.int64), float(found.distance)


def _checked(sequence: ArrayLike, name: str) -> Array:
    rows = np.ascontiguousarray(sequence, dtype=np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"the {name} sequence has shape {rows.shape}, wanted (rows, features)")
    if not np.isfinite(rows).all():
        i, k = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(f"the {name} sequence holds NaN or infinity, first at row {i} feature {k}")
    return rows


@compiled
def _distances(row: Array, columns: Array, euclidean: bool, out: Array) -> None:
    """Write the distances from `row` (d,) to all of `columns` (d, m) to `out` (m,)."""
    d, m = columns.shape
    rest = d % 4
    if rest == 0:
        out[:] = 0.0
    for k in range(rest):
        for j in range(m):
            difference = row[k] - columns[k, j]
            term = difference * difference if euclidean else abs(difference)
            out[j] = term if k == 0 else out[j] + term
    for k in range(rest, d, 4):  # four features a pass: a quarter of the loads and stores of out
        x0, x1, x2, x3 = row[k], row[k + 1], row[k + 2], row[k + 3]
        c0, c1, c2, c3 = columns[k], columns[k + 1], columns[k + 2], columns[k + 3]
        if euclidean:
            for j in range(m):
                e0, e1, e2, e3 = x0 - c0[j], x1 - c1[j], x2 - c2[j], x3 - c3[j]
                out[j] = (((out[j] + e0 * e0) + e1 * e1) + e2 * e2) + e3 * e3
        else:
            for j in range(m):
                near = (out[j] + abs(x0 - c0[j])) + abs(x1 - c1[j])
                out[j] = (near + abs(x2 - c2[j])) + abs(x3 - c3[j])
    if euclidean:
        for j in range(m):
            out[j] = np.sqrt(out[j])


@compiled
def _steps(a: Array, columns: Array, euclidean: bool) -> Array:
    """Return the best step into each cell, (ceil(n / 4), m + 3) uint8.

    Byte [g, t] holds row r of group g, that is cell (4 g + r, t - r), in bits 2 r and 2 r + 1.
    """
    n, m = len(a), columns.shape[1]
    groups = (n + ROWS - 1) // ROWS
    steps = np.empty((groups, m + 3), np.uint8)
    cost = np.full((ROWS, m + 3), np.inf)
    above = np.full(m + 6, np.inf)  # above[j + 3] is the cost of the best path to (4 g - 1, j)
    above[2] = 0.0  # before (0, 0)
    for g in range(groups):
        for r in range(ROWS):
            _distances(a[min(ROWS * g + r, n - 1)], columns, euclidean, cost[r, r : r + m])
        _advance(cost[0], cost[1], cost[2], cost[3], above, steps[g])
    return steps


@compiled
def _advance(c0: Array, c1: Array, c2: Array, c3: Array, above: Array, steps: Array) -> None:
    """Walk four rows to the right, each one column behind the row above it.

    Row r stands at column t - r. `left` is its cell to the left, `diagonal` the one above that.
    Costs of columns outside 0 ... m - 1 are infinite. `above` becomes the fourth row.
    """
    left0 = left1 = left2 = left3 = np.inf
    diagonal0 = above[2]
    diagonal1 = diagonal2 = diagonal3 = np.inf
    for t in range(len(steps)):
        up = above[t + 3]
        best0, code0 = _choose(diagonal0, up, left0, c0[t])
        best1, code1 = _choose(diagonal1, left0, left1, c1[t])
        best2, code2 = _choose(diagonal2, left1, left2, c2[t])
        best3, code3 = _choose(diagonal3, left2, left3, c3[t])
        steps[t] = code0 | (code1 << 2) | (code2 << 4) | (code3 << 6)
        diagonal0, diagonal1, diagonal2, diagonal3 = up, left0, left1, left2
        left0, left1, left2, left3 = best0, best1, best2, best3
        above[t] = left3


@compiled
def _choose(diagonal: float, up: float, left: float, cost: float) -> tuple[float, int]:
    """Compare after the cost is added, as the library does: rounding then makes ties of its own."""
    diagonal, up, left = diagonal + cost, up + cost, left + cost
    other = up if up < left else left
    best = diagonal if diagonal <= other else other
    return best, (1 if diagonal > other else 0) | (2 if left > up else 0)


@compiled
def _best_path(a: Array, columns: Array, euclidean: bool) -> tuple[Array, float]:
    """Follow the steps back from the ends, then sum the distances in the order of the path."""
    steps = _steps(a, columns, euclidean)
    i, j = len(a) - 1, columns.shape[1] - 1
    path = np.empty((i + j + 1, 2), np.int64)
    at = len(path)
    while True:
        at -= 1
        path[at, 0], path[at, 1] = i, j
        if i == 0 and j == 0:
            break
        row = i % ROWS
        code = (steps[i // ROWS, j + row] >> (2 * row)) & 3
        i -= code != LEFT
        j -= code != UP
    path = path[at:]
    total, distance = 0.0, np.empty(1)
    for k in range(len(path)):
        column = path[k, 1]
        _distances(a[path[k, 0]], columns[:, column : column + 1], euclidean, distance)
        total += distance[0]
    return path, total
