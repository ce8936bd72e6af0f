"""Emotion codes with and without cross reconstruction (EVP Sec. 4.3, Fig. 5): t-SNE and figures.

    python -m evp.analysis.codes --run runs/disentangle --no-cross runs/disentangle_no_cross
    python -m evp.analysis.codes --run runs/a runs/a_seed1 --no-cross runs/b runs/b_seed1 \\
        --out analysis

--run is a run of train_disentangle.py, --no-cross the same with loss.cross_reconstruction=0; with
several seeds, one of each for each seed in the same order. The pretrained encoders and the corpus
are those that the runs' config.yaml names; --pretrained and --corpus name others. Writes into --out
(default: analysis/ in the first run):

    figure_5.png   t-SNE of the emotion codes of the first seed: pretrained, after cross
                   reconstruction, without it
    analysis.json  figures.<clips>.<model>.<code>.<metric> and differences.<clips>.<pair>.<code>.
                   <metric>, each with value, 95 % interval, what it samples, every run's value
    analysis.md    the same as tables

evp/analysis/code_metrics.py defines clips (`held_out`, `all`), metrics and intervals.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from affekt.arrays import Array
from affekt.media.corpus import Corpus
from affekt.media.plots import clouds
from affekt.metrics.probes import principal_plane
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import write_json, write_text
from affekt.runtime.markdown import markdown_table
from evp.analysis.code_metrics import (
    METRICS,
    Entry,
    Labels,
    Scores,
    chances,
    entry,
    labels_of_clips,
    score,
    significant,
)
from evp.analysis.code_runs import (
    Model,
    corpus_of_models,
    differing_keys,
    mean_mfcc,
    open_models,
    part_codes,
    read_config,
)

Scored = dict[str, dict[str, list[Scores]]]  # model -> code -> the scores of every run

COMPARED = (("cross", "no_cross"), ("cross", "pretrained"))  # the first minus the second
CODES = {"emotion": "E_e", "content": "E_c", "mfcc": "mean MFCC"}
PANELS = {
    "pretrained": "pretrained",
    "cross": "after cross reconstruction",
    "no_cross": "trained with the cross term at 0",
}
PERPLEXITY = 30.0  # scikit-learn's default, about how many neighbours a point has
START = 1e-4  # deviation of the first coordinates, as scikit-learn scales its principal components
SEED = 0


def figures_of(scored: Scored, labels: Labels) -> dict[str, Any]:
    """Return figures.<clips>.<model>.<code>.<metric> of the scores."""
    return {
        where: {
            model: {
                code: _entries(runs, where, labels.some(chosen)) for code, runs in codes.items()
            }
            for model, codes in scored.items()
        }
        for where, chosen in labels.selections().items()
    }


def differences_of(scored: Scored, labels: Labels) -> dict[str, Any]:
    """Return differences.<clips>.<pair>.<code>.<metric> for the pairs of which both are there."""
    pairs = [pair for pair in COMPARED if all(name in scored for name in pair)]
    return {
        where: {
            f"{one}_minus_{other}": {
                code: _entries(runs, where, labels.some(chosen), scored[other][code])
                for code, runs in scored[one].items()
                if code in scored[other]
            }
            for one, other in pairs
        }
        for where, chosen in labels.selections().items()
    }


def _entries(
    runs: Sequence[Scores], where: str, labels: Labels, minus: Sequence[Scores] = ()
) -> dict[str, Entry]:
    entries = {}
    for metric in METRICS:
        if metric.name in runs[0][where]:
            stacks = [
                np.stack([run[where][metric.name] for run in model])
                for model in (runs, minus)
                if model
            ]
            entries[metric.name] = entry(metric, stacks[0], labels, *stacks[1:])
    return entries


def embed(codes_ND: Array) -> Array:
    """Return codes in the plane of t-SNE, (N, 2), the same on every run.

    van der Maaten and Hinton 2008, the paper's [27], by scikit-learn, from the principal plane.
    Sizes of clusters and distances between them have no meaning. The perplexity is at most a third
    of the other points. Codes that do not differ all lie at 0.

    Raises:
        ValueError: fewer than four codes.
    """
    if len(codes_ND) < 4:
        raise ValueError(f"t-SNE of {len(codes_ND)} codes: wanted at least 4")
    start = principal_plane(codes_ND)
    spread = start[:, 0].std()
    if spread == 0:
        return start
    tsne = TSNE(
        perplexity=min(PERPLEXITY, (len(codes_ND) - 1) / 3),
        init=(START / spread * start).astype(np.float32),
        random_state=SEED,
        n_jobs=1,
    )
    with threadpool_limits(1):  # sums of several threads differ in their last digits
        plane: Array = tsne.fit_transform(codes_ND.astype(np.float32))
    return plane


def plot_codes(path: Path, panels: Mapping[str, Array], labels: Labels) -> None:
    """Write Fig. 5: a panel of codes (N, D) under each title.

    Colours are emotions and marks are speakers; clips that no encoder learned from are outlined.
    """
    clips, held_out = len(labels.held_out), int(labels.held_out.sum())
    title = f"t-SNE of the emotion codes of {clips} clips"
    if held_out:
        title += f"; outlined: the {held_out} that no encoder learned from"
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
    held = {(run, part) for m in models for part, runs in m.runs.items() for run in runs}
    codes = {(run, part): part_codes(run, part, clips) for run, part in sorted(held)}
    # Every encoder's codes are scored once, though several models may share it.
    scores = {key: score(codes_ND, labels) for key, codes_ND in codes.items()}
    scored: Scored = {"no_network": {"mfcc": [score(mean_mfcc(clips), labels)]}}
    for model in models:
        scored[model.name] = {
            part: [scores[run, part] for run in runs] for part, runs in model.runs.items()
        }
    figures = figures_of(scored, labels)
    first = {m.name: codes[m.runs["emotion"][0], "emotion"] for m in models if "emotion" in m.runs}
    panels = {_title(name, figures): codes_ND for name, codes_ND in first.items()}
    plot_codes(picture, panels, labels)
    return {
        "corpus": {
            "root": str(corpus.root),
            "clips": len(clips),
            "held_out": int(labels.held_out.sum()),
        },
        "runs": {m.name: {p: [str(r) for r in runs] for p, runs in m.runs.items()} for m in models},
        "seeds": max(len(runs) for model in models for runs in model.runs.values()),
        "notes": notes(models, corpus),
        "chance": chances(labels),
        "figures": figures,
        "differences": differences_of(scored, labels),
    }


def notes(models: Sequence[Model], corpus: Corpus) -> list[str]:
    """Return in which other settings compared runs differ, and which runs had another corpus."""
    by_name = {model.name: model for model in models}
    found = []
    if "no_cross" in by_name:
        pairs = zip(*(by_name[name].runs["emotion"] for name in COMPARED[0]), strict=True)
        for run, without in pairs:
            if keys := differing_keys(run, without):
                found.append(f"{run} and {without} differ in {', '.join(keys)} too.")
    for model in models:
        for run in model.all_runs():
            source = read_config(run).get("corpus")
            if source is None or Path(source).resolve() != corpus.root.resolve():
                found.append(
                    f"{run} was trained on {source or 'a corpus it does not name'}: "
                    f"which clips of {corpus.root} it learned from is taken from the split."
                )
    return found


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
        [f"{CODES[code]}, {name}", *(_cell(entries.get(m.name), signed) for m in METRICS)]
        for code in CODES
        for name, codes in models.items()
        if (entries := codes.get(code)) is not None
    ]
    return markdown_table(["codes", *(metric.name for metric in METRICS)], [*rows, *last])


def _cell(found: Entry | None, signed: bool = False) -> str:
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
