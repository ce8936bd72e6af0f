"""The fast MFCC against python_speech_features, on noise with pauses of 3, 20 and 60 seconds.

    python -m benchmarks.mfcc
    python -m benchmarks.mfcc --json

Wanted: equal to 1e-10, at least 2 times faster at 3 s and 3 times at 60 s.
"""

from functools import partial

import numpy as np
import python_speech_features
from numpy.typing import NDArray

from affekt.media.audio.mfcc import PADDING, mfcc
from affekt.media.constants import SAMPLE_RATE
from benchmarks.harness import Result, compare, main, table, timing_rows

SECONDS = (3, 20, 60)


def speech_like(seconds: int) -> NDArray[np.float64]:
    """Return noise whose loudness comes and goes, with stretches of exact silence."""
    time = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    loudness = np.maximum(0, np.sin(4 * time) + 0.6)
    noise = np.random.default_rng(0).standard_normal(len(time))
    return 0.1 * loudness * noise


def reference(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the library's MFCC of the padded signal."""
    padded = np.pad(samples, PADDING)
    return python_speech_features.mfcc(padded, SAMPLE_RATE, winstep=0.01)


def measure() -> tuple[Result, str]:
    """Time both at each length."""
    ratio, milliseconds, rows, difference = {}, {}, [], 0.0
    for seconds in SECONDS:
        samples = speech_like(seconds)
        timing = compare(
            {
                "python_speech_features": partial(reference, samples),
                "affekt.media.audio.mfcc": partial(mfcc, samples),
            }
        )
        difference = max(difference, float(np.abs(mfcc(samples) - reference(samples)).max()))
        ratio[str(seconds)] = timing.ratio["affekt.media.audio.mfcc"]
        milliseconds[str(seconds)] = timing.milliseconds
        rows += timing_rows(f"{seconds} s", timing)
    text = table(["length", "candidate", "ms", "ratio"], rows)
    return Result("mfcc", ratio, difference, milliseconds), text


if __name__ == "__main__":
    main(__doc__, measure)
