"""Emotion editing in pictures: one sentence between two emotions (EVP Sec. 4.2, Fig. 1 b).

    python -m evp.analysis.editing runs/demo --blend happy:sad --targets data/mini_lively
    python -m evp.analysis.editing runs/demo --blend neutral:happy --audio said.wav \\
        --out results/happy

RUNS holds the runs audio2lm/ (with its emotion codes) and edge2video/ and face_model.npz. The sound
is rendered as the person of edge2video/ in the frames of a prepared clip, under the codes
(1 - w) a + w b with w from 0 to 1 (from neutral, w is the intensity: supplement Fig. 3). Writes
into --out

    strip.png      frames: a row for each time, a column for each w
    curves.png     over the seconds, a line for each w: the projection of brows and mouth corners on
                   the emotion axis from a to b, their heights, the mouth's opening
    video.mp4      all w side by side, with the sound
    figures.json   the PathFigures of evp/analysis/measure_editing.py, which measures all clips

Letters: W weights, T frames, S pixels of a side.
"""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt

from affekt.arrays import Array, Image
from affekt.media.audio.mfcc import sound_windows
from affekt.media.constants import FRAME_RATE
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import parse_pair
from affekt.media.face3d.model import FaceModel, load_face_model
from affekt.media.faces.points import MOUTH_CORNERS, mouth_opening
from affekt.media.plots import labelled_row, save, write_png
from affekt.media.video.result import read_driving_audio
from affekt.media.video.video import write_video
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import write_json
from evp.analysis.measure_editing import blended_faces, emotion_projection, path_figures, true_faces
from evp.inference.emotion_codes import check_emotions, corpus_of, load_codes
from evp.inference.portrait import edit
from evp.inference.renderer import Renderer, Target, load_renderer
from evp.networks.audio2lm import Predictor, load_predictor
from evp.networks.encoders import encode

Figures = dict[str, Any]
Measure = Callable[[Array], Array]  # faces (..., 68, 2) -> (...)

TEST = "test_sentence"
ROWS = 3  # times in the strip
INNER_BROWS = (20, 21, 22, 23)  # the ends at the nose: up in sadness and fear, down in anger
TILE = 192  # pixels a side of a frame in a strip or video
PER_ROW = 8  # names in a row of the legend


@dataclasses.dataclass(frozen=True)
class TrainedParts:
    """The trained parts, and the corpus of the true faces."""

    run: Path  # of train_audio2lm.py
    predictor: Predictor
    renderer: Renderer
    model: FaceModel
    corpus: Corpus

    def content(self, samples: Array) -> torch.Tensor:
        """Return the content codes (T, C) of a sound."""
        windows = torch.from_numpy(np.array(sound_windows(samples)))
        device = self.predictor.model.mean_L.device
        return encode(self.predictor.encoders.content, windows.to(device))

    def rendered(self, face: Array, target: Clip) -> list[Image]:
        """Return the generated frames (S, S, 3) of a face (T, 68, 2) in a clip's frames."""
        place = Target(Path(target.source), target.landmarks(), target.crop())
        return [frame.picture for frame in edit(self.renderer, place, face, self.model)]

    def truth(self, labels: tuple[str, str]) -> tuple[Array, Array]:
        """Return the mean true faces of the renderer's person in two emotions.

        Raises:
            ValueError: there is no training clip of one.
        """
        speaker, known = self.renderer.speaker, true_faces(self.corpus, self.predictor.view)
        for label in labels:
            if (speaker, label) not in known:
                raise ValueError(f"{self.corpus.root} has no training clip of {speaker}, {label}")
        return known[speaker, labels[0]], known[speaker, labels[1]]


def show_blend(
    parts: TrainedParts, sound: Path, target: Clip, labels: tuple[str, str], steps: int, out: Path
) -> Figures:
    """Write the files of a blend and return its figures.

    Raises:
        MediaError: the sound or the target's video cannot be read.
        FileNotFoundError: the emotion codes are not computed yet.
        ValueError: an unknown speaker or label, or one without training clips.
    """
    speaker, samples = parts.renderer.speaker, read_driving_audio(sound)
    codes = load_codes(parts.run)
    ends = codes.of(labels[0], speaker), codes.of(labels[1], speaker)
    truth = parts.truth(labels)
    weights = tuple(np.linspace(0, 1, steps).tolist())
    faces = blended_faces(parts.predictor, parts.content(samples), ends, weights, speaker)
    # Frames as a sheet and a video, landmarks as curves.
    pictures = [parts.rendered(face, target) for face in faces]
    texts = [f"w = {weight:g}" for weight in weights]
    lines = [
        labelled_row(
            [column[time] for column in pictures],
            [f"{texts[0]},  {time / FRAME_RATE:.2f} s", *texts[1:]],
            TILE,
        )
        for time in widest(faces[0], ROWS)
    ]
    write_png(out / "strip.png", np.concatenate(lines))
    title = f"{speaker}: {labels[0]} (w = 0) to {labels[1]} (w = 1)"
    plot_blend(out / "curves.png", title, faces, weights, truth)
    frames = (labelled_row(row, texts, TILE) for row in zip(*pictures, strict=True))
    write_video(out / "video.mp4", frames, samples)
    found = path_figures((str(sound), *labels), faces, weights, truth)
    return dataclasses.asdict(found) | {"weights": weights}


def widest(faces: Array, count: int) -> list[int]:
    """Return the frame of the widest mouth in each of `count` equal parts of a clip (T, 68, 2)."""
    opening = mouth_opening(faces)
    parts = np.array_split(np.arange(len(faces)), min(count, len(faces)))
    return [int(part[opening[part].argmax()]) for part in parts]


def plot_blend(
    path: Path, title: str, faces_WT: Array, weights: Sequence[float], truth: tuple[Array, Array]
) -> None:
    """Plot the tracks of a face (W, T, 68, 2), pixels of the aligned face, under each weight.

    Heights are above those of the mean true face of the first emotion; dotted are both true means.
    """

    def height(points: Sequence[int]) -> Measure:
        return lambda faces: (truth[0] - faces)[..., list(points), 1].mean(axis=-1)

    panels: dict[str, Measure] = {
        "projection": lambda faces: emotion_projection(faces, *truth),
        "inner brows, px up": height(INNER_BROWS),
        "mouth corners, px up": height(MOUTH_CORNERS),
        "mouth opening, px": mouth_opening,
    }
    # A panel for each measure, a line for each weight.
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(weights)))
    seconds = (np.arange(faces_WT.shape[1]) + 0.5) / FRAME_RATE
    figure, axes = plt.subplots(len(panels), figsize=(8, 1.9 * len(panels)), sharex=True)
    for axis, (name, measure) in zip(axes, panels.items(), strict=True):
        axis.set_ylabel(name, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        for weight, values, colour in zip(weights, measure(faces_WT), colours, strict=True):
            axis.plot(seconds, values, color=colour, linewidth=1.2, label=f"w = {weight:g}")
        for face in truth if measure is not mouth_opening else ():
            axis.axhline(measure(face), color="0.4", linewidth=0.8, linestyle=":")
    # Title, time axis and one legend for all panels.
    axes[0].set_title(title, fontsize=10)
    axes[-1].set_xlabel("seconds", fontsize=8)
    axes[-1].set_xlim(0, faces_WT.shape[1] / FRAME_RATE)
    lines, names = axes[0].get_legend_handles_labels()
    figure.legend(lines, names, fontsize=8, ncols=PER_ROW, loc="lower center")
    save(figure, path, below=0.03 * -(-len(names) // PER_ROW))


def held_out(corpus: Corpus, speaker: str) -> Clip:
    """Return the first held-out clip of a speaker; ValueError if there is none."""
    clips = corpus.clips(TEST, speaker)
    if not clips:
        raise ValueError(f"{corpus.root} has no clip of {speaker} in split {TEST}; name a clip")
    return clips[0]


def show(args: argparse.Namespace) -> Figures:
    """Write the files that the arguments ask for; return the figures.

    Raises:
        OSError, ValueError: something is missing or cannot be used.
    """
    if args.steps < 2:
        raise ValueError(f"--steps is {args.steps}, wanted 2 weights or more")
    labels = parse_pair(args.blend)
    corpus = Corpus(args.corpus or corpus_of(args.runs / "audio2lm"))
    run = args.runs / "audio2lm"
    check_emotions(run, corpus)
    renderer = load_renderer(args.runs / "edge2video")
    model = load_face_model(args.runs / "face_model.npz")
    parts = TrainedParts(run, load_predictor(run), renderer, model, corpus)
    speaker, out = renderer.speaker, args.out or args.runs / "editing"
    sound = args.audio or held_out(corpus, speaker).folder / "audio.wav"
    targets = Corpus(args.targets) if args.targets else corpus
    target = targets.clip(args.target) if args.target else held_out(targets, speaker)
    found = show_blend(parts, sound, target, labels, args.steps, out)
    known = {name: None if value != value else value for name, value in found.items()}  # NaN
    figures = known | {"speaker": speaker, "target": target.id}
    write_json(out / "figures.json", figures)
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    add = parser.add_argument
    add("runs", type=Path, help="folder of audio2lm/, edge2video/ and face_model.npz")
    add("--blend", metavar="a:b", required=True, help="two emotions; neutral:b is b's intensity")
    add("--steps", type=int, default=5, help="weights of the blend, from 0 to 1")
    add("--corpus", type=Path, help="of the true faces' training clips; default: the run's own")
    add("--audio", type=Path, help="a sound; default: that of a held-out clip of the corpus")
    add("--targets", type=Path, help="prepared corpus of the target clip; default: the same")
    add("--target", metavar="CLIP", help="id of the clip whose frames are edited")
    add("--out", type=Path, help="folder to write into; default: RUNS/editing")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    with user_errors():
        figures = show(args)
    for name in ("rank", "projection", "mouth_r"):
        print(f"{name}: {figures[name]}")  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
