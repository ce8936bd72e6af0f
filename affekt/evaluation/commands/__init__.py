"""The commands of test.py, a module each, and their exit codes."""

import argparse
import typing as tp

BAD_INPUT, LOW_COVERAGE, WRONG_WEIGHTS = 2, 3, 4  # exit codes other than 0


class Command(tp.Protocol):
    """A module of this package."""

    HELP: str  # one line
    DESCRIPTION: str  # with an example first

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Describe the command line."""

    def main(self, args: argparse.Namespace) -> int:
        """Run the command; return the exit code."""
        ...
