"""The command line of `generate.py evp`."""

import argparse
import typing as tp
from dataclasses import replace
from pathlib import Path

from affekt.media.faces.detector import DetectorDevice, DetectorName
from affekt.runtime.command import add_device
from affekt.runtime.manifest import Column
from evp.inference.landmarks import Emotion
from evp.inference.pipeline import EvpJob, EvpPipeline, EvpRuns
from evp.inference.portrait import Alignment, Paste
from evp.inference.postprocess import THRESHOLDS, Eyes, Measure, PauseRule, PostprocessOptions

USAGE = """generate.py evp --run RUN --audio AUDIO --target TARGET --out OUT.mp4 [options]
       generate.py evp --run RUN --manifest CSV --out FOLDER [options]"""
DESCRIPTION = """A person of the training set talks with your audio in any emotion.

    python generate.py evp --run runs/demo --audio speech.wav --target head.mp4 \\
        --emotion happy --out happy.mp4
    python generate.py evp --run runs/demo --audio speech.wav --target head.mp4 \\
        --emotion sad --intensity 0.5 --eyes target --silence close --smooth --out calm.mp4

RUN holds the runs audio2lm/ (with its emotion codes) and edge2video/ and face_model.npz, as
demo.py lays them out; each can be named on its own. Without an --emotion option the emotion is
that of the driving audio. Frames of the target are repeated forwards and backwards where the audio
is longer.

A manifest's columns are clip_id, audio, target, one of emotion (a label), emotion_audio,
emotion_blend and emotion_track, and intensity; see generate.py --help.
"""
SINGLE: tuple[str, ...] = ("landmarks",)  # options that --manifest does not go with
open_pipeline = EvpPipeline.for_jobs

SOURCES = ("emotion", "emotion_audio", "emotion_blend", "emotion_track", "face")


def _column(name: str, is_file: bool) -> Column:
    """Return the column of a source; its cell replaces other sources of the command line."""
    others = tuple(source for source in SOURCES if source != name)
    return Column(name, needed=False, is_file=is_file, instead_of=others)


EMOTION_COLUMNS = (  # of a manifest; a row has a cell in one of the first four at most
    _column("emotion", is_file=False),
    _column("emotion_audio", is_file=True),
    _column("emotion_blend", is_file=False),
    _column("emotion_track", is_file=True),
    Column("intensity", needed=False, is_file=False),
)
COLUMNS: tuple[Column, ...] = (Column("audio"), Column("target"), *EMOTION_COLUMNS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `generate.py evp`."""
    add = parser.add_argument
    add("--run", type=Path, required=True, help="folder of the trained networks")
    add("--audio", type=Path, help="the speech; any audio file")
    add("--target", type=Path, help="a video of the person")
    add("--out", type=Path, required=True, help="the .mp4 to write; with --manifest, a folder")
    _add_emotion(parser)
    _add_postprocess(parser)
    _add_rendering(parser)
    _add_networks(parser)


def job_of(args: argparse.Namespace) -> EvpJob:
    """Return the job that the options describe.

    Raises:
        ValueError: the emotion comes from more than one place, or options do not go together.
    """
    # Runs in one folder, unless named on their own
    runs = EvpRuns.in_folder(args.run)
    named = {field: getattr(args, field) for field in vars(runs) if getattr(args, field)}
    return EvpJob(
        runs=replace(runs, **named),
        audio=args.audio,
        target=args.target,
        out=args.out,
        emotion=_emotion_of(args),
        face=args.face,
        pauses=_pauses_of(args),
        alignment=args.alignment,
        postprocess=PostprocessOptions(args.smooth, args.eyes),
        crop=args.crop,
        frame=args.frame,
        paste=args.paste,
        landmarks=args.landmarks,
        detector=args.detector,
        detector_device=args.detector_device,
    )


def _pauses_of(args: argparse.Namespace) -> PauseRule | None:
    if args.silence == "keep":
        if args.silence_by is not None or args.silence_threshold is not None:
            raise ValueError("--silence-by and --silence-threshold need --silence close")
        return None
    if args.face is not None:
        raise ValueError(
            "--silence close depends on the audio, --face on a video: give one of them"
        )
    measure: Measure = "sum" if args.silence_by is None else args.silence_by
    threshold = args.silence_threshold
    return PauseRule(measure, THRESHOLDS[measure] if threshold is None else threshold)


def _add_emotion(parser: argparse.ArgumentParser) -> None:
    """Add the sources of emotion, of which at most one can be given."""
    source = parser.add_mutually_exclusive_group().add_argument
    source("--emotion", help="the mean code of a label, such as happy")
    source("--emotion-audio", type=Path, help="the emotion of this recording")
    source("--emotion-blend", metavar="a:b:w", help="(1 - w) a + w b, such as sad:happy:0.3")
    text = "a schedule over time, .csv (columns time, in seconds, and labels)"
    source("--emotion-track", type=Path, metavar="FILE", help=text)
    text = "the face moves as in this video of the person, not by the audio"
    source("--face", type=Path, metavar="VIDEO", help=text)
    text = "of the emotion, wherever it comes from: 0 neutral to 1 as it is (the default)"
    parser.add_argument("--intensity", default="1", metavar="W", help=text)


def _emotion_of(args: argparse.Namespace) -> Emotion:
    """Return the emotion that is wanted.

    Raises:
        ValueError: it comes from more than one place, an intensity outside 0 to 1, or one for a
            face that is filmed.
    """
    intensity = _number(args.intensity)
    if args.face is not None and intensity != 1:
        raise ValueError("--intensity does not go with --face: a filmed face is taken as it is")
    return Emotion(
        args.emotion, args.emotion_audio, args.emotion_blend, args.emotion_track, intensity
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"the intensity is {text!r}, wanted a number from 0 to 1") from None


def _add_postprocess(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = "close the mouth in pauses of 0.8 s and more, or keep it as predicted"
    add("--silence", choices=("keep", "close"), default="keep", help=text)
    text = """what makes a frame silent: the sum of its samples, as in the release, which finds
        digital silence alone, or the audio's level, for recordings; default: sum"""
    add("--silence-by", choices=tp.get_args(Measure), help=text)
    text = f"""up to where a frame is silent; sum: of full scale 1 (default: {THRESHOLDS["sum"]});
        level: dB below loud speech (default: {THRESHOLDS["level"]:g})"""
    add("--silence-threshold", type=float, metavar="X", help=text)
    text = "as predicted, or open and blinking as the target's in each frame"
    add("--eyes", choices=tp.get_args(Eyes), default="predicted", help=text)
    text = "smooth the face in the target's frames over time (One-Euro filter)"
    add("--smooth", action="store_true", help=text)


def _add_rendering(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = """how the face follows the target's head: in 3D with all its detail, by eq. 8 as printed
        (the fitted face alone), or not at all (the paper's Fig. 7); default: 3d"""
    add("--alignment", choices=tp.get_args(Alignment), default="3d", help=text)
    text = """cut the target around its face, or take its largest centred square as it is, for a
        target that is a crop already; --frame crop writes a picture of its size then"""
    add("--crop", choices=("portrait", "none"), default="portrait", help=text)
    text = "paste into the target's full frame, or write the generated crop alone"
    add("--frame", choices=("full", "crop"), default="full", help=text)
    text = "which part of the generated crop replaces the target's pixels in the full frame"
    add("--paste", choices=tp.get_args(Paste), default="face", help=text)
    add("--landmarks", type=Path, metavar="FILE.mp4", help="also write the predicted landmarks")


def _add_networks(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = "of landmarks; take the one that the training corpus was prepared with"
    add("--detector", choices=tp.get_args(DetectorName), default="mediapipe", help=text)
    text = "of face_alignment (default: --device); mediapipe runs on the CPU"
    add("--detector-device", choices=tp.get_args(DetectorDevice), help=text)
    add("--speaker", default="", help="whose neutral face; default: the renderer's")
    add("--audio2lm", type=Path, help="default: RUN/audio2lm")
    add("--edge2video", type=Path, help="default: RUN/edge2video")
    text = """a run of edge2video with generator.previous=0, which renders the initial history of a
        temporal one; default: the target's own frames"""
    add("--image-generator", type=Path, metavar="RUN", help=text)
    add("--face-model", type=Path, help="default: RUN/face_model.npz")
    add_device(parser)
