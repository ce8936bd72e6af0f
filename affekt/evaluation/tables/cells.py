"""What stands in a row of ours: means over clips and their intervals, for each layout of a table.

metrics    a column a metric: the mean over clips; FID and KID as the evaluation has them
emotions   one metric, a column an emotion, then the mean of these means
accuracy   of emotions: the share judged right, that of the truth on the same clips, their ratio
"""

from collections.abc import Iterable, Sequence

from affekt.evaluation.control_rows import TRUTH
from affekt.evaluation.tables.data import Cell
from affekt.evaluation.tables.evaluations import Evaluation, Scores
from affekt.evaluation.tables.papers import PaperTable
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
ACCURACY, TRUTHS_ACCURACY, RATIO = "emotion_accuracy", "truth_accuracy", "accuracy_ratio"
MEAN = "mean"  # the column of the mean over emotions
PERCENT = 100.0
MIN_CLIPS = 6  # of fewer a bootstrap's interval would promise what it cannot hold


def row_cells(
    paper: PaperTable, evaluation: Evaluation, row: str, emotion: str | None = None
) -> dict[str, Cell]:
    """Return the cells of a row by column, of all its clips or of those of one emotion.

    Raises:
        ValueError: judgements of emotions that are neither 0 nor 1.
    """
    if paper.layout == "accuracy":
        return _accuracy_cells(evaluation, row, emotion)
    cells = {}
    for column in paper.columns:
        scores = scores_of(paper, evaluation, row, column.metric)
        chosen = {c: v for c, v in scores.items() if emotion in (None, evaluation.emotions[c])}
        if chosen and paper.layout == "emotions" and column.metric == MEAN:
            cells[MEAN] = macro_cell(chosen, evaluation)
        elif chosen:
            cells[column.metric] = mean_cell(chosen, evaluation)
    return cells if emotion is not None else cells | _corpus_cells(paper, evaluation, row)


def scores_of(paper: PaperTable, evaluation: Evaluation, row: str, column: str) -> Scores:
    """Return the clips' figures whose mean, or mean of means, stands in a column; else nothing."""
    if paper.layout == "metrics":
        return {} if column in CORPUS else evaluation.of(row, column)
    if paper.layout == "accuracy":
        return evaluation.of(row, CORRECT) if column == ACCURACY else {}
    shown = [each.metric for each in paper.columns] if column == MEAN else [column]
    scores = evaluation.of(row, paper.metric or "")
    return {clip: value for clip, value in scores.items() if evaluation.emotions[clip] in shown}


def macro_cells(paper: PaperTable, evaluation: Evaluation, row: str) -> dict[str, Cell]:
    """Return the means of the emotions' means; none where fewer than two emotions are known."""
    cells = {}
    for column in paper.columns:
        scores = scores_of(paper, evaluation, row, column.metric)
        emotions = {evaluation.emotions[clip] for clip in scores}
        if "" not in emotions and len(emotions) > 1:
            cell = macro_cell(scores, evaluation)
            cells[column.metric] = _scaled(cell, PERCENT) if column.metric == ACCURACY else cell
    return cells


def mean_cell(scores: Scores, evaluation: Evaluation) -> Cell:
    """Return the mean over clips, each of equal weight."""
    values, speakers = list(scores.values()), speakers_of(scores, evaluation)
    by_clip = mean_interval(values)
    by_speaker = mean_interval(values, speakers) if speakers else None
    known = by_clip if len(values) >= MIN_CLIPS else None
    return Cell(by_clip.value, known, by_speaker, count=len(values))


def macro_cell(scores: Scores, evaluation: Evaluation) -> Cell:
    """Return the mean of the emotions' means, each of equal weight."""
    values, speakers = list(scores.values()), speakers_of(scores, evaluation)
    emotions = [evaluation.emotions[clip] for clip in scores]
    by_clip = macro_interval(values, emotions)
    by_speaker = macro_interval(values, emotions, speakers) if speakers else None
    return Cell(by_clip.value, by_clip, by_speaker, count=len(values))


def speakers_of(clips: Iterable[str], evaluation: Evaluation) -> list[str] | None:
    """Return the speaker of each clip; None if one is not known, or there are too few."""
    speakers = [evaluation.speakers[clip] for clip in clips]
    return speakers if all(speakers) and enough_speakers(speakers) else None


def _corpus_cells(paper: PaperTable, evaluation: Evaluation, row: str) -> dict[str, Cell]:
    found = evaluation.distribution.get(row, {})
    shown = [column.metric for column in paper.columns if column.metric in found]
    return {metric: Cell(found[metric].value, found[metric]) for metric in shown}


def _accuracy_cells(evaluation: Evaluation, row: str, emotion: str | None) -> dict[str, Cell]:
    judged = evaluation.of(row, CORRECT)
    clips = [clip for clip in judged if emotion in (None, evaluation.emotions[clip])]
    if not clips:
        return {}
    cells = {ACCURACY: _share_cell([judged[clip] for clip in clips], clips, evaluation)}
    truths = evaluation.of(TRUTH, CORRECT)
    both = [clip for clip in clips if clip in truths]
    if not both:
        return cells
    ours, theirs = [judged[clip] for clip in both], [truths[clip] for clip in both]
    cells[TRUTHS_ACCURACY] = _share_cell(theirs, both, evaluation)
    ratio, speakers = ratio_interval(ours, theirs), speakers_of(both, evaluation)
    if ratio is not None:
        by_speaker = ratio_interval(ours, theirs, speakers) if speakers else None
        cells[RATIO] = Cell(ratio.value, ratio, by_speaker, count=len(both))
    return cells


def _share_cell(judged: Sequence[float], clips: Sequence[str], evaluation: Evaluation) -> Cell:
    """Return a share in percent: Wilson's interval by clip, the bootstrap's by speaker."""
    if not set(judged) <= {0.0, 1.0}:
        raise ValueError(f"{evaluation.name}: {CORRECT} holds figures that are neither 0 nor 1")
    by_clip, speakers = (
        wilson_interval(int(sum(judged)), len(judged)),
        speakers_of(clips, evaluation),
    )
    by_speaker = mean_interval(judged, speakers) if speakers else None
    return _scaled(Cell(by_clip.value, by_clip, by_speaker, count=len(judged)), PERCENT)


def _scaled(cell: Cell, factor: float) -> Cell:
    def times(interval: Interval | None) -> Interval | None:
        if interval is None:
            return None
        low, high = interval.low, interval.high
        return Interval(
            factor * interval.value,
            None if low is None else factor * low,
            None if high is None else factor * high,
        )

    return Cell(factor * cell.value, times(cell.by_clip), times(cell.by_speaker), count=cell.count)
