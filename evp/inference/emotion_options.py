"""The options of `generate.py evp` that say which emotion a video has, and a manifest's columns."""

import argparse
from pathlib import Path

from affekt.runtime.manifest import Column
from evp.inference.landmarks import Emotion

SOURCES = ("emotion", "emotion_audio", "emotion_blend", "emotion_track", "face")


def _column(name: str, is_file: bool) -> Column:
    """Return the column of a source; its cell sets aside what the command line says of others."""
    others = tuple(source for source in SOURCES if source != name)
    return Column(name, needed=False, is_file=is_file, instead_of=others)


COLUMNS = (  # of a manifest; a row has a cell in one of the first four at most
    _column("emotion", is_file=False),
    _column("emotion_audio", is_file=True),
    _column("emotion_blend", is_file=False),
    _column("emotion_track", is_file=True),
    Column("intensity", needed=False, is_file=False),
)


def add_emotion(parser: argparse.ArgumentParser) -> None:
    """Describe the options; at most one source of the emotion can be given."""
    emotion = parser.add_mutually_exclusive_group()
    emotion.add_argument("--emotion", help="the mean code of a label, such as happy")
    emotion.add_argument("--emotion-audio", type=Path, help="the emotion of this sound")
    emotion.add_argument(
        "--emotion-blend", metavar="a:b:w", help="(1 - w) a + w b, such as sad:happy:0.3"
    )
    emotion.add_argument(
        "--emotion-track",
        type=Path,
        metavar="FILE",
        help="a schedule over time, .json or .csv (columns time, in seconds, and labels)",
    )
    emotion.add_argument(
        "--face",
        type=Path,
        metavar="VIDEO",
        help="the face moves as in this video of the person, not as the sound says",
    )
    parser.add_argument(
        "--intensity",
        default="1",
        metavar="W",
        help="of the emotion, wherever it comes from: 0 neutral to 1 as it is (the default)",
    )


def emotion_of(args: argparse.Namespace) -> Emotion:
    """Return the emotion that is wanted.

    Raises:
        ValueError: it comes from more than one place, an intensity outside 0 to 1, or one for a
            face that is filmed.
    """
    intensity = _number(args.intensity)
    if args.face is not None and intensity != 1:
        raise ValueError("--intensity does not go with --face: a filmed face is shown as it is")
    return Emotion(
        args.emotion, args.emotion_audio, args.emotion_blend, args.emotion_track, intensity
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"the intensity is {text!r}, wanted a number from 0 to 1") from None
