"""Do one thing for many items in several processes; an item that kills its process loses itself
alone.
"""

import logging
import multiprocessing
import typing as tp
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

log = logging.getLogger(__name__)

Item = tp.TypeVar("Item")
Result = tp.TypeVar("Result")


def each(
    do: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    start: Callable[[], None],
    died: Callable[[Item], Result],
) -> Iterator[Result]:
    """Yield do(item) of every item, in any order.

    Args:
        do: picklable; what it raises ends everything.
        items: picklable.
        workers: processes; 0: in this one.
        start: called first in every process; picklable.
        died: the result of an item whose process was killed (by a fault in a decoder, by a full
            memory), even when it was alone in it.
    """
    if not workers:
        start()
        yield from map(do, items)
        return
    left = dict(enumerate(items))
    try:
        yield from _in_pool(do, left, workers, start)
    except BrokenProcessPool:
        log.warning("a worker died; the %d items left are done one by one", len(left))
        for key, item in list(left.items()):
            try:
                yield from _in_pool(do, {key: item}, 1, start)
            except BrokenProcessPool:
                yield died(item)


def _in_pool(
    do: Callable[[Item], Result], left: dict[int, Item], workers: int, start: Callable[[], None]
) -> Iterator[Result]:
    """Yield the results, and take what is done from `left`."""
    spawn = multiprocessing.get_context("spawn")  # mediapipe's threads do not survive a fork
    pool = ProcessPoolExecutor(workers, spawn, initializer=start)
    try:
        futures = {pool.submit(do, item): key for key, item in left.items()}
        for future in as_completed(futures):
            result = future.result()
            del left[futures[future]]
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
