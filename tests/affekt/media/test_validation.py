"""A stage's validation clips: which are chosen, and what is refused."""

import pytest

from affekt.media.corpus import SCHEMA, Corpus
from affekt.media.validation import ValConfig, evenly_spread, val_clips
from affekt.runtime.config import ConfigError
from affekt.runtime.files import write_json, write_jsonl


@pytest.fixture
def corpus(tmp_path):
    """Seven held-out sentences and two to learn from; validation reads nothing but their rows."""
    fixed = {"speaker": "M901", "emotion": "happy", "level": 3, "frames": 9, "sha256": "0"}
    splits = ["train"] * 2 + ["test_sentence"] * 7
    rows = [
        {"id": f"M901_happy_3_{k:03d}", "sentence": f"{k:03d}", "split": split, "source": "made up"}
        for k, split in enumerate(splits)
    ]
    write_json(tmp_path / "corpus.json", {"schema": SCHEMA, "emotions": ["happy", "neutral"]})
    write_jsonl(tmp_path / "manifest.jsonl", [fixed | row for row in rows])
    return Corpus(tmp_path)


def numbers(corpus, **val):
    return [int(clip.sentence) for clip in val_clips(corpus, ValConfig(**val))]


def test_all_clips_of_the_split_are_taken_unless_fewer_are_wanted(corpus):
    assert numbers(corpus) == [2, 3, 4, 5, 6, 7, 8]
    assert numbers(corpus, clips=3) == [2, 5, 8]
    assert numbers(corpus, clips=100) == [2, 3, 4, 5, 6, 7, 8]
    assert numbers(corpus, split="none") == []


def test_an_empty_split_is_refused_with_the_key_that_changes_it(corpus):
    with pytest.raises(ConfigError, match=r"no clip of split 'val'; choose another val\.split"):
        numbers(corpus, split="val")


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, [*range(10)]), (0, [])]
)
def test_evenly_spread_items_hold_the_first_and_the_last(count, chosen):
    assert evenly_spread(range(10), count) == chosen
