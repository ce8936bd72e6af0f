"""Compute the optical flow of every clip of a prepared corpus: flow.pngs.

    python -m data_prep.flow data/mini
    python -m data_prep.flow data/mead --workers 8
    python -m data_prep.flow data/mead --workers 8 --shard 3/16
    python -m data_prep.flow data/mead --method raft --device cuda

Writes into each clip's folder the flow of each frame from the frame before it and where it can be
trusted (affekt/media/video/flow.py), at half the frames' size, about 10 kB a frame at 256 px
(affekt/media/video/flow_store.py); <corpus>/flow.json records the settings. A second run makes only
what is missing. A corpus has flow of one method and one version: another is refused, unless
--replace removes all that is there first. With --shard i/n (docs/scale.md) only the share i, from
0, of the clips is worked on; the same command without it counts, once all shares are done. A clip
whose frames cannot be read is reported and does not stop the others.

dis needs no file, and 15 ms a frame of 256 px on one core. raft and raft_small read torchvision's
weights from the weights folder; on one core they need 1.4 and 0.4 s. Needs a prepared corpus that
stores frames, of any profile.
"""

import functools
import hashlib
import itertools
import json
import logging
import sys
import typing as tp
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from affekt.arrays import Image
from affekt.media.corpus import Clip, Corpus
from affekt.media.integrity import FLOW, PREPARE, described, read_sealed, write_sealed
from affekt.media.video.flow import ABSOLUTE, RELATIVE, Estimator, Method, confident, make_estimator
from affekt.media.video.flow_store import FILE, PNGS, FlowStore, flow_writer
from affekt.media.video.frames import FrameStore
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import is_disk_error
from affekt.runtime.parallel import Loss, parallel_map
from data_prep.clips.shards import in_shard, parse_shard

log = logging.getLogger(__name__)

Row = dict[str, tp.Any]
Outcome = tuple[str, str]  # clip id, why it has no flow, or ""

DAMAGED = "make the flow anew with --replace"
AT_ONCE = 16  # frames read in a row: at random, a video's are decoded many times over


@dataclass(frozen=True)
class Config:
    """Corpus, method and device of the flow."""

    corpus: Path  # a prepared corpus
    method: Method = "dis"
    workers: int = 0  # processes; 0: this one, which no clip_seconds can end
    clip_seconds: float = 3600.0  # that the flow of a clip may take, else it has none
    device: str = "cpu"  # of RAFT: cpu, cuda
    replace: bool = False  # remove the flow that is there first
    shard: str = ""  # i/n: the share i, from 0, of n; empty: all
    progress: bool = True

    def __post_init__(self) -> None:
        if self.clip_seconds <= 0:
            raise ValueError(f"--clip-seconds is {self.clip_seconds}, wanted more than 0")
        if parse_shard(self.shard) and self.replace:
            raise ValueError(
                f"a shard cannot replace: remove {self.corpus}/{FLOW} and {FILE} of all clips"
            )


@dataclass
class Flows:
    """Clips made, kept and failed in a run."""

    kept: int  # clips that had flow already
    made: list[str] = field(default_factory=list)  # clip ids
    failed: dict[str, str] = field(default_factory=dict)  # clip id: why

    @property
    def total(self) -> int:
        """Clips that have flow now."""
        return self.kept + len(self.made)


def make_flow(config: Config) -> Flows:
    """Write what is missing of a corpus' flow, and its flow.json; a share leaves out its counts.

    Raises:
        FileNotFoundError: no prepared corpus, no frames in it, or no weights of RAFT.
        ValueError: the corpus has flow of another method, version or settings; weights that are
            not the published ones.
        OSError: the disk is full.
    """
    corpus = Corpus(config.corpus)
    if "profile" not in corpus.info:
        raise FileNotFoundError(f"{config.corpus} stores no frames; {PREPARE} with a profile")
    origin = _origin(config.method, make_estimator(config.method, config.device))
    # Clips without flow yet, of a corpus whose flow is of this method
    clips = corpus.clips()
    _claim(config, clips, origin)
    shard = parse_shard(config.shard)
    clips = [clip for clip in clips if in_shard(clip.id, shard)]
    missing = [clip for clip in clips if not _has_flow(clip)]
    flows = Flows(len(clips) - len(missing))
    # Computed in worker processes; a clip that cannot be read is named
    make, start = functools.partial(_make, config), functools.partial(_start, config)
    outcomes = parallel_map(make, missing, config.workers, start, _lost, config.clip_seconds)
    bar = tqdm(total=len(missing), desc="flow", unit="clip", disable=not config.progress)
    with bar:
        for clip_id, reason in outcomes:
            bar.update()
            if reason:
                flows.failed[clip_id] = reason
                log.warning("%s has no flow: %s", clip_id, reason)
            else:
                flows.made.append(clip_id)
    if shard is None:
        write_sealed(config.corpus / FLOW, origin | {"clips": flows.total, "failed": flows.failed})
    return flows


def _origin(method: Method, estimator: Estimator) -> Row:
    """Return how flow is made: what all of a corpus' flow must have in common."""
    settings = estimator.settings | {"undone_within": [RELATIVE, ABSOLUTE], "stored_size": 0.5}
    text = json.dumps([method, PNGS.version, settings], sort_keys=True)
    return {
        "method": method,
        "version": PNGS.version,
        "settings": settings,
        "settings_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def _claim(config: Config, clips: Sequence[Clip], origin: Row) -> None:
    """Record how the corpus' flow is made; refuse to mix it with another."""
    path = config.corpus / FLOW
    there: Row | None = (
        read_sealed(path, DAMAGED) if path.is_file() and not config.replace else None
    )
    if there is None and config.shard:  # other shares may be at work: nothing is discarded
        unknown = [clip.folder / FILE for clip in clips if (clip.folder / FILE).exists()]
        if unknown and not path.is_file():
            raise ValueError(f"{unknown[0]} is of an unknown method; remove {FILE} of all clips")
        if not path.is_file():
            write_sealed(path, origin)
        there = read_sealed(path, DAMAGED)
    if there is None:  # flow of an unknown method is discarded
        path.unlink(missing_ok=True)
        for clip in clips:
            _remove(clip.folder)
        write_sealed(path, origin)
        return
    if there.get("settings_sha256") != origin["settings_sha256"]:
        raise ValueError(
            f"{path}: this corpus has flow by {_named(there)}, asked for {_named(origin)}; "
            "one corpus has one: ask for the one that is there, or remove it with --replace"
        )


def _named(origin: Row) -> str:
    return f"{origin.get('method')} (version {origin.get('version')}, {origin.get('settings')})"


def _has_flow(clip: Clip) -> bool:
    """Tell whether a clip has the flow of all its frames; a damaged file is made anew."""
    try:
        return len(FlowStore(clip.folder / FILE)) == clip.frames
    except (FileNotFoundError, ValueError):
        return False


def _start(config: Config) -> None:
    cv2.setNumThreads(1)  # clips are worked on side by side, by processes
    if config.workers:
        torch.set_num_threads(1)
    _estimator.cache_clear()


@functools.cache
def _estimator(method: Method, device: str) -> Estimator:
    """Load the estimator, once in every process; what is wrong with it concerns all clips."""
    return make_estimator(method, device)


def _make(config: Config, clip: Clip) -> Outcome:
    estimator = _estimator(config.method, config.device)
    try:
        store = clip.store()
        if len(store) != clip.frames:
            raise ValueError(f"{store.path} has {len(store)} frames, the manifest {clip.frames}")
        (clip.folder / FLOW).unlink(missing_ok=True)  # it describes an older file
        _write(clip.folder, store, estimator)
        write_sealed(clip.folder / FLOW, {"files": described(clip.folder, FILE)})
    except (OSError, ValueError, cv2.error) as error:
        if is_disk_error(error):
            raise
        _remove(clip.folder)  # a damaged one of an earlier run
        return clip.id, str(error)
    return clip.id, ""


def _remove(folder: Path) -> None:
    for name in (FLOW, FILE):
        (folder / name).unlink(missing_ok=True)


def _lost(clip: Clip, loss: Loss) -> Outcome:
    return clip.id, str(loss)


def _write(folder: Path, store: FrameStore, estimator: Estimator) -> None:
    before: Image | None = None
    with flow_writer(folder) as write:
        runs = (store[first : first + AT_ONCE] for first in range(0, len(store), AT_ONCE))
        for now in itertools.chain.from_iterable(runs):
            if before is None:
                write(np.zeros((*now.shape[:2], 2), np.float32), np.zeros(now.shape[:2], bool))
            else:
                back, forth = estimator(before, now)
                write(back, confident(back, forth))
            before = now


def summary(flows: Flows) -> str:
    """Return counts and the clips that failed, as lines of text."""
    lines = [f"{flows.total} clips have flow ({len(flows.made)} made now)"]
    lines += [f"  failed {name}: {reason}" for name, reason in sorted(flows.failed.items())]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 if every clip has flow, else 1."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    parser = CommandParser(__doc__)
    add = parser.add_argument
    add("corpus", type=Path, help="a prepared corpus, data/<name>")
    methods = "DIS, or RAFT, which needs weights (default: dis)"
    add("--method", choices=tp.get_args(Method), default=Config.method, help=methods)
    add("--workers", type=int, default=0, help="processes (default: this one)")
    text = "that a clip may take in a worker process (default: %(default)g)"
    add("--clip-seconds", type=float, default=Config.clip_seconds, metavar="S", help=text)
    add("--device", choices=("cpu", "cuda"), default="cpu", help="of RAFT")
    add("--replace", action="store_true", help="remove the flow there is, first")
    add("--shard", metavar="I/N", default="", help="work on the share I of N of the clips alone")
    with user_errors():
        config = Config(**vars(parser.parse_args(argv)))
        flows = make_flow(config)
    print(f"{config.corpus}: {summary(flows)}")
    return 1 if flows.failed else 0


if __name__ == "__main__":
    sys.exit(main())
