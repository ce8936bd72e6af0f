"""The numbers behind Fig. 5: how codes cluster, what can be read from them, and how surely.

    emotion_silhouette    how far the emotions lie apart, -1 to 1; the same of sentences, speakers
    emotion_nearest_mean  share of clips nearest the mean code of their emotion
    emotion_probe         share of clips whose emotion a linear probe reads
    sentence_probe        the same of the sentence; speaker_probe of the speaker

A reader never saw the group that it reads: for emotion and speaker one sentence is left out, by all
speakers in all emotions, for the sentence one speaker. `unheard` counts the clips that no encoder
learned from: silhouettes among them alone; readers as ever, who know the other groups' clips, heard
or not. `all` counts every clip, most of which the encoders have learned from, which flatters them.

Intervals (affekt/metrics/intervals.py) draw what was left out, sentences or speakers; where
there are fewer than `MIN_UNITS`, what each speaker said of each sentence; where these are few too,
none.

Letters: N clips, R runs, one for each seed, D channels of a code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from affekt.arrays import Array
from affekt.media.corpus import Clip
from affekt.metrics.intervals import Interval, clustered_difference, clustered_mean, clustered_share
from affekt.metrics.probes import leave_one_group_out_hits, linear_probe, nearest_mean, silhouettes

Entry = dict[str, Any]
Scores = dict[str, Array]  # figure -> a score for each clip, (N,)
Where = Literal["unheard", "all"]
Stacks = dict[Where, Scores]  # the same of every run, (R, N)
What = Literal["emotion", "sentence", "speaker"]

MIN_UNITS = 5  # fewer say next to nothing of how units differ
READERS = {"nearest_mean": nearest_mean, "probe": linear_probe}


@dataclass(frozen=True)
class Figure:
    """One number of a kind of codes."""

    name: str
    what: What  # the label that is looked for
    kind: Literal["silhouette", "nearest_mean", "probe"]
    across: What  # the groups left out in turn, and the unit of the interval


FIGURES = (
    Figure("emotion_silhouette", "emotion", "silhouette", "sentence"),
    Figure("emotion_nearest_mean", "emotion", "nearest_mean", "sentence"),
    Figure("emotion_probe", "emotion", "probe", "sentence"),
    Figure("sentence_silhouette", "sentence", "silhouette", "sentence"),
    Figure("sentence_probe", "sentence", "probe", "speaker"),
    Figure("speaker_silhouette", "speaker", "silhouette", "sentence"),
    Figure("speaker_probe", "speaker", "probe", "sentence"),
)


@dataclass(frozen=True)
class Labels:
    """What is known of N clips; every array has one name for each."""

    emotion: Array
    sentence: Array
    speaker: Array
    unheard: NDArray[np.bool_]  # no encoder learned from the clip

    def of(self, what: What) -> Array:
        """Return the names of one kind, (N,)."""
        return getattr(self, what)

    def some(self, chosen: Array) -> "Labels":
        """Return the labels of some of the clips."""
        parts = (self.emotion, self.sentence, self.speaker, self.unheard)
        return Labels(*(part[chosen] for part in parts))

    def selections(self) -> dict[Where, NDArray[np.bool_]]:
        """Return which clips count, (N,), in each part of the report; none is empty."""
        every: dict[Where, NDArray[np.bool_]] = {
            "unheard": self.unheard,
            "all": np.ones_like(self.unheard),
        }
        return {where: chosen for where, chosen in every.items() if chosen.any()}


def labels_of_clips(clips: Sequence[Clip]) -> Labels:
    """Return the labels of clips.

    Raises:
        ValueError: one emotion or one sentence: nothing to tell apart, or to leave out.
    """
    labels = Labels(
        np.array([clip.emotion for clip in clips]),
        np.array([clip.sentence for clip in clips]),
        np.array([clip.speaker for clip in clips]),
        np.array([clip.split != "train" for clip in clips]),
    )
    for what in ("emotion", "sentence"):
        found = np.unique(getattr(labels, what))
        if len(found) < 2:
            raise ValueError(
                f"{len(clips)} clips of one {what} ({', '.join(found)}): wanted at least two"
            )
    return labels


def score(codes_ND: Array, labels: Labels) -> dict[Where, Scores]:
    """Return the score of every clip in every figure that can be measured.

    A silhouette needs two classes; a reader two groups, and a class that two of them have.
    """
    hits = {
        figure.name: leave_one_group_out_hits(
            codes_ND, labels.of(figure.what), labels.of(figure.across), READERS[figure.kind]
        )
        for figure in FIGURES
        if figure.kind in READERS and _readable(labels.of(figure.what), labels.of(figure.across))
    }
    scores: dict[Where, Scores] = {}
    for where, chosen in labels.selections().items():
        few = labels.some(chosen)
        scores[where] = {name: hit[chosen].astype(float) for name, hit in hits.items()}
        for figure in FIGURES:
            names = few.of(figure.what)
            if figure.kind == "silhouette" and 1 < len(np.unique(names)) < len(names):
                scores[where][figure.name] = silhouettes(codes_ND[chosen], names)
    return scores


def stacked(runs: Sequence[dict[Where, Scores]]) -> Stacks:
    """Return the scores (N,) of several runs on the same clips as (R, N)."""
    return {
        where: {name: np.stack([run[where][name] for run in runs]) for name in scores}
        for where, scores in runs[0].items()
    }


def figure_entry(figure: Figure, scores_RN: Array, labels: Labels) -> Entry:
    """Return a figure as analysis.json holds it: the mean over runs, bounds, each run's mean."""
    unit, clusters = units_of(labels, figure.across)
    of = clustered_mean if figure.kind == "silhouette" else clustered_share
    entry = _entry(of(scores_RN.mean(axis=0), clusters), unit, clusters)
    return entry | {"by_run": scores_RN.mean(axis=1).tolist()}


def chances(labels: Labels) -> dict[str, float]:
    """Return what readers who hear nothing reach: the share of the commonest class.

    Of all clips, from which a reader learns; which of them are counted afterwards it cannot know.
    """
    found = {}
    for figure in FIGURES:
        counts = np.unique(labels.of(figure.what), return_counts=True)[1]
        if figure.kind in READERS:
            found[figure.name] = float(counts.max() / counts.sum())
    return found


def difference_entry(figure: Figure, first_RN: Array, second_RN: Array, labels: Labels) -> Entry:
    """Return the first minus the second of two models on the same clips, and its paired bounds."""
    unit, clusters = units_of(labels, figure.across)
    first, second = first_RN.mean(axis=0), second_RN.mean(axis=0)
    if figure.kind == "silhouette":
        bounds = clustered_mean(first - second, clusters)
    else:
        bounds = clustered_difference(first, second, clusters)
    each = (first_RN - second_RN).mean(axis=1)
    return _entry(bounds, unit, clusters) | {"by_run": each.tolist()}


def units_of(labels: Labels, across: What) -> tuple[str, Array]:
    """Return what an interval draws: its name and the unit of each clip, (N,)."""
    groups = labels.of(across)
    cells = np.array([f"{a}/{b}" for a, b in zip(labels.speaker, labels.sentence, strict=True)])
    if len(np.unique(groups)) >= MIN_UNITS or len(np.unique(cells)) < MIN_UNITS:
        return across, groups
    return "speaker and sentence", cells


def telling(entry: Entry) -> bool:
    """Say whether a difference is surely not 0: by its bounds, and in the same way in every run."""
    if entry["low"] is None or not (entry["low"] > 0 or entry["high"] < 0):
        return False
    return len({each > 0 for each in entry["by_run"]}) == 1


def _entry(bounds: Interval, unit: str, clusters: Array) -> Entry:
    units = len(np.unique(clusters))
    few = units < MIN_UNITS
    return {
        "value": bounds.value,
        "low": None if few else bounds.low,
        "high": None if few else bounds.high,
        "unit": unit,
        "units": units,
        "clips": len(clusters),
    }


def _readable(names: Array, groups: Array) -> bool:
    """Say whether any class is in two groups, and there are two classes."""
    pairs = np.unique(np.stack([names, groups]).astype(str), axis=1)
    shared = np.unique(pairs[0], return_counts=True)[1] > 1
    return len(shared) > 1 and bool(shared.any())
