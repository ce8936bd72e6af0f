"""The parallel map: every result once, and what an item that kills or holds its process costs."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pytest

from affekt.runtime import parallel
from affekt.runtime.parallel import parallel_map
from affekt.runtime.plan import Stage, run_plan

ENDLESS = 600  # seconds


class OwnError(Exception):
    """An error that pickle cannot make anew: its constructor wants two arguments."""

    def __init__(self, name, number):
        super().__init__(f"{name} {number}")


def square_or_die(number):
    if number == 3:
        os._exit(1)
    return number**2


def square_and_process(number):
    return square_or_die(number), os.getpid()


def die_once(folder, number):
    marker = folder / str(number)
    if number == 1 and not marker.exists():
        marker.touch()
        os._exit(1)
    return number


def hang_at_two(number):
    if number == 2:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # a decoder that hangs
        time.sleep(ENDLESS)
    return number


def sleep_beside(folder, number):
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(ENDLESS)


def lost(number, loss):
    return -number if isinstance(loss, BrokenProcessPool) else str(loss)


def fail(number):
    raise OSError(28, "no space")


def fail_in_its_own_way(number):
    raise OwnError("item", number)


def test_without_workers_it_is_a_map():
    started = []
    assert list(parallel_map(abs, [-2, 1], 0, lambda: started.append(1))) == [2, 1]
    assert started == [1]


def test_an_item_that_kills_its_process_costs_itself_alone():
    found = sorted(parallel_map(square_or_die, range(6), 2, lost=lost))
    assert found == [-3, 0, 1, 4, 16, 25]


def test_after_a_death_the_others_go_on_in_as_few_processes_as_before():
    found = list(parallel_map(square_and_process, range(12), 2, lost=lambda *_: (0, None)))
    assert len(found) == 12
    # Two, and one in the place of the one that died
    assert len({process for _, process in found if process}) <= 3


def test_an_item_whose_process_was_killed_is_tried_again_alone(tmp_path):
    assert sorted(parallel_map(partial(die_once, tmp_path), range(3), 2, lost=lost)) == [0, 1, 2]


def test_without_a_result_for_it_a_killed_process_ends_everything():
    with pytest.raises(BrokenProcessPool, match="exit status 1"):
        list(parallel_map(square_or_die, [3], 1))


def test_an_item_that_takes_too_long_costs_itself_alone(monkeypatch):
    monkeypatch.setattr(parallel, "GRACE", 0.2)
    found = list(parallel_map(hang_at_two, range(5), 2, lost=lost, seconds=1.5))
    assert sorted(map(str, found)) == ["0", "1", "3", "4", "it took longer than 1.5 s"]
    with pytest.raises(TimeoutError):
        list(parallel_map(hang_at_two, [2], 1, seconds=1.5))


def test_errors_come_out_as_they_were_raised():
    with pytest.raises(OSError, match="no space") as caught:
        list(parallel_map(fail, [1], 1))
    assert caught.value.errno == 28
    assert "in fail" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="OwnError: item 1"):
        list(parallel_map(fail_in_its_own_way, [1], 1))


def test_a_process_that_dies_at_its_start_ends_everything_instead_of_starting_for_ever():
    with pytest.raises(BrokenProcessPool):
        list(parallel_map(abs, range(9), 2, partial(os._exit, 7), lost))


def map_in_two_processes(folder):
    list(parallel_map(partial(sleep_beside, folder), range(4), 2))


def load_in_two_processes(folder):
    # Here: every process of the tests above would import them
    import torch
    from torch.utils.data import DataLoader

    from affekt.runtime.run import _start_loader

    class Endless(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            sleep_beside(folder, index)

    next(iter(DataLoader(Endless(), num_workers=2, worker_init_fn=_start_loader)))


def run_two_stages(folder):
    code = f"import os, time; open(f'{folder}/{{os.getpid()}}.pid', 'w'); time.sleep({ENDLESS})"
    stages = [Stage(name, (sys.executable, "-c", code)) for name in "ab"]
    run_plan(stages, folder / "logs", cores=2)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which processes live")
@pytest.mark.parametrize("start", [map_in_two_processes, load_in_two_processes, run_two_stages])
def test_processes_end_with_a_parent_that_is_killed(start, tmp_path):
    code = (
        f"import pathlib; from {__name__} import {start.__name__} as start\n"
        f"if __name__ == '__main__': start(pathlib.Path({str(tmp_path)!r}))"
    )
    (tmp_path / "parent.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], env=environment)
    children = wait_for(lambda: [int(file.stem) for file in tmp_path.glob("*.pid")], 2, 60)
    parent.kill()
    parent.wait()
    assert wait_for(lambda: [pid for pid in children if is_alive(pid)], 0, 15) == []


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(found, count, seconds):
    limit = time.monotonic() + seconds
    while len(found()) != count and time.monotonic() < limit:
        time.sleep(0.05)
    return found()
