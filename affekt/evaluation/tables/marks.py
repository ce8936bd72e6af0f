"""Which result is better than which: only what the same clips say of both.

A result is called better than another if the 95 % interval of their paired difference excludes 0,
drawn by clip and, where there are speakers enough, by speaker too. Figures of different protocols
are not compared, nor are corpus figures (FID, KID), which have no value of a clip.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from affekt.evaluation.control_rows import RESULT
from affekt.evaluation.tables.cells import (
    ACCURACY,
    CORRECT,
    MEAN,
    row_cells,
    scores_of,
    speakers_of,
)
from affekt.evaluation.tables.data import Cell, Column
from affekt.evaluation.tables.evaluations import Evaluation, different_truths, judge
from affekt.evaluation.tables.papers import PaperColumn, PaperTable
from affekt.metrics.intervals import Interval, difference_interval, macro_interval

# Of fewer pairs not even all on one side would be significant in a sign test: 2 / 2^5 > 0.05.
MIN_PAIRS = 6


def marked_cells(
    paper: PaperTable, columns: Sequence[Column], evaluations: Sequence[Evaluation]
) -> dict[str, dict[str, Cell]]:
    """Return the cells of every evaluation's result, by name and column, each with its marks."""
    cells = {each.name: row_cells(paper, each, RESULT) for each in evaluations}
    for column, printed in zip(columns, paper.columns, strict=True):
        wins: dict[str, list[str]] = {each.name: [] for each in evaluations}
        for first, second in combinations(evaluations, 2):
            winner = _winner(paper, printed, first, second)
            if winner is not None:
                loser = second if winner is first else first
                wins[winner.name].append(loser.name)
        for name, beaten in wins.items():
            if beaten:
                best = len(beaten) == len(evaluations) - 1 and not column.dagger
                cell = replace(cells[name][column.key], better_than=tuple(beaten), best=best)
                cells[name][column.key] = cell
    return cells


def paired_difference(
    paper: PaperTable, column: str, first: Evaluation, second: Evaluation
) -> list[Interval]:
    """Return the intervals of first minus second on their common clips: by clip, and by speaker.

    Empty if there are too few common clips; without the second where there are too few speakers.
    """
    ours = scores_of(paper, first, RESULT, column)
    theirs = scores_of(paper, second, RESULT, column)
    common = [clip for clip in ours if clip in theirs]
    if len(common) < MIN_PAIRS:
        return []
    speakers = speakers_of(common, first)
    drawn = [None] if speakers is None else [None, speakers]
    one, other = [ours[clip] for clip in common], [theirs[clip] for clip in common]
    if column != MEAN:
        return [difference_interval(one, other, by) for by in drawn]
    emotions = [first.emotions[clip] for clip in common]
    less = [a - b for a, b in zip(one, other, strict=True)]
    return [macro_interval(less, emotions, by) for by in drawn]


def _winner(
    paper: PaperTable, column: PaperColumn, first: Evaluation, second: Evaluation
) -> Evaluation | None:
    if first.protocol != second.protocol or different_truths(first, second):
        return None
    judged = CORRECT if column.metric == ACCURACY else paper.metric or column.metric
    if judge(first, judged) != judge(second, judged):
        return None
    found = paired_difference(paper, column.metric, first, second)
    if not found or not all(interval.excludes_zero for interval in found):
        return None
    lower = found[0].value < 0
    return first if lower == (column.better == "lower") else second
