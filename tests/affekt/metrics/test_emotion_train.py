"""The emotion classifier end to end on made-up faces: learns, resumes exactly, refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from affekt.media.corpus import Corpus
from affekt.media.validation import ValConfig
from affekt.media.video.tensors import channels_first
from affekt.metrics.emotion.data import (
    FaceAugmentation,
    FaceClips,
    FaceDataConfig,
    aligned_faces,
    augmented_faces,
    frames_of,
    recoloured,
    split_hash,
)
from affekt.metrics.emotion.network import WEIGHTS, Backbone, FanConfig, load_classifier
from affekt.metrics.emotion.score import count_correct, read_clip
from affekt.metrics.emotion.train import Config, train
from affekt.runtime.config import ConfigError
from affekt.runtime.files import read_jsonl, write_jsonl
from affekt.runtime.training.optim import OptimConfig
from affekt.runtime.weights import registry as weights
from tests.corpora.emotional_corpus import EMOTIONS, make_emotional_corpus
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.short_run import resumed, same, short_run

FAN = FanConfig(widths=(8, 8, 16, 16), blocks=1, dropout=0.2, attention_dropout=0.2)
STILL = FaceAugmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
GENTLE = FaceAugmentation(rotation=3.0, blur=0.5)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Six people, of whom two are held out; an emotion is where the brows are."""
    return make_emotional_corpus(tmp_path_factory.mktemp("made") / "faces")


@pytest.fixture
def config(corpus, tmp_path):
    return Config(
        run=short_run(tmp_path / "run", batch_size=4),
        corpus=corpus.root,
        fan=FAN,
        data=FaceDataConfig(frames=2, size=32, augmentation=GENTLE),
        val=ValConfig("none"),
    )


def test_it_reads_the_emotion_of_people_it_has_not_seen(config, corpus):
    quick = replace(
        config,
        run=replace(config.run, steps=120, batch_size=8),
        optim=OptimConfig(lr=5e-3, betas=(0.9, 0.999), schedule="one_cycle", clip_norm=1.0),
        val=ValConfig("test_speaker", every=60),
    )
    train(quick)
    clips = corpus.clips("test_speaker")
    classifier = load_classifier(config.run.out)
    guesses = [read_clip(classifier, clip).label for clip in clips]
    correct = count_correct(guesses, [EMOTIONS.index(clip.emotion) for clip in clips])
    assert correct >= 0.75 * len(clips)

    told = classifier.description
    assert (told.truth_split, told.truth_clips) == ("test_speaker", 8)
    assert told.truth_correct == correct
    assert rows_of(config.run.out)[-1]["val_accuracy"] == pytest.approx(correct / len(clips))
    assert (told.emotions, told.speakers) == (EMOTIONS, ("M901", "M902", "M903", "M904"))
    assert told.split_sha256 == split_hash(corpus.clips("train"))


def test_a_stopped_run_continues_exactly(config):
    out = resumed(train, replace(config, run=replace(config.run, workers=2)), stop=3)
    assert (out / WEIGHTS).read_bytes() == (config.run.out / WEIGHTS).read_bytes()


def test_training_goes_on_unchanged_after_people_were_measured(config):
    train(config)
    out = config.run.out.with_name("measured")
    measured = ValConfig("test_speaker", every=2)
    train(replace(config, run=replace(config.run, out=out), val=measured))
    assert same(*(load_classifier(each).network.state_dict() for each in (out, config.run.out)))


def test_without_a_test_the_weights_claim_no_accuracy(config):
    train(config)
    told = load_classifier(config.run.out).description
    assert (told.truth_split, told.truth_clips, told.truth_correct) == (None, 0, 0)


def test_a_published_backbone_is_where_training_starts(config, tmp_path, monkeypatch):
    torch.manual_seed(5)
    published = {f"module.{k}": v for k, v in Backbone(FAN).state_dict().items()}
    torch.save({"state_dict": published}, tmp_path / "backbone.pth")
    monkeypatch.setattr(weights, "find", lambda key: tmp_path / f"{key[4:]}.pth")
    still = OptimConfig(lr=1e-12, betas=(0.9, 0.999))
    train(replace(config, run=replace(config.run, steps=1), pretrained=True, optim=still))
    found = load_classifier(config.run.out).network.backbone.state_dict()
    assert torch.allclose(found["conv1.weight"], published["module.conv1.weight"], atol=1e-9)


def test_a_missing_backbone_is_asked_for_before_anything_is_written(config, tmp_path, monkeypatch):
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="fan_backbone"):
        train(replace(config, pretrained=True))
    assert not config.run.out.exists()


def test_an_emotion_without_clips_is_refused(config, tmp_path):
    make_emotional_corpus(tmp_path / "few", speakers=2, held_out=1, emotions=("angry", "neutral"))
    with pytest.raises(ConfigError, match="no clip of 'happy' in split 'train'"):
        train(replace(config, corpus=tmp_path / "few"))


def test_a_split_without_clips_is_refused(config):
    with pytest.raises(ConfigError, match=r"no clip of split 'val'.*none"):
        train(replace(config, val=ValConfig("val")))


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"size": 16}, FaceDataConfig),
        ({"frames": 0}, FaceDataConfig),
        ({"shift": -0.1}, FaceAugmentation),
        ({"flip": 1.5}, FaceAugmentation),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, kind):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)


def test_every_emotion_is_drawn_as_often(corpus):
    items = FaceClips(corpus, "train", FaceDataConfig(2, 32, STILL)).items
    drawn = [label for _, label in items]  # two neutral clips a person, one of each other emotion
    assert [drawn.count(label) for label in range(3)] == [8, 8, 8]
    assert {clip.id for clip, _ in items} == {clip.id for clip in corpus.clips("train")}
    assert all(EMOTIONS[label] == clip.emotion for clip, label in items)


def test_an_item_is_a_frame_from_each_part_of_its_clip(corpus):
    clips = FaceClips(corpus, "train", FaceDataConfig(5, 32, STILL))
    clip, label = clips.items[4]
    item = clips[4]
    assert item["label"] == label
    assert item["faces"].dtype == torch.uint8
    everything = channels_first(aligned_faces(*frames_of(clip, range(clip.frames)), 32))
    for part, face in enumerate(item["faces"]):  # ten frames in five parts of two
        assert any(torch.equal(face, everything[2 * part + each]) for each in (0, 1))
    again = clips[4]["faces"]
    assert torch.equal(again, item["faces"])
    assert not torch.equal(clips[4 + len(clips)]["faces"], again)


def test_only_the_last_clips_are_kept_open_and_items_are_the_same(corpus, monkeypatch):
    monkeypatch.setattr("affekt.metrics.emotion.data.MOST_OPEN", 2)
    few, fresh = (FaceClips(corpus, "train", FaceDataConfig(2, 32)) for _ in range(2))
    for draw in range(7):
        assert torch.equal(few[draw]["faces"], fresh[draw]["faces"])
        fresh._opened.clear()
        assert 1 <= len(few._opened) <= 2


def test_an_augmentation_changes_all_frames_of_an_item_alike(corpus):
    strong = FaceAugmentation(0.1, 0.2, 20.0, 0.0, 0.3, 0.2, 0.3, 1.0)
    clip = corpus.clips("train")[0]
    rng = np.random.default_rng(3)
    frame, points = frames_of(clip, [0])
    twice = [np.repeat(each, 2, axis=0) for each in (frame, points)]
    one, other = augmented_faces(*twice, FaceDataConfig(2, 32, strong), rng)
    assert np.array_equal(one, other)
    assert not np.array_equal(one, aligned_faces(frame, points, 32)[0])


def test_recoloured_levels_are_those_of_recolouring_each_pixel():
    faces = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    how = FaceAugmentation(brightness=0.4, tint=0.2, contrast=0.4)
    rng = np.random.default_rng(1)
    brightness, contrast = (1 + rng.uniform(-0.4, 0.4) for _ in range(2))
    gains = (brightness * (1 + rng.uniform(-0.2, 0.2, 3))).astype(np.float32)
    levels = faces.astype(np.float32)
    wanted = ((levels - levels.mean()) * np.float32(contrast) + levels.mean()) * gains
    found = recoloured(faces, how, np.random.default_rng(1))
    assert np.array_equal(found, np.rint(wanted.clip(0, 255)).astype(np.uint8))


def test_the_hash_of_a_split_changes_with_a_label_or_a_source_but_not_with_order(corpus, tmp_path):
    clips = corpus.clips("train")
    assert split_hash(clips[::-1]) == split_hash(clips)
    assert split_hash(clips[1:]) != split_hash(clips)
    for change in ({"emotion": "happy"}, {"sha256": "0"}):
        rows = read_jsonl(corpus.root / "manifest.jsonl")
        rows[0] |= change
        folder = tmp_path / next(iter(change))
        write_jsonl(folder / "manifest.jsonl", rows)
        (folder / "corpus.json").write_text((corpus.root / "corpus.json").read_text())
        assert split_hash(Corpus(folder).clips("train")) != split_hash(clips)
