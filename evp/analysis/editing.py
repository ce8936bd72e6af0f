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
                   the emotion axis from a to b, and the mouth's opening
    video.mp4      all w side by side, with the sound
    figures.json   the PathFigures of evp/analysis/measure_editing.py, which measures all clips

Letters: W weights, T frames, S pixels of a side.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affekt.arrays import Array, Image
from affekt.media.audio.mfcc import sound_windows
from affekt.media.constants import FRAME_RATE
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import parse_pair
from affekt.media.face3d.model import load_face_model
from affekt.media.faces.points import mouth_opening
from affekt.media.plots import labelled_row, pyplot, save, write_png
from affekt.media.video.result import read_driving_audio
from affekt.media.video.video import write_video
from affekt.runtime.command import CommandParser, add_device, user_errors
from affekt.runtime.devices import pick_device
from affekt.runtime.files import write_json
from evp.analysis.measure_editing import blended_faces, emotion_projection, path_figures, true_faces
from evp.inference.emotion_codes import check_emotions, corpus_of, load_codes
from evp.inference.portrait import edit
from evp.inference.renderer import Target, load_renderer
from evp.networks.audio2lm import load_predictor
from evp.networks.encoders import encode

Figures = dict[str, Any]

TEST = "test_sentence"
ROWS = 3  # times in the strip
TILE = 192  # pixels a side of a frame in a strip or video
PER_ROW = 8  # names in a row of the legend


def widest(faces: Array, count: int) -> list[int]:
    """Return the frame of the widest mouth in each of `count` equal parts of a clip (T, 68, 2)."""
    opening = mouth_opening(faces)
    parts = np.array_split(np.arange(len(faces)), min(count, len(faces)))
    return [int(part[opening[part].argmax()]) for part in parts]


def plot_blend(
    path: Path, title: str, faces_WT: Array, weights: Sequence[float], truth: tuple[Array, Array]
) -> None:
    """Plot the tracks of a face (W, T, 68, 2), pixels of the aligned face, under each weight.

    Dotted in the upper panel are both true means, (68, 2).
    """
    panels = {
        "on the emotion axis": emotion_projection(faces_WT, *truth),
        "mouth opening, px": mouth_opening(faces_WT),
    }
    # A panel for each measure, a line for each weight.
    plt = pyplot()
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(weights)))
    seconds = (np.arange(faces_WT.shape[1]) + 0.5) / FRAME_RATE
    figure, axes = plt.subplots(len(panels), figsize=(8, 1.9 * len(panels)), sharex=True)
    for axis, (name, tracks) in zip(axes, panels.items(), strict=True):
        axis.set_ylabel(name, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        for weight, values, colour in zip(weights, tracks, colours, strict=True):
            axis.plot(seconds, values, color=colour, linewidth=1.2, label=f"w = {weight:g}")
    for end in (0, 1):
        axes[0].axhline(end, color="0.4", linewidth=0.8, linestyle=":")
    # Title, time axis and one legend for all panels.
    axes[0].set_title(title, fontsize=10)
    axes[-1].set_xlabel("seconds", fontsize=8)
    axes[-1].set_xlim(0, faces_WT.shape[1] / FRAME_RATE)
    lines, names = axes[0].get_legend_handles_labels()
    figure.legend(lines, names, fontsize=8, ncols=PER_ROW, loc="lower center")
    save(figure, path, below=0.06 * -(-len(names) // PER_ROW))


def held_out(corpus: Corpus, speaker: str) -> Clip:
    """Return the first held-out clip of a speaker; ValueError if there is none."""
    clips = corpus.clips(TEST, speaker)
    if not clips:
        raise ValueError(f"{corpus.root} has no clip of {speaker} in split {TEST}; name a clip")
    return clips[0]


def show(args: argparse.Namespace) -> Figures:
    """Write the files of a blend and return its figures.

    Raises:
        MediaError: the sound or the target's video cannot be read.
        FileNotFoundError: a run, the face model or the emotion codes are missing.
        ValueError: an unknown speaker or label, or one without training clips.
    """
    if args.steps < 2:
        raise ValueError(f"--steps is {args.steps}, wanted 2 weights or more")
    # The trained parts, and the renderer's person.
    first, second = parse_pair(args.blend)
    run, out = args.runs / "audio2lm", args.out or args.runs / "editing"
    corpus = Corpus(args.corpus or corpus_of(run))
    check_emotions(run, corpus)
    predictor, codes = load_predictor(run, pick_device(args.device)), load_codes(run)
    renderer = load_renderer(args.runs / "edge2video", args.device)
    model = load_face_model(args.runs / "face_model.npz")
    speaker = renderer.speaker
    ends = codes.of(first, speaker), codes.of(second, speaker)
    known = true_faces(corpus, predictor.view)
    for label in (first, second):
        if (speaker, label) not in known:
            raise ValueError(f"{corpus.root} has no training clip of {speaker}, {label}")
    truth = known[speaker, first], known[speaker, second]
    # The sound's faces under each weight, rendered in the target's frames.
    sound = args.audio or held_out(corpus, speaker).folder / "audio.wav"
    targets = Corpus(args.targets) if args.targets else corpus
    target = targets.clip(args.target) if args.target else held_out(targets, speaker)
    samples = read_driving_audio(sound)
    windows = torch.from_numpy(np.array(sound_windows(samples))).to(predictor.model.mean_L.device)
    content = encode(predictor.encoders.content, windows)
    weights = tuple(np.linspace(0, 1, args.steps).tolist())
    faces = blended_faces(predictor, content, ends, weights, speaker)
    place = Target(Path(target.source), target.landmarks(), target.crop())
    pictures = [[frame.picture for frame in edit(renderer, place, face, model)] for face in faces]
    write_pictures(out, pictures, faces[0], weights, samples)
    title = f"{speaker}: {first} (w = 0) to {second} (w = 1)"
    plot_blend(out / "curves.png", title, faces, weights, truth)
    # The figures; NaN is null.
    found = path_figures((str(sound), first, second), faces, weights, truth)
    figures = {k: None if v != v else v for k, v in dataclasses.asdict(found).items()}
    figures |= {"weights": weights, "speaker": speaker, "target": target.id}
    write_json(out / "figures.json", figures)
    return figures


def write_pictures(
    out: Path,
    pictures: Sequence[Sequence[Image]],
    face: Array,
    weights: Sequence[float],
    samples: Array,
) -> None:
    """Write strip.png and video.mp4 of the frames (S, S, 3) of each weight.

    The strip shows the frames in which `face`, (T, 68, 2), has the widest mouth.
    """
    texts = [f"w = {weight:g}" for weight in weights]
    lines = [
        labelled_row(
            [column[time] for column in pictures],
            [f"{texts[0]},  {time / FRAME_RATE:.2f} s", *texts[1:]],
            TILE,
        )
        for time in widest(face, ROWS)
    ]
    write_png(out / "strip.png", np.concatenate(lines))
    frames = (labelled_row(row, texts, TILE) for row in zip(*pictures, strict=True))
    write_video(out / "video.mp4", frames, samples)


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
    add_device(parser)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    with user_errors():
        figures = show(args)
    for name in ("rank", "projection", "mouth_r"):
        print(f"{name}: {figures[name]}")  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
