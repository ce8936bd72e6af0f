"""Parallel map that survives worker crashes: an item that kills its process costs itself alone."""

import logging
import multiprocessing
import typing as tp
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

log = logging.getLogger(__name__)

Item = tp.TypeVar("Item")
Result = tp.TypeVar("Result")


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    start: Callable[[], None] | None = None,
    died: Callable[[Item], Result] | None = None,
) -> Iterator[Result]:
    """Yield function(item) of every item, in any order.

    Args:
        function: picklable; what it raises ends everything.
        items: picklable.
        workers: processes; 0: in this one.
        start: called first in every process; picklable.
        died: the result of an item whose process was killed (by a fault in a decoder, by a full
            memory), even when it was alone in it; None: such an item ends everything.

    Raises:
        BrokenProcessPool: a process was killed, and `died` is None.
    """
    if not workers:
        if start is not None:
            start()
        yield from map(function, items)
        return
    # All in one pool; after a worker's death what is left goes one by one
    left = dict(enumerate(items))
    try:
        yield from _in_pool(function, left, workers, start)
    except BrokenProcessPool:
        if died is None:
            raise
        log.warning("a worker died; the %d items left are done one by one", len(left))
        for key, item in list(left.items()):
            try:
                yield from _in_pool(function, {key: item}, 1, start)
            except BrokenProcessPool:
                yield died(item)


def _in_pool(
    function: Callable[[Item], Result],
    left: dict[int, Item],
    workers: int,
    start: Callable[[], None] | None,
) -> Iterator[Result]:
    """Yield the results, and take what is done from `left`."""
    # mediapipe's, numba's, FFmpeg's and BLAS' threads do not survive a fork
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawn, initializer=start)
    try:
        futures = {pool.submit(function, item): key for key, item in left.items()}
        for future in as_completed(futures):
            result = future.result()
            del left[futures[future]]
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
