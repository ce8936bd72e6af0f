"""Start a training script: its configuration, its log, and one line for what a user can mend."""

import logging
import sys
import typing as tp
from collections.abc import Callable

from affekt.runtime.config import ConfigError, config_from_argv
from affekt.runtime.files import DamagedFileError

T = tp.TypeVar("T")

USER_ERRORS = (ConfigError, DamagedFileError, FileNotFoundError, FloatingPointError)
OF_A_WORKER = (
    "\nOriginal Traceback (most recent call last):\n"  # what DataLoader puts into messages
)


def run_stage(
    train: Callable[[T], None],
    config: type[T],
    doc: str | None,
    argv: tp.Sequence[str] | None = None,
) -> int:
    """Train on the command line's configuration; return the exit status.

    A configuration that does not fit, a file that is damaged or not there yet and a loss that is
    not finite end the program with their message alone. Any other error is a bug and keeps its
    traceback.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        train(config_from_argv(config, doc, argv))
    except USER_ERRORS as error:
        sys.stderr.write(f"{sys.argv[0]}: {_message(error)}\n")
        return 1
    return 0


def _message(error: Exception) -> str:
    """Return an error's message; of one that a loader process raised, what it said there."""
    text = str(error)
    if OF_A_WORKER not in text:
        return text
    return text.rstrip().splitlines()[-1].partition(": ")[2]
