"""The options of `generate.py evp` that say where the emotion comes from."""

import argparse
from pathlib import Path

from evp.drive import Emotion
from runtime.manifest import Column

COLUMNS = (
    Column(
        "emotion",
        needed=False,
        is_file=False,
        instead_of=("emotion_audio", "emotion_blend", "face"),
    ),
)  # of a manifest


def add_emotion(parser: argparse.ArgumentParser) -> None:
    """Describe the options; at most one of them can be given."""
    emotion = parser.add_mutually_exclusive_group()
    emotion.add_argument("--emotion", help="the mean code of a label, such as happy")
    emotion.add_argument("--emotion-audio", type=Path, help="the emotion of this sound")
    emotion.add_argument(
        "--emotion-blend", metavar="a:b:w", help="(1 - w) a + w b, such as sad:happy:0.3"
    )
    emotion.add_argument(
        "--face",
        type=Path,
        metavar="VIDEO",
        help="the face moves as in this video of the person, not as the sound says",
    )


def emotion_of(args: argparse.Namespace) -> Emotion:
    """Return the emotion that is wanted.

    Raises:
        ValueError: it comes from more than one place.
    """
    return Emotion(args.emotion, args.emotion_audio, args.emotion_blend)
