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
from affekt.runtime.config import ConfigError
from affekt.runtime.files import read_json, read_jsonl, write_jsonl
from affekt.runtime.run import RunConfig, restore
from affekt.runtime.training.optim import OptimConfig
from evp.data.quads import SCHEMES, Quads
from evp.losses import DisentanglementLossConfig as LossConfig
from evp.losses import disentanglement_losses, needed_of_quads
from evp.networks.audio2lm import Audio2LandmarkConfig
from evp.networks.disentangle import Disentanglement, DisentanglementConfig
from evp.networks.encoders import AudioDecoderConfig, load_encoders
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.short_run import parts_of, resumed, same, short_run
from tests.corpora.spoken_corpus import make_corpus
from tests.corpora.tiny_evp import SIZES
from train_disentangle import Config, train

SMALL = DisentanglementConfig(SIZES, AudioDecoderConfig((32, 16, 8, 8)))
NEUTRAL = torch.zeros(1, 4, dtype=torch.long)
RECONSTRUCTIONS = {"cross_reconstruction": 0.0, "self_reconstruction": 0.0}
ONE_TERM = {**RECONSTRUCTIONS, "classification": 0.0}


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
    terms = losses(model, windows, NEUTRAL, LossConfig(classification=0), scheme)
    assert (terms["self_reconstruction"], terms["cross_reconstruction"]) == (0, 0)
    assert terms["content"] == 0


def test_eq_2_and_3_sum_two_norms_that_a_leak_makes_large():
    model, windows = by_hand("paper", QUADS["paper"])
    model.encoders.content = Part(1)  # a content code that holds the emotion alone
    loss = LossConfig(classification=0)
    terms = losses(model, windows, NEUTRAL, loss)
    root12 = 12**0.5
    # self: (10, 10) for (1, 10), (20, 20) for (2, 20); cross: (10, 20) for (1, 20), (20, 10) for
    # (2, 10); each l2 over twelve columns.
    assert terms["self_reconstruction"].item() == pytest.approx((9 + 18) * root12)
    assert terms["cross_reconstruction"].item() == pytest.approx((9 + 18) * root12)
    # eq. 5: |10 - 20| over twelve channels for each of two contents.
    assert terms["content"].item() == pytest.approx(2 * 12 * 10)
    guarded = losses(model, windows, NEUTRAL, replace(loss, content_loss="normalised"))
    assert guarded["content"] > 1e6  # contents are not told apart at all


def test_classification_sums_both_encoded_quad_with_their_labels():
    model, windows = by_hand("paper", QUADS["paper"])
    model.classifier = nn.Linear(12, 3)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
    terms = losses(model, windows, torch.tensor([[0, 2, 0, 2]]), LossConfig())
    chances = torch.tensor([0.0, 1.0, 2.0]).log_softmax(0)
    assert terms["classification"].item() == pytest.approx(-float(chances[0] + chances[2]))


def counted(loss, scheme="paper"):
    """How many windows E_c, E_e and D handle for a batch of 5 quads, and the terms returned."""
    model = Disentanglement(SMALL, 3)
    parts = (model.encoders.content, model.encoders.emotion, model.decoder)
    seen = [0, 0, 0]
    for place, part in enumerate(parts):

        def count(_, inputs, __, place=place):
            seen[place] += inputs[0].shape[:-2].numel() if place < 2 else len(inputs[0])

        part.register_forward_hook(count)
    terms = losses(model, 10 * torch.randn(5, 4, 28, 12), torch.randint(3, (5, 4)), loss, scheme)
    return tuple(seen), set(terms)


ALL = {"self_reconstruction", "cross_reconstruction", "classification", "content", "content_spread"}


@pytest.mark.parametrize(
    ("weights", "windows", "missing"),
    [
        ({}, (20, 10, 20), set()),
        ({"cross_reconstruction": 0}, (20, 10, 10), {"cross_reconstruction"}),
        ({"self_reconstruction": 0}, (20, 10, 10), {"self_reconstruction"}),
        ({"content": 0}, (10, 10, 20), {"content"}),
        ({"classification": 0}, (20, 10, 20), {"classification"}),
        (RECONSTRUCTIONS, (20, 10, 0), {*RECONSTRUCTIONS}),
        ({**ONE_TERM, "content": 1.0}, (20, 0, 0), {*ONE_TERM}),
    ],
)
def test_a_term_of_weight_0_is_not_computed(weights, windows, missing):
    assert counted(LossConfig(**weights)) == (windows, ALL - missing)


def test_release_sampling_encodes_two_contents_and_two_other_emotions():
    assert counted(LossConfig(), "release") == ((10, 10, 20), ALL)


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
    return Config(
        run=short_run(tmp_path / "run", steps=60, batch_size=8, save_every=30),
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
        run=replace(config.run, steps=400, batch_size=16),
        optim=OptimConfig(1e-2, (0.9, 0.999), clip_norm=1.0, schedule="one_cycle"),
        loss=LossConfig(classification=5.0, reduction="element", content_loss="normalised"),
        val=ValConfig(every=400),
    )
    train(config)
    model = trained(config, corpus)
    data = Quads(corpus, "test_sentence", "paper", seed=1)
    windows = torch.stack([data[draw]["windows"] for draw in range(120)])
    with torch.no_grad():
        content, emotion = model.encoders.content, model.encoders.emotion
        crossed = model.decoder(content(windows[:, 0]), emotion(windows[:, 1]))
    error = (crossed - windows[:, 3]).flatten(1).norm(dim=1).mean()
    seen = Quads(corpus, "train", "paper", 1)
    mean_window = torch.stack([seen[draw]["windows"][0] for draw in range(200)]).mean(0)
    assert error < 0.65 * (mean_window - windows[:, 3]).flatten(1).norm(dim=1).mean()
    assert rows_of(config.run.out)[-1]["val_accuracy"] >= 5 / 6  # chance 1/3
    assert (config.run.out / "pictures/windows_000000400.png").exists()
    assert rows_of(config.run.out)[-2]["content_spread"] > 0.5


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_continues_bit_for_bit(config, corpus, workers):
    run = replace(config.run, steps=8, save_every=4, workers=workers)
    config = replace(config, run=run, val=ValConfig("none"), shift=3)
    one, two = parts_of(resumed(train, config, stop=4)), parts_of(run.out)
    networks = ("content_encoder", "emotion_encoder", "decoder", "classifier")
    assert all(same(one[name], two[name]) for name in networks)


def one_step(config, target, out):
    """A pretraining of a single step, which is not measured."""
    run = replace(config.run, steps=1, save_every=1, out=out)
    sizes = {"encoders": SMALL.encoders, "val": ValConfig("none")}
    return pretrain_encoders.Config(run=run, target=target, corpus=config.corpus, **sizes)


def test_pretrained_encoders_and_classifier_are_where_it_starts(config, corpus, tmp_path):
    for target in ("emotion", "content"):
        pretrain_encoders.train(one_step(config, target, tmp_path / target))
    model = Disentanglement(SMALL, 3)
    config = replace(config, content_from=tmp_path / "content", emotion_from=tmp_path / "emotion")
    train_disentangle.start_from_pretrained(config, model, corpus)
    kept = parts_of(tmp_path / "emotion")
    assert torch.equal(model.classifier.weight, kept["classifier"]["weight"])
    assert same(model.encoders.emotion.state_dict(), kept["emotion_encoder"])
    kept = parts_of(tmp_path / "content")["content_encoder"]
    assert same(model.encoders.content.state_dict(), kept)
    with pytest.raises(ValueError, match="holds the emotion encoder alone"):
        load_encoders(tmp_path / "emotion")


def test_pretraining_on_other_emotions_is_refused(config, tmp_path):
    pretrain_encoders.train(one_step(config, "emotion", tmp_path / "pre"))
    other = make_corpus(tmp_path / "other", speakers=("M901",), sentences=2, frames=10)
    info = {**other.info, "emotions": ["neutral", "happy", "angry"]}
    (other.root / "corpus.json").write_text(json.dumps(info))
    config = replace(config, corpus=other.root, emotion_from=tmp_path / "pre")
    with pytest.raises(ValueError, match=r"emotions angry, happy, neutral, but .* lists neutral"):
        train(replace(config, val=ValConfig("none")))


def test_pairs_of_another_aligner_are_refused_and_the_runs_record_says_which(
    config, corpus, tmp_path, caplog
):
    short = replace(config, run=replace(config.run, steps=1, save_every=1), val=ValConfig("none"))
    path = corpus.root / "pairs/pairs.jsonl"
    message = (
        f"the pairs of {path} are by the aligner speech, and aligner is 'dtw'; run python -m "
        f"data_prep.pairs {corpus.root} --aligner dtw, or set aligner=null, which takes any"
    )
    with pytest.raises(ConfigError) as refused:
        train(replace(short, aligner="dtw"))
    assert str(refused.value) == message
    assert not short.run.out.exists()
    for out, aligner in (("any", None), ("speech", "speech")):
        run = replace(short.run, out=tmp_path / out)
        train(replace(short, run=run, aligner=aligner))
        assert read_json(run.out / "run.json")["starts"][-1]["aligner"] == "speech"
    # pairs made before they said so
    kept, record = path.read_text(), path.with_name("pairs.json").read_text()
    path.with_name("pairs.json").unlink()
    write_jsonl(path, [{k: v for k, v in r.items() if k != "aligner"} for r in read_jsonl(path)])
    try:
        train(replace(short, aligner="dtw"))
    finally:
        path.write_text(kept)
        path.with_name("pairs.json").write_text(record)
    assert read_json(short.run.out / "run.json")["starts"][-1]["aligner"] == "unknown"
    assert "does not say which aligner made it, wanted dtw" in caplog.text


def test_a_corpus_without_pairs_names_the_command_and_leaves_no_run(config, tmp_path):
    bare = make_corpus(tmp_path / "bare", speakers=("M901",), sentences=2, frames=10, pairs=False)
    with pytest.raises(FileNotFoundError, match=r"run python -m data_prep.pairs for .*bare"):
        train(replace(config, corpus=bare.root))
    assert not config.run.out.exists()


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


def stopped_and_resumed(cfg, out):
    """Train half-way, without validation, and on: but for the validation's line the same log."""
    stopped = replace(cfg, run=replace(cfg.run, out=out), val=ValConfig("none"))
    pretrain_encoders.train(replace(stopped, run=replace(stopped.run, steps=cfg.run.steps // 2)))
    pretrain_encoders.train(stopped)
    assert rows_of(out) == rows_of(cfg.run.out)[:-1]


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
    assert rows_of(cfg.run.out)[-1]["val_accuracy"] >= 5 / 6  # chance 1/3
    stopped_and_resumed(cfg, tmp_path / "stopped")


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
    assert figures["val_mouth_ratio"] < 0.6
    assert figures["val_mouth_r"] > 0.7
    stopped_and_resumed(cfg, tmp_path / "stopped")
