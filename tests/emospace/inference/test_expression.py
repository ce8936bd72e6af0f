"""A clip of any length through windows, blends, guidance, and what is refused."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from affekt.media.audio.mel import mel_rows, mel_windows
from affekt.runtime.config import ConfigError
from emospace.inference.expression import (
    ExpressionDescription,
    ExpressionPredictor,
    blend_windows,
    load_expression_predictor,
    save_expression_description,
    window_starts,
)
from emospace.networks.expression import ExpressionNetConfig, ExpressionTransformer

SIZES = ExpressionNetConfig(2, 4, 32, 64, mel_rows=16, mel_hidden=48)
C, E = 6, 5
DESCRIPTION = ExpressionDescription(
    SIZES, C, E, 25, 8, ("happy", "neutral"), "made up", "ab" * 32, "cd" * 8
)
LENGTHS = (1, 2, 24, 25, 26, 60)


def predictor(**changes):
    torch.manual_seed(0)
    model = ExpressionTransformer(SIZES, C, E).eval()
    torch.nn.init.normal_(model.head.weight)
    return ExpressionPredictor(model, replace(DESCRIPTION, **changes))


def inputs(frames):
    rng = np.random.default_rng(frames)
    mel = rng.normal(-6, 2, (mel_rows(frames), 80)).astype(np.float32)
    code = rng.normal(size=C)
    return mel, code / np.linalg.norm(code), 0.8, rng.normal(size=E)


def local(model):
    """Take from a network all that mixes frames: attention and positions' effect."""
    for layer in model.transformer.layers:
        torch.nn.init.zeros_(layer.attention.out_proj.weight)
    return model


@pytest.mark.parametrize("frames", LENGTHS)
def test_every_length_gives_a_frame_of_expression_for_a_frame_of_sound(frames):
    found = predictor().predict(*inputs(frames))
    assert found.shape == (frames, E)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


@pytest.mark.parametrize("frames", LENGTHS)
def test_windows_give_one_pass_where_the_network_is_local(frames, monkeypatch):
    monkeypatch.setattr(
        "emospace.networks.expression.positions", lambda n, width, device: torch.zeros(n, width)
    )
    one, many = predictor(window=100), predictor()
    local(one.model), local(many.model)
    given = inputs(frames)
    np.testing.assert_allclose(many.predict(*given), one.predict(*given), atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 24, 25])
def test_a_clip_of_a_window_is_the_network_itself(frames):
    found, (mel, code, strength, reference) = predictor(), inputs(frames)
    given = mel_windows(mel, 16), code, strength, reference
    with torch.no_grad():
        plain = found.model(*(torch.tensor(each, dtype=torch.float32)[None] for each in given))
    np.testing.assert_allclose(found.predict(*inputs(frames)), plain[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("overlap", [0, 1, 8, 24])
@pytest.mark.parametrize("frames", [25, 26, 42, 43, 60, 61])
def test_windows_cover_a_clip_and_overlap_enough(frames, overlap):
    starts = window_starts(frames, 25, overlap)
    assert starts[0] == 0
    assert starts[-1] == frames - 25
    assert all(0 < b - a <= 25 - overlap for a, b in itertools.pairwise(starts))


def test_two_windows_fade_into_each_other_by_hand():
    """Windows of 5 frames that overlap by 2: weights 2/3 and 1/3, then 1/3 and 2/3."""
    windows = np.stack([np.full((5, 1), 3.0), np.full((5, 1), 6.0)])[None]
    track = blend_windows(windows, [0, 3], 8, 2)[0, :, 0]
    np.testing.assert_allclose(track, [3, 3, 3, 4, 5, 6, 6, 6], rtol=1e-6)


def test_guidance_of_1_is_none_of_0_is_free_and_in_between_is_linear():
    found, given = predictor(), inputs(40)
    plain, free = found.predict(*given), found.predict(*given, guidance=0.0)
    assert np.array_equal(found.predict(*given, guidance=1.0), plain)
    mel, code, strength, reference = given
    other = found.predict(mel, -code, strength, reference, guidance=0.0)
    assert np.array_equal(free, other)  # no code enters it
    assert np.abs(free - plain).max() > 1e-3
    doubled = found.predict(*given, guidance=2.0)
    np.testing.assert_allclose(doubled, 2 * plain - free, atol=1e-5)


def test_many_codes_at_once_are_one_by_one():
    found, (mel, code, _, reference) = predictor(), inputs(60)
    codes, strengths = np.stack([code, -code, code]), np.array([1.0, 0.5, 0.45])
    together = found.predict_codes(mel, codes, strengths, reference)
    for one, each, strength in zip(together, codes, strengths, strict=True):
        np.testing.assert_allclose(one, found.predict(mel, each, strength, reference), atol=1e-5)


def test_a_code_may_change_over_time():
    found, (mel, code, _, reference) = predictor(), inputs(60)
    track = np.where(np.arange(60)[:, None] < 30, code, -code)
    strengths = np.linspace(0.2, 1, 60)
    changing = found.predict(mel, track, strengths, reference)
    held = found.predict(mel, np.repeat(code[None], 60, axis=0), np.full(60, 0.8), reference)
    np.testing.assert_allclose(held, found.predict(mel, code, 0.8, reference), atol=1e-5)
    assert np.abs(changing[40:] - held[40:]).max() > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mel": np.zeros((9, 40))}, r"log-mel has shape \(9, 40\), wanted \(2 or more, 80\)"),
        ({"mel": np.zeros((1, 80))}, r"shape \(1, 80\)"),
        ({"code": np.zeros(7)}, r"shape \(1, 7\), wanted \(6,\) each: they come from another"),
        ({"reference": np.zeros(4)}, r"shape \(4,\), wanted \(5,\): it is of another face model"),
        ({"intensity": np.ones(9)}, "9 intensities over time for 25 frames"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    names = ("mel", "code", "intensity", "reference")
    given = dict(zip(names, inputs(25), strict=True)) | change
    with pytest.raises(ValueError, match=message):
        predictor().predict(**given)


def test_another_face_model_or_emotion_space_is_refused():
    found = predictor()
    shared = SimpleNamespace(root="data/x", name="other", sha256="12" * 32)
    with pytest.raises(ConfigError, match=r"coefficients of other .*121212.*made up"):
        found.check_face_model(shared)
    found.check_face_model(SimpleNamespace(root="", name="", sha256="ab" * 32))
    with pytest.raises(ConfigError, match="emotion space cdcdcdcd"):
        found.check_space(torch.nn.Linear(2, 2))


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expression.yaml is missing; name the run"):
        load_expression_predictor(tmp_path)
    save_expression_description(tmp_path, DESCRIPTION)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_expression_predictor(tmp_path)
