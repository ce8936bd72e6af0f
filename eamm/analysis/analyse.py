"""What the supplement of EAMM shows of its parts, measured on people no stage has learned from.

    python -m eamm.analysis.analyse runs/demo/eamm --corpus data/mini_eamm

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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from affekt.media.corpus import Corpus
from affekt.media.faces.detector import make_detector
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import write_json, write_text
from affekt.runtime.markdown import markdown_table
from eamm.analysis.a2fd import emotional_inputs
from eamm.analysis.clusters import clusters
from eamm.analysis.dynamics import dynamic_sources
from eamm.analysis.interpolation import Blend, interpolate
from eamm.analysis.landmarks import detect_faces
from eamm.analysis.networks import open_studio, unseen_pairs

BLENDS = ("angry:surprised", "disgusted:fear", "angry:happy")  # whose upper faces differ most
ROWS = (  # of the table: key in analysis.json, what it says
    ("interpolation.r", "brows and lids follow the blend's weight: correlation"),
    (
        "interpolation.monotone",
        "share of the steps in weight that lead on towards the other emotion",
    ),
    ("interpolation.middle", "share of the way gone at half the weight"),
    ("interpolation.share", "share of the true change between the two emotions that is made"),
    ("interpolation.change_px", "brows and lids between the two emotions, px"),
    ("interpolation.shape_px", "jaw and nostrils between the two emotions, px"),
    ("interpolation.shape_true_px", "the same between the person's true clips, px"),
    ("interpolation.mouth_r", "mouth opening under the one emotion and the other: correlation"),
    ("interpolation.coverage", "share of these frames in which a face was found"),
    ("a2fd_alone.truth.change_px", "brows and lids from neutral to emotional, true clips, px"),
    ("a2fd_alone.portrait.share", "share of it with an emotional portrait, A2FD alone"),
    ("a2fd_alone.sound.share", "share of it with emotional sound, A2FD alone"),
    ("a2fd_alone.displacement.share", "share of it with the emotion displacement"),
    ("a2fd_alone.sound.change_px", "what emotional sound does to brows and lids, px"),
    ("a2fd_alone.speech.change_px", "what another neutral sentence does to them, px"),
    ("a2fd_alone.portrait.motion_px", "motion of brows and lids, emotional portrait, px"),
    ("a2fd_alone.displacement.motion_px", "motion of brows and lids, displacement, px"),
    ("a2fd_alone.truth.motion_px", "motion of brows and lids, true clips, px"),
    ("a2fd_alone.displacement.coverage", "share of its frames in which a face was found"),
    ("dynamic_source.changing.brows_static_px", "motion of the brows, static source, px"),
    ("dynamic_source.changing.brows_dynamic_px", "motion of the brows, changing source, px"),
    ("dynamic_source.changing.brows_source_px", "motion of the changing source's own brows, px"),
    ("dynamic_source.changing.brows_r", "brows against the changing source's own: correlation"),
    ("dynamic_source.clip.brows_r", "the same, the source an emotional clip as it is"),
    ("dynamic_source.clip.lids_r", "the same of the lids, which blink"),
    ("clusters.feature.by_emotion", "emotion features of held-out people: silhouette of emotions"),
    ("clusters.keypoints.by_emotion", "the same of their keypoints"),
    ("clusters.pixels.by_emotion", "the same of their pixels"),
    ("clusters.feature.by_speaker", "emotion features: silhouette of the people"),
    ("clusters.keypoints.by_speaker", "the same of their keypoints"),
    ("clusters.pixels.by_speaker", "the same of their pixels"),
    ("clusters.feature.nearest_mean", "nearest to their emotion's mean of training people: share"),
    ("clusters.keypoints.nearest_mean", "the same of their keypoints"),
    ("clusters.pixels.nearest_mean", "the same of their pixels"),
)


def analyse(args: argparse.Namespace) -> dict[str, Any]:
    """Write the pictures and return all figures.

    Raises:
        FileNotFoundError: a run or the corpus is missing.
        ValueError: runs, corpus and wishes do not fit together.
    """
    detector = make_detector()
    corpus = Corpus(args.corpus)
    studio = open_studio(args.runs, lambda frames: detect_faces(detector, frames))
    people = unseen_pairs(corpus)
    out = args.out or args.runs / "analysis"
    blends = [blend_of(text) for text in args.blends]
    return {
        "interpolation": interpolate(studio, people, blends, args.frames, out),
        "a2fd_alone": emotional_inputs(studio, corpus, people, args.frames, out),
        "dynamic_source": dynamic_sources(studio, people, args.emotion, args.stride, out),
        "clusters": clusters(studio, corpus, args.frames, args.clips, out),
    }


def blend_of(text: str) -> Blend:
    """Return the two emotions of "a:b".

    Raises:
        ValueError: not of that form.
    """
    first, colon, second = text.partition(":")
    if not (first and colon and second) or ":" in second or first == second:
        raise ValueError(f"{text!r} is not of the form a:b, two emotions such as angry:surprised")
    return first, second


def positive(text: str) -> int:
    """Return a whole number of 1 or more; argparse tells which option was another."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def table(found: dict[str, Any]) -> str:
    """Return the figures of `ROWS` as a markdown table."""
    rows = []
    for key, what in ROWS:
        value: Any = found
        for part in key.split("."):
            value = value[part]
        rows.append([key, "n/a" if value is None else format(value, ".2f"), what])
    return markdown_table(["figure", "value", "what"], rows, left=(0, 2)) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    add = parser.add_argument
    add("runs", type=Path, help="folder of fomm/, a2fd/ and displacement/")
    add("--corpus", type=Path, required=True, help="prepared with profile eamm, with poses")
    add("--out", type=Path, help="folder to write into; default: RUNS/analysis")
    add("--blends", nargs="+", default=BLENDS, metavar="a:b", help="emotions to go between")
    add("--emotion", default="surprised", help="of the static and dynamic source")
    add("--frames", type=positive, default=6, help="looked at in each clip, evenly spread")
    add("--stride", type=positive, default=2, help="of the frames of static and dynamic source")
    add("--clips", type=positive, default=2, help="of each person and emotion that are clustered")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    with user_errors():
        found = analyse(args)
    out = args.out or args.runs / "analysis"
    write_json(out / "analysis.json", found)
    write_text(out / "table.md", table(found))
    print(table(found), end="")  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
