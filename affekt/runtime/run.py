"""A training run: folder, seeds, an infinite sampler, checkpoints with exact resume, metrics.

A stage keeps its own `for` loop and optimizer steps; `Run` supplies the batches, counts them and
saves between them. docs/formats.md describes the folder.
"""

import logging
import math
import random
import typing as tp
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from affekt.runtime import checkpoint
from affekt.runtime.config import ConfigError, differences, dump_config, load_config, plain
from affekt.runtime.files import remove_unfinished
from affekt.runtime.lock import FolderLock
from affekt.runtime.metric_log import MetricLogger
from affekt.runtime.parallel import end_with_parent
from affekt.runtime.provenance import add_to_provenance, write_provenance
from affekt.runtime.signals import StoppedBySignal, StopRequest, leave_to_parent

log = logging.getLogger(__name__)

FREE_KEYS = {"steps", "device", "workers", "log_every", "save_every", "threads", "progress"}


@dataclass(frozen=True)
class RunConfig:
    """Settings of every run; those in FREE_KEYS may change when a stopped run is continued."""

    out: Path  # the run folder
    seed: int = 0
    device: tp.Literal["auto", "cpu", "cuda"] = "auto"  # auto: cuda where there is one
    steps: int = 100_000
    batch_size: int = 16
    accumulate: int = 1  # batches a step, whose gradients' mean is taken: one large batch in parts
    workers: int = 2  # loader processes; 0 loads in the main process
    log_every: int = 100  # steps
    save_every: int = 5_000  # steps
    threads: int | None = None  # torch's CPU threads; None leaves torch's own choice
    progress: bool = True  # a tqdm bar on stderr
    # CUDA alone. The fastest convolutions are chosen by trying: a continued run may choose others,
    # and then agrees with an unstopped one to rounding, not to the bit.
    cudnn_benchmark: bool = False
    # CUDA alone: matrix products and convolutions in TF32, of 10 bits; null: torch's own choice, as
    # of torch 2.10 convolutions alone.
    tf32: bool | None = None

    def __post_init__(self) -> None:
        for key in ("steps", "batch_size", "accumulate", "log_every", "save_every"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} is {getattr(self, key)}, wanted at least 1")


class StageConfig(tp.Protocol):
    """A stage's whole configuration: a frozen dataclass that holds a RunConfig as `run`."""

    @property
    def run(self) -> RunConfig: ...


class InfiniteSampler(Sampler[int]):
    """Shuffled indices without end: index % length is the item, each once an epoch.

    The order depends on the seed and the position alone. A dataset takes its random choices from
    (seed, index), so that a run continued at `start` gets the samples of an unstopped run.
    """

    def __init__(self, length: int, seed: int, start: int = 0) -> None:
        self.length, self.seed, self.start = length, seed, start

    def __iter__(self) -> Iterator[int]:
        epoch, skip = divmod(self.start, self.length)
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
            yield from (epoch * self.length + order[skip:]).tolist()
            epoch, skip = epoch + 1, 0


class Run:
    """One training run; create it before the model, so that the model is seeded."""

    def __init__(self, stage: StageConfig) -> None:
        """Make or reopen the run folder, keep other trainings out of it, seed every generator.

        Raises:
            FolderInUseError: another process trains in the folder.
            ConfigError: the folder holds a run of another configuration; the message names the
                first key that differs.
        """
        self.config = config = stage.run
        self.step = 0
        self.part = config.accumulate  # which of the step's batches is in work, from 1
        self._logged: list[dict[str, float]] = []  # of the step's batches before this one
        self.device = pick_device(config.device)
        self.parts: dict[str, checkpoint.Stateful] = {}
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        torch.backends.cudnn.benchmark = config.cudnn_benchmark
        if config.tf32 is not None:
            torch.backends.cuda.matmul.allow_tf32 = config.tf32
            torch.backends.cudnn.allow_tf32 = config.tf32
        self._lock = FolderLock(config.out, "training")
        _claim_folder(stage, config.out)
        write_provenance(config.out / "run.json", self.device, _corpora(stage))
        self.logger = MetricLogger(config.out)
        self.headline = ""  # the latest total, for the progress bar
        random.seed(config.seed)
        np.random.seed(config.seed)  # noqa: NPY002 - libraries draw from the global generator
        torch.manual_seed(config.seed)

    def register(self, **parts: checkpoint.Stateful) -> None:
        """Save these parts at every checkpoint; load them now from the newest whole one, if any.

        Raises:
            DamagedFileError: there are checkpoints and every one of them is damaged.
            ConfigError: the checkpoint lacks a part, or has other weights of it.
        """
        self.parts = parts
        state = checkpoint.newest(self.config.out / "checkpoints")
        if state is not None:
            checkpoint.load_parts(state, parts, self.config.out)
            torch.set_rng_state(state["rng"]["torch"])
            if torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["rng"]["cuda"][: torch.cuda.device_count()])
            self.step = state["step"]
            log.info("continuing %s after step %d", self.config.out, self.step)
        self.logger.forget_after(self.step)

    def batches(self, dataset: Dataset[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        """Yield batches on the device until `steps` are done, saving between steps.

        A step is `accumulate` batches; `backward` and `take_step` are called with each of them.
        After the last one the folder is free for others.

        Raises:
            StoppedBySignal: SIGTERM, SIGUSR1 or SIGINT came; the step in work was done and saved.
        """
        config, length = self.config, len(dataset)  # type: ignore[arg-type]  # of unsized ones
        if length == 0:
            raise ValueError(f"{type(dataset).__name__} is empty: there is nothing to train on")
        # Batches continue where the checkpoint stopped
        done = self.step * config.accumulate * config.batch_size
        sampler = InfiniteSampler(length, config.seed, done)
        loader = DataLoader(
            dataset,
            config.batch_size,
            sampler=sampler,
            num_workers=config.workers,
            worker_init_fn=_start_loader,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator().manual_seed(config.seed),  # keep off the global one
        )
        # The bar shows the latest total loss
        bar = tqdm(
            desc=config.out.name,
            total=config.steps,
            initial=self.step,
            unit="step",
            disable=not config.progress,
            mininterval=1.0,
        )
        batches = iter(loader)
        with bar, StopRequest() as stop:
            while self.step < config.steps:
                self.step += 1
                for self.part in range(1, config.accumulate + 1):
                    yield {
                        name: value.to(self.device, non_blocking=True)
                        for name, value in next(batches).items()
                    }
                bar.update()
                bar.set_postfix_str(self.headline, refresh=False)
                if self.due(config.save_every) or stop.number is not None:
                    self.save()
                if stop.number is not None:
                    kept = f"step {self.step} is saved in {config.out}"
                    raise StoppedBySignal(stop.number, f"{kept}; the same command continues")
        self.logger.close()
        self._lock.release()

    def backward(self, loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
        """Add the loss's gradient to those of the step's batches before this one."""
        if self.part == 1:
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
        (loss / self.config.accumulate).backward()

    def take_step(self, optimizer: torch.optim.Optimizer, clip_norm: float) -> Tensor:
        """With the step's last batch, clip the gradient and change the optimizer's parameters.

        Returns:
            The gradient's norm before clipping, of the batches so far.
        """
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        most = clip_norm if self.step_done else math.inf
        norm = torch.nn.utils.clip_grad_norm_(parameters, most)
        if self.step_done:
            optimizer.step()
        return norm

    @property
    def step_done(self) -> bool:
        """Whether this batch is its step's last."""
        return self.part == self.config.accumulate

    def due(self, every: int) -> bool:
        """Return whether something done every `every` steps, and at the last, is due now."""
        return self.step_done and (self.step % every == 0 or self.step == self.config.steps)

    def record(self, **facts: str) -> None:
        """Add what this start's results depend on, such as how data was made, to run.json."""
        add_to_provenance(self.config.out / "run.json", facts)

    def log(self, **values: Tensor | float) -> None:
        """Check that every scalar is finite; write them every `log_every` steps.

        Of a step of several batches the means are written, and of a *grad_norm the last.

        Raises:
            FloatingPointError: a value is NaN or infinite; the step and all terms are named, the
                line is written first, and no checkpoint of this step is saved.
        """
        numbers = _numbers(values)  # waits for the GPU, once
        finite = all(math.isfinite(number) for number in numbers.values())
        self._logged.append(numbers)
        if finite and not self.step_done:
            return
        numbers, self._logged = _means(self._logged), []
        if not finite or self.step % self.config.log_every == 0:
            self.logger.write(self.step, numbers)
        if not finite:
            raise FloatingPointError(f"step {self.step}: not finite: {numbers}")
        if "total" in numbers:
            self.headline = f"total {numbers['total']:.4g}"

    def log_now(self, **values: float) -> None:
        """Write these values at once, as one line of metrics.jsonl and as curves."""
        self.logger.write(self.step, values)

    def picture(self, name: str, image_HWC: NDArray[np.uint8]) -> None:
        """Write an RGB picture to pictures/ and to TensorBoard."""
        self.logger.picture(self.step, name, image_HWC)

    def save(self) -> None:
        """Write a checkpoint of every registered part at this step."""
        checkpoint.save(self.config.out / "checkpoints", self.step, self.parts)


def restore(run_dir: Path, **parts: checkpoint.Stateful) -> int:
    """Load the named parts from the newest whole checkpoint of a run folder; return its step.

    Raises:
        FileNotFoundError: no checkpoint there.
        DamagedFileError: every checkpoint there is damaged.
        ConfigError: the checkpoint lacks a part, or has other weights of it.
    """
    state = checkpoint.newest(run_dir / "checkpoints")
    if state is None:
        raise FileNotFoundError(f"no checkpoint in {run_dir / 'checkpoints'}; train this run first")
    checkpoint.load_parts(state, parts, run_dir)
    return int(state["step"])


def pick_device(name: str) -> torch.device:
    """Return the device named `auto`, `cpu` or `cuda`.

    Raises:
        ConfigError: cuda is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("the device is 'cuda' but torch sees no CUDA device; use 'auto' or 'cpu'")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _claim_folder(stage: StageConfig, out: Path) -> None:
    """Make the run folder with its config.yaml, or check that it is of the same configuration."""
    for folder in (out, out / "checkpoints", out / "pictures"):
        remove_unfinished(folder)
    path = out / "config.yaml"
    if path.exists():
        stored = _stored(stage, path)
        free = {key: getattr(stage.run, key) for key in FREE_KEYS}
        if stored.run.steps != stage.run.steps:
            log.warning(
                "%s was to take %d steps, now %d: a learning rate that depends on the length jumps",
                out,
                stored.run.steps,
                stage.run.steps,
            )
        run = replace(stored.run, out=out, **free)
        stored = replace(stored, run=run)  # type: ignore[type-var]  # a protocol is no dataclass
        for key, there, here in differences(plain(stored), plain(stage)):
            raise ConfigError(
                f"{out} holds a run of another configuration: {key} is {there!r} there and "
                f"{here!r} here; give this run another run.out, or delete that folder"
            )
    out.mkdir(parents=True, exist_ok=True)
    dump_config(stage, path)


def _stored(stage: StageConfig, path: Path) -> StageConfig:
    """Return the configuration that a run folder's config.yaml holds."""
    try:
        return load_config(type(stage), path)
    except ConfigError as error:
        raise ConfigError(
            f"{error}; it tells what {path.parent} was trained with. If that is the configuration "
            "given here, delete this file; if not, give this run another run.out"
        ) from None


def _corpora(stage: StageConfig) -> list[Path]:
    """Return the prepared corpora that a stage's configuration names."""
    found: list[Path] = []
    for name, value in vars(stage).items():
        if name == "corpus" and isinstance(value, Path):
            found.append(value)
        if name == "data":
            found += getattr(value, "corpora", ())
    return found


def _numbers(values: Mapping[str, Tensor | float]) -> dict[str, float]:
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    if tensors:
        flat = torch.stack([value.detach().float().reshape(()) for value in tensors.values()])
        tensors = dict(zip(tensors, flat.tolist(), strict=True))
    return {name: float(tensors.get(name, value)) for name, value in values.items()}


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the means over a step's batches; of a gradient's norm the last, which is of all."""
    last = rows[-1]
    return {
        name: last[name]
        if name.endswith("grad_norm")
        else sum(row[name] for row in rows) / len(rows)
        for name in last
    }


def _start_loader(worker: int) -> None:
    """Keep a loader process to one OpenCV thread, and to its parent's life and signals."""
    end_with_parent()
    leave_to_parent()
    cv2.setNumThreads(1)
