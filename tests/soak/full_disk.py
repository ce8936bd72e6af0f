"""Disks that are full: one line, nothing torn, and the same command goes on when there is room.

The folder of a run or corpus lies on a small disk of its own: a tmpfs where this process may mount
one (in a name space of its own: nobody else sees it), filled up but for a share of what the command
writes. Where it may not, RLIMIT_FSIZE bounds each file (EFBIG in place of ENOSPC); the finding says
which was used.
"""

import ctypes
import os
import resource
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from affekt.runtime.command import STAGE_ERRORS, USER_ERRORS
from affekt.runtime.files import is_disk_error
from tests.soak import kills, preparing
from tests.soak.kills import in_child
from tests.soak.runner import Case, Finding, Part

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
SHARES = (0.02, 0.1, 0.25, 0.4, 0.6, 0.75, 0.9)  # of what an unstopped run writes
STAGES = ("disentangle", "fomm_gan", "edge2video")
SPARE = 1 << 16  # bytes that a command may need beyond what it leaves
Work = Callable[[Path], object]


def cases(shared: Path, count: int) -> Iterator[Case]:
    """Trainings of three stages, a preparation: seven fill levels each."""
    kills.made_corpora(shared / "corpora")
    works: dict[str, Work] = {name: partial(_train, shared, name) for name in STAGES}
    works["prepare"] = partial(_prepare, shared)
    for name in works:
        if not (shared / "whole" / name).exists():
            in_child(partial(works[name], shared / "whole" / name))
    every = [(name, share) for share in SHARES for name in works]
    for name, share in every[:count]:
        run = partial(goes_on, work=works[name], whole=shared / "whole" / name, share=share)
        yield Case(f"{name}_{share:.2f}", run)


def _train(shared: Path, name: str, out: Path) -> None:
    kills.train(shared / "corpora", name, out, **kills.RUN)


def _prepare(shared: Path, out: Path) -> None:
    preparing.prepare_tree(shared / "sources", out)


def goes_on(folder: Path, work: Work, whole: Path, share: float) -> Finding:
    """Run on a disk with a share of the room that is needed; make room; run again."""
    files = [path for path in whole.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    disk = folder / "disk"
    disk.mkdir(exist_ok=True)
    mounted = _mount(disk, 4 * size + (64 << 20))
    filler = disk / "filler"
    largest = max(path.stat().st_size for path in files)
    if mounted:
        free = shutil.disk_usage(disk).free
        filler.write_bytes(bytes(max(0, free - int(share * size))))
    limit = None if mounted else max(4096, int(share * largest))
    # Full: one line of the disk, no torn file
    said = folder / "said.txt"
    status = in_child(partial(_said, work, disk / "out", said, limit))
    text = said.read_text("utf-8", "replace") if said.exists() else ""
    way = "tmpfs" if mounted else "RLIMIT_FSIZE"
    if status == 0:
        return Finding(False, f"{way}: it ended well on a full disk")
    plain = len(text.strip().splitlines()) == 1 and "Traceback" not in text
    if not plain:
        return Finding(False, f"{way}: {text.strip()[-200:]!r}")
    left = [path.name for path in (disk / "out").rglob(".affekt-*") if path.name[-4:] != "lock"]
    # Room: the same command
    filler.unlink(missing_ok=True)
    status = in_child(partial(_said, work, disk / "out", said, None))
    if status:
        return Finding(False, f"{way}: with room: {said.read_text()[-200:]!r}")
    same = {p.relative_to(whole) for p in files} <= {
        p.relative_to(disk / "out") for p in (disk / "out").rglob("*")
    }
    held = f"left {left[:2]}" if left else "nothing left"
    return Finding(same and not left, f"{way}: {text.strip()[:120]}; {held}; went on")


def _said(work: Work, out: Path, said: Path, limit: int | None) -> None:
    """Do work as a command does: what a user can cause is one line in `said`."""
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        work(out)
    except (*STAGE_ERRORS, *USER_ERRORS) as error:
        full = is_disk_error(error) or "disk" in str(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        said.write_text(f"{error}\n" if full else traceback.format_exc())
        raise SystemExit(1) from None


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
