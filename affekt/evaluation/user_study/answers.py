"""Answers of a user study: read and checked, means by method with 95 % intervals.

A file that does not fit is listed with its reason and never stops the others. Means have a
bootstrap over participants, since one person's ratings are alike; accuracies have Wilson's
interval, which takes answers for independent, and one over participants beside it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affekt.evaluation.tables.table import Cell, Table, TableColumn, TableRow
from affekt.evaluation.user_study.design import HIGHEST, LOWEST, PROTOCOLS, Item, Study
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
    ratings: tuple[int, ...] = ()  # in the order of the questions; empty in the second task
    emotion: str = ""  # empty in the first task


@dataclass(frozen=True)
class Sheet:
    """One person's answers."""

    study: str
    participant: int  # from 1
    answers: tuple[Answer, ...]


def read_sheets(folder: Path, study: Study) -> tuple[list[Sheet], dict[str, str]]:
    """Return the answers of a folder's JSON files by participant, and why others are refused.

    Raises:
        FileNotFoundError: no folder, or no JSON file in it.
    """
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not paths:
        raise FileNotFoundError(f"{folder} holds no answers (*.json)")
    sheets: dict[int, Sheet] = {}
    refused = {}
    for path in paths:
        try:
            sheet = from_mapping(Sheet, read_json(path), "the sheet")
            check_sheet(sheet, study)
            if sheet.participant in sheets:
                raise ValueError(f"participant {sheet.participant} has answered in another file")
        except (OSError, ValueError, RecursionError) as error:
            refused[path.name] = str(error)
        else:
            sheets[sheet.participant] = sheet
    return [sheets[number] for number in sorted(sheets)], refused


def check_sheet(sheet: Sheet, study: Study) -> None:
    """Refuse a sheet that is not one of the study's, or not whole.

    Raises:
        ValueError: another study or participant; an answer that does not fit, is given twice, is
            of a video that this participant does not see, or is missing.
    """
    people = len(study.participants)
    if sheet.study != study.id:
        raise ValueError(f"of study {sheet.study!r}, wanted {study.id!r}")
    if not 1 <= sheet.participant <= people:
        raise ValueError(f"participant {sheet.participant}; there are 1 to {people}")
    order = study.participants[sheet.participant - 1]
    wanted, given = {*order.rate, *order.choose}, [answer.video for answer in sheet.answers]
    for answer in sheet.answers:
        if answer.video not in wanted:
            raise ValueError(f"video {answer.video} is none that this participant sees")
        if given.count(answer.video) > 1:
            raise ValueError(f"video {answer.video} is answered twice")
        _check_answer(answer, study)
    if len(given) < len(wanted):
        raise ValueError(f"{len(wanted) - len(given)} of {len(wanted)} answers are missing")


def study_table(sheets: Sequence[Sheet], study: Study) -> Table:
    """Return by method the ratings' means (over participants) and the emotions' accuracy."""
    protocol = PROTOCOLS[study.protocol]
    columns = [TableColumn(key, key, "higher", 2, 2, False) for key in protocol.questions]
    columns += [ACCURACY] if protocol.emotion else []
    rows = []
    for method in study.methods:
        given = [each for each in _given(sheets, study) if each[2].method == method]
        rated = [(person, answer.ratings) for person, answer, _ in given if answer.ratings]
        cells = {}
        for k, key in enumerate(protocol.questions) if rated else ():
            mean = mean_interval([r[k] for _, r in rated], [person for person, _ in rated])
            cells[key] = Cell(mean.value, mean, count=len(rated))
        right = [(p, float(a.emotion == item.emotion)) for p, a, item in given if a.emotion]
        if right:
            cells[ACCURACY.key] = _accuracy([p for p, _ in right], [value for _, value in right])
        rows.append(TableRow(method, "result", cells, method))
    return Table(
        study.protocol, f"{protocol.title}: user study", columns, rows, _notes(sheets, study)
    )


def confusions(sheets: Sequence[Sheet], study: Study) -> dict[str, list[list[int]]]:
    """Return, by method, counts of answers: a row a true emotion, a column a chosen one."""
    counts = Counter(
        (item.method, item.emotion, answer.emotion) for _, answer, item in _given(sheets, study)
    )
    return {
        method: [[counts[method, true, chosen] for chosen in EMOTIONS] for true in EMOTIONS]
        for method in study.methods
        if PROTOCOLS[study.protocol].emotion
    }


def _check_answer(answer: Answer, study: Study) -> None:
    if study.items[answer.video - 1].task == "choose":
        if answer.ratings or answer.emotion not in EMOTIONS:
            raise ValueError(f"video {answer.video}: {answer.emotion!r} is none of the emotions")
        return
    wanted = len(PROTOCOLS[study.protocol].questions)
    in_range = all(LOWEST <= rating <= HIGHEST for rating in answer.ratings)
    if answer.emotion or len(answer.ratings) != wanted or not in_range:
        raise ValueError(
            f"video {answer.video}: ratings are {list(answer.ratings)}, wanted {wanted} from "
            f"{LOWEST} to {HIGHEST}"
        )


def _given(sheets: Sequence[Sheet], study: Study) -> list[tuple[str, Answer, Item]]:
    """Return participant, answer and video of every answer."""
    return [
        (str(sheet.participant), answer, study.items[answer.video - 1])
        for sheet in sheets
        for answer in sheet.answers
    ]


def _accuracy(people: Sequence[str], right: Sequence[float]) -> Cell:
    """Return a share in percent: Wilson's interval over answers, a bootstrap over participants."""
    wilson = wilson_interval(int(sum(right)), len(right)).scaled(PERCENT)
    by_person = mean_interval([PERCENT * each for each in right], people)
    return Cell(wilson.value, wilson, by_person, count=len(right))


def _notes(sheets: Sequence[Sheet], study: Study) -> list[str]:
    protocol, clips = PROTOCOLS[study.protocol], {item.clip for item in study.items}
    notes = [
        f"Study {study.id}: {len(sheets)} of {len(study.participants)} participants, {len(clips)} "
        f"clips of each method, ratings from {LOWEST} (worst) to {HIGHEST} (best).",
        "Intervals are 95 %: of means by bootstrap over participants; of accuracies Wilson's, and "
        "after the slash by bootstrap over participants.",
        *(f"{key}: {text}" for key, text in protocol.questions.items()),
    ]
    shown = sorted({clip for _, clip in study.examples} & clips)
    if shown:
        notes.append(
            f"{len(shown)} of the recordings that showed the emotions are asked about too, for "
            f"want of others: the accuracy of the real videos may be too high ({', '.join(shown)})."
        )
    return notes
