"""What emotion does to A2FD alone (EAMM supplement, Fig. 4): an emotional portrait, or sound.

The supplement shows that A2FD keeps the expression of an emotional portrait and leaves the upper
face static, and that emotional speech changes no expression: only the displacement does. Here each
way of giving it the emotion is set against the neutral result, a neutral portrait that speaks a
neutral sentence; head poses are the portrait's own, held still.

    portrait      an emotional portrait of the person speaks the neutral sentence
    sound         the neutral portrait speaks the person's emotional sentence
    displacement  the neutral result, moved by another person's emotional clip
    speech        the neutral portrait speaks another neutral sentence: what words alone do
    truth         the person's true emotional clip against the true neutral one

Letters: N rendered frames, S pixels of a side.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.plots import beside, enlarged, write_png
from eamm.analysis.landmarks import EXPRESSION, align_faces
from eamm.analysis.networks import (
    Figures,
    Made,
    Studio,
    coverage,
    expression_change,
    expression_share,
    mean_face,
    spread_frames,
    summary,
)
from eamm.displacement.validation import Pair
from eamm.inference.pose import release_pose

WAYS = ("portrait", "sound", "displacement", "speech", "truth")
TILE = 150  # pixels a side of a frame in the picture
PICTURED = 4  # frames in the picture


def emotional_inputs(
    studio: Studio,
    corpus: Corpus,
    people: dict[str, dict[str, Pair]],
    frames: int,
    out: Path,
) -> dict[str, Figures]:
    """Write a2fd_alone.png and return the figures of `way_figures` by way.

    Medians over clips; `share` is a mean in which a clip counts by the square of its true change:
    where an emotion hardly moves brows and lids, the share of that is noise.

    Args:
        studio: the trained networks.
        corpus: whose other neutral sentences are spoken.
        people: of `unseen_pairs`; each emotion of each person counts.
        frames: rendered for each result.
        out: where the picture goes.
    """
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    pictured = False
    for pairs in people.values():
        neutral, speech = _without_emotion(studio, corpus, next(iter(pairs.values())), frames)
        for pair in pairs.values():
            made = {"speech": speech, **_with_emotion(studio, pair, frames)}
            found = way_figures(
                {way: each.faces for way, each in made.items()},
                neutral.faces,
                *(align_faces(clip.landmarks()) for clip in (pair.clip, pair.picture)),
            )
            for way in WAYS:
                rows[way].append(found[way])
            if not pictured:
                write_png(out / "a2fd_alone.png", _picture(studio, pair, neutral, made))
                pictured = True
    weights = [row["change_px"] ** 2 for row in rows["truth"]]
    return {way: summary(rows[way]) | {"share": pooled_share(rows[way], weights)} for way in WAYS}


def way_figures(
    results: dict[str, Array], neutral: Array, true_emotional: Array, true_neutral: Array
) -> dict[str, dict[str, float]]:
    """Return, for each way of giving A2FD an emotion and for the truth:

    change_px  mean distance of brows and lids from the neutral result, means over frames
    share      how much of the true change they have gone: 1 all of it, 0 none or across
    motion_px  how much brows and lids move within the clip, see `motion`
    coverage   share of the frames in which a face was found

    Args:
        results: aligned faces (N, 68, 2) by way.
        neutral: of the neutral result.
        true_emotional: (T, 68, 2) of the person's emotional clip.
        true_neutral: of the neutral one.
    """
    start, true_start, true_end = map(mean_face, (neutral, true_neutral, true_emotional))
    goal: Array = start + true_end - true_start
    found = {
        way: {
            "change_px": expression_change(mean_face(faces), start),
            "share": float(expression_share(mean_face(faces), start, goal)),
            "motion_px": motion(faces),
            "coverage": coverage(faces),
        }
        for way, faces in results.items()
    }
    truth = {
        "change_px": expression_change(true_end, true_start),
        "share": 1.0,
        "motion_px": motion(true_emotional),
        "coverage": coverage(true_emotional),
    }
    return found | {"truth": truth}


def pooled_share(rows: Sequence[dict[str, float]], weights: Sequence[float]) -> float | None:
    """Return the weighted mean of the shares that are known, None if there is none."""
    shares, weigh = np.array([row["share"] for row in rows]), np.array(weights)
    known = np.isfinite(shares)
    return float(np.average(shares[known], weights=weigh[known])) if known.any() else None


def motion(faces: Array) -> float:
    """Return the root mean square deviation of brows and lids from their mean, pixels.

    Args:
        faces: aligned, (N, 68, 2); NaN without a face. NaN is returned if none was found.
    """
    away = (faces - mean_face(faces))[:, list(EXPRESSION)]
    known = away[~np.isnan(away).any(axis=(1, 2))]
    return float(np.sqrt(np.square(known).sum(axis=-1).mean())) if len(known) else float("nan")


def typical_frame(faces: Array) -> int:
    """Return which of aligned faces (T, 68, 2) is nearest to their mean in brows and lids."""
    away = (faces - mean_face(faces))[:, list(EXPRESSION)]
    return int(np.nanargmin(np.square(away).sum(axis=(1, 2))))


def _without_emotion(studio: Studio, corpus: Corpus, pair: Pair, frames: int) -> tuple[Made, Made]:
    """Return the neutral result, and that of another neutral sentence (the same, if alone)."""
    neutral = pair.picture
    others = [c for c in corpus.clips(neutral.split, neutral.speaker, NEUTRAL) if c != neutral]
    calm = [clip for clip in others if clip.sentence != neutral.sentence]
    other = (calm or others or [neutral])[0]
    return _made(studio, neutral, 0, neutral, frames), _made(studio, neutral, 0, other, frames)


def _with_emotion(studio: Studio, pair: Pair, frames: int) -> dict[str, Made]:
    """Return the results of the three ways of giving the emotion."""
    neutral, emotional, source = pair.picture, pair.clip, pair.source
    typical = typical_frame(align_faces(emotional.landmarks()))
    portrait = studio.portrait(neutral)
    spoken = studio.spoken(portrait, neutral, release_pose(neutral)[0])
    chosen = spread_frames(neutral, frames)
    looped = [frame % source.frames for frame in range(neutral.frames)]
    features = studio.features(studio.frames(source, looped))
    return {
        "portrait": _made(studio, emotional, typical, neutral, frames),
        "sound": _made(studio, neutral, 0, emotional, frames),
        "displacement": studio.made(portrait, studio.moved(spoken, features), chosen),
    }


def _made(studio: Studio, shown: Clip, frame: int, sound: Clip, frames: int) -> Made:
    """Return A2FD's result of a portrait, a frame of a clip, that speaks another clip's words."""
    portrait = studio.portrait(shown, frame)
    spoken = studio.spoken(portrait, sound, release_pose(shown)[frame])
    return studio.made(portrait, spoken, spread_frames(sound, frames))


def _picture(studio: Studio, pair: Pair, neutral: Made, made: dict[str, Made]) -> Image:
    """Return rows of frames: the neutral result, the three ways and the true clip."""
    truth = studio.frames(pair.clip, spread_frames(pair.clip, PICTURED))
    typical = typical_frame(align_faces(pair.clip.landmarks()))
    plain, emotional = (
        studio.frames(clip, [frame])[0] for clip, frame in ((pair.picture, 0), (pair.clip, typical))
    )
    source = studio.frames(pair.source, [pair.source.frames // 2])[0]
    emotion = pair.clip.emotion
    lines: Sequence[tuple[str, Image, Image]] = (
        ("neutral", plain, neutral.frames),
        (f"{emotion} portrait", emotional, made["portrait"].frames),
        (f"{emotion} sound", plain, made["sound"].frames),
        ("displacement", source, made["displacement"].frames),
        ("the true clip", plain, truth),
    )
    return np.concatenate([_row(*line) for line in lines])


def _row(name: str, given: Image, frames: Image) -> Image:
    places = np.linspace(0, len(frames) - 1, PICTURED).round().astype(int)
    shown = [enlarged(picture, TILE) for picture in (given, *frames[places])]
    return beside(shown, [name, *[""] * PICTURED])
