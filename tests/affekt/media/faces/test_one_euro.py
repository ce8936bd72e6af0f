"""The One-Euro filter against a scalar loop, a number by hand, and what it promises."""

import itertools
import math

import numpy as np
import pytest

from affekt.media.faces.one_euro import one_euro


def alone(samples, mincutoff, beta, dcutoff=1.0, freq=100.0):
    """The filter of one element, a sample at a time."""

    def share(cutoff):
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau * freq)

    smooth, speed = [samples[0]], 0.0
    for before, now in itertools.pairwise(samples):
        a = share(dcutoff)
        speed = a * (now - before) * freq + (1 - a) * speed
        a = share(mincutoff + beta * abs(speed))
        smooth.append(a * now + (1 - a) * smooth[-1])
    return smooth


def walk(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).cumsum(axis=0)


@pytest.mark.parametrize(
    ("mincutoff", "beta", "dcutoff", "freq"),
    [
        (0.004, 0.7, 1.0, 100.0),
        (1.0, 0.2, 1.0, 100.0),
        (0.05, 8.0, 1.0, 100.0),
        (2.0, 0.0, 3.0, 25),
    ],
)
def test_every_element_is_filtered_as_if_it_were_alone(mincutoff, beta, dcutoff, freq):
    values = walk((40, 10, 2))
    found = one_euro(values, mincutoff, beta, dcutoff, freq)
    for index in np.ndindex(10, 2):
        expected = alone(values[(slice(None), *index)].tolist(), mincutoff, beta, dcutoff, freq)
        np.testing.assert_allclose(found[(slice(None), *index)], expected, rtol=1e-12)


def test_two_steps_by_hand():
    """freq = 2 pi makes a(c) = c / (c + 1): every number is a fraction.

    Samples 0, 1, 1 with mincutoff 1, beta 1 / pi, dcutoff 1, so a(dcutoff) = 1/2:
    d = 0, pi, pi/2; c = 1, 2, 3/2; a = -, 2/3, 3/5; y = 0, 2/3, 3/5 + 2/5 * 2/3 = 13/15.
    """
    found = one_euro([0.0, 1.0, 1.0], 1.0, 1 / math.pi, 1.0, 2 * math.pi)
    np.testing.assert_allclose(found, [0, 2 / 3, 13 / 15], rtol=1e-12)


def test_the_first_sample_passes_and_what_stands_still_stays():
    values = walk((5, 3))
    np.testing.assert_array_equal(one_euro(values, 0.5, 1.0)[0], values[0])
    still = np.tile(walk((1, 3)), (20, 1))
    np.testing.assert_allclose(one_euro(still, 0.004, 0.7), still, rtol=1e-14)


def test_the_type_stays_and_the_input_too():
    values = walk((6, 2)).astype(np.float32)
    kept = values.copy()
    assert one_euro(values, 1.0, 0.1).dtype == np.float32
    np.testing.assert_array_equal(values, kept)
    assert one_euro([1, 2, 4], 1.0, 0.1).dtype == np.float64


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        (np.zeros((0, 3)), (1.0, 0.0), "wanted \\(T, ...\\) with T of 1 or more"),
        (1.0, (1.0, 0.0), "shape \\(\\)"),
        ([0.0, 1.0, np.nan], (1.0, 0.0), "first at sample 2"),
        ([0.0], (0.0, 0.0), "mincutoff is 0.0, wanted above 0"),
        ([0.0], (1.0, -1.0), "beta is -1.0"),
        ([0.0], (1.0, 0.0, 0.0), "dcutoff is 0.0"),
        ([0.0], (1.0, 0.0, 1.0, float("nan")), "freq is nan"),
    ],
)
def test_bad_input_is_named(values, settings, message):
    with pytest.raises(ValueError, match=message):
        one_euro(values, *settings)
