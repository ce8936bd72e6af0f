"""Stage 2: what may influence a face, and the stage end to end on made-up speech."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from affekt.media.validation import ValConfig
from affekt.runtime.files import DamagedFileError
from affekt.runtime.training.optim import OptimConfig
from evp.inference.emotion_codes import clip_codes
from evp.inference.predict import predict_clips
from evp.landmark_space import LandmarkSpace, fit_space, flatten, load_space, unflatten
from evp.networks.audio2lm import (
    Audio2Landmark,
    Audio2LandmarkConfig,
    load_predictor,
    predict_faces,
    predict_landmarks,
)
from evp.networks.encoders import (
    Encoders,
    encode,
    load_encoders,
)
from evp.validation import landmark_metrics
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.short_run import resumed, same, short_run
from tests.corpora.spoken_corpus import make_corpus
from tests.corpora.tiny_evp import SIZES, write_encoders
from train_audio2lm import Config, LandmarkLossConfig, train

SMALL = Audio2LandmarkConfig(identity_dim=8, hidden=32, layers=1, head_hidden=32, components=4)
IN_SPACE = replace(SMALL, output="components")


def space_of(count=2):
    rng = np.random.default_rng(0)
    neutral = rng.uniform(0.2, 0.8, (count, 136)).astype(np.float32)
    basis = np.linalg.qr(rng.normal(size=(136, 4)))[0].T.astype(np.float32)
    return LandmarkSpace(("M901", "W902")[:count], neutral, neutral, basis, np.ones(4, np.float32))


def inputs(B=2, T=6):
    return torch.randn(B, T, 5), torch.randn(B, T, 3), torch.rand(B, 136)


def test_the_papers_network_has_f_a_of_256_three_lstm_layers_and_a_two_layer_head():
    model = Audio2Landmark(Audio2LandmarkConfig(), 256 + 128)
    lstm = 4 * 256 * ((256 + 384) + 256 + 2 + 2 * (256 + 256 + 2))
    assert sum(p.numel() for p in model.lstm.parameters()) == lstm
    assert sum(p.numel() for p in model.head.parameters()) == 256 * 256 + 256 + 256 * 136 + 136
    assert model.identity[2].out_features == 256


def test_identity_enters_only_through_the_neutral_face():
    model = Audio2Landmark(SMALL, 8, space_of()).eval()
    content, emotion, neutral = inputs()
    assert not torch.allclose(  # f_a lets a speaker move in a way of its own
        model(content, emotion, neutral + 0.1) - (neutral + 0.1)[:, None],
        model(content, emotion, neutral) - neutral[:, None],
    )
    with torch.no_grad():
        model.identity[2].weight.zero_()  # without f_a, the neutral face is only added back
    moved = model(content, emotion, neutral + 0.1) - model(content, emotion, neutral)
    torch.testing.assert_close(moved, torch.full((2, 6, 136), 0.1))


def test_a_face_does_not_depend_on_later_sound_beyond_its_window():
    encoders = Encoders(SIZES).eval()
    model = Audio2Landmark(SMALL, 32, space_of()).eval()
    mfcc = 10 * np.random.default_rng(0).normal(size=(4 * 20 + 24, 13)).astype(np.float32)
    changed = mfcc.copy()
    changed[4 * 9 + 28 :] += 20  # what frame 9 does not hear: its window ends before this row
    code, neutral = np.zeros(16), np.full((68, 2), 128.0)
    given = _windows(mfcc), _windows(changed)
    before, after = (predict_landmarks(model, encoders, each, code, neutral) for each in given)
    np.testing.assert_array_equal(before[:10], after[:10])
    assert np.abs(before[10:] - after[10:]).max() > 0


def _windows(mfcc):
    return np.lib.stride_tricks.sliding_window_view(mfcc[:, 1:], 28, axis=0)[::4].swapaxes(1, 2)


def test_a_whole_clip_at_once_is_frame_by_frame():
    encoders = Encoders(SIZES).eval()
    model = Audio2Landmark(SMALL, 32, space_of()).eval()
    windows = 10 * np.random.default_rng(0).normal(size=(9, 28, 12)).astype(np.float32)
    code, neutral = np.random.default_rng(1).random(16), np.full((68, 2), 128.0)
    whole = predict_landmarks(model, encoders, windows, code, neutral)

    state, faces = None, []
    face = torch.from_numpy(flatten(neutral))[None]
    identity = model.identity((face - model.mean_L) / (4 / 256))
    for window in windows:
        content = encode(encoders.content, torch.from_numpy(window[None]))
        joined = torch.cat([identity, content, torch.from_numpy(code).float()[None]], dim=1)
        hidden, state = model.lstm(joined[:, None], state)
        faces.append((face + 4 / 256 * model.head(hidden)[:, 0]).detach().numpy())
    np.testing.assert_allclose(whole, unflatten(np.concatenate(faces)), atol=1e-3)


def test_component_outputs_stay_in_the_training_motion():
    space = space_of()
    model = Audio2Landmark(IN_SPACE, 8, space)
    content, emotion, neutral = inputs()
    motion = (model(content, emotion, neutral) - neutral[:, None]).detach().numpy()
    np.testing.assert_allclose(motion @ space.basis.T @ space.basis, motion, atol=1e-5)
    assert np.abs(motion).max() > 1e-3


def test_an_emotion_code_of_another_run_is_refused():
    encoders, model = Encoders(SIZES), Audio2Landmark(SMALL, 32, space_of())
    with pytest.raises(ValueError, match=r"shape \(128,\), wanted \(16,\) or \(3, 16\)"):
        predict_landmarks(model, encoders, np.zeros((3, 28, 12)), np.zeros(128), np.zeros((68, 2)))


# The stage on made-up speech


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("spoken"), frames=30, pairs=False)


@pytest.fixture
def config(corpus, tmp_path):
    return Config(
        run=short_run(tmp_path / "run", steps=160, batch_size=4, save_every=80),
        corpus=corpus.root,
        encoders=write_encoders(tmp_path / "stage1", corpus, SIZES),
        content_encoder="finetune",
        emotion_encoder="finetune",
        emotion_from="other_clip",
        model=SMALL,
        optim=OptimConfig(1e-2, (0.9, 0.999), clip_norm=1.0, schedule="one_cycle"),
        val=ValConfig(every=160),
    )


@pytest.mark.parametrize(("model", "steps"), [(SMALL, 160), (IN_SPACE, 320)])
def test_it_learns_faces_of_held_out_sentences(config, corpus, model, steps):
    # Few outputs find the mouth behind the stronger brows later than many do.
    run = replace(config.run, steps=steps)
    config = replace(config, model=model, run=run, val=ValConfig(every=steps))
    train(config)
    figures = rows_of(config.run.out)[-1]
    assert figures["val_mouth_ratio"] < 0.6  # 1 is the speaker's mean face
    assert figures["val_mouth_r"] > 0.7
    assert (config.run.out / f"pictures/faces_{steps:09d}.png").exists()

    predictor = load_predictor(config.run.out)

    def neutral(clip):
        return unflatten(predictor.space.neutral_of(clip.speaker))

    def predict(clip):
        code = clip_codes(predictor.encoders.emotion, [clip])[0]
        networks = predictor.model, predictor.encoders
        return predict_landmarks(*networks, clip.windows(), code, neutral(clip))

    clips = corpus.clips(split="test_sentence")
    again = landmark_metrics(predict, clips, predictor.space, predictor.view)
    assert again["val_mouth_px"] == pytest.approx(figures["val_mouth_px"], abs=1e-3)
    shuffled = {clip.id: other for clip, other in zip(clips, clips[1:] + clips[:1], strict=True)}

    def predict_another(clip):
        other = shuffled[clip.id]
        return predict(other) - neutral(other) + neutral(clip)

    wrong = landmark_metrics(predict_another, clips, predictor.space, "2d")
    assert again["val_mouth_px"] < 0.8 * wrong["val_mouth_px"]


def test_a_frozen_encoder_keeps_weights_and_batch_statistics(config):
    steps = replace(config.run, steps=3, save_every=3)
    tuned = replace(config, run=replace(steps, out=steps.out / "tuned"), val=ValConfig("none"))
    frozen = {"content_encoder": "frozen", "emotion_encoder": "frozen", "emotion_from": "window"}
    train(replace(tuned, run=steps, **frozen))
    before = load_encoders(config.encoders).state_dict()
    assert same(load_encoders(steps.out).state_dict(), before)

    train(tuned)
    after = load_encoders(tuned.run.out).state_dict()
    for part in ("content", "emotion"):
        for name in ("dense.0.weight", "convolutions.0.1.running_mean"):
            assert not torch.equal(after[f"{part}.{name}"], before[f"{part}.{name}"])


@pytest.mark.parametrize(
    ("emotion_from", "kind"), [("window", "window"), ("clip", "clip"), ("other_clip", "clip")]
)
def test_the_emotion_code_is_validated_and_used_as_it_was_trained(
    config, corpus, emotion_from, kind
):
    run = replace(config.run, steps=40, save_every=40)
    train(replace(config, run=run, emotion_from=emotion_from, val=ValConfig(every=40)))
    predictor = load_predictor(run.out)
    assert predictor.emotion_code == kind
    clips = corpus.clips(split="test_sentence")
    space, view = predictor.space, predictor.view

    def mouth_px(used):
        faces = predict_clips(replace(predictor, emotion_code=used), clips)
        return landmark_metrics(lambda clip: faces[clip.id], clips, space, view)["val_mouth_px"]

    figures = rows_of(run.out)[-1]
    assert mouth_px(kind) == pytest.approx(figures["val_mouth_px"], abs=1e-5)
    other = "clip" if kind == "window" else "window"
    assert abs(mouth_px(other) - figures["val_mouth_px"]) > 5e-5  # emotion hardly moves a mouth


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_continues_bit_for_bit(config, workers):
    run = replace(config.run, steps=6, save_every=3, workers=workers)
    loss, val = LandmarkLossConfig(velocity=0.5), ValConfig("none")
    config = replace(config, run=run, optim=OptimConfig(1e-3), loss=loss, val=val)
    out = resumed(train, config, stop=3)
    assert {"position", "velocity", "total"} <= set(rows_of(out)[0])
    assert same(*(load_predictor(each).model.state_dict() for each in (out, run.out)))


@pytest.mark.parametrize("emotion_from", ["window", "clip", "other_clip"])
def test_cached_codes_of_frozen_encoders_give_the_losses_of_encoding_each_batch(
    config, emotion_from, monkeypatch
):
    frozen = {"content_encoder": "frozen", "emotion_encoder": "frozen", "val": ValConfig("none")}
    config = replace(config, emotion_from=emotion_from, optim=OptimConfig(1e-3), **frozen)
    run = replace(config.run, steps=6, save_every=3)
    train(replace(config, run=run))
    cached = replace(config, run=replace(run, out=run.out / "cached"), cache_codes=True)
    out = resumed(train, cached, stop=3)
    for one, other in zip(rows_of(run.out), rows_of(out), strict=True):
        assert other == pytest.approx(one, rel=1e-4)
    predictors = [load_predictor(each) for each in (run.out, out)]
    assert same(*(each.encoders.state_dict() for each in predictors))
    with pytest.raises(ValueError, match="cached codes are those of encoders that stay"):
        replace(cached, emotion_encoder="finetune")


def test_velocity_of_weight_0_is_not_computed(config, monkeypatch):
    monkeypatch.setattr("train_audio2lm.velocity", None)
    train(replace(config, run=replace(config.run, steps=1), val=ValConfig("none")))
    assert "velocity" not in rows_of(config.run.out)[0]


def test_a_run_without_checkpoints_is_no_predictor(config, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"space.npz is missing.*train_audio2lm.py"):
        load_predictor(config.encoders)


def test_a_neutral_face_gives_the_coordinates_back():
    faces = np.random.default_rng(0).uniform(0, 256, (3, 68, 2))
    np.testing.assert_allclose(unflatten(flatten(faces)), faces, atol=1e-4)
    assert flatten(faces)[1, 2 * 30 + 1] == pytest.approx(faces[1, 30, 1] / 256, rel=1e-6)


def test_an_empty_emotion_code_serves_a_network_without_emotion(corpus):
    space = fit_space(corpus, "2d", 4)
    encoder = Encoders(SIZES).content
    model = Audio2Landmark(SMALL, SIZES.content.dim, space)
    faces = predict_faces(model, encoder, np.zeros((5, 28, 12)), np.zeros(0), space.neutral[0])
    assert faces.shape == (5, 68, 2)
    assert np.abs(faces - unflatten(space.neutral[0])).max() < 20  # a fresh network moves by pixels


def test_a_landmark_space_without_its_speakers_is_damaged(tmp_path):
    path = tmp_path / "landmark_space.npz"
    np.savez(path, neutral=np.zeros((1, 136)))
    with pytest.raises(DamagedFileError, match=r"landmark_space\.npz has no.*train_audio2lm\.py"):
        load_space(path)
