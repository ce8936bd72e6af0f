"""Command lines: parsers, configurations from arguments, and one line for an error of the user's.

`--help` prints the module's docstring as it stands there. What a file, an argument or the data can
cause ends a program with its message alone; any other error is a bug and keeps its traceback.
"""

import argparse
import contextlib
import logging
import sys
import typing as tp
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from affekt.runtime.config import ConfigError, load_config, plain
from affekt.runtime.files import DamagedFileError

T = tp.TypeVar("T")

USER_ERRORS = (OSError, ValueError, FloatingPointError)
# Of training code that somebody changes, other OSErrors and ValueErrors are bugs as well.
STAGE_ERRORS = (ConfigError, DamagedFileError, FileNotFoundError, FloatingPointError)
OF_A_WORKER = (
    "\nOriginal Traceback (most recent call last):\n"  # what DataLoader puts into messages
)


class CommandParser(argparse.ArgumentParser):
    """An argument parser that keeps the layout of its description, as do its subcommands'."""

    def __init__(self, description: str | None = None, **options: tp.Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        options.setdefault("prog", program())
        super().__init__(description=description, **options)


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
        yield
    except USER_ERRORS as error:
        raise SystemExit(f"{program()}: {error}") from None


def config_from_argv(cls: type[T], doc: str | None, argv: Sequence[str] | None = None) -> T:
    """Read `CONFIG.yaml [key.sub=value ...]` from the command line; `doc` is what --help prints.

    A configuration that does not fit ends the program with its message and exit status 2; with
    --resolve the program ends after it has printed every value, defaults included, as YAML.
    """
    parser = CommandParser(doc)
    parser.add_argument("config", type=Path, help="a file in configs/")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    parser.add_argument("--resolve", action="store_true", help="print every value and stop")
    args = parser.parse_args(argv)
    config = _load(parser, cls, args.config, args.overrides)
    if args.resolve:
        sys.stdout.write(yaml.safe_dump(plain(config), sort_keys=False))
        parser.exit(0)
    return config


def config_or_flags(
    cls: type[T], doc: str | None, flags: Mapping[str, str], argv: Sequence[str] | None = None
) -> T:
    """Read `CONFIG.yaml [key.sub=value ...]`, or `--flag PATH` for each of `flags`, or both.

    `flags` maps names of path fields of `cls` to their help; a flag wins over the file. What does
    not fit ends the program with its message and exit status 2.
    """
    parser = CommandParser(doc)
    parser.add_argument("config", type=Path, nargs="?", help="a file in configs/data/")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    for name, text in flags.items():
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", help=text)
    args = parser.parse_args(argv)
    given = {name: getattr(args, name) for name in flags if getattr(args, name) is not None}
    if args.config is None:
        missing = [f"--{name}" for name in flags if name not in given]
        if missing:
            parser.error(f"give a CONFIG.yaml, or {' and '.join(missing)}")
        return cls(**given)
    overrides = [*args.overrides, *(f"{name}={path}" for name, path in given.items())]
    return _load(parser, cls, args.config, overrides)


def run_stage(
    train: Callable[[T], None],
    config: type[T],
    doc: str | None,
    argv: Sequence[str] | None = None,
) -> int:
    """Train on the command line's configuration; return the exit status.

    A configuration that does not fit, a file that is damaged or not there yet and a loss that is
    not finite end the program with their message alone.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        train(config_from_argv(config, doc, argv))
    except STAGE_ERRORS as error:
        sys.stderr.write(f"{program()}: {_message(error)}\n")
        return 1
    return 0


def _load(parser: CommandParser, cls: type[T], path: Path, overrides: Sequence[str]) -> T:
    try:
        return load_config(cls, path, overrides)
    except ConfigError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _message(error: Exception) -> str:
    """Return an error's message; of one that a loader process raised, what it was there."""
    text = str(error)
    if OF_A_WORKER not in text:
        return text
    return text.rstrip().splitlines()[-1].partition(": ")[2]
