"""test.py ablate: train and measure the rows of EVP's Table 2 (CVPR 2021, Sec. 4.3)."""

import argparse
import functools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from affekt.evaluation.ablation.runs import (
    CODES,
    FULL,
    LANDMARKS,
    Config,
    Training,
    check_runs,
    remaining,
    row_folder,
    trainings,
)
from affekt.evaluation.ablation.scores import (
    Truth,
    code_scores,
    controls,
    predicted_scores,
    true_faces,
)
from affekt.evaluation.ablation.table import TABLE, Rows, as_json, markdown, printed, verdict
from affekt.evaluation.tables.evaluations import load_ablation
from affekt.evaluation.tables.papers import load_papers
from affekt.media.corpus import Corpus
from affekt.media.faces.geometry import View
from affekt.runtime.config import load_config, plain
from affekt.runtime.files import sha256, write_json, write_text
from affekt.runtime.plan import StageError, run_plan

HELP = "train and measure the rows of EVP's Table 2"
DESCRIPTION = """Train EVP with each loss of stage 1 switched off in turn, and measure: its Table 2.

    python test.py ablate configs/demo/ablation.yaml --out runs/ablation
    python test.py ablate configs/evp/table_2.yaml --seeds 0 --plan

Every row is trained with every seed, stage 1 and stage 2, and measured on held-out clips. Rows
that differ in more than their one loss are refused before anything is trained. The same command
continues where it was stopped: finished runs are kept. Writes OUT/table2.json and OUT/table2.md.
"""
SCHEMA = 1  # of table2.json
NOTES = [
    "M- mouth (20 points), F- face (68 points). LD in pixels of a 256 px face, LVD in pixels a "
    "frame: landmarks that stage 2 predicts against those found in the true clip, before anything "
    "is rendered. Means over frames, then over clips, then over seeds. The paper's corpus, clips "
    "and scale are others: its figures are for the order of rows, not for the level.",
    "Rows are paired: with one seed, every row starts from the same pretrained encoders and sees "
    "the same batches. What stands behind a difference is half its 95 % interval over seeds.",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command is told."""
    parser.add_argument("config", type=Path, help="which rows, such as configs/demo/ablation.yaml")
    parser.add_argument("--seeds", help="in the place of the file's, such as 0,1,2")
    parser.add_argument("--out", type=Path, default=Path("results/ablation"), help="runs and table")
    parser.add_argument("--cores", type=int, default=1, help="runs side by side, default 1")
    parser.add_argument("--plan", action="store_true", help="check the rows, list what is to run")


def main(args: argparse.Namespace) -> int:
    """Train what is missing, measure, print the table; return the exit code.

    Raises:
        ValueError: rows that cannot be held against one another, a run of other settings in the
            folder, or a command that failed.
        OSError: no prepared corpus there.
    """
    config = load_config(Config, args.config)
    if args.seeds is not None:
        config = replace(config, seeds=_seeds(args.seeds))
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
    record = measure(config, args.out, check_runs(runs, config.corpus), runs)
    paper = load_papers()[TABLE]
    columns = [column.metric for column in paper.columns]
    verdicts = [verdict(record["rows"], metric, printed(paper)) for metric in columns]
    path = args.out / "table2.json"
    write_json(path, record | {"paper": printed(paper), "verdict": as_json(verdicts)})
    text = markdown(paper, load_ablation(path), verdicts)
    write_text(args.out / "table2.md", text)
    sys.stdout.write(text)
    return 0


def measure(config: Config, out: Path, commits: list[str], runs: list[Training]) -> dict[str, Any]:
    """Score every row and seed; return the content of table2.json."""
    corpus = Corpus(config.corpus)

    @functools.cache
    def truth(view: View) -> Truth:
        return true_faces(corpus, config.split, view)

    rows: Rows = {}
    for name in (*(row.name for row in config.rows), FULL):
        rows[name] = {}
        for seed in config.seeds:
            folder = row_folder(out, name, seed)
            scores = predicted_scores(folder / LANDMARKS, truth)
            scores |= code_scores(folder / "disentangle" / CODES)
            for metric, value in scores.items():
                rows[name].setdefault(metric, []).append(value)
    view = runs[-1].settings["view"]
    return {
        "schema": SCHEMA,
        "name": "EVP, Table 2",
        "config": plain(config),
        "seeds": list(config.seeds),
        "steps": {run.kind: run.settings["run.steps"] for run in runs},
        "data": sha256(config.corpus / "manifest.jsonl"),
        "commits": commits,
        "clips": len(truth(view).clips),
        "rows": rows,
        "controls": controls(truth(view)),
        "notes": [*NOTES, *_notes(config, runs, len(truth(view).clips), commits)],
    }


def _notes(config: Config, runs: list[Training], clips: int, commits: list[str]) -> list[str]:
    one, two = runs[-2].settings, runs[-1].settings  # every row has the same
    shared = config.pretrain_content is not None and config.pretrain_emotion is not None
    return [
        f"{clips} held-out clips of {config.corpus} ({config.split}), view {two['view']}; "
        f"{one['run.steps']} steps of stage 1 and {two['run.steps']} of stage 2 in every row; "
        f"E_c {two['content_encoder']} and E_e {two['emotion_encoder']} in stage 2.",
        "The pretrained encoders hold none of the losses; "
        + ("they are trained once a seed and" if shared else "the same files serve every seed and")
        + " shared by its rows.",
        f"Trained at commit {', '.join(commits)} (+: with uncommitted changes).",
    ]


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(item) for item in text.split(","))
    except ValueError:
        raise ValueError(f"--seeds is {text!r}, wanted whole numbers, such as 0,1,2") from None
