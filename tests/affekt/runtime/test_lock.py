"""A folder is held by one process, which is named, and free as soon as it ends."""

import os
import platform
import re
import signal
import subprocess
import sys

import pytest

from affekt.runtime.lock import LOCK, FolderInUseError, FolderLock, locked

HOLD = """
import sys, time
from multiprocessing import get_context
from pathlib import Path
from affekt.runtime.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]), "training")
child = get_context("fork").Process(target=time.sleep, args=(60,))  # outlives a killed parent
child.start()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Return a process that holds tmp_path, and the process that it started."""
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as one:
        child = int(one.stdout.readline())
        yield one, child
        one.kill()
        os.kill(child, signal.SIGKILL)


def test_a_second_process_is_refused_by_name_and_let_in_after_a_kill(tmp_path, holder):
    process, child = holder
    who = f"process {process.pid} on {re.escape(platform.node())} \\(training since 2"
    with pytest.raises(FolderInUseError, match=f"{tmp_path} is in use by {who}"):
        FolderLock(tmp_path, "training")
    process.kill()
    process.wait()
    os.kill(child, 0)  # it still runs, and holds nothing
    with locked(tmp_path, "preparing"):
        assert f'"pid": {os.getpid()}, ' in (tmp_path / LOCK).read_text()


def test_a_holder_that_does_not_say_who_it_is_is_another_process(tmp_path, holder):
    (tmp_path / LOCK).write_text("x")
    with pytest.raises(FolderInUseError, match="in use by another process: wait for it or stop it"):
        FolderLock(tmp_path, "training")


def test_the_last_of_a_processs_own_locks_frees_the_folder(tmp_path):
    def other():
        code = "import sys; from pathlib import Path; from affekt.runtime.lock import FolderLock\n"
        code += 'FolderLock(Path(sys.argv[1]), "training")'
        command = [sys.executable, "-c", code, tmp_path / "run"]
        return subprocess.run(command, capture_output=True, check=False).returncode

    first, second = (FolderLock(tmp_path / "run", "training") for _ in range(2))
    first.release()
    first.release()
    assert other() == 1
    second.release()
    assert other() == 0
