"""One training step of every stage at the paper's size: parameters, peak memory, seconds.

Example, on any prepared corpus of profile portrait:

python -m benchmarks.full_size --corpus data/mini --speaker M901
python -m benchmarks.full_size --corpus data/mini --speaker M901 --only edge2video --json

Each step is taken by the stage's own script on the paper's own YAML, in a process of its own, on
the CPU. Pretrained parts are left out and VGG-19 has random weights: neither changes size or
speed. Seconds are those from the first step's end to the second's; memory is the process's peak.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import typing as tp
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from runtime.files import read_jsonl

NAMES = ("pretrain_emotion", "pretrain_content", "disentangle", "audio2lm", "edge2video")
RUN = ("run.steps=2", "run.device=cpu", "run.workers=0", "run.log_every=1", "run.progress=false")


@dataclass(frozen=True)
class Cost:
    """What a training step costs."""

    name: str
    parameters: dict[str, int]  # by part of the checkpoint
    seconds: float  # of the second step
    peak_gib: float  # resident memory of the whole process


def command(name: str, corpus: Path, speaker: str, runs: Path) -> list[str]:
    """Return the command line of a stage's two steps."""
    script = "pretrain_encoders.py" if name.startswith("pretrain") else f"train_{name}.py"
    data = {
        "disentangle": (f"corpus={corpus}", "content_from=null", "emotion_from=null"),
        "audio2lm": (f"corpus={corpus}", f"encoders={runs / 'disentangle'}"),
        "edge2video": (
            f"data.corpora=[{corpus}]",
            f"data.speaker={speaker}",
            "vgg.weights=random",
        ),
    }.get(name, (f"corpus={corpus}",))
    run = (*RUN, f"run.out={runs / name}", "held_out.split=none")
    return [sys.executable, script, f"configs/evp/{name}.yaml", *data, *run]


def measure(name: str, corpus: Path, speaker: str, runs: Path) -> Cost:
    """Take two steps of a stage.

    Raises:
        RuntimeError: the stage failed; the message holds the end of its output.
    """
    log = runs / f"{name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command(name, corpus, speaker, runs), stdout=file, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{name} failed:\n{log.read_text('utf-8', 'replace')[-2000:]}")
    first, second = (row["time"] for row in read_jsonl(runs / name / "metrics.jsonl")[-2:])
    newest = sorted((runs / name / "checkpoints").glob("*.pt"))[-1]
    parts = torch.load(newest, map_location="cpu", weights_only=True)["parts"]
    counts = {part: _weights(state) for part, state in parts.items() if "optimizer" not in part}
    return Cost(name, counts, round(second - first, 2), round(usage.ru_maxrss / 2**20, 2))


def _weights(state: dict[str, tp.Any]) -> int:
    return sum(
        value.numel()
        for name, value in state.items()
        if value.is_floating_point() and "running_" not in name
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    keep_layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=keep_layout)
    parser.add_argument("--corpus", type=Path, required=True, help="a prepared corpus with pairs")
    parser.add_argument("--speaker", required=True, help="whose portrait edge2video draws")
    parser.add_argument("--only", choices=NAMES, nargs="+", default=NAMES)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="affekt-") as folder:
        costs = [measure(name, args.corpus, args.speaker, Path(folder)) for name in args.only]
    for cost in costs:
        parts = ", ".join(f"{part} {count / 1e6:.2f} M" for part, count in cost.parameters.items())
        print(f"{cost.name:18} {cost.seconds:8.2f} s  {cost.peak_gib:6.2f} GiB  {parts}")
    if args.json:
        print(json.dumps({"name": "full_size", "costs": [asdict(cost) for cost in costs]}))


if __name__ == "__main__":
    main()
