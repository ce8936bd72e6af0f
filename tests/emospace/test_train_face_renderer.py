"""Stage HEF end to end on a made-up corpus: learns, resumes exactly, refuses; the YAMLs step."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from affekt.media.corpus import Corpus
from affekt.media.validation import ValConfig
from affekt.nets.perceptual import VggConfig
from affekt.runtime.config import ConfigError, load_config
from affekt.runtime.training.optim import OptimConfig
from emospace.data.motions import MotionStats
from emospace.data.portraits import PortraitDataConfig
from emospace.inference.renderer import load_face_renderer
from emospace.losses import RendererLossConfig
from emospace.networks.discriminator import Discriminator, DiscriminatorConfig
from emospace.networks.renderer import Renderer, RendererConfig
from emospace.renderer_validation import (
    drawn_clip,
    portrait_val_set,
    reenactment_metrics,
    temporal_metrics,
)
from tests.corpora.emotion_space_corpus import emotion_model, make_emotion_corpus
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.short_run import parts_of, resumed, same, short_run
from train_face_renderer import Config, perceptual_terms, picture_terms, train

ROOT = Path(__file__).parents[2]
SIZE = 32
SMALL = RendererConfig(
    size=SIZE,
    channels=(32, 24, 16),
    style=32,
    mapping=32,
    window=2,
    mask_bias=0.5,
    blend_picture=True,
    prior=True,
)
LOSS = RendererLossConfig(
    pixels=10.0,
    at_landmarks=8.0,
    in_mouth=15.0,
    warped=3.0,
    anchors=5.0,
    perceptual=0.0,
    warped_perceptual=0.0,
    scales=(1, 2),
)
GAME = replace(LOSS, gan=1.0, r1_every=2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("faces")
    return make_emotion_corpus(root, speakers=5, held_out=1, frames=8, size=SIZE)


@pytest.fixture
def config(corpus, tmp_path):
    return Config(
        run=short_run(tmp_path / "run"),
        corpus=corpus.root,
        data=PortraitDataConfig(landmark_noise=0.002),
        renderer=replace(SMALL, channels=(8, 8, 8), style=8, mapping=8),
        discriminator=DiscriminatorConfig((8, 8, 8, 8)),
        loss=LOSS,
        optim=OptimConfig(lr=2e-3, betas=(0.9, 0.99), clip_norm=1.0, warm_up=2),
        discriminator_optim=OptimConfig(lr=2e-3, betas=(0.0, 0.99)),
        ema_decay=0.9,
        val=ValConfig("none"),
    )


def opening(frames):
    """How much of each frame (T, S, S, 3) is as dark red as the inside of the drawn mouth."""
    distance = np.abs(np.asarray(frames, float) - [50, 10, 20]).sum(axis=-1)
    lower = distance[:, SIZE // 2 :, SIZE // 4 : 3 * SIZE // 4]
    return np.clip(1 - lower / 120, 0, 1).sum(axis=(1, 2))


def test_it_learns_to_draw_people_that_it_has_not_seen_and_their_mouths_open(config, corpus):
    steps = 90
    learning = replace(
        config,
        run=replace(config.run, steps=steps, batch_size=4, log_every=steps, save_every=steps),
        renderer=SMALL,
        optim=replace(config.optim, warm_up=10),
        val=ValConfig("test_speaker", steps),
        val_videos=1,
    )
    train(learning)
    last = rows_of(config.run.out)[-1]
    assert last["val_l1_ratio"] < 0.9
    assert last["val_landmark_ratio"] < 0.75
    assert last["val_mouth_ratio"] < 0.6
    assert last["val_ssim"] > last["val_ssim_frozen"] + 0.05
    assert last["val_warp_error"] < 1
    assert list((config.run.out / "pictures").glob("val_*.png"))
    # An L1 ratio is no evidence of a mouth: on drawn frames it opens and closes with the truth's
    face = load_face_renderer(config.run.out, "cpu")
    clip = corpus.clips(split="test_speaker", emotion="happy")[0]
    drawn, true = opening(list(drawn_clip(face, clip))), opening(clip.store()[0 : clip.frames])
    assert np.corrcoef(drawn, true)[0, 1] > 0.7
    assert 0.4 < np.ptp(drawn) / np.ptp(true) < 1.5


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_of_the_adversarial_game_goes_on_exactly(config, workers):
    config = replace(config, loss=GAME, run=replace(config.run, workers=workers))
    out = resumed(train, config, stop=4)
    one, other = (parts_of(each) for each in (config.run.out, out))
    assert {"renderer", "ema", "discriminator", "optimizer", "discriminator_optimizer"} <= set(one)
    for part in ("renderer", "ema", "discriminator"):
        assert same(one[part], other[part])


def test_r1_comes_every_few_steps_and_counts_as_many_times(config):
    train(replace(config, loss=replace(GAME, r1_every=3)))
    rows = rows_of(config.run.out)
    assert ["r1" in row for row in rows] == [False, False, True] * 2
    assert {"gan", "discriminator", "discriminator_grad_norm"} <= rows[0].keys()
    assert rows[2]["r1"] >= 0


def test_the_adversarial_game_changes_what_the_renderer_learns(config, tmp_path):
    first = replace(config, run=replace(config.run, steps=3))
    train(replace(first, loss=GAME))
    plain = replace(first, run=replace(first.run, out=tmp_path / "plain"))
    train(plain)
    assert "gan" not in rows_of(plain.run.out)[0]
    assert "discriminator" not in parts_of(plain.run.out)
    game, alone = (parts_of(each.run.out)["renderer"] for each in (first, plain))
    assert not same(game, alone)


def test_perceptual_terms_compare_drawn_and_warped_portraits(config):
    loss = replace(LOSS, perceptual=1.0, warped_perceptual=0.5)
    vgg = VggConfig("random", ("relu1_1",))
    train(replace(config, loss=loss, vgg=vgg, run=replace(config.run, steps=2)))
    assert {"perceptual", "warped_perceptual"} <= rows_of(config.run.out)[0].keys()


def test_efficientnets_stages_are_a_named_choice(config):
    pytest.importorskip("timm")
    loss = replace(LOSS, perceptual=1.0, features="effnet_lite0")
    train(replace(config, loss=loss, run=replace(config.run, steps=2)))
    first, second = (row["perceptual"] for row in rows_of(config.run.out))
    assert first > 0 < second


@pytest.mark.parametrize("change", [{"residual": False}, {"hierarchical": False, "flow_size": 16}])
def test_the_ablations_train(config, change):
    renderer = replace(config.renderer, prior=False, blend_picture=False, **change)
    train(replace(config, renderer=renderer, run=replace(config.run, steps=2)))
    assert load_face_renderer(config.run.out, "cpu").description.renderer == renderer


def test_a_frozen_portrait_has_ratio_one(corpus):
    clips = [clip for clip in corpus.clips(split="test_speaker") if clip.sentence == "001"]
    val_set = portrait_val_set(clips, 3, SIZE, 2)
    stats = MotionStats((0.0,) * 12, (1.0,) * 12)
    open_mask = replace(SMALL, prior=False, mask_bias=40.0)
    found = reenactment_metrics(Renderer(open_mask, stats), val_set)
    for name in ("l1_ratio", "landmark_ratio", "mouth_ratio", "own_ratio"):
        assert found[name] == pytest.approx(1, abs=1e-5)
    assert found["ssim"] == found["ssim_frozen"] < 1


def test_the_true_video_is_sharp_and_moves_as_it_should(corpus):
    class Perfect:
        size = SIZE

        def encode(self, picture, *_):
            return picture

        def render(self, *_):
            clip = corpus.clips(split="test_speaker")[0]
            return iter(clip.store()[0 : clip.frames])

    found = temporal_metrics(Perfect(), corpus.clips(split="test_speaker")[:1])
    assert found["sharpness"] == pytest.approx(1)
    assert found["warp_error"] == found["warp_error_truth"]


def test_what_does_not_fit_is_refused(config, corpus, tmp_path):
    with pytest.raises(
        ValueError, match=r"discriminator\.channels are for 16 px, renderer\.size is"
    ):
        replace(config, loss=GAME, discriminator=DiscriminatorConfig((8, 8, 8)))
    with pytest.raises(ConfigError, match="has no clip of split 'val'"):
        train(replace(config, val=ValConfig("val")))
    empty = tmp_path / "empty"
    with pytest.raises(FileNotFoundError, match="is no prepared corpus"):
        train(replace(config, corpus=empty))
    train(replace(config, run=replace(config.run, steps=1)))
    with pytest.raises(ConfigError, match="holds a run of another configuration"):
        train(replace(config, loss=replace(LOSS, pixels=1.0)))


def test_a_corpus_without_coefficients_names_the_command(config, tmp_path):
    root = tmp_path / "corpus"
    make_emotion_corpus(root, speakers=1, held_out=0, frames=4, emotions=("neutral",))
    (root / "expression.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"data_prep\.expression"):
        train(replace(config, corpus=root))
    assert Corpus(root).clips()


MODES = 64  # expression modes of the headers' figures
YAMLS = [
    *sorted((ROOT / "configs/emospace").rglob("renderer_*.yaml")),
    ROOT / "configs/demo/emospace/renderer.yaml",
]


def on_paper(path):
    """A YAML's configuration, its networks on torch's meta device, and a batch of one."""
    config = load_config(Config, path)
    M, S, W = 6 + MODES, config.renderer.size, 2 * config.renderer.window + 1
    face = emotion_model(MODES) if config.renderer.prior else None
    with torch.device("meta"):
        renderer = Renderer(config.renderer, MotionStats((0.0,) * M, (1.0,) * M), face)
        renderer = renderer.to("meta")
        discriminator = Discriminator(config.discriminator)
        pictures = {name: torch.rand(1, 3, S, S) for name in ("source", "driving")}
        batch = pictures | {"mouth": torch.rand(1, 1, S, S)}
        batch |= {"source_motion": torch.rand(1, M), "window": torch.rand(1, W, M)}
        for name in ("source_landmarks", "driving_landmarks", "prior_landmarks"):
            batch[name] = torch.rand(1, 68, 2)
    return config, renderer, discriminator, batch


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_a_full_size_setting_takes_a_step_on_the_meta_device(path):
    config, renderer, discriminator, batch = on_paper(path)
    motions = batch["source_motion"], batch["window"], batch["prior_landmarks"]
    levels = renderer(renderer.encode(batch["source"]), *motions)
    assert levels[-1].picture.shape == batch["driving"].shape
    terms = picture_terms(levels, batch, config.loss)
    terms |= perceptual_terms(levels, batch["driving"], config.loss, lambda frames: [frames])
    total = torch.stack(list(terms.values())).sum()
    if config.loss.gan:
        total = total + discriminator(levels[-1].picture).sum()
    total.backward()
    used = [name for name, weight in renderer.named_parameters() if weight.grad is not None]
    assert len(used) == len(list(renderer.parameters()))


@pytest.mark.parametrize("name", ["renderer_256", "renderer_512"])
def test_the_sizes_of_a_header_are_measured(name):
    path = ROOT / f"configs/emospace/{name}.yaml"
    _, renderer, discriminator, batch = on_paper(path)

    def millions(network):
        return sum(weight.numel() for weight in network.parameters()) / 1e6

    with FlopCounterMode(display=False) as encoding, torch.no_grad():
        source = renderer.encode(batch["source"])
    with FlopCounterMode(display=False) as drawing, torch.no_grad():
        renderer(source, batch["source_motion"], batch["window"])
    flops = encoding.get_total_flops() / 1e9, drawing.get_total_flops() / 1e9
    found = [millions(renderer), millions(renderer.encoder), sum(flops), flops[0]]
    text = " ".join(line.lstrip("# ") for line in path.read_text().splitlines()[:12])
    shown = re.search(
        r"([\d.]+) M parameters \(encoder ([\d.]+)\), (\d+) GFLOP a frame \(encoder (\d+)", text
    )
    assert [float(each) for each in shown.groups()] == pytest.approx(found, rel=0.01)
    shown = re.search(r"discriminator ([\d.]+) M", text)
    assert float(shown[1]) == pytest.approx(millions(discriminator), rel=0.01)
