"""Settings of every run, and the folder that belongs to one configuration."""

import logging
import typing as tp
from dataclasses import dataclass, replace
from pathlib import Path

from affekt.runtime.config import ConfigError, differences, dump_config, load_config, plain
from affekt.runtime.files import remove_unfinished

log = logging.getLogger(__name__)

FREE_KEYS = {
    *("steps", "device", "workers", "log_every", "save_every", "threads", "progress", "any_ranks")
}


@dataclass(frozen=True)
class RunConfig:
    """Settings of every run; those in FREE_KEYS may change when a stopped run is continued."""

    out: Path  # the run folder
    seed: int = 0
    device: tp.Literal["auto", "cpu", "cuda"] = "auto"  # auto: cuda where there is one
    steps: int = 100_000
    batch_size: int = 16  # of all processes together
    accumulate: int = 1  # batches a step, whose gradients' mean is taken: one large batch in parts
    workers: int = 2  # loader processes of each process; 0 loads in the process itself
    log_every: int = 100  # steps; in between nothing waits for the GPU
    save_every: int = 5_000  # steps
    threads: int | None = None  # torch's CPU threads; None leaves torch's own choice
    progress: bool = True  # a tqdm bar on stderr
    # CUDA alone. The fastest convolutions are chosen by trying: a continued run may choose others,
    # and then agrees with an unstopped one to rounding, not to the bit.
    cudnn_benchmark: bool = False
    # CUDA alone: matrix products and convolutions in TF32, of 10 bits; null: torch's own choice, as
    # of torch 2.10 convolutions alone.
    tf32: bool | None = None
    # Of the networks, by autocast; geometry stays float32, and so do weights. float16 scales the
    # loss (torch.amp.GradScaler) and passes over steps whose gradient overflows.
    precision: tp.Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False  # torch.compile of every trained network; equal to rounding
    channels_last: bool = False  # memory order of weights and pictures; faster on CUDA
    # Under torchrun: batch norm over the whole batch, not each process's part of it.
    sync_batch_norm: bool = True
    any_ranks: bool = False  # continue a run of another number of processes; equal to rounding

    def __post_init__(self) -> None:
        for key in ("steps", "batch_size", "accumulate", "log_every", "save_every"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} is {getattr(self, key)}, wanted at least 1")


class StageConfig(tp.Protocol):
    """A stage's whole configuration: a frozen dataclass that holds a RunConfig as `run`."""

    @property
    def run(self) -> RunConfig: ...


def claim_folder(stage: StageConfig, out: Path) -> None:
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


def corpora_of(stage: StageConfig) -> list[Path]:
    """Return the prepared corpora that a stage's configuration names."""
    found: list[Path] = []
    for name, value in vars(stage).items():
        if name == "corpus" and isinstance(value, Path):
            found.append(value)
        if name == "data":
            found += getattr(value, "corpora", ())
    return found
