"""A whole evaluation from the command line: the first run, and the second, which reads the cache.

    python -m benchmarks.evaluation --corpus data/mini --clips 100 --workers 2 --json

Results are a prepared corpus's true clips, compressed again (H.264 crf 28); protocol evp-3d with
all controls and without networks, so that landmarks, pictures, warp errors and tables are timed.
`ratio` is the first run's seconds by the second's, and `max_abs_diff` that of their figures.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from affekt.evaluation.controls import copy_video
from affekt.media.corpus import Clip, Corpus
from affekt.media.video.video import write_video
from affekt.runtime.files import read_jsonl
from benchmarks.harness import Result, main

PROTOCOL = "evp-3d"
CRF = 28


def write_clips(clips: Sequence[Clip], folder: Path) -> int:
    """Write every clip as a truth and as a result; return how many frames there are."""
    for clip in clips:
        frames = [clip.store()[k] for k in range(clip.frames)]
        write_video(folder / "truth" / f"{clip.id}.mp4", frames, clip.audio())
        copy_video(frames, folder / "results" / f"{clip.id}.mp4", CRF)
    return sum(clip.frames for clip in clips)


def evaluate(folder: Path, workers: int) -> tuple[float, list[float]]:
    """Run test.py; return its seconds and the figures that it wrote."""
    command = [sys.executable, "test.py", "run", "--results", folder / "results"]
    command += ["--truth", folder / "truth", "--protocol", PROTOCOL, "--out", folder / "out"]
    started = time.perf_counter()
    subprocess.run([*map(str, command), "--workers", str(workers)], check=True, capture_output=True)
    seconds = time.perf_counter() - started
    return seconds, [line["value"] for line in read_jsonl(folder / "out" / "scores.jsonl")]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--corpus", type=Path, required=True, help="prepared, with frames")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)


def measure(args: argparse.Namespace) -> Result:
    """Evaluate twice."""
    clips = Corpus(args.corpus).clips()[: args.clips]
    with tempfile.TemporaryDirectory(prefix="affekt-") as name:
        frames = write_clips(clips, Path(name))
        (first, figures), (second, again) = (evaluate(Path(name), args.workers) for _ in range(2))
    seconds = {"first_seconds": round(first, 1), "second_seconds": round(second, 1)}
    notes = {"clips": len(clips), "frames": frames, "workers": args.workers, **seconds}
    result = Result("evaluation", round(first / second, 1), notes=notes)
    result.differ(again, figures)
    return result


if __name__ == "__main__":
    main(__doc__, measure, add_options)
