"""Start of training on a corpus of LRW's kind, where every clip is a speaker of its own.

    python -m benchmarks.start --json

Made-up prepared corpora of 29 frames a clip, without pictures: 5,000 and 50,000 clips. `seconds`,
by size, is what it takes to open the corpus, to learn the landmark space and to learn a face model;
`parts` has the three and the training items of pretrain_encoders.py (`items`), which are read after
the space; `processor` the same in the processor's seconds, which other processes change less.
`exponent` is that of the growth of `seconds` from the smaller to the larger size (1: linear; the
face model has a limit, so that `notes` have that of the space too), `peak_gb` the memory of the
process, items included.

`ratio` is the plain way's time over ours for the landmark space at the smaller size; the plain way
scans all clips for each speaker and keeps all faces. `max_abs_diff` compares landmark spaces and
face models on 120 clips of 40 people.

Wanted: at most 120 seconds and 4 GB at 50,000 clips, exponent at most 1.15, 1e-6.
"""

import argparse
import math
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from affekt.arrays import Array
from affekt.media.corpus import Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.face3d.model import FaceModel
from benchmarks.harness import Result, main
from data_prep.face_model import Config, learn, learn_face_model
from evp.data.speech import LandmarkClips, clips_of
from evp.landmark_space import LandmarkSpace, fit_space, flatten
from tests.corpora.many_speakers import many_speakers

K = 16  # motion components, the release's
FRAMES = 16  # of a training sequence
START = ("open", "space", "face_model")
COMPARED = (120, 3)  # clips, and of each speaker

T = TypeVar("T")


@dataclass
class StartResult(Result):
    """Result of this benchmark, with what grows with the corpus."""

    seconds: dict[str, float] = field(default_factory=dict)  # by clips
    parts: dict[str, dict[str, float]] = field(default_factory=dict)  # by clips, seconds
    processor: dict[str, dict[str, float]] = field(default_factory=dict)  # the same
    exponent: float = 0.0
    peak_gb: float = 0.0

    def text(self) -> str:
        """Return seconds by size and part, exponent and memory, then what every benchmark has."""
        lines = [f"{n} clips: {own:.1f} s {self.parts[n]}" for n, own in self.seconds.items()]
        lines += [f"exponent: {self.exponent:.2f}", f"peak_gb: {self.peak_gb:.2f}"]
        return "\n".join([*lines, super().text()])


def timed(run: Callable[[], T]) -> tuple[T, tuple[float, float]]:
    """Return what a function returns, and the seconds and processor's seconds that it took."""
    start, busy = time.perf_counter(), time.process_time()
    found = run()
    return found, (time.perf_counter() - start, time.process_time() - busy)


def growth(small: float, large: float) -> float:
    """Return the exponent of the growth of seconds where the size grows tenfold."""
    return math.log10(large / small)


def start_parts(root: Path) -> dict[str, tuple[float, float]]:
    """Return the seconds and processor's seconds of every part of a start."""
    corpus, opened = timed(lambda: Corpus(root))
    space, spaced = timed(lambda: fit_space(corpus, "2d", K, "others"))
    clips = clips_of(corpus, "train")
    _, read = timed(lambda: LandmarkClips(clips, space, "2d", FRAMES, "window", seed=0))
    config = Config(root, root / "face_model.npz", progress=False)
    _, learned = timed(lambda: learn(config))
    return {"open": opened, "space": spaced, "face_model": learned, "items": read}


def plain_space(corpus: Corpus) -> LandmarkSpace:
    """Return the landmark space by its definition: every speaker's clips looked for among all."""
    clips = corpus.clips(split="train")
    speakers = tuple(sorted({clip.speaker for clip in clips}))
    faces = {clip.id: flatten(clip.aligned("2d")) for clip in clips}

    def mean(speaker: str, emotions: set[str]) -> Array:
        own = [faces[c.id] for c in clips if c.speaker == speaker and c.emotion in emotions]
        return np.concatenate(own).mean(axis=0)

    neutral = np.stack([mean(speaker, {NEUTRAL}) for speaker in speakers])
    average = np.stack([mean(speaker, set(corpus.emotions)) for speaker in speakers])
    moved = [faces[clip.id] - neutral[speakers.index(clip.speaker)] for clip in clips]
    rows = np.concatenate(moved).astype(np.float64)
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    basis = vectors[:, ::-1][:, :K].T
    return LandmarkSpace(speakers, neutral, average, basis, np.sqrt(values[::-1][:K]))


def plain_model(corpus: Corpus) -> FaceModel:
    """Return the face model of all frames of everybody."""
    clips = corpus.clips(split="train")
    speakers = sorted({clip.speaker for clip in clips})
    return learn_face_model(
        {
            speaker: np.concatenate([c.landmarks3d() for c in clips if c.speaker == speaker])
            for speaker in speakers
        }
    )


def compare_with_plain(result: StartResult, root: Path) -> None:
    """Note the largest difference from the plain way on a small corpus."""
    clips, each = COMPARED
    corpus = many_speakers(root, clips, people=clips, clips_each=each)
    ours, plain = fit_space(corpus, "2d", K), plain_space(corpus)
    for name in ("neutral", "average", "basis", "deviation"):
        result.differ(getattr(ours, name), getattr(plain, name))
    model = learn(Config(root, root / "face_model.npz", progress=False))
    whole = plain_model(corpus)
    for name in ("mean", "identity", "expression", "expression_range"):
        result.differ(getattr(model, name), getattr(whole, name))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the size."""
    parser.add_argument("--clips", type=int, default=50_000, help="larger size; a tenth: smaller")


def measure(args: argparse.Namespace) -> StartResult:
    """Time both sizes, then compare with the plain way."""
    result = StartResult("start", {})
    small, large = sizes = (args.clips // 10, args.clips)
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        for size in sizes:
            many_speakers(Path(folder, str(size)), size, people=200)
            parts = start_parts(Path(folder, str(size)))
            result.parts[str(size)] = {name: wall for name, (wall, _) in parts.items()}
            result.processor[str(size)] = {name: busy for name, (_, busy) in parts.items()}
            result.seconds[str(size)] = sum(result.parts[str(size)][name] for name in START)
        result.exponent = growth(result.seconds[str(small)], result.seconds[str(large)])
        spaces = (result.processor[str(size)]["space"] for size in sizes)
        result.notes["exponent of the space, processor"] = growth(*spaces)
        result.peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        # Against the plain way: how fast where it can be run, and how far apart
        corpus = Corpus(Path(folder, str(small)))
        ours, _ = timed(lambda: fit_space(corpus, "2d", K))[1]
        plain, _ = timed(lambda: plain_space(corpus))[1]
        result.ratio = {f"space, {small} clips": plain / ours}
        compare_with_plain(result, Path(folder, "compared"))
    return result


if __name__ == "__main__":
    main(__doc__, measure, add_options)
