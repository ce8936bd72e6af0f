"""Show one sentence between emotions (EVP Sec. 4.2, Fig. 1 b, supplement Fig. 3).

    python -m evp.analysis.editing runs/demo --blend happy:sad --targets data/mini_lively
    python -m evp.analysis.editing runs/demo --blend neutral:happy --audio said.wav \\
        --out results/happy
    python -m evp.analysis.editing runs/demo --emotion-track track.csv --out results/track

RUNS holds the runs audio2lm/ (with its emotion codes) and edge2video/ and face_model.npz. The
person of edge2video/ says the sound in the frames of a prepared clip: under (1 - w) a + w b, with w
from 0 to 1 (from neutral to an emotion, w is the intensity), or on a schedule of evp/emotion_track.
Writes into --out

    strip.png      frames: a row for each time, a column for each w; of a schedule, a row over time
    curves.png     over the seconds, a line for each w: how far brows and mouth corners are on the
                   true way from a to b, their heights, the mouth's opening; of a schedule the
                   weights, and the heights beside those under each label alone
    video.mp4      all w side by side, or the schedule, with the sound
    figures.json   of a blend those of evp/analysis/emotion_path.py; of a schedule `mouth_r`, the
    lowest
                   correlation of mouth opening with that under each label alone, and `follows`, the
                   share of frames whose brows and mouth corners are nearest to those under the
                   label of most weight

`python -m evp.analysis.measure_editing` has the figures of all clips and pairs.
"""

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affekt.arrays import Array, Image
from affekt.media.audio.mfcc import sound_windows
from affekt.media.constants import FRAME_RATE
from affekt.media.corpus import Clip, Corpus
from affekt.media.face3d.model import FaceModel, load_face_model
from affekt.media.faces.points import mouth_opening
from affekt.media.plots import write_png
from affekt.media.video.result import read_driving_audio
from affekt.media.video.video import write_video
from affekt.metrics.landmark import correlation
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import write_json
from evp.analysis.editing_pictures import (
    draw_blend,
    draw_schedule,
    side_by_side,
    weight_strip,
    widest,
)
from evp.analysis.emotion_path import SHOWS, follow, path_figures, true_faces
from evp.inference.emotion_codes import check_emotions, corpus_of, load_codes
from evp.inference.emotion_track import frame_times, read_track
from evp.inference.portrait import edit
from evp.inference.renderer import Renderer, Target, load_renderer
from evp.networks.audio2lm import Predictor, faces_under, load_predictor
from evp.networks.encoders import encode

Figures = dict[str, Any]

TEST = "test_sentence"
ROWS, COLUMNS = 3, 8  # times in the strip of a blend, of a schedule


@dataclasses.dataclass(frozen=True)
class Parts:
    """The trained parts and the corpus of the truth."""

    run: Path  # of train_audio2lm.py
    predictor: Predictor
    renderer: Renderer
    model: FaceModel
    corpus: Corpus

    def content(self, samples: Array) -> torch.Tensor:
        """Return the content codes of a sound."""
        windows = torch.from_numpy(np.array(sound_windows(samples)))
        device = self.predictor.model.mean_L.device
        return encode(self.predictor.encoders.content, windows.to(device))

    def rendered(self, face: Array, target: Clip) -> list[Image]:
        """Return the generated frames (S, S, 3) of a face (T, 68, 2) in a clip's frames."""
        place = Target(Path(target.source), target.landmarks(), target.crop())
        return [frame.picture for frame in edit(self.renderer, place, face, self.model)]


def open_parts(runs: Path, corpus: Corpus) -> Parts:
    """Read the trained parts.

    Raises:
        FileNotFoundError: one is not trained yet; the message names it.
        ValueError: trained on other emotions than the corpus lists.
    """
    run = runs / "audio2lm"
    check_emotions(run, corpus)
    renderer, model = load_renderer(runs / "edge2video"), load_face_model(runs / "face_model.npz")
    return Parts(run, load_predictor(run), renderer, model, corpus)


def show_blend(
    parts: Parts, sound: Path, target: Clip, labels: tuple[str, str], steps: int, out: Path
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
    truth = _truth(parts, labels)
    weights = tuple(np.linspace(0, 1, steps).tolist())
    content = parts.content(samples)
    faces, leaping = follow(parts.predictor, content, ends, weights, speaker)
    pictures = [parts.rendered(face, target) for face in faces]
    times = widest(faces[0], ROWS)
    rows = [[column[time] for column in pictures] for time in times]
    write_png(out / "strip.png", weight_strip(rows, weights, times))
    title = f"{speaker}: {labels[0]} (w = 0) to {labels[1]} (w = 1)"
    draw_blend(out / "curves.png", title, faces, weights, truth)
    texts = [f"w = {weight:g}" for weight in weights]
    frames = (side_by_side(row, texts) for row in zip(*pictures, strict=True))
    write_video(out / "video.mp4", frames, samples)
    found = path_figures((str(sound), *labels), faces, leaping, weights, truth)
    return dataclasses.asdict(found) | {"weights": weights}


def show_track(parts: Parts, sound: Path, target: Clip, path: Path, out: Path) -> Figures:
    """Write the files of a schedule and return its figures.

    Raises:
        MediaError: the sound or the target's video cannot be read.
        FileNotFoundError: no such schedule, or the emotion codes are not computed yet.
        ValueError: an unknown speaker or label, or a schedule that is none.
    """
    speaker, samples, track = parts.renderer.speaker, read_driving_audio(sound), read_track(path)
    codes, content = load_codes(parts.run), parts.content(samples)
    means = np.stack([codes.of(label, speaker) for label in track.labels])
    T = len(content)
    each = np.concatenate([means[:, None].repeat(T, axis=1), track.codes(means, T)[None]])
    predictor = parts.predictor
    neutral = predictor.space.neutral_of(speaker)
    *alone, scheduled = faces_under(predictor.model, content, each, neutral)
    weights = track.weights_at(frame_times(T))
    pictures = parts.rendered(scheduled, target)
    times = np.unique(np.linspace(0, T - 1, COLUMNS).round().astype(int))
    texts = [f"{k / FRAME_RATE:.2f} s {track.labels[weights[k].argmax()]}" for k in times]
    write_png(out / "strip.png", side_by_side([pictures[k] for k in times], texts))
    named = dict(zip(track.labels, alone, strict=True)) | {"schedule": scheduled}
    draw_schedule(out / "curves.png", f"{speaker}: {path.name}", weights, named)
    write_video(out / "video.mp4", pictures, samples)
    return {"clip": str(sound), "track": str(path), "labels": track.labels} | track_figures(
        scheduled, np.stack(alone), weights
    )


def track_figures(scheduled: Array, alone_KT: Array, weights_TK: Array) -> Figures:
    """Return `mouth_r` and `follows` of a schedule; see the top of this file.

    Args:
        scheduled: faces (T, 68, 2) under the schedule.
        alone_KT: (K, T, 68, 2), the same sound under each label alone.
        weights_TK: the schedule's weights.
    """
    points = list(SHOWS)
    away = np.square(alone_KT - scheduled)[:, :, points].sum(axis=(2, 3))
    opening = mouth_opening(scheduled)
    stays = [correlation(opening, mouth_opening(faces)) for faces in alone_KT]
    nearest, wanted = away.argmin(axis=0), weights_TK.argmax(axis=1)
    return {"mouth_r": float(np.min(stays)), "follows": float((nearest == wanted).mean())}


def labels_of(text: str) -> tuple[str, str]:
    """Return the two labels of "a:b".

    Raises:
        ValueError: not of that form, or one label twice.
    """
    first, _, second = (part.strip() for part in text.partition(":"))
    if not first or not second or ":" in second or first == second:
        raise ValueError(f"{text!r} is not of the form a:b, two emotions such as happy:sad")
    return first, second


def held_out(corpus: Corpus, speaker: str) -> Clip:
    """Return the first held-out clip of a speaker.

    Raises:
        ValueError: there is none.
    """
    clips = corpus.clips(TEST, speaker)
    if not clips:
        raise ValueError(f"{corpus.root} has no clip of {speaker} in split {TEST}; name a clip")
    return clips[0]


def show(args: argparse.Namespace) -> Figures:
    """Do what a command line wants; return the figures.

    Raises:
        OSError, ValueError: something is missing or cannot be used.
    """
    if args.steps < 2:
        raise ValueError(f"--steps is {args.steps}, wanted 2 weights or more")
    labels = None if args.blend is None else labels_of(args.blend)
    corpus = Corpus(args.corpus or corpus_of(args.runs / "audio2lm"))
    parts = open_parts(args.runs, corpus)
    speaker, out = parts.renderer.speaker, args.out or args.runs / "editing"
    sound = args.audio or held_out(corpus, speaker).folder / "audio.wav"
    targets = Corpus(args.targets) if args.targets else corpus
    target = targets.clip(args.target) if args.target else held_out(targets, speaker)
    if labels is None:
        found = show_track(parts, sound, target, args.emotion_track, out)
    else:
        found = show_blend(parts, sound, target, labels, args.steps, out)
    known = {name: _known(value) for name, value in found.items()}
    figures = known | {"speaker": speaker, "target": target.id}
    write_json(out / "figures.json", figures)
    return figures


def _truth(parts: Parts, labels: tuple[str, str]) -> tuple[Array, Array]:
    speaker, known = parts.renderer.speaker, true_faces(parts.corpus, parts.predictor.view)
    for label in labels:
        if (speaker, label) not in known:
            raise ValueError(f"{parts.corpus.root} has no training clip of {speaker}, {label}")
    return known[speaker, labels[0]], known[speaker, labels[1]]


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    add = parser.add_argument
    add("runs", type=Path, help="folder of audio2lm/, edge2video/ and face_model.npz")
    shown = parser.add_mutually_exclusive_group(required=True)
    shown.add_argument("--blend", metavar="a:b", help="from and to; neutral:b is b's intensity")
    shown.add_argument("--emotion-track", type=Path, metavar="FILE", help="a schedule over time")
    add("--steps", type=int, default=5, help="weights of a blend, from 0 to 1")
    add("--corpus", type=Path, help="whose training clips are the truth; default: the run's own")
    add("--audio", type=Path, help="what is said; default: a held-out clip of the corpus")
    add("--targets", type=Path, help="prepared corpus that the target is in; default: the same")
    add("--target", metavar="CLIP", help="id of the clip whose frames are edited")
    add("--out", type=Path, help="folder to write into; default: RUNS/editing")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    with user_errors():
        figures = show(args)
    for name in ("rank", "gone", "mouth_r", "follows"):
        if name in figures:
            print(f"{name}: {figures[name]}")  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
