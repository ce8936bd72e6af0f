"""The command line of `generate.py emospace`."""

import argparse
from dataclasses import replace
from pathlib import Path

from affekt.media.faces.portrait_options import (
    PortraitOptions,
    add_portrait_options,
    portrait_options,
)
from affekt.runtime.manifest import Column
from emospace.inference.emotion import Emotion
from emospace.inference.pipeline import EmospaceJob, EmospacePipeline, EmospaceRuns

USAGE = """generate.py emospace --run RUN --source PORTRAIT --audio AUDIO --out OUT.mp4
           [--emotion-text TEXT | --emotion-image FILE | --emotion-audio FILE |
            --emotion-blend A:B:w | --emotion-track CSV] [options]
       generate.py emospace --run RUN --manifest CSV --out FOLDER [options]"""
DESCRIPTION = """A portrait talks with your audio, in an emotion of words, a face or a voice.

    python generate.py emospace --run runs/demo/emospace --source portrait.png \\
        --audio speech.wav --emotion-text "a slightly furious man" --out furious.mp4
    python generate.py emospace --run runs/demo/emospace --source portrait.png \\
        --audio speech.wav --emotion-blend sad:smiling.png:0.3 --pose head.mp4 --out blend.mp4

RUN holds the runs emotion_space/, expression/ and renderer/ and face_model.npz, as demo.py lays
them out; each can be named on its own. Without a source of emotion the face is neutral. An adverb
in a text (slightly, very, extremely ...) sets the intensity; --intensity overrides it. A text far
from every known word is warned about, and the nearest is named. The video has 25 frames a second
and the audio; nothing is random: the same files give the same video.

A manifest's columns are clip_id, source, audio, pose, one of emotion_text, emotion_image,
emotion_audio, emotion_blend and emotion_track, and intensity; see generate.py --help.
"""
SOURCES = ("text", "image", "audio", "blend", "track")
FILES = ("image", "audio", "track")


def _column(source: str) -> Column:
    """Return the column of a source; its cell replaces other sources of the command line."""
    others = tuple(f"emotion_{other}" for other in SOURCES if other != source)
    name = f"emotion_{source}"
    return Column(name, needed=False, is_file=source in FILES, instead_of=others)


COLUMNS: tuple[Column, ...] = (
    Column("source"),
    Column("audio"),
    Column("pose", needed=False, words=("still",)),
    *map(_column, SOURCES),
    Column("intensity", needed=False, is_file=False),
)
SINGLE: tuple[str, ...] = ("comparison",)  # options that --manifest does not go with
open_pipeline = EmospacePipeline.for_jobs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `generate.py emospace`."""
    add = parser.add_argument
    add("--run", type=Path, default=Path("runs/emospace"), help="folder of the trained networks")
    add("--source", type=Path, help="a portrait; any picture file")
    add("--audio", type=Path, help="the speech; any audio file")
    add("--out", type=Path, required=True, help="the .mp4 to write; with --manifest, a folder")
    _add_emotion(parser)
    text = """the head moves from the portrait's pose as in this video, or as in a .npy file of a
        prepared clip's poses; still: as the portrait is held (write ./still for such a file)"""
    add("--pose", default="still", metavar="VIDEO|FILE|still", help=text)
    text = """share of the frame before in flow and masks, 0 to below 1: steadier frames that come
        later; 0 draws every frame on its own, as the paper does"""
    add("--history", type=float, default=0.0, help=text)
    add_portrait_options(parser)
    for part in ("emotion-space", "expression", "renderer"):
        add(f"--{part}", type=Path, help=f"default: RUN/{part.replace('-', '_')}")
    add("--face-model", type=Path, help="default: RUN/face_model.npz")


def _add_emotion(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group().add_argument
    source("--emotion-text", metavar="TEXT", help='words, such as "a very happy woman"')
    text = "the emotion of this face, a picture or a video"
    source("--emotion-image", type=Path, metavar="FILE", help=text)
    source("--emotion-audio", type=Path, metavar="FILE", help="the emotion of this voice")
    text = "(1 - w) A + w B of two texts or files, such as sad:happy:0.3"
    source("--emotion-blend", metavar="A:B:w", help=text)
    text = "a schedule over time, .csv: time in seconds, and a column of weights for each text"
    source("--emotion-track", type=Path, metavar="CSV", help=text)
    text = (
        "of the emotion, 0 to 3: 0 none, 1 as MEAD's level 3; default: by the text's adverb, or 1"
    )
    parser.add_argument("--intensity", metavar="X", help=text)
    text = "1: as predicted; more exaggerates the emotion, 0 leaves it out"
    parser.add_argument("--guidance", type=float, default=1.0, metavar="G", help=text)


def job_of(args: argparse.Namespace) -> EmospaceJob:
    """Return the job that the options describe.

    Raises:
        ValueError: the emotion comes from more than one place, or a number is out of range.
    """
    # Runs in one folder, unless named on their own
    runs = EmospaceRuns.in_folder(args.run)
    named = {field: getattr(args, field) for field in vars(runs) if getattr(args, field)}
    if not 0 <= args.guidance <= 10:
        raise ValueError(f"--guidance is {args.guidance}, wanted 0 to 10")
    sources = {source: getattr(args, f"emotion_{source}") for source in SOURCES}
    return EmospaceJob(
        runs=replace(runs, **named),
        source=args.source,
        audio=args.audio,
        out=args.out,
        emotion=Emotion(**sources, intensity=_intensity(args.intensity)),
        guidance=args.guidance,
        pose=None if args.pose == "still" else Path(args.pose),
        history=args.history,
        options=PortraitOptions(**portrait_options(args)),
    )


def _intensity(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--intensity is {text!r}, wanted a number from 0 to 3") from None
