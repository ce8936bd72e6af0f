"""`test.py controls`: the control rows of a truth, without any method."""

import argparse

from affekt.evaluation.commands.run import add_shared, measured
from affekt.evaluation.pairing import find_pairs
from affekt.evaluation.protocol import load_protocol

DESCRIPTION = """Measure the control rows of a truth, without any method.

    python test.py controls --truth data/mead --protocol evp-table1 --out results/controls

The truth against itself, compressed again, one frame late, standing still, another speaker's video
in its place, the mean face, and the detector's own noise: the scale of every figure. `test.py run`
prints them under every table; this is for choosing a protocol, and for a corpus without a method.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_shared(parser)


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    protocol = load_protocol(args.protocol, args.overrides)
    pairing = find_pairs(None, args.truth, args.split or protocol.split, args.manifest)
    return measured(args, protocol, pairing, "truth", True)
