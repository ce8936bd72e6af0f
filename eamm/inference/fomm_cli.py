"""The command line of `generate.py fomm`."""

import argparse
import typing as tp
from dataclasses import dataclass
from pathlib import Path

from affekt.media.faces.detector import DetectorName
from affekt.runtime.manifest import Column
from eamm.fomm.animate import Drawing
from eamm.fomm.fast.fast import Precision
from eamm.inference.inputs import Framing

HELP = "a portrait moves as the head in a video does"
USAGE = """generate.py fomm --fomm RUN --source PORTRAIT --driving VIDEO --out OUT.mp4 [options]
       generate.py fomm --fomm RUN --manifest CSV --out FOLDER [options]"""
DESCRIPTION = """A portrait moves as the head in a video does (re-enactment by FOMM).

    python generate.py fomm --fomm runs/demo/eamm/fomm --source portrait.png \\
        --driving head.mp4 --relative --adapt-scale --best-frame --out moved.mp4

Without --relative the portrait takes the very place of the driving face, so both should be as large
and held alike. The video has 25 frames a second and the driving video's sound.

A manifest's columns are clip_id, source and pose (the driving video); see generate.py --help.
"""
COLUMNS = (Column("source"), Column("pose", option="driving"))
SINGLE = ("beside",)  # options that --manifest does not go with


@dataclass(frozen=True)
class Look:
    """How pictures are cut, found and shown."""

    crop: Framing  # of the portrait
    paste: bool  # write the whole portrait, not its crop alone
    size: int | None  # pixels a side of the written crop; None: as the networks draw it
    beside: bool  # also write OUT_beside.mp4
    detector: DetectorName
    device: str
    drawing: Drawing


@dataclass(frozen=True)
class FommJob:
    """One re-enactment to make."""

    fomm: Path
    source: Path
    driving: Path
    out: Path
    relative: bool
    adapt_scale: bool
    best_frame: bool
    driving_crop: Framing
    look: Look


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument(
        "--fomm", type=Path, required=True, help="a run of train_fomm.py, or imported weights"
    )
    parser.add_argument("--source", type=Path, help="a portrait; any picture file")
    parser.add_argument("--driving", type=Path, help="the video whose motion it is")
    parser.add_argument(
        "--out", type=Path, required=True, help="the .mp4 file to write; with --manifest, a folder"
    )
    parser.add_argument(
        "--relative",
        action="store_true",
        help="move the portrait's own keypoints as the driving ones move from where they start",
    )
    parser.add_argument(
        "--adapt-scale",
        action="store_true",
        help="with --relative: movements in sizes of the faces, not in pixels",
    )
    parser.add_argument(
        "--best-frame",
        action="store_true",
        help="with --relative: start from the driving frame that resembles the portrait most, "
        "instead of the first",
    )
    add_look(parser)
    parser.add_argument(
        "--driving-crop",
        choices=("eamm", "none"),
        default="eamm",
        help="cut the driving video around its first face, or take its largest centred square",
    )


def job_of(args: argparse.Namespace) -> FommJob:
    """Return what is wanted."""
    return FommJob(
        fomm=args.fomm,
        source=args.source,
        driving=args.driving,
        out=args.out,
        relative=args.relative,
        adapt_scale=args.adapt_scale,
        best_frame=args.best_frame,
        driving_crop=args.driving_crop,
        look=look_of(args),
    )


def add_look(parser: argparse.ArgumentParser) -> None:
    """Describe how pictures are cut and shown, which every system here shares."""
    parser.add_argument(
        "--crop",
        choices=("eamm", "none"),
        default="eamm",
        help="cut the portrait around its face, or take its largest centred square as it is",
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--paste", action="store_true", help="put the result back into the whole portrait"
    )
    shown.add_argument(
        "--size",
        type=int,
        metavar="N",
        help="pixels a side of the written crop, such as those of a truth; default: as it is drawn",
    )
    parser.add_argument(
        "--beside", action="store_true", help="also write OUT_beside.mp4: inputs and results"
    )
    parser.add_argument(
        "--detector", choices=("mediapipe", "face_alignment"), default="mediapipe", help="of faces"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--precision", choices=tp.get_args(Precision), default="float32", help="of the drawing"
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that draw, 1 GB each at 256 px; CPU only"
    )
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile: for long videos on CUDA"
    )


def look_of(args: argparse.Namespace) -> Look:
    """Return how pictures are cut and shown.

    Raises:
        ValueError: no worker, or a size that no video can have.
    """
    if args.size is not None and (args.size < 2 or args.size % 2):
        raise ValueError(f"--size is {args.size}, wanted an even number of pixels")
    drawing = Drawing(args.precision, args.workers, args.compile)
    shown = args.crop, args.paste, args.size, args.beside
    return Look(*shown, args.detector, args.device, drawing)
