"""One training step of every stage at the paper's size: parameters, peak memory, seconds.

Example, on any prepared corpora of the profiles portrait and eamm:

python -m benchmarks.full_size --corpus data/mini --speaker M901 --eamm-corpus data/mini_eamm
python -m benchmarks.full_size --corpus data/mini --speaker M901 --only edge2video --json
python -m benchmarks.full_size --eamm-corpus data/mini_eamm --only fomm a2fd displacement

Each step is taken by the stage's own script on the paper's own YAML, in a process of its own, on
the CPU. Pretrained parts are left out and VGG-19 has random weights: neither changes size or
speed. EAMM's batches (40 pairs, 8 and 16 clips of 16 frames) are cut to `--batch`, since they need
a GPU's memory. Seconds are those from the first step's end to the second's; memory is the
process's peak.
"""

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

from affekt.runtime.command import CommandParser
from affekt.runtime.files import read_jsonl

EVP = ("pretrain_emotion", "pretrain_content", "disentangle", "audio2lm", "edge2video")
EAMM = ("fomm", "a2fd", "displacement")
RUN = ("run.steps=2", "run.device=cpu", "run.workers=0", "run.log_every=1", "run.progress=false")


@dataclass(frozen=True)
class Cost:
    """What a training step costs."""

    name: str
    parameters: dict[str, int]  # by part of the checkpoint
    seconds: float  # of the second step
    peak_gib: float  # resident memory of the whole process


@dataclass(frozen=True)
class Material:
    """What the stages are given."""

    corpus: Path  # profile portrait
    speaker: str  # whose portrait edge2video draws
    eamm_corpus: Path  # profile eamm
    batch: int  # of EAMM's stages
    runs: Path
    size: int | None = None  # pixels a side of edge2video's frames; None: the YAML's

    def command(self, name: str) -> list[str]:
        """Return the command line of a stage's two steps."""
        program, config, data = self._evp(name) if name in EVP else self._eamm(name)
        val = "held_out.split=none" if name in EVP else "val.split=none"
        run = (*RUN, f"run.out={self.runs / name}", val)
        return [sys.executable, program, config, *data, *run]

    def _evp(self, name: str) -> tuple[str, str, tuple[str, ...]]:
        corpus = f"corpus={self.corpus}"
        data = {
            "disentangle": (corpus, "content_from=null", "emotion_from=null"),
            "audio2lm": (corpus, f"encoders={self.runs / 'disentangle'}"),
            "edge2video": (
                f"data.corpora=[{self.corpus}]",
                f"data.speaker={self.speaker}",
                "vgg.weights=random",
                "sequence.coarse_steps=0",  # the dearest phase: all networks together
                "sequence.enhancer_steps=0",
                *(() if self.size is None else (f"guidance.size={self.size}",)),
            ),
        }.get(name, (corpus,))
        program = "pretrain_encoders.py" if name.startswith("pretrain") else f"train_{name}.py"
        return program, f"configs/evp/{name}.yaml", data

    def _eamm(self, name: str) -> tuple[str, str, tuple[str, ...]]:
        batch = f"run.batch_size={self.batch}"
        corpus = f"corpus={self.eamm_corpus}"
        fomm, a2fd = (f"{each}={self.runs / each}" for each in ("fomm", "a2fd"))
        random = "vgg.weights=random"
        if name == "fomm":
            frames = f"data.corpora=[{self.eamm_corpus}]"
            return "train_fomm.py", "configs/eamm/fomm_vox256.yaml", (batch, random, frames)
        if name == "a2fd":
            data: tuple[str, ...] = (batch, random, corpus, fomm)
            return "train_a2fd.py", "configs/eamm/a2fd.yaml", data
        data = (batch, corpus, fomm, a2fd, "keypoint_choice=null", "model.keypoint_ids=[1,4,6]")
        return "train_emotion_displacement.py", "configs/eamm/displacement.yaml", data


def measure(name: str, material: Material) -> Cost:
    """Take two steps of a stage.

    Raises:
        RuntimeError: the stage failed; the message holds the end of its output.
    """
    log = material.runs / f"{name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(material.command(name), stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{name} failed:\n{log.read_text('utf-8', 'replace')[-2000:]}")
    first, second = (row["time"] for row in read_jsonl(material.runs / name / "metrics.jsonl")[-2:])
    newest = sorted((material.runs / name / "checkpoints").glob("*.pt"))[-1]
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
    parser = CommandParser(__doc__)
    add = parser.add_argument
    add(
        "--corpus",
        type=Path,
        help="prepared, profile portrait, with pairs and flow: for EVP's stages",
    )
    add("--speaker", default="M901", help="whose portrait edge2video draws")
    add("--eamm-corpus", type=Path, help="prepared, profile eamm, with poses: for EAMM's stages")
    add("--batch", type=int, default=1, help="pairs or clips a step of EAMM's stages")
    add("--size", type=int, help="pixels a side of edge2video's frames; default: its YAML's 512")
    add("--only", choices=EVP + EAMM, nargs="+", help="default: all that the corpora allow")
    add("--json", action="store_true", help="one JSON object on the last line")
    args = parser.parse_args(argv)
    allowed = (EVP if args.corpus else ()) + (EAMM if args.eamm_corpus else ())
    names = args.only or allowed
    if not allowed or set(names) - set(allowed):
        parser.error("EVP's stages need --corpus, EAMM's --eamm-corpus")
    with tempfile.TemporaryDirectory(prefix="affekt-") as folder:
        material = Material(
            args.corpus, args.speaker, args.eamm_corpus, args.batch, Path(folder), args.size
        )
        costs = [measure(name, material) for name in names]
    for cost in costs:
        parts = ", ".join(f"{part} {count / 1e6:.2f} M" for part, count in cost.parameters.items())
        print(f"{cost.name:18} {cost.seconds:8.2f} s  {cost.peak_gib:6.2f} GiB  {parts}")
    if args.json:
        print(json.dumps({"name": "full_size", "costs": [asdict(cost) for cost in costs]}))


if __name__ == "__main__":
    main()
