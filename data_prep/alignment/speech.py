"""DTW of two recordings of one sentence with free pauses and open ends.

EVP (CVPR 2021, Sec. 3.2, eq. 1) warps MFCC by plain DTW (data_prep.alignment.dtw). On acted speech
that fails where one recording holds a pause or breaks off before the other's end: every row has to
be matched, so whole syllables are smeared over the silence. This one differs, and all of it is
ours:

    features   cepstra 1 ... 12 by mean and deviation of the recording's own speech, the log energy
               (weight 2), and their slopes: a voice's colour and loudness drop out
    distance   1 - cosine of two rows, in [0, 2]; about 1 for rows that have nothing in common
    pauses     a row of silence may be passed for 0.2, whatever stands beside it
    ends       rows after the last moment that both hold may stay alone, for 0.4 each

The weights were chosen on four of Emo-DB's eight speakers (03, 08, 10, 11). The first and the last
12 rows of a clip are sound only in part and are not compared.

Letters: n, m rows of the two recordings; d features of a row. `a` is the recording to be warped
(index i), `b` the reference (index j).
"""

import typing as tp

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from affekt.arrays import Array
from affekt.media.audio.mfcc import CEPSTRA, EXTRA_ROWS
from affekt.media.compiled import compiled

EDGE = EXTRA_ROWS // 2  # rows at either end that hold the padding's zeros
LOUD = 95  # percentile of the log energy that stands for the recording's loudness
SILENCE = 9.0  # nepers of power below it, 39 dB: a row is a pause
FLOOR = 14.0  # nepers below it: softer rows count as equal
ENERGY_WEIGHT = 2.0
SLOPE_WEIGHT = 4.0  # of the change in a row, from a line through 5 rows
CLIP = 4.0  # standard deviations: rarer values do not count more
PAUSE_COST = 0.2  # of passing a row of silence
END_COST = 0.4  # of a row that the other recording does not hold
SMALL = 1e-6  # keeps digital silence from a division by zero
LEAST_SHARE = 4  # at least a quarter of each recording is matched
DIAGONAL, UP, LEFT = 0, 1, 2  # come from (i - 1, j - 1), (i - 1, j), (i, j - 1)


class Alignment(tp.NamedTuple):
    """A path through two recordings, and the rows of each that are matched."""

    path: Array  # (k, 2) int64, pairs (i, j) from (0, 0) to (n - 1, m - 1)
    cost: float  # of a step, rows left alone included; 0 ... 2
    matched: tuple[int, int]  # rows of a and of b up to the last moment that both hold


def align_speech(a: ArrayLike, b: ArrayLike) -> Alignment:
    """Align the MFCC `a` (n, 13) to the reference `b` (m, 13), column 0 the log energy.

    Where one recording goes on after the other's end, `matched` is shorter than it, and the path
    runs on along its rest: rows of a warp from `matched[1]` on mean nothing.

    Raises:
        ValueError: not (rows, 13), fewer than 25 rows, NaN or infinity.
    """
    first, first_silent = speech_features(a, "first")
    second, second_silent = speech_features(b, "second")
    path, cost = _best_path(1 - first @ second.T, _passing(first_silent), _passing(second_silent))
    sizes, ends = (len(first), len(second)), path[-1] + 1
    whole = tuple(
        int(size + 2 * EDGE if end == size else end + EDGE)
        for size, end in zip(sizes, ends, strict=True)
    )
    steps = len(path) + int((np.array(sizes) - ends).sum())
    return Alignment(_to_the_ends(path, *sizes), float(cost) / steps, (whole[0], whole[1]))


def speech_features(mfcc: ArrayLike, name: str = "") -> tuple[Array, NDArray[np.bool_]]:
    """Return unit vectors (n - 24, 26) that describe the sounds, and which rows are silent.

    Of the rows that hold sound alone; `name` is the recording in error messages.

    Raises:
        ValueError: not (rows, 13), fewer than 25 rows, NaN or infinity.
    """
    rows = np.asarray(mfcc, np.float64)
    if rows.ndim != 2 or rows.shape[1] != CEPSTRA or len(rows) <= 2 * EDGE:
        raise ValueError(
            f"the {name} recording's MFCC have shape {rows.shape}, wanted (rows, {CEPSTRA}) with "
            f"more than {2 * EDGE} rows"
        )
    if not np.isfinite(rows).all():
        raise ValueError(f"the {name} recording's MFCC hold NaN or infinity")
    rows = rows[EDGE:-EDGE]
    energy = rows[:, :1] - np.percentile(rows[:, 0], LOUD)
    silent = energy[:, 0] < -SILENCE
    columns = np.hstack([rows[:, 1:], energy.clip(min=-FLOOR)])
    columns = (columns - columns[~silent].mean(axis=0)) / (columns[~silent].std(axis=0) + SMALL)
    columns[:, :-1] = columns[:, :-1].clip(-CLIP, CLIP)
    columns[:, -1] *= ENERGY_WEIGHT
    features = np.hstack([columns, SLOPE_WEIGHT * _slopes(columns)])
    unit: Array = features / (np.linalg.norm(features, axis=1, keepdims=True) + SMALL)
    return unit, silent


def _slopes(values: Array) -> Array:
    """Return each column's slope a row, of the line through 5 rows; ends are repeated."""
    around = sliding_window_view(np.pad(values, ((2, 2), (0, 0)), mode="edge"), 5, axis=0)
    return around @ (np.arange(-2.0, 3.0) / 10)


def _passing(silent: NDArray[np.bool_]) -> Array:
    return np.where(silent, PAUSE_COST, np.inf)


def _to_the_ends(path: Array, n: int, m: int) -> Array:
    """Lead a path of the compared rows through all rows of both recordings."""
    before = np.repeat(np.arange(EDGE)[:, None], 2, axis=1)
    i, j = path[-1]
    rest = np.stack([np.arange(i + 1, n), np.full(n - i - 1, j)], axis=1)
    other = np.stack([np.full(m - j - 1, n - 1), np.arange(j + 1, m)], axis=1)
    after = before + EDGE + [n, m]
    return np.concatenate([before, np.concatenate([path, rest, other]) + EDGE, after])


@compiled
def _best_path(distances: Array, pass_a: Array, pass_b: Array) -> tuple[Array, float]:
    """Return the path of least cost from (0, 0), and its cost with the rows left alone.

    It ends where both recordings end, or where one of them does. `pass_a` (n,) and `pass_b` (m,)
    are what passing a row costs at most, infinite where it is no pause.
    """
    # The least cost of a path to each pair of rows.
    n, m = distances.shape
    cost = np.full((n + 1, m + 1), np.inf)
    steps = np.zeros((n + 1, m + 1), np.uint8)
    cost[0, 0] = 0.0
    for i in range(n):
        for j in range(m):
            near = distances[i, j]
            diagonal = cost[i, j] + near
            up = cost[i, j + 1] + min(near, pass_a[i])
            left = cost[i + 1, j] + min(near, pass_b[j])
            best, step = diagonal, DIAGONAL
            if up < best:
                best, step = up, UP
            if left < best:
                best, step = left, LEFT
            cost[i + 1, j + 1], steps[i + 1, j + 1] = best, step
    # Follow the steps back from the best end.
    i, j, total = _best_end(cost, pass_a, pass_b)
    path = np.empty((i + j - 1, 2), np.int64)
    at = len(path)
    while i > 0 and j > 0:
        at -= 1
        path[at, 0], path[at, 1] = i - 1, j - 1
        step = steps[i, j]
        i -= step != LEFT
        j -= step != UP
    return path[at:], total


@compiled
def _best_end(cost: Array, pass_a: Array, pass_b: Array) -> tuple[int, int, float]:
    """Return where the path ends, one behind its last pair, and its cost; of equals, both ends."""
    n, m = len(pass_a), len(pass_b)
    end_i, end_j, best = n, m, cost[n, m]
    alone = 0.0
    for i in range(n - 1, n // LEAST_SHARE, -1):
        alone += min(END_COST, pass_a[i])
        if cost[i, m] + alone < best:
            end_i, end_j, best = i, m, cost[i, m] + alone
    alone = 0.0
    for j in range(m - 1, m // LEAST_SHARE, -1):
        alone += min(END_COST, pass_b[j])
        if cost[n, j] + alone < best:
            end_i, end_j, best = n, j, cost[n, j] + alone
    return end_i, end_j, best
