"""Two processes that train together, as torchrun starts them; forks, which need not import anew."""

import os
import signal
import socket
import sys
import time
import traceback

import torch._dynamo  # noqa: F401 - which an optimizer imports: once here, not in every process

PATIENCE = 120  # seconds


def in_two(work):
    """Do work as rank 0 and rank 1; return their exit statuses.

    As under torchrun the first one that fails ends the other.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = {_fork(work, rank, port): rank for rank in range(2)}
    statuses, deadline = {}, time.monotonic() + PATIENCE
    while running:
        for process in list(running):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                statuses[running.pop(process)] = os.waitstatus_to_exitcode(status)
        if any(statuses.values()) or time.monotonic() > deadline:
            time.sleep(0.5)  # that the other one may end by itself
            for process in running:
                os.kill(process, signal.SIGKILL)
        time.sleep(0.005)
    return [statuses[rank] for rank in range(2)]


def _fork(work, rank, port):
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        work(rank)
        status = 0
    except SystemExit as stop:
        status = int(stop.code)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
