"""Stage 1: the wiring of eq. 2-6 by hand, and the stage end to end on made-up speech."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import pretrain_encoders
import train_disentangle
from affekt.media.validation import ValConfig
from affekt.runtime.config import ConfigError, load_config
from affekt.runtime.optim import OptimConfig
from affekt.runtime.run import RunConfig, restore
from evp.data.quads import SCHEMES, Quads
from evp.losses import DisentanglementLossConfig as LossConfig
from evp.losses import disentanglement_losses, needed_of_quads
from evp.networks.audio2lm import Audio2LandmarkConfig
from evp.networks.disentangle import Disentanglement, DisentanglementConfig
from evp.networks.encoders import (
    AudioDecoderConfig,
    ContentEncoderConfig,
    EmotionEncoderConfig,
    EncodersConfig,
    load_encoders,
)
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.short_run import short_run
from tests.corpora.spoken_corpus import make_corpus
from train_disentangle import Config, train

SMALL = DisentanglementConfig(
    EncodersConfig(
        ContentEncoderConfig((4, 8, 8, 8, 16), hidden=32, dim=16),
        EmotionEncoderConfig((4, 8, 8, 16), hidden=32, dim=16),
    ),
    AudioDecoderConfig((32, 16, 8, 8)),
)
ONE_TERM = {"cross_reconstruction": 0.0, "self_reconstruction": 0.0, "classification": 0.0}


class Part(nn.Module):
    """An encoder that reads one row of a window; row 0 holds the content, row 1 the emotion."""

    def __init__(self, row):
        super().__init__()
        self.row = row

    def forward(self, windows):
        return windows[..., self.row, :]


class Compose(nn.Module):
    """A decoder that puts content and emotion where `Part` reads them."""

    def forward(self, content, emotion):
        window = torch.zeros(len(content), 28, 12)
        window[:, 0], window[:, 1] = content, emotion
        return window


def by_hand(scheme, quad):
    """A model that separates perfectly, and quads of (content, emotion) numbers."""
    model = Disentanglement(SMALL, 3)
    model.encoders.content, model.encoders.emotion = Part(0), Part(1)
    model.decoder = Compose()
    windows = torch.zeros(1, 4, 28, 12)
    for place, (content, emotion) in enumerate(quad):
        windows[:, place, 0], windows[:, place, 1] = content, emotion
    return model, windows


def losses(model, windows, emotions, loss, scheme="paper"):
    outputs = model(windows, windows, needed_of_quads(SCHEMES[scheme], loss))
    return disentanglement_losses(outputs, windows, emotions, SCHEMES[scheme], loss)


QUADS = {
    "paper": [(1, 10), (2, 20), (2, 10), (1, 20)],  # im, jn, jm, in
    "release": [(1, 10), (2, 10), (3, 20), (1, 20)],
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_perfectly_separated_codes_reconstruct_every_place(scheme):
    model, windows = by_hand(scheme, QUADS[scheme])
    loss = LossConfig(classification=0)
    terms = losses(model, windows, torch.zeros(1, 4, dtype=torch.long), loss, scheme)
    assert (terms["self_reconstruction"], terms["cross_reconstruction"]) == (0, 0)
    assert terms["content"] == 0


def test_eq_2_and_3_sum_two_norms_that_a_leak_makes_large():
    model, windows = by_hand("paper", QUADS["paper"])
    model.encoders.content = Part(1)  # a content code that holds the emotion alone
    loss = LossConfig(classification=0)
    terms = losses(model, windows, torch.zeros(1, 4, dtype=torch.long), loss)
    root12 = 12**0.5
    # self: (10, 10) for (1, 10), (20, 20) for (2, 20); cross: (10, 20) for (1, 20), (20, 10) for
    # (2, 10); each l2 over twelve columns.
    assert terms["self_reconstruction"].item() == pytest.approx((9 + 18) * root12)
    assert terms["cross_reconstruction"].item() == pytest.approx((9 + 18) * root12)
    # eq. 5: |10 - 20| over twelve channels for each of two contents.
    assert terms["content"].item() == pytest.approx(2 * 12 * 10)
    guarded = losses(
        model,
        windows,
        torch.zeros(1, 4, dtype=torch.long),
        replace(loss, content_loss="normalised"),
    )
    assert guarded["content"] > 1e6  # contents are not told apart at all


def test_classification_sums_both_encoded_quad_with_their_labels():
    model, windows = by_hand("paper", QUADS["paper"])
    model.classifier = nn.Linear(12, 3)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
    terms = losses(model, windows, torch.tensor([[0, 2, 0, 2]]), LossConfig())
    chances = torch.tensor([0.0, 1.0, 2.0]).softmax(0)
    assert terms["classification"].item() == pytest.approx(
        -float(chances[0].log() + chances[2].log())
    )


def counted(loss, scheme="paper"):
    """How many windows each network handles for a batch of 5 quads, and the terms returned."""
    model = Disentanglement(SMALL, 3)
    seen = {"content": 0, "emotion": 0, "decoder": 0}
    for name, part in (
        ("content", model.encoders.content),
        ("emotion", model.encoders.emotion),
        ("decoder", model.decoder),
    ):

        def count(_, inputs, __, name=name):
            seen[name] += inputs[0].shape[:-2].numel() if name != "decoder" else len(inputs[0])

        part.register_forward_hook(count)
    terms = losses(model, 10 * torch.randn(5, 4, 28, 12), torch.randint(3, (5, 4)), loss, scheme)
    return seen, set(terms)


ALL = {"self_reconstruction", "cross_reconstruction", "classification", "content", "content_spread"}


@pytest.mark.parametrize(
    ("loss", "windows", "terms"),
    [
        (LossConfig(), {"content": 20, "emotion": 10, "decoder": 20}, ALL),
        (
            LossConfig(cross_reconstruction=0),
            {"content": 20, "emotion": 10, "decoder": 10},
            ALL - {"cross_reconstruction"},
        ),
        (
            LossConfig(self_reconstruction=0),
            {"content": 20, "emotion": 10, "decoder": 10},
            ALL - {"self_reconstruction"},
        ),
        (LossConfig(content=0), {"content": 10, "emotion": 10, "decoder": 20}, ALL - {"content"}),
        (
            LossConfig(classification=0),
            {"content": 20, "emotion": 10, "decoder": 20},
            ALL - {"classification"},
        ),
        (
            LossConfig(cross_reconstruction=0, self_reconstruction=0),
            {"content": 20, "emotion": 10, "decoder": 0},
            {"classification", "content", "content_spread"},
        ),
        (
            LossConfig(**ONE_TERM, content=1.0),
            {"content": 20, "emotion": 0, "decoder": 0},
            {"content", "content_spread"},
        ),
    ],
)
def test_a_term_of_weight_0_is_not_computed(loss, windows, terms):
    assert counted(loss) == (windows, terms)


def test_release_sampling_encodes_two_contents_and_two_other_emotions():
    seen, terms = counted(LossConfig(), "release")
    assert seen == {"content": 10, "emotion": 10, "decoder": 20}
    assert terms == ALL


@pytest.mark.parametrize("weights", [{"cross_reconstruction": -1.0}, {**ONE_TERM, "content": 0.0}])
def test_negative_or_all_zero_weights_are_refused(weights):
    with pytest.raises(ValueError, match="wanted none below 0 and one above"):
        LossConfig(**weights)


# The stage on made-up speech


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("spoken"), frames=20)


@pytest.fixture
def config(corpus, tmp_path):
    run = short_run(tmp_path / "run", steps=60, batch_size=8, save_every=30)
    return Config(
        run=run,
        corpus=corpus.root,
        content_from=None,
        emotion_from=None,
        model=SMALL,
        optim=OptimConfig(lr=5e-3, betas=(0.9, 0.999)),
        val=ValConfig(every=60),
    )


def trained(config, corpus):
    model = Disentanglement(config.model, len(corpus.emotions))
    restore(
        config.run.out,
        content_encoder=model.encoders.content,
        emotion_encoder=model.encoders.emotion,
        decoder=model.decoder,
        classifier=model.classifier,
    )
    return model.eval()


def test_it_learns_to_reconstruct_held_out_sentences_in_another_emotion(config, corpus):
    config = replace(
        config,
        run=replace(config.run, steps=250, batch_size=16),
        optim=OptimConfig(1e-2, (0.9, 0.999), clip_norm=1.0, schedule="one_cycle"),
        loss=LossConfig(classification=5.0, reduction="element", content_loss="normalised"),
        val=ValConfig(every=250),
    )
    train(config)
    model = trained(config, corpus)
    data = Quads(corpus, "test_sentence", "paper", seed=1)
    windows = torch.stack([data[draw]["windows"] for draw in range(120)])
    with torch.no_grad():
        crossed = model.decoder(
            model.encoders.content(windows[:, 0]), model.encoders.emotion(windows[:, 1])
        )
    error = (crossed - windows[:, 3]).flatten(1).norm(dim=1).mean()
    mean_window = torch.stack(
        [d["windows"][0] for d in (Quads(corpus, "train", "paper", 1)[i] for i in range(200))]
    ).mean(0)
    assert error < 0.65 * (mean_window - windows[:, 3]).flatten(1).norm(dim=1).mean()
    assert rows_of(config.run.out)[-1]["held_out_accuracy"] >= 5 / 6  # chance 1/3
    assert (config.run.out / "pictures/windows_000000250.png").exists()
    assert rows_of(config.run.out)[-2]["content_spread"] > 0.5


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_continues_bit_for_bit(config, corpus, workers):
    config = replace(
        config,
        run=replace(config.run, steps=8, save_every=4, workers=workers),
        val=ValConfig("none"),
        shift=3,
    )
    train(config)
    stopped = replace(config, run=replace(config.run, out=config.run.out / "stopped", steps=4))
    train(stopped)
    train(replace(stopped, run=replace(stopped.run, steps=8)))
    assert rows_of(stopped.run.out) == rows_of(config.run.out)
    both = [trained(c, corpus).state_dict() for c in (stopped, config)]
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[1])


def test_pretrained_encoders_and_classifier_are_where_it_starts(config, corpus, tmp_path):
    steps = replace(config.run, steps=1, save_every=1)
    shared = {"corpus": corpus.root, "encoders": SMALL.encoders, "val": ValConfig("none")}
    for target in ("emotion", "content"):
        pretrain_encoders.train(
            pretrain_encoders.Config(
                run=replace(steps, out=tmp_path / target), target=target, **shared
            )
        )
    model = Disentanglement(SMALL, 3)
    config = replace(config, content_from=tmp_path / "content", emotion_from=tmp_path / "emotion")
    train_disentangle.start_from_pretrained(config, model, corpus)
    kept = torch.load(next((tmp_path / "emotion/checkpoints").glob("*.pt")), weights_only=True)[
        "parts"
    ]
    assert torch.equal(model.classifier.weight, kept["classifier"]["weight"])
    weights = model.encoders.emotion.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in kept["emotion_encoder"].items())
    kept = torch.load(next((tmp_path / "content/checkpoints").glob("*.pt")), weights_only=True)[
        "parts"
    ]
    weights = model.encoders.content.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in kept["content_encoder"].items())
    with pytest.raises(ValueError, match="holds the emotion encoder alone"):
        load_encoders(tmp_path / "emotion")


def test_pretraining_on_other_emotions_is_refused(config, corpus, tmp_path):
    run = replace(config.run, steps=1, save_every=1, out=tmp_path / "pre")
    pretrain_encoders.train(
        pretrain_encoders.Config(
            run=run,
            target="emotion",
            corpus=corpus.root,
            encoders=SMALL.encoders,
            val=ValConfig("none"),
        )
    )
    other = make_corpus(tmp_path / "other", speakers=("M901",), sentences=2, frames=10)
    (other.root / "corpus.json").write_text(
        json.dumps({**other.info, "emotions": ["neutral", "happy", "angry"]})
    )
    with pytest.raises(
        ValueError, match=r"trained on the emotions angry, happy, neutral, but .* lists neutral"
    ):
        train(
            replace(config, corpus=other.root, emotion_from=tmp_path / "pre", val=ValConfig("none"))
        )


def test_a_corpus_without_pairs_names_the_command_and_leaves_no_run(config, tmp_path):
    bare = make_corpus(tmp_path / "bare", speakers=("M901",), sentences=2, frames=10, pairs=False)
    with pytest.raises(FileNotFoundError, match=r"run python -m data_prep.pairs for .*bare"):
        train(replace(config, corpus=bare.root))
    assert not config.run.out.exists()


def test_a_broken_loss_stops_the_run(config):
    with pytest.raises(FloatingPointError, match="step 1:"):
        train(replace(config, loss=LossConfig(content=float("inf"))))


def test_a_misspelt_key_names_the_nearest(tmp_path):
    path = Path(__file__).parents[3] / "configs/evp/disentangle.yaml"
    with pytest.raises(ConfigError, match=r"loss\.contnt'; did you mean 'content'"):
        load_config(Config, path, ["loss.contnt=0"])
    with pytest.raises(ConfigError, match=r"sampling is 'papr'.*did you mean 'paper'"):
        load_config(Config, path, ["sampling=papr"])


@pytest.mark.parametrize(
    ("target", "key", "value"),
    [
        ("content", "shift", 3),
        ("content", "label_smoothing", 0.1),
        ("emotion", "head", Audio2LandmarkConfig(hidden=8)),
        ("emotion", "view", "3d"),
        ("emotion", "frames", 32),
        ("emotion", "norm", "l1"),
        ("emotion", "reduction", "element"),
    ],
)
def test_a_key_of_the_other_pretraining_is_refused_by_name(target, key, value):
    with pytest.raises(ConfigError, match=f"^{key} .* target=(?!{target})"):
        pretrain_encoders.Config(RunConfig(out=Path("run")), target, **{key: value})


def test_a_shift_past_the_next_frames_window_is_refused():
    with pytest.raises(ConfigError, match="shift is 4, wanted 0 to 3 rows"):
        pretrain_encoders.Config(RunConfig(out=Path("run")), "emotion", shift=4)


def test_the_emotion_encoders_pretraining_learns_and_resumes(config, corpus, tmp_path):
    cfg = pretrain_encoders.Config(
        run=replace(config.run, batch_size=32),
        target="emotion",
        corpus=corpus.root,
        encoders=SMALL.encoders,
        optim=OptimConfig(2e-3, (0.9, 0.999), clip_norm=1.0),
        val=ValConfig(every=60),
    )
    pretrain_encoders.train(cfg)
    assert rows_of(cfg.run.out)[-1]["held_out_accuracy"] >= 5 / 6  # chance 1/3
    run = replace(cfg.run, out=tmp_path / "stopped", steps=30)
    stopped = replace(cfg, run=run, val=ValConfig("none"))
    pretrain_encoders.train(stopped)
    pretrain_encoders.train(replace(stopped, run=replace(run, steps=60)))
    assert rows_of(stopped.run.out) == [
        row for row in rows_of(cfg.run.out) if "held_out_accuracy" not in row
    ]


def test_the_content_encoders_pretraining_beats_the_mean_face_and_resumes(config, corpus, tmp_path):
    cfg = pretrain_encoders.Config(
        run=replace(config.run, steps=100, save_every=50, batch_size=4),
        target="content",
        corpus=corpus.root,
        encoders=SMALL.encoders,
        head=Audio2LandmarkConfig(identity_dim=8, hidden=32, layers=1, head_hidden=32),
        optim=OptimConfig(5e-3, (0.9, 0.999), clip_norm=1.0),
        val=ValConfig(every=100),
    )
    pretrain_encoders.train(cfg)
    figures = rows_of(cfg.run.out)[-1]
    assert figures["held_out_mouth_ratio"] < 0.6
    assert figures["held_out_mouth_r"] > 0.7
    run = replace(cfg.run, out=tmp_path / "stopped", steps=50)
    stopped = replace(cfg, run=run, val=ValConfig("none"))
    pretrain_encoders.train(stopped)
    pretrain_encoders.train(replace(stopped, run=replace(run, steps=100)))
    assert rows_of(stopped.run.out) == rows_of(cfg.run.out)[:-1]
