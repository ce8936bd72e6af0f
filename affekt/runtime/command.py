"""Command lines: parsers, configurations from arguments, and one line for an error of the user's.

`--help` prints the module's docstring as it stands there. What a file, an argument, the data or a
machine without room can cause ends a program with its message alone; any other error is a bug and
keeps its traceback.
"""

import argparse
import contextlib
import logging
import sys
import threading
import typing as tp
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from affekt.runtime.config import ConfigError, load_config, plain
from affekt.runtime.files import DISK_ERRORS, DamagedFileError, is_disk_error
from affekt.runtime.lock import FolderInUseError
from affekt.runtime.training.signals import StoppedBySignal

T = tp.TypeVar("T")


class _RunSettings(tp.Protocol):
    @property
    def out(self) -> Path: ...


class _Stage(tp.Protocol):
    @property
    def run(self) -> _RunSettings: ...


S = tp.TypeVar("S", bound=_Stage)


class ShortageError(ValueError):
    """The machine has no more of something; the message says of what, and what to do."""


USER_ERRORS = (OSError, ValueError, FloatingPointError)
# Of training code that somebody changes, other OSErrors and ValueErrors are bugs as well.
STAGE_ERRORS = (
    *(ConfigError, DamagedFileError, FolderInUseError, FileNotFoundError, FloatingPointError),
    ShortageError,
)
# What torch's RuntimeErrors say of each shortage, what is short, and what to do. Its class too, by
# name: this module does not wait for torch.
GPU = (
    "the GPU's memory is full",
    "in training make run.batch_size smaller (and run.accumulate larger: the same batch in parts); "
    "else take another device (run.device, --device); nvidia-smi shows what else is on it",
)
SHARED = (
    "shared memory (/dev/shm) is full",
    "make run.workers or run.batch_size smaller, or give it more (docker run --shm-size=8g); "
    "run.workers=0 needs none",
)
SHORTAGES = {
    "OutOfMemoryError": GPU,
    "CUDA out of memory": GPU,
    "CUDA error: out of memory": GPU,
    "_STATUS_ALLOC_FAILED": GPU,  # of cuBLAS, cuDNN
    "is killed by signal: Bus error": SHARED,
    "unable to allocate shared memory": SHARED,
    "unable to write to file </torch_": SHARED,
    "is killed by signal: Killed": (
        "a loader process was killed, as the system does where memory is full",
        "make run.workers smaller",
    ),
    "Too many open files": (
        "there are too many open files",
        "allow more (ulimit -n 65536), or make run.workers smaller",
    ),
}
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
# What DataLoader puts into messages.
OF_A_WORKER = "\nOriginal Traceback (most recent call last):\n"


class CommandParser(argparse.ArgumentParser):
    """An argument parser that keeps the layout of its description, as do its subcommands'."""

    def __init__(self, description: str | None = None, **options: tp.Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        options.setdefault("prog", program())
        super().__init__(description=description, **options)


DEVICES = ("auto", "cpu", "cuda")


def add_device(parser: argparse.ArgumentParser, default: str = "auto") -> None:
    """Add --device, where all networks of a command run; see affekt.runtime.devices.pick_device."""
    text = f"of the networks; auto: cuda where there is one (default: {default})"
    parser.add_argument("--device", choices=DEVICES, default=default, help=text)


def program() -> str:
    """Return how this process was started: `train_fomm.py` or `python -m evp.analysis.codes`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return Path(sys.argv[0]).name if spec is None else f"python -m {spec.name}"


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """End the program with exit status 1 and the message of one of USER_ERRORS.

    Raises:
        SystemExit: with the message; Python prints it.
    """
    try:
        with named_shortages():
            yield
    except USER_ERRORS as error:
        raise SystemExit(f"{program()}: {error}") from None


@contextlib.contextmanager
def named_shortages() -> Iterator[None]:
    """Turn what torch raises where GPU memory or shared memory is full into one line.

    Raises:
        ShortageError: with what is short, torch's own line, and what to do.
    """
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None:  # DataLoader says why a process died in the error before
            lines = f"{type(cause).__name__}: {cause}".splitlines()
            for sign, (what, remedy) in SHORTAGES.items():
                said = next((line.strip() for line in lines if sign in line), None)
                if said is not None:
                    raise ShortageError(f"{what}: {remedy} ({said})") from error
            cause = cause.__cause__ or cause.__context__
        raise


def config_from_argv(
    cls: type[T],
    doc: str | None,
    argv: Sequence[str] | None = None,
    flags: Mapping[str, str] | None = None,
    switches: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
) -> T:
    """Read `CONFIG.yaml [key.sub=value ...]` from the command line; `doc` is what --help prints.

    A configuration that does not fit ends the program with its message and exit status 2; with
    --resolve the program ends after it has printed every value, defaults included, as YAML.

    Args:
        cls: the configuration, a dataclass.
        doc: the description.
        argv: the arguments; None: the program's own.
        flags: path fields of `cls` and their help: `--field PATH` wins over the file, and the file
            may be left out where all of them are given.
        values: text fields of `cls` and their help: `--field TEXT` wins over the file.
        switches: boolean fields of `cls`, with "-" for "_", and their help: `--field` sets one.
    """
    # The parser: a file, flags and switches, and dotted keys
    flags, switches, values = flags or {}, switches or {}, values or {}
    parser = CommandParser(doc)
    count = "?" if flags else None
    parser.add_argument("config", type=Path, nargs=count, help="a file in configs/")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    parser.add_argument("--resolve", action="store_true", help="print every value and stop")
    for name, text in flags.items():
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", help=text)
    for name, text in values.items():
        parser.add_argument(f"--{name}", metavar="TEXT", help=text)
    for name, text in switches.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    args = parser.parse_intermixed_args(argv)
    # What was given, as the configuration
    given = {name: getattr(args, name) for name in flags if getattr(args, name) is not None}
    if args.config is None and len(given) < len(flags):
        missing = " and ".join(f"--{name}" for name in flags if name not in given)
        parser.error(f"give a CONFIG.yaml, or {missing}")
    try:
        overrides = [*args.overrides, *(f"{name}={path}" for name, path in given.items())]
        texts = {name: getattr(args, name) for name in values if getattr(args, name) is not None}
        overrides += [f"{name}={text}" for name, text in texts.items()]
        fields = (name.replace("-", "_") for name in switches)
        overrides += [f"{field}=true" for field in fields if getattr(args, field)]
        config = load_config(cls, args.config, overrides) if args.config else cls(**given, **texts)
    except ConfigError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    if args.resolve:
        sys.stdout.write(yaml.safe_dump(plain(config), sort_keys=False))
        parser.exit(0)
    return config


def run_stage(
    train: Callable[[S], None],
    config: type[S],
    doc: str | None,
    argv: Sequence[str] | None = None,
) -> int:
    """Train on the command line's configuration; return the exit status.

    A configuration that does not fit, a file that is damaged or not there yet, a folder in use, a
    full disk or memory and a loss that is not finite end the program with their message alone and
    status 1; a signal with what was saved and 128 + its number.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    settings = config_from_argv(config, doc, argv)
    threading.excepthook = _of_thread
    try:
        with named_shortages():
            train(settings)
    except STAGE_ERRORS as error:
        said, status = _message(error), 1
    except OSError as error:
        if not is_disk_error(error):
            raise
        what, where = DISK_ERRORS[error.errno or 0], error.filename or settings.run.out
        said, status = f"{what} at {where}: make room, then run the same command", 1
    except StoppedBySignal as stop:
        said, status = stop.text, int(str(stop.code))
    except KeyboardInterrupt:
        said, status = (
            "interrupted; the same command continues from the last checkpoint",
            INTERRUPTED,
        )
    else:
        return 0
    sys.stderr.write(f"{program()}: {said}\n")
    return status


def _of_thread(error: threading.ExceptHookArgs) -> None:
    """Print a thread's error, unless it is the disk's, which TensorBoard raises in the loop too."""
    if error.exc_value is None or not is_disk_error(error.exc_value):
        threading.__excepthook__(error)


def _message(error: Exception) -> str:
    """Return an error's message; of one that a loader process raised, what it was there."""
    text = str(error)
    if OF_A_WORKER not in text:
        return text
    return text.rstrip().splitlines()[-1].partition(": ")[2]
