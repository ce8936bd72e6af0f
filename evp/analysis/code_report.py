"""An analysis in words: markdown tables, and the answer to whether the cross term helps."""

import itertools
from collections.abc import Sequence
from typing import Any

from affekt.runtime.markdown import markdown_table
from evp.analysis.code_figures import FIGURES, Entry, telling

HEADS = {
    "emotion_silhouette": "emotion: silhouette",
    "emotion_nearest_mean": "nearest mean",
    "emotion_probe": "linear probe",
    "sentence_silhouette": "sentence: silhouette",
    "sentence_probe": "linear probe",
    "speaker_silhouette": "speaker: silhouette",
    "speaker_probe": "linear probe",
}
CODES = {"emotion": "E_e", "content": "E_c", "mfcc": "mean MFCC"}
MODELS = {
    "no_network": "no network",
    "pretrained": "pretrained",
    "cross": "cross",
    "no_cross": "no cross",
}
PAIRS = {
    "cross_minus_no_cross": "cross - no cross",
    "cross_minus_pretrained": "cross - pretrained",
}
QUESTIONS = {
    "cross_minus_no_cross": "Does the cross term help? With it minus without it",
    "cross_minus_pretrained": "Does the training help (the paper's Fig. 5)? After it minus before",
}
WISHES = (  # code, figure, which way is better, in words
    ("emotion", "emotion_silhouette", 1, "silhouette of the emotions in E_e"),
    ("emotion", "emotion_probe", 1, "emotion read from E_e"),
    ("content", "emotion_probe", -1, "emotion read from E_c (less is better)"),
    ("content", "sentence_probe", 1, "sentence read from E_c"),
)


def report(found: dict[str, Any]) -> str:
    """Return analysis.md of what analysis.json holds."""
    parts = ["# What the codes hold", _counts(found)]
    for where, of_model in found["figures"].items():
        parts += [f"## O{_clips(found, where)[1:]}", _figures(of_model, found["chance"])]
        of_pair = found["differences"][where]
        if of_pair:
            parts += ["Differences on the same clips:", _differences(of_pair)]
    parts += [_explanation(found), *(f"- {note}" for note in found["notes"])]
    return "\n\n".join([*parts, verdict(found)]) + "\n"


def verdict(found: dict[str, Any]) -> str:
    """Say in a sentence for each pair of models what is better and what is not."""
    where, of_pair = next(iter(found["differences"].items()))
    answers = [
        f"{QUESTIONS[pair]}, {_clips(found, where)}: {_answer(codes)}."
        for pair, codes in of_pair.items()
    ]
    if "cross_minus_no_cross" not in of_pair:
        answers.append("Whether the cross term helps cannot be said without --no-cross.")
    if found["seeds"] == 1:
        answers.append("Of one training run each: other seeds can answer otherwise.")
    return "\n\n".join(answers)


def _answer(codes: dict[str, dict[str, Entry]]) -> str:
    found = [
        (entry, wish, words)
        for code, figure, wish, words in WISHES
        if (entry := codes.get(code, {}).get(figure)) is not None
    ]
    said = "; ".join(f"{words} {shown(entry, signed=True)}" for entry, _, words in found)
    if all(entry["low"] is None for entry, *_ in found):
        return f"{said}: too few sentences and speakers for bounds"
    clear = [entry["value"] * wish for entry, wish, _ in found if telling(entry)]
    better, worse = sum(gain > 0 for gain in clear), sum(gain < 0 for gain in clear)
    return f"{said}: clearly better in {better} of {len(found)}, clearly worse in {worse}"


def shown(entry: Entry | None, signed: bool = False) -> str:
    """Return a figure with its bounds: "0.83 [0.75, 0.89]"."""
    if entry is None:
        return "-"
    form = "+.2f" if signed else ".2f"
    if entry["low"] is None:
        return format(entry["value"], form)
    return f"{entry['value']:{form}} [{entry['low']:{form}}, {entry['high']:{form}}]"


def _counts(found: dict[str, Any]) -> str:
    sizes = found["corpus"]
    counted = ", ".join(
        f"{sizes[key]} {key if sizes[key] > 1 else key[:-1]}"
        for key in ("emotions", "speakers", "sentences")
    )
    return f"{sizes['root']}: {sizes['clips']} clips, {counted}; a code is the mean over windows."


def _clips(found: dict[str, Any], where: str) -> str:
    sizes = found["corpus"]
    if where == "unheard":
        return f"on the {sizes['unheard']} clips that no encoder learned from"
    heard = sizes["clips"] - sizes["unheard"]
    return f"on all {sizes['clips']} clips, {heard} of which the encoders learned from"


def _figures(of_model: dict[str, dict[str, dict[str, Entry]]], chance: dict[str, float]) -> str:
    rows = [
        [f"{CODES[code]}, {MODELS[model]}", *(shown(figures.get(f.name)) for f in FIGURES)]
        for code in CODES
        for model, codes in of_model.items()
        if (figures := codes.get(code)) is not None
    ]
    guesses = [chance.get(figure.name) for figure in FIGURES]
    rows.append(["chance", *("" if guess is None else f"{guess:.2f}" for guess in guesses)])
    return _table(rows)


def _differences(of_pair: dict[str, dict[str, dict[str, Entry]]]) -> str:
    rows = []
    for code, pair in itertools.product(CODES, of_pair):
        if (figures := of_pair[pair].get(code)) is not None:
            cells = [_marked(figures.get(figure.name)) for figure in FIGURES]
            rows.append([f"{CODES[code]}, {PAIRS[pair]}", *cells])
    return _table(rows)


def _marked(entry: Entry | None) -> str:
    text = shown(entry, signed=True)
    return f"**{text}**" if entry is not None and telling(entry) else text


def _table(rows: Sequence[Sequence[str]]) -> str:
    return markdown_table(["codes", *(HEADS[figure.name] for figure in FIGURES)], rows)


def _explanation(found: dict[str, Any]) -> str:
    seeds = found["seeds"]
    runs = "one training run each" if seeds == 1 else f"means of {seeds} training runs each"
    return (
        f"Figures are of {runs}. In brackets: 95 % bounds for other sentences (of the sentence's "
        f"probe: other speakers), or for other pairs of speaker and sentence where there are few; "
        f"other seeds are not in them. Bold, clear: the bounds exclude 0 and every seed agrees. "
        f"Readers never saw the sentence (for the sentence: the speaker) that they read."
    )
