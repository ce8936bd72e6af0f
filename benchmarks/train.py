"""Training steps and the loaders that feed them, of every stage, in the stage's own script.

    python -m benchmarks.train fomm a2fd --json
    python -m benchmarks.train all --demo /path/of/the/demo
    python -m benchmarks.train fomm --eamm-corpus data/vox --batch 1 --device cuda
    python -m benchmarks.train edge2video --corpus data/mead --speaker M003 --loader --gpu-step 0.5

Without a corpus a stage has the YAML and data of its demo, which has run before; with one, the
paper's YAML. `Run.batches` is replaced by one that times the script's loop; nothing else of a stage
is. Measured are

    samples_per_second   of the step, as trained: with the loader's waits
    ratio.loader         what the loader alone gives / what the step alone consumes, on this machine
                         (the smallest of several stages; wanted: 3 at the demo's size)
    waiting              share of the loop's time in which it waited for a batch
    gflops, share        floating-point operations a second, and their share of this device's own
                         matrix product, of the stage's precision; torch counts none in an LSTM of
                         the CPU
    sample_ms            processor time of one item, in one process
    peak_gib             of CUDA's allocator, or of the process, imports included
    workers_needed       loader processes for a GPU whose step takes `gpu_step` seconds: stated by
                         --gpu-step, else counted operations at 40 % of an H100's dense TF32 peak,
                         and no less than 5 ms, which is what launching a step's kernels takes
    shared_mib           of /dev/shm: two batches ahead for each of so many workers
"""

import argparse
import importlib
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
import typing as tp
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from unittest.mock import patch

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torch.utils.flop_counter import FlopCounterMode

from affekt.runtime import run as run_module
from affekt.runtime.config import load_config
from affekt.runtime.run import Run
from affekt.showcase.plans import EammDemo, EvpDemo, FullDemo, stages_of
from benchmarks import full_size
from benchmarks.harness import Result, machine, main

H100_TF32 = 0.4 * 494.7e12  # operations a second: 40 % of the dense peak of NVIDIA's data sheet
LAUNCHES = 0.005  # seconds of a GPU's shortest step
WARM_UP = 2  # steps that are not measured
AHEAD = 2  # batches that torch's loader keeps ready, a worker
EVP = ("pretrain_emotion", "pretrain_content", "disentangle", "audio2lm", "edge2video")
EAMM = ("fomm", "a2fd", "displacement")
METRICS = ("emotion_classifier", "syncnet")
SETTINGS = ("run.log_every=100", "run.save_every=1000000000", "run.progress=false")
NO_VALIDATION = "val.split=none"

Batch = dict[str, Tensor]


@dataclass
class Probe:
    """Times one training loop: with its loader, on one batch alone, and counts its operations."""

    steps: int
    waits: list[float] = field(default_factory=list)  # seconds a step
    taken: list[float] = field(default_factory=list)  # seconds a step, with its loader
    alone: list[float] = field(default_factory=list)  # seconds a step on a batch that is there
    loading: list[float] = field(default_factory=list)  # seconds a batch of the loader alone
    one_process: float = 0.0  # the processor's seconds a batch, loaded by this process
    operations: float = 0.0  # of a step
    batch_bytes: int = 0  # as it leaves the loader
    loader: DataLoader[Batch] | None = None
    run: Run | None = None

    def batches(self, batches: Callable[..., Iterator[Batch]]) -> Callable[..., Iterator[Batch]]:
        """Return what stands for Run.batches: yields batches to the script and times it."""

        def measured(run: Run, dataset: Dataset[Batch]) -> Iterator[Batch]:
            self.run, wait = run, _waiter(run.device)
            # Near the end of training, where every term and network is on
            run.step = max(0, run.config.steps - WARM_UP - self.steps - 2)
            given = batches(run, dataset)
            for _ in range(WARM_UP + self.steps):
                start = time.perf_counter()
                batch = next(given)
                here = time.perf_counter()
                yield batch
                wait()
                self.waits.append(here - start)
                self.taken.append(time.perf_counter() - start)
            # The loader starts its workers and fills their queues before the first batch
            del self.waits[:WARM_UP], self.taken[:WARM_UP]
            given.close()  # type: ignore[attr-defined]  # it is a generator
            for _ in range(self.steps):
                start = time.perf_counter()
                yield batch
                wait()
                self.alone.append(time.perf_counter() - start)
            with FlopCounterMode(display=False) as counter:
                yield batch
            self.operations = counter.get_total_flops()

        return measured

    def time_loader(self) -> None:
        """Time the stage's loader without its steps, and its items in this process."""
        assert self.loader is not None
        given = iter(self.loader)
        for _ in range(AHEAD * self.loader.num_workers):  # queues that were filled before
            next(given)
        for _ in range(max(self.steps, AHEAD * self.loader.num_workers)):
            start = time.perf_counter()
            batch = next(given)
            self.loading.append(time.perf_counter() - start)
        self.batch_bytes = sum(value.nbytes for value in batch.values())
        # One thread, as a worker has; other programs do not change the processor's time
        dataset, size, threads = (
            self.loader.dataset,
            self.loader.batch_size or 1,
            cv2.getNumThreads(),
        )
        cv2.setNumThreads(1)
        start = time.process_time()
        for first in range(0, self.steps * size, size):
            default_collate([dataset[first + i] for i in range(size)])
        self.one_process = (time.process_time() - start) / self.steps
        cv2.setNumThreads(threads)


def measure_stage(command: Sequence[str], steps: int, loader_only: bool = False) -> Probe:
    """Train a stage for some steps by its own script, in this process.

    Args:
        command: script or `-m` module, YAML file and dotted settings.
        steps: of each measurement.
        loader_only: leave the steps out.
    """
    name, *arguments = [each for each in command if each != "-m"]
    module = importlib.import_module(name.removesuffix(".py"))
    cfg = load_config(module.Config, Path(arguments[0]), arguments[1:])
    probe = Probe(steps)

    def recorded(*args: tp.Any, **options: tp.Any) -> DataLoader[Batch]:
        probe.loader = DataLoader(*args, **options)
        return probe.loader

    def loaded(run: Run, dataset: Dataset[Batch]) -> Iterator[Batch]:
        probe.run = run
        next(batches(run, dataset))
        yield from ()

    batches = Run.batches
    replaced = loaded if loader_only else probe.batches(batches)
    with patch.object(run_module, "DataLoader", recorded), patch.object(Run, "batches", replaced):
        module.train(cfg)
    probe.time_loader()
    return probe


def figures(probe: Probe, gpu_step: float | None) -> dict[str, tp.Any]:
    """Return what was measured of a stage, by name; see the module."""
    assert probe.run is not None
    assert probe.loader is not None
    device, size, workers = probe.run.device, probe.loader.batch_size or 1, probe.loader.num_workers
    cuda = device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if cuda else 1024 * _resident()
    found: dict[str, tp.Any] = {
        "device": torch.cuda.get_device_name() if cuda else machine(),
        "threads": torch.get_num_threads(),
        "batch": size,
        "workers": workers,
        "peak_gib": round(peak / 2**30, 2),
        "loader_samples_per_second": _figure(size * len(probe.loading) / sum(probe.loading)),
        "sample_ms": _figure(1e3 * probe.one_process / size),
    }
    if probe.alone:
        alone = median(probe.alone)
        matrix = matrix_operations(device, getattr(torch, probe.run.config.precision))
        found |= {
            "step_seconds": _figure(alone),
            "samples_per_second": _figure(size * len(probe.taken) / sum(probe.taken)),
            "loader": _figure(found["loader_samples_per_second"] * alone / size),
            "waiting": _figure(sum(probe.waits) / sum(probe.taken)),
            "gflop": _figure(probe.operations / 1e9),
            "gflops": _figure(probe.operations / alone / 1e9),
            "matrix_gflops": _figure(matrix / 1e9),
            "share": _figure(probe.operations / alone / matrix),
        }
        gpu_step = gpu_step or max(LAUNCHES, probe.operations / H100_TF32)
    if gpu_step:
        needed = max(1, math.ceil(probe.one_process / gpu_step))
        shared = needed * AHEAD * probe.batch_bytes / 2**20
        found |= {"gpu_step": _figure(gpu_step), "workers_needed": needed}
        found |= {"shared_mib": _figure(shared)}
    return found


def matrix_operations(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations a second of a matrix product, the best of ten, torch's settings."""
    n = 8192 if device.type == "cuda" else 2048
    one, other = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    wait, times = _waiter(device), []
    for _ in range(10):
        start = time.perf_counter()
        one @ other
        wait()
        times.append(time.perf_counter() - start)
    return 2 * n**3 / min(times)


def demo_command(stage: str, demo: Path, runs: Path) -> list[str]:
    """Return the command of a stage of the demos that ran in the folder `demo`."""
    data, out = demo / "data", demo / "runs/demo"
    evp = EvpDemo(speech=data / "mini", lively=data / "mini_lively")
    eamm = EammDemo(corpus=data / "mini_eamm")
    full = FullDemo(corpus=data / "mini_eamm", evp=out, eamm=out / "eamm")
    system = "evp" if stage in EVP else "eamm" if stage in EAMM else "full"
    sizes = {"evp": evp, "eamm": eamm, "full": full}[system]
    place = {"out": out if system == "evp" else out / system, "raw": data / "raw"}
    stages = stages_of(system, place | {"seed": 0, "cores": 1} | vars(sizes))
    (found,) = (each.command for each in stages if each.name == stage)
    return [*found[1:], f"run.out={runs / stage}"]


def paper_command(stage: str, args: argparse.Namespace, runs: Path) -> list[str]:
    """Return the command of a stage of the paper's size; the runs that it needs are made."""
    # emospace's stages are measured by benchmarks.full_size alone
    allowed = full_size.commands(argparse.Namespace(**vars(args), emospace_corpus=None), runs)
    if stage not in allowed:
        raise ValueError(f"{stage} needs --{'eamm-' if stage in EAMM else ''}corpus")
    needs = {"audio2lm": ["disentangle"], "a2fd": ["fomm"], "displacement": ["fomm", "a2fd"]}
    for needed in needs.get(stage, []):
        full_size.measure(needed, [*allowed[needed], "run.batch_size=2"], runs)
    _, *command = allowed[stage]
    paper = load_config(importlib.import_module(command[0][:-3]).Config, Path(command[1]))
    return [*command, f"run.steps={paper.run.steps}", f"run.workers={paper.run.workers}"]


def measure(args: argparse.Namespace) -> Result:
    """Measure the stages that were asked for, each in a process of its own where there are more."""
    stages = [*EVP, *EAMM, *METRICS] if args.stage == ["all"] else args.stage
    result = Result("train")
    assert isinstance(result.ratio, dict)
    for stage in stages:
        found = one_stage(stage, args) if len(stages) == 1 else in_process(stage, args)
        result.notes[stage] = found
        if "loader" in found:
            result.ratio["loader"] = min(found["loader"], result.ratio.get("loader", math.inf))
    return result


def one_stage(stage: str, args: argparse.Namespace) -> dict[str, tp.Any]:
    """Measure one stage in this process."""
    paper = args.corpus is not None or args.eamm_corpus is not None
    with tempfile.TemporaryDirectory(prefix="affekt-") as folder:
        runs = Path(folder)
        if paper:
            command = paper_command(stage, args, runs)
        else:
            command = [*demo_command(stage, args.demo, runs), f"run.device={args.device}"]
        settings = [*SETTINGS, NO_VALIDATION, *args.set]
        return figures(measure_stage([*command, *settings], args.steps, args.loader), args.gpu_step)


def in_process(stage: str, args: argparse.Namespace) -> dict[str, tp.Any]:
    """Measure one stage in a process of its own, whose memory is its own."""
    given = [each for each in sys.argv[1:] if each not in (*args.stage, "--json")]
    command = [sys.executable, "-m", "benchmarks.train", stage, *given, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{stage} failed, see above: {' '.join(command)}")
    return dict(json.loads(done.stdout.splitlines()[-1])["notes"][stage])


def _waiter(device: torch.device) -> Callable[[], None]:
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _figure(value: float) -> float:
    """Round to three digits."""
    return float(f"{value:.3g}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("stage", nargs="+", choices=[*EVP, *EAMM, *METRICS, "all"], metavar="STAGE")
    add("--demo", type=Path, default=Path(), help="folder that demo.py ran in; default: this one")
    add("--corpus", type=Path, help="prepared, profile portrait: EVP's stages of the paper's size")
    add("--speaker", default="M901", help="whose portrait edge2video draws")
    add("--eamm-corpus", type=Path, help="prepared, profile eamm: EAMM's of the paper's size")
    add("--batch", type=int, default=1, help="pairs or clips a step of EAMM's, of the paper's size")
    add("--size", type=int, help="pixels a side of edge2video's frames, of the paper's size")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where steps are taken")
    add("--steps", type=int, default=20, help="steps of each measurement")
    add("--loader", action="store_true", help="measure the loader alone")
    add("--gpu-step", type=float, help="seconds of a GPU's step that the loader is to feed")
    add("--set", nargs="+", default=[], metavar="key.sub=value", help="further settings of a stage")


if __name__ == "__main__":
    main(__doc__, measure, add_options)
