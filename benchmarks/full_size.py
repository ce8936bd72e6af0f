"""One training step of every stage at the paper's size: parameters, peak memory, seconds.

Example, on any prepared corpora of the profiles portrait and eamm:

python -m benchmarks.full_size --corpus data/mini --speaker M901 --eamm-corpus data/mini_eamm
python -m benchmarks.full_size --corpus data/mini --speaker M901 --only edge2video --json
python -m benchmarks.full_size --eamm-corpus data/mini_eamm --only fomm a2fd displacement
python -m benchmarks.full_size --eamm-corpus data/mini_eamm --device cuda --batch 8
python -m benchmarks.full_size --emospace-corpus data/mini_emospace --only renderer

Each step is taken by the stage's own script on the paper's own YAML, in a process of its own.
Pretrained parts are left out and VGG-19 has random weights: neither changes size or speed. Frozen
towers of emospace are those inside packages, whose codes are kept as CLIP's are. EAMM's batches (40
pairs, 8 and 16 clips of 16 frames) and the 12 pairs of emospace's renderer are cut to `--batch`,
since they need a GPU's memory. Seconds are those from the first step's end to the second's; memory
is the process's peak, which holds what is on the CPU alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import typing as tp
from collections.abc import Sequence
from pathlib import Path

from affekt.runtime.command import CommandParser
from affekt.runtime.files import read_jsonl
from affekt.runtime.training import checkpoint
from benchmarks.harness import machine

FRESH = ("content_from=null", "emotion_from=null")
FILES = {"fomm": "fomm_vox256", "renderer": "renderer_256"}  # YAMLs named otherwise than stages
TOWERS = ("space.text.kind=minilm", "space.image.kind=effnet_lite0")
RUN = ("run.steps=2", "run.workers=0", "run.log_every=1", "run.progress=false")


def commands(args: argparse.Namespace, runs: Path) -> dict[str, list[str]]:
    """Return the command line of two steps of each stage that the corpora allow."""
    corpus, eamm = f"corpus={args.corpus}", f"corpus={args.eamm_corpus}"
    fomm, a2fd = (f"{name}={runs / name}" for name in ("fomm", "a2fd"))
    batch, random = f"run.batch_size={args.batch}", "vgg.weights=random"
    video = [f"data.corpora=[{args.corpus}]", f"data.speaker={args.speaker}", random]
    video += ["sequence.coarse_steps=0", "sequence.enhancer_steps=0"]  # the dearest phase
    video += [f"guidance.size={args.size}"] if args.size else []
    evp = {
        "pretrain_emotion": ("pretrain_encoders", corpus),
        "pretrain_content": ("pretrain_encoders", corpus),
        "disentangle": ("train_disentangle", corpus, "aligner=null", *FRESH),
        "audio2lm": ("train_audio2lm", corpus, f"encoders={runs / 'disentangle'}"),
        "edge2video": ("train_edge2video", *video),
    }
    frames = f"data.corpora=[{args.eamm_corpus}]"
    keypoints = ("keypoint_choice=null", "model.keypoint_ids=[1,4,6]")
    portraits = {
        "fomm": ("train_fomm", batch, random, frames),
        "a2fd": ("train_a2fd", batch, random, eamm, fomm),
        "displacement": ("train_emotion_displacement", batch, eamm, fomm, a2fd, *keypoints),
    }
    emospace = f"corpus={args.emospace_corpus}"
    spaces = {
        "emotion_space": ("train_emotion_space", emospace, *TOWERS),
        "expression": ("train_expression", emospace, f"emotion_space={runs / 'emotion_space'}"),
        "renderer": ("train_face_renderer", emospace, batch, random),
    }
    papers = {
        "evp": evp if args.corpus else {},
        "eamm": portraits if args.eamm_corpus else {},
        "emospace": spaces if args.emospace_corpus else {},
    }
    found = {}
    for paper, stages in papers.items():
        for name, (script, *data) in stages.items():
            file = f"configs/{paper}/{FILES.get(name, name)}.yaml"
            run = (*RUN, f"run.device={args.device}", f"run.out={runs / name}", "val.split=none")
            found[name] = [sys.executable, f"{script}.py", file, *data, *run]
    return found


def measure(name: str, command: list[str], runs: Path) -> dict[str, tp.Any]:
    """Take two steps of a stage; return name, parameters by part, seconds and peak_gib.

    Raises:
        RuntimeError: the stage failed; the message holds the end of its output.
    """
    log = runs / f"{name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{name} failed:\n{log.read_text('utf-8', 'replace')[-2000:]}")
    first, second = (row["time"] for row in read_jsonl(runs / name / "metrics.jsonl")[-2:])
    state = checkpoint.newest(runs / name / "checkpoints")
    assert state is not None
    parts = state["parts"]
    counts = {part: _weights(state) for part, state in parts.items() if "optimizer" not in part}
    seconds, peak = round(second - first, 2), round(usage.ru_maxrss / 2**20, 2)
    return {"name": name, "parameters": counts, "seconds": seconds, "peak_gib": peak}


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
    add(
        "--emospace-corpus",
        type=Path,
        help="prepared, with log-mel and expression coefficients: for emospace's stages",
    )
    add("--batch", type=int, default=1, help="pairs or clips a step, see above")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where the steps are taken")
    add("--size", type=int, help="pixels a side of edge2video's frames; default: its YAML's 512")
    add("--only", nargs="+", metavar="STAGE", help="default: all that the corpora allow")
    add("--json", action="store_true", help="one JSON object on the last line")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="affekt-") as folder:
        allowed = commands(args, Path(folder))
        names = args.only or list(allowed)
        if not allowed or set(names) - set(allowed):
            parser.error("EVP's stages need --corpus, EAMM's and emospace's a corpus of their own")
        costs = [measure(name, allowed[name], Path(folder)) for name in names]
    for cost in costs:
        parts = ", ".join(f"{part} {n / 1e6:.2f} M" for part, n in cost["parameters"].items())
        print(f"{cost['name']:18} {cost['seconds']:8.2f} s  {cost['peak_gib']:6.2f} GiB  {parts}")
    if args.json:
        print(json.dumps({"name": "full_size", "costs": costs, "machine": machine()}))


if __name__ == "__main__":
    main()
