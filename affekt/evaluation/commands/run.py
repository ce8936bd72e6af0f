"""`test.py run`: measure videos against the truth, and print the tables.

scores.jsonl     a line a clip, row (result, truth or control) and metric
evaluation.json  protocol, detector, weights and coverage behind the scores, what failed, what is
                 not available and why, FID and KID of every row
cache.jsonl      every score that was ever measured here, so that a second run is instant
"""

import argparse
import sys
import typing as tp
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from affekt.evaluation.commands import LOW_COVERAGE
from affekt.evaluation.controls import MEAN_FACE, RESULT, mean_faces
from affekt.evaluation.measure import Job, LazyDetector, Outcome, Task, measure_all, plan
from affekt.evaluation.measures import Cache, LandmarkMeasure, Line, ShapeMeasure
from affekt.evaluation.networks import choose_networks, distributions, measures_of
from affekt.evaluation.pairing import ClipPair, Pairing, find_pairs
from affekt.evaluation.protocol import MeasureName, Protocol, load_protocol
from affekt.evaluation.tables.build import NoFiguresError, build_table
from affekt.evaluation.tables.evaluations import SCHEMA, load_evaluation
from affekt.evaluation.tables.papers import load_paper
from affekt.evaluation.tables.table import FORMATS, render
from affekt.evaluation.video import FaceFinder, opened
from affekt.runtime.command import DEVICES, add_device
from affekt.runtime.devices import pick_device
from affekt.runtime.files import write_json, write_jsonl, write_text
from affekt.runtime.training.provenance import versions

Record = dict[str, tp.Any]

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
    add("--clip-seconds", type=float, default=3600.0, metavar="S",
        help="that a clip may take in a worker process (default: %(default)g)")  # fmt: skip
    add("--cache", type=Path, help="folder of found faces; default: cache/ next to --out")
    add("--emotion-classifier", type=Path, metavar="RUN", help="of affekt.metrics.emotion.train")
    add("--syncnet", type=Path, metavar="RUN",
        help="of affekt.metrics.sync.train; default: the public one")  # fmt: skip
    add_device(parser, "cpu")  # figures are the same on every machine
    add("--detector-device", choices=DEVICES,
        help="of landmarks.detector=face_alignment (default: --device)")  # fmt: skip
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
    job = Job(protocol, networks, faces, controls, args.detector_device or args.device)
    if args.limit is not None:
        pairing = replace(pairing, pairs=pairing.pairs[: args.limit], missing=[], extra=[])
    record = run_evaluation(pairing, job, args.out, name, args.workers, args.clip_seconds)
    # What has no figures, the tables, and how much was covered.
    report_problems(record)
    print_tables(args.out, protocol.tables)
    wanted = protocol.min_coverage if args.min_coverage is None else args.min_coverage
    clips, frames = record["clip_coverage"], record["frame_coverage"]
    _warn(f"coverage: {clips:.1%} of the clips, {frames:.1%} of their frames")
    if min(clips, frames) >= wanted:
        return 0
    _warn(f"test.py: that is less than the {wanted:.1%} wanted (--min-coverage)")
    return LOW_COVERAGE


def check_options(args: argparse.Namespace) -> None:
    """Refuse numbers out of range, absent devices and an --out that cannot be written."""
    for name, least in (("limit", 1), ("workers", 0), ("min_coverage", 0), ("clip_seconds", 1)):
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


def report_problems(record: Record) -> None:
    """Print which clips have no figures, and why."""
    for failed in record["failed"]:
        _warn(f"not measured: {failed['id']}: {failed['message']}")
    for metric, clips in record["without"].items():
        _warn(f"no {metric} of {len(clips)} clips: {some(clips)}")
    for title, clips in (("no result for", record["missing"]), ("no truth for", record["extra"])):
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


def run_evaluation(
    pairing: Pairing,
    job: Job,
    out: Path,
    name: str,
    workers: int = 0,
    seconds: float | None = None,
) -> Record:
    """Measure what is not cached yet of every clip, and write scores.jsonl and evaluation.json.

    Args:
        pairing: the clips.
        job: how they are measured.
        out: the evaluation's folder.
        name: of the method.
        workers: processes; 0: in this one.
        seconds: that a clip may take in a worker process.

    Returns:
        What evaluation.json holds.

    Raises:
        ValueError: no clip could be measured.
    """
    # Face detection, measures and their cache
    detector = LazyDetector(job.protocol.landmarks.detector, job.detector_device)
    finder = FaceFinder(detector, job.cache / "faces")
    measures = measures_of(job.protocol, job.networks, job.cache, detector)
    cache = Cache(out / "cache.jsonl")
    # What is cached is not measured again
    planned = list(plan(pairing.pairs, pairing.truths, measures, job, finder))
    tasks = [each for each in planned if isinstance(each, Task)]
    failed = [each for each in planned if isinstance(each, Outcome)]
    outcomes = measure_all(tasks, measures, job, cache, workers, seconds)
    for outcome in tqdm(outcomes, "measure", len(tasks), unit="clip"):
        failed += [outcome] if outcome.reason else []
    # A clip counts only if all its measures succeeded
    failed_ids = {outcome.task.pair.id for outcome in failed}
    done = [task for task in tasks if task.pair.id not in failed_ids]
    if not done:
        raise ValueError(
            f"none of the {len(pairing.pairs)} clips could be measured; the first: "
            f"{failed[0].message}"
        )
    # All scores, and the controls over all clips together
    lines = [line for task in done for name, key in task.keys.items()
             for line in cache.lines(task.pair.id, name, key)]  # fmt: skip
    if job.with_controls and "landmarks" in job.protocol.measures:
        lines += _mean_face_lines(done, job, finder)
    # evaluation.json, the summary, and scores.jsonl
    record = _record(pairing, job, name, detector.version, lines, failed)
    record["truths"] = {task.pair.id: task.truth for task in done}
    record["distribution"] = distributions(lines, job.cache / "features")
    write_jsonl(out / "scores.jsonl", _rows(lines, {task.pair.id: task.pair for task in done}))
    write_json(out / "evaluation.json", record)
    return record


def _mean_face_lines(done: Sequence[Task], job: Job, finder: FaceFinder) -> list[Line]:
    """Return the figures of the mean face, which needs every truth."""
    measure = LandmarkMeasure(job.protocol.landmarks)
    truths = [opened(task.pair.truth, finder).landmarks() for task in done]
    if not any(np.isfinite(points).any() for points in truths):
        return []
    return [
        Line(task.pair.id, measure.name, task.keys[measure.name], MEAN_FACE, metric, value)
        for task, face, truth in zip(done, mean_faces(truths), truths, strict=True)
        for metric, value in measure.between(face, truth).items()
    ]


def _rows(lines: Sequence[Line], pairs: dict[str, ClipPair]) -> list[Record]:
    """Return the lines of scores.jsonl, in an order that does not depend on who was done first."""
    scores = [line for line in lines if line.measure != ShapeMeasure.name]
    return [
        {
            "clip": line.clip,
            "speaker": pairs[line.clip].speaker,
            "emotion": pairs[line.clip].emotion,
            "row": line.row,
            "metric": line.metric,
            "value": line.value,
            "key": line.key,
        }
        for line in sorted(scores, key=lambda line: (line.clip, line.row, line.metric))
    ]


def _record(
    pairing: Pairing,
    job: Job,
    name: str,
    detector: str,
    lines: Sequence[Line],
    failed: Sequence[Outcome],
) -> Record:
    # Number of frames and share with a face of each measured clip
    shapes: dict[str, dict[str, float]] = {}
    for line in lines:
        if line.measure == ShapeMeasure.name and line.value is not None:
            shapes.setdefault(line.clip, {})[line.metric] = line.value
    frames = [clip["frames"] for clip in shapes.values()]
    covered = np.average([clip["covered"] for clip in shapes.values()], weights=frames)
    wanted = len(pairing.pairs) + len(pairing.missing)
    # What was measured with what, on which clips, and what is missing
    protocol = job.protocol
    return {
        "schema": SCHEMA,
        "name": name,
        "protocol": {"id": protocol.id, "version": protocol.version, "hash": protocol.hash},
        "convention": protocol.landmarks.convention,
        "view": protocol.landmarks.view,
        "detector": detector,
        "weights": job.networks.checksums,
        "trained_here": job.networks.trained_here,
        "versions": versions(),
        "clips": len(shapes),
        "frames": int(sum(frames)),
        "clip_coverage": len(shapes) / wanted,
        "frame_coverage": float(covered),
        "missing": pairing.missing,
        "extra": pairing.extra,
        "failed": [
            {"id": each.task.pair.id, "reason": each.reason, "message": each.message}
            for each in failed
        ],
        "unavailable": job.networks.unavailable,
        "without": _without(lines),
        "papers_own": protocol.papers_own,
    }


def _without(lines: Sequence[Line]) -> dict[str, list[str]]:
    """Return, for each metric, the clips whose result has no figure: no face, sound or label."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.row == RESULT and line.value is None:
            found.setdefault(line.metric, []).append(line.clip)
    return {metric: sorted(clips) for metric, clips in sorted(found.items())}
