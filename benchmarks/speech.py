"""The project's MFCC and DTW against the libraries that the papers' releases use.

    python -m benchmarks.speech --json

The fast MFCC against python_speech_features, on noise with pauses of 3, 20 and 60 seconds: wanted
equal to 1e-10, at least 2 times faster at 3 s and 3 times at 60 s. The numba DTW against
dtw-python's symmetric1 (L1, 13 features), for 300, 1000 and 3000 rows: wanted the same path and
cost, at least 10 times faster at 300 rows and 8 times at 1000 and 3000.
"""

import argparse
from functools import partial

import numpy as np

from affekt.arrays import Array
from affekt.media.audio.mfcc import mfcc
from affekt.media.constants import SAMPLE_RATE
from benchmarks.harness import Result, main
from data_prep.alignment.dtw import dtw_path

SECONDS = (3, 20, 60)
ROWS = (300, 1000, 3000)
FEATURES = 13


def speech_like(seconds: int) -> Array:
    """Return noise whose loudness comes and goes, with stretches of exact silence."""
    time = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    loudness = np.maximum(0, np.sin(4 * time) + 0.6)
    return 0.1 * loudness * np.random.default_rng(0).standard_normal(len(time))


def uneven_pair(rows: int) -> tuple[Array, Array]:
    """Return a sequence that wanders like speech features, and itself at an uneven rate, noisy."""
    rng = np.random.default_rng(0)
    first = 0.3 * rng.standard_normal((rows, FEATURES)).cumsum(axis=0)
    at = np.sort(rng.integers(0, rows, rows))
    return first, first[at] + 0.5 * rng.standard_normal((rows, FEATURES))


def measure(_: argparse.Namespace) -> Result:
    """Time both backends of each at each length, after a check that the paths are the same."""
    result = Result("speech", notes={"paths": "equal"})
    for seconds in SECONDS:
        samples = speech_like(seconds)
        features, fast = partial(mfcc, samples, "python_speech_features"), partial(mfcc, samples)
        result.differ(fast(), features())
        result.time(f"mfcc, {seconds} s", {"python_speech_features": features, "fast": fast})
    for rows in ROWS:
        pair = uneven_pair(rows)
        library, own = (partial(dtw_path, *pair, "l1", "dtw-python"), partial(dtw_path, *pair))
        (library_path, library_cost), (path, cost) = library(), own()
        if not np.array_equal(path, library_path):
            raise AssertionError(f"the paths differ at {rows} rows")
        result.differ(cost, library_cost)
        result.time(f"dtw, {rows} rows", {"dtw-python": library, "numba": own})
    return result


if __name__ == "__main__":
    main(__doc__, measure)
