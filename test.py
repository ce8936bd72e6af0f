"""Evaluate videos against the truth: the papers' tables, with controls beside them.

    python test.py run --results runs/evp/videos --truth data/mead_test --out results/evp
    python test.py table results/evp results/baseline

Each command has its own --help.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from media.landmarks import make_detector
from metrics.compare import compare_folders, pair_by_id
from metrics.records import load_summary, save, summarize
from metrics.table import as_json, markdown, table_1
from runtime.files import write_json, write_text

BAD_INPUT, LOW_COVERAGE = 2, 3  # exit codes

RUN = """Compare result videos with the truth, clip by clip, and print EVP's Table 1.

    python test.py run --results runs/evp/videos --truth data/mead_test --out results/evp
    python test.py run --results other/videos --truth data/mead_test --out results/other \\
        --name "other method" --alignment 3d --min-coverage 0.9

A result and its truth have the same file name, frame rate, size and length. Writes scores.jsonl
(a line a clip, row and metric), summary.json, table.md and table.json. A clip that cannot be
compared is listed and does not stop the others. Exit code 2: nothing to compare; 3: fewer clips,
or frames with a face, than --min-coverage asks for (the table still comes).
"""
TABLE = """Print Table 1 of finished evaluations, one row each, with controls and the paper's rows.

    python test.py table results/evp results/baseline
    python test.py table results/evp results/baseline --out results/table_1
"""


def run(args: argparse.Namespace) -> int:
    pairing = pair_by_id(args.results, args.truth)
    detector = make_detector(args.detector)
    comparison = compare_folders(pairing, detector, args.alignment, not args.no_controls)
    for failure in comparison.failures:
        print(f"not compared: {failure.id}: {failure.message}", file=sys.stderr)
    for title, clips in (("no result for", pairing.missing), ("no truth for", pairing.extra)):
        if clips:
            print(f"{title} {len(clips)} clips: {_some(clips)}", file=sys.stderr)
    if not comparison.clips:
        raise ValueError(f"none of the {len(pairing.pairs)} clips could be compared")
    name = args.name or args.out.name
    summary = summarize(comparison, name, detector.version, args.alignment)
    save(args.out, comparison, summary)
    write_table([args.out], args.out)
    return _coverage(summary["clip_coverage"], summary["frame_coverage"], args.min_coverage)


def write_table(evaluations: Sequence[Path], out: Path | None) -> int:
    table = table_1([load_summary(folder) for folder in evaluations])
    print(markdown(table))
    if out is not None:
        write_text(out / "table.md", markdown(table))
        write_json(out / "table.json", as_json(table))
    return 0


def _coverage(clips: float, frames: float, wanted: float) -> int:
    print(f"coverage: {clips:.1%} of the clips, {frames:.1%} of their frames")
    if min(clips, frames) >= wanted:
        return 0
    print(f"test.py: that is less than --min-coverage {wanted:.1%}", file=sys.stderr)
    return LOW_COVERAGE


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def parser() -> argparse.ArgumentParser:
    keep = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(description=__doc__, formatter_class=keep)
    commands = top.add_subparsers(dest="command", required=True)
    one = commands.add_parser(
        "run", help="compare videos with the truth", description=RUN, formatter_class=keep
    )
    one.add_argument("--results", type=Path, required=True, help="folder of result videos")
    one.add_argument("--truth", type=Path, required=True, help="folder of true videos")
    one.add_argument("--out", type=Path, required=True, help="folder for scores and tables")
    one.add_argument("--name", help="name of the row (default: the name of --out)")
    one.add_argument("--detector", choices=("mediapipe", "face_alignment"), default="mediapipe")
    one.add_argument(
        "--alignment", choices=("2d", "3d"), default="2d", help="2d: the paper's; 3d: ours"
    )
    one.add_argument(
        "--no-controls", action="store_true", help="half the time, and nothing to read figures by"
    )
    one.add_argument("--min-coverage", type=float, default=0.98, help="share, default 0.98")
    several = commands.add_parser(
        "table", help="tables of finished evaluations", description=TABLE, formatter_class=keep
    )
    several.add_argument("evaluations", type=Path, nargs="+", help="--out folders of test.py run")
    several.add_argument("--out", type=Path, help="folder for table.md and table.json")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    args = parser().parse_args(argv)
    try:
        if args.command == "run":
            return run(args)
        return write_table(args.evaluations, args.out)
    except (OSError, ValueError) as error:
        print(f"test.py: {error}", file=sys.stderr)
        return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
