"""Between two emotions (EAMM supplement, Fig. 1): the expression follows the feature's weight.

A portrait of a held-out person speaks a neutral sentence with its head held still. The emotion
feature is (1 - w) a + w b, where a and b are the mean features of another person's clips of two
emotions. The supplement shows that the transformation is smooth and leaves pose and identity alone;
here landmarks found in the rendered frames tell how far the face has come at each weight.

Letters: W weights, N rendered frames, S pixels of a side.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.faces.points import mouth_opening
from affekt.media.plots import beside, enlarged, write_png
from affekt.metrics.landmark import correlation, point_distance
from eamm.analysis.landmarks import SHAPE, align_faces
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

Blend = tuple[str, str]

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
SOURCE_FRAMES = 8  # of an emotion source, whose features are averaged
TILE = 150  # pixels a side of a frame in the picture


def interpolate(
    studio: Studio,
    people: dict[str, dict[str, Pair]],
    blends: Sequence[Blend],
    frames: int,
    out: Path,
) -> Figures:
    """Write interpolation.png, a row for each blend, and return the figures of `path_figures`.

    Medians over people and blends; `blends` counts them.

    Args:
        studio: the trained networks.
        people: of `unseen_pairs`; those who lack an emotion of a blend are left out of it.
        blends: the two emotions of each.
        frames: rendered for each person, blend and weight.
        out: where the picture goes.

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
        each = [_blended(studio, pairs[first], pairs[second], frames) for pairs in able]
        for pairs, one in zip(able, each, strict=True):
            truth = (align_faces(pairs[emotion].clip.landmarks()) for emotion in (first, second))
            rows.append(path_figures([made.faces for made in one], *truth))
        lines.append(_line(studio, able[0][first], able[0][second], each[0]))
    write_png(out / "interpolation.png", np.concatenate(lines))
    return summary(rows) | {"blends": float(len(rows))}


def path_figures(faces_W: Sequence[Array], first: Array, second: Array) -> dict[str, float]:
    """Return how a face goes from one emotion to another, by its frames (N, 68, 2) at each weight.

    Args:
        faces_W: aligned faces of the rendered frames at each of WEIGHTS.
        first, second: those (T, 68, 2) of the person's true clips of the two emotions.

    r            correlation of the share of the way that brows and lids have gone with the weight
    monotone     share of the steps from weight to weight that lead onwards
    middle       the share of the way gone at the middle weight
    share        how much of the person's true change between the emotions is made, and that way
    change_px    mean distance of brows and lids between the two ends
    shape_px     the same of jaw and nostrils
    shape_true_px  the same between the true clips: mouths open more in some emotions
    mouth_r      correlation of the mouth's opening between the two ends, frame by frame
    coverage     share of the frames in which a face was found
    """
    means = np.stack([mean_face(faces) for faces in faces_W])
    gone = expression_share(means, means[0], means[-1])
    steps, way = np.diff(gone), mean_face(second) - mean_face(first)
    known = steps[~np.isnan(steps)]
    return {
        "r": correlation(gone, WEIGHTS),
        "monotone": float((known > 0).mean()) if len(known) else float("nan"),
        "middle": float(gone[len(gone) // 2]),
        "share": float(expression_share(means[-1], means[0], means[0] + way)),
        "change_px": expression_change(means[0], means[-1]),
        "shape_px": point_distance(means[0], means[-1], SHAPE),
        "shape_true_px": point_distance(mean_face(first), mean_face(second), SHAPE),
        "mouth_r": correlation(mouth_opening(faces_W[0]), mouth_opening(faces_W[-1])),
        "coverage": coverage(*faces_W),
    }


def _blended(studio: Studio, first: Pair, second: Pair, frames: int) -> list[Made]:
    """Return the frames at each weight: the portrait of the first pair says its own sentence."""
    spoken = first.picture
    portrait = studio.portrait(spoken)
    neutral = studio.spoken(portrait, spoken, release_pose(spoken)[0])
    a, b = (
        studio.features(studio.frames(pair.source, spread_frames(pair.source, SOURCE_FRAMES)))
        for pair in (first, second)
    )
    chosen = spread_frames(spoken, frames)
    return [
        studio.made(portrait, studio.moved(neutral, (1 - w) * a.mean(0) + w * b.mean(0)), chosen)
        for w in WEIGHTS
    ]


def _line(studio: Studio, first: Pair, second: Pair, made: Sequence[Made]) -> Image:
    """Return one frame at each weight between the two emotion sources."""
    shown = len(made[0].frames) // 2
    ends = [studio.frames(pair.source, [pair.source.frames // 2])[0] for pair in (first, second)]
    pictures = [ends[0], *(each.frames[shown] for each in made), ends[1]]
    names = [first.clip.emotion, *(f"w = {w:g}" for w in WEIGHTS), second.clip.emotion]
    return beside([enlarged(picture, TILE) for picture in pictures], names)
