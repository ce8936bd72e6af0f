"""`test.py table`: a paper's table of finished evaluations, or of an ablation."""

import argparse
import sys
from pathlib import Path

from affekt.evaluation.tables.build import build_ablation, build_table
from affekt.evaluation.tables.evaluations import load_ablation, load_evaluation
from affekt.evaluation.tables.papers import load_paper, load_papers
from affekt.evaluation.tables.table import FORMATS, render
from affekt.runtime.files import write_text

DESCRIPTION = """Print a paper's table: ours with 95 % intervals, the controls, the printed figures.

    python test.py table results/evp results/baseline
    python test.py table results/evp --table evp-emotion --per-emotion
    python test.py table results/evp --table evp-table1 --format md,tex,csv --out results/tables
    python test.py table runs/ablation --table evp-table2

A result is marked better than another only if the interval of their paired difference on the same
clips excludes 0. Evaluations of different protocols, truths or networks are refused.
evp-table2 takes the folder of an ablation (test.py ablate), the others folders of test.py run.
Exit code 2: bad input.
"""
DEFAULT = "evp-table1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    known = ", ".join(load_papers())
    formats = f"of {', '.join(FORMATS)}, separated by commas; default md"
    add = parser.add_argument
    add("evaluations", type=Path, nargs="+", help="--out folders of test.py run")
    add("--table", default=DEFAULT, help=f"one of {known}; default {DEFAULT}")
    add("--format", default="md", help=formats)
    add("--out", type=Path, help="folder for TABLE.md and so on; default: print")
    add("--per-emotion", action="store_true", help="a row for each emotion, too")


def main(args: argparse.Namespace) -> int:
    """Print the table, or write it to --out; return the exit code."""
    wanted, paper = args.format.split(","), load_paper(args.table)
    unknown = sorted({*wanted} - {*FORMATS})
    if unknown:
        raise ValueError(f"--format {unknown[0]!r} is not one of {', '.join(FORMATS)}")
    if paper.layout != "ablation":
        evaluations = [load_evaluation(folder) for folder in args.evaluations]
        table = build_table(paper, evaluations, args.per_emotion)
    elif len(args.evaluations) == 1:
        table = build_ablation(paper, load_ablation(args.evaluations[0]))
    else:
        raise ValueError(f"{paper.id} takes one ablation, {len(args.evaluations)} are given")
    for form in [form for form in FORMATS if form in wanted]:
        if args.out is None:
            sys.stdout.write(render(table, form))
        else:
            write_text(args.out / f"{paper.id}.{form}", render(table, form))
    return 0
