"""Emotion codes with and without cross reconstruction (EVP Sec. 4.3, Fig. 5): t-SNE and figures.

    python -m evp.analysis.codes --run runs/disentangle --no-cross runs/disentangle_no_cross
    python -m evp.analysis.codes --run runs/a runs/a_seed1 --no-cross runs/b runs/b_seed1

--run is a run of train_disentangle.py, --no-cross the same with loss.cross_reconstruction=0; with
several seeds, one of each for each seed in the same order. The pretrained encoders and the corpus
are those that the runs' config.yaml names; --pretrained and --corpus name others. Writes into --out
(default: analysis/ in the first run):

    figure_5.png   t-SNE of the emotion codes of the first seed: pretrained, after cross
                   reconstruction, without it
    analysis.json  figures.<clips>.<model>.<code>.<metric> and differences.<clips>.<pair>.<code>.
                   <metric>, each with value, 95 % interval, what it samples, every run's value
    analysis.md    the same as tables

Clips are `held_out` (no encoder learned from them) or `all`. Metrics:

    emotion_silhouette    silhouette of the emotions, -1 to 1; of held-out clips among themselves
    emotion_nearest_mean  leave-one-sentence-out accuracy of the nearest mean code
    emotion_probe         leave-one-sentence-out accuracy of a linear probe for emotion
    sentence_probe        leave-one-speaker-out accuracy of a linear probe for the sentence

Intervals sample the groups left out, sentences or speakers; where there are fewer than `MIN_UNITS`,
pairs of speaker and sentence; where these are few too, there is none.

Letters: N clips, R runs, one for each seed, D channels of a code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from affekt.arrays import Array
from affekt.markdown import markdown_table
from affekt.media.corpus import Clip, Corpus
from affekt.media.plots import clouds
from affekt.metrics.intervals import clustered_difference, clustered_mean, clustered_share
from affekt.metrics.probes import (
    leave_one_group_out_hits,
    linear_probe,
    nearest_mean,
    principal_plane,
    silhouettes,
)
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import write_json, write_text
from evp.analysis.code_runs import (
    Model,
    corpus_of_models,
    mean_mfcc,
    notes,
    open_models,
    part_codes,
)

Entry = dict[str, Any]
Scores = dict[str, dict[str, Array]]  # clips (held_out, all) -> metric -> a score of each, (N,)
Scored = dict[str, list[Scores]]  # of a model: code -> the scores of every run
What = Literal["emotion", "sentence", "speaker"]

MIN_UNITS = 5  # with fewer, an interval has next to no information about units
CLASSIFIERS = {"nearest_mean": nearest_mean, "probe": linear_probe}
COMPARED = (("cross", "no_cross"), ("cross", "pretrained"))  # the first minus the second
CODES = {"emotion": "E_e", "content": "E_c", "mfcc": "mean MFCC"}
PANELS = {
    "pretrained": "pretrained",
    "cross": "after cross reconstruction",
    "no_cross": "trained with the cross term at 0",
}
PERPLEXITY = 30.0  # scikit-learn's default, about how many neighbours a point has
START = 1e-4  # deviation of the first coordinates, as scikit-learn scales its principal components


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
        return Labels(*(part[chosen] for part in vars(self).values()))

    def selections(self) -> dict[str, NDArray[np.bool_]]:
        """Return which clips count, (N,), in each part of the report; none is empty."""
        every = {"held_out": self.held_out, "all": np.ones_like(self.held_out)}
        return {where: chosen for where, chosen in every.items() if chosen.any()}


def labels_of_clips(clips: Sequence[Clip]) -> Labels:
    """Return the labels of clips.

    Raises:
        ValueError: clips of one emotion or one sentence alone.
    """
    named = [(clip.emotion, clip.sentence, clip.speaker, clip.split != "train") for clip in clips]
    labels = Labels(*map(np.array, zip(*named, strict=True)))
    for what, names in (("emotion", labels.emotion), ("sentence", labels.sentence)):
        if len(found := np.unique(names)) < 2:
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


def _classifiable(names: Array, groups: Array) -> bool:
    """Return whether any class is in two groups, and there are two classes."""
    pairs = np.unique(np.stack([names, groups]).astype(str), axis=1)
    shared = np.unique(pairs[0], return_counts=True)[1] > 1
    return len(shared) > 1 and bool(shared.any())


def entry(
    metric: CodeMetric, labels: Labels, scores_RN: Array, minus_RN: Array | None = None
) -> Entry:
    """Return a metric as analysis.json holds it: the mean over runs, its interval, each run's mean.

    With `minus_RN`, the scores of a second model on the same clips, the paired difference of both.
    """
    unit, clusters = units_of(labels, metric.groups)
    minus = np.zeros_like(scores_RN) if minus_RN is None else minus_RN
    mean, other = scores_RN.mean(axis=0), minus.mean(axis=0)
    if metric.kind == "silhouette":
        interval = clustered_mean(mean - other, clusters)
    elif minus_RN is None:
        interval = clustered_share(mean, clusters)
    else:
        interval = clustered_difference(mean, other, clusters)
    units = len(np.unique(clusters))
    low, high = (interval.low, interval.high) if units >= MIN_UNITS else (None, None)
    by_run = (scores_RN - minus).mean(axis=1).tolist()
    bounds = {"value": interval.value, "low": low, "high": high}
    return bounds | {"unit": unit, "units": units, "clips": len(clusters), "by_run": by_run}


def entries(models: Mapping[str, Sequence[Scored]], labels: Labels) -> dict[str, Any]:
    """Return <clips>.<name>.<code>.<metric> of one model, or of a first minus a second one."""
    return {
        where: {
            name: {
                code: {
                    metric.name: entry(
                        metric,
                        labels.some(chosen),
                        *(np.stack([run[where][metric.name] for run in each[code]]) for each in of),
                    )
                    for metric in METRICS
                    if metric.name in of[0][code][0][where]
                }
                for code in of[0]
                if all(code in each for each in of)
            }
            for name, of in models.items()
        }
        for where, chosen in labels.selections().items()
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
    return {
        metric.name: float(np.unique(names, return_counts=True)[1].max() / len(names))
        for metric in METRICS
        if metric.kind in CLASSIFIERS
        for names in [labels.of(metric.label)]
    }


def significant(difference: Entry) -> bool:
    """Return whether the interval excludes 0 and every run's difference has the same sign."""
    low, high = difference["low"], difference["high"]
    excluded = low is not None and (low > 0 or high < 0)
    return excluded and len({each > 0 for each in difference["by_run"]}) == 1


def embed(codes_ND: Array) -> Array:
    """Return codes in the plane of t-SNE, (N, 2), the same on every run.

    van der Maaten and Hinton 2008, the paper's [27], by scikit-learn, from the principal plane. The
    perplexity is at most a third of the other points. Codes that do not differ all lie at 0.

    Raises:
        ValueError: fewer than four codes.
    """
    if len(codes_ND) < 4:
        raise ValueError(f"t-SNE of {len(codes_ND)} codes: wanted at least 4")
    start = principal_plane(codes_ND)
    spread = start[:, 0].std()
    if spread == 0:
        return start
    perplexity = min(PERPLEXITY, (len(codes_ND) - 1) / 3)
    first = (START / spread * start).astype(np.float32)
    tsne = TSNE(perplexity=perplexity, init=first, random_state=0, n_jobs=1)
    with threadpool_limits(1):  # sums of several threads differ in their last digits
        plane: Array = tsne.fit_transform(codes_ND.astype(np.float32))
    return plane


def plot_codes(path: Path, panels: Mapping[str, Array], labels: Labels) -> None:
    """Write Fig. 5: a panel of codes (N, D) under each title.

    Colours are emotions and marks are speakers; clips that no encoder learned from are outlined.
    """
    title = f"t-SNE of the emotion codes of {len(labels.held_out)} clips"
    if labels.held_out.any():
        title += f"; outlined: the {int(labels.held_out.sum())} that no encoder learned from"
    planes = {name: embed(codes) for name, codes in panels.items()}
    clouds(path, planes, list(labels.emotion), list(labels.speaker), list(labels.held_out), title)


def analyse(models: Sequence[Model], corpus: Corpus, picture: Path) -> dict[str, Any]:
    """Write the picture and return all that analysis.json holds.

    Raises:
        FileNotFoundError: a clip's arrays or a run's weights are missing.
        ValueError: the corpus has one emotion or one sentence alone.
    """
    clips = corpus.clips()
    labels = labels_of_clips(clips)
    # Every encoder's codes are scored once, though several models may share it.
    held = {(run, part) for m in models for part, runs in m.runs.items() for run in runs}
    codes = {(run, part): part_codes(run, part, clips) for run, part in sorted(held)}
    scores = {key: score(codes_ND, labels) for key, codes_ND in codes.items()}
    scored: dict[str, Scored] = {"no_network": {"mfcc": [score(mean_mfcc(clips), labels)]}}
    for model in models:
        scored[model.name] = {
            part: [scores[run, part] for run in runs] for part, runs in model.runs.items()
        }
    # The metrics of each model, and of the differences between two.
    figures = entries({name: (each,) for name, each in scored.items()}, labels)
    pairs = {
        f"{one}_minus_{other}": (scored[one], scored[other])
        for one, other in COMPARED
        if one in scored and other in scored
    }
    # The picture, its titles with the silhouettes of the first seed.
    first = {m.name: codes[m.runs["emotion"][0], "emotion"] for m in models if "emotion" in m.runs}
    panels = {_title(name, figures): codes_ND for name, codes_ND in first.items()}
    plot_codes(picture, panels, labels)
    counts = {"clips": len(clips), "held_out": int(labels.held_out.sum())}
    return {
        "corpus": {"root": str(corpus.root), **counts},
        "runs": {m.name: {p: [str(r) for r in runs] for p, runs in m.runs.items()} for m in models},
        "seeds": max(len(runs) for model in models for runs in model.runs.values()),
        "notes": notes(models, corpus),
        "chance": chances(labels),
        "figures": figures,
        "differences": entries(pairs, labels),
    }


def _title(model: str, figures: dict[str, Any]) -> str:
    parts = [
        f"{where} {of_model[model]['emotion']['emotion_silhouette']['by_run'][0]:.2f}"
        for where, of_model in figures.items()
        if "emotion_silhouette" in of_model[model]["emotion"]
    ]
    return f"{PANELS[model]}\nsilhouette of the emotions: {', '.join(parts)}"


def report(found: dict[str, Any]) -> str:
    """Return analysis.md of what analysis.json holds."""
    parts = ["# Emotion and content codes"]
    for where, of_model in found["figures"].items():
        count = found["corpus"]["held_out" if where == "held_out" else "clips"]
        guesses = [found["chance"].get(metric.name) for metric in METRICS]
        chance = ["" if guess is None else f"{guess:.2f}" for guess in guesses]
        parts += [f"## {count} clips, {where}", _table(of_model, [["chance", *chance]])]
        if found["differences"][where]:
            parts.append(_table(found["differences"][where], signed=True))
    parts.append(
        f"Seeds: {found['seeds']}. In brackets 95 % intervals over sentences (sentence_probe: "
        "speakers), or pairs of both where these are few, not over seeds. Bold: the interval "
        "excludes 0 and every seed has the same sign."
    )
    return "\n\n".join([*parts, *(f"- {note}" for note in found["notes"])]) + "\n"


def _table(
    models: dict[str, dict[str, dict[str, Entry]]],
    last: Sequence[Sequence[str]] = (),
    signed: bool = False,
) -> str:
    rows = [
        [f"{title}, {name}", *(_cell(codes[code].get(m.name), signed) for m in METRICS)]
        for code, title in CODES.items()
        for name, codes in models.items()
        if code in codes
    ]
    return markdown_table(["codes", *(metric.name for metric in METRICS)], [*rows, *last])


def _cell(found: Entry | None, signed: bool) -> str:
    if found is None:
        return ""
    sign = "+" if signed else ""
    text = f"{found['value']:{sign}.2f}"
    if found["low"] is not None:
        text += f" [{found['low']:{sign}.2f}, {found['high']:{sign}.2f}]"
    return f"**{text}**" if signed and significant(found) else text


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    add = parser.add_argument
    add("--run", type=Path, nargs="+", required=True, help="cross-reconstructed; one for each seed")
    add("--no-cross", type=Path, nargs="+", default=[], help="the cross term at 0; one for each")
    add("--pretrained", type=Path, nargs="+", default=[], help="what both began with")
    add("--corpus", type=Path, help="another copy of the runs' corpus")
    add("--out", type=Path, help="folder to write into; default: analysis/ in the first run")
    args = parser.parse_args(argv)
    out = args.out or args.run[0] / "analysis"
    torch.set_num_threads(1)
    with user_errors():
        models = open_models(args.run, args.no_cross, args.pretrained)
        corpus = corpus_of_models(models, args.corpus)
        found = analyse(models, corpus, out / "figure_5.png")
    write_json(out / "analysis.json", found)
    write_text(out / "analysis.md", report(found))
    print(report(found), end="")  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
