"""Several processes draw what one does, in order, and no more than a few frames ahead."""

import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from eamm.fomm.fast import pool
from eamm.fomm.fast.fast import FastFomm
from eamm.fomm.fast.pool import AHEAD, render_frames
from eamm.fomm.keypoints import Keypoints
from tests.eamm.fomm.test_fast import pictures, settled, small_config

T = 12


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    fomm = settled(small_config())
    fast, source = FastFomm(fomm), pictures(1, 64)
    keypoints = fast.keypoints(source)
    driving = [fast.keypoints(frame) for frame in pictures(T, 64).split(1)]
    prepared = fast.prepare(source)
    wanted = [fast.render(prepared, keypoints, each)[0] for each in driving]
    return fomm, source, keypoints, driving, wanted


def test_the_frames_come_in_order_and_the_keypoints_are_read_as_they_are_needed(clip):
    fomm, source, keypoints, driving, wanted = clip
    read, before = [], dict(os.environ)

    def reading():
        for k, each in enumerate(driving):
            read.append(k)
            # the leading axis is left out now and then
            yield Keypoints(*(part[0] for part in each)) if k % 2 else each

    frames = render_frames(fomm, source, keypoints, reading(), 2)
    assert not read  # nothing starts before the first frame is wanted
    for k, frame in enumerate(frames):
        assert len(read) <= k + 2 * AHEAD + 1
        torch.testing.assert_close(frame, wanted[k], atol=1e-6, rtol=0)
    assert k == T - 1
    assert dict(os.environ) == before


def test_a_clip_left_early_leaves_no_process(clip, monkeypatch):
    fomm, source, keypoints, driving, wanted = clip
    pools = []

    class Watched(ProcessPoolExecutor):
        def __init__(self, *args):
            super().__init__(*args)
            pools.append(self)

    monkeypatch.setattr(pool, "ProcessPoolExecutor", Watched)
    frames = render_frames(fomm, source, keypoints, driving, 1)
    torch.testing.assert_close(next(frames), wanted[0], atol=1e-6, rtol=0)
    processes = list(pools[0]._processes.values())
    assert len(processes) == 1
    frames.close()
    assert not any(process.is_alive() for process in processes)


def test_a_folder_that_is_no_fomm_ends_the_clip(clip, tmp_path):
    _, source, keypoints, driving, _ = clip
    with pytest.raises(BrokenProcessPool):
        list(render_frames(tmp_path, source, keypoints, driving, 1))


def test_no_keypoints_make_no_frames_and_no_process(clip, monkeypatch):
    fomm, source, keypoints, _, _ = clip
    monkeypatch.setattr(pool, "_started", None)
    assert list(render_frames(fomm, source, keypoints, [], 1)) == []
