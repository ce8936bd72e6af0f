"""Sentence tables: the sentence of each file, where file numbers do not give it (MEAD).

    python -m data_prep.sentences.table configs/data/mead_sentences.csv --transcripts said.csv
    python -m data_prep.sentences.table mine.csv --transcripts said.csv --write

A table is a CSV file with the columns speaker, emotion, number, sentence (any name of it).
configs/data/mead_sentences.csv is the list of EVP's release: 13 sentences of M003 and of M030 in
all eight emotions. MEAD lists the spoken texts on its own; put into a CSV file with the
columns speaker, emotion, number, text, they check a table (first command: every
contradiction by speaker and number, exit code 1 if there is one), or makes one (second command:
texts that a speaker says in at least two emotions).
"""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from affekt.media.emotions import canonical
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import replacing

COLUMNS = ("speaker", "emotion", "number", "sentence")
TRANSCRIPT_COLUMNS = ("speaker", "emotion", "number", "text")
MEAD_SENTENCES = Path(__file__).parents[2] / "configs/data/mead_sentences.csv"
Key = tuple[str, str, str]  # speaker, emotion, number
Table = dict[Key, str]  # -> sentence, or text


@dataclass(frozen=True)
class Check:
    """Result of checking a table against transcripts."""

    checked: int  # files that both name
    unknown: tuple[Key, ...]  # files of the table that the list does not name
    wrong: tuple[str, ...]  # contradictions, a line each


def read_table(path: Path) -> Table:
    """Read the sentence of every file number; numbers lose their leading zeros.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a missing column, a short line, or one number with two sentences.
    """
    return _read(path, COLUMNS, "sentence table")


def read_transcripts(path: Path) -> Table:
    """Read the text of every file number; case, punctuation and spaces are dropped from it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a missing column, a short line, a text without a letter, or one number with two
            texts.
    """
    texts = _read(path, TRANSCRIPT_COLUMNS, "list of transcripts")
    plain = {key: plain_text(text) for key, text in texts.items()}
    for key, text in plain.items():
        if not text:
            raise ValueError(f"{path}: {' '.join(key)} has a text without words: {texts[key]!r}")
    return plain


def check_table(table: Table, transcripts: Table) -> Check:
    """Check a table against transcripts: a sentence has one text, and two sentences have two.

    A sentence's text is the one that most of its files have; the others are wrong. Sentences are
    a speaker's own: 01 of two speakers may differ.
    """
    texts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    known = {key: transcripts[key] for key in table if key in transcripts}
    for key, text in known.items():
        texts[key[0], table[key]][text] += 1
    usual = {sentence: counts.most_common(1)[0][0] for sentence, counts in texts.items()}
    wrong = [
        f"{' '.join(key)}: sentence {table[key]} is {usual[key[0], table[key]]!r}, "
        f"this file says {text!r}"
        for key, text in known.items()
        if text != usual[key[0], table[key]]
    ]
    first: dict[tuple[str, str], str] = {}
    for (speaker, sentence), text in usual.items():
        twin = first.setdefault((speaker, text), sentence)
        if twin != sentence:
            wrong.append(f"{speaker}: sentences {twin} and {sentence} are both {text!r}")
    unknown = tuple(key for key in table if key not in transcripts)
    return Check(len(known), unknown, tuple(wrong))


def table_of(transcripts: Table) -> Table:
    """Return the table of the texts that a speaker says in at least two emotions.

    Sentences are numbered for each speaker from 01, by their texts in alphabetical order.
    """
    emotions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (speaker, emotion, _), text in transcripts.items():
        emotions[speaker, text].add(emotion)
    names: dict[tuple[str, str], str] = {}
    count: Counter[str] = Counter()
    for speaker, text in sorted(said for said, found in emotions.items() if len(found) > 1):
        count[speaker] += 1
        names[speaker, text] = f"{count[speaker]:02d}"
    return {
        key: names[key[0], text] for key, text in transcripts.items() if (key[0], text) in names
    }


def write_table(path: Path, table: Table) -> None:
    """Write a table as CSV, by speaker, emotion and number; a file of that name is replaced."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for (speaker, emotion, number), sentence in sorted(table.items(), key=_by_number):
            writer.writerow([speaker, emotion, number.zfill(3), sentence])


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the cells of each row of a CSV file that has these columns.

    Raises:
        ValueError: a missing column, or a row with too few cells.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}; wanted {columns}")
        for line, row in enumerate(reader, 2):
            if None in (row[name] for name in columns):
                raise ValueError(f"{path}, line {line}, has too few columns")
            yield line, row


def plain_text(text: str) -> str:
    """Return the words alone: lower case, single spaces, apostrophes kept, no punctuation."""
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.replace("\u2019", "'").casefold()))


def spelled(emotion: str) -> str:
    """Return the project's spelling, or the name itself where a corpus has classes of its own."""
    try:
        return canonical(emotion)
    except ValueError:
        return emotion


def plain_number(text: str) -> str:
    """Drop leading zeros, so that 007 in a file name is 7 in a table."""
    return str(int(text)) if text.isdigit() else text


def _by_number(line: tuple[Key, str]) -> tuple[str, str, int, str]:
    (speaker, emotion, number), _ = line
    return speaker, emotion, int(number) if number.isdigit() else 0, number


def _read(path: Path, columns: tuple[str, ...], what: str) -> Table:
    if not path.is_file():
        raise FileNotFoundError(f"the {what} {path} is missing")
    table: Table = {}
    for line, row in csv_rows(path, columns):
        speaker, emotion, number, sentence = (row[name] for name in columns)
        key = speaker, spelled(emotion), plain_number(number)
        if table.setdefault(key, sentence) != sentence:
            raise ValueError(f"{path}, line {line}: {key} already is {table[key]!r}")
    return table


def _write(path: Path, transcripts: Table) -> int:
    table = table_of(transcripts)
    if not table:
        raise ValueError("no speaker says one text in two emotions; nothing is written")
    write_table(path, table)
    speakers = {speaker for speaker, _, _ in table}
    print(f"{path}: {len(table)} files of {len(speakers)} speakers")
    return 0


def _check(path: Path, transcripts: Table) -> int:
    check = check_table(read_table(path), transcripts)
    print(f"{check.checked} files checked, {len(check.unknown)} not in the list of transcripts")
    for line in check.wrong:
        print(f"  wrong: {line}")
    if not check.checked:
        raise ValueError(
            "the list names no file of the table; are speakers and emotions spelled so?"
        )
    return 1 if check.wrong else 0


def main() -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("table", type=Path, help="CSV of speaker, emotion, number, sentence")
    parser.add_argument(
        "--transcripts", type=Path, required=True, help="CSV with text, not sentence"
    )
    parser.add_argument("--write", action="store_true", help="make the table, do not check it")
    args = parser.parse_args()
    with user_errors():
        transcripts = read_transcripts(args.transcripts)
        code = (_write if args.write else _check)(args.table, transcripts)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
