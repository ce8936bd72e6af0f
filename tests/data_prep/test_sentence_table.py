"""data_prep.sentences: the table of a list of what is said."""

import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.sentences import (
    plain_text,
    read_table,
    read_transcripts,
    table_of,
    write_table,
)

ROOT = Path(__file__).parents[2]
SAID = {
    ("M1", "angry", "1"): "the cat sat",
    ("M1", "sad", "4"): "the cat sat",
    ("M1", "happy", "2"): "the cat sat",
    ("M1", "angry", "2"): "a dog barked",
    ("M1", "sad", "5"): "a dog barked",
}


def test_texts_are_compared_by_their_words():
    assert plain_text("  She\u2019s had, your DARK suit. ") == "she's had your dark suit"
    assert plain_text("?!") == ""


def test_the_table_of_a_list_holds_the_texts_of_two_emotions_and_reads_back(tmp_path):
    said = SAID | {("M1", "fear", "9"): "said once", ("W2", "sad", "1"): "the cat sat"}
    table = table_of(said)
    assert table.keys() == SAID.keys()  # a speaker's own sentences only
    assert table["M1", "angry", "2"] == table["M1", "sad", "5"] == "01"
    assert table["M1", "angry", "1"] == table["M1", "happy", "2"] == "02"
    write_table(tmp_path / "table.csv", table)
    assert read_table(tmp_path / "table.csv") == table


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("speaker,emotion,number\nM1,sad,1\n", "has no column text"),
        ("speaker,emotion,number,text\nM1,sad,1\n", "line 2, has 3 cells, wanted 4"),
        ("speaker,emotion,number,text\nM1,sad,1,...\n", "M1 sad 1 has a text without words"),
        ("speaker,emotion,number,text\nM1,sad,1,a\nM1,Sadness,01,b\n", "line 3: .* already is 'a'"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path, lines, message):
    path = tmp_path / "said.csv"
    path.write_text(lines)
    with pytest.raises(ValueError, match=message):
        read_transcripts(path)


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "data_prep.sentences", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_a_table_or_says_why_not(tmp_path):
    said, table = tmp_path / "said.csv", tmp_path / "table.csv"
    lines = [f"{','.join(key)},{text}" for key, text in SAID.items()]
    said.write_text("\n".join(["speaker,emotion,number,text", *lines]))
    done = run(table, "--transcripts", said)
    assert (done.returncode, "5 files of 1 speakers" in done.stdout) == (0, True), done.stderr
    assert len(read_table(table)) == 5
    said.write_text("speaker,emotion,number,text\nM1,sad,1,said once")
    done = run(table, "--transcripts", said)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "no speaker says one text in two emotions" in done.stderr
