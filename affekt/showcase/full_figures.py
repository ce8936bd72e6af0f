"""Collect the full demo's figures into RUNS/figures.json, from what its stages have written.

python -m affekt.showcase.full_figures runs/demo/full --evp runs/demo/evaluation/evp_scores
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from affekt.evaluation.controls import RESULT, TRUTH
from affekt.evaluation.tables.cells import CORRECT
from affekt.evaluation.tables.evaluations import load_evaluation
from affekt.runtime.command import CommandParser
from affekt.runtime.files import read_json, write_json
from affekt.showcase.plans import EAMM_TABLES, ROWS, eamm_results, row_results, scores_of
from affekt.showcase.thresholds import Results

EDITING = ("rank", "rank_share", "mouth_r", "mouth_share", "paths")  # of evp.analysis.editing
TRUTH_FIGURES = "emotion_of_truth.json"  # of affekt.metrics.emotion.score


def measure(out: Path, evp: Path) -> Results:
    """Return the figures of the full demo's runs and of the evaluation of EVP's demo.

    Raises:
        FileNotFoundError: a stage has not run.
    """
    lags, truth = read_json(out / "syncnet" / "sync.json"), read_json(out / TRUTH_FIGURES)
    figures: Results = {
        "lag_exact": lags["exact"],
        "emotion_of_truth": truth["truth"]["accuracy"],
        "evp_emotion": accuracy(evp, RESULT),
        "evp_emotion_of_truth": accuracy(evp, TRUTH),
    }
    for row in ROWS:
        figures[f"evp_emotion_{row}"] = accuracy(scores_of(row_results(out, row)), RESULT)
    for name in EAMM_TABLES:
        folder = scores_of(eamm_results(out, name))
        if load_evaluation(folder).of(RESULT, CORRECT):  # LRW has no emotions
            for row in (RESULT, TRUTH):
                figures[f"eamm_{name}_emotion_{row}"] = accuracy(folder, row)
    figures["content_leak"] = read_json(out / "content_leak" / "content_leak.json")
    figures["temporal"] = read_json(out / "temporal" / "figures.json")
    editing = read_json(out / "editing" / "editing.json")
    for name in ("blends", "intensity"):
        figures[f"editing_{name}"] = {key: editing[name][key] for key in EDITING}
    return figures


def accuracy(evaluation: Path, row: str) -> float:
    """Return the share of a row's clips whose emotion was classified correctly."""
    return float(np.mean([*load_evaluation(evaluation).of(row, CORRECT).values()]))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("runs", type=Path, help="folder of the full demo's runs")
    parser.add_argument("--evp", type=Path, required=True, help="the evaluation of EVP's demo")
    args = parser.parse_args(argv)
    write_json(args.runs / "figures.json", measure(args.runs, args.evp))


if __name__ == "__main__":
    main()
