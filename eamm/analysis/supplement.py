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

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affekt.arrays import Array, Image
from affekt.markdown import markdown_table
from affekt.media.constants import FRAME_RATE
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL, parse_pair
from affekt.media.faces.detector import make_detector
from affekt.media.plots import clouds, labelled_row, tracks, write_png
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import from_tensor
from affekt.media.video.video import write_video
from affekt.metrics.probes import principal_plane, silhouette
from affekt.runtime.command import CommandParser, add_device, user_errors
from affekt.runtime.config import flat
from affekt.runtime.devices import pick_device
from affekt.runtime.files import write_json, write_text
from eamm.analysis.networks import (
    TEST,
    WEIGHTS,
    Figures,
    People,
    RenderedFrames,
    TrainedNetworks,
    align_faces,
    brow_height,
    change_figures,
    detect_faces,
    held_out_people,
    motion_figures,
    open_networks,
    path_figures,
    pooled_share,
    spread_frames,
    summary,
    typical_frame,
)
from eamm.displacement.data import emotional_clips
from eamm.displacement.network import emotion_source
from eamm.displacement.validation import Pair
from eamm.fomm.keypoints import Keypoints
from eamm.pose import release_pose

BLENDS = ("angry:surprised", "disgusted:fear", "angry:happy")  # whose upper faces differ most
ROWS = {  # of the table: key in analysis.json -> description
    "interpolation.r": "brows and lids with the blend's weight: correlation",
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
    "clusters.pixels.by_emotion": "the same of their pixels",
    "clusters.feature.by_speaker": "emotion features: silhouette of the people",
    "clusters.pixels.by_speaker": "the same of their pixels",
}
CODES = {"feature": "emotion features", "pixels": "pixels"}  # panels
SOURCE_FRAMES = 8  # of an emotion source, whose features are averaged
WAYS = ("portrait", "sound", "displacement", "speech", "truth")
KINDS = ("clip", "changing")
TILE = 150  # pixels a side of a frame in pictures and the video
PORTRAIT_ROW, SOURCE_ROW = 4, 6  # frames in a row of Fig. 4, of Fig. 6
FRAMES = 6  # of each clip, evenly spread
STRIDE = 2  # of the frames of static and dynamic source
CLUSTERED = 2  # clips of each person and emotion
THUMBNAIL = 16  # pixels a side


def interpolate(
    networks: TrainedNetworks, people: People, blends: Sequence[tuple[str, str]], out: Path
) -> Figures:
    """Write interpolation.png, a row for each blend (Fig. 1); return medians of `path_figures`.

    A portrait of a held-out person speaks its neutral sentence. The emotion feature is
    (1 - w) a + w b of the mean features of another person's clips of two emotions.

    Raises:
        ValueError: no person and other person show both emotions of a blend.
    """
    rows, lines = [], []
    for first, second in blends:
        able = [pairs for pairs in people.values() if first in pairs and second in pairs]
        if not able:
            known = sorted({emotion for pairs in people.values() for emotion in pairs})
            raise ValueError(
                f"nobody held out shows {first!r} and {second!r}; emotions with clips of two "
                f"people: {', '.join(known)}"
            )
        for pairs in able:
            one, other = pairs[first], pairs[second]
            # The portrait of the first clip's person with its own sentence, under each blend.
            portrait, neutral = networks.neutral(one.picture)
            a, b = (
                networks.features(networks.frames(source, spread_frames(source, SOURCE_FRAMES)))
                for source in (one.source, other.source)
            )
            displaced = [
                networks.displaced(neutral, (1 - w) * a.mean(0) + w * b.mean(0)) for w in WEIGHTS
            ]
            chosen = spread_frames(one.picture, FRAMES)
            rendered = [networks.render(portrait, each, chosen) for each in displaced]
            rows.append(path_figures([each.faces for each in rendered]))
            if pairs is able[0]:  # a frame at each weight between the two emotion sources
                sources = (one.source, other.source)
                ends = [networks.frames(each, [each.frames // 2])[0] for each in sources]
                shown = [each.frames[len(chosen) // 2] for each in rendered]
                names = [first, *(f"w = {w:g}" for w in WEIGHTS), second]
                lines.append(labelled_row([ends[0], *shown, ends[1]], names, TILE))
    write_png(out / "interpolation.png", np.concatenate(lines))
    return summary(rows)


def emotional_inputs(
    networks: TrainedNetworks, corpus: Corpus, people: People, out: Path
) -> dict[str, Figures]:
    """Write a2fd_alone.png (Fig. 4) and return the medians of `change_figures` by way.

    The supplement shows that A2FD keeps the expression of an emotional portrait, and that emotional
    speech changes none: only the displacement does. Each way is compared with a neutral portrait
    with a neutral sentence; head poses are the portrait's own, held still.

        portrait      an emotional portrait of the person, the neutral sentence
        sound         the neutral portrait, the person's emotional sentence
        displacement  the neutral result, displaced by another person's emotional clip
        speech        the neutral portrait, another neutral sentence: a control
        truth         the person's true emotional clip against the true neutral one

    `share` is a mean weighted by the square of the true change: of a small one it is noise.
    """

    def rendered(shown: Clip, frame: int, sound: Clip) -> RenderedFrames:
        """Return A2FD's result of a portrait, a frame of a clip, with another clip's sound."""
        portrait = networks.portrait(shown, frame)
        keypoints = networks.audio_keypoints(portrait, sound, release_pose(shown)[frame])
        return networks.render(portrait, keypoints, spread_frames(sound, FRAMES))

    rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for pairs in people.values():
        # What each way is compared with, and a control.
        clip = next(iter(pairs.values())).picture
        others = [c for c in corpus.clips(clip.split, clip.speaker, NEUTRAL) if c != clip]
        other = next((c for c in others if c.sentence != clip.sentence), (others or [clip])[0])
        neutral, speech = rendered(clip, 0, clip), rendered(clip, 0, other)
        portrait, keypoints = networks.neutral(clip)
        # Every emotion of the person, given in three ways.
        for pair in pairs.values():
            typical = typical_frame(align_faces(pair.clip.landmarks()))
            looped = [frame % pair.source.frames for frame in range(clip.frames)]
            features = networks.features(networks.frames(pair.source, looped))
            displaced = networks.displaced(keypoints, features)
            results = {
                "speech": speech,
                "portrait": rendered(pair.clip, typical, clip),
                "sound": rendered(clip, 0, pair.clip),
                "displacement": networks.render(portrait, displaced, spread_frames(clip, FRAMES)),
            }
            if not rows["truth"]:
                write_png(out / "a2fd_alone.png", _ways(networks, pair, typical, neutral, results))
            faces = {way: each.faces for way, each in results.items()}
            truth = (align_faces(each.landmarks()) for each in (pair.clip, clip))
            for way, row in change_figures(faces, neutral.faces, *truth).items():
                rows[way].append(row)
    weights = [row["change_px"] ** 2 for row in rows["truth"]]
    return {way: summary(rows[way]) | {"share": pooled_share(rows[way], weights)} for way in WAYS}


def _ways(
    networks: TrainedNetworks,
    pair: Pair,
    typical: int,
    neutral: RenderedFrames,
    made: dict[str, RenderedFrames],
) -> Image:
    """Return rows of frames: the neutral result, the three ways and the true clip."""
    emotion, clip, source = pair.clip.emotion, pair.clip, pair.source
    plain = networks.frames(pair.picture, [0])[0]
    portrait = networks.frames(clip, [typical])[0]
    given = networks.frames(source, [source.frames // 2])[0]
    lines = {
        "neutral": (plain, neutral.frames),
        f"{emotion} portrait": (portrait, made["portrait"].frames),
        f"{emotion} sound": (plain, made["sound"].frames),
        "displacement": (given, made["displacement"].frames),
        "the true clip": (plain, networks.frames(clip, spread_frames(clip, PORTRAIT_ROW))),
    }
    rows = [_row(name, [one, *_spread(each, PORTRAIT_ROW)]) for name, (one, each) in lines.items()]
    return np.concatenate(rows)


def _spread(frames: Image, count: int) -> Image:
    return frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]


def _row(name: str, frames: Sequence[Image]) -> Image:
    """Return frames side by side, the first of them with the row's name."""
    return labelled_row(frames, [name, *[""] * (len(frames) - 1)], TILE)


def dynamic_sources(
    networks: TrainedNetworks, people: People, emotion: str, out: Path
) -> dict[str, Figures]:
    """Write dynamic_source.png, .mp4 and dynamic_source_tracks.png (Fig. 6); return the figures.

    A portrait of a held-out person speaks its neutral sentence. Its emotion comes from another
    person's clip frame by frame (dynamic), or from that clip's first frame (static). The supplement
    shows that brows follow the dynamic source and keep still under the static one. Medians over
    people of `motion_figures`, by kind of source:

        clip      an emotional clip as it is
        changing  neutral and emotional frames of that person in turn, each for a second (ours):
                  within a clip of the mini corpus an emotion hardly changes but for blinks

    Raises:
        ValueError: nobody held out shows the emotion.
    """
    able = [pairs[emotion] for pairs in people.values() if emotion in pairs]
    if not able:
        known = sorted({name for pairs in people.values() for name in pairs})
        raise ValueError(f"nobody held out shows {emotion!r}; known: {', '.join(known)}")
    rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for pair in able:
        clips = (people[pair.source.speaker][pair.source.emotion].picture, pair.source)
        faces = [align_faces(clip.landmarks()) for clip in clips]
        portrait, keypoints = networks.neutral(pair.picture)
        neutral = Keypoints(*(each[::STRIDE] for each in keypoints))
        for kind in KINDS:
            # Which frame of which clip is shown at each time.
            order = alternating(clips[0].frames, clips[1].frames, pair.picture.frames)
            if kind == "clip":
                order = [(1, t % clips[1].frames) for t in range(pair.picture.frames)]
            shown = order[::STRIDE]
            frames = np.concatenate([networks.frames(clips[which], [t]) for which, t in shown])
            source = RenderedFrames(frames, np.stack([faces[which][t] for which, t in shown]))
            # The portrait under the first of these frames alone, and under all of them.
            features = networks.features(frames)
            static, dynamic = (
                networks.render(portrait, networks.displaced(neutral, each), range(len(shown)))
                for each in (features[0], features)
            )
            rows[kind].append(motion_figures(static.faces, dynamic.faces, source.faces))
            if kind == "changing" and pair is able[0]:
                _show(out, source, static, dynamic)
    return {kind: summary(rows[kind]) for kind in KINDS}


def alternating(
    first: int, second: int, length: int, turn: int = FRAME_RATE
) -> list[tuple[int, int]]:
    """Return which frame of which of two clips is shown, as (0 or 1, frame), `turn` frames each.

    Both clips, of `first` and `second` frames, run on while the other is shown, and begin again at
    their end.
    """
    which = [t // turn % 2 for t in range(length)]
    return [(clip, t % (first, second)[clip]) for t, clip in enumerate(which)]


def _show(
    out: Path, source: RenderedFrames, static: RenderedFrames, dynamic: RenderedFrames
) -> None:
    """Write source, static and dynamic result: some frames, all as a video, and brow heights."""
    shown = {"emotion source": source, "its first frame alone": static, "frame by frame": dynamic}
    columns = [
        labelled_row(row, list(shown), TILE)
        for row in zip(*(each.frames for each in shown.values()), strict=True)
    ]
    write_video(out / "dynamic_source.mp4", [frame for frame in columns for _ in range(STRIDE)])
    rows = [_row(name, list(_spread(each.frames, SOURCE_ROW))) for name, each in shown.items()]
    write_png(out / "dynamic_source.png", np.concatenate(rows))
    heights = {name: brow_height(each.faces) for name, each in shown.items()}
    lines = {
        name: height - np.nanmean(height) if np.isfinite(height).any() else height
        for name, height in heights.items()
    }
    title = "height of the brows, px of the 256 px face, from each one's mean"
    tracks(out / "dynamic_source_tracks.png", title, lines, STRIDE)


def clusters(networks: TrainedNetworks, corpus: Corpus, out: Path) -> dict[str, Figures]:
    """Write clusters.png, the held-out clips of each kind in their principal plane.

    Supplement B.2: "features of the same type are clustered". A clip's feature is the mean over
    some of its frames, mouths hidden; at most CLUSTERED clips of a person and emotion count, of the
    emotions of training. Returns by kind of code the silhouettes of the emotions and of the people,
    -1 to 1, None where there is one alone. Baseline without an emotion network: its input at
    16 x 16 pixels.
    """
    known = {clip.emotion for clip in emotional_clips(corpus, "train")}
    counted: Counter[tuple[str, str]] = Counter()
    clips = []
    for clip in emotional_clips(corpus, TEST):
        counted[clip.speaker, clip.emotion] += 1
        if clip.emotion in known and counted[clip.speaker, clip.emotion] <= CLUSTERED:
            clips.append(clip)
    found = [_clip_codes(networks, clip) for clip in clips]
    codes = {kind: np.stack([one[kind] for one in found]).astype(float) for kind in CODES}
    emotions, speakers = [clip.emotion for clip in clips], [clip.speaker for clip in clips]
    panels = {title: principal_plane(codes[kind]) for kind, title in CODES.items()}
    clouds(out / "clusters.png", panels, emotions, speakers)
    named = {"by_emotion": emotions, "by_speaker": speakers}
    return {
        kind: {
            name: silhouette(codes_ND, labels) if len(set(labels)) > 1 else None
            for name, labels in named.items()
        }
        for kind, codes_ND in codes.items()
    }


@torch.no_grad()
def _clip_codes(networks: TrainedNetworks, clip: Clip) -> dict[str, Array]:
    """Return a clip's mean codes by kind, each (D,)."""
    shown = networks.frames(clip, spread_frames(clip, FRAMES))
    thumbnails = resized(from_tensor(emotion_source(shown, networks.description)), THUMBNAIL)
    return {
        "feature": networks.features(shown).mean(dim=0).cpu().numpy(),
        "pixels": thumbnails.mean(axis=0).ravel() / 255,
    }


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
    add_device(parser)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    out = args.out or args.runs / "analysis"
    with user_errors():
        detector, corpus = make_detector(), Corpus(args.corpus)
        networks = open_networks(
            args.runs, lambda frames: detect_faces(detector, frames), pick_device(args.device)
        )
        people = held_out_people(corpus)
        blends = [parse_pair(text) for text in args.blends]
        found = {
            "interpolation": interpolate(networks, people, blends, out),
            "a2fd_alone": emotional_inputs(networks, corpus, people, out),
            "dynamic_source": dynamic_sources(networks, people, args.emotion, out),
            "clusters": clusters(networks, corpus, out),
        }
    write_json(out / "analysis.json", found)
    write_text(out / "table.md", table(found))
    print(table(found), end="")  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
