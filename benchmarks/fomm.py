"""FOMM's re-enactment on one core at vox-256: the inference form against the naive loop.

    python -m benchmarks.fomm --json
    python -m benchmarks.fomm --fomm runs/demo/eamm/fomm --memory

The reference does what the public demo does, for every frame: it finds the driving keypoints and
calls the whole generator, source encoder included. All weights are random, with the statistics of
batch norm settled on made-up pictures, or those of a trained run (`--fomm`). `ratio`:

    fp32            float32, torch's own convolutions, no private function
    fp32_winograd   float32, NNPACK's convolutions where they win
    bf16            bfloat16 in the generator's convolutions
    two_processes   a clip by two processes of one thread (fast/pool.py) over the naive loop with
                    two threads, both in frames a second, the processes' start left out

`max_abs_diff` is that of the float32 variants' pictures, in [0, 1], to the reference's; `notes`
holds every variant's difference and PSNR, and with `--memory` the peak memory in MiB of a process
that streams a short and a long clip. Wanted: 1.45, 2.3, -, 2.5; 1e-4.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from affekt.runtime.parallel import end_with_parent
from benchmarks.harness import Result, main
from eamm.fomm.animate import Animator
from eamm.fomm.fast.fast import FastFomm, Precision
from eamm.fomm.fast.pool import render_frames
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import WEIGHTS, Fomm, FommConfig, load_fomm, save_fomm_description

ROUNDS = 5
FRAMES = 3  # driving pictures, over and over
CLIP_ROUNDS, CLIP = 3, 50  # of the processes; frames: two seconds
CLIPS = (10, 60)  # frames whose memory is compared
SETTLING = 8  # pictures
VARIANTS: dict[str, tuple[Precision, bool]] = {
    "fp32": ("float32", False),
    "fp32_winograd": ("float32", True),
    "bf16": ("bfloat16", True),
}
Way = Callable[[Tensor], Tensor]  # a driving frame to a picture


def pictures(count: int, size: int) -> Tensor:
    """Return smooth coloured pictures (count, 3, size, size)."""
    coarse = torch.rand(count, 3, 8, 8)
    return F.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)


@torch.no_grad()
def settled(config: FommConfig) -> Fomm:
    """Return a Fomm of random weights whose batch norms have seen pictures."""
    fomm = Fomm(config)
    for module in fomm.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain average
    fomm(pictures(SETTLING, config.size), pictures(SETTLING, config.size))
    return fomm.eval()


@torch.no_grad()
def naive(fomm: Fomm, source: Tensor, source_kp: Keypoints, frame: Tensor) -> Tensor:
    """Return one picture as the public demo makes it."""
    return fomm.generator(source, source_kp, fomm.detector(frame)).prediction


def prepared(fast: FastFomm, source: Tensor) -> Way:
    """Return what makes a picture of a driving frame."""
    encoded, source_kp = fast.prepare(source), fast.keypoints(source)
    return lambda frame: fast.render(encoded, source_kp, fast.keypoints(frame))


def clip_rates(path: Path, fomm: Fomm, source: Tensor, frames: Tensor) -> tuple[float, float]:
    """Return frames a second of the naive loop with two threads, and of two processes."""
    with torch.no_grad():
        source_kp = fomm.detector(source)
        driving = [fomm.detector(frame) for frame in frames.split(1)]
    torch.set_num_threads(2)
    naive(fomm, source, source_kp, frames[:1])
    start = time.perf_counter()
    for frame in frames.split(1):
        naive(fomm, source, source_kp, frame)
    slow = len(frames) / (time.perf_counter() - start)
    torch.set_num_threads(1)
    many = itertools.islice(itertools.cycle(driving), CLIP)
    drawn = render_frames(path, source, source_kp, many, 2)
    for _ in range(2):
        next(drawn)  # both processes have begun
    start = time.perf_counter()
    rest = sum(1 for _ in drawn)
    return slow, rest / (time.perf_counter() - start)


def peak_memory(path: Path, count: int) -> float:
    """Return the peak memory, in MiB, of this process after streaming a clip of `count` frames."""
    torch.set_num_threads(1)
    fomm = load_fomm(path)
    size = fomm.config.size
    source, *driving = (255 * pictures(4, size)).byte().permute(0, 2, 3, 1).numpy()
    animator = Animator(fomm, source)
    for _ in animator.reenact(itertools.islice(itertools.cycle(driving), count)):
        pass
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(args: argparse.Namespace) -> Result:
    """Time every variant on the Fomm of --fomm, or on one of random weights."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="affekt-") as folder:
        return _measured(args.fomm or random_fomm(Path(folder)), args.memory)


def _measured(path: Path, memory: bool) -> Result:
    fomm = load_fomm(path)
    source, frames = pictures(1, fomm.config.size), pictures(FRAMES, fomm.config.size)
    with torch.no_grad():
        ways: dict[str, Way] = {"naive": partial(naive, fomm, source, fomm.detector(source))}
    for name, options in VARIANTS.items():
        ways[name] = prepared(FastFomm(fomm, *options), source)
    errors = {name: difference(ways["naive"], ways[name], frames) for name in VARIANTS}
    # One frame on one thread, every variant; then a clip by two processes.
    result = Result("fomm", notes={"difference": errors})
    candidates = {name: over(way, frames) for name, way in ways.items()}
    timing = result.time(str(fomm.config.size), candidates, rounds=ROUNDS)
    clips = [clip_rates(path, fomm, source, frames) for _ in range(CLIP_ROUNDS)]
    result.ratio = {name: timing.ratio[name] for name in VARIANTS}
    result.ratio["two_processes"] = median(fast / slow for slow, fast in clips)
    result.notes["frames_per_second"] = {
        "naive, 2 threads": median(slow for slow, _ in clips),
        "two_processes": median(fast for _, fast in clips),
    }
    if memory:
        spawn = get_context("spawn")
        with ProcessPoolExecutor(1, spawn, end_with_parent, max_tasks_per_child=1) as pool:
            peaks = [pool.submit(peak_memory, path, count).result() for count in CLIPS]
        result.notes["peak_mib"] = {
            str(count): round(mib, 1) for count, mib in zip(CLIPS, peaks, strict=True)
        }
    result.max_abs_diff = max(errors[name]["max"] for name in ("fp32", "fp32_winograd"))
    return result


def over(way: Way, frames: Tensor) -> Callable[[], object]:
    """Return a call that draws the next frame."""
    endless: Iterator[Tensor] = itertools.cycle(frames.split(1))
    return lambda: way(next(endless))


def difference(reference: Way, way: Way, frames: Tensor) -> dict[str, float]:
    """Return the largest difference of pictures in [0, 1], and the PSNR in dB."""
    pairs = [(reference(frame), way(frame)) for frame in frames.split(1)]
    error = torch.cat([one - other for one, other in pairs])
    psnr = -10 * error.double().square().mean().clamp_min(1e-20).log10()
    return {"max": float(error.abs().max()), "psnr": round(float(psnr), 1)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--fomm", type=Path, help="a trained or imported FOMM instead of a random")
    parser.add_argument("--memory", action="store_true", help="also measure peak memory")


def random_fomm(folder: Path) -> Path:
    """Write a Fomm of vox-256's size and random weights where `load_fomm` finds it."""
    fomm = settled(FommConfig())
    save_fomm_description(folder, fomm.config)
    save_file(fomm.state_dict(), folder / WEIGHTS)
    return folder


if __name__ == "__main__":
    main(__doc__, measure, add_options)
