"""Stage emotion displacement end to end on made-up faces: learns, resumes exactly, refuses."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import train_emotion_displacement
from affekt.media.corpus import Corpus
from affekt.media.validation import ValConfig
from affekt.media.video.tensors import channels_first, float_pictures, unit_range
from affekt.nets.fingerprint import fingerprint
from affekt.runtime.config import ConfigError
from affekt.runtime.files import write_json
from affekt.runtime.training.optim import OptimConfig
from eamm.a2fd.data import clip_frames
from eamm.augment import MOUTH_ONLY, NOTHING, AugmentConfig
from eamm.displacement.data import (
    DisplacementDataConfig,
    EmotionClips,
    cached_keypoints,
    clip_motion,
)
from eamm.displacement.keypoint_choice import FILE
from eamm.displacement.network import Displacement, DisplacementConfig, load_displacement
from eamm.displacement.validation import displacement_metrics, prepare, val_pairs, with_emotion
from eamm.fomm.keypoints import Keypoints
from tests.corpora.emotional_corpus import (
    MODEL,
    make_emotional_corpus,
    make_emotional_fomm,
    make_still_a2fd,
)
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.short_run import resumed, same, short_run
from train_emotion_displacement import Config, LossConfig, train

GENTLE = AugmentConfig(rotation=5.0, perspective=0.1, flip=0.5)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus, a FOMM and an A2FD that all tests read."""
    root = tmp_path_factory.mktemp("made")
    corpus = make_emotional_corpus(root / "corpus")
    torch.manual_seed(0)
    fomm = make_emotional_fomm(root / "fomm")
    return corpus, fomm, make_still_a2fd(root / "a2fd", fomm)


@pytest.fixture
def config(made, tmp_path):
    root = made[0].root.parent
    return Config(
        run=short_run(tmp_path / "run"),
        corpus=root / "corpus",
        fomm=root / "fomm",
        a2fd=root / "a2fd",
        model=MODEL,
        data=DisplacementDataConfig(frames=3),
        augment=GENTLE,
        val=ValConfig("none"),
    )


def test_it_moves_the_brows_of_unseen_faces_by_another_ones_emotion(config, made):
    quick = replace(
        config,
        run=replace(config.run, steps=150, batch_size=4),
        data=replace(config.data, cached_pictures=1),
        optim=OptimConfig(lr=5e-3, schedule="one_cycle"),
        val=ValConfig("test_speaker", 150),
    )
    train(quick)
    last = rows_of(config.run.out)[-1]
    assert last["val_value_ratio"] < 0.6

    corpus, fomm, a2fd = made
    model, description = load_displacement(config.run.out)
    measured = [prepare(fomm, a2fd, p) for p in val_pairs(corpus, ValConfig("test_speaker"))]
    again = displacement_metrics(model, description, measured)
    assert again["value_ratio"] == pytest.approx(last["val_value_ratio"], abs=1e-6)
    by_emotion = {one.pair.clip.emotion: one.source for one in measured[::-1]}
    others = {"happy": by_emotion["angry"], "angry": by_emotion["happy"]}
    swapped = [one._replace(source=others[one.pair.clip.emotion]) for one in measured]
    assert displacement_metrics(model, description, swapped)["value_ratio"] > 1.2

    for one in measured:  # up for happy, down for angry; lips and eyes stay
        rise = (with_emotion(model, description, one).value - one.neutral.value).mean(dim=0)
        assert (rise[1, 1] < 0) == (one.pair.clip.emotion == "happy")
        assert not rise[[0, 2]].any()


@pytest.mark.parametrize("cached", [0, 2])
def test_a_stopped_run_continues_exactly(config, cached):
    data = replace(config.data, cached_pictures=cached, other_speaker=0.5)
    whole = replace(config, data=data, run=replace(config.run, workers=0 if cached else 2))
    out = resumed(train, whole, stop=3)
    assert same(*(load_displacement(each)[0].state_dict() for each in (out, config.run.out)))


def test_frozen_networks_stay_as_they_are_to_the_bit(config, made, monkeypatch):
    seen = {}

    def remembered(load):
        def loaded(path):
            network = load(path)
            seen[load.__name__] = network
            return network

        return loaded

    for name in ("load_fomm", "load_a2fd"):
        load = remembered(getattr(train_emotion_displacement, name))
        monkeypatch.setattr(train_emotion_displacement, name, load)
    train(config)
    assert len(seen) == 2
    for network, before in zip((seen["load_fomm"], seen["load_a2fd"]), made[1:], strict=True):
        assert not network.training
        assert not any(p.requires_grad or p.grad is not None for p in network.parameters())
        assert same(network.state_dict(), before.state_dict())


def test_the_total_is_the_weighted_sum_of_what_is_switched_on(config):
    train(config)
    assert all("classification" not in row for row in rows_of(config.run.out))
    more = replace(
        config,
        run=replace(config.run, out=config.run.out.with_name("more")),
        model=replace(MODEL, classes=3),
        loss=LossConfig(2.0, 3.0, "keypoint_means", 0.5),
    )
    train(more)
    for row in rows_of(more.run.out):
        wanted = 2 * row["value"] + 3 * row["jacobian"] + 0.5 * row["classification"]
        assert row["total"] == pytest.approx(wanted, rel=1e-5)
    assert load_displacement(more.run.out)[1].emotions == ("angry", "happy", "neutral")


def test_the_classifier_learns_the_emotions(config):
    quick = replace(
        config,
        run=replace(config.run, steps=60, batch_size=4),
        model=replace(MODEL, classes=3),
        data=replace(config.data, neutral_clips=True, cached_pictures=1),
        loss=LossConfig(0.0, 0.0, "frame", 1.0),
        optim=OptimConfig(lr=3e-3),
    )
    train(quick)
    rows = [row["classification"] for row in rows_of(config.run.out)]
    assert np.mean(rows[-10:]) < 0.5 < 1.0 < np.mean(rows[:3])


def test_the_full_size_release_setting_takes_a_step():
    """256 px frames through the release's network: the loss reaches every part of it."""
    model = Displacement(DisplacementConfig(head="release"))
    for layer in model.predictor.output:
        if isinstance(layer, nn.Conv1d):
            nn.init.constant_(layer.bias, 1.0)  # no ReLU of the three is dead
    neutral = model.predictor.config.keypoints
    still = Keypoints(torch.zeros(2, neutral, 2), torch.eye(2).expand(2, neutral, 2, 2))
    moved = model(torch.rand(2, 3, 256, 256), still)
    (moved.value.abs().mean() + moved.jacobian.abs().mean()).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.extractor.hourglass.down_blocks[0].conv.weight.grad.abs().max() > 0


def clips_of(made, augmentation=NOTHING, **data):
    corpus = made[0]
    return EmotionClips(corpus, DisplacementDataConfig(**{"frames": 3} | data), augmentation, 32, 5)


def all_frames(clip):
    return channels_first(clip_frames(clip, 0, clip.frames, 32))


def test_an_item_is_a_run_of_a_clip_and_what_the_frozen_networks_need(made):
    clips = clips_of(made)
    assert [clip.emotion for clip in clips.clips] == ["angry", "happy"] * 4
    for draw in range(12):
        item, clip = clips[draw], clips.clips[draw % 8]
        frames = channels_first(clip_frames(clip, 0, clip.frames, 32))
        windows, pose = clip_motion(clip)
        starts = [s for s in range(8) if torch.equal(frames[s : s + 3], item["driving"])]
        assert len(starts) == 1
        assert torch.equal(item["emotion"], item["driving"])
        assert torch.equal(item["windows"], windows[starts[0] : starts[0] + 3])
        assert torch.equal(item["pose"], pose[starts[0] : starts[0] + 3])
        assert item["label"] == ["angry", "happy"].index(clip.emotion)
        own = map(all_frames, made[0].clips("train", clip.speaker, "neutral"))
        assert any(torch.equal(frame, item["identity"]) for each in own for frame in each)


def test_only_the_emotion_source_is_augmented_and_equal_draws_are_equal(made):
    clips = clips_of(made, AugmentConfig())
    one, two, other = clips[3], clips_of(made, AugmentConfig())[3], clips[11]
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["emotion"], other["emotion"])
    floats = float_pictures(one)
    assert one["driving"].dtype == one["identity"].dtype == one["emotion"].dtype == torch.uint8
    assert torch.equal(floats["driving"], one["driving"].float() / 255)
    assert not torch.allclose(floats["emotion"], floats["driving"], atol=0.1)
    clip = clips.clips[3]
    stored = channels_first(clip_frames(clip, 0, clip.frames, 32))
    assert any(torch.equal(stored[s : s + 3], one["driving"]) for s in range(8))


def test_the_mouth_alone_is_hidden_where_nothing_else_is_asked_for(made):
    item = clips_of(made, MOUTH_ONLY)[0]
    changed = (item["emotion"] != item["driving"]).any(dim=1)[0].nonzero()
    assert changed.amin(dim=0).tolist() == [20, 11]
    assert changed.amax(dim=0).tolist() == [27, 22]


def test_another_speakers_emotion_is_the_same_emotion(made):
    corpus = made[0]
    clips = clips_of(made, other_speaker=1.0)
    for draw in range(8):
        item, clip = clips[draw], clips.clips[draw]
        others = [c for c in corpus.clips("train", emotion=clip.emotion) if c != clip]
        frames = [*map(all_frames, others)]
        assert any(torch.equal(f[s : s + 3], item["emotion"]) for f in frames for s in range(8))


def test_cached_keypoints_are_those_of_the_frozen_networks_and_are_kept(made, tmp_path):
    corpus, fomm, a2fd = made
    clips = clips_of(made, cached_pictures=2)
    cache = cached_keypoints(tmp_path / "keypoints", clips, fomm, a2fd)
    clip = clips.clips[5]
    assert cache[clip.id].neutral.value.shape == (2, 10, 3, 2)
    frames = channels_first(clip_frames(clip, 0, clip.frames, 32))
    with torch.no_grad():
        seen = fomm.detector(unit_range(frames))
    torch.testing.assert_close(cache[clip.id].teacher.value, seen.value)
    torch.testing.assert_close(cache[clip.id].teacher.jacobian, seen.jacobian)
    own = corpus.clips("train", clip.speaker, "neutral")
    neutral = [fomm.detector(unit_range(all_frames(each))).value.detach() for each in own]
    for picture in cache[clip.id].neutral.value:  # the still A2FD keeps the picture's keypoints
        still = picture[0]
        assert any((each - still).abs().amax(dim=(1, 2)).min() < 1e-5 for each in neutral)

    clips.cache = cache
    item, plain = clips[5], clips_of(made)[5]
    with torch.no_grad():
        seen = fomm.detector(unit_range(plain["driving"]))
    torch.testing.assert_close(item["teacher_value"], seen.value)
    (file,) = (tmp_path / "keypoints").iterdir()
    before = file.stat().st_mtime_ns
    again = cached_keypoints(tmp_path / "keypoints", clips, fomm, a2fd)
    assert torch.equal(again[clip.id].teacher.value, cache[clip.id].teacher.value)
    assert file.stat().st_mtime_ns == before
    other = copy.deepcopy(a2fd)
    next(other.parameters()).data.add_(1.0)
    cached_keypoints(tmp_path / "keypoints", clips, fomm, other)
    assert len(list((tmp_path / "keypoints").iterdir())) == 2


def test_a_cached_run_of_a_longer_clip_belongs_to_its_frames(made, tmp_path):
    _, fomm, a2fd = made
    clips = clips_of(made, cached_pictures=1, longest=5)
    clips.cache = cached_keypoints(tmp_path / "keypoints", clips, fomm, a2fd)
    assert len({span.start for span in clips.spans}) > 1
    for draw in range(24):
        clip, item = clips.clips[draw % 8], clips[draw]
        assert clips.cache[clip.id].teacher.value.shape == (5, 3, 2)
        with torch.no_grad():
            seen = fomm.detector(unit_range(item["emotion"])).value  # not augmented here
        torch.testing.assert_close(item["teacher_value"], seen)
    with pytest.raises(ValueError, match="longest is 2, an item has 3"):
        DisplacementDataConfig(frames=3, longest=2)


def test_validation_pairs_take_the_emotion_from_another_identity(made):
    pairs = val_pairs(made[0], ValConfig("test_speaker"))
    assert [pair.clip.speaker for pair in pairs] == ["M905"] * 2 + ["M906"] * 2
    for clip, source, picture in pairs:
        assert source.speaker not in (clip.speaker, "M901", "M902", "M903", "M904")
        assert source.emotion == clip.emotion != "neutral"
        assert (picture.speaker, picture.emotion) == (clip.speaker, "neutral")
    assert len(val_pairs(made[0], ValConfig("test_speaker", clips=3))) == 3
    assert val_pairs(made[0], ValConfig("none")) == []


def test_a_source_that_is_too_short_begins_again(made):
    corpus, fomm, a2fd = made
    pair = val_pairs(corpus, ValConfig("test_speaker"))[0]
    prepared = prepare(fomm, a2fd, pair._replace(source=replace(pair.source, frames=4)))
    frames = clip_frames(pair.source, 0, 4, 32)
    np.testing.assert_array_equal(prepared.source, frames[[0, 1, 2, 3, 0, 1, 2, 3, 0, 1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": replace(MODEL, keypoints=4)}, r"model.keypoints is 4, .*fomm has 3"),
        ({"loss": LossConfig(classification=1.0)}, "classes is 0, .* has 3 emotions"),
        ({"data": DisplacementDataConfig(frames=11)}, "none of the 8 clips has 11 frames"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(config, change, message):
    with pytest.raises(ConfigError, match=message):
        train(replace(config, **change))


def test_a_speaker_without_neutral_clip_is_refused_by_name(config, tmp_path):
    corpus = make_emotional_corpus(tmp_path / "corpus", speakers=2, held_out=0)
    lines = (corpus.root / "manifest.jsonl").read_text().splitlines(True)
    kept = [line for line in lines if not line.startswith('{"id": "M902_neutral')]
    (corpus.root / "manifest.jsonl").write_text("".join(kept))
    with pytest.raises(ConfigError, match="no neutral clip of M902"):
        train(replace(config, corpus=corpus.root))


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ({"profile": "portrait"}, "profile 'portrait', wanted 'eamm'"),
        ({"emotions": ("neutral",)}, "no emotional clip in split 'train'"),
    ],
)
def test_a_corpus_that_does_not_fit_is_refused(config, tmp_path, corpus, message):
    root = make_emotional_corpus(tmp_path / "c", 1, 0, **corpus).root
    with pytest.raises(ConfigError, match=message):
        train(replace(config, corpus=root))


def test_an_a2fd_of_another_fomm_is_refused(config, tmp_path):
    torch.manual_seed(1)
    make_emotional_fomm(tmp_path / "other")
    with pytest.raises(ValueError, match="imitates the detector"):
        train(replace(config, fomm=tmp_path / "other"))


def test_a_run_whose_fomm_was_trained_anew_is_refused(config, tmp_path):
    train(config)
    known = config.run.out / "displacement.yaml"
    known.write_text(known.read_text().replace("teacher: ", "teacher: x"))
    with pytest.raises(ConfigError, match="displaces the keypoints of detector x"):
        train(config)


def test_a_choice_of_keypoints_comes_from_its_file_and_is_kept_with_the_run(config, made, tmp_path):
    file = tmp_path / "measured.json"
    with pytest.raises(FileNotFoundError, match=r"run python -m eamm.displacement.keypoint_choice"):
        train(replace(config, keypoint_choice=file))
    write_json(file, {"keypoint_ids": [2, 0], "detector": fingerprint(made[1].detector)})
    train(replace(config, keypoint_choice=file))
    _, description = load_displacement(config.run.out)
    assert description.displacement.keypoint_ids == (2, 0)
    assert (config.run.out / FILE).read_text() == file.read_text()
    write_json(file, {"keypoint_ids": [2, 0], "detector": "0" * 16})
    with pytest.raises(ConfigError, match="measured with the detector 0000"):
        train(replace(config, keypoint_choice=file))


@pytest.mark.parametrize("chosen", [[0, 2], [2]])
def test_a_run_does_not_go_on_with_another_choice_of_keypoints(config, made, tmp_path, chosen):
    file, detector = tmp_path / "measured.json", fingerprint(made[1].detector)
    write_json(file, {"keypoint_ids": [2, 0], "detector": detector})
    train(replace(config, keypoint_choice=file))
    write_json(file, {"keypoint_ids": chosen, "detector": detector})
    with pytest.raises(ConfigError, match=r"displaces the keypoints \[2, 0\], now"):
        train(replace(config, keypoint_choice=file))


def test_an_emotion_that_one_speaker_alone_shows_has_no_other_source(tmp_path):
    make_emotional_corpus(tmp_path, speakers=2, held_out=1)
    with pytest.raises(ConfigError, match="M902 alone shows 'angry'"):
        val_pairs(Corpus(tmp_path), ValConfig("test_speaker"))
