"""What a user study found, for people: a table in Markdown and a picture."""

import typing as tp
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from affekt.evaluation.user_study.answers import Refused
from affekt.evaluation.user_study.design import HIGHEST, LOWEST, PROTOCOLS, Key
from affekt.media.plots import save

Figures = dict[str, tp.Any]


def markdown(found: Figures, key: Key, refused: Sequence[Refused]) -> str:
    """Return the study's table, the confusions, what counts and what does not.

    Args:
        found: of `affekt.evaluation.user_study.answers.figures`.
    """
    asked = bool(found["emotions"])
    heads = ["", *found["questions"], *(["emotion accuracy"] if asked else [])]
    lines = [f"**{PROTOCOLS[key.protocol].title}: user study {key.study}**", "", _row(heads)]
    lines.append(_row(["---", *("---:" for _ in heads[1:])]))
    for method, figures in found["methods"].items():
        cells = [_cell(figures["ratings"][question], 2) for question in found["questions"]]
        if asked:
            cells.append(_cell(figures["emotion"]["accuracy"], 1, percent=True))
        lines.append(_row([method, *cells]))
    lines += ["", *(f"- {note}" for note in _notes(found, key, refused))]
    if asked:
        for method, figures in found["methods"].items():
            lines += ["", *_confusion(method, figures["emotion"]["confusion"], found["emotions"])]
    return "\n".join(lines) + "\n"


def draw(path: Path, found: Figures) -> None:
    """Draw each question's means with their intervals, the accuracies, and the confusions."""
    methods, questions = list(found["methods"]), list(found["questions"])
    asked = bool(found["emotions"])
    columns = max(len(questions) + asked, len(methods) if asked else 0)
    size = (3 * columns, 3.2 * (1 + asked))
    figure, axes = plt.subplots(1 + asked, columns, figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, question in zip(axes[0], questions, strict=False):
        figures = [found["methods"][method]["ratings"][question] for method in methods]
        _bars(axis, question, methods, figures, (LOWEST, HIGHEST))
    if asked:
        figures = [found["methods"][method]["emotion"]["accuracy"] for method in methods]
        _bars(axes[0, len(questions)], "emotion accuracy", methods, figures, (0, 1))
        for axis, method in zip(axes[1], methods, strict=False):
            _map(axis, method, found["methods"][method]["emotion"]["confusion"], found["emotions"])
    save(figure, path)


def _notes(found: Figures, key: Key, refused: Sequence[Refused]) -> list[str]:
    protocol = PROTOCOLS[key.protocol]
    clips = {item.clip for item in key.items.values()}
    notes = [
        f"{found['participants']} of {len(key.participants)} participants, {len(clips)} clips of "
        f"each method, ratings from {LOWEST} (worst) to {HIGHEST} (best).",
        "In brackets 95 %: means by bootstrap over participants, accuracy Wilson's.",
    ]
    notes += [f"{question.key}: {question.text}" for question in protocol.questions]
    shown = sorted(set(key.examples.values()) & clips)
    if protocol.emotion and shown:
        notes.append(
            f"{len(shown)} of the recordings that showed the emotions are asked about too, for "
            f"want of others: the accuracy of the real videos may be too high ({', '.join(shown)})."
        )
    return notes + [f"not counted: {each.file}: {each.reason}" for each in refused]


def _confusion(method: str, counts: Sequence[Sequence[int]], emotions: Sequence[str]) -> list[str]:
    head = [
        _row([f"{method}: true \\ chosen", *emotions]),
        _row(["---", *("---:" for _ in emotions)]),
    ]
    rows = zip(emotions, counts, strict=True)
    return head + [_row([emotion, *map(str, row)]) for emotion, row in rows]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(figure: Figures, decimals: int, percent: bool = False) -> str:
    if figure["value"] is None:
        return "n/a"
    factor, unit = (100, " %") if percent else (1, "")
    value, low, high = (
        None if figure[name] is None else f"{factor * figure[name]:.{decimals}f}"
        for name in ("value", "low", "high")
    )
    return f"{value}{unit}" if low is None or high is None else f"{value}{unit} [{low}, {high}]"


def _bars(
    axis: tp.Any,
    title: str,
    methods: Sequence[str],
    figures: Sequence[Figures],
    limits: tuple[float, float],
) -> None:
    axis.axis("on")
    for place, figure in enumerate(figures):
        if figure["value"] is None:
            continue
        axis.bar(place, figure["value"] - limits[0], bottom=limits[0], color=f"C{place % 10}")
        if figure["low"] is not None:
            axis.plot([place, place], [figure["low"], figure["high"]], color="0.2", linewidth=2)
    axis.set_title(title, fontsize=10)
    axis.set_ylim(*limits)
    axis.set_xticks(range(len(methods)), methods, rotation=30, ha="right", fontsize=8)
    axis.grid(axis="y", alpha=0.3)


def _map(
    axis: tp.Any, method: str, counts: Sequence[Sequence[int]], emotions: Sequence[str]
) -> None:
    axis.axis("on")
    table = np.asarray(counts, float)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set_title(f"{method}: true (rows), chosen", fontsize=9)
    axis.set_xticks(range(len(emotions)), emotions, rotation=90, fontsize=7)
    axis.set_yticks(range(len(emotions)), emotions, fontsize=7)
