"""Stage edge-to-video end to end on made-up portraits: learns, resumes exactly, refuses.

The generator draws each frame on its own; test_train_temporal.py has one that sees those before.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from affekt.media.validation import ValConfig
from affekt.nets.perceptual import VggConfig
from affekt.runtime.training.optim import OptimConfig
from evp.data.portraits import GuidanceConfig, PortraitClips, VideoDataConfig, training_clips
from evp.inference.renderer import load_generator, render
from evp.losses import VideoLossConfig
from evp.networks.discriminators import DiscriminatorConfig
from evp.networks.generator import GeneratorConfig
from evp.validation import mean_quality, val_frames
from tests.corpora.portrait_corpus import SIZE, rows_of, write_portraits
from tests.corpora.short_run import parts_of, resumed, same, short_run
from train_edge2video import Config, train

PLAIN = GuidanceConfig("plain", SIZE // 2)


@pytest.fixture
def config(tmp_path):
    write_portraits(tmp_path / "corpus")
    return Config(
        run=short_run(tmp_path / "run", steps=10, save_every=5),
        data=VideoDataConfig((tmp_path / "corpus",)),
        guidance=PLAIN,
        generator=GeneratorConfig(8, 2, 2, 1, 1),
        discriminator=DiscriminatorConfig(4, 2, 2),
        vgg=VggConfig("random", ("relu1_1",)),
        loss=VideoLossConfig(gan=0.1, gan_from=4, vgg=0.5),
        ema_decay=0.9,
        val=ValConfig("none"),
    )


def test_it_learns_faces_that_it_has_not_seen(config):
    quick = replace(
        config,
        run=replace(config.run, steps=250),
        loss=VideoLossConfig(gan=0.01, gan_from=200, vgg=0.0),
        optim=OptimConfig(lr=4e-3, schedule="one_cycle"),
        val=ValConfig(every=250),
    )
    train(quick)
    last = rows_of(config.run.out)[-1]
    seen = PortraitClips(training_clips(config.data), PLAIN)
    val_set = val_frames(config.data, quick.val, PLAIN)
    shown = torch.stack([seen[draw]["frames"][0] for draw in range(len(seen))]).float()
    grey = shown.mean(dim=0).round().byte().permute(1, 2, 0).numpy()
    mean_face = mean_quality(np.repeat(grey[None], 12, axis=0), val_set.frames)
    assert last["val_psnr"] > mean_face["psnr"] + 3
    assert last["val_ssim"] > mean_face["ssim"]
    assert list((config.run.out / "pictures").glob("val_*.png"))

    generator, description = load_generator(config.run.out)
    assert description.speaker == "M901"
    again = mean_quality(render(generator, val_set.guidance), val_set.frames)
    assert again["psnr"] == pytest.approx(last["val_psnr"], abs=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_continues_exactly(config, workers):
    out = resumed(train, replace(config, run=replace(config.run, workers=workers)), stop=5)
    one, two = parts_of(out), parts_of(config.run.out)
    for name in ("generator", "discriminator", "ema"):
        assert same(one[name], two[name])


def test_without_discriminators_the_generator_learns_alone(config):
    train(replace(config, loss=VideoLossConfig(gan=0.0, vgg=0.0)))
    rows = rows_of(config.run.out)
    assert [row["step"] for row in rows] == [*range(1, 11)]
    for row in rows:
        assert row["total"] == pytest.approx(2 * row["reconstruction"], rel=1e-5)
        assert not {"gan", "discriminator", "discriminator_grad_norm"} & set(row)


def test_accumulated_batches_are_one_large_one(config, in_float64):
    """Generator and discriminators, both of instance norm: six sequences, and three times two."""
    run = replace(config.run, steps=5, batch_size=6)
    whole = replace(config, run=run, loss=replace(config.loss, gan_from=2))
    parts = replace(run, out=run.out.with_name("parts"), batch_size=2, accumulate=3)
    train(whole)
    train(replace(whole, run=parts))
    for one, other in zip(rows_of(run.out), rows_of(parts.out), strict=True):
        assert one == pytest.approx(other, rel=1e-9)
    assert "discriminator_grad_norm" in one


def test_without_an_average_validation_leaves_the_generator_in_training(config):
    batch_norm = replace(config.generator, norm="batch")
    plain = replace(config, ema_decay=0.0, generator=batch_norm)
    train(plain)
    out = config.run.out.with_name("validated")
    train(replace(plain, val=ValConfig(every=1), run=replace(config.run, out=out)))
    trained = [row for row in rows_of(out) if "total" in row]
    assert trained == rows_of(config.run.out)
    parts = parts_of(out)
    assert all(
        torch.equal(parts["ema"][f"module.{key}"], parts["generator"][key])
        for key in parts["generator"]
    )
    assert parts["ema"]["n_averaged"] == 10
