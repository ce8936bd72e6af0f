"""The fast MFCC against python_speech_features, on noise with pauses of 3, 20 and 60 seconds.

    python -m benchmarks.mfcc --json

Wanted: equal to 1e-10, at least 2 times faster at 3 s and 3 times at 60 s.
"""

import argparse
from functools import partial

import numpy as np

from affekt.arrays import Array
from affekt.media.audio.mfcc import mfcc
from affekt.media.constants import SAMPLE_RATE
from benchmarks.harness import Result, main

SECONDS = (3, 20, 60)


def speech_like(seconds: int) -> Array:
    """Return noise whose loudness comes and goes, with stretches of exact silence."""
    time = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    loudness = np.maximum(0, np.sin(4 * time) + 0.6)
    return 0.1 * loudness * np.random.default_rng(0).standard_normal(len(time))


def measure(_: argparse.Namespace) -> Result:
    """Time both backends at each length."""
    result = Result("mfcc")
    for seconds in SECONDS:
        samples = speech_like(seconds)
        library, fast = partial(mfcc, samples, "python_speech_features"), partial(mfcc, samples)
        result.differ(fast(), library())
        result.time(str(seconds), {"python_speech_features": library, "fast": fast})
    return result


if __name__ == "__main__":
    main(__doc__, measure)
