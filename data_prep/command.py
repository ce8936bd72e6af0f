"""Command lines that take a YAML file, or a few flags instead."""

import argparse
import typing as tp
from collections.abc import Mapping, Sequence
from pathlib import Path

from affekt.runtime.config import ConfigError, load_config

T = tp.TypeVar("T")


def config_or_flags(
    cls: type[T], doc: str | None, flags: Mapping[str, str], argv: Sequence[str] | None = None
) -> T:
    """Read `CONFIG.yaml [key.sub=value ...]`, or `--flag PATH` for each of `flags`, or both.

    `flags` maps names of path fields of `cls` to their help; a flag wins over the file. What does
    not fit ends the program with its message and exit status 2.
    """
    keep_layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=doc, formatter_class=keep_layout)
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
    try:
        return load_config(cls, args.config, overrides)
    except ConfigError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
