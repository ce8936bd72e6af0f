"""The answers of a user study's participants: read, checked, and counted by method.

A file that does not fit is listed with its reason and never stops the others. Intervals are 95 %:
of a mean by bootstrap over participants, since one person's ratings are alike; of an accuracy
Wilson's, which takes answers for independent, and by participants beside it.
"""

import typing as tp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affekt.evaluation.user_study.design import (
    HIGHEST,
    LOWEST,
    PROTOCOLS,
    SCHEMA,
    Key,
    StudyProtocol,
    Task,
)
from affekt.media.emotions import EMOTIONS
from affekt.metrics.intervals import Interval, mean_interval, wilson_interval
from affekt.runtime.files import read_json

LARGEST = 4 * 2**20  # bytes of an answers file; 1,000 answers take 0.2 MB
TOP = {"schema", "study", "participant", "answers"}
FIELDS: dict[Task, str] = {"rate": "ratings", "choose": "emotion"}


@dataclass(frozen=True)
class Answer:
    """What one person said of one video."""

    item: str
    ratings: dict[str, int]  # by question; empty in the second task
    emotion: str  # empty in the first task


@dataclass(frozen=True)
class Sheet:
    """What one person said."""

    participant: int  # from 1
    answers: list[Answer]


@dataclass(frozen=True)
class Refused:
    """A file that does not count, and why."""

    file: str
    reason: str


def read_sheets(
    folder: Path, key: Key, incomplete: bool = False
) -> tuple[list[Sheet], list[Refused]]:
    """Return the answers of a folder's JSON files, by participant, and the files refused.

    Args:
        incomplete: whether sheets with answers missing count.

    Raises:
        FileNotFoundError: no folder, or no JSON file in it.
    """
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not paths:
        raise FileNotFoundError(f"{folder} holds no answers (*.json)")
    sheets: dict[int, Sheet] = {}
    names: dict[int, str] = {}
    refused = []
    for path in paths:
        try:
            sheet = checked(_read(path), key, incomplete)
            if sheet.participant in sheets:
                first = names[sheet.participant]
                raise ValueError(f"participant {sheet.participant} has answered in {first}")
        except (OSError, ValueError, RecursionError) as error:
            refused.append(Refused(path.name, str(error) or type(error).__name__))
        else:
            sheets[sheet.participant], names[sheet.participant] = sheet, path.name
    return [sheets[number] for number in sorted(sheets)], refused


def checked(raw: tp.Any, key: Key, incomplete: bool = False) -> Sheet:
    """Return a sheet from what its file holds.

    Raises:
        ValueError: another schema, study or participant; an answer that does not fit, is given
            twice, is not this participant's to give, or is missing.
    """
    if not isinstance(raw, dict) or set(raw) != TOP:
        raise ValueError(f"not a sheet of answers: wanted an object with {', '.join(sorted(TOP))}")
    if raw["schema"] != SCHEMA or raw["study"] != key.study:
        raise ValueError(
            f"of study {raw['study']!r}, schema {raw['schema']!r}; "
            f"wanted {key.study!r}, schema {SCHEMA}"
        )
    number, given = raw["participant"], raw["answers"]
    if type(number) is not int or not 1 <= number <= len(key.participants):
        raise ValueError(f"participant {number!r}; there are 1 to {len(key.participants)}")
    if not isinstance(given, list):
        raise ValueError(f"answers are {type(given).__name__}, wanted a list")
    order = key.participants[number - 1]
    allowed = {token: task for task, tokens in order.items() for token in tokens}
    answers: dict[str, Answer] = {}
    for place, entry in enumerate(given, 1):
        answer = _answer(entry, place, allowed, PROTOCOLS[key.protocol])
        if answer.item in answers:
            raise ValueError(f"answer {place}: {answer.item} is answered twice")
        answers[answer.item] = answer
    if len(answers) < len(allowed) and not incomplete:
        raise ValueError(f"{len(allowed) - len(answers)} of {len(allowed)} answers are missing")
    return Sheet(number, list(answers.values()))


def figures(sheets: Sequence[Sheet], key: Key) -> dict[str, tp.Any]:
    """Return, by method, the ratings' means and the emotions' accuracy and confusion, as JSON data.

    A figure is {"value", "low", "high", "answers"}; a bound that one participant cannot give, and
    the value of what nobody answered, is None. "confusion" counts answers: a row for each true
    emotion, a column for each chosen one, in the order of "emotions".

    Raises:
        ValueError: no sheet.
    """
    if not sheets:
        raise ValueError("no sheet of answers counts")
    protocol = PROTOCOLS[key.protocol]
    methods = {}
    for method in key.methods:
        given = [
            (sheet.participant, answer)
            for sheet in sheets
            for answer in sheet.answers
            if key.items[answer.item].method == method
        ]
        methods[method] = {"ratings": _ratings(given, protocol)}
        if protocol.emotion:
            methods[method]["emotion"] = _emotion(given, key)
    return {
        "study": key.study,
        "protocol": key.protocol,
        "participants": len(sheets),
        "questions": [question.key for question in protocol.questions],
        "emotions": list(EMOTIONS) if protocol.emotion else [],
        "methods": methods,
    }


def _read(path: Path) -> tp.Any:
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{size} bytes are no sheet of answers")
    return read_json(path)


def _answer(
    entry: tp.Any, place: int, allowed: Mapping[str, Task], protocol: StudyProtocol
) -> Answer:
    item = entry.get("item") if isinstance(entry, dict) else None
    if not isinstance(item, str) or item not in allowed:
        raise ValueError(f"answer {place}: {item!r} is no video that this participant sees")
    task = allowed[item]
    if set(entry) != {"item", "task", FIELDS[task]} or entry["task"] != task:
        raise ValueError(f"answer {place}: wanted item, task {task!r} and {FIELDS[task]}")
    value = entry[FIELDS[task]]
    if task == "choose":
        if value not in EMOTIONS:
            raise ValueError(f"answer {place}: {value!r} is none of the emotions")
        return Answer(item, {}, value)
    wanted = {question.key for question in protocol.questions}
    if not isinstance(value, dict) or set(value) != wanted:
        raise ValueError(f"answer {place}: wanted ratings of {', '.join(sorted(wanted))}")
    for name, rating in value.items():
        if type(rating) is not int or not LOWEST <= rating <= HIGHEST:
            raise ValueError(f"answer {place}: {name} is {rating!r}, wanted {LOWEST} to {HIGHEST}")
    return Answer(item, dict(value), "")


def _ratings(given: Sequence[tuple[int, Answer]], protocol: StudyProtocol) -> dict[str, tp.Any]:
    rated = [(person, answer.ratings) for person, answer in given if answer.ratings]
    people = [str(person) for person, _ in rated]
    found = {}
    for question in protocol.questions:
        values = [ratings[question.key] for _, ratings in rated]
        interval = mean_interval(values, people) if values else None
        found[question.key] = _figure(interval, len(values))
    return found


def _emotion(given: Sequence[tuple[int, Answer]], key: Key) -> dict[str, tp.Any]:
    chosen = [(person, answer) for person, answer in given if answer.emotion]
    confusion = np.zeros((len(EMOTIONS), len(EMOTIONS)), int)
    for _, answer in chosen:
        true = EMOTIONS.index(key.items[answer.item].emotion)
        confusion[true, EMOTIONS.index(answer.emotion)] += 1
    right = [float(key.items[answer.item].emotion == answer.emotion) for _, answer in chosen]
    people = [str(person) for person, _ in chosen]
    accuracy = wilson_interval(int(sum(right)), len(right)) if right else None
    by_person = mean_interval(right, people) if right else None
    return {
        "accuracy": _figure(accuracy, len(right)),
        "accuracy_by_participant": _figure(by_person, len(right)),
        "confusion": confusion.tolist(),
    }


def _figure(interval: Interval | None, answers: int) -> dict[str, tp.Any]:
    if interval is None:
        return {"value": None, "low": None, "high": None, "answers": answers}
    bounds = {"low": interval.low, "high": interval.high}
    return {"value": interval.value, **bounds, "answers": answers}
