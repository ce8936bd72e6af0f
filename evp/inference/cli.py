"""The command line of `generate.py evp`."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from affekt.media.faces.detector import DetectorName
from affekt.runtime.manifest import Column
from evp.inference.emotion_options import COLUMNS as EMOTION_COLUMNS
from evp.inference.emotion_options import add_emotion, emotion_of
from evp.inference.landmarks import Emotion
from evp.inference.portrait import Alignment, Paste
from evp.inference.postprocess import Retouch
from evp.inference.silence import THRESHOLDS, Measure, PauseRule

HELP = "one person says your sound in any emotion"
USAGE = """generate.py evp --run RUN --audio AUDIO --target TARGET --out OUT.mp4 [options]
       generate.py evp --run RUN --manifest CSV --out FOLDER [options]"""
DESCRIPTION = """One person says your sound in your emotion, in a video of that person.

    python generate.py evp --run runs/demo --audio speech.wav --target head.mp4 \\
        --emotion happy --out happy.mp4
    python generate.py evp --run runs/demo --audio speech.wav --target head.mp4 \\
        --emotion sad --intensity 0.5 --eyes target --silence close --smooth --out calm.mp4

RUN holds the runs audio2lm/ (with its emotion codes) and edge2video/ and face_model.npz, as
demo.py lays them out; each can be named on its own. Without an --emotion option the emotion is
that of the driving sound. Frames of the target are repeated to and fro where the sound is longer.

A manifest's columns are clip_id, audio, target, one of emotion (a label), emotion_audio,
emotion_blend and emotion_track, and intensity; see generate.py --help.
"""
COLUMNS = (Column("audio"), Column("target"), *EMOTION_COLUMNS)
SINGLE = ("landmarks",)  # options that --manifest does not go with


@dataclass(frozen=True)
class EvpRuns:
    """Where the trained parts are, and what they run on."""

    audio2lm: Path
    edge2video: Path
    face_model: Path
    device: str = "auto"
    speaker: str = ""  # whose neutral face; none: the renderer's
    first_frames: Path | None = None  # a renderer for the frames before the first; none: real ones


@dataclass(frozen=True)
class EvpJob:
    """One video to make."""

    runs: EvpRuns
    audio: Path
    target: Path
    out: Path
    emotion: Emotion
    face: Path | None  # a video of the person whose face moves this way, instead of the sound
    pauses: PauseRule | None  # where the mouth closes; none: it stays as predicted
    alignment: Alignment
    retouch: Retouch
    frame: Literal["full", "crop"]  # the target's frame, or the generator's picture alone
    paste: Paste
    landmarks: Path | None  # a preview of the predicted landmarks goes there
    detector: DetectorName  # the one that the corpus was prepared with


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    _add_inputs(parser)
    add_emotion(parser)
    _add_retouch(parser)
    _add_look(parser)
    _add_parts(parser)


def job_of(args: argparse.Namespace) -> EvpJob:
    """Return what is wanted.

    Raises:
        ValueError: the emotion comes from more than one place, or options do not go together.
    """
    runs = EvpRuns(
        args.audio2lm or args.run / "audio2lm",
        args.edge2video or args.run / "edge2video",
        args.face_model or args.run / "face_model.npz",
        args.device,
        args.speaker,
        args.first_frames,
    )
    return EvpJob(
        runs=runs,
        audio=args.audio,
        target=args.target,
        out=args.out,
        emotion=emotion_of(args),
        face=args.face,
        pauses=_pauses_of(args),
        alignment=args.alignment,
        retouch=Retouch(args.smooth, args.eyes),
        frame=args.frame,
        paste=args.paste,
        landmarks=args.landmarks,
        detector=args.detector,
    )


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="folder of the trained parts")
    parser.add_argument("--audio", type=Path, help="what is said; any sound file")
    parser.add_argument("--target", type=Path, help="a video of the person")
    parser.add_argument(
        "--out", type=Path, required=True, help="the .mp4 file to write; with --manifest, a folder"
    )


def _pauses_of(args: argparse.Namespace) -> PauseRule | None:
    if args.silence == "keep":
        if args.silence_by is not None or args.silence_threshold is not None:
            raise ValueError("--silence-by and --silence-threshold need --silence close")
        return None
    if args.face is not None:
        raise ValueError("--silence close goes by the sound, --face by a video: take one of them")
    measure: Measure = "sum" if args.silence_by is None else args.silence_by
    threshold = args.silence_threshold
    return PauseRule(measure, THRESHOLDS[measure] if threshold is None else threshold)


def _add_retouch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--silence",
        choices=("keep", "close"),
        default="keep",
        help="close the mouth in pauses of 0.8 s and more, or keep it as predicted",
    )
    parser.add_argument(
        "--silence-by",
        choices=("sum", "level"),
        help="what makes a frame silent: the sum of its samples, as in the release, which finds "
        "digital silence alone, or the sound's level, for recordings; default: sum",
    )
    parser.add_argument(
        "--silence-threshold",
        type=float,
        metavar="X",
        help="up to where a frame is silent; sum: of full scale 1 (default: "
        f"{THRESHOLDS['sum']}); level: dB below loud speech (default: {THRESHOLDS['level']:g})",
    )
    parser.add_argument(
        "--eyes",
        choices=("predicted", "target"),
        default="predicted",
        help="as predicted, or open and blinking as the target's in each frame",
    )
    parser.add_argument(
        "--smooth",
        action="store_true",
        help="smooth the face in the target's frames over time (One-Euro filter)",
    )


def _add_look(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--alignment",
        choices=("3d", "none"),
        default="3d",
        help="follow the target's head in 3D, or not at all (the paper's Fig. 7)",
    )
    parser.add_argument(
        "--frame",
        choices=("full", "crop"),
        default="full",
        help="paste into the target's full frame, or write the generated crop alone",
    )
    parser.add_argument(
        "--paste",
        choices=("face", "crop"),
        default="face",
        help="what of the generated crop replaces the target's pixels in the full frame",
    )
    parser.add_argument(
        "--landmarks", type=Path, metavar="FILE.mp4", help="also write the predicted landmarks"
    )


def _add_parts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--detector",
        choices=("mediapipe", "face_alignment"),
        default="mediapipe",
        help="of landmarks; take the one that the training corpus was prepared with",
    )
    parser.add_argument("--speaker", default="", help="whose neutral face; default: the renderer's")
    parser.add_argument("--audio2lm", type=Path, help="default: RUN/audio2lm")
    parser.add_argument("--edge2video", type=Path, help="default: RUN/edge2video")
    parser.add_argument(
        "--first-frames",
        type=Path,
        metavar="RUN",
        help="a run of edge2video with generator.previous=0, which draws the frames that a "
        "temporal one sees before its first; default: the target's own",
    )
    parser.add_argument("--face-model", type=Path, help="default: RUN/face_model.npz")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="of the renderer"
    )
