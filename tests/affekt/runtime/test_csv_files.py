"""Tables as spreadsheets save them are read; what cannot be read ends with file and line."""

import pytest

from affekt.media.emotion_track import read_track
from affekt.media.emotions import EMOTIONS
from affekt.runtime.csv_files import read_csv, write_csv
from affekt.runtime.manifest import read_manifest
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.clips.layouts.listing import find_sources
from data_prep.sentences import read_table

TEXT = "speaker,name\r\nAnna,Zoë\r\n\r\n ,last\r\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.replace(",", ";").encode("utf-8-sig"),
        TEXT.replace(",", "\t").encode("utf-16"),
        TEXT.replace("\r\n", "\r").encode(),
        b"\n" + TEXT.encode(),
        b"sep=;\r\n" + TEXT.replace(",", ";").encode(),
        b'speaker, name,,\nAnna, "Zo\xc3\xab",,\n , last,,\n',
    ],
    ids=[
        "plain",
        "mark",
        "utf-16",
        "semicolons",
        "unicode text",
        "old mac",
        "empty first line",
        "sep=",
        "empty columns",
    ],
)
def test_every_way_of_saving_gives_the_same_table(tmp_path, data):
    (tmp_path / "t.csv").write_bytes(data)
    columns, lines = read_csv(tmp_path / "t.csv", ["name"])
    assert columns == ("speaker", "name")
    rows = [{"speaker": "Anna", "name": "Zoë"}, {"speaker": "", "name": "last"}]
    assert [line.cells for line in lines] == rows


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ("name\nZoë\n".encode("latin-1"), r"line 2, is no text in UTF-8 \(byte 0xeb\); save it as"),
        (b"name,level\na\n", r"line 2, has 1 cells, wanted 2: name, level; an empty cell"),
        (b"name,level\na,1,2\n", r"line 2, has 3 cells, wanted 2"),
        (b"name,name\na,b\n", r"two columns 'name'"),
        (b"level\n1\n", r"no column name; found: level"),
        (b"", r"no column name; found: nothing"),
        (b'name\n"a\n', r"is no CSV file"),
    ],
)
def test_what_cannot_be_read_names_the_line_and_the_remedy(tmp_path, data, wanted):
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=wanted) as error:
        read_csv(path, ["name"])
    assert str(error.value).startswith(str(path))


def test_all_tables_of_users_are_read_by_the_one_reader(tmp_path):
    """List of clips, sentences, manifest and schedule of emotions, saved by Excel in German."""

    def saved(name, text):
        path = tmp_path / name
        path.write_bytes(text.replace(",", ";").replace("\n", "\r\n").encode("utf-8-sig"))
        return path

    (tmp_path / "clip.mp4").touch()
    header = "video,audio,speaker,emotion,level,sentence"
    clips = saved("clips.csv", f"{header}\nclip.mp4,,anna,happy,1,s1\n")
    (source,) = find_sources(CorpusConfig("list", clips)).sources
    assert (source.speaker, source.emotion, source.level) == ("anna", "happy", 1)
    table = saved("sentences.csv", "speaker,emotion,number,sentence\nM003,happy,001,01\n")
    assert read_table(table) == {("M003", "happy", "1"): "01"}
    assert (
        read_manifest(saved("m.csv", "clip_id,audio\na,b.wav\n")).rows[0].cells["audio"] == "b.wav"
    )
    track = tmp_path / "track.csv"
    track.write_bytes("time;happy;sad\r\n0,5;0,25;0,75\r\n".encode("utf-8-sig"))
    assert read_track(track).weights == ((0.25, 0.75),)
    assert set(read_track(track).labels) <= set(EMOTIONS)


def test_what_is_written_is_read_as_it_was(tmp_path):
    """Formulas, quotation marks and line ends are text here: nothing is neutralised or lost."""
    cells = ["=1+1", "-3.5", 'say "a, b"', "a;b", "two\nlines", "a\rb", "\u00e9", "x"]
    for row in ([*cells], [cell for cell in cells if "\r" not in cell]):
        columns = [f"c{k}" for k in range(len(row))]
        write_csv(tmp_path / "t.csv", columns, [row, row[::-1]])
        found, lines = read_csv(tmp_path / "t.csv")
        assert list(found) == columns
        assert [list(line.cells.values()) for line in lines] == [row, row[::-1]]


def test_a_cell_without_end_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('clip_id\n"' + "a" * 200_000)
    with pytest.raises(ValueError, match=r"t\.csv is no CSV file: field larger than field limit"):
        read_csv(path)
