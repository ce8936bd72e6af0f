"""Metrics of emotion and content codes: silhouettes, leave-one-group-out accuracies, intervals.

    emotion_silhouette    silhouette of the emotions, -1 to 1; of held-out clips among themselves
    emotion_nearest_mean  leave-one-sentence-out accuracy of the nearest mean code
    emotion_probe         leave-one-sentence-out accuracy of a linear probe for emotion
    sentence_probe        leave-one-speaker-out accuracy of a linear probe for the sentence

Clips are `held_out` (no encoder learned from them) or `all`, most of which the encoders learned
from. Intervals sample the groups left out, sentences or speakers; where there are fewer than
`MIN_UNITS`, pairs of speaker and sentence; where these are few too, there is none.

Letters: N clips, R runs, one for each seed, D channels of a code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from affekt.arrays import Array
from affekt.media.corpus import Clip
from affekt.metrics.intervals import clustered_difference, clustered_mean, clustered_share
from affekt.metrics.probes import leave_one_group_out_hits, linear_probe, nearest_mean, silhouettes

Entry = dict[str, Any]
Scores = dict[str, dict[str, Array]]  # clips (held_out, all) -> metric -> a score of each, (N,)
What = Literal["emotion", "sentence", "speaker"]

MIN_UNITS = 5  # with fewer, an interval has next to no information about units
CLASSIFIERS = {"nearest_mean": nearest_mean, "probe": linear_probe}


@dataclass(frozen=True)
class CodeMetric:
    """One number of a kind of codes."""

    name: str
    label: What
    kind: Literal["silhouette", "nearest_mean", "probe"]
    groups: What  # left out in turn, and the unit of the interval


METRICS = (
    CodeMetric("emotion_silhouette", "emotion", "silhouette", "sentence"),
    CodeMetric("emotion_nearest_mean", "emotion", "nearest_mean", "sentence"),
    CodeMetric("emotion_probe", "emotion", "probe", "sentence"),
    CodeMetric("sentence_probe", "sentence", "probe", "speaker"),
)


@dataclass(frozen=True)
class Labels:
    """The labels of N clips; every array has one for each."""

    emotion: Array
    sentence: Array
    speaker: Array
    held_out: NDArray[np.bool_]  # no encoder learned from the clip

    def of(self, what: What) -> Array:
        """Return the labels of one kind, (N,)."""
        return getattr(self, what)

    def some(self, chosen: Array) -> "Labels":
        """Return the labels of some of the clips."""
        parts = (self.emotion, self.sentence, self.speaker, self.held_out)
        return Labels(*(part[chosen] for part in parts))

    def selections(self) -> dict[str, NDArray[np.bool_]]:
        """Return which clips count, (N,), in each part of the report; none is empty."""
        every = {"held_out": self.held_out, "all": np.ones_like(self.held_out)}
        return {where: chosen for where, chosen in every.items() if chosen.any()}


def labels_of_clips(clips: Sequence[Clip]) -> Labels:
    """Return the labels of clips.

    Raises:
        ValueError: clips of one emotion or one sentence alone.
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


def score(codes_ND: Array, labels: Labels) -> Scores:
    """Return the score of every clip in every metric that can be measured.

    A silhouette needs two classes; a classifier two groups, and a class that two of them have.
    """
    selections = labels.selections()
    found: Scores = {where: {} for where in selections}
    for metric in METRICS:
        names, groups = labels.of(metric.label), labels.of(metric.groups)
        if metric.kind == "silhouette":
            for where, chosen in selections.items():
                if 1 < len(np.unique(names[chosen])) < chosen.sum():
                    found[where][metric.name] = silhouettes(codes_ND[chosen], names[chosen])
        elif _classifiable(names, groups):
            hits = leave_one_group_out_hits(codes_ND, names, groups, CLASSIFIERS[metric.kind])
            for where, chosen in selections.items():
                found[where][metric.name] = hits[chosen].astype(float)
    return found


def entry(
    metric: CodeMetric, scores_RN: Array, labels: Labels, minus_RN: Array | None = None
) -> Entry:
    """Return a metric as analysis.json holds it: the mean over runs, its interval, each run's mean.

    With `minus_RN`, the scores of a second model on the same clips, the paired difference of both.
    """
    unit, clusters = units_of(labels, metric.groups)
    mean = scores_RN.mean(axis=0)
    if minus_RN is None:
        by_run = scores_RN.mean(axis=1)
        of = clustered_mean if metric.kind == "silhouette" else clustered_share
        interval = of(mean, clusters)
    else:
        by_run, minus = (scores_RN - minus_RN).mean(axis=1), minus_RN.mean(axis=0)
        paired = metric.kind == "silhouette"
        interval = (
            clustered_mean(mean - minus, clusters)
            if paired
            else clustered_difference(mean, minus, clusters)
        )
    units = len(np.unique(clusters))
    few = units < MIN_UNITS
    return {
        "value": interval.value,
        "low": None if few else interval.low,
        "high": None if few else interval.high,
        "unit": unit,
        "units": units,
        "clips": len(clusters),
        "by_run": by_run.tolist(),
    }


def units_of(labels: Labels, groups: What) -> tuple[str, Array]:
    """Return what an interval samples: its name and the unit of each clip, (N,)."""
    names = labels.of(groups)
    cells = np.array([f"{a}/{b}" for a, b in zip(labels.speaker, labels.sentence, strict=True)])
    if len(np.unique(names)) >= MIN_UNITS or len(np.unique(cells)) < MIN_UNITS:
        return groups, names
    return "speaker and sentence", cells


def chances(labels: Labels) -> dict[str, float]:
    """Return the accuracy by chance: the share of the commonest class of all clips."""
    found = {}
    for metric in METRICS:
        counts = np.unique(labels.of(metric.label), return_counts=True)[1]
        if metric.kind in CLASSIFIERS:
            found[metric.name] = float(counts.max() / counts.sum())
    return found


def significant(difference: Entry) -> bool:
    """Return whether the interval excludes 0 and every run's difference has the same sign."""
    low, high = difference["low"], difference["high"]
    if low is None or not (low > 0 or high < 0):
        return False
    return len({each > 0 for each in difference["by_run"]}) == 1


def _classifiable(names: Array, groups: Array) -> bool:
    """Return whether any class is in two groups, and there are two classes."""
    pairs = np.unique(np.stack([names, groups]).astype(str), axis=1)
    shared = np.unique(pairs[0], return_counts=True)[1] > 1
    return len(shared) > 1 and bool(shared.any())
