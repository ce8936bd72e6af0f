"""data_prep.alignment.dtw against dtw-python, against a plain loop, and by properties."""

from concurrent.futures import ThreadPoolExecutor

import dtw
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affekt.media.compiled import compiled
from data_prep.alignment.dtw import dtw_path, warp

METRICS = {"l1": "cityblock", "l2": "euclidean"}


def library(a, b, metric):
    found = dtw.dtw(a, b, dist_method=METRICS[metric], step_pattern="symmetric1")
    return np.stack([found.index1, found.index2], axis=1), found.distance


def least_cost(a, b, metric):
    """The recursion of eq. 1 cell by cell, for sizes that the library cannot take."""
    order = {"l1": 1, "l2": 2}[metric]
    best = np.full((len(a) + 1, len(b) + 1), np.inf)
    best[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            step = min(best[i, j], best[i, j + 1], best[i + 1, j])
            best[i + 1, j + 1] = np.linalg.norm(a[i] - b[j], order) + step
    return best[-1, -1]


lengths = st.integers(2, 23)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=150, deadline=None)
@given(n=lengths, m=lengths, d=st.integers(1, 14), seed=st.integers(0, 10**6), ties=st.booleans())
def test_path_and_cost_are_the_librarys_bit_by_bit_ties_included(metric, n, m, d, seed, ties):
    rng = np.random.default_rng(seed)
    draw = (lambda s: rng.integers(0, 3, s).astype(float)) if ties else rng.standard_normal
    a, b = draw((n, d)), draw((m, d))
    path, cost = dtw_path(a, b, metric)
    library_path, library_cost = library(a, b, metric)
    np.testing.assert_array_equal(path, library_path)
    assert cost == library_cost


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "m"), [(301, 333), (640, 402)])
def test_path_and_cost_are_the_librarys_at_speech_length(metric, n, m):
    rng = np.random.default_rng(n)
    a = rng.standard_normal((n, 13)).cumsum(axis=0)
    b = a[np.sort(rng.integers(0, n, m))] + rng.standard_normal((m, 13))
    path, cost = dtw_path(a, b, metric)
    for found in (library(a, b, metric), dtw_path(a, b, metric, "dtw-python")):
        np.testing.assert_array_equal(path, found[0])
        assert cost == found[1]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 6), (6, 1), (4, 5), (5, 4), (8, 2), (9, 9)])
def test_the_cost_is_the_least_for_short_and_uneven_sequences(metric, n, m):
    rng = np.random.default_rng(10 * n + m)
    a, b = rng.standard_normal((n, 3)), rng.standard_normal((m, 3))
    path, cost = dtw_path(a, b, metric)
    assert cost == pytest.approx(least_cost(a, b, metric), rel=1e-12)
    steps = np.diff(path, axis=0)
    assert path[0].tolist() == [0, 0]
    assert path[-1].tolist() == [n - 1, m - 1]
    assert {tuple(step) for step in steps.tolist()} <= {(0, 1), (1, 0), (1, 1)}


def test_a_path_by_hand():
    a, b = np.array([[0.0], [1.0], [5.0]]), np.array([[0.0], [0.0], [1.0], [5.0], [6.0]])
    path, cost = dtw_path(a, b)
    assert path.tolist() == [[0, 0], [0, 1], [1, 2], [2, 3], [2, 4]]
    assert cost == 1  # only 5 against 6 costs


def test_a_sequence_against_its_own_slow_version_costs_nothing_and_warps_back():
    rng = np.random.default_rng(3)
    a = rng.standard_normal((40, 12))
    slow = np.repeat(a, rng.integers(1, 4, 40), axis=0)
    for moved, reference in ((a, slow), (slow, a)):
        path, cost = dtw_path(moved, reference)
        assert cost == 0
        np.testing.assert_array_equal(warp(moved, path, len(reference)), reference)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 12), m=st.integers(1, 12), seed=st.integers(0, 999))
def test_a_warp_equals_the_assignment_loop_whose_last_source_row_wins(n, m, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((n, 2)), rng.standard_normal((m, 2))
    path, _ = dtw_path(a, b)
    expected = np.full((m, 2), np.nan)
    for i, j in path:
        expected[j] = a[i]
    np.testing.assert_array_equal(warp(a, path, m), expected)


def test_single_precision_strided_rows_are_taken():
    rng = np.random.default_rng(5)
    a = rng.standard_normal((30, 26)).astype(np.float32)[:, ::2]
    b = np.asfortranarray(rng.standard_normal((25, 13)))
    path, cost = dtw_path(a, b)
    again, same = dtw_path(a.astype(float).copy(), b.copy())
    np.testing.assert_array_equal(path, again)
    assert cost == same


def test_threads_do_not_disturb_each_other():
    rng = np.random.default_rng(6)
    pairs = [(rng.standard_normal((80, 4)), rng.standard_normal((70 + k, 4))) for k in range(16)]
    alone = [dtw_path(*pair)[1] for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda pair: dtw_path(*pair)[1], pairs)) == alone


def test_the_kernel_works_where_no_machine_code_can_be_kept():
    space = {}
    exec("def double(x):\n    return 2 * x", space)  # no file, so numba has nowhere to cache
    assert compiled(space["double"])(21) == 42


def test_bad_input_is_refused_by_name():
    good = np.zeros((4, 3))
    hole = good.copy()
    hole[2, 1] = np.nan
    for arguments, message in (
        ((hole, good), "first sequence holds NaN or infinity, first at row 2 feature 1"),
        ((good, np.full((2, 3), np.inf)), "second sequence holds NaN"),
        ((np.zeros((0, 3)), good), r"first sequence has shape \(0, 3\)"),
        ((good, np.zeros(3)), r"second sequence has shape \(3,\)"),
        ((good, np.zeros((4, 2))), "3 features a row, the second 2"),
        ((good, good, "l3"), "unknown metric 'l3'"),
        ((good, good, "l1", "dtw"), "unknown backend 'dtw'"),
    ):
        with pytest.raises(ValueError, match=message):
            dtw_path(*arguments)
    path, _ = dtw_path(good, good)
    for values, way, length in ((good, path, 5), (np.zeros((5, 3)), path, 4), (good, path[:0], 4)):
        with pytest.raises(ValueError, match="the path leads from"):
            warp(values, way, length)
