import math

import numpy as np
import pytest
from scipy.stats import bootstrap, norm

from affekt.metrics import intervals
from affekt.metrics.intervals import (
    Interval,
    clustered_difference,
    clustered_mean,
    clustered_share,
    enough_speakers,
    macro_interval,
    mean_interval,
    ratio_interval,
    wilson,
    wilson_interval,
)


def skewed(count, seed=0):
    return np.random.default_rng(seed).gamma(1.5, 1.0, count)


def by_speaker_slowly(values, speakers, draws=3000):
    """BCa from its definition: draw speakers, put their clips together, take the mean."""
    rng = np.random.default_rng(7)
    names = sorted(set(speakers))
    clips = {name: np.asarray(values)[np.array(speakers) == name] for name in names}

    def mean_of(chosen):
        return np.mean(np.concatenate([clips[name] for name in chosen]))

    drawn = np.array([mean_of(rng.choice(names, len(names))) for _ in range(draws)])
    without = np.array([mean_of([other for other in names if other != name]) for name in names])
    pull = without.mean() - without
    acceleration = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    bias = norm.ppf(float((drawn < np.mean(values)).mean()))
    z = bias + np.array([-1.959964, 1.959964])
    return np.quantile(drawn, norm.cdf(bias + z / (1 - acceleration * z)))


def test_wilsons_bounds_by_hand():
    """8 of 10, z = 1.96: (0.8 + 0.19207 +- 1.96 sqrt(0.016 + 0.00960)) / 1.38415."""
    found = wilson_interval(8, 10)
    assert found.value == 0.8
    assert (found.low, found.high) == pytest.approx((0.49016, 0.94332), abs=1e-5)
    assert found.half == pytest.approx(0.22658, abs=1e-5)


@pytest.mark.parametrize("successes", [0, 20])
def test_a_share_of_nothing_or_all_still_has_an_interval_within_bounds(successes):
    """0 of n: the upper bound is z^2 / (n + z^2)."""
    found = wilson_interval(successes, 20)
    edge = 1.959964**2 / (20 + 1.959964**2)
    wanted = (0.0, edge) if successes == 0 else (1 - edge, 1.0)
    assert (found.low, found.high) == pytest.approx(wanted, abs=1e-6)


def test_the_mean_has_the_bounds_of_scipys_bca():
    values = skewed(40)
    found = mean_interval(values)
    bca, percentiles = (
        bootstrap((values,), np.mean, n_resamples=20_000, rng=np.random.default_rng(5), method=way)
        for way in ("BCa", "percentile")
    )
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(bca.confidence_interval), abs=0.02)
    # The correction for skewness is many times the tolerance: percentiles would not pass.
    assert found.high - percentiles.confidence_interval.high > 0.03


def test_speakers_are_drawn_with_all_their_clips():
    rng = np.random.default_rng(3)
    speakers = [f"M{k}" for k, clips in enumerate([2, 9, 4, 4, 1, 7, 12, 3]) for _ in range(clips)]
    level = {name: rng.gamma(1.0) for name in sorted(set(speakers))}
    values = np.array([level[name] + 0.2 * rng.normal() for name in speakers])
    found = mean_interval(values, speakers)
    low, high = by_speaker_slowly(values, speakers)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.04)
    assert found.half > 1.5 * mean_interval(values).half


@pytest.mark.parametrize("clips", [30, 80])
def test_95_percent_intervals_cover_the_truth_in_about_95_percent(monkeypatch, clips):
    monkeypatch.setattr(intervals, "DRAWS", 1000)
    rng = np.random.default_rng(11)
    found = [mean_interval(rng.normal(3.0, 1.0, clips)) for _ in range(600)]
    assert 0.915 < np.mean([each.low <= 3.0 <= each.high for each in found]) < 0.975


def test_where_speakers_differ_only_the_interval_by_speaker_covers(monkeypatch):
    monkeypatch.setattr(intervals, "DRAWS", 500)
    rng = np.random.default_rng(12)
    who = np.repeat(np.arange(30), 8)
    names = [str(k) for k in who]
    covered = np.zeros(2)
    for _ in range(300):
        values = rng.normal(0, 1, 30)[who] + rng.normal(0, 0.5, len(who))
        for k, speakers in enumerate((None, names)):
            each = mean_interval(values, speakers)
            covered[k] += each.low <= 0 <= each.high
    by_clip, by_speaker = covered / 300
    assert by_clip < 0.7
    assert 0.89 < by_speaker < 0.98


def test_a_paired_difference_does_not_see_what_makes_clips_hard():
    rng = np.random.default_rng(0)
    hard = 5 * rng.random(60)
    ours, theirs = hard + 0.1 * rng.normal(size=60), hard + 0.2 + 0.1 * rng.normal(size=60)
    found = mean_interval(ours - theirs)
    assert found.excludes_zero
    assert found.high < 0
    assert found.half < 0.05 < mean_interval(ours).half


def test_groups_of_any_size_weigh_the_same():
    found = macro_interval([1, 3, 10, 10, 13], ["angry", "angry", "happy", "happy", "happy"])
    assert found.value == pytest.approx((2 + 11) / 2)
    assert found.low < 6.5 < found.high


def test_a_macro_mean_draws_within_each_group():
    """Two groups that never vary within: no draw can give another mean of means."""
    assert macro_interval([1.0] * 7 + [5.0] * 3, ["a"] * 7 + ["b"] * 3) == Interval(3.0, 3.0, 3.0)
    assert mean_interval([1.0] * 7 + [5.0] * 3).half > 0.5


def test_a_macro_interval_has_the_width_of_its_groups_means():
    """Variance of a mean of two means: the sum of their variances, by four."""
    rng = np.random.default_rng(1)
    one, other = rng.normal(0, 1, 200), rng.normal(5, 3, 50)
    found = macro_interval([*one, *other], ["a"] * 200 + ["b"] * 50)
    deviation = np.sqrt(one.var() / 200 + other.var() / 50) / 2
    assert found.half == pytest.approx(1.96 * deviation, rel=0.05)


def test_a_macro_mean_by_speaker_draws_speakers():
    """Every speaker has a clip of each emotion: the macro mean is the mean, so is its interval."""
    rng = np.random.default_rng(2)
    speakers = [f"M{k}" for k in range(9) for _ in range(2)]
    values = rng.normal(0, 1, 9).repeat(2) + 0.1 * rng.normal(size=18)
    by_macro = macro_interval(values, ["angry", "happy"] * 9, speakers)
    by_mean = mean_interval(values, speakers)
    bounds = [(each.value, each.low, each.high) for each in (by_macro, by_mean)]
    assert bounds[0] == pytest.approx(bounds[1])


def test_a_ratio_of_means_by_hand():
    found = ratio_interval([1, 0, 1, 1], [1, 1, 1, 1])
    assert found.value == 0.75
    assert 0 <= found.low < 0.75 < found.high <= 1
    assert ratio_interval([1, 0], [0, 0]) is None
    assert ratio_interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]) == Interval(2.0, 2.0, 2.0)


def test_a_draw_without_a_denominator_gives_no_interval():
    assert ratio_interval([1, 1, 0], [1, 0, 0]) == Interval(2.0, None, None)


def test_too_little_gives_no_interval_and_no_spread_an_empty_one():
    assert mean_interval([2.5]) == Interval(2.5, None, None)
    assert mean_interval([1, 2, 3], ["one"] * 3) == Interval(2.0, None, None)
    assert macro_interval([1, 2, 3], ["a", "a", "b"]) == Interval(2.25, None, None)
    assert mean_interval([2.5, 2.5]) == Interval(2.5, 2.5, 2.5)
    assert Interval(1, None, None).half is None
    assert not Interval(1, None, None).excludes_zero


@pytest.mark.parametrize(
    ("low", "high", "excluded"), [(0.1, 0.2, True), (-2, -1, True), (-1, 1, False), (0, 1, False)]
)
def test_zero_is_excluded_only_if_both_bounds_lie_on_one_side(low, high, excluded):
    assert Interval((low + high) / 2, low, high).excludes_zero is excluded


def test_the_same_scores_give_the_same_interval_and_a_block_changes_nothing(monkeypatch):
    values = skewed(300)
    first = mean_interval(values)
    assert mean_interval(values) == first
    monkeypatch.setattr(intervals, "BLOCK", 1000)
    again = mean_interval(values)
    assert (again.low, again.high) == pytest.approx((first.low, first.high))


def test_five_speakers_are_enough():
    assert enough_speakers(["a", "b", "c", "d", "e", "a"])
    assert not enough_speakers(["a", "b", "c", "d", "d"])


def test_what_is_no_row_of_scores_is_refused():
    for values in ([], [1.0, np.nan], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="one finite number per clip"):
            mean_interval(values)
        with pytest.raises(ValueError, match="one finite number per clip"):
            clustered_share(values, ["a"] * len(values))
    with pytest.raises(ValueError, match="2 names for 3 clips"):
        mean_interval([1, 2, 3], ["a", "b"])


def test_the_bounds_of_a_mean_by_hand():
    found = clustered_mean([1, 2, 3, 6], ["a", "a", "b", "b"])
    # mean 3, cluster totals -3 and 3: v = 2 (9 + 9) / 16, and t with one degree of freedom
    reach = 12.7062 * math.sqrt(2.25)
    assert found.value == 3
    assert found.low == pytest.approx(3 - reach, rel=1e-5)
    assert found.high == pytest.approx(3 + reach, rel=1e-5)


def test_a_share_of_all_is_not_certain():
    assert wilson(1.0, 48) == pytest.approx((48 / (48 + 1.959964**2), 1.0))
    found = clustered_share(np.ones(48), np.arange(48) % 6)
    effective = 48 * (2.01174 / 2.57058) ** 2  # t of 47 and of 5 degrees of freedom
    assert found.low == pytest.approx(effective / (effective + 1.959964**2), rel=1e-4)
    assert found.high == 1


def test_clips_that_hit_and_miss_together_count_as_few():
    found = clustered_share(np.repeat([1, 1, 0, 0], 5), np.repeat(range(4), 5))
    # v = 4/3 (4 x 2.5^2) / 400 = 1/12 against 0.25 / 20: 20 clips count as 3, t of 19 and 3
    bounds = wilson(0.5, 3 * (2.09302 / 3.18245) ** 2)
    assert (found.low, found.high) == pytest.approx(bounds, rel=1e-4)
    alone = clustered_share(np.tile([1, 1, 0, 0], 5), np.repeat(range(5), 4))
    assert alone.high - alone.low < 0.7 * (found.high - found.low)


def test_the_bounds_of_a_difference_by_hand():
    clusters = np.arange(48) % 6
    low = clustered_share(np.ones(48), clusters).low
    both = clustered_difference(np.ones(48), np.ones(48), clusters)
    assert (both.value, both.low, both.high) == pytest.approx((0, low - 1, 1 - low))
    first, second = np.arange(48) % 4 > 0, np.arange(48) % 8 > 0  # shares 3/4 and 7/8
    one, two = clustered_share(first, clusters), clustered_share(second, clusters)
    phi = (0.75 - 0.75 * 0.875) / math.sqrt(0.75 * 0.25 * 0.875 * 0.125)  # the first in the second
    a, b = one.value - one.low, two.high - two.value
    reach = math.sqrt(a * a - 2 * phi * a * b + b * b)
    found = clustered_difference(first, second, clusters)
    assert found.value == pytest.approx(-0.125)
    assert found.low == pytest.approx(-0.125 - reach)
    turned = clustered_difference(second, first, clusters)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def drawn(rng, clusters, each, shift):
    """Return hits of normal numbers below `shift`, 0.3 of their variance common to a cluster."""
    common = rng.normal(size=clusters).repeat(each)
    return (math.sqrt(0.3) * common + math.sqrt(0.7) * rng.normal(size=clusters * each)) < shift


def test_bounds_hold_the_truth_where_those_of_single_clips_do_not():
    rng = np.random.default_rng(0)
    index = np.arange(8).repeat(25)
    share = 0.841345  # of the normal distribution below 1
    held = held_alone = 0
    for _ in range(300):
        hits = drawn(rng, 8, 25, 1.0)
        found = clustered_share(hits, index)
        held += found.low <= share <= found.high
        low, high = wilson(hits.mean(), len(hits))
        held_alone += low <= share <= high
    assert held >= 0.92 * 300
    assert held_alone < 0.75 * 300


def test_bounds_of_a_difference_hold_0_where_there_is_none():
    rng = np.random.default_rng(1)
    index = np.arange(8).repeat(25)
    held = 0
    for _ in range(300):
        found = clustered_difference(drawn(rng, 8, 25, 1.0), drawn(rng, 8, 25, 1.0), index)
        held += found.low <= 0 <= found.high
    assert held >= 0.92 * 300


def test_one_cluster_says_nothing_of_others():
    for found in (
        clustered_mean([1, 2], ["a", "a"]),
        clustered_share([1, 0], ["a", "a"]),
        clustered_difference([1, 0], [0, 0], ["a", "a"]),
    ):
        assert (found.low, found.high) == (None, None)
