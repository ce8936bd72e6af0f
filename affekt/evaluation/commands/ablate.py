"""`test.py ablate`: train and measure the rows of EVP's Table 2 (CVPR 2021, Sec. 4.3)."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from affekt.evaluation.ablation.runs import Config, check_runs, remaining, trainings
from affekt.evaluation.ablation.scores import TABLE, markdown, measure
from affekt.evaluation.tables.evaluations import load_ablation
from affekt.evaluation.tables.papers import load_papers
from affekt.media.corpus import Corpus
from affekt.runtime.config import load_config
from affekt.runtime.files import write_json, write_text
from affekt.runtime.plan import StageError, run_plan

HELP = "train and measure the rows of EVP's Table 2"
DESCRIPTION = """Train EVP with each loss of stage 1 switched off in turn, and measure: its Table 2.

    python test.py ablate configs/demo/ablation.yaml --out runs/ablation
    python test.py ablate configs/evp/table_2.yaml --seeds 0 --plan

Every row is trained with every seed, stage 1 and stage 2, and measured on held-out clips. Rows
that differ in more than their one loss are refused first. The same command continues where it was
stopped: finished runs are kept. Writes OUT/table2.json and OUT/table2.md.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("config", type=Path, help="which rows, such as configs/demo/ablation.yaml")
    parser.add_argument("--seeds", help="in the place of the file's, such as 0,1,2")
    parser.add_argument("--out", type=Path, default=Path("results/ablation"), help="runs and table")
    parser.add_argument("--cores", type=int, default=1, help="runs side by side, default 1")
    parser.add_argument("--plan", action="store_true", help="check the rows, list what is to run")


def main(args: argparse.Namespace) -> int:
    """Train what is missing, measure, print the table; return the exit code."""
    # The rows, checked, and what is left to run.
    config = load_config(Config, args.config)
    if args.seeds is not None:
        try:
            config = replace(config, seeds=tuple(map(int, args.seeds.split(","))))
        except ValueError:
            wanted = "wanted different whole numbers, such as 0,1,2"
            raise ValueError(f"--seeds is {args.seeds!r}, {wanted}") from None
    runs = trainings(config, args.out)
    stages = remaining(config, runs)
    if args.plan:
        sys.stdout.write("".join(f"{' '.join(stage.command)}\n" for stage in stages))
        return 0
    Corpus(config.corpus)  # refuses before hours of training, not after
    try:
        run_plan(stages, args.out / "logs", args.cores)
    except StageError as error:
        raise ValueError(str(error)) from None
    # The scores of all rows, and the table.
    path = args.out / "table2.json"
    write_json(path, measure(config, args.out, check_runs(runs, config.corpus), runs))
    text = markdown(load_papers()[TABLE], load_ablation(path))
    write_text(args.out / "table2.md", text)
    sys.stdout.write(text)
    return 0
