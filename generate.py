"""Portrait videos from trained runs: one, or as many as a manifest names.

    python generate.py evp --run runs/demo --audio speech.wav --target head.mp4 \\
        --emotion happy --out happy.mp4
    python generate.py evp --run runs/demo --audio speech.wav --target head.mp4 \\
        --emotion-blend sad:happy:0.3 --eyes target --landmarks preview.mp4 --out blend.mp4
    python generate.py fomm --fomm runs/demo/eamm/fomm --source portrait.png \\
        --driving head.mp4 --relative --adapt-scale --best-frame --out moved.mp4
    python generate.py eamm --run runs/demo/eamm --source portrait.png --audio speech.wav \\
        --pose head.mp4 --emotion happy.mp4 --out happy.mp4
    python generate.py evp --run runs/demo --manifest held_out.csv --out results/videos

A manifest is a CSV file with a column clip_id and of source, audio, pose, emotion and target those
that the system takes (other columns are ignored); files are relative to the manifest. An empty cell
stands for what the command line says. OUT is a folder then, which <clip_id>.mp4 is written into.
Networks are read once; clips that are there already, of the same files and settings, are left as
they are; one that cannot be made is named at the end and in failed.jsonl, and the exit code is 1.
"""

import argparse
import functools
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

import eamm.inference.cli
import eamm.inference.fomm_cli
import evp.inference.cli
from affekt.media.faces.detector import Detector, make_detector
from affekt.media.video.container import is_disk_error
from affekt.media.video.result import Rows, Watch
from affekt.runtime.batch import FAILED, Batch, Fingerprints
from affekt.runtime.command import USER_ERRORS, CommandParser
from affekt.runtime.manifest import Manifest, Row, check_columns, read_manifest, with_row
from data_prep.clips.clip import Analysis, FramesConfig, analyse_video
from eamm.inference.cli import EammJob
from eamm.inference.fomm_cli import FommJob
from eamm.inference.fomm_pipeline import FommStudio
from eamm.inference.pipeline import EammStudio
from evp.inference.cli import EvpJob
from evp.inference.pipeline import EvpStudio

log = logging.getLogger(__name__)

Job = EvpJob | FommJob | EammJob

COMMANDS: dict[str, Any] = {
    "evp": evp.inference.cli,
    "fomm": eamm.inference.fomm_cli,
    "eamm": eamm.inference.cli,
}
REMEMBERED = 256  # videos whose landmarks are kept, some 100 kB each


class Studio(Protocol):
    """Trained parts that make videos."""

    def make(self, job: Any, watch: Watch = ...) -> list[Path]:
        """Do a job; return the files written."""


def open_studio(jobs: Sequence[Any]) -> Studio:
    """Read once what jobs of one system and one set of runs need.

    Raises:
        FileNotFoundError: a part is not trained yet; the message names it.
        ConfigError: parts that do not belong together.
    """
    first: Job = jobs[0]
    if isinstance(first, EvpJob):
        find = remembering(make_detector(first.detector))
        return EvpStudio(jobs, lambda path: find(path, FramesConfig()))
    detector = make_detector(first.look.detector)
    if isinstance(first, FommJob):
        return FommStudio(jobs, detector)
    find = remembering(detector)
    return EammStudio(jobs, detector, lambda path, size: find(path, FramesConfig("eamm", size)))


def remembering(detector: Detector) -> Any:
    """Return `analyse_video` with this detector; a video that it has seen is not looked at again.

    It goes by the name alone: no file may change while clips are made.
    """

    @functools.lru_cache(maxsize=REMEMBERED)
    def find(path: Path, frames: FramesConfig) -> Analysis:
        return analyse_video(path, detector, frames)

    return find


def generate(job: Job) -> list[Path]:
    """Do a job of any of the systems; return the files written.

    Raises:
        ValueError: the result cannot go where it should; said before any work is done.
    """
    if job.out.is_dir() or job.out.suffix.lower() != ".mp4":
        raise ValueError(f"--out is {job.out}, wanted the name of an .mp4 file")
    return open_studio([job]).make(job, frames_bar)


def frames_bar(rows: Rows, count: int) -> Rows:
    """Return the rows behind a progress bar."""
    return tqdm(rows, "frames", count, unit="frame")


def generate_all(args: argparse.Namespace) -> Batch:
    """Make the clips of a manifest that are not there yet.

    Raises:
        OSError, ValueError: manifest, folder or runs cannot be used, or the disk is full. What is
            wrong with a single clip does not stop the others.
    """
    manifest = read_manifest(args.manifest)
    check_columns(manifest, COMMANDS[args.system].COLUMNS, args)
    if args.out.suffix.lower() == ".mp4":
        raise ValueError(f"--out is {args.out}, wanted a folder with --manifest")
    batch, jobs = Batch(args.out), {}
    for row in manifest.rows:
        try:
            jobs[row] = job_of_row(manifest, row, args, batch)
        except ValueError as error:
            batch.fail(row.clip_id, row.line, str(error))
    fingerprints = Fingerprints()
    wanted = {row: fingerprints.of(job) for row, job in jobs.items()}
    missing = [row for row in jobs if not batch.holds(row.clip_id, wanted[row])]
    if missing:
        studio = open_studio([jobs[row] for row in missing])
        for row in tqdm(missing, "clips", unit="clip"):
            if make_one(studio, jobs[row], row, batch):
                batch.add(row.clip_id, wanted[row])
    batch.close()
    made = len(missing) + len(manifest.rows) - len(jobs) - len(batch.failures)
    print(f"{args.out}: {made} made, {len(jobs) - len(missing)} there already")
    return batch


def job_of_row(manifest: Manifest, row: Row, args: argparse.Namespace, batch: Batch) -> Any:
    """Return what a row of a manifest wants.

    Raises:
        ValueError: something that is needed is neither in the row nor on the command line.
    """
    command = COMMANDS[args.system]
    given = with_row(manifest, row, command.COLUMNS, args)
    given.out = batch.place(row.clip_id)
    return command.job_of(given)


def make_one(studio: Studio, job: Job, row: Row, batch: Batch) -> bool:
    """Make a clip; if it cannot be made, record why and return False.

    Raises:
        OSError: the disk is full, or cannot be written to: no clip would fare better.
    """
    try:
        studio.make(job)
    except USER_ERRORS as error:
        if is_disk_error(error):
            raise
        batch.fail(row.clip_id, row.line, str(error))
        return False
    return True


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = CommandParser(__doc__)
    systems = parser.add_subparsers(dest="system", required=True)
    for name, command in COMMANDS.items():
        system = systems.add_parser(
            name,
            description=command.DESCRIPTION,
            help=command.HELP,
            usage=command.USAGE,
        )
        command.add_arguments(system)
        system.add_argument(
            "--manifest", type=Path, metavar="CSV", help="make all clips that this file names"
        )
    args = parser.parse_args(argv)
    check_given(systems.choices[args.system], args)
    return args


def check_given(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a usage message where options are missing, or do not go with --manifest."""
    command, values = COMMANDS[args.system], vars(args)
    if args.manifest is not None:
        for option in command.SINGLE:
            if values[option]:
                parser.error(f"--{option} does not go with --manifest: it is for a single video")
        return
    needed = [column.argument for column in command.COLUMNS if column.needed]
    missing = ", ".join(f"--{option}" for option in needed if values[option] is None)
    if missing:
        parser.error(f"the following arguments are required: {missing}")


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args = parse(argv)
    try:
        if args.manifest is None:
            for path in generate(COMMANDS[args.system].job_of(args)):
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
