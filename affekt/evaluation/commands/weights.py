"""`test.py weights`: the weights files of metrics and losses, listed, checked, put in place."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from affekt.evaluation.commands import BAD_INPUT, WRONG_WEIGHTS
from affekt.markdown import markdown_table
from affekt.runtime.weights import registry as weights
from affekt.runtime.weights.registry import DIGITS, FILES

DESCRIPTION = """List, check and put in place the files that some metrics and losses need.

    python test.py weights list
    python test.py weights add syncnet ~/Downloads/syncnet_v2.model
    python test.py weights verify syncnet arcface

They live in one folder: $AFFEKT_WEIGHTS, else ./weights. Nothing is downloaded: list --json and the
message for a missing file name its source. Exit code 2: a file is missing; 4: one is there and
is not the right one.
"""
STATES: dict[weights.State, str] = {"ok": "present", "missing": "missing", "bad": "BAD"}
COLUMNS = ("key", "state", "bytes", "licence", "needed by")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="every known file, and its state")
    listing.add_argument("--json", action="store_true", help="as JSON, with sources and hashes")
    verifying = actions.add_parser("verify", help="read files whole and compare their hashes")
    verifying.add_argument("keys", nargs="*", metavar="KEY", help="default: all that are there")
    finding = actions.add_parser("path", help="print where a checked file is")
    finding.add_argument("key", metavar="KEY")
    adding = actions.add_parser("add", help="check a file and copy it to its place")
    adding.add_argument("key", metavar="KEY")
    adding.add_argument("file", type=Path, metavar="FILE", help="as downloaded, any name")


def main(args: argparse.Namespace) -> int:
    """Run one action; return the exit code."""
    if args.action == "list":
        return _list(args.json)
    if args.action == "verify":
        return _verify(args.keys)
    if args.action == "path":
        _say(str(weights.find(args.key)))
        return 0
    _say(f"{args.key}: {weights.add(args.key, args.file)}")
    return 0


def _list(as_json: bool) -> int:
    found = [weights.status(key) for key in FILES]
    if as_json:
        _say(json.dumps([asdict(one) for one in found], indent=2, default=str))
        return 0
    _say(f"weights folder: {weights.root()}\n")
    rows = [
        (one.file.key, STATES[one.state], "?" if one.file.size is None else f"{one.file.size:,}",
         one.file.licence, ", ".join(one.file.needed_by))
        for one in found
    ]  # fmt: skip
    _say(markdown_table(COLUMNS, rows, left=(0, 1, 3, 4)))
    for one in found:
        if one.state == "bad":
            _say(f"\n{weights.explanation(one)}")
    return 0


def _verify(keys: Sequence[str]) -> int:
    """Hash files and compare them with what is published."""
    code = 0
    for key in dict.fromkeys(keys or FILES):
        one = weights.status(key)
        if one.state == "ok":
            digits = len(one.file.sha256)
            part = "" if digits == DIGITS else f" (first {digits} digits)"
            compared = f"as published{part}" if digits else "nothing is published"
            _say(f"{key}: {compared}, sha256 {one.sha256}")
        elif keys or one.state == "bad":
            _say(weights.explanation(one))
            code = max(code, BAD_INPUT if one.state == "missing" else WRONG_WEIGHTS)
    return code


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
