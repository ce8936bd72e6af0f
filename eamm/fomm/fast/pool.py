"""Render a clip's frames by several processes of one thread each, since layers are too small to
share out among cores (ours).

Letters: T frames, K keypoints, H, W pixels.
"""

import itertools
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from affekt.runtime.parallel import end_with_parent
from eamm.fomm.fast.fast import FastFomm, Precision, PreparedSource
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import WEIGHTS, Fomm, load_fomm, save_fomm_description

Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]  # value and jacobian of one frame

SOURCE = "source.safetensors"  # a clip's source and its keypoints, for the processes
AHEAD = 2  # frames asked for in advance, a worker
# One thread each, asleep when it waits; and memory that is kept between frames instead of being
# handed back to the system and cleared anew (glibc's settings, bytes).
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}


def render_frames(
    fomm: Fomm | Path,
    source_1CHW: Tensor,
    source_kp: Keypoints,
    driving: Iterable[Keypoints],
    workers: int,
    precision: Precision = "float32",
) -> Iterator[Tensor]:
    """Yield the source in the pose of each driving frame, in order.

    `driving` is read only a few frames ahead of what is taken, so memory does not grow with the
    clip. The processes start with the first frame and end when the iterator does or is closed.

    Args:
        fomm: in evaluation mode, or where `load_fomm` finds it.
        source_1CHW: the source (1, 3, H, W) in [0, 1].
        source_kp: its keypoints, (1, K, ...).
        driving: keypoints of one frame each, (1, K, ...) or (K, ...).
        workers: processes; about 1 GB of memory each at vox-256.
        precision: of their convolutions.

    Yields:
        (3, H, W) in [0, 1], float32, for each driving frame.

    Raises:
        concurrent.futures.process.BrokenProcessPool: a process was ended from outside.
    """
    driving = iter(driving)
    first = next(driving, None)
    if first is None:
        return
    with ExitStack() as stack:
        # Files instead of arguments: what is larger than a pipe's buffer (64 KiB) would let each
        # process start only when the one before has read it.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="affekt-fomm-")))
        value, jacobian = (torch.from_numpy(each) for each in _arrays(source_kp))
        frames = source_1CHW.detach().cpu().float().contiguous()
        save_file({"frames": frames, "value": value, "jacobian": jacobian}, folder / SOURCE)
        if isinstance(fomm, Fomm):
            save_fomm_description(folder, fomm.config)
            state = {name: part.contiguous().cpu() for name, part in fomm.state_dict().items()}
            save_file(state, folder / WEIGHTS)
            fomm = folder
        pool = stack.enter_context(_started(workers, (fomm, folder / SOURCE, precision)))
        # Frames are asked for a little ahead and taken in order
        asked: deque[Future[NDArray[np.float32]]] = deque()
        stack.callback(lambda: [future.cancel() for future in asked])
        for each in itertools.chain([first], driving):
            asked.append(pool.submit(_render, _arrays(each)))
            if len(asked) > AHEAD * workers:
                yield torch.from_numpy(asked.popleft().result())
        while asked:
            yield torch.from_numpy(asked.popleft().result())


class _Worker:
    """What a process keeps between frames."""

    fast: FastFomm
    source: PreparedSource
    keypoints: Keypoints


def _start(fomm: Path, source: Path, precision: Precision) -> None:
    end_with_parent()
    torch.set_num_threads(1)
    parts = load_file(source)
    _Worker.fast = FastFomm(load_fomm(fomm), precision)
    _Worker.source = _Worker.fast.prepare(parts["frames"])
    _Worker.keypoints = Keypoints(parts["value"], parts["jacobian"])


def _render(driving: Arrays) -> NDArray[np.float32]:
    there = Keypoints(*map(torch.from_numpy, driving))
    return _Worker.fast.render(_Worker.source, _Worker.keypoints, there)[0].numpy()


def _started(workers: int, arguments: tuple[Path, Path, Precision]) -> ProcessPoolExecutor:
    """Return the processes; the environment they start with is put back at once."""
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, arguments)
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    try:
        for _ in range(workers):
            pool.submit(os.getpid)  # each one starts a process, none being idle
    finally:
        os.environ.clear()
        os.environ.update(before)
    return pool


def _arrays(keypoints: Keypoints) -> Arrays:
    value, jacobian = (each.detach().cpu().float().numpy() for each in keypoints)
    K = value.shape[-2]
    return value.reshape(1, K, 2), jacobian.reshape(1, K, 2, 2)
