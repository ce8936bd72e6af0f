"""Start of the scripts: `--help`, and an evaluation that reads everything from its cache.

    python -m benchmarks.startup --json

Each command is a process of its own and alternates with `python -c "import torch"`; `ratio` is the
median over the rounds of its time over that one's: 1 is the import alone, less is without it.
`cached_run` is `test.py run` on rendered clips that were measured before; `notes` have its seconds
beyond the import, and of every command the ratio of processor seconds, which other work on the
machine changes less, and the peak of memory in MB (at least that of the benchmark itself).

Wanted: at most 1.5 for every help, at most 2 seconds beyond the import for `cached_run`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.harness import Result, main
from data_prep.mini.clip import ClipName, Settings, make_clip

ROOT = Path(__file__).parents[1]
REFERENCE = "import torch"
COMMANDS = {
    REFERENCE: ("-c", REFERENCE),
    "generate_help": ("generate.py", "--help"),
    "generate_evp_help": ("generate.py", "evp", "--help"),
    "generate_eamm_help": ("generate.py", "eamm", "--help"),
    "test_help": ("test.py", "--help"),
    "test_run_help": ("test.py", "run", "--help"),
    "train_help": ("train_fomm.py", "--help"),
    "train_edge2video_help": ("train_edge2video.py", "--help"),
    "demo_help": ("demo.py", "--help"),
    "prepare_help": ("-m", "data_prep.prepare", "--help"),
}


@dataclass(frozen=True)
class Process:
    """What a process took."""

    seconds: float
    processor: float  # seconds
    megabytes: float  # peak


def run(arguments: Sequence[str]) -> Process:
    """Run Python to its end, without its output.

    Raises:
        ValueError: it failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ValueError(f"python {' '.join(arguments)} ended with {process.returncode}")
    seconds = time.perf_counter() - start
    return Process(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def cached_run(root: Path, clips: int) -> tuple[str, ...]:
    """Measure rendered clips against themselves; return the command, which is cached now."""
    for number in range(clips):
        name = ClipName(speaker=number % 2, view="front", emotion="happy", level=3, number=number)
        make_clip(root / "raw", name, Settings())
    videos = root / "videos"
    videos.mkdir()
    for number, path in enumerate(sorted((root / "raw").rglob("*.mp4"))):
        path.rename(videos / f"clip_{number}.mp4")
    options = ("--results", str(videos), "--truth", str(videos), "--out", str(root / "out"))
    command = ("test.py", "run", *options, "--protocol", "evp-3d")
    run(command)
    return command


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the size."""
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=4, help="of the cached evaluation; 0: none")


def measure(args: argparse.Namespace) -> Result:
    """Run all commands in turn, round after round; the first round fills the disk's cache."""
    taken: dict[str, list[Process]] = {}
    with tempfile.TemporaryDirectory() as folder:
        commands = dict(COMMANDS)
        if args.clips:
            commands["cached_run"] = cached_run(Path(folder), args.clips)
        for number in range(args.rounds + 1):
            for name, arguments in commands.items():
                one = run(arguments)
                taken.setdefault(name, []).extend([one] if number else [])
    # Medians over the rounds, each against the import of its own round
    result = Result("startup", {})
    reference = taken.pop(REFERENCE)
    result.milliseconds["all"] = {REFERENCE: 1e3 * median(each.seconds for each in reference)}
    for name, own in taken.items():
        pairs = list(zip(own, reference, strict=True))
        assert isinstance(result.ratio, dict)
        result.ratio[name] = median(one.seconds / torch.seconds for one, torch in pairs)
        result.milliseconds["all"][name] = 1e3 * median(one.seconds for one in own)
        processor = median(one.processor / torch.processor for one, torch in pairs)
        megabytes = max(one.megabytes for one in own)
        result.notes[name] = {"processor": round(processor, 2), "megabytes": round(megabytes)}
        if name == "cached_run":
            beyond = median(one.seconds - torch.seconds for one, torch in pairs)
            result.notes[name]["seconds_beyond_the_import"] = round(beyond, 2)
    return result


if __name__ == "__main__":
    main(__doc__, measure, add_options)
