"""The command line of `generate.py eamm`."""

import argparse
import math
import typing as tp
from dataclasses import replace
from pathlib import Path

from affekt.runtime.manifest import Column
from eamm.a2fd.network import AUDIO_GAIN
from eamm.inference.emotion import EmotionSource, Loop, blend_files
from eamm.inference.fomm_cli import add_render_options, render_options
from eamm.inference.keypoints import EammRuns, Part
from eamm.inference.pipeline import EammJob, EammPipeline, PoseSource
from eamm.pose import Square

USAGE = """generate.py eamm --run RUN --source PORTRAIT --audio AUDIO --pose VIDEO|FILE|still \\
           --emotion VIDEO|IMAGE|none --out OUT.mp4 [options]
       generate.py eamm --run RUN --manifest CSV --out FOLDER [options]"""
DESCRIPTION = """A portrait talks with your audio, one source's head pose and another's emotion.

    python generate.py eamm --run runs/demo/eamm --source portrait.png --audio speech.wav \\
        --pose head.mp4 --emotion happy.mp4 --out happy.mp4
    python generate.py eamm --run runs/demo/eamm --source portrait.png --audio speech.wav \\
        --pose still --emotion-blend sad.mp4:happy.mp4:0.3 --comparison --out blend.mp4

RUN holds the runs fomm/, a2fd/ and displacement/ and face_model.npz, as demo.py lays them out; each
can be named on its own, and may be a folder that python -m eamm.released.importer wrote. Written
are OUT.mp4 and, where there is an emotion, OUT_neutral.mp4 without it: 25 frames a second, with the
audio. Poses shorter than the audio run forwards and backwards; an emotion source starts again
(--emotion-loop). The mouth of an emotion source is hidden, and nothing is random: the same files
give the same video.

A manifest's columns are clip_id, source, audio, pose and emotion; see generate.py --help. Only
<clip_id>.mp4 is written then, with the emotion where there is one.
"""
COLUMNS: tuple[Column, ...] = (
    Column("source"),
    Column("audio"),
    Column("pose", needed=False, words=("still",)),
    Column("emotion", needed=False, words=("none",), instead_of=("emotion_blend",)),
)
SINGLE: tuple[str, ...] = ("comparison",)  # options that --manifest does not go with
open_pipeline = EammPipeline.for_jobs
PARTS: tuple[Part, ...] = tp.get_args(Part)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `generate.py eamm`."""
    add = parser.add_argument
    add("--run", type=Path, default=Path("runs/eamm"), help="folder of the trained networks")
    add("--source", type=Path, help="a portrait; any picture file")
    add("--audio", type=Path, help="the speech; any audio file")
    add("--out", type=Path, required=True, help="the .mp4 to write; with --manifest, a folder")
    _add_pose(parser)
    _add_emotion(parser)
    _add_motion(parser)
    add_render_options(parser)
    for part in ("fomm", "a2fd", "displacement"):
        add(f"--{part}", type=Path, help=f"default: RUN/{part}")
    add("--face-model", type=Path, help="for measuring poses; default: RUN/face_model.npz")


def job_of(args: argparse.Namespace) -> EammJob:
    """Return the job that the options describe.

    Raises:
        ValueError: a blend that is not A:B:w, an intensity below 0, an unknown part to smooth.
    """
    # Runs in one folder, unless named on their own
    runs = EammRuns.in_folder(args.run)
    named = {field: getattr(args, field) for field in vars(runs) if getattr(args, field)}
    if not math.isfinite(args.audio_gain):
        raise ValueError(f"--audio-gain is {args.audio_gain}, wanted a number")
    still = args.pose == "still"
    return EammJob(
        runs=replace(runs, **named),
        source=args.source,
        audio=args.audio,
        pose=PoseSource(None if still else Path(args.pose), args.pose_relative, args.pose_square),
        emotion=_emotion(args),
        out=args.out,
        audio_gain=args.audio_gain,
        smooth=_parts(args.smooth),
        relative=args.relative,
        neutral=args.manifest is None,
        options=render_options(args),
    )


def _add_pose(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = """the head moves as in this video or picture, or as in a .npy file of the release's
        convention, (N, 6 or 7); still: as the portrait is held (write ./still for such a file)"""
    add("--pose", default="still", metavar="VIDEO|FILE|still", help=text)
    text = "start from the portrait's own pose and change it as the pose source changes"
    add("--pose-relative", action="store_true", help=text)
    text = "what a measured pose's place and scale refer to; see eamm/pose.py"
    add("--pose-square", choices=tp.get_args(Square), default="clip", help=text)


def _add_emotion(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group().add_argument
    text = "the face shows the emotion of this face; none: the audio and the pose alone"
    source("--emotion", default="none", metavar="VIDEO|IMAGE|none", help=text)
    text = """(1 - w) A + w B of two emotion sources, such as sad.mp4:happy.mp4:0.3; file names may
        hold colons"""
    source("--emotion-blend", metavar="A:B:w", help=text)
    text = "of the displacement: 0 none, 1 as predicted, 2 twice"
    add("--intensity", type=float, default=1.0, help=text)
    text = "how an emotion source shorter than the audio is repeated; restart: the release's"
    add("--emotion-loop", choices=tp.get_args(Loop), default="restart", help=text)
    text = "put every frame's face on the template, as the release does, or the first's alone"
    add("--emotion-align", choices=("frame", "clip"), default="frame", help=text)


def _add_motion(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = f"""what is smoothed over time, of {",".join(PARTS)}: the release smooths all three,
        which steadies its keypoints and delays the lips"""
    add("--smooth", default="none", metavar="PARTS", help=text)
    text = """move the portrait's own keypoints as A2FD's move from silence, instead of taking
        A2FD's as they are: keeps the shape of faces that differ from A2FD's training faces"""
    add("--relative", action="store_true", help=text)
    text = f"the audio feature is multiplied by it; with the released weights take {AUDIO_GAIN}"
    add("--audio-gain", type=float, default=1.0, help=text)


def _emotion(args: argparse.Namespace) -> EmotionSource:
    if not 0 <= args.intensity < float("inf"):
        raise ValueError(f"--intensity is {args.intensity}, wanted 0 or more")
    paths: tuple[Path, ...] = () if args.emotion == "none" else (Path(args.emotion),)
    weight = 0.0
    if args.emotion_blend is not None:
        paths, weight = blend_files(args.emotion_blend)
    return EmotionSource(paths, weight, args.intensity, args.emotion_loop, args.emotion_align)


def _parts(text: str) -> frozenset[Part]:
    names = [] if text == "none" else [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise ValueError(
            f"--smooth: unknown part {unknown[0]!r}; known: {', '.join(PARTS)}, or none"
        )
    return frozenset(part for part in PARTS if part in names)
