import numpy as np
import pytest

from affekt.showcase.evp_figures import mouth_box
from affekt.showcase.thresholds import EAMM_THRESHOLDS, EVP_THRESHOLDS, Threshold, look_up, rows

THRESHOLDS = (*EVP_THRESHOLDS, *EAMM_THRESHOLDS)


def results():
    """Figures that meet every threshold exactly."""
    found = {}
    for threshold in THRESHOLDS:
        *sections, name = threshold.key.split(".")
        place = found
        for section in sections:
            place = place.setdefault(section, {})
        if not isinstance(threshold.limit, str):
            place[name] = threshold.limit
    found["emotion"]["raw_mfcc_accuracy"] = 0.6
    return found


def test_a_threshold_met_exactly_is_met_and_a_missed_one_is_marked():
    met = results()
    assert all(row.met for row in rows(met)[: len(THRESHOLDS)])
    for threshold in THRESHOLDS:
        if isinstance(threshold.limit, str):
            continue
        worse = results()
        step = 0.01 if threshold.sign == "<=" else -0.01
        *sections, name = threshold.key.split(".")
        (worse[sections[0]] if sections else worse)[name] += step
        missed = [row.key for row in rows(worse)[: len(THRESHOLDS)] if not row.met]
        assert threshold.key in missed


def test_only_the_systems_that_have_run_have_thresholds():
    both = results()
    assert len([row for row in rows(both) if row.threshold]) == len(THRESHOLDS)
    del both["eamm"]
    assert [row.key for row in rows(both) if row.threshold] == [each.key for each in EVP_THRESHOLDS]
    assert rows({"eamm": results()["eamm"]})[0].key == EAMM_THRESHOLDS[0].key


def test_figures_are_found_by_their_dotted_key_and_shown_without_a_threshold_too():
    found = results() | {"seconds": {"corpus": 12.0}}
    row = next(row for row in rows(found) if row.key == "seconds.corpus")
    assert (row.met, row.value, row.mark) == (None, "12", "")
    assert look_up(found, "seconds.corpus") == 12
    with pytest.raises(KeyError):
        look_up({"a": {}}, "a.b")
    threshold = Threshold("emotion.a", "a above b", ">", "emotion.b")
    assert threshold.row({"emotion": {"a": 0.7, "b": 0.6}}).met
    assert not threshold.row({"emotion": {"a": 0.6, "b": 0.6}}).met


def test_the_mouth_box_holds_the_mouth_and_stays_inside():
    face = np.full((68, 2), 60.0)
    face[48:] = np.linspace((40, 100), (80, 126), 20)
    rows_, columns = mouth_box(face, 128)
    assert rows_.start <= 100 - 9
    assert (rows_.stop, columns.start, columns.stop) == (128, 30, 90)
