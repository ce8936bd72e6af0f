"""The numba DTW against dtw-python's symmetric1 (L1, 13 features), for 300, 1000 and 3000 rows.

    python -m benchmarks.dtw --json

Wanted: the same path and cost, at least 10 times faster at 300 rows and 8 times at 1000 and 3000.
"""

import argparse
from functools import partial

import numpy as np

from affekt.arrays import Array
from benchmarks.harness import Result, main
from data_prep.alignment.dtw import dtw_path

ROWS = (300, 1000, 3000)
FEATURES = 13


def uneven_pair(rows: int) -> tuple[Array, Array]:
    """Return a sequence that wanders like speech features, and itself at an uneven rate, noisy."""
    rng = np.random.default_rng(0)
    first = 0.3 * rng.standard_normal((rows, FEATURES)).cumsum(axis=0)
    at = np.sort(rng.integers(0, rows, rows))
    return first, first[at] + 0.5 * rng.standard_normal((rows, FEATURES))


def measure(_: argparse.Namespace) -> Result:
    """Time both backends at each length, after a check that the paths are the same."""
    result = Result("dtw", notes={"paths": "equal"})
    for rows in ROWS:
        pair = uneven_pair(rows)
        library, own = (partial(dtw_path, *pair, "l1", "dtw-python"), partial(dtw_path, *pair))
        (library_path, library_cost), (path, cost) = library(), own()
        if not np.array_equal(path, library_path):
            raise AssertionError(f"the paths differ at {rows} rows")
        result.differ(cost, library_cost)
        result.time(str(rows), {"dtw-python": library, "numba": own})
    return result


if __name__ == "__main__":
    main(__doc__, measure)
