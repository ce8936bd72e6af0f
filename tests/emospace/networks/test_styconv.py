import pytest
import torch
import torch.nn.functional as F

from emospace.networks.styconv import (
    EPSILON,
    Blur,
    EqualConv,
    EqualLinear,
    ResidualDown,
    StyConv,
    StyleOutput,
    activation,
    doubled,
)

B, INPUTS, OUTPUTS, STYLE, SIDE = 3, 5, 4, 6, 8


def by_modulated_weights(layer, features, style, up):
    """StyleGAN2's definition, picture by picture: weights w s_i over their length, grouped."""
    scales = layer.affine(style)
    weight = (layer.scale * layer.weight)[None] * scales[:, None, :, None, None]
    length = torch.sqrt(weight.square().sum(dim=(2, 3, 4), keepdim=True) + EPSILON)
    weight = weight / length
    flat = features.reshape(1, B * INPUTS, SIDE, SIDE)
    if up:
        grouped = weight.transpose(1, 2).reshape(B * INPUTS, OUTPUTS, 3, 3)
        out = F.conv_transpose2d(flat, grouped, stride=2, groups=B)
        out = layer.blur(out.reshape(B, OUTPUTS, 2 * SIDE + 1, 2 * SIDE + 1))
    else:
        grouped = weight.reshape(B * OUTPUTS, INPUTS, 3, 3)
        out = F.conv2d(flat, grouped, padding=1, groups=B).reshape(B, OUTPUTS, SIDE, SIDE)
    return activation(out + layer.bias[:, None, None])


@pytest.mark.parametrize("up", [False, True])
def test_scaling_features_before_and_after_equals_modulated_and_demodulated_weights(up):
    layer = StyConv(INPUTS, OUTPUTS, STYLE, up)
    torch.nn.init.normal_(layer.bias)
    features, style = torch.randn(B, INPUTS, SIDE, SIDE), 2 * torch.randn(B, STYLE)
    ours, wanted = layer(features, style), by_modulated_weights(layer, features, style, up)
    assert ours.shape == (B, OUTPUTS, SIDE << up, SIDE << up)
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)


def test_demodulation_undoes_the_size_of_a_style_but_not_its_direction():
    layer = StyConv(INPUTS, OUTPUTS, STYLE)
    torch.nn.init.zeros_(layer.affine.bias)
    features, style = torch.randn(B, INPUTS, SIDE, SIDE), torch.randn(B, STYLE)
    torch.testing.assert_close(
        layer(features, 5 * style), layer(features, style), rtol=1e-3, atol=1e-4
    )
    assert not torch.allclose(layer(features, style.flip(0)), layer(features, style), atol=0.1)


@torch.no_grad()
def test_equalised_layers_keep_the_variance_of_their_input():
    numbers, maps = torch.randn(500, 64), torch.randn(8, 32, 16, 16)
    inside = EqualConv(32, 32, (3, 3), padding=1)(maps)[..., 1:-1, 1:-1]
    assert float(EqualLinear(64, 64)(numbers).std()) == pytest.approx(1, abs=0.1)
    assert float(inside.std()) == pytest.approx(1, abs=0.1)
    assert float(activation(numbers).square().mean()) == pytest.approx(1, abs=0.1)
    assert 0.3 < float(ResidualDown(32, 32)(maps).std()) < 1.2  # the blur takes noise away


def test_the_blur_keeps_a_constant_and_bilinear_doubling_is_the_same_blur_inside():
    constant = torch.full((1, 2, 6, 6), 3.0)
    torch.testing.assert_close(Blur(0)(constant), constant[..., :3, :3])
    picture = torch.rand(1, 2, 6, 6)
    spread = torch.zeros(1, 2, 12, 12)
    spread[..., ::2, ::2] = picture
    blurred = Blur(2, gain=4.0)(spread)  # one pixel longer than the picture
    torch.testing.assert_close(doubled(picture)[..., 1:-1, 1:-1], blurred[..., 1:11, 1:11])


def test_a_fresh_output_of_zeros_gives_its_bias_and_learns():
    layer = StyleOutput(INPUTS, (0.5, -1.0), STYLE, zero=True)
    out = layer(torch.randn(B, INPUTS, SIDE, SIDE), torch.randn(B, STYLE))
    assert (out[:, 0] == 0.5).all()
    assert (out[:, 1] == -1).all()
    out.square().sum().backward()
    assert layer.weight.grad.abs().min() > 0
