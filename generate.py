"""Portrait videos from trained runs: one, or as many as a manifest names.

    python generate.py evp --run runs/demo --audio speech.wav --target head.mp4 \\
        --emotion happy --out happy.mp4
    python generate.py evp --run runs/demo --audio speech.wav --target head.mp4 \\
        --emotion-blend sad:happy:0.3 --eyes target --landmarks preview.mp4 --out blend.mp4
    python generate.py fomm --fomm runs/demo/eamm/fomm --source portrait.png \\
        --driving head.mp4 --relative --adapt-scale --best-frame --out moved.mp4
    python generate.py eamm --run runs/demo/eamm --source portrait.png --audio speech.wav \\
        --pose head.mp4 --emotion happy.mp4 --out happy.mp4
    python generate.py emospace --run runs/demo/emospace --source portrait.png \\
        --audio speech.wav --emotion-text "a slightly furious man" --out furious.mp4
    python generate.py evp --run runs/demo --manifest clips.csv --out results/videos

A manifest is a CSV file with a column clip_id and of source, audio, pose, emotion and target those
that the system takes (other columns are ignored); files are relative to the manifest. An empty cell
takes the value of the command line. OUT is a folder then, which <clip_id>.mp4 is written into.
Networks are loaded once; clips that are there already, of the same files and settings, are left as
they are; one that cannot be made is named at the end and in failed.jsonl, and the exit code is 1.
"""

import argparse
import importlib
import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from tqdm import tqdm

from affekt.runtime.batch import FAILED, Fingerprints, ResultFolder
from affekt.runtime.command import USER_ERRORS, CommandParser, named_shortages
from affekt.runtime.files import is_disk_error
from affekt.runtime.manifest import (
    Column,
    Manifest,
    ManifestRow,
    check_columns,
    read_manifest,
    with_row,
)

if TYPE_CHECKING:
    from affekt.media.video.result import Progress, Rows

log = logging.getLogger(__name__)


class Job(Protocol):
    """What one video is made of; each system's own dataclass."""

    @property
    def out(self) -> Path:
        """The .mp4 file to write."""


class Pipeline(Protocol):
    """Trained networks that make videos."""

    def run(self, job: Any, progress: "Progress" = ...) -> list[Path]:
        """Do one of its system's jobs; return the files written."""


class System(Protocol):
    """A system's command line: what its cli module defines."""

    USAGE: str
    DESCRIPTION: str
    COLUMNS: tuple[Column, ...]  # of a manifest
    SINGLE: tuple[str, ...]  # options that --manifest does not go with

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Add the system's options."""

    def job_of(self, args: argparse.Namespace, /) -> Job:
        """Return the job that the options describe; a ValueError names options that clash."""

    def open_pipeline(self, jobs: Sequence[Any], /) -> Pipeline:
        """Load once the networks that jobs of the same runs need."""


# Each system's command line, which is imported where the system is named, and its line of --help
PIPELINES = {
    "evp": (
        "evp.inference.cli",
        "a person of the training set talks with your audio in any emotion",
    ),
    "fomm": ("eamm.inference.fomm_cli", "a portrait moves as the head in a video does"),
    "eamm": ("eamm.inference.cli", "a portrait talks with your audio, a head pose and an emotion"),
    "emospace": (
        "emospace.inference.cli",
        "a portrait talks with your audio in an emotion of words, a face or a voice",
    ),
}


def system_of(name: str) -> System:
    """Import a system's command line."""
    return cast(System, importlib.import_module(PIPELINES[name][0]))


def generate(system: System, job: Job) -> list[Path]:
    """Make one video; return the files written.

    Raises:
        ValueError: the result cannot go where it should; raised before any work is done.
    """
    if job.out.is_dir() or job.out.suffix.lower() != ".mp4":
        raise ValueError(f"--out is {job.out}, wanted the name of an .mp4 file")
    return system.open_pipeline([job]).run(job, frames_bar)


def frames_bar(rows: "Rows", count: int) -> "Rows":
    """Return the rows behind a progress bar."""
    return tqdm(rows, "frames", count, unit="frame")


def generate_all(args: argparse.Namespace) -> ResultFolder:
    """Make the clips of a manifest that are not there yet.

    Raises:
        OSError, ValueError: manifest, folder or runs cannot be used, or the disk is full. What is
            wrong with a single clip does not stop the others.
    """
    # The manifest's rows as jobs
    system = system_of(args.system)
    manifest = read_manifest(args.manifest)
    check_columns(manifest, system.COLUMNS, args)
    if args.out.suffix.lower() == ".mp4":
        raise ValueError(f"--out is {args.out}, wanted a folder with --manifest")
    results, jobs = ResultFolder(args.out), {}
    for row in manifest.rows:
        try:
            jobs[row] = job_of_row(manifest, row, args, results)
        except ValueError as error:
            results.fail(row.clip_id, row.line, str(error))

    # Those whose result is not there yet, with networks that are loaded once
    fingerprints = Fingerprints()
    wanted = {row: fingerprints.of(job) for row, job in jobs.items()}
    missing = [row for row in jobs if not results.holds(row.clip_id, wanted[row])]
    if missing:
        pipeline = system.open_pipeline([jobs[row] for row in missing])
        for row in tqdm(missing, "clips", unit="clip"):
            if run_one(pipeline, jobs[row], row, results):
                results.add(row.clip_id, wanted[row])
    results.close()
    made = len(missing) + len(manifest.rows) - len(jobs) - len(results.failures)
    print(f"{args.out}: {made} made, {len(jobs) - len(missing)} there already")
    return results


def job_of_row(
    manifest: Manifest, row: ManifestRow, args: argparse.Namespace, results: ResultFolder
) -> Job:
    """Return the job that a row of a manifest describes.

    Raises:
        ValueError: something that is needed is neither in the row nor on the command line.
    """
    system = system_of(args.system)
    given = with_row(manifest, row, system.COLUMNS, args)
    given.out = results.path(row.clip_id)
    return system.job_of(given)


def run_one(pipeline: Pipeline, job: Job, row: ManifestRow, results: ResultFolder) -> bool:
    """Make a clip; if it cannot be made, whatever the reason, record it and return False.

    Raises:
        OSError: the disk is full, or cannot be written to: every other clip would fail too.
    """
    try:
        pipeline.run(job)
    except Exception as error:
        if is_disk_error(error):
            raise
        message = str(error)
        if not isinstance(error, USER_ERRORS):
            log.warning("%s failed:\n%s", row.clip_id, traceback.format_exc())
            message = f"{type(error).__name__}: {message.splitlines()[0] if message else ''}"
        results.fail(row.clip_id, row.line, message)
    else:
        return True
    # What the failed clip holds of the device's memory is free again for the next one
    import torch  # here, so that --help need not wait for it

    torch.cuda.empty_cache()
    return False


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    argv = sys.argv[1:] if argv is None else argv
    named = next((word for word in argv if not word.startswith("-")), None)
    parser = CommandParser(__doc__)
    systems = parser.add_subparsers(dest="system", required=True)
    for name, (_, text) in PIPELINES.items():
        command = systems.add_parser(name, help=text)
        if name == named:
            add_options(command, system_of(name))
    args = parser.parse_args(argv)
    check_given(systems.choices[args.system], args)
    return args


def add_options(parser: argparse.ArgumentParser, system: System) -> None:
    """Describe a system's options, and what all systems share."""
    parser.description, parser.usage = system.DESCRIPTION, system.USAGE
    system.add_arguments(parser)
    parser.add_argument(
        "--manifest", type=Path, metavar="CSV", help="make all clips that this file names"
    )


def check_given(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a usage message where options are missing, or do not go with --manifest."""
    system, values = system_of(args.system), vars(args)
    if args.manifest is not None:
        for option in system.SINGLE:
            if values[option]:
                parser.error(f"--{option} does not go with --manifest: it is for a single video")
        return
    needed = [column.argument for column in system.COLUMNS if column.needed]
    missing = ", ".join(f"--{option}" for option in needed if values[option] is None)
    if missing:
        parser.error(f"the following arguments are required: {missing}")


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args = parse(argv)
    try:
        if args.manifest is None:
            system = system_of(args.system)
            with named_shortages():
                for path in generate(system, system.job_of(args)):
                    print(f"{path} written")
            return 0
        failures = generate_all(args).failures
    except USER_ERRORS as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 1
    for failure in failures:
        print(f"generate.py: {failure['clip_id']}: {failure['message']}", file=sys.stderr)
    if failures:
        print(f"generate.py: {len(failures)} not made; see {args.out / FAILED}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
