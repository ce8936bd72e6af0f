"""The inference form of FOMM draws the pictures of the network it was made from."""

import copy
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eamm.fomm.blocks import HourglassConfig
from eamm.fomm.fast.fast import (
    Convolution,
    ConvOptions,
    FastFomm,
    _warn_once,
    blocked,
    folded,
    interleaved,
    nnpack_convolution,
    nnpack_wins,
    subpixel,
)
from eamm.fomm.generator import GeneratorConfig
from eamm.fomm.keypoints import KeypointConfig, Keypoints
from eamm.fomm.model import Fomm, FommConfig
from eamm.fomm.motion import MotionConfig

LIMIT = 1e-4  # of the difference between pictures in [0, 1]


def pictures(count, size):
    """Return smooth coloured pictures."""
    coarse = torch.rand(count, 3, 6, 6)
    return F.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)


def settled(config):
    """Return a Fomm of random weights whose batch norms have seen pictures."""
    fomm = Fomm(config)
    for module in fomm.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain average
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, 0.0, 0.2)
    nn.init.normal_(fomm.detector.heads.jacobian.weight, std=0.01)
    with torch.no_grad():
        for _ in range(2):
            fomm(pictures(8, config.size), pictures(8, config.size))
    return fomm.eval()


def small_config(align_corners=True, size=64, **generator):
    return FommConfig(
        size=size,
        keypoints=KeypointConfig(3, HourglassConfig(8, 64, 3), downscale=2),
        motion=MotionConfig(HourglassConfig(8, 64, 3), downscale=2),
        generator=GeneratorConfig(**{"channels": 8, "max_channels": 64, "blocks": 2} | generator),
        align_corners=align_corners,
    )


CONFIGS = {
    "plain": small_config(),
    "skips": small_config(skips=True),
    "old grid": small_config(align_corners=False),
    "old grid, skips": small_config(align_corners=False, skips=True),
    "aligned flow, skips": small_config(skips=True, aligned_flow=True),
    "no downsampling": small_config(downsamplings=0),
    "large maps": small_config(size=128, channels=32, downsamplings=1),
}


@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_pictures_are_those_of_the_network(name, winograd):
    fomm = settled(CONFIGS[name])
    source, driving = pictures(1, fomm.config.size), pictures(3, fomm.config.size)
    fast = FastFomm(fomm, winograd=winograd)
    prepared, keypoints = fast.prepare(source), fast.keypoints(source)
    for frame in driving.split(1):
        with torch.no_grad():
            wanted = fomm(source, frame).prediction
        assert wanted.std() > 0.01  # else anything is near it
        found = fast.render(prepared, keypoints, fast.keypoints(frame))
        assert (found - wanted).abs().max() < LIMIT


def test_keypoints_and_their_frames_are_those_of_the_network():
    fomm = settled(small_config())
    frames = pictures(3, 64)
    with torch.no_grad():
        wanted = fomm.detector(frames)
    assert (wanted.jacobian - torch.eye(2)).abs().max() > 0.01
    for found, truth in zip(FastFomm(fomm).keypoints(frames), wanted, strict=True):
        torch.testing.assert_close(found, truth, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("skips", [False, True])
def test_one_source_serves_a_batch_and_so_do_as_many_sources(skips):
    fomm = settled(small_config(skips=skips))
    sources, driving = pictures(3, 64), pictures(3, 64)
    fast = FastFomm(fomm)
    with torch.no_grad():
        own = fomm(sources, driving).prediction
        shared = fomm(sources[:1].expand(3, -1, -1, -1), driving).prediction
    each, one = _drawn(fast, sources, driving), _drawn(fast, sources[:1], driving)
    assert (each - own).abs().max() < LIMIT
    assert (one - shared).abs().max() < LIMIT
    assert (own - shared).abs().max() > 100 * LIMIT


def test_the_network_it_is_made_from_stays_as_it_was_and_may_change_afterwards():
    fomm = settled(small_config())
    before = copy.deepcopy(fomm.state_dict())
    fast = FastFomm(fomm)
    torch.testing.assert_close(dict(fomm.state_dict()), dict(before), rtol=0, atol=0)
    assert all(parameter.requires_grad for parameter in fomm.parameters())
    source = pictures(1, 64)
    drawn = [_drawn(fast, source, source)]
    with torch.no_grad():
        for parameter in fomm.parameters():
            parameter.zero_()
    drawn.append(_drawn(fast, source, source))
    torch.testing.assert_close(*drawn, rtol=0, atol=0)


def _drawn(fast, source, driving):
    return fast.render(fast.prepare(source), fast.keypoints(source), fast.keypoints(driving))


def test_a_network_in_training_is_refused():
    with pytest.raises(ValueError, match="evaluation mode"):
        FastFomm(Fomm(small_config()))


def test_a_size_the_hourglass_cannot_halve_is_refused():
    with pytest.raises(ValueError, match="20x32 pixels, wanted multiples of 8"):
        FastFomm(settled(small_config())).keypoints(torch.rand(1, 3, 64, 40))


def test_bfloat16_stays_near_and_is_no_float32():
    fomm = settled(small_config())
    exact, rough = FastFomm(fomm), FastFomm(fomm, precision="bfloat16")
    source, driving = pictures(1, 64), pictures(4, 64)
    drawn = [_drawn(fast, source, driving) for fast in (exact, rough)]
    assert drawn[1].dtype == torch.float32
    assert 1e-12 < (drawn[0] - drawn[1]).square().mean() < 10 ** (-40 / 10)  # 40 dB


@pytest.mark.parametrize("sides", [(5, 7), (1, 1), (8, 8)])
def test_a_convolution_before_upsampling_is_the_one_after_it_at_borders_too(sides):
    features = torch.rand(2, 3, *sides, dtype=torch.float64)
    weight, bias = torch.rand(4, 3, 3, 3).double(), torch.rand(4).double()
    wanted = F.conv2d(F.interpolate(features, scale_factor=2.0), weight, bias, padding=1)
    phases = F.conv2d(features, subpixel(weight), bias.repeat(4), padding=1)
    torch.testing.assert_close(interleaved(phases), wanted, atol=1e-12, rtol=0)
    last = phases.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(interleaved(last), wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kernel", [3, 7])
def test_four_pixels_at_a_time_are_those_of_the_convolution(kernel):
    features = torch.rand(2, 5, 12, 10, dtype=torch.float64)
    weight = torch.rand(3, 5, kernel, kernel).double()
    wanted = F.conv2d(features, weight, padding=kernel // 2)
    found = F.conv2d(features, blocked(weight), stride=2, padding=kernel // 2)
    torch.testing.assert_close(F.pixel_shuffle(found, 2), wanted, atol=1e-12, rtol=0)


def test_folding_keeps_what_convolution_and_norm_do():
    conv, norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6).eval()
    norm.requires_grad_(False)
    for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        values.uniform_(0.1, 2)
    features = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    weight, bias = folded(conv, norm)
    assert conv.weight.dtype == norm.weight.dtype == torch.float32  # those given stay
    wanted = norm.double()(conv.double()(features))
    torch.testing.assert_close(F.conv2d(features, weight, bias, padding=1), wanted)


@pytest.fixture
def fresh_nnpack():
    """Forget what is cached of NNPACK before and after."""
    nnpack_convolution.cache_clear()
    _warn_once.cache_clear()
    yield
    nnpack_convolution.cache_clear()


def single(weight, bias, padding):
    return Convolution(weight, bias, padding, ConvOptions(nnpack=True))


@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (7, 3), (7, 0)])
def test_nnpack_computes_the_same_convolution(kernel, padding):
    if nnpack_convolution() is None:
        pytest.skip("this torch or this processor has no NNPACK")
    features, weight = torch.rand(1, 40, 48, 41), torch.rand(12, 40, kernel, kernel) - 0.5
    bias = torch.rand(12)
    assert nnpack_wins(features, weight, padding)
    found = single(weight, bias, padding)(features)
    wanted = F.conv2d(features.double(), weight.double(), bias.double(), padding=padding)
    assert (found - wanted).abs().max() < 2e-5 * wanted.abs().max()
    assert not torch.equal(found, F.conv2d(features, weight, bias, padding=padding))


def test_nnpack_is_left_alone_where_it_cannot_or_loses():
    features, weight = torch.rand(1, 64, 32, 32), torch.rand(8, 64, 3, 3)
    assert nnpack_wins(features, weight, 1)
    assert not nnpack_wins(features, weight, 0)  # 30 pixels
    assert not nnpack_wins(features.repeat(2, 1, 1, 1), weight, 1)
    assert not nnpack_wins(features[:, :, ::2], weight, 1)
    assert not nnpack_wins(features[:, :3], weight[:, :3], 1)
    assert not nnpack_wins(features, weight[:, :, :1, :1], 0)
    assert not nnpack_wins(features.double(), weight.double(), 1)


def _broken(*_arguments):
    raise RuntimeError("NNPACK SpatialConvolution_updateOutput failed")


@pytest.mark.parametrize("reason", ["no symbol", "not available", "it fails"])
def test_without_nnpack_torch_convolves(reason, monkeypatch, caplog, fresh_nnpack):
    features, weight, bias = torch.rand(1, 64, 32, 32), torch.rand(8, 64, 3, 3), torch.rand(8)
    wanted = F.conv2d(features, weight, bias, padding=1)
    if reason == "no symbol":
        monkeypatch.delattr(torch, "_nnpack_spatial_convolution", raising=False)
    elif reason == "not available":
        monkeypatch.setattr(torch.backends.nnpack, "is_available", lambda: False)
    else:
        monkeypatch.setattr(torch.backends.nnpack, "is_available", lambda: True)
        monkeypatch.setattr(torch, "_nnpack_spatial_convolution", _broken, raising=False)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            torch.testing.assert_close(single(weight, bias, 1)(features), wanted, rtol=0, atol=0)
    assert len(caplog.records) == (reason == "it fails")  # logged once


def test_nothing_moves_under_equal_keypoints():
    """With the generator's part left out: the flow is the identity."""
    fast = FastFomm(settled(small_config()))
    source = pictures(1, 64)
    still = Keypoints(torch.rand(1, 3, 2) - 0.5, torch.eye(2).expand(1, 3, 2, 2))
    flow = fast.generator.motion.of_small(fast.prepare(source).small, still, still).flow
    x = torch.linspace(-1, 1, 32)
    grid = torch.stack(torch.meshgrid(x, x, indexing="xy"), dim=-1)
    torch.testing.assert_close(flow[0], grid, atol=1e-5, rtol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_cuda_batches_are_drawn_as_on_the_cpu(precision):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    fomm = settled(small_config())
    source, driving = pictures(1, 64), pictures(8, 64)
    with torch.no_grad():
        wanted = fomm(source.expand(8, -1, -1, -1), driving).prediction
    fast = FastFomm(fomm.cuda(), precision=precision)
    found = _drawn(fast, source.cuda(), driving.cuda())
    limit = 5e-3 if precision == "float32" else 0.05  # cuDNN's float32 is TF32 by default
    assert (found.cpu() - wanted).abs().max() < limit
