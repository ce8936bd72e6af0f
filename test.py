"""Evaluate videos against the truth: the papers' tables, with controls and uncertainty.

    python test.py run --results runs/evp/videos --truth data/mead --protocol evp-table1 \\
        --out results/evp
    python test.py table results/evp results/baseline --table evp-table1 --format md,tex
    python test.py weights list

Each command has its own --help. Exit codes: 0 done, 2 bad input, 3 too few clips or faces, 4 a
weights file that is not the right one.
"""

import importlib
import logging
import sys
from collections.abc import Sequence
from types import ModuleType

from affekt.evaluation.commands import BAD_INPUT, COMMANDS, WRONG_WEIGHTS
from affekt.runtime.command import CommandParser, named_shortages
from affekt.runtime.weights.registry import InvalidWeightsError


def command(name: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"affekt.evaluation.commands.{name.replace('-', '_')}")


def parser(argv: Sequence[str]) -> CommandParser:
    """Describe the command line; only the module of a command that is named is imported."""
    named = next((word for word in argv if not word.startswith("-")), None)
    top = CommandParser(__doc__, prog="test.py")
    commands = top.add_subparsers(dest="command", required=True)
    for name, text in COMMANDS.items():
        one = commands.add_parser(name, help=text)
        if name == named:
            module = command(name)
            one.description = module.DESCRIPTION
            module.add_arguments(one)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    argv = sys.argv[1:] if argv is None else argv
    args = parser(argv).parse_args(argv)
    try:
        with named_shortages():
            return int(command(args.command).main(args))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"test.py: {error}\n")
        return WRONG_WEIGHTS if isinstance(error, InvalidWeightsError) else BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
