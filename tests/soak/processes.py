"""Processes: none left after a kill, no second training, a save at SIGTERM, flat memory."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.soak.kills import in_child, made_corpora, train
from tests.soak.preparing import prepare_tree, write_sources
from tests.soak.runner import Case, Finding, Part

WARM, LONG = 200, 1200  # steps
GROWTH = 20  # megabytes of memory from one to the other: 20 kB a step


def cases(shared: Path, count: int) -> Iterator[Case]:
    """One of each."""
    root = made_corpora(shared / "corpora")
    write_sources(shared / "sources")
    every = [
        Case("leftovers", partial(leftovers, root=root)),
        Case("preparing_leftovers", partial(preparing_leftovers, sources=shared / "sources")),
        Case("two_trainings", partial(two_trainings, root=root)),
        Case("sigterm", partial(sigterm, root=root)),
        Case("memory", partial(memory, root=root)),
    ]
    yield from every[:count]


def _train(root: Path, out: Path, **run: object) -> None:
    train(root, "syncnet", out, **run)


def leftovers(folder: Path, root: Path) -> Finding:
    """Kill a training with two loader processes; none of them is there ten seconds later."""
    pids: set[int] = set()
    run = {"steps": 10_000, "workers": 2, "log_every": 1, "save_every": 10_000}

    def started() -> bool:
        log = folder / "run" / "metrics.jsonl"
        if not log.exists() or log.read_bytes().count(b"\n") < 3:
            return False
        pids.update(_descendants(os.getpid()))
        return True

    status = in_child(partial(_train, root, folder / "run", **run), started)
    return _ended(pids, status)


def preparing_leftovers(folder: Path, sources: Path) -> Finding:
    """Kill a preparation in two worker processes, after its first clip."""
    pids: set[int] = set()

    def started() -> bool:
        if not any((folder / "corpus").glob("clips/*/*/clip.json")):
            return False
        pids.update(_descendants(os.getpid()))
        return True

    work = partial(prepare_tree, sources, folder / "corpus", workers=2)
    return _ended(pids, in_child(work, started))


def _ended(pids: set[int], status: int) -> Finding:
    """Find whether processes end within ten seconds."""
    if status != -signal.SIGKILL:
        return Finding(False, f"not killed: status {status}")
    end = time.monotonic() + 10
    while (alive := [pid for pid in pids if _alive(pid)]) and time.monotonic() < end:
        time.sleep(0.1)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    return Finding(len(pids) >= 3 and not alive, f"{len(pids)} processes, {len(alive)} left")


def two_trainings(folder: Path, root: Path) -> Finding:
    """A second training into the folder of one that runs is refused; the first is not hurt."""
    out, said = folder / "run", folder / "said.txt"
    run = {"steps": 10_000, "log_every": 1, "save_every": 10_000}
    found: list[tuple[int, int]] = []  # steps of the first, status of the second

    def second() -> bool:
        log = out / "metrics.jsonl"
        steps = log.read_bytes().count(b"\n") if log.exists() else 0
        if steps >= 3 and not found:
            found.append((steps, in_child(partial(_refused, root, out, said))))
        return bool(found) and steps >= found[0][0] + 10  # it goes on

    first = in_child(partial(_train, root, out, **run), second)
    text = said.read_text() if said.exists() else "the second one ran"
    refused = found and found[0][1] == 1 and str(out) in text
    return Finding(bool(refused) and first == -signal.SIGKILL, text)


def _refused(root: Path, out: Path, said: Path) -> None:
    try:
        _train(root, out, steps=5)
    except (OSError, ValueError) as error:
        said.write_text(str(error))
        raise SystemExit(1) from None


def sigterm(folder: Path, root: Path) -> Finding:
    """SIGTERM saves within a step: the checkpoint is of the last step logged, or of the next."""
    out = folder / "run"
    run = {"steps": 10_000, "log_every": 1, "save_every": 10_000}
    process = os.fork()
    if not process:
        status = 1
        try:
            _train(root, out, **run)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        finally:
            os._exit(status)
    log = out / "metrics.jsonl"
    while not log.exists() or log.read_bytes().count(b"\n") < 5:
        time.sleep(0.01)
    logged = log.read_bytes().count(b"\n")
    os.kill(process, signal.SIGTERM)
    os.waitpid(process, 0)
    saved = [int(path.stem) for path in (out / "checkpoints").glob("[0-9]*.pt")]
    good = bool(saved) and logged <= max(saved) <= logged + 2
    return Finding(good, f"signal after step {logged}, saved {saved}")


def memory(folder: Path, root: Path) -> Finding:
    """Resident memory after 1200 steps is that after 200, but for GROWTH."""
    sizes: dict[int, float] = {}

    def measured() -> bool:
        log = folder / "run" / "metrics.jsonl"
        steps = log.read_bytes().count(b"\n") if log.exists() else 0
        for wanted in (WARM, LONG):
            if steps >= wanted and wanted not in sizes:
                children = _descendants(os.getpid())
                sizes[wanted] = sum(_resident(pid) for pid in children)
        time.sleep(0.05)
        return LONG in sizes

    run = {"steps": LONG + 50, "log_every": 1, "save_every": 10_000, "workers": 0}
    in_child(partial(_train, root, folder / "run", **run), measured)
    good = len(sizes) == 2 and sizes[LONG] <= sizes[WARM] + GROWTH
    return Finding(good, ", ".join(f"{mb:.0f} MB at step {step}" for step, mb in sizes.items()))


def _descendants(pid: int) -> set[int]:
    """Return the processes below one, by /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it ended
            continue
        parents[int(entry.parent.name)] = int(fields[1])
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _resident(pid: int) -> float:
    """Return megabytes."""
    return (
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
    )


PART = Part("processes", "none left, one training, a save, flat memory", cases, 5, seconds=900)
