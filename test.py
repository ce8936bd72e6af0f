"""Evaluate videos against the truth: the papers' tables, with controls and uncertainty.

    python test.py run --results runs/evp/videos --truth data/mead --protocol evp-table1 \\
        --out results/evp
    python test.py table results/evp results/baseline --table evp-table1 --format md,tex
    python test.py weights list

Each command has its own --help. Exit codes: 0 all is well, 2 bad input, 3 too few clips or faces, 4
a weights file that is not the right one.
"""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from types import ModuleType

from affekt.runtime.command import USER_ERRORS, CommandParser
from affekt.runtime.weights.table import InvalidWeightsError

BAD_INPUT, WRONG_WEIGHTS = 2, 4  # exit codes
# Modules of affekt/evaluation/commands: each has HELP, DESCRIPTION, add_arguments and main.
COMMANDS = ("check", "run", "table", "controls", "ablate", "user-study", "weights")


def command(name: str) -> ModuleType:
    """Return the module of a command."""
    return importlib.import_module(f"affekt.evaluation.commands.{name.replace('-', '_')}")


def parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Describe the command line; of a command that is named, nothing else is imported."""
    top = CommandParser(__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    named = argv[:1] if argv and argv[0] in COMMANDS else COMMANDS
    for name in named:
        module = command(name)
        one = commands.add_parser(name, help=module.HELP, description=module.DESCRIPTION)
        module.add_arguments(one)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    argv = sys.argv[1:] if argv is None else argv
    args = parser(argv).parse_args(argv)
    try:
        code: int = command(args.command).main(args)
    except InvalidWeightsError as error:
        print(f"test.py: {error}", file=sys.stderr)
        return WRONG_WEIGHTS
    except USER_ERRORS as error:
        print(f"test.py: {error}", file=sys.stderr)
        return BAD_INPUT
    return code


if __name__ == "__main__":
    sys.exit(main())
