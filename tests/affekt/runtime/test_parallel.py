"""The parallel map: every result once, and what an item that kills its process costs."""

import os
from concurrent.futures.process import BrokenProcessPool

import pytest

from affekt.runtime.parallel import parallel_map


def square_or_die(number):
    if number == 3:
        os._exit(1)
    return number**2


def dead(number):
    return -number


def test_without_workers_it_is_a_map():
    started = []
    assert list(parallel_map(abs, [-2, 1], 0, lambda: started.append(1))) == [2, 1]
    assert started == [1]


def test_an_item_that_kills_its_process_costs_itself_alone():
    found = sorted(parallel_map(square_or_die, range(6), 2, died=dead))
    assert found == [-3, 0, 1, 4, 16, 25]


def test_without_a_result_for_it_a_killed_process_ends_everything():
    with pytest.raises(BrokenProcessPool):
        list(parallel_map(square_or_die, [3], 1))
