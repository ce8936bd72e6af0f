"""FID and KID of features: by hand, by slow loops, by what moves them; intervals over clips."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

import affekt.metrics.fid
from affekt.metrics.fid import fid, fid_interval, kid, kid_interval


def normal(rows=40, seed=0, size=6):
    return np.random.default_rng(seed).standard_normal((rows, size))


def clips(count=7, seed=0, size=5, moved=0.0):
    """Features of clips with 2 to 4 frames that are alike."""
    rng = np.random.default_rng(seed)
    return {
        f"clip {k}": rng.standard_normal(size)
        + 0.3 * rng.standard_normal((2 + k % 3, size))
        + moved
        for k in range(count)
    }


def test_fid_by_hand():
    ours, theirs = np.array([[0.0, 9.0], [2.0, 9.0]]), np.array([[3.0, 9.0], [7.0, 9.0]])
    # means 1 and 5, sample variances 2 and 8: 16 + 2 + 8 - 2 sqrt(16)
    assert fid(ours, theirs) == pytest.approx(18)
    rows = normal(size=2)
    assert fid(rows + np.array([3, 4]), rows) == pytest.approx(
        25
    )  # a shift alone: its squared length
    assert fid(3 * rows, rows) == pytest.approx(
        4 * (rows.mean(axis=0) ** 2).sum() + (9 + 1 - 2 * 3) * rows.var(axis=0, ddof=1).sum()
    )


def test_fid_is_the_same_with_fewer_rows_than_features():
    ours, theirs = normal(20, seed=1), normal(30, seed=2) + 1
    basis = np.linalg.qr(normal(80, seed=3, size=80))[0][:6]  # 6 orthonormal directions of 80
    assert fid(ours @ basis + 7, theirs @ basis + 7) == pytest.approx(fid(ours, theirs))
    scatter = np.cov(ours.T) @ np.cov(theirs.T)
    root = np.sqrt(np.linalg.eigvals(scatter).real).sum()
    spread = ours.var(axis=0, ddof=1).sum() + theirs.var(axis=0, ddof=1).sum()
    apart = np.square(ours.mean(axis=0) - theirs.mean(axis=0)).sum()
    assert fid(ours, theirs) == pytest.approx(apart + spread - 2 * root)


def test_kid_by_hand():
    # the kernel (x y + 1)^3 is 1 among zeros, 8 among ones, 1 between them: 1 + 8 - 2
    assert kid(np.zeros((6, 1)), np.ones((9, 1))) == pytest.approx(7)
    # with two features, x y / 2 = 1 and 4: 8 + 125 - 2 * 27
    assert kid(np.ones((4, 2)), np.full((4, 2), 2.0)) == pytest.approx(8 + 125 - 2 * 27)


def test_a_set_against_itself_is_0_in_any_order():
    rows = normal(300, size=64).astype(np.float32)
    assert abs(fid(rows, rows)) < 1e-3
    assert abs(fid(rows[::-1].copy(), rows)) < 1e-3
    # its unbiased estimate leaves each row's own kernel out within a set, not between the two
    assert -0.1 < kid(rows[::-1].copy(), rows) < 0


def test_both_grow_with_what_is_wrong():
    truth = normal(200, seed=1)
    for metric in (fid, kid):
        values = [metric(normal(200, seed=2) + shift, truth) for shift in (0, 0.5, 1, 2)]
        assert values == sorted(values)
        assert metric(2 * normal(200, seed=2), truth) > values[0] + 0.5


def test_few_rows_raise_fid_and_not_kid():
    pairs = [(normal(30, seed=k), normal(30, seed=100 + k)) for k in range(20)]
    assert np.mean([fid(*pair) for pair in pairs]) > 0.5
    assert abs(np.mean([kid(*pair) for pair in pairs])) < 0.05
    assert min(kid(*pair) for pair in pairs) < 0  # an estimate without bias falls on both sides


def test_kids_subsets_are_half_of_the_smaller_set_and_1000_rows_at_most(monkeypatch):
    ours, theirs = normal(60, seed=1) + 0.4, normal(51, seed=2)
    pair = torch.from_numpy(ours), torch.from_numpy(theirs)
    for limit, size in ((1000, 25), (9, 9)):
        monkeypatch.setattr(affekt.metrics.fid, "SUBSET_SIZE", limit)
        options = {"kid_subsets": 100, "kid_subset_size": size, "rng_seed": 2020}
        library = kid_features_to_metric(*pair, **options, verbose=False)
        assert kid(ours, theirs) == library["kernel_inception_distance_mean"]


def test_kid_is_repeatable_and_near_that_of_all_rows():
    ours, theirs = normal(60, seed=1) + 0.4, normal(60, seed=2)
    kernels = [(a @ b.T / 6 + 1) ** 3 for a, b in ((ours, ours), (theirs, theirs), (ours, theirs))]
    within = sum((k.sum() - np.trace(k)) / (60 * 59) for k in kernels[:2])
    assert kid(ours, theirs) == kid(ours, theirs)
    assert kid(ours, theirs) == pytest.approx(within - 2 * kernels[2].mean(), rel=0.15)


# --- intervals


def drawn_clips(count, draws, seed):
    rng = np.random.default_rng(seed)
    names = sorted(clips(count))
    return [[names[k] for k in rng.integers(0, count, count)] for _ in range(draws)]


def test_fids_interval_is_that_of_a_slow_loop_over_draws_of_clips():
    results, truths = clips(seed=1, moved=0.5), clips(seed=2)
    slow = [
        fid(*(np.concatenate([side[name] for name in draw]) for side in (results, truths)))
        for draw in drawn_clips(7, draws=30, seed=3)
    ]
    found = fid_interval(results, truths, draws=30, seed=3)
    assert found == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), rel=1e-6)


def slow_kid(results, truths, draw):
    """Compare every frame with every other, but never a clip with a copy of itself."""

    def mean(one, other, same):
        values = []
        for i, first in enumerate(draw):
            for j, second in enumerate(draw):
                if first == second and i != j:
                    continue
                for m, x in enumerate(one[first]):
                    for n, y in enumerate(other[second]):
                        if not (same and i == j and m == n):
                            values.append((x @ y / len(x) + 1) ** 3)
        return np.mean(values)

    within = mean(results, results, True) + mean(truths, truths, True)
    return within - 2 * mean(results, truths, False)


def test_kids_interval_is_that_of_a_slow_loop_over_draws_of_clips():
    results, truths = clips(4, seed=1, moved=0.5), clips(4, seed=2)
    slow = [slow_kid(results, truths, draw) for draw in drawn_clips(4, draws=12, seed=5)]
    found = kid_interval(results, truths, draws=12, seed=5)
    assert found == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))


def test_intervals_depend_on_the_seed_alone_and_hold_the_figure_as_said():
    results, truths = clips(30, seed=1, moved=1.0), clips(30, seed=2)
    joined = [np.concatenate([*side.values()]) for side in (results, truths)]
    shuffled = dict(reversed(results.items()))
    for interval in (fid_interval, kid_interval):
        low, high = interval(results, truths)
        assert low < high
        assert interval(shuffled, truths) == (low, high)
        assert interval(results, truths, seed=1) != (low, high)
        assert interval(results, truths, draws=20) != (low, high)
    low, high = kid_interval(results, truths)
    assert low < kid(*joined) < high
    assert np.mean(fid_interval(results, truths)) > fid(*joined)  # the bias that the page states


def test_a_single_clip_has_no_interval_and_two_of_one_frame_do():
    one = clips(1)
    assert fid_interval(one, one) == kid_interval(one, one) == (None, None)
    two = {name: rows[:1] for name, rows in clips(2).items()}
    for interval in (fid_interval, kid_interval):
        assert np.isfinite(interval(two, two)).all()


def test_features_that_cannot_be_compared_are_refused():
    rows, broken = normal(6), normal(6)
    broken[2, 3] = np.nan
    for ours, theirs, message in (
        (normal(1), rows, r"N at least \d, found \(1, 6\) and \(6, 6\)"),
        (rows, normal(6, size=5), r"found \(6, 6\) and \(6, 5\)"),
        (rows[0], rows[0], r"found \(6,\) and \(6,\)"),
        (rows, broken, "not finite"),
    ):
        for metric in (fid, kid):
            with pytest.raises(ValueError, match=message):
                metric(ours, theirs)
    assert np.isfinite(fid(rows[:2], rows[:3]))
    with pytest.raises(ValueError, match="N at least 4"):
        kid(rows[:3], rows)
    for interval in (fid_interval, kid_interval):
        with pytest.raises(ValueError, match=r"without a counterpart: clip 2, clip 3 \(2\)"):
            interval(clips(4), clips(2))
        with pytest.raises(ValueError, match="not finite"):
            interval({"a": broken, "b": rows}, {"a": rows, "b": rows})
