"""What cross reconstruction does to the codes (EVP paper Sec. 4.3, Fig. 5), in picture and numbers.

    python -m evp.analysis.codes --run runs/disentangle --no-cross runs/disentangle_no_cross
    python -m evp.analysis.codes --run runs/a runs/a_seed1 --no-cross runs/b runs/b_seed1 \\
        --out analysis

--run is what train_disentangle.py made, --no-cross the same with loss.cross_reconstruction=0; with
several seeds, one of each for each seed in the same order. The pretrained encoders and the corpus
are those that the runs' config.yaml names; --pretrained and --corpus name others. Writes into --out
(default: analysis/ in the first run):

    figure_5.png   t-SNE of the emotion codes: pretrained, after cross reconstruction, without it;
                   of the first seed
    analysis.json  figures.<clips>.<model>.<code>.<figure> and differences.<clips>.<pair>.<code>.
                   <figure>, each with value, bounds, what they draw, and every run's value
    analysis.md    the same as tables

Clips are `unheard` (no encoder learned from them) or `all`; evp/analysis/code_figures.py says what
each figure is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from affekt.media.corpus import Corpus
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import write_json, write_text
from evp.analysis.code_figures import (
    FIGURES,
    Entry,
    Labels,
    Stacks,
    chances,
    difference_entry,
    figure_entry,
    labels_of_clips,
    score,
    stacked,
)
from evp.analysis.code_models import (
    Model,
    corpus_of_models,
    differences,
    mean_mfcc,
    open_models,
    part_codes,
    read_config,
)
from evp.analysis.code_picture import draw
from evp.analysis.code_report import report

Scored = dict[str, dict[str, Stacks]]  # model -> code -> clips -> figure -> (R, N)

COMPARED = (("cross", "no_cross"), ("cross", "pretrained"))  # the first minus the second
PANELS = {
    "pretrained": "pretrained",
    "cross": "after cross reconstruction",
    "no_cross": "trained with the cross term at 0",
}


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
    scores = {key: score(codes_ND, labels) for key, codes_ND in codes.items()}
    scored: Scored = {"no_network": {"mfcc": stacked([score(mean_mfcc(clips), labels)])}}
    for model in models:
        scored[model.name] = {
            part: stacked([scores[run, part] for run in runs]) for part, runs in model.runs.items()
        }
    first = {m.name: codes[m.runs["emotion"][0], "emotion"] for m in models if "emotion" in m.runs}
    figures = figures_of(scored, labels)
    titles = {name: _title(name, figures) for name in first}
    draw(picture, {titles[name]: codes_ND for name, codes_ND in first.items()}, labels)
    return {
        "corpus": _sizes(corpus, labels),
        "runs": {m.name: {p: [str(r) for r in runs] for p, runs in m.runs.items()} for m in models},
        "seeds": max(len(runs) for model in models for runs in model.runs.values()),
        "notes": notes(models, corpus),
        "chance": chances(labels),
        "figures": figures,
        "differences": differences_of(scored, labels),
    }


def figures_of(scored: Scored, labels: Labels) -> dict[str, Any]:
    """Return figures.<clips>.<model>.<code>.<figure> of the scores."""
    return {
        where: {
            model: {
                code: {
                    figure.name: figure_entry(figure, stacks[where][figure.name], some)
                    for figure in FIGURES
                    if figure.name in stacks[where]
                }
                for code, stacks in of_code.items()
            }
            for model, of_code in scored.items()
        }
        for where, chosen in labels.selections().items()
        for some in [labels.some(chosen)]
    }


def differences_of(scored: Scored, labels: Labels) -> dict[str, Any]:
    """Return differences.<clips>.<pair>.<code>.<figure> for the pairs of which both are there."""
    pairs = [pair for pair in COMPARED if all(name in scored for name in pair)]
    found: dict[str, Any] = {}
    for where, chosen in labels.selections().items():
        some = labels.some(chosen)
        found[where] = {}
        for one, other in pairs:
            both = [code for code in scored[one] if code in scored[other]]
            found[where][f"{one}_minus_{other}"] = {
                code: _compare(scored[one][code][where], scored[other][code][where], some)
                for code in both
            }
    return found


def notes(models: Sequence[Model], corpus: Corpus) -> list[str]:
    """Return what a reader must know of the runs: how pairs differ, what came from elsewhere."""
    by_name = {model.name: model for model in models}
    said = []
    if "no_cross" in by_name:
        pairs = zip(*(by_name[name].runs["emotion"] for name in COMPARED[0]), strict=True)
        for run, without in pairs:
            if keys := differences(run, without):
                said.append(f"{run} and {without} differ in {', '.join(keys)} too.")
    for model in models:
        for run in model.all_runs():
            source = read_config(run).get("corpus")
            if source is None or Path(source).resolve() != corpus.root.resolve():
                said.append(
                    f"{run} was trained on {source or 'a corpus it does not name'}: "
                    f"which clips of {corpus.root} it learned from is taken from the split."
                )
    return said


def _compare(first: dict[str, Any], second: dict[str, Any], labels: Labels) -> dict[str, Entry]:
    return {
        figure.name: difference_entry(figure, first[figure.name], second[figure.name], labels)
        for figure in FIGURES
        if figure.name in first
    }


def _title(model: str, figures: dict[str, Any]) -> str:
    parts = [
        f"{where} {of_model[model]['emotion']['emotion_silhouette']['by_run'][0]:.2f}"
        for where, of_model in figures.items()
        if "emotion_silhouette" in of_model[model]["emotion"]
    ]
    return f"{PANELS[model]}\nsilhouette of the emotions: {', '.join(parts)}"


def _sizes(corpus: Corpus, labels: Labels) -> dict[str, Any]:
    return {
        "root": str(corpus.root),
        "clips": len(labels.emotion),
        "unheard": int(labels.unheard.sum()),
        "emotions": len(set(labels.emotion)),
        "speakers": len(set(labels.speaker)),
        "sentences": len(set(labels.sentence)),
    }


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
