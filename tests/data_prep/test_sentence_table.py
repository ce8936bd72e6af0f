"""data_prep.sentences.table: a table of sentences against a list of what is said."""

import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.sentences.table import (
    MEAD_SENTENCES,
    check_table,
    plain_text,
    read_table,
    read_transcripts,
    table_of,
    write_table,
)

ROOT = Path(__file__).parents[2]
TABLE = {
    ("M1", "angry", "1"): "01",
    ("M1", "sad", "4"): "01",
    ("M1", "happy", "2"): "01",
    ("M1", "angry", "2"): "02",
    ("M1", "sad", "5"): "02",
}
SAID = {
    ("M1", "angry", "1"): "the cat sat",
    ("M1", "sad", "4"): "the cat sat",
    ("M1", "happy", "2"): "the cat sat",
    ("M1", "angry", "2"): "a dog barked",
    ("M1", "sad", "5"): "a dog barked",
}


def test_a_table_that_fits_has_nothing_wrong_and_names_what_the_list_lacks():
    check = check_table(TABLE, {key: text for key, text in SAID.items() if key[2] != "5"})
    assert (check.checked, check.wrong) == (4, ())
    assert check.unknown == (("M1", "sad", "5"),)


def test_a_file_that_says_something_else_is_named_with_both_texts():
    check = check_table(TABLE, SAID | {("M1", "happy", "2"): "it rains"})
    assert check.wrong == ("M1 happy 2: sentence 01 is 'the cat sat', this file says 'it rains'",)


def test_two_sentences_of_one_text_are_one_sentence_too_many():
    said = dict.fromkeys(SAID, "the cat sat")
    assert check_table(TABLE, said).wrong == ("M1: sentences 01 and 02 are both 'the cat sat'",)


def test_the_same_name_is_another_sentence_of_another_speaker():
    check = check_table(TABLE | {("W2", "sad", "1"): "01"}, SAID | {("W2", "sad", "1"): "hello"})
    assert check.wrong == ()


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
    assert check_table(table, said).wrong == ()


def test_the_release_table_stands_against_a_list_that_says_what_it_says():
    table = read_table(MEAD_SENTENCES)
    said = {key: f"sentence {key[0]} {name}" for key, name in table.items()}
    check = check_table(table, said)
    assert (check.checked, check.unknown, check.wrong) == (208, (), ())
    said["M003", "disgusted", "28"] = said["M003", "disgusted", "29"]  # a slip of one number
    assert len(check_table(table, said).wrong) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("speaker,emotion,number\nM1,sad,1\n", "has no column text"),
        ("speaker,emotion,number,text\nM1,sad,1\n", "line 2, has too few columns"),
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
        [sys.executable, "-m", "data_prep.sentences.table", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_checks_and_writes(tmp_path):
    said, table = tmp_path / "said.csv", tmp_path / "table.csv"
    lines = [f"{','.join(key)},{text}" for key, text in SAID.items()]
    said.write_text("\n".join(["speaker,emotion,number,text", *lines]))
    done = run(table, "--transcripts", said, "--write")
    assert (done.returncode, "5 files of 1 speakers" in done.stdout) == (0, True), done.stderr
    done = run(table, "--transcripts", said)
    assert (done.returncode, done.stdout) == (
        0,
        "5 files checked, 0 not in the list of transcripts\n",
    )
    said.write_text(said.read_text().replace("happy,2,the cat sat", "happy,2,it rains"))
    done = run(table, "--transcripts", said)
    assert done.returncode == 1
    assert "wrong: M1 happy 2" in done.stdout
    done = run(MEAD_SENTENCES, "--transcripts", said)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "the list names no file of the table" in done.stderr
