"""What content codes tell of the emotion: at equal timing and as spoken, and over seeds."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import evp.analysis.content_leak as module
from affekt.media.integrity import LEFT_OUT, PAIRS, write_lists
from affekt.runtime.files import read_jsonl, write_jsonl
from evp.analysis.content_leak import codes_at_equal_timing, content_leaks, main, summary, trainings
from evp.data.speech import labels_of
from evp.inference.emotion_codes import clip_codes
from tests.corpora.spoken_corpus import make_corpus


class MeanRow(nn.Module):
    """A content encoder that keeps all: a window's mean row."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, windows):
        return windows.mean(dim=1)


@pytest.fixture
def corpus(tmp_path):
    """Every emotion says a sentence in the same rows, each at a rate of its own.

    The pairs hold the reference's rows; a clip holds the first half of them as often as its label.
    """
    corpus = make_corpus(tmp_path, sentences=8)
    held_out = {"004", "008"}
    rows = read_jsonl(tmp_path / "manifest.jsonl")
    for row in rows:
        row["split"] = "test_sentence" if row["sentence"] in held_out else "train"
    write_jsonl(tmp_path / "manifest.jsonl", rows)
    pairs = tmp_path / "pairs/pairs.jsonl"
    kept = read_jsonl(pairs)
    for row in kept:
        row["split"] = "test_sentence" if row["sentence"] in held_out else "train"
    write_lists(pairs.parent, {pairs.name: kept, LEFT_OUT: []}, PAIRS)
    spoken = {}
    for row in kept:
        clip = corpus.clip(row["clip"])
        key = row["speaker"], row["sentence"]
        spoken.setdefault(key, clip.mfcc())
        rng = np.random.default_rng(0)
        reference = spoken[key] + rng.normal(0, 0.01, spoken[key].shape)
        np.save(tmp_path / "pairs" / row["file"], reference.astype(np.float32))
        half = len(reference) // 2
        faster = corpus.emotions.index(row["emotion"])
        own = [reference[:half]] * (1 + faster) + [reference[half:]] * (3 - faster)
        level = np.concatenate(own)[: len(reference)]
        level[:, 1] += 30 * faster  # a rate that the mean code shows
        np.save(clip.folder / "mfcc.npy", level.astype(np.float32))
    return type(corpus)(tmp_path)


def test_codes_at_equal_timing_are_of_the_pairs_and_others_of_the_clips(corpus):
    encoder = MeanRow()
    codes, labels = codes_at_equal_timing(encoder, corpus, "train")
    clips = corpus.clips("train")
    assert len(codes) == len(clips) == 2 * 6 * 3
    assert sorted(labels) == sorted(labels_of(clips, corpus))
    for at in range(0, len(codes), 3):  # a sentence's emotions, which the pairs hold alike
        assert np.ptp(codes[at : at + 3], axis=0).max() < 1e-4
    own = clip_codes(encoder, clips)
    by_label = [own[np.array(labels_of(clips, corpus)) == k, 0].mean() for k in range(3)]
    assert np.diff(by_label).min() > 20


def test_a_leak_by_timing_alone_shows_as_spoken_and_not_at_equal_timing(corpus, monkeypatch):
    class Holder:
        def __init__(self, config):
            self.content = MeanRow()

    monkeypatch.setattr(module, "Encoders", Holder)
    monkeypatch.setattr(module, "restore", lambda run, **parts: 0)
    monkeypatch.setattr(module, "load_description", lambda run: type("D", (), {"encoders": None}))
    leaks = content_leaks(corpus.root, corpus, "test_sentence")
    assert leaks["own_timing"] == 1
    assert leaks["equal_timing"] <= 0.5  # of three classes, alike codes


def test_the_summary_over_seeds_by_hand():
    shares = [0.2, 0.3, 0.25, 0.4, 0.1]
    found = summary([{"equal_timing": x, "own_timing": 1.0} for x in shares])
    assert found["seeds"] == 5
    equal = found["equal_timing"]
    assert (equal["median"], equal["fourth"], equal["shares"]) == (0.25, 0.3, shares)
    assert equal["mean"] == pytest.approx(0.25)
    assert equal["low"] < 0.25 < equal["high"]


def test_every_seed_trains_both_encoders_before_it_disentangles(tmp_path, monkeypatch):
    stages = trainings(tmp_path / "corpus", tmp_path / "yaml", tmp_path, range(2))
    assert [stage.name for stage in stages] == [
        *("emotion_0", "content_0", "disentangle_0"),
        *("emotion_1", "content_1", "disentangle_1"),
    ]
    assert stages[-1].after == ("emotion_1", "content_1")
    for argument in ("run.seed=1", f"content_from={tmp_path}/seed1/content"):
        assert argument in stages[-1].command
    # The command writes what every seed gave
    leak = {"equal_timing": 0.25, "own_timing": 0.5}
    monkeypatch.setattr(module, "run_plan", lambda *_: None)
    monkeypatch.setattr(module, "content_leaks", lambda *_: leak)
    made = make_corpus(tmp_path / "corpus")
    main([str(made.root), "--configs", "yaml", "--out", str(tmp_path), "--seeds", "3"])
    written = json.loads((tmp_path / "content_leak.json").read_text())
    assert written["equal_timing"]["shares"] == [0.25] * 3
