"""Start a training script: its configuration, its log, and one line for what a user can mend."""

import logging
import sys
import typing as tp
from collections.abc import Callable

from runtime.config import ConfigError, config_from_argv

T = tp.TypeVar("T")

MENDABLE = (ConfigError, FileNotFoundError, FloatingPointError)


def run_stage(
    train: Callable[[T], None],
    config: type[T],
    doc: str | None,
    argv: tp.Sequence[str] | None = None,
) -> int:
    """Train on the command line's configuration; return the exit status.

    A configuration that does not fit, a file that is not there yet and a loss that is not finite
    end the program with their message alone. Any other error is a bug and keeps its traceback.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        train(config_from_argv(config, doc, argv))
    except MENDABLE as error:
        sys.stderr.write(f"{sys.argv[0]}: {error}\n")
        return 1
    return 0
