"""Stage edge-to-video with a generator that sees the frames before: learns in phases, resumes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import train_edge2video
from affekt.media.validation import ValConfig
from affekt.nets.perceptual import VggConfig
from affekt.runtime.training.optim import OptimConfig
from evp.data.portraits import (
    GuidanceConfig,
    PortraitClips,
    VideoDataConfig,
    speaker_clips,
    training_clips,
)
from evp.inference.renderer import load_generator, make_generator
from evp.losses import VideoLossConfig
from evp.networks.discriminators import (
    DiscriminatorConfig,
    Discriminators,
    VideoDiscriminatorConfig,
)
from evp.networks.generator import GeneratorConfig
from evp.rollout import SequenceConfig, Sequences, generate_sequences
from evp.validation import RUN, mean_quality, render_val, val_frames
from tests.corpora.portrait_corpus import SIZE, rows_of, write_flow, write_portraits
from tests.corpora.short_run import parts_of, same, short_run
from train_edge2video import Config, motion_terms, train

PLAIN = GuidanceConfig("plain", SIZE // 2)
PATCHES = DiscriminatorConfig(4, 2, 1)
GAME = {"gan": 0.1, "gan_video": 0.2, "feature_matching": 0.3}
ALL_ON = VideoLossConfig(**GAME, gan_from=5, vgg=0.5, flow=0.1, warp=0.7, hallucinated=0.4)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("portraits")
    write_portraits(root, frames=14)
    write_flow(root)
    return root


@pytest.fixture
def config(corpus, tmp_path):
    """Phases of 4 steps: the global generator, the enhancer, both; all losses from step 5 on."""
    return Config(
        run=short_run(tmp_path / "run", steps=12, save_every=100),
        data=VideoDataConfig((corpus,), frames=5, shift=2),
        guidance=PLAIN,
        generator=GeneratorConfig(8, 2, 2, 1, 1, outer_kernel=3, previous=2),
        sequence=SequenceConfig(history_dropout=0.3, coarse_steps=4, enhancer_steps=4),
        discriminator=PATCHES,
        video_discriminator=VideoDiscriminatorConfig(2, 2, patches=PATCHES),
        vgg=VggConfig("random", ("relu1_1",)),
        loss=ALL_ON,
        ema_decay=0.9,
        val=ValConfig("none"),
    )


def steps(config, count, out=None):
    """Return a run of so many steps, into the same folder or one beside it."""
    folder = config.run.out if out is None else config.run.out.with_name(out)
    return replace(config, run=replace(config.run, steps=count, out=folder))


def test_it_learns_faces_that_move_better_than_any_frame_repeated(config):
    quick = replace(
        steps(config, 120),
        data=replace(config.data, shift=0),
        sequence=SequenceConfig(coarse_steps=16, enhancer_steps=16),
        loss=replace(ALL_ON, gan=0.01, gan_video=0.01, gan_from=100, vgg=0.1, warp=1.0),
        optim=OptimConfig(lr=4e-3, schedule="one_cycle"),
        val=ValConfig(every=120),
    )
    train(quick)
    last = rows_of(config.run.out)[-1]
    val_set = val_frames(config.data, quick.val, PLAIN, previous=2)
    (first,), truth = val_set.initial, val_set.frames
    seen = PortraitClips(training_clips(config.data), PLAIN)
    shown = torch.stack([seen[draw]["frames"][0] for draw in range(len(seen))]).float()
    grey = shown.mean(dim=0).round().byte().permute(1, 2, 0).numpy()
    one_late = np.concatenate([first.frames[-1:], truth[:-1]])
    repeated = (first.frames[-1:], grey[None])
    for still in (one_late, *(frame.repeat(RUN, axis=0) for frame in repeated)):
        assert last["val_psnr"] > mean_quality(still, truth)["psnr"] + 1.5
    assert last["val_psnr_gain"] > 2  # over the nearest training frames

    generator, description = load_generator(config.run.out)
    assert description.generator == config.generator
    again = mean_quality(render_val(generator, val_set), truth)
    assert again["psnr"] == pytest.approx(last["val_psnr"], abs=1e-6)

    (clip,) = speaker_clips(config.data, "test_sentence")[0]
    items = PortraitClips([clip], PLAIN, clip.frames, flow=True)[0]
    batch = Sequences.of({name: value[None] for name, value in items.items()})
    with torch.no_grad():
        made = generate_sequences(generator, batch, SequenceConfig())
    moved, still = (
        motion_terms(flow, batch, VideoLossConfig(warp=1.0))["warp"]
        for flow in (made.flow, torch.zeros_like(made.flow))
    )
    assert moved < 0.85 * still  # what the flow is for: the true frame before becomes the next


def test_a_run_that_is_stopped_in_every_phase_continues_exactly(config):
    train(config)
    for count in (2, 6, 10, 12):
        stopped = steps(config, count, out="stopped")
        train(stopped)
    assert rows_of(stopped.run.out) == rows_of(config.run.out)
    one, two = parts_of(config.run.out), parts_of(stopped.run.out)
    for name in ("generator", "discriminator", "ema"):
        assert same(one[name], two[name])


def test_each_phase_changes_its_own_networks_and_no_bit_of_the_others(config):
    torch.manual_seed(config.run.seed)
    born = make_generator(PLAIN, config.generator).state_dict()
    judged = Discriminators(1, PATCHES, config.video_discriminator).state_dict()
    coarse, fine = ("coarsest.", "heads.0."), ("enhancers.0.", "heads.1.")
    moving = [coarse, fine, ("coarsest.", *fine)]
    for count, networks in zip((4, 8, 12), moving, strict=True):
        train(steps(config, count))
        parts = parts_of(config.run.out)
        now = parts["generator"]
        changed = {key for key, value in now.items() if not torch.equal(value, born[key])}
        assert all(key.startswith(networks) for key in changed)
        weights = {key for key, value in born.items() if value.ndim > 1}
        assert changed >= {key for key in weights if key.startswith(networks)}
        still = [torch.equal(value, judged[k]) for k, value in parts["discriminator"].items()]
        assert all(still) if count < ALL_ON.gan_from else not any(still)
        born, judged = parts["generator"], parts["discriminator"]


def test_the_global_generator_learns_alone_at_its_own_size(config, monkeypatch):
    seen = []

    def spied(generator, truth, sequence, level):
        seen.append((level, truth.frames.shape[-1]))
        assert sequence == config.sequence
        return generate_sequences(generator, truth, sequence, level)

    monkeypatch.setattr(train_edge2video, "generate_sequences", spied)
    train(steps(config, 6))
    assert seen == [(1, 16)] * 4 + [(0, 32)] * 2


def test_every_term_appears_with_its_weight_from_its_step_on(config):
    train(config)
    rows = rows_of(config.run.out)
    always = {"reconstruction": 2.0, "hallucinated": 0.4, "flow": 0.1, "warp": 0.7, "vgg": 0.5}
    for row in rows:
        weights = always | (GAME if row["step"] >= ALL_ON.gan_from else {})
        parts = [weight * row[name] for name, weight in weights.items()]
        assert row["total"] == pytest.approx(sum(parts), rel=1e-5)
        judges = {"discriminator", "video_discriminator", "discriminator_grad_norm"}
        assert judges & set(row) == (judges if row["step"] >= ALL_ON.gan_from else set())
        assert all(row[name] > 0 for name in weights)


def test_held_out_frames_wait_until_the_full_size_is_drawn(config):
    val, norm = ValConfig(every=2), replace(config.generator, norm="batch")
    coarse = replace(config.sequence, enhancer_steps=0)  # batch norm goes with no phase beside it
    train(replace(steps(config, 7), val=val, generator=norm, sequence=coarse))
    rows = [row for row in rows_of(config.run.out) if "val_psnr" in row]
    assert [row["step"] for row in rows] == [6, 7]  # the global generator is alone until step 4
    generator, _ = load_generator(config.run.out)
    val_set = val_frames(config.data, val, PLAIN, previous=2)
    again = mean_quality(render_val(generator, val_set), val_set.frames)
    assert again["psnr"] == pytest.approx(rows[-1]["val_psnr"], abs=1e-6)


def test_checkpointing_and_bfloat16_train_nearly_alike(config):
    exact = replace(steps(config, 6), sequence=SequenceConfig(backpropagation=2))
    train(exact)
    frugal = replace(steps(exact, 6, "frugal"), sequence=SequenceConfig(2, checkpointing=True))
    rough = steps(frugal, 6, "rough")
    rough = replace(rough, run=replace(rough.run, precision="bfloat16"))
    for other, tolerance in ((frugal, 1e-3), (rough, 0.1)):
        train(other)
        assert other is frugal or rows_of(other.run.out) != rows_of(exact.run.out)
        for one, two in zip(rows_of(exact.run.out), rows_of(other.run.out), strict=True):
            assert two["reconstruction"] == pytest.approx(one["reconstruction"], rel=tolerance)
            assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=5 * tolerance)


def test_the_video_discriminator_also_takes_frames_generated_on_their_own(config):
    alone = replace(
        steps(config, 2),
        generator=replace(config.generator, previous=0),
        sequence=SequenceConfig(),
        loss=VideoLossConfig(gan=0.0, gan_video=1.0, vgg=0.0),
    )
    train(alone)
    for row in rows_of(config.run.out):
        assert {"gan_video", "video_discriminator"} <= set(row)
        assert not {"gan", "discriminator", "flow"} & set(row)
        assert row["total"] == pytest.approx(2 * row["reconstruction"] + row["gan_video"])


def test_missing_flow_is_refused_before_anything_is_written(config, tmp_path):
    write_portraits(tmp_path / "plain")
    without = replace(config, data=replace(config.data, corpora=(tmp_path / "plain",)))
    with pytest.raises(FileNotFoundError, match=r"data_prep\.flow"):
        train(without)
    assert not config.run.out.exists()
    train(steps(replace(without, loss=VideoLossConfig(gan=0.1, vgg=0.0, hallucinated=1.0)), 1))
