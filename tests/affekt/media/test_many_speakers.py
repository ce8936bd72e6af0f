"""No step scans all clips for each speaker: in LRW every clip is a speaker of its own."""

from collections import Counter

import pytest

from affekt.evaluation.commands import ablate, check
from affekt.media import corpus as corpus_module
from affekt.media.corpus import Corpus, by_speaker
from data_prep import face_model, inspect, sentences
from data_prep.pairs import PairsConfig, make_pairs
from eamm.a2fd.data import A2fdDataConfig, DrivenClips
from evp.analysis import measure_editing
from evp.data.speech import EmotionWindows, LandmarkClips, clips_of
from evp.landmark_space import fit_space
from tests.corpora.many_speakers import many_speakers

SPEAKERS = 300
MOST = 30  # comparisons of names for each speaker; a scan for each would need 300


class CountedName(str):
    """A speaker's name that counts how often it is compared with another."""

    compared = 0

    def __eq__(self, other):
        CountedName.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A corpus whose speakers' names and files are counted, and the counts of the files."""
    root, files = tmp_path / "corpus", Counter()
    many_speakers(root, SPEAKERS, people=6)
    read_jsonl, load_npy = corpus_module.read_jsonl, corpus_module.load_npy

    def rows(path):
        return [row | {"speaker": CountedName(row["speaker"])} for row in read_jsonl(path)]

    def load(path, *others):
        files[path] += 1
        return load_npy(path, *others)

    monkeypatch.setattr(corpus_module, "read_jsonl", rows)
    monkeypatch.setattr(corpus_module, "load_npy", load)
    CountedName.compared = 0
    return Corpus(root), files


def training_items(corpus):
    space = fit_space(corpus, "2d", 4, "others")
    LandmarkClips(clips_of(corpus, "train"), space, "2d", 4, "window", seed=0)


def one_speaker_each(corpus):
    for speaker in corpus.speakers:
        assert len(corpus.clips("train", speaker, "neutral")) == 1
    for clip in corpus.clips():
        assert corpus.clip(clip.id) is clip


def neutral_faces(corpus):
    space = fit_space(corpus, "2d", 4)
    for clip in corpus.clips():
        space.neutral_of(clip.speaker), space.average_of(clip.speaker)


def learned_model(corpus):
    out = corpus.root / "model.npz"
    face_model.learn(face_model.Config(corpus.root, out, progress=False))


def driven(corpus):
    DrivenClips(corpus.clips(), A2fdDataConfig(source="neutral"), 64)


def other_people(corpus):
    sampler = check.FrameSampler(corpus, seed=0)
    for clip in corpus.clips():
        chosen, _ = sampler.other_identity(clip, "driven")
        assert str(chosen.speaker) != str(clip.speaker)


STEPS = {
    "look-ups": one_speaker_each,
    "groups": lambda corpus: by_speaker(corpus.clips()),
    "landmark space": lambda corpus: fit_space(corpus, "2d", 4),
    "landmark space of all": lambda corpus: fit_space(corpus, "3d", 4, "others"),
    "neutral faces": neutral_faces,
    "landmark clips": training_items,
    "emotion windows": lambda corpus: EmotionWindows(corpus, "train", 0),
    "face model": learned_model,
    "pairs": lambda corpus: make_pairs(corpus.root, PairsConfig(), progress=False),
    "sentences": lambda c: sentences.sentence_groups(c, None, c.emotions, lambda *_: None),
    "counts": lambda corpus: inspect.counts(corpus, corpus.clips()),
    "A2FD": driven,
    "other people": other_people,
    "true faces": lambda corpus: ablate.true_faces(corpus, "train", "2d"),
    "faces by emotion": lambda corpus: measure_editing.true_faces(corpus, "2d"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_needs_a_few_comparisons_a_speaker_and_reads_a_file_twice_at_most(counted, step):
    corpus, files = counted
    STEPS[step](corpus)
    assert CountedName.compared <= MOST * SPEAKERS
    assert max(files.values(), default=0) <= 2


def test_a_start_reads_each_array_once_a_pass(counted):
    corpus, files = counted
    space = fit_space(corpus, "2d", 4, "others")
    assert set(files.values()) == {1}
    assert len(files) == SPEAKERS
    LandmarkClips(clips_of(corpus, "train"), space, "2d", 4, "window", seed=0)
    by_name = Counter(path.name for path in files.elements())
    assert by_name == {"landmarks.npy": 2 * SPEAKERS, "mfcc.npy": SPEAKERS}
