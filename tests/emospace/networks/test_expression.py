"""What may influence Phi's coefficients, and the two forms of the intensity token."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emospace.networks.expression import (
    ExpressionNetConfig,
    ExpressionTransformer,
    IntensityToken,
)

SMALL = ExpressionNetConfig(2, 4, 32, 64, mel_rows=4, mel_hidden=48)
C, E = 6, 5


def network(**changes):
    model = ExpressionTransformer(replace(SMALL, **changes), C, E).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


def inputs(B=2, T=7):
    code = torch.nn.functional.normalize(torch.randn(B, C), dim=1)
    return torch.randn(B, T, 4, 80), code, torch.rand(B), torch.randn(B, E)


def test_the_supplements_network_has_eight_layers_of_eight_heads_and_256_numbers():
    model = ExpressionTransformer(ExpressionNetConfig(), 512, 64)
    layers = model.transformer.layers
    assert len(layers) == 8
    assert {layer.attention.num_heads for layer in layers} == {8}
    assert {layer.attention.embed_dim for layer in layers} == {256}
    one = 4 * (256 * 256 + 256) + 2 * 256 * 1024 + 1024 + 256 + 4 * 256
    assert sum(p.numel() for p in layers[0].parameters()) == one


def test_the_token_scales_the_emotion_or_is_the_intensity_alone():
    code, s = torch.randn(2, C), torch.tensor([0.45, 1.0])
    scaled, plain = (IntensityToken(form, C, 8) for form in ("scaled", "plain"))
    emotion = code @ scaled.emotion.weight.T + scaled.emotion.bias
    by_hand = scaled.start + s[:, None] * (scaled.step + emotion)
    torch.testing.assert_close(scaled(s, code, None), by_hand)
    torch.testing.assert_close(plain(s, code, None), plain.start + s[:, None] * plain.step)
    left_out = scaled(s, code, torch.tensor([False, True]))
    torch.testing.assert_close(left_out[0], scaled.start + 0.45 * scaled.step)
    torch.testing.assert_close(left_out[1], by_hand[1])


def test_a_fresh_network_gives_the_mean_expression_in_the_models_units():
    model = ExpressionTransformer(SMALL, C, E).eval()
    mean = np.arange(E, dtype=np.float32)
    model.set_stats((np.zeros(80), np.ones(80)), (mean, np.full(E, 0.5)))
    torch.testing.assert_close(model(*inputs()), torch.from_numpy(mean).expand(2, 7, E))
    torch.testing.assert_close(model.whitened(torch.zeros(E)), -torch.from_numpy(mean) / 0.5)


def test_every_input_reaches_every_frame_and_no_other_clip():
    model, given = network(), inputs()
    before = model(*given)
    for place in range(4):
        changed = [each.clone() for each in given]
        changed[place][0] += 1.0
        moved = (model(*changed) - before).abs().amax(dim=2)
        assert moved[0].min() > 1e-4, place
        assert moved[1].max() == 0


def test_sound_is_normalised_bin_by_bin():
    model, (mel, *others) = network(), inputs()
    mean, std = np.linspace(-8, 2, 80), np.linspace(1, 3, 80)
    plain = model(mel, *others)
    model.set_stats((mean, std), (np.zeros(E), np.ones(E)))
    scaled = mel * torch.from_numpy(std).float() + torch.from_numpy(mean).float()
    torch.testing.assert_close(model(scaled, *others), plain, atol=1e-5, rtol=1e-4)


def test_without_a_code_no_code_matters():
    model, (mel, code, *others) = network(), inputs()
    nobody = torch.zeros(2, dtype=torch.bool)
    free = model(mel, code, *others, nobody)
    torch.testing.assert_close(free, model(mel, -3 * code, *others, nobody))
    half = model(mel, code, *others, torch.tensor([True, False]))
    torch.testing.assert_close(half[1], free[1])
    torch.testing.assert_close(half[0], model(mel, code, *others)[0])
    assert (half[0] - free[0]).abs().max() > 1e-4


def test_codes_and_intensities_over_time_are_those_of_the_clip_where_they_do_not_change():
    model, (mel, code, strength, reference) = network(), inputs()
    over_time = code[:, None].expand(-1, 7, -1), strength[:, None].expand(-1, 7)
    torch.testing.assert_close(
        model(mel, *over_time, reference), model(mel, code, strength, reference)
    )
    other = over_time[0].clone()
    other[:, 3:] *= -1
    moved = (model(mel, other, strength, reference) - model(mel, *inputs()[1:])).abs()
    assert moved.max() > 1e-4


def test_positions_tell_the_frames_apart():
    model, (mel, *others) = network(), inputs()
    same = mel[:, :1].expand(-1, 7, -1, -1)
    out = model(same, *others)
    assert (out[:, 1:] - out[:, :-1]).abs().amax(dim=2).min() > 1e-4


def test_attention_is_the_mean_over_heads_of_every_layer():
    model, given = network(), inputs()
    maps = model.attention(*given)
    assert maps.shape == (2, 2, 8, 8)
    torch.testing.assert_close(maps.sum(dim=3), torch.ones(2, 2, 8))
    # The first layer's by hand
    layer = model.transformer.layers[0]
    seen = []
    layer.attention_norm.register_forward_hook(lambda _, __, out: seen.append(out))
    model(*given)
    weight, bias = layer.attention.in_proj_weight, layer.attention.in_proj_bias
    query, key, _ = (seen[0] @ weight.T + bias).chunk(3, dim=2)
    query, key = (each.unflatten(2, (4, 8)).transpose(1, 2) for each in (query, key))
    by_hand = (query @ key.transpose(2, 3) / 8**0.5).softmax(dim=3).mean(dim=1)
    torch.testing.assert_close(maps[0], by_hand, atol=1e-5, rtol=1e-4)


def test_a_step_of_the_full_size_network_reaches_every_part_of_it():
    model = ExpressionTransformer(ExpressionNetConfig(), 512, 64)
    torch.nn.init.normal_(model.head.weight, std=0.02)
    given = torch.randn(2, 25, 16, 80), torch.randn(2, 512), torch.rand(2), torch.randn(2, 64)
    model(*given, torch.tensor([True, False])).square().mean().backward()
    without = [name for name, each in model.named_parameters() if not each.grad.abs().sum()]
    assert without == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 30}, "width is 30, wanted a multiple of heads, 4"),
        ({"layers": 0}, "layers is 0"),
        ({"mel_rows": 0}, "mel_rows is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)
