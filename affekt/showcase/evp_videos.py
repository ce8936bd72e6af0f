"""Make EVP's videos and pictures: truth and result, swapped emotion, blends, content x emotion.

    python -m affekt.showcase.evp_videos runs/demo --speech data/mini --lively data/mini_lively

Everything is made from held-out sentences and, as the target, a held-out video of a turning head.
Writes runs/demo/media/, which runs/demo/report.html embeds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from affekt.arrays import Array, Image
from affekt.media.corpus import Clip, Corpus
from affekt.media.face3d.model import load_face_model
from affekt.media.faces.points import mouth_opening
from affekt.media.plots import beside, tracks, write_png
from affekt.media.video.video import read_frames, write_video
from affekt.runtime.command import CommandParser
from evp.inference.landmarks import Emotion, speaking_face
from evp.inference.portrait import EditedFrame, edit
from evp.inference.renderer import Target, load_renderer
from evp.networks.audio2lm import load_predictor

TEST = "test_sentence"
BLEND = ("sad", "happy")
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
GRID_EMOTIONS = ("angry", "happy", "sad", "surprised")
TILE = 192  # pixels a side of a picture in a strip or grid


@dataclass
class Studio:
    """The trained parts, one target video, and what they make together."""

    runs: Path
    speech: Corpus
    lively: Corpus

    def __post_init__(self) -> None:
        self.predictor = load_predictor(self.runs / "audio2lm")
        self.renderer = load_renderer(self.runs / "edge2video", "cpu")
        self.model = load_face_model(self.runs / "face_model.npz")

    @cached_property
    def target(self) -> Target:
        """The first held-out video of the renderer's person turning the head."""
        clip = self.lively.clips(TEST, self.renderer.speaker)[0]
        return Target(Path(clip.source), clip.landmarks(), clip.crop())

    @cached_property
    def said(self) -> list[Clip]:
        """Held-out clips of the renderer's person: one of each sentence, of any emotion."""
        clips = self.speech.clips(TEST, self.renderer.speaker, "happy")
        return clips or self.speech.clips(TEST, self.renderer.speaker)

    def face(self, clip: Clip, emotion: Emotion) -> Array:
        """Return the person saying the clip's sound in an emotion, (T, 68, 2) aligned."""
        run = self.runs / "audio2lm"
        return speaking_face(self.predictor, run, clip.audio(), self.renderer.speaker, emotion)

    def edited(self, face: Array) -> Iterable[EditedFrame]:
        """Return the target's frames with this face."""
        return edit(self.renderer, self.target, face, self.model)

    def crops(self, clip: Clip, emotion: Emotion) -> list[Image]:
        """Return the generated crops of a clip's sound in an emotion, `TILE` pixels a side."""
        return [tile(frame.picture) for frame in self.edited(self.face(clip, emotion))]


def side_by_side(studio: Studio, folder: Path) -> None:
    """Write truth.mp4, result.mp4, and swapped.mp4: the same sound in another emotion."""
    clip = studio.said[0]
    sound = clip.audio()
    write_video(folder / "truth.mp4", read_frames(Path(clip.source))[: clip.frames], sound)
    other = "sad" if clip.emotion != "sad" else "happy"
    for name, emotion in (("result", Emotion()), ("swapped", Emotion(label=other))):
        frames = studio.edited(studio.face(clip, emotion))
        pictures = (frame.pasted("face") for frame in frames)
        write_video(folder / f"{name}.mp4", tqdm(pictures, name, clip.frames), sound)


def blend_strip(studio: Studio, folder: Path) -> None:
    """Write blend.mp4 and blend.png: one sentence from one emotion to another; mouth tracks."""
    clip, (first, second) = studio.said[0], BLEND
    names = [f"{first}:{second}:{weight:g}" for weight in WEIGHTS]
    columns = [studio.crops(clip, Emotion(blend=name)) for name in tqdm(names, "blend")]
    texts = [f"w = {weight:g}" for weight in WEIGHTS]
    frames = [beside(row, texts) for row in zip(*columns, strict=True)]
    write_video(folder / "blend.mp4", frames, clip.audio())
    middle = int(np.argmax(mouth_opening(studio.face(clip, Emotion(blend=names[0])))))
    write_png(folder / "blend.png", frames[middle])
    openings = {
        text: mouth_opening(studio.face(clip, Emotion(blend=name)))
        for text, name in zip(texts, names, strict=True)
    }
    tracks(folder / "blend_mouth.png", f"mouth opening, {first} to {second}, px at 256", openings)


def grid(studio: Studio, folder: Path) -> None:
    """Write grid.mp4: sentences down, emotions across, as the supplement's Fig. 2."""
    rows = []
    for clip in tqdm(studio.said[:2], "grid"):
        rows.append([studio.crops(clip, Emotion(label=label)) for label in GRID_EMOTIONS])
    length = min(len(cell) for row in rows for cell in row)
    frames = [
        np.concatenate([beside([cell[k] for cell in row], GRID_EMOTIONS) for row in rows])
        for k in range(length)
    ]
    write_video(folder / "grid.mp4", frames, studio.said[0].audio())


def alignment_pair(studio: Studio, folder: Path) -> None:
    """Write alignment.mp4: the same face with and without 3D alignment (the paper's Fig. 7)."""
    clip = studio.said[0]
    face = studio.face(clip, Emotion())
    pairs = [
        [tile(f.picture) for f in edit(studio.renderer, studio.target, face, studio.model, way)]
        for way in ("3d", "none")
    ]
    texts = ("3D alignment", "no alignment")
    frames = [beside(pair, texts) for pair in zip(*pairs, strict=True)]
    write_video(folder / "alignment.mp4", frames, clip.audio())


def tile(picture: Image) -> Image:
    """Return a picture scaled to `TILE` pixels a side."""
    return np.asarray(cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_CUBIC), np.uint8)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("runs", type=Path, help="folder of the demo's runs")
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--lively", type=Path, required=True)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    studio = Studio(args.runs, Corpus(args.speech), Corpus(args.lively))
    for make in (side_by_side, blend_strip, grid, alignment_pair):
        make(studio, args.runs / "media")


if __name__ == "__main__":
    main()
