"""Make EAMM's videos: reenactment, speech, emotion from another person, one sound in all emotions.

    python -m affekt.showcase.eamm_videos runs/demo/eamm --corpus data/mini_eamm

Everything shows people that no stage learned from. Writes RUNS/media/, which the demos' report
embeds. RUNS holds fomm/, a2fd/ and displacement/.
"""

import typing as tp
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from affekt.arrays import Image
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.plots import beside, write_png
from affekt.media.video.tensors import to_tensor
from affekt.media.video.video import write_video
from affekt.runtime.command import CommandParser
from eamm.a2fd.network import load_a2fd
from eamm.a2fd.teacher import teacher_keypoints
from eamm.displacement.data import read_frames
from eamm.displacement.figures import render_clip
from eamm.displacement.network import load_displacement
from eamm.displacement.validation import (
    HeldOutEmotions,
    Prepared,
    held_out_pairs,
    prepare,
    with_emotion,
)
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import load_fomm

TEST = "test_speaker"
TILE = 224  # pixels a side of a picture in a row
EMOTIONS = ("angry", "happy", "sad", "surprised")


@dataclass
class Studio:
    """The trained networks, and the people that they have not seen."""

    runs: Path
    corpus: Corpus

    def __post_init__(self) -> None:
        self.fomm = load_fomm(self.runs / "fomm")
        self.a2fd = load_a2fd(self.runs / "a2fd")
        self.model, self.description = load_displacement(self.runs / "displacement")
        self.pairs = held_out_pairs(self.corpus, HeldOutEmotions(clips=10_000))
        self.media = self.runs / "media"

    def frames(self, clip: Clip) -> Image:
        """Return a clip's frames at the networks' size, (T, S, S, 3)."""
        return read_frames(clip, 0, clip.frames, self.fomm.config.size)

    def rendered(self, made: Prepared, keypoints: Keypoints) -> Image:
        """Return the picture of a prepared pair as the keypoints want it."""
        return render_clip(self.fomm, made.picture, keypoints)

    def prepared(self, emotion: str, speaker: str) -> Prepared:
        """Return the speaker's first clip of an emotion, ready to be made."""
        fitting = (p for p in self.pairs if (p.clip.emotion, p.clip.speaker) == (emotion, speaker))
        return prepare(self.fomm, self.a2fd, next(fitting))


def reenactment(studio: Studio) -> None:
    """Write reenactment.mp4: a portrait follows another person's head; keypoints as they are."""
    speakers = sorted({clip.speaker for clip in studio.corpus.clips(TEST)})
    lively = [c for c in studio.corpus.clips(TEST, speakers[0]) if c.id.endswith("lively")]
    calm = studio.corpus.clips(TEST, speakers[1], NEUTRAL)
    driving = studio.frames(lively[0])
    portrait = studio.frames(calm[0])[:1]
    keypoints, _ = teacher_keypoints(studio.fomm, driving)
    result = render_clip(studio.fomm, to_tensor(portrait), keypoints)
    columns = (np.repeat(portrait, len(driving), axis=0), driving, result)
    write_row(studio.media / "reenactment.mp4", columns, ("portrait", "driving", "result"))


def speech_and_emotion(studio: Studio) -> None:
    """Write speech.mp4: truth, A2FD alone, with the emotion of another person, and that person."""
    speaker = studio.pairs[0].clip.speaker
    made = studio.prepared("surprised", speaker)
    columns = (
        made.source,
        studio.rendered(made, made.neutral),
        studio.rendered(made, with_emotion(studio.model, studio.description, made)),
        studio.frames(made.pair.clip),
    )
    names = ("emotion source", "sound and pose alone", "with emotion", "truth")
    write_row(studio.media / "speech.mp4", columns, names, made.pair.clip)


def emotions(studio: Studio) -> None:
    """Write emotions.mp4 and emotions.png: one sound and one portrait under several emotions."""
    speaker = studio.pairs[-1].clip.speaker
    spoken = studio.prepared(EMOTIONS[0], speaker)
    columns = [studio.rendered(spoken, spoken.neutral)]
    T = len(columns[0])
    for emotion in tqdm(EMOTIONS, "emotions"):
        source = studio.prepared(emotion, speaker).source
        looped = spoken._replace(source=source[np.arange(T) % len(source)])
        moved = with_emotion(studio.model, studio.description, looped)
        columns.append(studio.rendered(spoken, moved))
    names = ("none", *EMOTIONS)
    frames = write_row(studio.media / "emotions.mp4", columns, names, spoken.pair.clip)
    write_png(studio.media / "emotions.png", frames[T // 2])


def write_row(
    path: Path, columns: Sequence[Image], names: Sequence[str], heard: Clip | None = None
) -> list[Image]:
    """Write clips of one length side by side under their names; return the frames."""
    rows = zip(*columns, strict=True)
    frames = [beside([enlarged(each) for each in row], names) for row in rows]
    write_video(path, frames, None if heard is None else heard.audio())
    return frames


def enlarged(picture: Image) -> Image:
    """Return a picture at `TILE` pixels a side."""
    return np.asarray(cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_CUBIC), np.uint8)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("runs", type=Path, help="folder of the demo's EAMM runs")
    parser.add_argument("--corpus", type=Path, required=True, help="prepared, profile eamm")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    studio = Studio(args.runs, Corpus(args.corpus))
    makers: tuple[tp.Callable[[Studio], None], ...] = (reenactment, speech_and_emotion, emotions)
    for make in makers:
        make(studio)


if __name__ == "__main__":
    main()
