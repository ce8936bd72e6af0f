"""The numba DTW against dtw-python's symmetric1 (L1, 13 features), for 300, 1000 and 3000 rows.

    python -m benchmarks.dtw
    python -m benchmarks.dtw --json

Wanted: the same path and cost, at least 10 times faster at 300 rows and 8 times at 1000 and 3000.
"""

from functools import partial

import dtw
import numpy as np

from affekt.arrays import Array
from benchmarks.harness import Result, compare, main, table, timing_rows
from data_prep.alignment.dtw import dtw_path

ROWS = (300, 1000, 3000)
FEATURES = 13


def uneven_pair(rows: int) -> tuple[Array, Array]:
    """Return a sequence that wanders like speech features, and itself at an uneven rate, noisy."""
    rng = np.random.default_rng(0)
    first = 0.3 * rng.standard_normal((rows, FEATURES)).cumsum(axis=0)
    at = np.sort(rng.integers(0, rows, rows))
    return first, first[at] + 0.5 * rng.standard_normal((rows, FEATURES))


def reference(first: Array, second: Array) -> tuple[Array, float]:
    """Return the library's path (k, 2) and distance."""
    found = dtw.dtw(first, second, dist_method="cityblock", step_pattern="symmetric1")
    return np.stack([found.index1, found.index2], axis=1), float(found.distance)


def measure() -> tuple[Result, str]:
    """Time both at each length, after a check that the paths are the same."""
    ratio, milliseconds, lines, difference = {}, {}, [], 0.0
    for rows in ROWS:
        pair = uneven_pair(rows)
        (path, cost), (library_path, library_cost) = dtw_path(*pair), reference(*pair)
        if not np.array_equal(path, library_path):
            raise AssertionError(f"the paths differ at {rows} rows")
        difference = max(difference, abs(cost - library_cost))
        timing = compare(
            {
                "dtw-python": partial(reference, *pair),
                "data_prep.alignment.dtw": partial(dtw_path, *pair),
            }
        )
        ratio[str(rows)] = timing.ratio["data_prep.alignment.dtw"]
        milliseconds[str(rows)] = timing.milliseconds
        lines += timing_rows(str(rows), timing)
    text = table(["rows", "candidate", "ms", "ratio"], lines)
    return Result("dtw", ratio, difference, milliseconds, {"paths": "equal"}), text


if __name__ == "__main__":
    main(__doc__, measure)
