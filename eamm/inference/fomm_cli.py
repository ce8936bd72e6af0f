"""The command line of `generate.py fomm`."""

import argparse
import typing as tp
from pathlib import Path

from affekt.media.faces.portrait import Framing
from affekt.media.faces.portrait_options import add_portrait_options, portrait_options
from affekt.runtime.manifest import Column
from eamm.fomm.animate import AnimatorOptions
from eamm.fomm.fast.fast import Precision
from eamm.inference.fomm_pipeline import FommJob, FommPipeline, RenderOptions

USAGE = """generate.py fomm --fomm RUN --source PORTRAIT --driving VIDEO --out OUT.mp4 [options]
       generate.py fomm --fomm RUN --manifest CSV --out FOLDER [options]"""
DESCRIPTION = """A portrait moves as the head in a video does (re-enactment by FOMM).

    python generate.py fomm --fomm runs/demo/eamm/fomm --source portrait.png \\
        --driving head.mp4 --relative --adapt-scale --best-frame --out moved.mp4

Without --relative the portrait takes the very place of the driving face, so both should be as large
and held alike. The video has 25 frames a second and the driving video's sound.

A manifest's columns are clip_id, source and pose (the driving video); see generate.py --help.
"""
COLUMNS: tuple[Column, ...] = (Column("source"), Column("pose", option="driving"))
SINGLE: tuple[str, ...] = ("comparison",)  # options that --manifest does not go with
open_pipeline = FommPipeline.for_jobs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `generate.py fomm`."""
    add = parser.add_argument
    add("--fomm", type=Path, required=True, help="a run of train_fomm.py, or imported weights")
    add("--source", type=Path, help="a portrait; any picture file")
    add("--driving", type=Path, help="the video whose motion is taken")
    add("--out", type=Path, required=True, help="the .mp4 to write; with --manifest, a folder")

    # Motion transfer
    text = "move the portrait's own keypoints as the driving ones move from where they start"
    add("--relative", action="store_true", help=text)
    text = "with --relative: movements in sizes of the faces, not in pixels"
    add("--adapt-scale", action="store_true", help=text)
    text = "with --relative: start from the driving frame most like the portrait, not the first"
    add("--best-frame", action="store_true", help=text)
    add_render_options(parser)
    text = "cut the driving video around its first face, or take its largest centred square"
    add("--driving-crop", choices=tp.get_args(Framing), default="eamm", help=text)


def job_of(args: argparse.Namespace) -> FommJob:
    """Return the job that the options describe."""
    return FommJob(
        fomm=args.fomm,
        source=args.source,
        driving=args.driving,
        out=args.out,
        relative=args.relative,
        adapt_scale=args.adapt_scale,
        best_frame=args.best_frame,
        driving_crop=args.driving_crop,
        options=render_options(args),
    )


def add_render_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how pictures are cut, rendered and written, which FOMM and EAMM share."""
    add_portrait_options(parser)
    add = parser.add_argument
    text = "of the rendering; bfloat16 is for a GPU, or a CPU with AMX or AVX-512's bf16"
    add("--precision", choices=tp.get_args(Precision), default="float32", help=text)
    text = "rendering processes, 1 GB each at 256 px; CPU only"
    add("--workers", type=int, default=1, help=text)


def render_options(args: argparse.Namespace) -> RenderOptions:
    """Return how pictures are cut, rendered and written.

    Raises:
        ValueError: no worker, or a size that no video can have.
    """
    return RenderOptions(
        **portrait_options(args), animator=AnimatorOptions(args.precision, args.workers)
    )
