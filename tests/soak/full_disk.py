"""Disks that are full: one line, nothing torn, and the same command goes on when there is room.

The folder of a run or corpus lies on a small disk of its own: a tmpfs where this process may mount
one (in a name space of its own: nobody else sees it), filled up but for a share of what the command
writes. Where it may not, RLIMIT_FSIZE bounds each file (EFBIG in place of ENOSPC); the finding says
which was used.
"""

import ctypes
import os
import re
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from affekt.runtime.command import run_stage
from affekt.runtime.config import dump_config
from data_prep import prepare
from tests.soak import kills, preparing
from tests.soak.kills import in_child, made
from tests.soak.runner import Case, Finding, Part

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
SHARES = (0.02, 0.1, 0.25, 0.4, 0.6, 0.75, 0.9)  # of what an unstopped run writes
STAGES = ("disentangle", "fomm_gan", "edge2video")
LOGGED = re.compile(r"\d{4}-\d\d-\d\d |[A-Z]+ [\w.]+: ")  # begins the lines of logging
Command = Callable[[Path], int]  # from its folder; returns its exit status


def cases(shared: Path, count: int) -> Iterator[Case]:
    """Trainings of three stages, a preparation: seven fill levels each."""
    kills.made_corpora(shared / "corpora")
    commands: dict[str, Command] = {name: _training(shared, name) for name in STAGES}
    commands["prepare"] = _preparation(shared)
    for name, command in commands.items():
        whole = shared / "whole" / name
        if not (shared / "whole" / f"{name}.done").exists():
            shutil.rmtree(whole, ignore_errors=True)
            made(partial(_exit, command, whole))
            (shared / "whole" / f"{name}.done").touch()
    every = [(name, share) for share in SHARES for name in commands]
    for name, share in every[:count]:
        run = partial(goes_on, command=commands[name], whole=shared / "whole" / name, share=share)
        yield Case(f"{name}_{share:.2f}", run)


def _training(shared: Path, name: str) -> Command:
    """Return the command of a stage: its script's own, from a YAML file."""
    configure, train = kills.stages().STAGES[name]
    config = configure(shared / "corpora")
    path = shared / f"{name}.yaml"
    dump_config(replace(config, run=replace(config.run, **kills.RUN)), path)
    return lambda out: run_stage(train, type(config), None, [str(path), f"run.out={out}"])


def _preparation(shared: Path) -> Command:
    """Return the command that prepares a corpus in two processes."""
    preparing.write_sources(shared / "sources")
    path = shared / "prepare.yaml"
    dump_config(preparing.settings(shared / "sources", shared, workers=2), path)
    return lambda out: prepare.main([str(path), f"out={out}"])


def goes_on(folder: Path, command: Command, whole: Path, share: float) -> Finding:
    """Run on a disk with a share of the room that is needed; make room; run again."""
    sizes = [path.stat().st_size for path in whole.rglob("*") if path.is_file()]
    disk = folder / "disk"
    disk.mkdir()
    mounted = _mount(disk, 4 * sum(sizes) + (64 << 20))
    way = "tmpfs" if mounted else "RLIMIT_FSIZE"
    filler, limit = disk / "filler", max(4096, int(share * max(sizes)))
    if mounted:
        room = int(share * sum(sizes))
        filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - room)))
    # Full: one line of the disk, no torn file
    status, said = _said(command, folder, None if mounted else limit)
    if not status:
        return Finding(False, f"{way}: it ended well on a full disk")
    if len(said) != 1 or not re.search(
        r"disk is full|No space left|larger than|too large", said[0]
    ):
        return Finding(False, f"{way}: status {status}: {said[-5:]}")
    left = [path.name for path in (disk / "out").rglob(".affekt-*") if path.name[-4:] != "lock"]
    if left:
        return Finding(False, f"{way}: {said[0]}; left {left[:2]}")
    # Room: the same command ends as if nothing had been
    filler.unlink(missing_ok=True)
    status, again = _said(command, folder, None)
    if status:
        return Finding(False, f"{way}: with room: status {status}: {again[-5:]}")
    compare = kills.equal if (whole / "checkpoints").exists() else preparing.equal
    return compare(disk / "out", whole, f"{way}: {said[0]}")


def _exit(command: Command, out: Path) -> None:
    raise SystemExit(command(out))


def _said(command: Command, folder: Path, limit: int | None) -> tuple[int, list[str]]:
    """Run a command in folder/disk/out; return its status and what it said beside its log."""
    said = folder / "said.txt"

    def work() -> None:
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        _exit(command, folder / "disk" / "out")

    status = in_child(work)
    lines = said.read_text("utf-8", "replace").splitlines()
    return status, [line for line in lines if line.strip() and not LOGGED.match(line)]


def _mount(folder: Path, size: int) -> bool:
    """Mount a tmpfs that this process and its children see alone; False where it may not be."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        return False
    libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
    place, options = os.fsencode(folder), f"size={size}".encode()
    return libc.mount(b"tmpfs", place, b"tmpfs", 0, options) == 0


PART = Part(
    "full_disk",
    "one line, nothing torn, goes on",
    cases,
    len(SHARES) * (len(STAGES) + 1),
    seconds=300,
)
