import sys

import pytest

from affekt.runtime.plan import Stage, StageError, last_line, run_plan


def python(code):
    return (sys.executable, "-c", code)


def append(path, word):
    return python(f"open({str(path)!r}, 'a').write({word!r})")


def test_stages_run_after_what_they_need_and_seconds_are_kept(tmp_path, capsys):
    trace = tmp_path / "trace"
    seconds = run_plan(
        [
            Stage("c", append(trace, "c"), after=("a", "b")),
            Stage("a", append(trace, "a")),
            Stage("b", append(trace, "b"), after=("a",), cores=2),
        ],
        tmp_path / "logs",
        cores=2,
    )
    assert trace.read_text() == "abc"
    assert set(seconds) == {"a", "b", "c"}
    assert "a done in" in capsys.readouterr().out


def test_a_failure_shows_the_end_of_its_output_and_stops_the_rest(tmp_path):
    stages = [
        Stage("slow", python("import time; time.sleep(60)")),
        Stage("bad", python("print('the reason'); raise SystemExit(3)")),
        Stage("never", append(tmp_path / "trace", "x"), after=("bad",)),
    ]
    with pytest.raises(StageError, match=r"bad failed \(exit status 3\)[^|]*the reason"):
        run_plan(stages, tmp_path / "logs", cores=2)
    assert not (tmp_path / "trace").exists()


def test_the_last_line_of_a_progress_bar_is_found(tmp_path):
    log = tmp_path / "x.log"
    log.write_bytes(b"hello\n 10%|#  |\r 50%|## |\r\n")
    assert last_line(log) == "50%|## |"
