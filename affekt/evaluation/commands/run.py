"""`test.py run`: measure videos against the truth, and print the tables."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from affekt.evaluation.commands import LOW_COVERAGE
from affekt.evaluation.measure import Job, Outcome
from affekt.evaluation.networks import choose_networks
from affekt.evaluation.pairing import Pairing, find_pairs
from affekt.evaluation.protocol import MeasureName, Protocol, load_protocol
from affekt.evaluation.run import EvaluationRun, run_evaluation
from affekt.evaluation.tables.build import NoFiguresError, build_table
from affekt.evaluation.tables.evaluations import load_evaluation
from affekt.evaluation.tables.papers import load_paper
from affekt.evaluation.tables.table import FORMATS, render
from affekt.runtime.files import write_text
from affekt.runtime.run import pick_device

HELP = "measure videos against the truth"
DESCRIPTION = """Measure videos against the truth, clip by clip, and print the papers' tables.

    python test.py run --results runs/evp/videos --truth data/mead --protocol evp-table1 \\
        --out results/evp --workers 4
    python test.py run --results other/videos --truth results/truth --protocol evp-table1 \\
        --out results/other --name "other method" landmarks.view=3d

A result is a video named by the clip id of its truth, with the frame rate, size and length of its
truth. The truth is a folder of videos, or a prepared corpus of which --split is taken. --manifest
names the clips, and each one's speaker, emotion (label) and source picture. Written are
scores.jsonl (a line a clip, row and metric), evaluation.json and the tables. What was measured
stays in OUT/cache.jsonl: a stopped run goes on where it was, and a second one is instant. A clip
that cannot be measured is listed and does not stop the others. key=value changes the protocol, and
its name with it.

Exit code 2: nothing to compare, or bad input; 3: fewer clips, or frames with a face, than the
protocol's coverage (the tables still come); 4: a weights file that is not the right one.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--results", type=Path, required=True, help="folder of result videos")
    add_shared(parser)
    parser.add_argument("--name", help="name of the row (default: the name of --out)")
    parser.add_argument("--no-controls", action="store_true", help="faster, no control rows")


def add_shared(parser: argparse.ArgumentParser) -> None:
    """Describe what `run` and `controls` share."""
    add = parser.add_argument
    # Which videos, by which protocol.
    add("--truth", type=Path, required=True, help="folder of true videos, or a prepared corpus")
    add("--out", type=Path, required=True, help="folder for scores and tables")
    add("--protocol", default="evp-table1",
        help="an id of configs/protocols/, or a YAML file (default: evp-table1)")  # fmt: skip
    add("--split", help="of a prepared corpus; default: the protocol's")
    add("--manifest", type=Path, help="CSV of test.py check --write-manifest")
    add("--limit", type=int, help="the first so many clips alone, for a try")
    add("--min-coverage", type=float, help="share; default: the protocol's")
    # How they are measured.
    add("--workers", type=int, default=0, help="processes (default: this one)")
    add("--cache", type=Path, help="folder of found faces; default: cache/ beside --out")
    add("--emotion-classifier", type=Path, metavar="RUN", help="of affekt.metrics.emotion.train")
    add("--syncnet", type=Path, metavar="RUN",
        help="of affekt.metrics.sync.train; default: the public one")  # fmt: skip
    add("--device", choices=("auto", "cpu", "cuda"), default="cpu",
        help="of networks (default: cpu)")  # fmt: skip
    add("--detector-device", choices=("auto", "cpu", "cuda"), default="cpu",
        help="of landmarks.detector=face_alignment, not of mediapipe (default: auto)")  # fmt: skip
    add("overrides", nargs="*", metavar="key.sub=value", help="of the protocol")


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    protocol = load_protocol(args.protocol, args.overrides)
    results: Path = args.results
    pairing = find_pairs(results, args.truth, args.split or protocol.split, args.manifest)
    return measured(args, protocol, pairing, args.name or args.out.name, not args.no_controls)


def measured(
    args: argparse.Namespace, protocol: Protocol, pairing: Pairing, name: str, controls: bool
) -> int:
    """Measure, print the tables, and return the exit code."""
    check_options(args)
    runs: dict[MeasureName, Path | None] = {}
    runs |= {"emotion": args.emotion_classifier, "sync": args.syncnet}
    networks = choose_networks(protocol, runs, str(pick_device(args.device)))
    faces = args.cache or args.out.parent / "cache"
    job = Job(protocol, networks, faces, controls, args.detector_device)
    if args.limit is not None:
        pairing = replace(pairing, pairs=pairing.pairs[: args.limit], missing=[], extra=[])
    # Measure, with a progress bar that names the clip.
    with tqdm(total=len(pairing.pairs), desc="measure", unit="clip") as bar:

        def advance(outcome: Outcome) -> None:
            bar.set_postfix_str(outcome.task.pair.id, refresh=False)
            bar.update()

        evaluation = run_evaluation(pairing, job, args.out, name, args.workers, advance)
    # What has no figures, the tables, and how much was covered.
    report_problems(pairing, evaluation)
    print_tables(args.out, protocol.tables)
    wanted = protocol.min_coverage if args.min_coverage is None else args.min_coverage
    clips, frames = evaluation.record["clip_coverage"], evaluation.record["frame_coverage"]
    _warn(f"coverage: {clips:.1%} of the clips, {frames:.1%} of their frames")
    if min(clips, frames) >= wanted:
        return 0
    _warn(f"test.py: that is less than the {wanted:.1%} wanted (--min-coverage)")
    return LOW_COVERAGE


def check_options(args: argparse.Namespace) -> None:
    """Refuse numbers out of range, absent devices and an --out that cannot be written."""
    for name, least in (("limit", 1), ("workers", 0), ("min_coverage", 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')} is {value}, wanted {least} or more")
    pick_device(args.device)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        write_text(args.out / ".writable", "")
        (args.out / ".writable").unlink()
    except OSError as error:
        raise OSError(f"--out {args.out} cannot be written: {error.strerror or error}") from None


def report_problems(pairing: Pairing, evaluation: EvaluationRun) -> None:
    """Print which clips have no figures, and why."""
    for outcome in evaluation.failed:
        _warn(f"not measured: {outcome.task.pair.id}: {outcome.message}")
    for metric, clips in evaluation.record["without"].items():
        _warn(f"no {metric} of {len(clips)} clips: {some(clips)}")
    for title, clips in (("no result for", pairing.missing), ("no truth for", pairing.extra)):
        if clips:
            _warn(f"{title} {len(clips)} clips: {some(clips)}")


def print_tables(folder: Path, tables: Sequence[str]) -> None:
    """Print tables of an evaluation's folder as Markdown; write every format into it.

    A table of which nothing was measured is left out, and a line names the missing figures.
    """
    evaluation = load_evaluation(folder)
    for name in tables:
        try:
            table = build_table(load_paper(name), [evaluation])
        except NoFiguresError as error:
            sys.stdout.write(f"{name} is left out: {error}\n\n")
            continue
        sys.stdout.write(f"{render(table, 'md')}\n")
        for form in FORMATS:
            write_text(folder / f"{table.id}.{form}", render(table, form))


def some(names: list[str]) -> str:
    """Return the first few names."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _warn(text: str) -> None:
    sys.stderr.write(f"{text}\n")
