"""`test.py user-study`: write the forms of a user study, and count its answers.

Means have a bootstrap over participants, since one person's ratings are alike; accuracies have
Wilson's interval, which takes answers for independent, and one over participants next to it.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affekt.evaluation.pairing import find_pairs, find_videos
from affekt.evaluation.tables.table import Cell, Table, TableColumn, TableRow, render
from affekt.evaluation.user_study import (
    PROTOCOLS,
    RATINGS,
    REAL,
    Rating,
    Study,
    choose_clips,
    choose_examples,
    make_study,
    read_key,
    write_study,
)
from affekt.media.emotions import EMOTIONS
from affekt.metrics.intervals import mean_interval, wilson_interval
from affekt.runtime.config import from_mapping
from affekt.runtime.files import read_json, write_json, write_text

ACCURACY = TableColumn("emotion_accuracy", "emotion accuracy, %", "higher", 1, 1, False)
PERCENT = 100.0

DESCRIPTION = """Run EVP's Figure 6 or Xu et al.'s Table 2: a folder of forms, and what they answer.

    python test.py user-study export --results ours=runs/evp/videos --results other=videos/other \\
        --truth data/mead --out studies/first --participants 50
    python test.py user-study import --study studies/first --answers answers --out results/study

Export writes STUDY/public, for participants (a folder or a web server's; participant N opens
index.html?p=N), and STUDY/private/key.json, which they must not see. Speakers and emotions come
from a prepared corpus or a --manifest. Import reads the files that the forms saved, lists those
that do not fit, and writes results.json, results.md and results.tex.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("export", help="write the forms of a study").add_argument
    add("--results", action="append", required=True, metavar="NAME=DIR",
        help="a method and its folder of videos, named by clip id; once for each")  # fmt: skip
    add("--truth", type=Path, required=True, help="folder of true videos, or a prepared corpus")
    add("--out", type=Path, required=True, help="folder of the study, a new one")
    add("--protocol", choices=sorted(PROTOCOLS), default="evp-fig6")
    add("--participants", type=int, default=50)
    add("--each", type=int, help="videos of each part that a participant sees; default: all")
    add("--clips", type=int, help="of each speaker and emotion; default: the protocol's")
    add("--manifest", type=Path, help="CSV: clip_id, speaker, label, source")
    add("--split", default="test_sentence", help="of a prepared corpus")
    add("--seed", type=int, default=0, help="of clips, numbers and order; keep it with the key")
    add = actions.add_parser("import", help="count the answers").add_argument
    add("--study", type=Path, required=True, help="the folder that export wrote")
    add("--answers", type=Path, required=True, help="folder of answers (*.json)")
    add("--out", type=Path, required=True, help="folder for the figures")


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    return _export(args) if args.action == "export" else _import(args)


def _export(args: argparse.Namespace) -> int:
    results: dict[str, dict[str, Path]] = {}
    for text in args.results:
        name, _, folder = text.partition("=")
        if not (name and folder):
            raise ValueError(f"--results {text!r}: wanted NAME=DIR")
        if name in (REAL, *results):
            raise ValueError(f"--results {text!r}: the name {name!r} is taken")
        results[name] = find_videos(Path(folder))
    truths = find_pairs(None, args.truth, args.split, args.manifest).pairs
    # The clips of the study, as many of each speaker and emotion.
    protocol = PROTOCOLS[args.protocol]
    have = {name: set(videos) for name, videos in results.items()}
    chosen = choose_clips(truths, have, args.clips or protocol.clips, args.seed)
    # The clips that show the emotions before they are asked.
    examples = choose_examples(truths, chosen, args.seed) if "choose" in protocol.tasks else {}
    # Numbers and orders, and the folder.
    study = make_study(
        args.protocol, [REAL, *results], chosen, examples, args.participants, args.each, args.seed
    )
    write_study(args.out, study, {case.id: case for case in truths}, results)
    sys.stdout.write(
        f"study {study.id}: {len(chosen)} clips of {len(study.methods)} methods; each of "
        f"{args.participants} participants rates {len(study.participants[0].rate)} videos\n"
        f"hand out {args.out / 'public'}: index.html?p=1 to ?p={args.participants}\n"
        f"keep {args.out / 'private'} to yourself\n"
    )
    return 0


def _import(args: argparse.Namespace) -> int:
    study = read_key(args.study)
    sheets, refused = read_sheets(args.answers, study)
    sys.stderr.writelines(f"not counted: {name}: {why}\n" for name, why in refused.items())
    if not sheets:
        raise ValueError(f"none of the {len(refused)} files *.json of {args.answers} counts")
    table = study_table(sheets, study)
    record = table.as_json() | {"participants": len(sheets), "refused": refused}
    write_json(args.out / "results.json", record)
    write_text(args.out / "results.md", render(table, "md"))
    write_text(args.out / "results.tex", render(table, "tex"))
    sys.stdout.write(render(table, "md"))
    return 0


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
        ValueError: another study or participant; other videos than this participant's, each
            once; an answer that does not fit its task.
    """
    if sheet.study != study.id:
        raise ValueError(f"of study {sheet.study!r}, wanted {study.id!r}")
    people = len(study.participants)
    if not 1 <= sheet.participant <= people:
        raise ValueError(f"participant {sheet.participant}; there are 1 to {people}")
    order = study.participants[sheet.participant - 1]
    wanted = Counter((*order.rate, *order.choose))
    given = Counter(answer.video for answer in sheet.answers)
    if given != wanted:
        raise ValueError(
            f"{(wanted - given).total()} of {wanted.total()} answers are missing; twice, or of "
            f"videos that this participant does not see: {[*(given - wanted)]}"
        )
    for answer in sheet.answers:
        silent = answer.video in order.choose
        ratings = 0 if silent else len(PROTOCOLS[study.protocol].questions)
        if len(answer.ratings) != ratings or answer.emotion not in (EMOTIONS if silent else ("",)):
            raise ValueError(
                f"video {answer.video}: {len(answer.ratings)} ratings, emotion {answer.emotion!r}; "
                f"wanted {ratings} ratings, {'one of the emotions' if silent else 'no emotion'}"
            )


def study_table(sheets: Sequence[Sheet], study: Study) -> Table:
    """Return by method the ratings' means (over participants) and the emotions' accuracy."""
    protocol = PROTOCOLS[study.protocol]
    columns = [TableColumn(key, key, "higher", 2, 2, False) for key in protocol.questions]
    columns += [ACCURACY] if "choose" in protocol.tasks else []
    # Scores, and whose they are, by method and column.
    scores: dict[str, dict[str, list[tuple[str, float]]]]
    scores = {method: defaultdict(list) for method in study.methods}
    for sheet in sheets:
        for answer in sheet.answers:
            item, person = study.items[answer.video - 1], str(sheet.participant)
            given = dict(zip(protocol.questions, map(float, answer.ratings), strict=False))
            given |= {ACCURACY.key: answer.emotion == item.emotion} if answer.emotion else {}
            for key, score in given.items():
                scores[item.method][key].append((person, score))
    rows = [
        TableRow(method, "result", {key: _cell(key, given) for key, given in own.items()}, method)
        for method, own in scores.items()
    ]
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
