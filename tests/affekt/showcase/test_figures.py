import numpy as np
import pytest

from affekt.showcase.bars import EAMM_BARS, EVP_BARS, Bar, look_up, rows
from affekt.showcase.picture_figures import mouth_box

BARS = (*EVP_BARS, *EAMM_BARS)


def results():
    """Figures that meet every bar exactly."""
    found = {}
    for bar in BARS:
        *sections, name = bar.key.split(".")
        place = found
        for section in sections:
            place = place.setdefault(section, {})
        if not isinstance(bar.limit, str):
            place[name] = bar.limit
    found["emotion"]["raw_mfcc_accuracy"] = 0.6
    return found


def test_a_bar_met_exactly_is_met_and_one_missed_is_told():
    met = results()
    assert all(row.met for row in rows(met)[: len(BARS)])
    for bar in BARS:
        if isinstance(bar.limit, str):
            continue
        worse = results()
        step = 0.01 if bar.sign == "<=" else -0.01
        *sections, name = bar.key.split(".")
        (worse[sections[0]] if sections else worse)[name] += step
        missed = [row.key for row in rows(worse)[: len(BARS)] if not row.met]
        assert bar.key in missed


def test_a_bar_may_be_another_figure():
    bar = Bar("emotion.a", "a above b", ">", "emotion.b")
    assert bar.row({"emotion": {"a": 0.7, "b": 0.6}}).met
    assert not bar.row({"emotion": {"a": 0.6, "b": 0.6}}).met


def test_only_the_systems_that_have_run_have_bars():
    both = results()
    assert len([row for row in rows(both) if row.bar]) == len(BARS)
    del both["eamm"]
    assert [row.key for row in rows(both) if row.bar] == [bar.key for bar in EVP_BARS]
    assert rows({"eamm": results()["eamm"]})[0].key == EAMM_BARS[0].key


def test_figures_without_a_bar_are_shown_too():
    found = results() | {"seconds": {"corpus": 12.0}}
    row = next(row for row in rows(found) if row.key == "seconds.corpus")
    assert (row.met, row.value, row.mark) == (None, "12", "")


def test_a_figure_is_found_by_its_dotted_key():
    assert look_up({"a": {"b": 3}}, "a.b") == 3
    with pytest.raises(KeyError):
        look_up({"a": {}}, "a.b")


def test_the_mouth_box_holds_the_mouth_and_stays_inside():
    face = np.full((68, 2), 60.0)
    face[48:] = np.linspace((40, 100), (80, 126), 20)
    rows_, columns = mouth_box(face, 128)
    assert rows_.start <= 100 - 9
    assert rows_.stop == 128
    assert (columns.start, columns.stop) == (30, 90)
