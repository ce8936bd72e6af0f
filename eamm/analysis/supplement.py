"""Figures 1, 4 and 6 of EAMM's supplement and clusters, on people no stage has learned from.

    python -m eamm.analysis.supplement runs/demo/eamm --corpus data/mini_eamm

The folder holds the runs fomm/, a2fd/ and displacement/. Writes into --out (default: analysis/ in
that folder) analysis.json, table.md and these pictures:

    interpolation.png          Fig. 1: from one emotion to another, the pose held still
    a2fd_alone.png             Fig. 4: an emotional portrait, or sound, into A2FD alone
    dynamic_source.png, .mp4   Fig. 6: the emotion source frame by frame, or its first frame alone
    dynamic_source_tracks.png  the brows' heights over time, of the same clip
    clusters.png               emotion features of held-out people in their principal plane

analysis.json is nested: interpolation.<figure>, a2fd_alone.<way>.<figure>,
dynamic_source.<kind>.<figure>, clusters.<kind>.<figure>; null where nothing could be measured.
Lengths are pixels of the aligned 256 px face.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affekt.arrays import Array
from affekt.markdown import markdown_table
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import parse_pair
from affekt.media.faces.detector import make_detector
from affekt.media.plots import clouds
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import from_tensor, to_tensor
from affekt.metrics.probes import principal_plane, silhouette
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.config import flat
from affekt.runtime.files import write_json, write_text
from eamm.analysis.figures import dynamic_sources, emotional_inputs, interpolate
from eamm.analysis.landmarks import detect_faces
from eamm.analysis.networks import (
    TEST,
    Figures,
    TrainedNetworks,
    held_out_people,
    open_networks,
    spread_frames,
)
from eamm.displacement.data import emotional_clips
from eamm.displacement.network import emotion_source

BLENDS = ("angry:surprised", "disgusted:fear", "angry:happy")  # whose upper faces differ most
ROWS = {  # of the table: key in analysis.json -> description
    "interpolation.r": "brows and lids with the blend's weight: correlation",
    "interpolation.share": "share of the true change between the two emotions",
    "interpolation.mouth_r": "mouth opening under the one emotion and the other: correlation",
    "interpolation.coverage": "share of these frames in which a face was found",
    "a2fd_alone.truth.change_px": "brows and lids from neutral to emotional, true clips, px",
    "a2fd_alone.portrait.share": "share of it with an emotional portrait, A2FD alone",
    "a2fd_alone.sound.share": "share of it with emotional sound, A2FD alone",
    "a2fd_alone.displacement.share": "share of it with the emotion displacement",
    "a2fd_alone.sound.change_px": "change of brows and lids with emotional sound, px",
    "a2fd_alone.speech.change_px": "the same with another neutral sentence, px",
    "a2fd_alone.displacement.coverage": "share of its frames in which a face was found",
    "dynamic_source.changing.brows_static_px": "motion of the brows, static source, px",
    "dynamic_source.changing.brows_dynamic_px": "motion of the brows, changing source, px",
    "dynamic_source.changing.brows_source_px": "motion of the changing source's own brows, px",
    "dynamic_source.changing.brows_r": "brows against the changing source's own: correlation",
    "dynamic_source.clip.brows_r": "the same, the source an emotional clip as it is",
    "clusters.feature.by_emotion": "emotion features of held-out people: silhouette of emotions",
    "clusters.keypoints.by_emotion": "the same of their keypoints",
    "clusters.pixels.by_emotion": "the same of their pixels",
    "clusters.feature.by_speaker": "emotion features: silhouette of the people",
    "clusters.keypoints.by_speaker": "the same of their keypoints",
    "clusters.pixels.by_speaker": "the same of their pixels",
}
KINDS = {"feature": "emotion features", "keypoints": "keypoints", "pixels": "pixels"}  # panels
THUMBNAIL = 16  # pixels a side


def analyse(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Write the pictures and return all figures.

    Raises:
        FileNotFoundError: a run or the corpus is missing.
        ValueError: runs, corpus and arguments do not fit together.
    """
    detector = make_detector()
    corpus = Corpus(args.corpus)
    networks = open_networks(args.runs, lambda frames: detect_faces(detector, frames))
    people = held_out_people(corpus)
    blends = [parse_pair(text) for text in args.blends]
    return {
        "interpolation": interpolate(networks, people, blends, args.frames, out),
        "a2fd_alone": emotional_inputs(networks, corpus, people, args.frames, out),
        "dynamic_source": dynamic_sources(networks, people, args.emotion, args.stride, out),
        "clusters": clusters(networks, corpus, args.frames, args.clips, out),
    }


def clusters(
    networks: TrainedNetworks, corpus: Corpus, frames: int, each: int, out: Path
) -> dict[str, Figures]:
    """Write clusters.png, the held-out clips of each kind in their principal plane.

    Supplement B.2: "features of the same type are clustered". A clip's feature is the mean over
    some of its frames, mouths hidden; at most `each` clips of a person and emotion count, of the
    emotions of training. Returns by kind of code the silhouettes of the emotions and of the people,
    -1 to 1, None where there is one alone. Baselines without an emotion network: FOMM's keypoints
    and jacobians, mouths not hidden, and what the emotion network sees, at 16 x 16 pixels.
    """
    known = {clip.emotion for clip in emotional_clips(corpus, "train")}
    clips = [clip for clip in emotional_clips(corpus, TEST) if clip.emotion in known]
    clips = first_of_each(clips, each)
    found = [_clip_codes(networks, clip, frames) for clip in clips]
    codes = {kind: np.stack([one[kind] for one in found]).astype(float) for kind in KINDS}
    emotions, speakers = [clip.emotion for clip in clips], [clip.speaker for clip in clips]
    panels = {title: principal_plane(codes[kind]) for kind, title in KINDS.items()}
    clouds(out / "clusters.png", panels, emotions, speakers)
    named = {"by_emotion": emotions, "by_speaker": speakers}
    return {
        kind: {
            name: silhouette(codes_ND, labels) if len(set(labels)) > 1 else None
            for name, labels in named.items()
        }
        for kind, codes_ND in codes.items()
    }


def first_of_each(clips: Sequence[Clip], each: int) -> list[Clip]:
    """Return the first `each` clips of every person and emotion."""
    groups: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.speaker, clip.emotion].append(clip)
    chosen = {clip.id for group in groups.values() for clip in group[:each]}
    return [clip for clip in clips if clip.id in chosen]


@torch.no_grad()
def _clip_codes(networks: TrainedNetworks, clip: Clip, frames: int) -> dict[str, Array]:
    """Return a clip's mean codes by kind, each (D,)."""
    shown = networks.frames(clip, spread_frames(clip, frames))
    value, jacobian = networks.fomm.detector(to_tensor(shown))
    thumbnails = resized(from_tensor(emotion_source(shown, networks.description)), THUMBNAIL)
    return {
        "feature": networks.features(shown).mean(dim=0).numpy(),
        "keypoints": torch.cat([value, jacobian.flatten(2)], dim=2).mean(dim=0).ravel().numpy(),
        "pixels": thumbnails.mean(axis=0).ravel() / 255,
    }


def positive(text: str) -> int:
    """Return a whole number of 1 or more; argparse names the option of another."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def table(found: dict[str, Any]) -> str:
    """Return the figures of `ROWS` as a Markdown table."""
    known = flat(found)
    cells = {key: "n/a" if known[key] is None else format(known[key], ".2f") for key in ROWS}
    rows = [[key, cells[key], text] for key, text in ROWS.items()]
    return markdown_table(["figure", "value", "what"], rows, left=(0, 2)) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    add = parser.add_argument
    add("runs", type=Path, help="folder of fomm/, a2fd/ and displacement/")
    add("--corpus", type=Path, required=True, help="prepared with profile eamm, with poses")
    add("--out", type=Path, help="folder to write into; default: RUNS/analysis")
    add("--blends", nargs="+", default=BLENDS, metavar="a:b", help="emotions to blend")
    add("--emotion", default="surprised", help="of the static and dynamic source")
    add("--frames", type=positive, default=6, help="of each clip, evenly spread")
    add("--stride", type=positive, default=2, help="of the frames of static and dynamic source")
    add("--clips", type=positive, default=2, help="of each person and emotion that are clustered")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    out = args.out or args.runs / "analysis"
    with user_errors():
        found = analyse(args, out)
    write_json(out / "analysis.json", found)
    write_text(out / "table.md", table(found))
    print(table(found), end="")  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
