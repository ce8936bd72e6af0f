"""Protocols: every file loads, and a change of a value asks for a new version."""

from pathlib import Path

import pytest

from affekt.evaluation.protocol import FOLDER, load_protocol
from affekt.evaluation.tables.papers import load_papers
from affekt.runtime.config import ConfigError
from affekt.runtime.files import read_json

LOCK = Path(__file__).with_name("protocol_hashes.json")
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_protocol_is_named_as_its_file_and_is_for_tables_that_there_are(name):
    protocol = load_protocol(name)
    assert protocol.id == name
    assert set(protocol.tables) <= load_papers().keys()


def test_a_change_of_a_value_asks_for_a_new_version():
    """If this fails, raise `version` in the YAML file, then write its new hash into the lock."""
    locked = read_json(LOCK)
    found = {}
    for name in NAMES:
        protocol = load_protocol(name)
        found[f"{name} {protocol.version}"] = protocol.hash
    assert found == {key: locked.get(key) for key in found}


def test_every_value_enters_the_hash_and_an_override_the_name():
    plain, changed = load_protocol("evp-table1"), load_protocol("evp-table1", ["landmarks.view=3d"])
    assert plain.hash != changed.hash
    assert changed.id == "evp-table1 with landmarks.view=3d"
    assert load_protocol("evp-table1").hash == plain.hash


def test_conventions_differ_in_the_landmarks_alone():
    base = load_protocol("evp-table1")
    for name in ("evp-3d", "atvg", "eat", "makeittalk"):
        other = load_protocol(name)
        assert other.landmarks != base.landmarks
        for field in ("measures", "manifest", "split", "pictures", "sync", "distribution"):
            assert getattr(other, field) == getattr(base, field)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("min_coverage=1.5", "min_coverage is 1.5"),
        ("measures=[]", "measures is empty"),
        ("landmarks.convention=dlib", "landmarks.convention is 'dlib'"),
        ("sync.raech=3", "did you mean 'reach'?"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(override, message):
    with pytest.raises(ConfigError) as error:
        load_protocol("evp-table1", [override])
    assert message in str(error.value)


def test_an_unknown_protocol_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"no protocol 'evp'; known: atvg, eamm-lrw"):
        load_protocol("evp")
