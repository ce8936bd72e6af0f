"""Emotion codes with and without cross reconstruction (EVP Sec. 4.3, Fig. 5): t-SNE and figures.

    python -m evp.analysis.codes --run runs/disentangle --no-cross runs/disentangle_no_cross
    python -m evp.analysis.codes --run runs/a runs/a_seed1 --no-cross runs/b runs/b_seed1

--run is a run of train_disentangle.py, --no-cross the same with loss.cross_reconstruction=0; with
several seeds, one of each for each seed in the same order. The pretrained emotion encoders and the
corpus are those that the runs' config.yaml names. Writes into --out (default: analysis/ in the
first run):

    figure_5.png   t-SNE of the emotion codes of the first seed: pretrained, after cross
                   reconstruction, without it; clips that no encoder learned from are outlined
    analysis.json  figures.<model>.<metric> and differences.<pair>.<metric>, of the outlined clips,
                   each with value, 95 % interval, what it samples, every run's value
    analysis.md    the same as tables

A model is one panel, with a run for each seed; `no_network` is the mean MFCC. Metrics:

    emotion_silhouette  silhouette of the emotions, -1 to 1
    emotion_probe       leave-one-sentence-out accuracy of a linear probe for emotion
    sentence_probe      leave-one-speaker-out accuracy of a linear probe for the sentence

Intervals sample the groups left out (of the silhouette: sentences); where there are fewer than
`MIN_UNITS`, pairs of speaker and sentence; where these are few too, there is none.

Letters: N clips, H held-out ones, R runs, one for each seed, D channels of a code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from affekt.arrays import Array
from affekt.markdown import markdown_table
from affekt.media.corpus import Clip, Corpus
from affekt.media.plots import clouds
from affekt.metrics.intervals import clustered_difference, clustered_mean, clustered_share
from affekt.metrics.probes import leave_one_group_out_hits, principal_plane, silhouettes
from affekt.runtime.command import CommandParser, add_device, user_errors
from affekt.runtime.config import flat, read_mapping
from affekt.runtime.devices import pick_device
from affekt.runtime.files import write_json, write_text
from evp.inference.emotion_codes import check_emotions, mean_mfcc, part_codes
from evp.networks.encoders import load_description

Entry = dict[str, Any]
What = Literal["emotion", "sentence", "speaker"]

CROSS = "loss.cross_reconstruction"
MIN_UNITS = 5  # with fewer, an interval has next to no information about units
SILHOUETTE = "emotion_silhouette"
METRICS: dict[str, tuple[What, What]] = {  # what is measured; groups left out, the interval's unit
    SILHOUETTE: ("emotion", "sentence"),
    "emotion_probe": ("emotion", "sentence"),
    "sentence_probe": ("sentence", "speaker"),
}
COMPARED = (("cross", "no_cross"), ("cross", "pretrained"))  # the first minus the second
PANELS = {
    "pretrained": "pretrained",
    "cross": "after cross reconstruction",
    "no_cross": "trained with the cross term at 0",
}
PERPLEXITY = 30.0  # scikit-learn's default, about how many neighbours a point has
START = 1e-4  # deviation of the first coordinates, as scikit-learn scales its principal components


@dataclass(frozen=True)
class Labels:
    """The labels of N clips; every array has one for each."""

    emotion: Array
    sentence: Array
    speaker: Array
    held_out: NDArray[np.bool_]  # no encoder learned from the clip

    def held(self, what: What) -> Array:
        """Return the labels of one kind of the held-out clips, (H,)."""
        names: Array = getattr(self, what)
        return names[self.held_out]


def labels_of_clips(clips: Sequence[Clip]) -> Labels:
    """Return the labels of clips.

    Raises:
        ValueError: clips of one emotion or one sentence alone, or none of them held out.
    """
    named = [(clip.emotion, clip.sentence, clip.speaker, clip.split != "train") for clip in clips]
    labels = Labels(*map(np.array, zip(*named, strict=True)))
    for what, names in (("emotion", labels.emotion), ("sentence", labels.sentence)):
        if len(found := np.unique(names)) < 2:
            raise ValueError(
                f"{len(clips)} clips of one {what} ({', '.join(found)}): wanted at least two"
            )
    if not labels.held_out.any():
        raise ValueError(f"none of {len(clips)} clips is held out of training")
    return labels


def models_of_runs(runs: Sequence[Path], no_cross: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """Return the runs of the models pretrained, cross and no_cross, as far as there are any.

    Raises:
        FileNotFoundError: a folder without encoders.
        ValueError: a run is not what it was named as, or there are too few of a kind.
    """
    for run in (*runs, *no_cross):
        if len(load_description(run).holds) < 2:
            raise ValueError(f"{run} holds one encoder alone; name runs of train_disentangle.py")
    for run in runs:
        if cross_weight(run) == 0:
            raise ValueError(f"{run} was trained with {CROSS} at 0; name it with --no-cross")
    for run in no_cross:
        if (weight := cross_weight(run)) != 0:
            found = "no run of train_disentangle.py" if weight is None else f"{CROSS} at {weight:g}"
            raise ValueError(f"{run} is {found}; --no-cross wants a run with {CROSS} at 0")
    if no_cross and len(no_cross) != len(runs):
        raise ValueError(
            f"{len(no_cross)} runs after --no-cross, {len(runs)} after --run; name one of each "
            f"for each seed, in the same order"
        )
    # What both began with, where every run says so; runs of later stages have a key of that name.
    trained = [run for run in runs if cross_weight(run) is not None]
    sources = [read_config(run).get("emotion_from") or "" for run in trained]
    for run, source in zip(trained, sources, strict=True):
        if source and not Path(source).is_dir():
            raise ValueError(f"{run} began with {source}, which is not there")
    pretrained = tuple(map(Path, sources)) if all(sources) and len(trained) == len(runs) else ()
    named = {"pretrained": pretrained, "cross": tuple(runs), "no_cross": tuple(no_cross)}
    return {name: each for name, each in named.items() if each}


def cross_weight(run: Path) -> float | None:
    """Return a run's weight of cross reconstruction, None where its configuration has none."""
    weight = flat(read_config(run)).get(CROSS)
    return None if weight is None else float(weight)


def read_config(run: Path) -> dict[str, Any]:
    """Return a run's config.yaml as it stands; an imported run has none, which is {}."""
    path = run / "config.yaml"
    return read_mapping(path) if path.is_file() else {}


def corpus_of_models(models: Mapping[str, Sequence[Path]], named: Path | None) -> Corpus:
    """Return the corpus of the runs, or another copy of it.

    Raises:
        FileNotFoundError: no corpus there.
        ValueError: runs of two corpora or of other emotions, or a corpus that nothing names.
    """
    # Pretrained encoders may come from another corpus.
    after = [run for name, runs in models.items() if name != "pretrained" for run in runs]
    roots = {run: Path(root) for run in after if (root := read_config(run).get("corpus"))}
    for run, root in roots.items():
        first, wanted = next(iter(roots.items()))
        if root.resolve() != wanted.resolve():
            raise ValueError(
                f"{first} was trained on {wanted}, {run} on {root}; use runs of one corpus"
            )
    if named is None and not roots:
        raise ValueError(f"{after[0]} does not name its corpus; name it with --corpus")
    corpus = Corpus(named or next(iter(roots.values())))
    for runs in models.values():
        for run in runs:
            check_emotions(run, corpus)
    return corpus


def score(codes_ND: Array, labels: Labels) -> dict[str, Array]:
    """Return the score of every held-out clip, (H,), in every metric that can be measured.

    A silhouette needs two classes among the held-out clips; a probe, which all other clips but the
    clip's group train, needs two groups, and a class that two of them have.
    """
    found = {}
    emotions = labels.held("emotion")
    if 1 < len(np.unique(emotions)) < len(emotions):
        found[SILHOUETTE] = silhouettes(codes_ND[labels.held_out], emotions)
    for metric in METRICS.keys() - {SILHOUETTE}:
        names, groups = (getattr(labels, what) for what in METRICS[metric])
        pairs = np.unique(np.stack([names, groups]).astype(str), axis=1)
        shared = np.unique(pairs[0], return_counts=True)[1] > 1
        if len(shared) > 1 and shared.any():
            hits = leave_one_group_out_hits(codes_ND, names, groups)
            found[metric] = hits[labels.held_out].astype(float)
    return found


def entry(metric: str, labels: Labels, scores_RH: Array, minus_RH: Array | None = None) -> Entry:
    """Return a metric as analysis.json holds it: the mean over runs, its interval, each run's mean.

    With `minus_RH`, the scores of a second model on the same clips, the paired difference of both.
    """
    unit, clusters = units_of(labels, METRICS[metric][1])
    minus = np.zeros_like(scores_RH) if minus_RH is None else minus_RH
    mean, other = scores_RH.mean(axis=0), minus.mean(axis=0)
    if metric == SILHOUETTE:
        interval = clustered_mean(mean - other, clusters)
    elif minus_RH is None:
        interval = clustered_share(mean, clusters)
    else:
        interval = clustered_difference(mean, other, clusters)
    units = len(np.unique(clusters))
    low, high = (interval.low, interval.high) if units >= MIN_UNITS else (None, None)
    by_run = (scores_RH - minus).mean(axis=1).tolist()
    bounds = {"value": interval.value, "low": low, "high": high}
    return bounds | {"unit": unit, "units": units, "by_run": by_run}


def units_of(labels: Labels, groups: What) -> tuple[str, Array]:
    """Return what an interval samples: its name and the unit of each held-out clip, (H,)."""
    names = labels.held(groups)
    both = zip(labels.held("speaker"), labels.held("sentence"), strict=True)
    cells = np.array([f"{speaker}/{sentence}" for speaker, sentence in both])
    if len(np.unique(names)) >= MIN_UNITS or len(np.unique(cells)) < MIN_UNITS:
        return groups, names
    return "speaker and sentence", cells


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
    from sklearn.manifold import TSNE

    tsne = TSNE(perplexity=perplexity, init=first, random_state=0, n_jobs=1)
    with threadpool_limits(1):  # sums of several threads differ in their last digits
        plane: Array = tsne.fit_transform(codes_ND.astype(np.float32))
    return plane


def analyse(
    models: Mapping[str, Sequence[Path]],
    corpus: Corpus,
    picture: Path,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Write Fig. 5 and return all that analysis.json holds.

    Raises:
        FileNotFoundError: a clip's arrays or a run's weights are missing.
        ValueError: the corpus has one emotion or one sentence alone, or no clip held out.
    """
    clips = corpus.clips()
    labels = labels_of_clips(clips)
    # Every encoder's codes are scored once, though runs may share a pretrained one.
    held = {run for runs in models.values() for run in runs}
    codes = {run: part_codes(run, "emotion", clips, device) for run in sorted(held)}
    by_run = {run: score(codes_ND, labels) for run, codes_ND in codes.items()}
    scores = {name: [by_run[run] for run in runs] for name, runs in models.items()}
    scores["no_network"] = [score(mean_mfcc(clips), labels)]

    def entries(*names: str) -> dict[str, Entry]:
        """Return the metrics of a model, or of a first minus a second one."""
        known = [metric for metric in METRICS if metric in scores["no_network"][0]]
        return {
            metric: entry(
                metric, labels, *(np.stack([run[metric] for run in scores[n]]) for n in names)
            )
            for metric in known
        }

    figures = {name: entries(name) for name in scores}
    pairs = [pair for pair in COMPARED if models.keys() >= {*pair}]
    # The picture: a panel of codes for each model.
    planes = {}
    for name, runs in models.items():
        found = figures[name].get(SILHOUETTE)
        of_held = f"\nsilhouette, held out: {found['by_run'][0]:.2f}" if found else ""
        planes[PANELS[name] + of_held] = embed(codes[runs[0]])
    count = int(labels.held_out.sum())
    title = f"t-SNE of the emotion codes of {len(clips)} clips; outlined: the {count} held out"
    clouds(
        picture, planes, list(labels.emotion), list(labels.speaker), list(labels.held_out), title
    )
    return {
        "corpus": {"root": str(corpus.root), "clips": len(clips), "held_out": count},
        "runs": {name: list(map(str, runs)) for name, runs in models.items()},
        "figures": figures,
        "differences": {f"{a}_minus_{b}": entries(a, b) for a, b in pairs},
    }


def report(found: dict[str, Any]) -> str:
    """Return analysis.md of what analysis.json holds."""
    parts = [f"# Emotion codes of {found['corpus']['held_out']} held-out clips"]
    for models, signed in ((found["figures"], False), (found["differences"], True)):
        if models:
            rows = [
                [name, *(_cell(of_model.get(metric), signed) for metric in METRICS)]
                for name, of_model in models.items()
            ]
            parts.append(markdown_table(["codes", *METRICS], rows))
    parts.append(
        f"Seeds: {len(found['runs']['cross'])}. In brackets 95 % intervals over sentences "
        "(sentence_probe: speakers), or pairs of both where these are few, not over seeds. Bold: "
        "the interval excludes 0 and every seed has the same sign."
    )
    return "\n\n".join(parts) + "\n"


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
    add("--corpus", type=Path, help="another copy of the runs' corpus")
    add("--out", type=Path, help="folder to write into; default: analysis/ in the first run")
    add_device(parser)
    args = parser.parse_args(argv)
    out = args.out or args.run[0] / "analysis"
    torch.set_num_threads(1)
    with user_errors():
        models = models_of_runs(args.run, args.no_cross)
        corpus, device = corpus_of_models(models, args.corpus), pick_device(args.device)
        found = analyse(models, corpus, out / "figure_5.png", device)
    write_json(out / "analysis.json", found)
    write_text(out / "analysis.md", report(found))
    print(report(found), end="")  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
