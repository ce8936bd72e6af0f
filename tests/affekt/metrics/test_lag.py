import numpy as np
import pytest

from affekt.metrics.temporal import loudness, opening_lag


def sound_and_mouth(shift, frames=60):
    rng = np.random.default_rng(0)
    syllables = np.convolve(rng.normal(size=frames + 20), np.ones(3) / 3, "same")
    level = syllables[10 : 10 + frames]
    mouth = syllables[10 - shift : 10 - shift + frames]
    return mouth, level


@pytest.mark.parametrize("shift", [-4, -1, 0, 1, 7])
def test_a_known_delay_is_found(shift):
    mouth, level = sound_and_mouth(shift)
    assert opening_lag(mouth, level) == shift


def test_loudness_by_hand():
    samples = np.concatenate([np.full(640, 0.5), np.zeros(640), np.full(100, 1.0)])
    np.testing.assert_allclose(loudness(samples), [np.log(0.5), np.log(1e-4)], atol=1e-6)


def test_what_has_no_lag_is_refused():
    mouth, level = sound_and_mouth(0)
    with pytest.raises(ValueError, match="60 frames and loudness 59"):
        opening_lag(mouth, level[1:])
    with pytest.raises(ValueError, match="never moves"):
        opening_lag(np.zeros(60), level)
