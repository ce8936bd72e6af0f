import argparse
import csv
import io
import json
import re

import pytest

from affekt.evaluation.commands import table as command
from affekt.evaluation.commands.run import print_tables
from affekt.evaluation.tables.table import (
    Cell,
    Table,
    TableColumn,
    TableRow,
    escaped,
    figure,
    render,
)
from affekt.metrics.intervals import Interval
from tests.corpora.scored_evaluations import lines, write_evaluation

LD = TableColumn("m_ld", "M-LD", "lower", 2, 2, True)
SSIM = TableColumn("ssim", "SSIM", "higher", 3, 2, False)
SPECIAL = r"50 % of A&B_1 #2 {x} ~y^2 $3 \z <|>"


def table(*rows, notes=("a note",)):
    return Table("t1", "A table", [LD, SSIM], list(rows), list(notes))


OURS = TableRow(
    "ours",
    "result",
    {
        "m_ld": Cell(2.506, Interval(2.506, 2.456, 2.556), Interval(2.506, 2.386, 2.626),
                     count=40, paper=2.45, better_than=("their method",)),
        "ssim": Cell(0.7106, Interval(0.7106, 0.7, 0.7212), best=True),
    },
    "ours",
    "a",
)  # fmt: skip
THEIRS = TableRow("theirs", "result", {"m_ld": Cell(3.0, count=40)}, "their method", "b")
CONTROL = TableRow("truth", "control", {"ssim": Cell(1.0)})
PAPER = TableRow("EVP (paper)", "paper", {"m_ld": Cell(2.45), "ssim": Cell(0.7)})


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        (None, "n/a"),
        (Cell(2.0), "2.00"),
        (Cell(2.0, paper=2.45), "2.00 (2.45, -0.45)"),
        (Cell(2.4501, paper=2.45), "2.45 (2.45, 0.00)"),
        (Cell(2.4499, paper=2.45), "2.45 (2.45, 0.00)"),
        (Cell(2.5, deviation=0.125), "2.50 \u00b1 0.12"),
        (Cell(2.5, Interval(2.5, 2.4, 2.6)), "2.50 \u00b1 0.10"),
        (Cell(2.5, Interval(2.5, None, None)), "2.50"),
        (Cell(2.5, Interval(2.5, 2.4, 2.6), Interval(2.5, 2.2, 2.8)), "2.50 \u00b1 0.10/0.30"),
        (Cell(2.5, Interval(2.5, 2.499, 2.501)), "2.50 \u00b1 0.001"),
        (Cell(2.5, Interval(2.5, 2.5, 2.5)), "2.50 \u00b1 0.00"),
        (Cell(2.5, Interval(2.5, 2.4, 2.7)), "2.50 [2.40, 2.70]"),
        (Cell(2.5, Interval(2.5, 2.4, 2.6), Interval(2.5, 2, 9)), "2.50 [2.40, 2.60]/[2.00, 9.00]"),
        (Cell(2.5, better_than=("theirs", "x")), "2.50 \u227b b,x"),
    ],
)  # fmt: skip
def test_a_figure_reads_as_mean_interval_paper_difference_and_mark(cell, wanted):
    assert figure(cell, LD, {"theirs": "b"}) == wanted


def test_markdown_is_aligned_and_carries_its_notes():
    text = render(table(OURS, THEIRS, PAPER, notes=["first", "second"]), "md")
    plain = str.maketrans("\u2193\u2191\u2020\u00b1\u227b", "v^+#>")
    assert text.translate(plain).splitlines() == [
        "**A table**",
        "",
        "|             |                           M-LD v + |            SSIM ^ |",
        "| ----------- | ---------------------------------: | ----------------: |",
        "| ours (a)    | 2.51 # 0.05/0.12 (2.45, +0.06) > b | **0.711 # 0.011** |",
        "| theirs (b)  |                               3.00 |               n/a |",
        "| EVP (paper) |                               2.45 |              0.70 |",
        "",
        "- first",
        "- second",
    ]


def test_a_bar_in_a_name_does_not_break_markdown():
    text = render(table(TableRow("a|b", "result", {"m_ld": Cell(1.0)})), "md")
    assert r"| a\|b |" in text
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines()[2:5]} == {4}


HOSTILE = (
    '=HYPERLINK("http://x","y")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1",
)  # fmt: skip


def test_a_spreadsheet_works_out_no_name_and_numbers_stay_numbers():
    """Each begins like a formula: an apostrophe makes it text; a name such as -3 is no formula."""
    rows = [
        TableRow(name, "result", {"m_ld": Cell(-0.5)}, name) for name in (*HOSTILE, "-3", "a=b")
    ]
    beaten = TableRow("last", "result", {"m_ld": Cell(-1.5, better_than=("=1+1",))}, "last")
    read = list(csv.DictReader(io.StringIO(render(table(*rows, beaten), "csv"), newline="")))
    names = [
        *(f"'{name}".replace("\t", " ").replace("\r", " ") for name in HOSTILE),
        "-3",
        "a=b",
        "last",
    ]
    assert [row["row"] for row in read] == names
    assert {row["m_ld"] for row in read} == {"-0.5", "-1.5"}
    assert read[-1]["m_ld_better_than"] == "'=1+1"


def test_a_name_cannot_become_markup():
    names = ("<script>alert(1)</script>", "![x](http://y/z.png)", r"\<b>", "two\nlines")
    rows = [TableRow(name, "result", {}, name) for name in names]
    text = render(table(*rows, notes=("of <i>mine</i>\n# a heading",)), "md")
    assert not re.search(r"(?<!\\)(\\\\)*<", text)  # each one has an odd number of backslashes
    assert r"![x]\(http://y/z.png)" in text
    assert "| two lines |" in re.sub(" +", " ", text)
    assert r"- of \<i>mine\</i> # a heading" in text.splitlines()


def test_a_name_cannot_become_an_argument_of_latex_line_break():
    text = render(table(TableRow("[9pt] a\n\nb", "result", {}), TableRow("*", "result", {})), "tex")
    assert "{}[9pt] a  b & n/a" in text
    assert "{}* & n/a" in text


def test_latex_escapes_what_is_special_everywhere():
    wanted = (
        r"50 \% of A\&B\_1 \#2 \{x\} \textasciitilde{}y\textasciicircum{}2 \$3 "
        r"\textbackslash{}z \textless{}\textbar{}\textgreater{}"
    )
    assert escaped(SPECIAL) == wanted
    column = TableColumn("m_ld", SPECIAL, "lower", 2, 2, False)
    rows = [TableRow(SPECIAL, "result", {"m_ld": Cell(1.0)})]
    text = render(Table("t1", SPECIAL, [column], rows, [SPECIAL]), "tex")
    assert text.count(wanted) == 4  # title, heading, row, note
    assert SPECIAL not in text


def test_latex_has_booktabs_rules_between_ours_controls_and_the_paper():
    text = render(table(OURS, THEIRS, CONTROL, PAPER), "tex")
    body = text[text.index(r"\toprule") : text.index(r"\end{tabular}")].splitlines()
    assert body == [
        r"\toprule",
        r" & M-LD $\downarrow$ $^\dagger$ & SSIM $\uparrow$ \\",
        r"\midrule",
        r"ours (a) & 2.51 $\pm$ 0.05/0.12 (2.45, +0.06) $\succ$ b & \textbf{0.711 $\pm$ 0.011} \\",
        r"theirs (b) & 3.00 & n/a \\",
        r"\midrule",
        r"truth & n/a & 1.000 \\",
        r"\midrule",
        r"EVP (paper) & 2.45 & 0.70 \\",
        r"\bottomrule",
    ]
    assert text.count("{") == text.count("}")
    assert text.isascii()
    assert r"\begin{tabular}{lrr}" in text


def test_csv_has_figures_bounds_and_printed_figures_in_columns_of_their_own():
    text = render(table(OURS, THEIRS, TableRow('a, "b"', "paper", {"m_ld": Cell(2.45)})), "csv")
    ours, theirs, paper = csv.DictReader(io.StringIO(text))
    figures = ("", "_half", "_low", "_high", "_speaker_half", "_paper", "_n", "_difference")
    wanted = (2.506, 0.05, 2.456, 2.556, 0.12, 2.45, 40, 0.056)
    assert [float(ours[f"m_ld{each}"]) for each in figures] == pytest.approx(wanted)
    assert ours["m_ld_better_than"] == "their method"
    assert (theirs["ssim"], theirs["m_ld_half"]) == ("", "")
    assert (paper["row"], paper["kind"], paper["m_ld"]) == ('a, "b"', "paper", "2.45")
    assert "m_ld_sd" not in ours
    assert "ssim_paper" not in ours


def test_json_holds_everything_at_full_precision():
    found = json.loads(render(table(OURS, PAPER), "json"))
    cell = found["rows"][0]["cells"]["m_ld"]
    assert cell["value"] == 2.506
    assert cell["by_clip"] == {"value": 2.506, "low": 2.456, "high": 2.556}
    assert cell["difference"] == pytest.approx(0.056)
    assert found["rows"][1]["cells"]["m_ld"]["difference"] is None
    assert (found["id"], found["notes"]) == ("t1", ["a note"])
    assert found["columns"][0]["dagger"] is True


def call(*arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def folder(tmp_path):
    scores = lines("result", "m_ld", [2.0, 3.0, 2.5], emotions=("happy", "sad"))
    return write_evaluation(tmp_path / "ours", scores)


def test_the_command_prints_a_table(folder, capsys):
    assert call(folder) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("**EVP, Table 1**")
    assert "| ours " in printed
    assert "ours, sad" not in printed
    assert call(folder, "--per-emotion") == 0
    assert "ours, sad" in capsys.readouterr().out


def test_the_command_writes_the_formats_that_are_asked_for(folder, tmp_path, capsys):
    out = tmp_path / "tables"
    assert call(folder, "--format", "md,tex,csv", "--out", out) == 0
    assert {path.name for path in out.iterdir()} == {
        f"evp-table1.{e}" for e in ("csv", "md", "tex")
    }
    assert capsys.readouterr().out == ""
    assert (out / "evp-table1.tex").read_text().startswith(r"\begin{table*}")


def test_the_command_makes_table_2_of_an_ablation(tmp_path, capsys):
    (tmp_path / "table2.json").write_text(json.dumps({"rows": {"full": {"m_ld": [2.0, 3.0]}}}))
    assert call(tmp_path, "--table", "evp-table2") == 0
    assert "2.50 \u00b1 0.71 (2.45, +0.05)" in capsys.readouterr().out
    with pytest.raises(ValueError, match="takes one ablation, 2 are given"):
        call(tmp_path, tmp_path, "--table", "evp-table2")


def test_the_command_refuses_what_it_does_not_know(folder):
    with pytest.raises(ValueError, match="no table 'evp-table9'; known: evp-table1, "):
        call(folder, "--table", "evp-table9")
    with pytest.raises(ValueError, match="--format 'html' is not one of md, tex, csv, json"):
        call(folder, "--format", "md,html")


def test_tables_of_which_nothing_was_measured_are_left_out_of_several(folder, capsys):
    print_tables(folder, ["evp-table1", "evp-emotion"])
    printed = capsys.readouterr().out
    assert printed.startswith("**EVP, Table 1**")
    assert "evp-emotion is left out: no evaluation has a figure of evp-emotion" in printed
    assert {path.suffix for path in folder.glob("*table1*")} == {".csv", ".json", ".md", ".tex"}
    assert not list(folder.glob("*emotion*"))
