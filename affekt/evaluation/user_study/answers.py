"""Answers of a user study: read and checked, means by method with 95 % intervals.

Means have a bootstrap over participants, since one person's ratings are alike; accuracies have
Wilson's interval, which takes answers for independent, and one over participants beside it.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affekt.evaluation.tables.table import Cell, Table, TableColumn, TableRow
from affekt.evaluation.user_study.study import PROTOCOLS, RATINGS, Rating, Study
from affekt.media.emotions import EMOTIONS
from affekt.metrics.intervals import mean_interval, wilson_interval
from affekt.runtime.config import from_mapping
from affekt.runtime.files import read_json

ACCURACY = TableColumn("emotion_accuracy", "emotion accuracy, %", "higher", 1, 1, False)
PERCENT = 100.0


@dataclass(frozen=True)
class Answer:
    """One person's answer to one video."""

    video: int  # its number
    ratings: tuple[Rating, ...] = ()  # in the order of the questions; empty in the second task
    emotion: str = ""  # empty in the first task


@dataclass(frozen=True)
class Sheet:
    """One person's answers."""

    study: str
    participant: int  # from 1
    answers: tuple[Answer, ...]


def read_sheets(folder: Path, study: Study) -> tuple[list[Sheet], dict[str, str]]:
    """Return the answers of a folder's JSON files by participant, and why others are refused."""
    sheets: dict[int, Sheet] = {}
    refused = {}
    for path in sorted(folder.glob("*.json")):
        try:
            sheet = from_mapping(Sheet, read_json(path), "the sheet")
            check_sheet(sheet, study)
            if sheet.participant in sheets:
                raise ValueError(f"participant {sheet.participant} has answered in another file")
            sheets[sheet.participant] = sheet
        except (OSError, ValueError, RecursionError) as error:
            refused[path.name] = str(error)
    return [sheets[number] for number in sorted(sheets)], refused


def check_sheet(sheet: Sheet, study: Study) -> None:
    """Refuse a sheet that is not one of the study's, or not whole.

    Raises:
        ValueError: another study or participant; an answer that does not fit, is given twice, is
            of a video that this participant does not see, or is missing.
    """
    if sheet.study != study.id:
        raise ValueError(f"of study {sheet.study!r}, wanted {study.id!r}")
    people = len(study.participants)
    if not 1 <= sheet.participant <= people:
        raise ValueError(f"participant {sheet.participant}; there are 1 to {people}")
    order = study.participants[sheet.participant - 1]
    wanted, given = {*order.rate, *order.choose}, Counter(a.video for a in sheet.answers)
    for answer in sheet.answers:
        if answer.video not in wanted:
            raise ValueError(f"video {answer.video} is none that this participant sees")
        if given[answer.video] > 1:
            raise ValueError(f"video {answer.video} is answered twice")
        silent = answer.video in order.choose
        ratings = 0 if silent else len(PROTOCOLS[study.protocol].questions)
        if len(answer.ratings) != ratings or answer.emotion not in (EMOTIONS if silent else ("",)):
            raise ValueError(
                f"video {answer.video}: {len(answer.ratings)} ratings, emotion {answer.emotion!r}; "
                f"wanted {ratings} ratings, {'one of the emotions' if silent else 'no emotion'}"
            )
    if len(given) < len(wanted):
        raise ValueError(f"{len(wanted) - len(given)} of {len(wanted)} answers are missing")


def study_table(sheets: Sequence[Sheet], study: Study) -> Table:
    """Return by method the ratings' means (over participants) and the emotions' accuracy."""
    protocol = PROTOCOLS[study.protocol]
    columns = [TableColumn(key, key, "higher", 2, 2, False) for key in protocol.questions]
    columns += [ACCURACY] if "choose" in protocol.tasks else []
    # Scores, and whose they are, by method and column.
    scores: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for sheet in sheets:
        for answer in sheet.answers:
            item, person = study.items[answer.video - 1], str(sheet.participant)
            if answer.emotion:
                hit = float(answer.emotion == item.emotion)
                scores[item.method, ACCURACY.key].append((person, hit))
            for key, rating in zip(protocol.questions, answer.ratings, strict=False):
                scores[item.method, key].append((person, rating))
    rows = []
    for method in study.methods:
        keys = [column.key for column in columns if scores[method, column.key]]
        cells = {key: _cell(key, scores[method, key]) for key in keys}
        rows.append(TableRow(method, "result", cells, method))
    title = f"{protocol.title}: user study"
    return Table(study.protocol, title, columns, rows, _notes(sheets, study))


def _cell(key: str, scores: Sequence[tuple[str, float]]) -> Cell:
    """Return a mean, or a share in percent with Wilson's interval first, of (person, score)."""
    people, values = [person for person, _ in scores], [score for _, score in scores]
    by_person = mean_interval(values, people)
    if key != ACCURACY.key:
        return Cell(by_person.value, by_person, count=len(values))
    wilson = wilson_interval(int(sum(values)), len(values)).scaled(PERCENT)
    return Cell(wilson.value, wilson, by_person.scaled(PERCENT), count=len(values))


def _notes(sheets: Sequence[Sheet], study: Study) -> list[str]:
    clips = {item.clip for item in study.items}
    notes = [
        f"Study {study.id}: {len(sheets)} of {len(study.participants)} participants, {len(clips)} "
        f"clips of each method, ratings from {RATINGS[0]} (worst) to {RATINGS[-1]} (best).",
        "Intervals are 95 %: of means by bootstrap over participants; of accuracies Wilson's, and "
        "after the slash by bootstrap over participants.",
        *(f"{key}: {text}" for key, text in PROTOCOLS[study.protocol].questions.items()),
    ]
    shown = sorted({clip for _, clip in study.examples} & clips)
    if shown:
        notes.append(
            f"{len(shown)} of the recordings that showed the emotions are asked about too, for "
            f"want of others: the accuracy of the real videos may be too high ({', '.join(shown)})."
        )
    return notes
