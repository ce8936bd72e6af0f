"""A static against a dynamic emotion source (EAMM supplement, Fig. 6): is motion taken over?

A portrait of a held-out person speaks a neutral sentence with its head held still. Its emotion
comes from another person's clip, frame by frame (dynamic), or from that clip's first frame
(static). The supplement shows that brows follow the dynamic source and keep still under the static
one.

    clip      an emotional clip as it is
    changing  neutral and emotional frames of that person in turn, each for a second (ours): within
              a clip of the mini corpus an emotion hardly changes but for blinks

Letters: T frames, N rendered ones, S pixels of a side.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.constants import FRAME_RATE
from affekt.media.corpus import Clip
from affekt.media.faces.points import eye_opening
from affekt.media.plots import beside, enlarged, tracks, write_png
from affekt.media.video.video import write_video
from affekt.metrics.landmark import correlation
from eamm.analysis.landmarks import align_faces
from eamm.analysis.networks import Figures, Made, Studio, brow_height, coverage, summary
from eamm.displacement.validation import Pair
from eamm.inference.pose import release_pose

KINDS = ("clip", "changing")
TILE = 150  # pixels a side of a frame in pictures and the video
PICTURED = 6  # frames in the picture


def dynamic_sources(
    studio: Studio, people: dict[str, dict[str, Pair]], emotion: str, stride: int, out: Path
) -> dict[str, Figures]:
    """Write dynamic_source.png, .mp4 and dynamic_source_tracks.png, of the changing source.

    Returns the figures of `motion_figures` by kind of source, medians over people.

    Args:
        studio: the trained networks.
        people: of `unseen_pairs`; those with a clip of the emotion count.
        emotion: of the source.
        stride: every so many frames are rendered.
        out: where the pictures go.

    Raises:
        ValueError: nobody held out shows the emotion.
    """
    able = [pairs[emotion] for pairs in people.values() if emotion in pairs]
    if not able:
        known = sorted({name for pairs in people.values() for name in pairs})
        raise ValueError(f"nobody held out shows {emotion!r}; known: {', '.join(known)}")
    rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for number, pair in enumerate(able):
        neutral = people[pair.source.speaker][pair.source.emotion].picture
        for kind in KINDS:
            shown = _source(pair.source, neutral, pair.picture.frames, kind)[::stride]
            source, theirs = _read(studio, shown)
            static, dynamic = _driven(studio, pair, source, stride)
            rows[kind].append(motion_figures(static.faces, dynamic.faces, theirs))
            if kind == "changing" and not number:
                _show(out, source, static, dynamic, stride)
                _draw(out, theirs, static, dynamic, stride)
    return {kind: summary(rows[kind]) for kind in KINDS}


def motion_figures(static: Array, dynamic: Array, source: Array) -> dict[str, float]:
    """Return how brows and lids move under either source, of aligned faces (N, 68, 2).

    <what>_static_px, _dynamic_px, _source_px  deviation over time of the height of the brows, or of
                                               the opening of the eyes, in either result and source
    <what>_r          correlation of the dynamic result with the source
    <what>_static_r   the same of the static result, which knows nothing of the source's motion
    coverage          share of the frames of both results in which a face was found
    """
    found: dict[str, float] = {}
    for what, measure in (("brows", brow_height), ("lids", eye_opening)):
        still, moving, theirs = (measure(faces) for faces in (static, dynamic, source))
        found |= {
            f"{what}_static_px": _deviation(still),
            f"{what}_dynamic_px": _deviation(moving),
            f"{what}_source_px": _deviation(theirs),
            f"{what}_r": correlation(moving, theirs),
            f"{what}_static_r": correlation(still, theirs),
        }
    return found | {"coverage": coverage(static, dynamic)}


def alternating(
    first: int, second: int, length: int, turn: int = FRAME_RATE
) -> list[tuple[int, int]]:
    """Return which frame of which of two clips is shown, as (0 or 1, frame), `turn` frames each.

    Both clips run on while the other is shown, and begin again at their end.

    Args:
        first, second: frames of either.
        length: frames shown.
        turn: frames until the other clip is shown.
    """
    counts = first, second
    which = [t // turn % 2 for t in range(length)]
    return [(clip, t % counts[clip]) for t, clip in enumerate(which)]


def _source(emotional: Clip, neutral: Clip, length: int, kind: str) -> list[tuple[Clip, int]]:
    """Return the clip and frame that is shown at each of `length` frames."""
    if kind == "clip":
        return [(emotional, t % emotional.frames) for t in range(length)]
    clips = neutral, emotional
    return [(clips[which], t) for which, t in alternating(neutral.frames, emotional.frames, length)]


def _read(studio: Studio, shown: Sequence[tuple[Clip, int]]) -> tuple[Image, Array]:
    """Return the frames (N, S, S, 3) of a source and their aligned landmarks (N, 68, 2)."""
    faces = {clip.id: align_faces(clip.landmarks()) for clip in {clip for clip, _ in shown}}
    frames = np.concatenate([studio.frames(clip, [frame]) for clip, frame in shown])
    return frames, np.stack([faces[clip.id][frame] for clip, frame in shown])


def _driven(studio: Studio, pair: Pair, source: Image, stride: int) -> tuple[Made, Made]:
    """Return the results of a static and of a dynamic source (N, S, S, 3)."""
    spoken = pair.picture
    portrait = studio.portrait(spoken)
    every = studio.spoken(portrait, spoken, release_pose(spoken)[0])
    neutral = type(every)(*(each[::stride] for each in every))
    features, chosen = studio.features(source), range(len(source))
    static, dynamic = (
        studio.made(portrait, studio.moved(neutral, each), chosen)
        for each in (features[0], features)
    )
    return static, dynamic


def _show(out: Path, source: Image, static: Made, dynamic: Made, stride: int) -> None:
    """Write the frames of source, static and dynamic result: some as a picture, all as a video."""
    names = ("emotion source", "its first frame alone", "frame by frame")
    columns = [
        beside([enlarged(each, TILE) for each in row], names)
        for row in zip(source, static.frames, dynamic.frames, strict=True)
    ]
    write_video(out / "dynamic_source.mp4", [frame for frame in columns for _ in range(stride)])
    places = np.linspace(0, len(source) - 1, PICTURED).round().astype(int)
    lines = [
        beside([enlarged(frame, TILE) for frame in frames[places]], [name, *[""] * (PICTURED - 1)])
        for name, frames in zip(names, (source, static.frames, dynamic.frames), strict=True)
    ]
    write_png(out / "dynamic_source.png", np.concatenate(lines))


def _draw(out: Path, source: Array, static: Made, dynamic: Made, stride: int) -> None:
    """Write the heights of the brows over time, each from its mean."""
    lines = {
        name: height - np.nanmean(height) if np.isfinite(height).any() else height
        for name, height in (
            ("emotion source", brow_height(source)),
            ("its first frame alone", brow_height(static.faces)),
            ("frame by frame", brow_height(dynamic.faces)),
        )
    }
    title = "height of the brows, px of the 256 px face, from each one's mean"
    tracks(out / "dynamic_source_tracks.png", title, lines, stride)


def _deviation(track: Array) -> float:
    known = track[~np.isnan(track)]
    return float(known.std()) if len(known) else float("nan")
