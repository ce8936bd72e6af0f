"""Figures 1, 4 and 6 of EAMM's supplement on held-out people, in pictures and measures.

Letters: W weights, T frames of a clip, N rendered ones, S pixels of a side.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.constants import FRAME_RATE
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.faces.points import mouth_opening
from affekt.media.plots import labelled_row, tracks, write_png
from affekt.media.video.video import write_video
from affekt.metrics.landmark import correlation, point_distance
from eamm.analysis.landmarks import EXPRESSION, align_faces
from eamm.analysis.networks import (
    Figures,
    People,
    RenderedFrames,
    TrainedNetworks,
    brow_height,
    coverage,
    expression_projection,
    mean_face,
    spread_frames,
    summary,
)
from eamm.displacement.validation import Pair
from eamm.fomm.keypoints import Keypoints
from eamm.pose import release_pose

Blend = tuple[str, str]

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
SOURCE_FRAMES = 8  # of an emotion source, whose features are averaged
WAYS = ("portrait", "sound", "displacement", "speech", "truth")
KINDS = ("clip", "changing")
TILE = 150  # pixels a side of a frame in pictures and the video
PORTRAIT_ROW, SOURCE_ROW = 4, 6  # frames in a row of Fig. 4, of Fig. 6


def interpolate(
    networks: TrainedNetworks, people: People, blends: Sequence[Blend], frames: int, out: Path
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
            ends = (pairs[first], pairs[second])
            rendered = _blended(networks, *ends, frames)
            truth = (align_faces(pair.clip.landmarks()) for pair in ends)
            rows.append(path_figures([each.faces for each in rendered], *truth))
            if pairs is able[0]:
                lines.append(_blend_row(networks, *ends, rendered))
    write_png(out / "interpolation.png", np.concatenate(lines))
    return summary(rows) | {"blends": float(len(rows))}


def path_figures(faces_W: Sequence[Array], first: Array, second: Array) -> dict[str, float]:
    """Return how a face changes from one emotion to another, by its frames at each weight.

    The faces are aligned: (N, 68, 2) of the rendered frames at each of WEIGHTS, (T, 68, 2) of the
    person's true clips of the two emotions. `r` is the correlation of brows and lids with the
    weight, `share` the whole change projected on the true one, `mouth_r` the correlation of the
    mouth's opening between the two ends.
    """
    means = np.stack([mean_face(faces) for faces in faces_W])
    true_change = mean_face(second) - mean_face(first)
    return {
        "r": correlation(expression_projection(means, means[0], means[-1]), WEIGHTS),
        "share": float(expression_projection(means[-1], means[0], means[0] + true_change)),
        "mouth_r": correlation(mouth_opening(faces_W[0]), mouth_opening(faces_W[-1])),
        "coverage": coverage(*faces_W),
    }


def _blended(
    networks: TrainedNetworks, first: Pair, second: Pair, frames: int
) -> list[RenderedFrames]:
    """Return the frames at each weight: the portrait of the first pair with its own sentence."""
    portrait, neutral = networks.neutral(first.picture)
    a, b = (
        networks.features(networks.frames(pair.source, spread_frames(pair.source, SOURCE_FRAMES)))
        for pair in (first, second)
    )
    chosen = spread_frames(first.picture, frames)
    blends = [(1 - w) * a.mean(0) + w * b.mean(0) for w in WEIGHTS]
    return [networks.render(portrait, networks.displaced(neutral, f), chosen) for f in blends]


def _blend_row(
    networks: TrainedNetworks, first: Pair, second: Pair, rendered: Sequence[RenderedFrames]
) -> Image:
    """Return one frame at each weight between the two emotion sources."""
    shown = len(rendered[0].frames) // 2
    ends = [networks.frames(pair.source, [pair.source.frames // 2])[0] for pair in (first, second)]
    pictures = [ends[0], *(each.frames[shown] for each in rendered), ends[1]]
    names = [first.clip.emotion, *(f"w = {w:g}" for w in WEIGHTS), second.clip.emotion]
    return labelled_row(pictures, names, TILE)


def emotional_inputs(
    networks: TrainedNetworks, corpus: Corpus, people: People, frames: int, out: Path
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
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for pairs in people.values():
        clip = next(iter(pairs.values())).picture
        # What each way is compared with, and a control; then every emotion of the person.
        neutral = _rendered(networks, clip, 0, clip, frames)
        speech = _rendered(networks, clip, 0, _another_sentence(corpus, clip), frames)
        for pair in pairs.values():
            results = {"speech": speech, **_with_emotion(networks, pair, frames)}
            faces = {way: each.faces for way, each in results.items()}
            truth = (align_faces(each.landmarks()) for each in (pair.clip, pair.picture))
            if not rows["truth"]:
                write_png(out / "a2fd_alone.png", _ways(networks, pair, neutral, results))
            for way, row in change_figures(faces, neutral.faces, *truth).items():
                rows[way].append(row)
    weights = [row["change_px"] ** 2 for row in rows["truth"]]
    return {way: summary(rows[way]) | {"share": pooled_share(rows[way], weights)} for way in WAYS}


def change_figures(
    results: dict[str, Array], neutral: Array, true_emotional: Array, true_neutral: Array
) -> dict[str, dict[str, float]]:
    """Return, for each way of giving A2FD an emotion and for the truth, by aligned faces:

    change_px  mean distance of brows and lids from the neutral result, means over frames
    share      projection on the true change: 1 all of it, 0 none or across
    coverage   share of the frames in which a face was found
    """
    start, true_start, true_end = map(mean_face, (neutral, true_neutral, true_emotional))
    goal: Array = start + true_end - true_start
    found = {
        way: {
            "change_px": point_distance(mean_face(faces), start, EXPRESSION),
            "share": float(expression_projection(mean_face(faces), start, goal)),
            "coverage": coverage(faces),
        }
        for way, faces in results.items()
    }
    truth = {"change_px": point_distance(true_end, true_start, EXPRESSION), "share": 1.0}
    return found | {"truth": truth | {"coverage": coverage(true_emotional)}}


def pooled_share(rows: Sequence[dict[str, float]], weights: Sequence[float]) -> float | None:
    """Return the weighted mean of the shares that are known, None if there is none."""
    shares, weigh = np.array([row["share"] for row in rows]), np.array(weights)
    known = np.isfinite(shares)
    return float(np.average(shares[known], weights=weigh[known])) if known.any() else None


def typical_frame(faces: Array) -> int:
    """Return which of aligned faces (T, 68, 2) is nearest to their mean in brows and lids."""
    away = (faces - mean_face(faces))[:, list(EXPRESSION)]
    return int(np.nanargmin(np.square(away).sum(axis=(1, 2))))


def _another_sentence(corpus: Corpus, neutral: Clip) -> Clip:
    """Return a neutral clip of the speaker with another sentence, if there is one."""
    others = [c for c in corpus.clips(neutral.split, neutral.speaker, NEUTRAL) if c != neutral]
    different = [clip for clip in others if clip.sentence != neutral.sentence]
    return (different or others or [neutral])[0]


def _with_emotion(networks: TrainedNetworks, pair: Pair, frames: int) -> dict[str, RenderedFrames]:
    """Return the results of the three ways of giving the emotion."""
    neutral, emotional, source = pair.picture, pair.clip, pair.source
    typical = typical_frame(align_faces(emotional.landmarks()))
    looped = [frame % source.frames for frame in range(neutral.frames)]
    features = networks.features(networks.frames(source, looped))
    portrait, keypoints = networks.neutral(neutral)
    displaced = networks.displaced(keypoints, features)
    return {
        "portrait": _rendered(networks, emotional, typical, neutral, frames),
        "sound": _rendered(networks, neutral, 0, emotional, frames),
        "displacement": networks.render(portrait, displaced, spread_frames(neutral, frames)),
    }


def _rendered(
    networks: TrainedNetworks, shown: Clip, frame: int, sound: Clip, frames: int
) -> RenderedFrames:
    """Return A2FD's result of a portrait, a frame of a clip, with another clip's sound."""
    portrait = networks.portrait(shown, frame)
    keypoints = networks.audio_keypoints(portrait, sound, release_pose(shown)[frame])
    return networks.render(portrait, keypoints, spread_frames(sound, frames))


def _ways(
    networks: TrainedNetworks, pair: Pair, neutral: RenderedFrames, made: dict[str, RenderedFrames]
) -> Image:
    """Return rows of frames: the neutral result, the three ways and the true clip."""
    emotion, clip, source = pair.clip.emotion, pair.clip, pair.source
    typical = typical_frame(align_faces(clip.landmarks()))
    plain = networks.frames(pair.picture, [0])[0]
    truth = networks.frames(clip, spread_frames(clip, PORTRAIT_ROW))
    given = networks.frames(source, [source.frames // 2])[0]
    lines = {
        "neutral": (plain, neutral.frames),
        f"{emotion} portrait": (networks.frames(clip, [typical])[0], made["portrait"].frames),
        f"{emotion} sound": (plain, made["sound"].frames),
        "displacement": (given, made["displacement"].frames),
        "the true clip": (plain, truth),
    }
    return np.concatenate(
        [
            _row(name, [first, *_spread(frames, PORTRAIT_ROW)])
            for name, (first, frames) in lines.items()
        ]
    )


def _spread(frames: Image, count: int) -> Image:
    return frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]


def _row(name: str, frames: Sequence[Image]) -> Image:
    """Return frames side by side, the first of them with the row's name."""
    return labelled_row(frames, [name, *[""] * (len(frames) - 1)], TILE)


def dynamic_sources(
    networks: TrainedNetworks, people: People, emotion: str, stride: int, out: Path
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
        neutral = people[pair.source.speaker][pair.source.emotion].picture
        for kind in KINDS:
            # Which frame of which clip is shown at each time.
            T, clips = pair.picture.frames, (neutral, pair.source)
            order = alternating(neutral.frames, pair.source.frames, T)
            if kind == "clip":
                order = [(1, t % pair.source.frames) for t in range(T)]
            shown = [(clips[which], t) for which, t in order[::stride]]
            source, faces = _read(networks, shown)
            # The portrait under the first of these frames alone, and under all of them.
            static, dynamic = _driven(networks, pair.picture, source, stride)
            rows[kind].append(motion_figures(static.faces, dynamic.faces, faces))
            if kind == "changing" and pair is able[0]:
                _show(out, source, faces, static, dynamic, stride)
    return {kind: summary(rows[kind]) for kind in KINDS}


def motion_figures(static: Array, dynamic: Array, source: Array) -> dict[str, float]:
    """Return how brows move under either source, of aligned faces (N, 68, 2).

    The lengths are deviations over time of the brows' height, pixels; `brows_r` is the correlation
    of the dynamic result with the source, `brows_static_r`, a control, that of the static one.
    """
    still, moving, theirs = (brow_height(faces) for faces in (static, dynamic, source))
    return {
        **{
            f"brows_{name}_px": float(np.nanstd(track)) if np.isfinite(track).any() else math.nan
            for name, track in (("static", still), ("dynamic", moving), ("source", theirs))
        },
        "brows_r": correlation(moving, theirs),
        "brows_static_r": correlation(still, theirs),
        "coverage": coverage(static, dynamic),
    }


def alternating(
    first: int, second: int, length: int, turn: int = FRAME_RATE
) -> list[tuple[int, int]]:
    """Return which frame of which of two clips is shown, as (0 or 1, frame), `turn` frames each.

    Both clips, of `first` and `second` frames, run on while the other is shown, and begin again at
    their end.
    """
    which = [t // turn % 2 for t in range(length)]
    return [(clip, t % (first, second)[clip]) for t, clip in enumerate(which)]


def _read(networks: TrainedNetworks, shown: Sequence[tuple[Clip, int]]) -> tuple[Image, Array]:
    """Return the frames (N, S, S, 3) of a source and their aligned landmarks (N, 68, 2)."""
    faces = {clip.id: align_faces(clip.landmarks()) for clip in {clip for clip, _ in shown}}
    frames = np.concatenate([networks.frames(clip, [frame]) for clip, frame in shown])
    return frames, np.stack([faces[clip.id][frame] for clip, frame in shown])


def _driven(
    networks: TrainedNetworks, spoken: Clip, source: Image, stride: int
) -> tuple[RenderedFrames, RenderedFrames]:
    """Return the results of a static and of a dynamic source (N, S, S, 3)."""
    portrait, every = networks.neutral(spoken)
    neutral = Keypoints(*(each[::stride] for each in every))
    features, chosen = networks.features(source), range(len(source))
    static, dynamic = (networks.displaced(neutral, each) for each in (features[0], features))
    return networks.render(portrait, static, chosen), networks.render(portrait, dynamic, chosen)


def _show(
    out: Path,
    source: Image,
    faces: Array,
    static: RenderedFrames,
    dynamic: RenderedFrames,
    stride: int,
) -> None:
    """Write source, static and dynamic result: some frames, all as a video, and brow heights."""
    shown = {
        "emotion source": RenderedFrames(source, faces),
        "its first frame alone": static,
        "frame by frame": dynamic,
    }
    columns = [
        labelled_row(row, list(shown), TILE)
        for row in zip(*(each.frames for each in shown.values()), strict=True)
    ]
    write_video(out / "dynamic_source.mp4", [frame for frame in columns for _ in range(stride)])
    rows = [_row(name, list(_spread(each.frames, SOURCE_ROW))) for name, each in shown.items()]
    write_png(out / "dynamic_source.png", np.concatenate(rows))
    heights = {name: brow_height(each.faces) for name, each in shown.items()}
    lines = {
        name: height - np.nanmean(height) if np.isfinite(height).any() else height
        for name, height in heights.items()
    }
    title = "height of the brows, px of the 256 px face, from each one's mean"
    tracks(out / "dynamic_source_tracks.png", title, lines, stride)
