"""Which files of a corpus hold the same sentence, where file numbers do not say so (MEAD).

A CSV file with the columns speaker, emotion, number, sentence. `mead_sentences.csv` beside this
file is the list of EVP's release: 13 sentences of M003 and of M030 in all eight emotions.
"""

import csv
from pathlib import Path

from media.emotions import canonical

COLUMNS = ("speaker", "emotion", "number", "sentence")
MEAD_SENTENCES = Path(__file__).with_name("mead_sentences.csv")
Table = dict[tuple[str, str, str], str]  # (speaker, emotion, number) -> sentence


def read_table(path: Path) -> Table:
    """Read the sentence of every file number; numbers lose their leading zeros.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a missing column, a short line, or one number with two sentences.
    """
    if not path.is_file():
        raise FileNotFoundError(f"the sentence table {path} is missing")
    table: Table = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}; wanted {COLUMNS}")
        for line, row in enumerate(reader, 2):
            speaker, emotion, number, sentence = (row[name] for name in COLUMNS)
            if None in (speaker, emotion, number, sentence):
                raise ValueError(f"{path}, line {line}, has too few columns")
            key = speaker, spelled(emotion), plain_number(number)
            if table.setdefault(key, sentence) != sentence:
                raise ValueError(f"{path}, line {line}: {key} already is {table[key]!r}")
    return table


def spelled(emotion: str) -> str:
    """Return the project's spelling, or the name itself where a corpus has classes of its own."""
    try:
        return canonical(emotion)
    except ValueError:
        return emotion


def plain_number(text: str) -> str:
    """Drop leading zeros, so that 007 in a file name is 7 in a table."""
    return str(int(text)) if text.isdigit() else text
