"""Shards of a corpus, prepared apart and joined in any order, are the corpus of one run."""

import dataclasses
import multiprocessing
import shutil

import numpy as np
import pytest

from affekt.media.audio.reader import write_wav
from affekt.media.corpus import Corpus
from data_prep import merge as merge_module
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.clips.shards import Shard, parse_shard
from data_prep.clips.splits import SplitConfig
from data_prep.merge import main, merge
from data_prep.prepare import Config, prepare

SHARDS = 3
EMOTIONS = ("happy", "sad", "angry", "fear")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Sixteen sounds of two speakers, with three that cannot be read or have no name to go by."""
    root = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(0)
    for speaker in ("ann", "bob"):
        for emotion in EMOTIONS:
            for number in (1, 2):
                sound = rng.uniform(-0.5, 0.5, 6400).astype(np.float32)
                write_wav(root / f"{speaker}_{emotion}_{number}.wav", sound)
    for name in ("ann_fear_7", "bob_sad_8", "bob_odd_9"):  # the last one is of no known emotion
        (root / f"{name}.wav").write_bytes(b"noise")
    return root


def config_of(raw, out, **changes):
    pattern = r"(?P<speaker>[a-z]+)_(?P<emotion>[a-z]+)_(?P<number>\w+)"
    corpus = CorpusConfig("folder", raw, pattern=pattern, sound_only=True)
    split = SplitConfig(test_numbers_below=2, val_share=0.2)
    config = Config(corpus, split, out=out, workers=0, quarantine_limit=1.0, progress=False)
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def whole(raw, tmp_path_factory):
    """The corpus of one run without shards."""
    out = tmp_path_factory.mktemp("whole") / "mine"
    prepare(config_of(raw, out))
    return contents(out)


@pytest.fixture(scope="module")
def shards(raw, tmp_path_factory):
    """A folder with all shards, to be copied."""
    out = tmp_path_factory.mktemp("parts") / "mine"
    for index in range(SHARDS):
        prepare(config_of(raw, out, shard=f"{index}/{SHARDS}"))
    return out


def contents(out):
    """Return the bytes of every file of a corpus, but for its shards and the lock."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
    found = {path.relative_to(out): path.read_bytes() for path in files}
    return {str(name): data for name, data in found.items() if name.parts[0] != "shards"}


def part(shards, index):
    return Shard(index, SHARDS).folder(shards)


def test_every_name_belongs_to_one_shard_and_shards_are_about_as_large():
    names = [f"M003_happy_3_{number:03d}" for number in range(2000)]
    held = [[parse_shard(f"{index}/8").holds(name) for name in names] for index in range(8)]
    assert np.sum(held, axis=0).tolist() == [1] * 2000
    assert np.sum(held, axis=1).min() > 180  # of 250


@pytest.mark.parametrize("text", ["3", "3/3", "1/0", "-1/2", "a/b"])
def test_a_shard_that_is_none_is_refused(raw, tmp_path, text):
    with pytest.raises(ValueError, match="wanted i/n"):
        config_of(raw, tmp_path, shard=text)


def test_joined_shards_are_the_corpus_of_one_run(shards, whole, tmp_path):
    out = shutil.copytree(shards, tmp_path / "mine")
    result = merge(out, progress=False)
    assert contents(out) == whole
    assert (result.made, len(result.quarantine)) == (16, 3)
    assert min(len(list(part(out, index).glob("clips/*/*"))) for index in range(SHARDS)) > 1
    shutil.rmtree(out / "shards")
    assert len(Corpus(out).clip("ann_sad_1_2").windows()) == 10
    # Run again, and go on with it as with any other corpus
    assert merge(out, progress=False).made == 0
    assert contents(out) == whole


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0)])
def test_the_order_of_joining_changes_nothing(shards, whole, tmp_path, order):
    first, second, third = (part(shards, index) for index in order)
    pair, left, right = (tmp_path / name for name in ("pair", "left", "right"))
    merge(pair, [second, third], partial=True, progress=False)
    merge(left, [first, pair], partial=True, progress=False)
    for each in (first, second, third):
        merge(right, [each], partial=True, progress=False)
    assert contents(left) == contents(right) == whole


def test_shards_of_several_folders_are_joined(raw, whole, tmp_path):
    places = [tmp_path / f"disk{index}" for index in range(SHARDS)]
    for index, place in enumerate(places):
        prepare(config_of(raw, place, shard=f"{index}/{SHARDS}"))
    assert main([str(tmp_path / "all"), *map(str, places)]) == 0
    assert contents(tmp_path / "all") == whole


def test_two_shards_prepare_into_one_folder_at_the_same_time(raw, whole, tmp_path):
    configs = [config_of(raw, tmp_path / "out", shard=f"{index}/2") for index in range(2)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(prepare, configs)
    merge(tmp_path / "out", progress=False)
    assert contents(tmp_path / "out") == whole


def test_a_join_that_was_stopped_goes_on(shards, whole, tmp_path, monkeypatch):
    out = shutil.copytree(shards, tmp_path / "mine")
    done, adopt = [], merge_module._adopt

    def stopped(*arguments):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(arguments)
        return adopt(*arguments)

    monkeypatch.setattr(merge_module, "_adopt", stopped)
    with pytest.raises(KeyboardInterrupt):
        merge(out, progress=False)
    with pytest.raises(FileNotFoundError, match="no prepared corpus"):
        Corpus(out)
    monkeypatch.setattr(merge_module, "_adopt", adopt)
    assert merge(out, progress=False).made == 11
    assert contents(out) == whole


def test_what_does_not_fit_is_refused_before_anything_is_written(raw, shards, tmp_path):
    def refused(out, message, others=()):
        with pytest.raises(ValueError, match=message):
            merge(out, others, progress=False)
        assert not (out / "manifest.jsonl").exists()

    # A shard is missing, has clips to do, or is of another number of shards
    out = shutil.copytree(shards, tmp_path / "missing")
    shutil.rmtree(part(out, 1))
    refused(out, r"of 3 shards \[1\] are missing")
    prepare(config_of(raw, out, shard="1/2"))
    refused(out, "different numbers of shards")
    unfinished = shutil.copytree(shards, tmp_path / "unfinished")
    (part(unfinished, 1) / "quarantine.jsonl").unlink()
    refused(unfinished, r"1-of-3.*quarantine\.jsonl is missing")
    # Other sources, other settings
    more = shutil.copytree(raw, tmp_path / "more")
    (more / "ann_happy_4.wav").write_bytes((raw / "ann_happy_1.wav").read_bytes()[::-1])
    grown = shutil.copytree(shards, tmp_path / "grown")
    shutil.rmtree(part(grown, 2))
    prepare(config_of(more, grown, shard="2/3"))
    refused(grown, "saw different numbers of sources")
    other = tmp_path / "other"
    prepare(config_of(raw, other, split=SplitConfig(test_numbers_below=3)))
    refused(tmp_path / "both", "split.test_numbers_below = 2 and 3", [shards, other])
    with pytest.raises(FileNotFoundError, match="holds no shards"):
        merge(tmp_path / "nothing")


def test_a_clip_that_is_damaged_or_there_with_other_contents_is_refused(raw, shards, tmp_path):
    out = shutil.copytree(shards, tmp_path / "damaged")
    clip = next(part(out, 0).glob("clips/*/*"))
    (clip / "mfcc.npy").write_bytes(b"short")
    with pytest.raises(ValueError, match=f"{clip.name} is missing or damaged"):
        merge(out, progress=False)
    # Another version of a source in each part
    later = shutil.copytree(raw, tmp_path / "later")
    write_wav(later / "ann_sad_1.wav", np.full(6400, 0.25, np.float32))
    prepare(config_of(later, tmp_path / "new"))
    with pytest.raises(ValueError, match=r"clip ann_\w+ is different in"):
        merge(tmp_path / "both", [shards, tmp_path / "new"], progress=False)
