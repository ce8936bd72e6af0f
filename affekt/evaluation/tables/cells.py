"""Cells of a table: means over clips with 95 % intervals, and which result is better than which.

By a table's layout:

metrics    a column a metric: the mean over clips; FID and KID as the evaluation has them
emotions   one metric, a column an emotion, then the mean of these means
accuracy   of emotions: the share classified right, that of the truth on the same clips, their ratio

A result is better than another if the 95 % interval of their paired difference on common clips
excludes 0, by clip and, where there are enough speakers, by speaker. Corpus figures (FID, KID) are
not compared: they have no value of a clip.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

from affekt.evaluation.controls import RESULT, TRUTH
from affekt.evaluation.tables.evaluations import ClipScores, Evaluation
from affekt.evaluation.tables.papers import (
    ACCURACY,
    RATIO,
    TRUTHS_ACCURACY,
    PaperColumn,
    PaperTable,
)
from affekt.evaluation.tables.table import Cell
from affekt.metrics.intervals import (
    Interval,
    enough_speakers,
    macro_interval,
    mean_interval,
    ratio_interval,
    wilson_interval,
)

CORPUS = ("fid", "kid")  # of all clips at once: read from the evaluation, never averaged
CORRECT = "emotion_correct"  # 1 where the classifier names the clip's emotion, else 0
MEAN = "mean"  # the column of the mean over emotions
PERCENT = 100.0
MIN_CLIPS = 6  # a bootstrap over fewer is far too narrow
MIN_PAIRS = 6  # of fewer not even all on one side pass a sign test: 2 / 2^5 > 0.05


def row_cells(
    paper: PaperTable, evaluation: Evaluation, row: str, emotion: str | None = None
) -> dict[str, Cell]:
    """Return the cells of a row by column, of all its clips or of those of one emotion.

    Raises:
        ValueError: scores of emotion_correct that are neither 0 nor 1.
    """
    if paper.layout == "accuracy":
        return _accuracy_cells(evaluation, row, emotion)
    cells = {}
    for column in paper.columns:
        scores = _scores_of(paper, evaluation, row, column.metric)
        chosen = {c: v for c, v in scores.items() if emotion in (None, evaluation.emotions[c])}
        if chosen:
            over_emotions = paper.layout == "emotions" and column.metric == MEAN
            cells[column.metric] = _mean_cell(chosen, evaluation, over_emotions)
    if emotion is not None:
        return cells
    corpus = evaluation.distribution.get(row, {})
    shown = [column.metric for column in paper.columns if column.metric in corpus]
    return cells | {metric: Cell(corpus[metric].value, corpus[metric]) for metric in shown}


def macro_cells(paper: PaperTable, evaluation: Evaluation, row: str) -> dict[str, Cell]:
    """Return the means of the emotions' means; none where fewer than two emotions are known."""
    cells = {}
    for column in paper.columns:
        scores = _scores_of(paper, evaluation, row, column.metric)
        emotions = {evaluation.emotions[clip] for clip in scores}
        if "" not in emotions and len(emotions) > 1:
            factor = PERCENT if column.metric == ACCURACY else 1
            scaled = {clip: factor * value for clip, value in scores.items()}
            cells[column.metric] = _mean_cell(scaled, evaluation, over_emotions=True)
    return cells


def marked_cells(
    paper: PaperTable, evaluations: Sequence[Evaluation]
) -> dict[str, dict[str, Cell]]:
    """Return the cells of every evaluation's result, by name and column, each with its marks."""
    cells = {each.name: row_cells(paper, each, RESULT) for each in evaluations}
    for column in paper.columns:
        beaten: dict[str, list[str]] = {each.name: [] for each in evaluations}
        for first, second in combinations(evaluations, 2):
            winner = _winner(paper, column, first, second)
            if winner is not None:
                beaten[winner.name].append((second if winner is first else first).name)
        for name, others in beaten.items():
            if others:
                best = len(others) == len(evaluations) - 1 and not paper.has_dagger(column)
                cell = cells[name][column.metric]
                cells[name][column.metric] = replace(cell, better_than=tuple(others), best=best)
    return cells


def _scores_of(paper: PaperTable, evaluation: Evaluation, row: str, column: str) -> ClipScores:
    """Return the clips' figures whose mean, or mean of means, stands in a column; else nothing."""
    if paper.layout == "metrics":
        return {} if column in CORPUS else evaluation.of(row, column)
    if paper.layout == "accuracy":
        return evaluation.of(row, CORRECT) if column == ACCURACY else {}
    shown = [each.metric for each in paper.columns] if column == MEAN else [column]
    scores = evaluation.of(row, paper.metric or "")
    return {clip: value for clip, value in scores.items() if evaluation.emotions[clip] in shown}


def _mean_cell(scores: ClipScores, evaluation: Evaluation, over_emotions: bool = False) -> Cell:
    """Return the mean, each clip of equal weight or each emotion of equal weight."""
    by_clip, by_speaker = _intervals(scores, evaluation, over_emotions)
    enough = over_emotions or len(scores) >= MIN_CLIPS
    return Cell(by_clip.value, by_clip if enough else None, by_speaker, count=len(scores))


def _intervals(
    scores: ClipScores, evaluation: Evaluation, over_emotions: bool
) -> tuple[Interval, Interval | None]:
    """Return the mean's intervals by clip and, where there are enough speakers, by speaker."""
    values, speakers = list(scores.values()), _speakers_of(scores, evaluation)
    if not over_emotions:
        return mean_interval(values), mean_interval(values, speakers) if speakers else None
    emotions = [evaluation.emotions[clip] for clip in scores]
    by_speaker = macro_interval(values, emotions, speakers) if speakers else None
    return macro_interval(values, emotions), by_speaker


def _speakers_of(clips: Iterable[str], evaluation: Evaluation) -> list[str] | None:
    """Return the speaker of each clip; None if one is not known, or there are too few."""
    speakers = [evaluation.speakers[clip] for clip in clips]
    return speakers if all(speakers) and enough_speakers(speakers) else None


def _accuracy_cells(evaluation: Evaluation, row: str, emotion: str | None) -> dict[str, Cell]:
    correct, truths = evaluation.of(row, CORRECT), evaluation.of(TRUTH, CORRECT)
    clips = [clip for clip in correct if emotion in (None, evaluation.emotions[clip])]
    both = [clip for clip in clips if clip in truths]
    cells = {}
    if clips:
        cells[ACCURACY] = _share_cell([correct[clip] for clip in clips], clips, evaluation)
    if not both:
        return cells
    ours, theirs = [correct[clip] for clip in both], [truths[clip] for clip in both]
    cells[TRUTHS_ACCURACY] = _share_cell(theirs, both, evaluation)
    ratio, speakers = ratio_interval(ours, theirs), _speakers_of(both, evaluation)
    if ratio is not None:
        by_speaker = ratio_interval(ours, theirs, speakers) if speakers else None
        cells[RATIO] = Cell(ratio.value, ratio, by_speaker, count=len(both))
    return cells


def _share_cell(correct: Sequence[float], clips: Sequence[str], evaluation: Evaluation) -> Cell:
    """Return a share in percent: Wilson's interval by clip, the bootstrap's by speaker."""
    if not set(correct) <= {0.0, 1.0}:
        raise ValueError(f"{evaluation.name}: {CORRECT} holds figures that are neither 0 nor 1")
    by_clip = wilson_interval(int(sum(correct)), len(correct)).scaled(PERCENT)
    percent, speakers = [PERCENT * each for each in correct], _speakers_of(clips, evaluation)
    by_speaker = mean_interval(percent, speakers) if speakers else None
    return Cell(by_clip.value, by_clip, by_speaker, count=len(correct))


def _winner(
    paper: PaperTable, column: PaperColumn, first: Evaluation, second: Evaluation
) -> Evaluation | None:
    """Return the evaluation that is significantly better in a column, if one is."""
    # Intervals of first minus second on their common clips: by clip, and by speaker.
    ours, theirs = (_scores_of(paper, each, RESULT, column.metric) for each in (first, second))
    less = {clip: ours[clip] - theirs[clip] for clip in ours if clip in theirs}
    if len(less) < MIN_PAIRS:
        return None
    by_clip, by_speaker = _intervals(less, first, column.metric == MEAN)
    if not by_clip.excludes_zero or (by_speaker and not by_speaker.excludes_zero):
        return None
    return first if (by_clip.value < 0) == (column.better == "lower") else second
