"""Stage FOMM end to end on made-up moving blobs: learns, resumes exactly, refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from affekt.media.corpus import Corpus
from affekt.media.validation import ValConfig
from affekt.nets.perceptual import Vgg, VggConfig
from affekt.runtime.config import ConfigError
from affekt.runtime.training.optim import OptimConfig
from eamm.fomm.blocks import HourglassConfig
from eamm.fomm.data import FrameDataConfig, JitterConfig
from eamm.fomm.discriminator import Discriminator, DiscriminatorConfig
from eamm.fomm.generator import GeneratorConfig
from eamm.fomm.keypoints import KeypointConfig
from eamm.fomm.model import FommConfig, load_fomm
from eamm.fomm.motion import MotionConfig
from eamm.fomm.validation import ValClip, frame_val_set, reenactment_metrics
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.prepared import write_clip, write_corpus
from tests.corpora.short_run import parts_of, resumed, same, short_run
from train_fomm import Config, LossConfig, train

SIZE = 32
SPLITS = ("train", "train", "train", "train", "test_speaker", "test_speaker")


def write_blobs(root, frames=10):
    """Write clips of a disc that wanders over a background with marks; the last one is lively."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1)
    rows = []
    for number, split in enumerate(SPLITS):
        rng = np.random.default_rng(number)
        time = np.linspace(0, 2 * np.pi, frames) + rng.uniform(0, 6)
        centres = 0.5 + 0.2 * np.stack([np.sin(time), np.cos(1.3 * time)], axis=1)
        distance = np.hypot(x - centres[:, :1, None], y - centres[:, 1:, None])
        disc = np.clip(8 - 40 * (distance - 0.03), 0, 8)[..., None] / 8
        ground = 60 + 40 * np.stack([x, y, (x + y) / 2], axis=-1)
        pictures = (ground * (1 - disc) + np.array([230, 180, 60]) * disc).astype(np.uint8)
        landmarks = np.repeat((centres * (SIZE - 1))[:, None], 68, axis=1)
        lively = "_lively" if number == len(SPLITS) - 1 else ""
        name = {"id": f"M{number}_neutral_1_{number:03d}{lively}"}
        clip = write_clip(root, f"M{number}", number, pictures, split, landmarks=landmarks, **name)
        rows.append(clip)
    write_corpus(root, rows, "eamm")


@pytest.fixture
def config(tmp_path):
    write_blobs(tmp_path / "corpus")
    return Config(
        run=short_run(tmp_path / "run", steps=8, save_every=4),
        data=FrameDataConfig((tmp_path / "corpus",), jitter=JitterConfig(0, 0, 0, 0)),
        fomm=FommConfig(
            size=SIZE,
            keypoints=KeypointConfig(2, HourglassConfig(8, 32, 2), downscale=2, kernel=3),
            motion=MotionConfig(HourglassConfig(8, 32, 2), downscale=2, kernel=3),
            generator=GeneratorConfig(8, 32, 1, 1, skips=True, aligned_flow=True),
        ),
        discriminator=DiscriminatorConfig(4, 16, 2),
        vgg=VggConfig("random", ("relu1_1",)),
        loss=LossConfig(perceptual=0.0, pixels=10.0, scales=(1, 2)),
        val=ValConfig("none"),
    )


def test_it_learns_to_move_a_blob_that_it_has_not_seen(config):
    fast = OptimConfig(lr=4e-3, schedule="one_cycle", clip_norm=1.0)
    quick = replace(
        config,
        run=replace(config.run, steps=220, batch_size=4, log_every=220),
        generator_optim=fast,
        detector_optim=fast,
        val=ValConfig("test_speaker", 220),
    )
    train(quick)
    last = rows_of(config.run.out)[-1]
    assert last["val_l1_ratio"] < 0.75
    assert {"val_l1_ratio_calm", "val_l1_ratio_lively"} <= last.keys()
    assert list((config.run.out / "pictures").glob("val_*.png"))
    fomm = load_fomm(config.run.out)
    assert not fomm.training
    again = reenactment_metrics(fomm, frame_val_set(config.data, quick.val, 4, SIZE))
    assert again["l1_ratio"] == pytest.approx(last["val_l1_ratio"], abs=1e-6)


ADVERSARIAL = LossConfig(perceptual=1.0, pixels=1.0, gan=1.0, scales=(1, 2))


@pytest.mark.parametrize("loss", [LossConfig(0.0, 10.0, scales=(1, 2)), ADVERSARIAL])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_goes_on_exactly(config, loss, workers):
    config = replace(config, loss=loss, run=replace(config.run, workers=workers))
    out = resumed(train, config, stop=4)
    assert same(*(load_fomm(each).state_dict() for each in (config.run.out, out)))


def test_the_adversarial_game_adds_its_terms_and_nothing_else_does(config, tmp_path):
    train(replace(config, run=replace(config.run, steps=1)))
    plain = set(rows_of(config.run.out)[0])
    run = replace(config.run, out=tmp_path / "gan", steps=1)
    seeing = replace(config.discriminator, keypoints=True)
    train(replace(config, loss=ADVERSARIAL, discriminator=seeing, run=run))
    game = {"gan", "feature_matching", "discriminator", "discriminator_grad_norm"}
    assert set(rows_of(tmp_path / "gan")[0]) - plain == {"perceptual", *game}
    assert {"pixels", "equivariance_value", "equivariance_jacobian"} <= plain


def test_the_discriminator_learns_only_in_the_game(config, tmp_path):
    names = ("discriminator", "generator", "detector")
    for out, loss in (("plain", config.loss), ("gan", ADVERSARIAL)):
        train(replace(config, loss=loss, run=replace(config.run, out=tmp_path / out)))
    moved = {}
    for out in ("plain", "gan"):
        files = sorted((tmp_path / out / "checkpoints").iterdir())
        first, last = (torch.load(file, weights_only=True)["parts"] for file in files[-2:])
        for name in names:
            weights = [key for key in first[name] if key.endswith(("weight", "original"))]
            now, then = last[name], first[name]
            moved[out, name] = any(not torch.equal(then[key], now[key]) for key in weights)
    assert moved == {(out, name): (out, name) != ("plain", "discriminator") for out, name in moved}


def test_the_discriminator_sees_the_truth_once_a_step_for_both_losses(config, monkeypatch):
    """Where its weights stay: with spectral norm each use moves the estimate of their norm."""
    seen = []
    monkeypatch.setattr("eamm.fomm.discriminator.spectral_norm", lambda layer: layer)
    see = Discriminator.forward
    monkeypatch.setattr(Discriminator, "forward", lambda *given: (seen.append(1), see(*given))[1])
    folders = {}
    for again in (True, False):  # as with spectral norm, as without; there is none in either
        discriminator = replace(config.discriminator, spectral_norm=again)
        run = replace(config.run, steps=4, out=config.run.out / str(again))
        train(replace(config, loss=ADVERSARIAL, discriminator=discriminator, run=run))
        folders[again] = run.out
        assert len(seen) == (16 if again else 16 + 12)
    assert rows_of(folders[True]) == rows_of(folders[False])
    one, two = parts_of(folders[True]), parts_of(folders[False])
    assert all(same(one[name], two[name]) for name in ("generator", "detector", "discriminator"))


def test_vgg_stays_as_it_is(config, monkeypatch):
    made = []

    def keep(*args):
        made.append(Vgg(*args))
        return made[-1]

    monkeypatch.setattr("train_fomm.Vgg", keep)
    train(replace(config, loss=ADVERSARIAL))
    assert same(made[0].state_dict(), Vgg(config.vgg).state_dict())
    assert not made[0].features.training


def test_landmark_supervision_moves_keypoints_to_the_landmarks(config, tmp_path):
    drawn = replace(
        config,
        data=replace(config.data, landmarks=((0,), (5, 6))),
        loss=replace(config.loss, landmarks=10.0, pixels_at_landmarks=2.0),
        run=replace(config.run, steps=60, batch_size=4),
        detector_optim=OptimConfig(lr=4e-3),
    )
    train(drawn)
    distances = [row["landmarks"] for row in rows_of(config.run.out)]
    assert np.mean(distances[-10:]) < 0.5 * distances[0]


@pytest.mark.parametrize(
    "choice", [{"precision": "bfloat16"}, {"precision": "float16"}, {"channels_last": True}]
)
def test_precision_and_memory_order_change_the_speed_and_hardly_the_loss(config, tmp_path, choice):
    train(replace(config, run=replace(config.run, steps=1)))
    train(replace(config, run=replace(config.run, steps=1, out=tmp_path / "other", **choice)))
    one, other = (rows_of(out)[0] for out in (config.run.out, tmp_path / "other"))
    assert other["total"] == pytest.approx(one["total"], rel=0.02)


def test_a_frozen_source_has_ratio_one_and_the_driving_frame_zero(config):
    val_set = frame_val_set(config.data, ValConfig("test_speaker"), 3, SIZE)
    assert [len(each.driving) for each in val_set] == [3, 3]
    clip = Corpus(config.data.corpora[0]).clips(split="test_speaker")[0]
    first = torch.from_numpy(clip.store()[0].copy()).permute(2, 0, 1) / 255
    assert torch.equal(val_set[0].source[0], first)

    class Frozen(torch.nn.Linear):
        def forward(self, source, driving):
            return replace_prediction(source)

    class Perfect(torch.nn.Linear):
        def forward(self, source, driving):
            return replace_prediction(driving)

    frozen, perfect = (reenactment_metrics(kind(1, 1), val_set) for kind in (Frozen, Perfect))
    assert frozen["l1_ratio"] == frozen["l1_ratio_calm"] == frozen["l1_ratio_lively"] == 1
    assert perfect["l1_ratio"] == perfect["l1"] == 0
    moving, still = val_set[1], ValClip(val_set[0].clip, first[None], first[None])
    both = reenactment_metrics(Frozen(1, 1), [moving, still])
    assert both["l1"] == pytest.approx((moving.driving - moving.source).abs().mean().item() / 2)


def replace_prediction(frames):
    return type("Generated", (), {"prediction": frames})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": 36}, r"size is 36, wanted a multiple of 8 for fomm\.keypoints"),
        ({"size": 40, "keypoints": KeypointConfig(2, HourglassConfig(8, 32, 1))}, None),
        ({"motion": MotionConfig(HourglassConfig(8, 32, 4), downscale=4)}, r"64 for fomm\.motion"),
        ({"generator": GeneratorConfig(8, 32, 6, 1)}, r"64 for fomm\.generator"),
    ],
)
def test_a_size_that_a_network_cannot_halve_is_refused(config, changed, message):
    config = replace(config, fomm=replace(config.fomm, **changed), run=replace(config.run, steps=1))
    if message is None:
        train(config)
        return
    with pytest.raises(ConfigError, match=message):
        train(config)


def test_what_does_not_fit_is_refused_by_name(config):
    with pytest.raises(ConfigError, match="no 'val' clip in"):
        train(replace(config, val=ValConfig("val")))
    with pytest.raises(ConfigError, match=r"data\.landmarks has 0 groups for 2 keypoints"):
        train(replace(config, loss=replace(config.loss, landmarks=1.0)))
    train(replace(config, run=replace(config.run, steps=1)))
    with pytest.raises(ConfigError, match="holds a run of another configuration"):
        train(replace(config, loss=replace(config.loss, pixels=1.0)))
