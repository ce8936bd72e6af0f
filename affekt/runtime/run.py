"""A training run: folder, seeds, an infinite sampler, checkpoints with exact resume, metrics.

A stage keeps its own `for` loop and optimizer steps; `Run` supplies the batches, counts them and
saves between them. docs/formats.md describes the folder.
"""

import contextlib
import logging
import math
import random
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from affekt.runtime.config import ConfigError
from affekt.runtime.devices import pick_device, warn_of_slow_bfloat16
from affekt.runtime.lock import FolderLock
from affekt.runtime.parallel import end_with_parent
from affekt.runtime.training import checkpoint, ranks
from affekt.runtime.training.batch_norm import synchronise
from affekt.runtime.training.metric_log import GRAD_NORM, MetricLogger, StepValues
from affekt.runtime.training.provenance import add_to_provenance, write_provenance
from affekt.runtime.training.run_config import RunConfig as RunConfig
from affekt.runtime.training.run_config import StageConfig, claim_folder, corpora_of
from affekt.runtime.training.signals import StoppedBySignal, StopRequest, leave_to_parent

log = logging.getLogger(__name__)

MOST_SKIPPED = 50  # steps in a row without a finite gradient; the scale falls by 2 with each


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
        self._values = StepValues()  # of the steps since the last check
        self._skipped = 0  # steps in a row whose gradient overflowed, in float16
        self.device = ranks.start(pick_device(config.device))
        if config.batch_size % ranks.count():
            raise ConfigError(
                f"run.batch_size is {config.batch_size}, wanted a multiple of {ranks.count()}: it "
                "is the whole batch, of which every process takes an equal part"
            )
        if config.precision == "bfloat16":
            warn_of_slow_bfloat16(self.device.type)
        half = config.precision == "float16"
        self.scaler = torch.amp.GradScaler(self.device.type) if half else None
        self.parts: dict[str, checkpoint.Stateful] = {}
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        torch.backends.cudnn.benchmark = config.cudnn_benchmark
        if config.tf32 is not None:
            torch.backends.cuda.matmul.allow_tf32 = config.tf32
            torch.backends.cudnn.allow_tf32 = config.tf32
        self.is_main = ranks.is_main()  # of several processes one writes into the folder
        self._lock = FolderLock(config.out, "training") if self.is_main else None
        if self.is_main:
            claim_folder(stage, config.out)
            write_provenance(config.out / "run.json", self.device, corpora_of(stage))
        ranks.barrier()
        self.logger = MetricLogger(config.out)
        self.headline = ""  # the latest total, for the progress bar
        random.seed(config.seed)
        np.random.seed(config.seed)  # noqa: NPY002 - libraries draw from the global generator
        torch.manual_seed(config.seed)

    def register(self, **parts: checkpoint.Stateful) -> None:
        """Save these parts at every checkpoint; load them now from the newest whole one, if any.

        Raises:
            DamagedFileError: there are checkpoints and every one of them is damaged.
            ConfigError: the checkpoint lacks a part, or has other weights of it, or is of another
                number of processes.
        """
        self.parts = parts | ({} if self.scaler is None else {"scaler": self.scaler})
        state = checkpoint.newest(self.config.out / "checkpoints")
        if state is not None:
            self._check_ranks(state.get("ranks", 1))
            checkpoint.load_parts(state, self.parts, self.config.out)
            torch.set_rng_state(state["rng"]["torch"])
            if torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["rng"]["cuda"][: torch.cuda.device_count()])
            self.step = state["step"]
            log.info("continuing %s after step %d", self.config.out, self.step)
        if ranks.lowest(self.step) < self.step:
            raise ConfigError(
                f"another process finds no checkpoint of step {self.step} in {self.config.out}; "
                "all processes must see the same folder"
            )
        if self.is_main:
            self.logger.forget_after(self.step)
        for part in parts.values():
            if isinstance(part, nn.Module):
                self._prepare(part)

    def _check_ranks(self, found: int) -> None:
        if found != ranks.count() and not self.config.any_ranks:
            raise ConfigError(
                f"{self.config.out} was trained by {found} processes, now there are "
                f"{ranks.count()}; start as many, or set run.any_ranks=true: the order of items "
                "stays, random draws on the device change"
            )

    def _prepare(self, network: nn.Module) -> None:
        """Apply the options of the run to a trained network, in place."""
        config = self.config
        if ranks.count() > 1:
            ranks.broadcast_(network.state_dict().values())
            if config.sync_batch_norm:
                synchronise(network, self.device)
        if config.channels_last:
            for weight in network.parameters():
                if weight.ndim == 4:
                    weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        if config.compile:
            network.compile()

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
        if config.workers:
            # Before the fork: a forked process has none of OpenCV's threads, and giving them up
            # there waits for them without end
            cv2.setNumThreads(1)
        loader = DataLoader(
            dataset,
            config.batch_size // ranks.count(),
            sampler=ranks.own_part(sampler, config.batch_size),
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
            disable=not config.progress or not self.is_main,
            mininterval=1.0,
        )
        batches = iter(loader)
        with bar, StopRequest() as stop:
            while self.step < config.steps:
                self.step += 1
                ranks.seed_step(config.seed, self.step)
                for self.part in range(1, config.accumulate + 1):
                    yield {name: self._placed(value) for name, value in next(batches).items()}
                if self.scaler is not None:
                    self.scaler.update()
                bar.update()
                bar.set_postfix_str(self.headline, refresh=False)
                number = ranks.highest(stop.number or 0)  # of a signal that any process got
                if self._reached(config.save_every) or number:
                    self.save()
                if number:
                    ranks.stop()  # when it is saved: torchrun ends all as soon as one has ended
                    kept = f"step {self.step} is saved in {config.out}"
                    raise StoppedBySignal(number, f"{kept}; the same command continues")
        self.logger.close()
        ranks.stop()
        if self._lock is not None:
            self._lock.release()

    def _placed(self, value: Tensor) -> Tensor:
        last = self.config.channels_last and value.ndim == 4
        order = torch.channels_last if last else torch.preserve_format
        return value.to(self.device, non_blocking=True, memory_format=order)

    def autocast(self) -> torch.autocast:
        """Return the context in which the networks compute with `precision`."""
        name = self.config.precision
        kind = torch.float16 if name == "float16" else torch.bfloat16
        return torch.autocast(self.device.type, kind, enabled=name != "float32")

    def backward(self, loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
        """Add the loss's gradient to those of the step's batches before this one."""
        if self.part == 1:
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
        loss = loss / self.config.accumulate
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        loss.backward()

    def take_step(self, optimizer: torch.optim.Optimizer, clip_norm: float) -> Tensor:
        """With the step's last batch, clip the gradient and change the optimizer's parameters.

        With several processes the gradient is the mean over them, that of the whole batch.

        Returns:
            The gradient's norm before clipping; 0 before the step's last batch.
        """
        if not self.step_done:
            return torch.zeros((), device=self.device)
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        gradients = [each.grad for each in parameters if each.grad is not None]
        ranks.average_(gradients)
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        norm = torch.nn.utils.get_total_norm(gradients)
        if clip_norm < math.inf:
            torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
        return norm

    @property
    def step_done(self) -> bool:
        """Whether this batch is its step's last."""
        return self.part == self.config.accumulate

    def due(self, every: int) -> bool:
        """Return whether something done every `every` steps, and at the last, is due now.

        The values logged so far are checked first. With several processes it is due in one alone.
        """
        if not self._reached(every):
            return False
        self.check()
        return self.is_main

    def _reached(self, every: int) -> bool:
        return self.step_done and (self.step % every == 0 or self.step == self.config.steps)

    @contextlib.contextmanager
    def main_first(self) -> Iterator[None]:
        """With several processes let one do this before the others: it writes what they read."""
        if not self.is_main:
            ranks.barrier()
        yield
        if self.is_main:
            ranks.barrier()

    def record(self, **facts: str) -> None:
        """Add what this start's results depend on, such as how data was made, to run.json."""
        if self.is_main:
            add_to_provenance(self.config.out / "run.json", facts)

    def log(self, **values: Tensor | float) -> None:
        """Keep the step's scalars; every `log_every` steps check them all and write the last ones.

        Of a step of several batches the means are written, and of a *grad_norm the last.

        Raises:
            FloatingPointError: see `check`.
        """
        self._values.add(self.step, values)
        if self.step_done and self.step % self.config.log_every == 0:
            numbers = self.check()
            if self.is_main:
                self.logger.write(self.step, numbers)
            if "total" in numbers:
                self.headline = f"total {numbers['total']:.4g}"

    def check(self) -> dict[str, float]:
        """Check that all scalars logged since the last check are finite; return the last step's.

        It waits for the GPU, and for the other processes. In float16 the norm of a gradient may
        overflow, whose step is passed over; MOST_SKIPPED in a row are an error.

        Raises:
            FloatingPointError: a value is NaN or infinite; the first such step and all its values
                are named and written, and no checkpoint is saved since the last check.
        """
        numbers: dict[str, float] = {}
        for step, numbers in self._values.read().items():
            wrong = {name for name, number in numbers.items() if not math.isfinite(number)}
            if self.scaler is not None:
                overflown = {name for name in wrong if name.endswith(GRAD_NORM)}
                self._skipped = self._skipped + 1 if overflown else 0
                if self._skipped < MOST_SKIPPED:
                    wrong -= overflown
            if wrong:
                if self.is_main:
                    self.logger.write(step, numbers)
                ranks.barrier()
                raise FloatingPointError(f"step {step}: not finite: {numbers}")
        return numbers

    def log_now(self, **values: float) -> None:
        """Write these values at once, as one line of metrics.jsonl and as curves."""
        if self.is_main:
            self.logger.write(self.step, values)

    def picture(self, name: str, image_HWC: NDArray[np.uint8]) -> None:
        """Write an RGB picture to pictures/ and to TensorBoard."""
        if self.is_main:
            self.logger.picture(self.step, name, image_HWC)

    def save(self) -> None:
        """Write a checkpoint of every registered part at this step, if all values are finite.

        Raises:
            FloatingPointError: see `check`.
        """
        self.check()
        if self.is_main:
            checkpoint.save(self.config.out / "checkpoints", self.step, self.parts, ranks.count())


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


def _start_loader(worker: int) -> None:
    """Keep a loader process to one OpenCV thread, and to its parent's life and signals."""
    end_with_parent()
    leave_to_parent()
    cv2.setNumThreads(1)
