"""Preparations that are killed and started again: the tree is that of one never stopped.

Every third one works in two processes, which the kill of their parent must end before the next one
begins to write.
"""

import hashlib
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from affekt.media.faces.track import FramesConfig
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.prepare import Config, prepare
from tests.corpora.drawn_face import talking_clip
from tests.soak.kills import in_child, made
from tests.soak.runner import Case, Finding, Part

NAMES = [f"{who}_{what}_{k}" for who in ("ann", "bob") for what in ("sad", "happy") for k in (1, 2)]
PATTERN = r"(?P<speaker>[a-z]+)_(?P<emotion>[a-z]+)_(?P<number>\w+)"


def write_sources(folder: Path) -> None:
    """Write eight short clips of a drawn face, if they are not there."""
    for name in NAMES:
        if not (folder / f"{name}.mp4").exists():
            talking_clip(folder / f"{name}.mp4", 8, 128)


def settings(sources: Path, out: Path, workers: int = 0) -> Config:
    """Return how they are prepared."""
    corpus = CorpusConfig("folder", sources, pattern=PATTERN)
    frames = FramesConfig(size=64)
    return Config(corpus, frames=frames, out=out, workers=workers, progress=False)


def prepare_tree(sources: Path, out: Path, workers: int = 0) -> None:
    """Write the clips and prepare them."""
    write_sources(sources)
    prepare(settings(sources, out, workers))


def cases(shared: Path, count: int) -> Iterator[Case]:
    """Kills at instants drawn between start and end of a preparation that is not stopped."""
    whole, took = shared / "whole", shared / "seconds"
    if not took.exists():
        shutil.rmtree(whole, ignore_errors=True)
        made(partial(prepare_tree, shared / "sources", whole))
        shutil.rmtree(whole)
        since = time.monotonic()
        made(partial(prepare_tree, shared / "sources", whole))
        took.write_text(str(time.monotonic() - since))
    seconds = float(took.read_text())
    for number in range(count):
        yield Case(f"{number:02d}", partial(resumes, shared=shared, seconds=seconds, seed=number))


def resumes(folder: Path, shared: Path, seconds: float, seed: int) -> Finding:
    """Kill a preparation twice, finish it, and compare all files with those of an unstopped one."""
    workers = 2 if seed % 3 == 2 else 0
    work = partial(prepare_tree, shared / "sources", folder / "corpus", workers)
    rng, killed = random.Random(seed), []
    for _ in range(2):
        end = time.monotonic() + rng.uniform(0.05, 0.9) * seconds
        status = in_child(work, lambda end=end: time.monotonic() > end)
        killed.append("killed" if status == -signal.SIGKILL else f"status {status}")
    status = in_child(work)
    if status:
        return Finding(False, f"{', '.join(killed)}; the same command ended with status {status}")
    return equal(folder / "corpus", shared / "whole", ", ".join(killed))


def equal(corpus: Path, whole: Path, where: str) -> Finding:
    """Compare two trees, names and contents."""
    one, two = tree(corpus), tree(whole)
    different = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
    text = f"differ: {', '.join(different[:3])}" if different else "equal"
    return Finding(not different, f"{where}; {text}")


def tree(root: Path) -> dict[str, str]:
    """Return the digest of each file of a corpus, hidden ones included, but for locks."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith("lock") and os.access(path, os.R_OK)
    }


PART = Part("preparing", "finished with an equal tree", cases, 30, seconds=300)
