"""Stage A2FD end to end on made-up faces that talk: learns, resumes exactly, refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from affekt.media.corpus import Corpus
from affekt.media.validation import ValConfig
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import channels_first, float_pictures
from affekt.nets.perceptual import VggConfig
from affekt.runtime.config import ConfigError
from affekt.runtime.training import checkpoint
from affekt.runtime.training.optim import OptimConfig
from eamm.a2fd.data import A2fdDataConfig, DrivenClips, pose_stats, source_frame
from eamm.a2fd.layers import A2fdWidths
from eamm.a2fd.network import load_a2fd
from eamm.a2fd.teacher import teacher_keypoints
from eamm.a2fd.validation import keypoint_metrics, keypoint_val_set
from eamm.fomm.model import load_fomm
from eamm.pose import release_pose
from tests.corpora.driven_corpus import FOMM, make_driven_corpus, make_fomm
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.short_run import parts_of, resumed, same, short_run
from train_a2fd import Config, LossConfig, train

WIDTHS = A2fdWidths(4, 16, (8, 8, 16, 16, 16), 32, 32, 16, 16, 32, 1, 32, 16)
SMALL = {  # what the small corpus is trained with
    "data": A2fdDataConfig(frames=4, source="neutral", jitter=0.0, pose="normalized"),
    "model": replace(WIDTHS, residual=True),
    "cache_targets": True,
    "heads": "frozen",
    "init": "lsuv",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus of four speakers, one of them held out, and a FOMM."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("a2fd")
    make_driven_corpus(root / "corpus", clips=8)
    make_fomm(root / "fomm")
    return root


@pytest.fixture
def config(folder, tmp_path):
    return Config(
        run=short_run(tmp_path / "run"),
        corpus=folder / "corpus",
        fomm=folder / "fomm",
        data=A2fdDataConfig(frames=4),
        model=WIDTHS,
        vgg=VggConfig("random", ("relu1_1",)),
        loss=LossConfig(perceptual=0.1, perceptual_every=2),
        val=ValConfig("none"),
    )


def test_it_learns_to_move_a_face_that_it_has_not_seen(config):
    quick = replace(
        config,
        run=replace(config.run, steps=200, batch_size=16),
        **SMALL,
        loss=LossConfig(heatmap=1.0, perceptual=0.0, reduction="mean"),
        optim=OptimConfig(lr=3e-3, schedule="linear"),
        val=ValConfig("test_speaker", 200),
    )
    train(quick)
    last = rows_of(config.run.out)[-1]
    assert last["val_keypoint_ratio"] < 0.65
    assert last["val_shuffled_ratio"] < 0.99
    assert list((config.run.out / "pictures").glob("val_*.png"))
    clips = Corpus(config.corpus).clips(split="test_speaker")
    val_set = keypoint_val_set(load_fomm(config.fomm), clips)
    again = keypoint_metrics(load_a2fd(config.run.out), val_set)
    assert again["keypoint_ratio"] == pytest.approx(last["val_keypoint_ratio"], abs=1e-6)


@pytest.mark.parametrize("phase", ["first", "second", "small"])
def test_a_stopped_run_continues_exactly(config, phase):
    small = {**SMALL, "loss": LossConfig(perceptual=0.0)}
    changes = {"first": {}, "second": {"generator": "finetune"}, "small": small}[phase]
    out = resumed(train, replace(config, **changes), stop=3)
    one, two = parts_of(out), parts_of(config.run.out)
    assert one.keys() == two.keys()
    assert all(same(one[name], two[name]) for name in one if "optimizer" not in name)


def test_the_teacher_stays_what_it_was(config, monkeypatch):
    """Frozen: not a weight and not a statistic of detector or generator changes."""
    seen = []

    def load(path, device="cpu"):
        seen.append(load_fomm(path, device))
        return seen[-1]

    monkeypatch.setattr("train_a2fd.load_fomm", load)
    train(config)
    before = load_fomm(config.fomm).state_dict()
    assert same(seen[0].state_dict(), before)
    assert not seen[0].training

    train(replace(config, run=replace(config.run, out=config.run.out / "2"), generator="finetune"))
    after = seen[1].state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("generator.") for name in moved)
    assert any("running_mean" in name for name in moved)


def test_a_fine_tuned_run_is_a_fomm_too(config):
    train(replace(config, generator="finetune"))
    first, tuned = load_fomm(config.fomm), load_fomm(config.run.out)
    assert same(first.detector.state_dict(), tuned.detector.state_dict())
    assert not same(first.generator.state_dict(), tuned.generator.state_dict())


def test_the_second_phase_starts_from_the_first_ones_weights(config):
    train(replace(config, data=replace(config.data, pose="normalized")))
    second = replace(
        config,
        run=replace(config.run, out=config.run.out.with_name("second"), steps=1),
        start_from=config.run.out,
        generator="finetune",
        optim=OptimConfig(lr=0.0),
    )
    train(second)
    one, two = load_a2fd(config.run.out), load_a2fd(second.run.out)
    assert one.config == two.config
    assert one.config.pose.mean
    learned = [name for name, _ in one.named_parameters()]
    assert all(torch.equal(one.state_dict()[name], two.state_dict()[name]) for name in learned)


@pytest.mark.parametrize("loss", [LossConfig(perceptual_every=2), LossConfig(heatmap=0.0)])
def test_the_total_is_the_weighted_sum_of_the_terms(config, loss):
    train(replace(config, loss=loss))
    for row in rows_of(config.run.out):
        expected = row["value"] + row["jacobian"] + loss.heatmap * row["heatmap"]
        assert row["total"] == pytest.approx(expected + 0.1 * row["perceptual"], rel=1e-5)


def test_cached_targets_are_those_of_the_loop(config):
    still = replace(config, data=replace(config.data, jitter=0.0), loss=LossConfig(perceptual=0.0))
    train(still)
    cached = replace(still, run=replace(config.run, out=config.run.out / "2"), cache_targets=True)
    train(cached)
    for one, two in zip(rows_of(config.run.out), rows_of(cached.run.out), strict=True):
        assert one == pytest.approx(two, rel=2e-3)


def test_an_item_is_a_source_and_what_follows_it(config):
    clips = Corpus(config.corpus).clips("train")
    items = DrivenClips(clips, replace(config.data, jitter=0.0), FOMM.size, seed=3)
    for draw in (0, 7, 40):
        clip, item = clips[draw % len(clips)], items[draw]
        stored = channels_first(resized(clip.store()[0 : clip.frames], FOMM.size))
        distances = (stored.int() - item["source"].int()).abs().amax(dim=(1, 2, 3))
        r = int(distances.argmin())
        assert distances[r] == 0
        assert 3 <= r <= clip.frames - 6 - 4
        driving = slice(r + 1, r + 5)
        torch.testing.assert_close(item["frames"], stored[driving])
        np.testing.assert_array_equal(item["windows"], clip.windows()[driving])
        np.testing.assert_array_equal(item["pose"], release_pose(clip)[driving])


def test_colours_change_once_a_clip_and_never_in_the_source(config):
    clips = Corpus(config.corpus).clips("train")
    plain, jittered = (
        DrivenClips(clips, replace(config.data, jitter=jitter), FOMM.size) for jitter in (0.0, 0.1)
    )
    one, two = float_pictures(plain[5]), float_pictures(jittered[5])
    assert torch.equal(one["source"], two["source"])
    change = (two["frames"] - one["frames"])[:, :, 0, 0]  # the background, the same in all frames
    assert change.abs().amax() > 0.005
    torch.testing.assert_close(change, change[:1].expand_as(change), atol=0.005, rtol=0)
    again, other = jittered[5]["frames"], jittered[5 + len(clips)]["frames"]
    assert again.dtype == torch.uint8
    assert torch.equal(two["frames"], again.float() / 255)
    assert not torch.equal(again, other)


def test_a_neutral_source_is_any_frame_of_any_clip_of_the_speaker(config):
    clips = Corpus(config.corpus).clips("train")
    items = DrivenClips(clips, replace(config.data, source="neutral"), FOMM.size, pictures=False)
    stored = {c.id: channels_first(resized(c.store()[0 : c.frames], FOMM.size)) for c in clips}
    seen = set()
    for draw in range(0, 10 * len(clips), len(clips)):  # the first clip, again and again
        same = {clip: (frames == items[draw]["source"]) for clip, frames in stored.items()}
        seen |= {clip for clip, each in same.items() if each.flatten(1).all(dim=1).any()}
    assert {clip[:4] for clip in seen} == {"M901"}
    assert len(seen) > 3


@pytest.mark.parametrize(
    ("frames", "allowed"), [(29, range(3, 8)), (40, range(3, 19)), (20, range(4))]
)
def test_sources_are_drawn_from_the_releases_range(frames, allowed):
    rng = np.random.default_rng(0)
    assert {source_frame(frames, 16, rng) for _ in range(500)} == set(allowed)


def test_the_metrics_are_relative_to_unmoved_keypoints_and_to_another_clips_audio(config):
    clips = Corpus(config.corpus).clips("test_speaker")[:3]
    fomm = load_fomm(config.fomm)
    measured = keypoint_val_set(fomm, clips)
    train(replace(config, model=replace(WIDTHS, residual=True), optim=OptimConfig(lr=0.0)))
    still = keypoint_metrics(load_a2fd(config.run.out), measured)
    for name in ("keypoint_ratio", "value_ratio", "jacobian_ratio", "shuffled_ratio"):
        assert still[name] == pytest.approx(1, abs=1e-5)
    errors = []
    for clip in clips:
        truth, _ = teacher_keypoints(fomm, clip.store()[0 : clip.frames])
        for part in truth:
            errors.append((part[1:] - part[:1]).abs().flatten(1).mean(dim=1))
    by_hand = torch.cat(errors[::2]).mean() + torch.cat(errors[1::2]).mean()
    assert still["error"] == pytest.approx(float(by_hand), rel=1e-5)
    windows = torch.from_numpy(clips[0].windows()[1:].copy())
    assert torch.equal(measured[2].other_windows[0], windows)


def test_poses_are_normalised_by_the_median_deviation_within_a_clip(config):
    clips = Corpus(config.corpus).clips("train")
    standard = pose_stats(clips)
    poses = [(release_pose(clip) - standard.mean) / standard.scale for clip in clips]
    np.testing.assert_allclose(np.concatenate(poses).mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.median([p.std(axis=0) for p in poses], axis=0), 1, atol=1e-3)


def test_a_fomm_of_other_sizes_or_weights_is_refused(config, tmp_path):
    train(config)
    make_fomm(tmp_path / "wide", replace(FOMM, size=64))
    with pytest.raises(ConfigError, match=r"FOMM of 32 px .* has 64 px"):
        train(replace(config, start_from=config.run.out, fomm=tmp_path / "wide"))
    torch.manual_seed(1)
    make_fomm(tmp_path / "other")
    second = replace(config.run, out=tmp_path / "second")
    with pytest.raises(ConfigError, match="other weights"):
        train(replace(config, run=second, start_from=config.run.out, fomm=tmp_path / "other"))
    assert not second.out.exists()


def test_a_run_does_not_go_on_with_a_fomm_that_was_trained_anew(config, tmp_path):
    fomm = make_fomm(tmp_path / "fomm")
    own = replace(config, fomm=tmp_path / "fomm")
    train(replace(own, run=replace(config.run, steps=3)))
    fomm.detector.heads.kp.bias.data[0] += 1
    parts = {"detector": fomm.detector, "generator": fomm.generator}
    checkpoint.save(tmp_path / "fomm" / "checkpoints", 2, parts)
    with pytest.raises(ConfigError, match="other weights"):
        train(own)


def test_what_cannot_be_learned_from_is_refused(config, tmp_path):
    with pytest.raises(ConfigError, match="no 'train' clip of emotion 'happy'"):
        train(replace(config, data=replace(config.data, emotion="happy")))
    with pytest.raises(ConfigError, match="none of the 24 clips has 31 frames"):
        train(replace(config, data=replace(config.data, frames=30)))
    other = make_driven_corpus(tmp_path / "portrait", 2, 1, profile="portrait")
    with pytest.raises(ConfigError, match="profile 'portrait', wanted 'eamm'"):
        train(replace(config, corpus=other.root))
    corpus = make_driven_corpus(tmp_path / "no_pose", 2, 1)
    (corpus.clips()[0].folder / "pose.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"pose\.npy is missing; run .*data_prep\.pose"):
        train(replace(config, corpus=corpus.root))


def test_choices_that_contradict_each_other_are_refused(config):
    with pytest.raises(ValueError, match=r"set data\.jitter=0"):
        replace(config, cache_targets=True)
    with pytest.raises(ValueError, match="the generator learns from the perceptual term"):
        replace(config, generator="finetune", loss=LossConfig(perceptual=0.0))


def test_other_widths_than_the_first_phases_are_refused(config, tmp_path):
    train(config)
    second = replace(config.run, out=tmp_path / "second")
    wide = replace(WIDTHS, hidden=64)
    with pytest.raises(ConfigError, match=r"hidden=32.*this run wants .*hidden=64"):
        train(replace(config, run=second, start_from=config.run.out, model=wide))


def test_frozen_heads_stay_the_detectors(config):
    train(replace(config, heads="frozen"))
    heads = load_fomm(config.fomm).detector.heads.state_dict()
    assert same(load_a2fd(config.run.out).heads.state_dict(), heads)
    other = replace(config, run=replace(config.run, out=config.run.out.with_name("learned")))
    train(other)
    assert not same(load_a2fd(other.run.out).heads.state_dict(), heads)
