"""Parallel map that survives worker crashes and items without an end.

An item that kills its process, or takes longer than a limit, costs itself alone. Every process has
a pipe of its own and holds one item at a time, so that it is known which item was in work when a
process died, and a process can be ended without harm to the others. (concurrent.futures knows
neither, and has no time limit.)
"""

import contextlib
import logging
import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import typing as tp
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path

log = logging.getLogger(__name__)

Item = tp.TypeVar("Item")
Result = tp.TypeVar("Result")
Loss = BrokenProcessPool | TimeoutError  # why an item has no result

GRACE = 5.0  # seconds between asking a process to end and ending it
POLL = 1.0  # seconds between looks at a Ray cluster for what takes too long
STARTS = 3  # processes that may die in a row before they have any work


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    start: Callable[[], None] | None = None,
    lost: Callable[[Item, Loss], Result] | None = None,
    seconds: float | None = None,
) -> Iterator[Result]:
    """Yield function(item) of every item, in any order.

    The processes end with this one, however it ends. An item whose process was killed (by a fault
    in a decoder, by a full memory) is tried again, alone, when the others are done.

    Args:
        function: picklable; what it raises ends everything. Above 64 KiB, a pipe's buffer, each
            process starts only when the one before has read it.
        items: picklable.
        workers: processes; 0: in this one, where nothing can be limited or lost.
        start: called first in every process; picklable.
        lost: the result of an item that killed its process even when it was alone, or that took
            too long; None: such an item ends everything.
        seconds: that an item may take; None: any time.

    Raises:
        BrokenProcessPool: a process was killed, and `lost` is None; or none can be started.
        TimeoutError: an item took too long, and `lost` is None.
    """
    if not workers:
        if start is not None:
            start()
        yield from map(function, items)
        return
    again: list[Item] = []
    for item, result in _answers(function, items, workers, start, seconds):
        if isinstance(result, BrokenProcessPool) and lost is not None:
            log.warning("a worker died; the item that it worked on is tried again at the end")
            again.append(item)
        else:
            yield _kept(item, result, lost)
    for item, result in _answers(function, again, 1, start, seconds):
        yield _kept(item, result, lost)


def ray_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    address: str,
    start: Callable[[], None] | None = None,
    lost: Callable[[Item, Loss], Result] | None = None,
    seconds: float | None = None,
) -> Iterator[Result]:
    """Yield function(item) of every item, in any order, by the processors of a Ray cluster.

    As `parallel_map`, whose arguments these are, but for the address; as many items are in work as
    the cluster has processors, also while nodes come and go. Every node needs this code and the
    items' files under the same paths: a shared disk. Ray itself tries an item again whose process
    or node died.

    Raises:
        ModuleNotFoundError: ray is not installed.
        ConnectionError: there is no cluster at this address.
        BrokenProcessPool, TimeoutError: as `parallel_map`.
    """
    try:
        import ray
        from ray import exceptions
    except ModuleNotFoundError:
        text = "--ray needs Ray: pip install -e '.[ray]', on every node"
        raise ModuleNotFoundError(text) from None
    code = {"env_vars": {"PYTHONPATH": str(Path(__file__).parents[2])}}
    ray.init(address, runtime_env=code, log_to_driver=False, ignore_reinit_error=True)
    task: tp.Any = ray.remote(num_cpus=1, max_retries=1)(_in_ray)
    waiting = deque(items)
    at_work: dict[tp.Any, tuple[Item, float]] = {}  # by Ray's name of the result: since when
    try:
        while waiting or at_work:
            # Only as many as can start at once, so that the time limit counts from their start
            processors = int(ray.cluster_resources().get("CPU", 0))
            while waiting and len(at_work) < max(1, processors):
                item = waiting.popleft()
                at_work[task.remote(function, item, start)] = item, time.monotonic()
            done, _ = ray.wait(list(at_work), timeout=POLL)
            for name in done:
                item, _ = at_work.pop(name)
                try:
                    result = ray.get(name)
                except exceptions.RayTaskError as error:  # what the function raised
                    raise error.cause from error
                except exceptions.RayError as error:
                    text = f"the process that worked on it died ({type(error).__name__})"
                    result = BrokenProcessPool(text)
                yield _kept(item, result, lost)
            for name, (item, since) in list(at_work.items()):
                if seconds is not None and time.monotonic() - since > seconds:
                    del at_work[name]
                    ray.cancel(name, force=True)
                    text = f"it took longer than {seconds:g} s"
                    yield _kept(item, TimeoutError(text), lost)
    finally:
        for name in at_work:
            ray.cancel(name, force=True)


def _in_ray(
    function: Callable[[Item], Result], item: Item, start: Callable[[], None] | None
) -> Result:
    if start is not None and start not in _started:  # once in every process
        start()
        _started.append(start)
    return function(item)


_started: list[Callable[[], None]] = []


def end_with_parent() -> None:
    """End this process, one that multiprocessing started, as soon as its parent has ended.

    The parent may have been killed. A wait for the parent's own pipe, so portable and without
    polling; a process inside a call that keeps Python's lock ends after it.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: tp.Any) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)  # where it is handled, temporary files are removed
    time.sleep(GRACE)
    os._exit(1)


def _kept(item: Item, result: Result | Loss, lost: Callable[[Item, Loss], Result] | None) -> Result:
    if not isinstance(result, Loss):
        return result
    if lost is None:
        raise result
    return lost(item, result)


def _answers(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    start: Callable[[], None] | None,
    seconds: float | None,
) -> Iterator[tuple[Item, Result | Loss]]:
    """Yield every item with its result, or with why it has none; raise what `function` raises."""
    waiting = deque(items)
    crew: list[_Worker[Item, Result]] = []
    failed_starts = 0
    try:
        while waiting or any(worker.items for worker in crew):
            # As many processes as there is work for; they report as soon as they are ready
            while len(crew) < workers and sum(not w.items for w in crew) < len(waiting):
                crew.append(_Worker(function, start))
            found: list[tuple[Item, Result | Loss]] = []
            for worker in _due(crew):
                answer, items = worker.answer(seconds)
                found += [(item, answer) for item in items]  # none of a process that starts
                if not isinstance(answer, Loss):
                    failed_starts = 0
                    if waiting:
                        worker.give(waiting.popleft(), seconds)
                    continue
                # It is gone or hangs; another takes its place
                crew.remove(worker)
                _end([worker])
                failed_starts += not items
                if failed_starts == STARTS:
                    raise answer
            yield from found
    finally:
        _end(crew)


def _due(crew: Sequence["_Worker[Item, Result]"]) -> list["_Worker[Item, Result]"]:
    """Wait, and return the workers that have answered, died or taken too long."""
    soonest = min(worker.deadline for worker in crew)
    patience = None if soonest == math.inf else max(0.0, soonest - time.monotonic())
    ready, now = wait([worker.pipe for worker in crew], patience), time.monotonic()
    return [worker for worker in crew if worker.pipe in ready or worker.deadline <= now]


class _Worker(tp.Generic[Item, Result]):
    """A process, and what it works on: one item, or none."""

    def __init__(
        self, function: Callable[[Item], Result], start: Callable[[], None] | None
    ) -> None:
        # mediapipe's, numba's, FFmpeg's and BLAS' threads do not survive a fork
        spawn = multiprocessing.get_context("spawn")
        self.pipe, other = spawn.Pipe()
        self.process = spawn.Process(target=_work, args=(other, function, start), daemon=True)
        self.process.start()
        other.close()  # so that the process's death ends the pipe
        self.items: list[Item] = []
        self.deadline = math.inf

    def give(self, item: Item, seconds: float | None) -> None:
        """Let the process work on an item."""
        self.items = [item]
        self.deadline = time.monotonic() + (seconds or math.inf)
        with contextlib.suppress(BrokenPipeError):  # it has just died, which its pipe will tell
            self.pipe.send(item)

    def answer(self, seconds: float | None) -> tuple[Result | Loss, list[Item]]:
        """Return the result, or why there is none, and the item that it belongs to."""
        items, self.items, self.deadline = self.items, [], math.inf
        if not self.pipe.poll():
            return TimeoutError(f"it took longer than {seconds:g} s"), items
        try:
            is_result, value = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(GRACE)
            status = self.process.exitcode
            text = f"the process that worked on it died (exit status {status})"
            return BrokenProcessPool(text), items
        if not is_result:
            raise value
        return value, items


def _end(crew: Iterable["_Worker[tp.Any, tp.Any]"]) -> None:
    """Ask processes to end, so that they remove what is half-written; end them after GRACE."""
    for worker in crew:
        worker.process.terminate()
    limit = time.monotonic() + GRACE
    for worker in crew:
        worker.process.join(max(0.0, limit - time.monotonic()))
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()


def _work(
    pipe: Connection, function: Callable[[Item], Result], start: Callable[[], None] | None
) -> None:
    """The life of a process: start, then answer each item until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's matter
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    end_with_parent()
    _answer(pipe, start or (lambda: None))
    with contextlib.suppress(EOFError):
        while True:
            _answer(pipe, partial(function, pipe.recv()))


def _answer(pipe: Connection, call: Callable[[], object]) -> None:
    try:
        answer = pickle.dumps((True, call()))
    except Exception as error:  # goes to the parent, whatever it is
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        answer = pickle.dumps((False, _sendable(error)))
    pipe.send_bytes(answer)


def _sendable(error: Exception) -> Exception:
    """Return an error that another process can read: itself, or one with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of a class with a constructor of its own, or holding what cannot be sent
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
