"""A2FD's network and losses: the release's sizes, what reaches what, numbers by hand."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from affekt.runtime.config import ConfigError, load_config
from eamm.a2fd.layers import A2fdConfig, A2fdWidths, NormStats
from eamm.a2fd.network import (
    A2fd,
    check_fomm,
    config_for,
    fingerprint,
    load_a2fd,
    lsuv_init,
    save_a2fd_description,
)
from eamm.fomm.blocks import HourglassConfig
from eamm.fomm.keypoints import KeypointConfig, KeypointDetector, Keypoints
from eamm.fomm.model import FommConfig
from eamm.losses import frame_distance, imitation
from train_a2fd import Config

CONFIGS = Path(__file__).parents[3] / "configs/eamm"
KEYPOINTS = KeypointConfig(4, HourglassConfig(8, 32, 2), downscale=2, kernel=3)
NARROW = A2fdWidths(4, 32, (8, 8, 16, 16, 16), 32, 16, 16, 16, 24, 2, 16, 8)
SMALL = A2fdConfig(NARROW, 32, KEYPOINTS)
ONE = NormStats((1.0,) * 6, (1.0,) * 6)


def inputs(B=2, T=5, size=32):
    return torch.rand(B, 3, size, size), 10 * torch.randn(B, T, 28, 12), torch.randn(B, T, 6)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_paper_size_has_the_releases_parameters():
    """Its 38.757243 M, less 3.466904 M of an unused decoder; the heads are the detector's."""
    model = A2fd(A2fdConfig())
    parts = {name: parameters(part) for name, part in model.named_children() if parameters(part)}
    audio = {"audio": 2_141_120, "audio_fc": 25_692_416}
    drawn = {"lstm": 2_365_440, "decoder": 3_481_507, "heads": 85_800}
    assert parts == {"identity": 1_575_936, "pose": 33_920, **audio, **drawn}
    assert sum(parts.values()) - parts["heads"] == 38_757_243 - 3_466_904


def test_the_paper_size_has_the_releases_shapes():
    model = A2fd(A2fdConfig()).eval()
    keypoints, heatmap = model(*inputs(1, 2, 256))
    assert keypoints.value.shape == (1, 2, 10, 2)
    assert keypoints.jacobian.shape == (1, 2, 10, 2, 2)
    assert heatmap.shape == (1, 2, 10, 58, 58)
    torch.testing.assert_close(heatmap.sum(dim=(3, 4)), torch.ones(1, 2, 10))
    assert model.identity(torch.rand(1, 3, 256, 256)).shape == (1, 512, 1, 1)
    assert model.audio(torch.rand(1, 1, 28, 12)).shape == (1, 512, 12, 2)
    assert model.decoder(torch.rand(1, 256, 1, 1)).shape == (1, 35, 64, 64)
    kernels = [part.kernel_size[0] for part in model.decoder if hasattr(part, "kernel_size")]
    assert kernels == [6, 4, 4, 4, 4]
    kinds = Counter(type(part).__name__ for part in model.modules())
    assert (kinds["Conv2d"], kinds["BatchNorm2d"], kinds["ConvTranspose2d"]) == (15, 17, 5)


@pytest.mark.parametrize(("size", "downscale"), [(32, 2), (96, 2), (40, 1), (16, 4)])
def test_the_decoder_fits_other_detectors(size, downscale):
    keypoints = replace(KEYPOINTS, downscale=downscale)
    _, heatmap = A2fd(A2fdConfig(NARROW, size, keypoints)).eval()(*inputs(1, 1, size))
    side = FommConfig(size, keypoints).heatmap_size
    assert heatmap.shape == (1, 1, 4, side, side)


def test_a_feature_map_that_no_doubling_reaches_is_refused():
    with pytest.raises(ValueError, match="feature map has 50 pixels"):
        A2fdConfig(NARROW, 100, KEYPOINTS)


def frame_by_frame(model, source, windows, pose):
    """A2FD with every part called for a single frame; the LSTM carries its state."""
    state, found = None, []
    with torch.no_grad():
        for t in range(windows.shape[1]):
            identity = model.identity(source).flatten(1)
            sound = model.audio_fc(model.audio(windows[:, t, None]).flatten(1))
            code = torch.cat([identity, sound, model.pose(pose[:, t])], dim=1)
            hidden, state = model.lstm(code[:, None], state)
            keypoints, heatmap = model.heads(model.decoder(hidden.reshape(len(source), -1, 1, 1)))
            found.append((*keypoints, heatmap))
    return [torch.stack(part, dim=1) for part in zip(*found, strict=True)]


def test_batching_over_time_gives_what_a_loop_over_frames_gives():
    model = A2fd(SMALL)
    model(*inputs())  # statistics other than 0 and 1
    model.eval()
    given = inputs()
    with torch.no_grad():
        keypoints, heatmap = model(*given)
    for one, two in zip((*keypoints, heatmap), frame_by_frame(model, *given), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)
        assert one.std() > 0


@pytest.mark.parametrize("residual", [False, True])
def test_a_clip_in_parts_gives_what_it_gives_whole(residual, monkeypatch):
    monkeypatch.setattr("eamm.a2fd.network.AT_ONCE", 3)
    model = A2fd(replace(SMALL, widths=replace(NARROW, residual=residual)))
    model(*inputs())
    model.decoder[-1].weight.data.normal_(0, 0.1)
    model.eval()
    given = inputs(1, 8)
    with torch.no_grad():
        whole = model(*given, audio_gain=1.6)[0]
    for part, expected in zip(model.of_clip(*given, audio_gain=1.6), whole, strict=True):
        torch.testing.assert_close(part, expected[0], rtol=1e-5, atol=1e-6)


def test_audio_and_pose_reach_their_frame_and_those_after_it():
    model = A2fd(replace(SMALL, keypoints=replace(KEYPOINTS, temperature=1.0))).eval()
    source, windows, pose = inputs(1, 5)
    before = model(source, windows, pose)[0].value
    for changed in (windows.clone(), pose.clone()):
        changed[:, 2] += 5
        given = (changed, pose) if changed.ndim == 4 else (windows, changed)
        moved = (model(source, *given)[0].value - before).abs().amax(dim=(0, 2, 3))
        assert (moved[:2] == 0).all()
        assert (moved[2:] > 0).all()
    other = model(1 - source, windows, pose)[0].value
    assert ((other - before).abs().amax(dim=(0, 2, 3)) > 0).all()


def test_the_gain_multiplies_the_audio_feature():
    model = A2fd(SMALL).eval()
    source, windows, pose = inputs(1, 3)
    without, deaf = model(source, windows, pose, 0.0)[0], model(source, 2 * windows, pose, 0.0)[0]
    torch.testing.assert_close(without.value, deaf.value)
    loud = model(source, windows, pose, 1.6)[0].value
    last = model.audio_fc[2]
    last.weight.data *= 1.6
    last.bias.data *= 1.6  # a ReLU follows, so that this multiplies the feature
    torch.testing.assert_close(model(source, windows, pose)[0].value, loud)


def test_pose_constants_are_taken_off_before_the_network():
    mean, scale = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (2.0,) * 6
    raw = A2fd(SMALL).eval()
    constant = A2fd(replace(SMALL, pose=NormStats(mean, scale))).eval()
    constant.load_state_dict(raw.state_dict())  # they are no weights
    source, windows, pose = inputs(1, 3)
    given = pose * torch.tensor(scale) + torch.tensor(mean)
    expected = raw(source, windows, pose)[0].value
    torch.testing.assert_close(constant(source, windows, given)[0].value, expected)


def test_a_residual_network_begins_with_the_sources_own_keypoints():
    """And what is the detector's is frozen: no gradient, no statistics, whatever the mode."""
    detector = KeypointDetector(KEYPOINTS)
    detector.heads.jacobian.weight.data.normal_(0, 0.1)
    detector(torch.rand(4, 3, 32, 32))  # statistics other than 0 and 1
    detector.eval()
    model = A2fd(replace(SMALL, widths=replace(NARROW, residual=True)))
    model.start_from(detector)
    source, windows, pose = inputs()
    before = {name: value.clone() for name, value in model.source_features.state_dict().items()}
    keypoints, heatmap = model.train()(source, windows, pose)
    expected, wanted = detector.with_heatmap(source)
    for t in range(5):
        torch.testing.assert_close(keypoints.value[:, t], expected.value)
        torch.testing.assert_close(keypoints.jacobian[:, t], expected.jacobian)
        torch.testing.assert_close(heatmap[:, t], wanted)
    keypoints.value.square().sum().backward()
    assert all(parameter.grad is None for parameter in model.source_features.parameters())
    assert model.decoder[-1].weight.grad.abs().sum() > 0
    after = model.source_features.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_the_heads_begin_as_the_detectors_if_wanted():
    detector = KeypointDetector(KEYPOINTS)
    model = A2fd(SMALL)
    model.start_from(detector, heads=False)
    assert not torch.equal(model.heads.kp.weight, detector.heads.kp.weight)
    model.start_from(detector)
    assert torch.equal(model.heads.kp.weight, detector.heads.kp.weight)


def test_with_lsuv_audio_and_pose_vary_the_lstms_inputs_from_the_start():
    windows, pose = 10 * torch.randn(6, 5, 28, 12), torch.randn(6, 5, 6) * torch.tensor([0.1] * 6)
    model = A2fd(SMALL)
    lsuv_init(model, windows, pose)
    maps = model.audio(windows.flatten(0, 1)[:, None]).flatten(1)
    for layers, given in ((model.audio_fc, maps), (model.pose, pose.flatten(0, 1))):
        first = layers[0](given)
        for units in (first, layers[2](layers[1](first))):
            assert units.mean(dim=0).abs().max() <= 1e-4
            torch.testing.assert_close(units.std(dim=0), torch.ones(units.shape[1]))
    spread = float(model.lstm.weight_ih_l0.detach().std())
    assert spread == pytest.approx((16 + 16 + 32) ** -0.5, rel=0.05)


def test_it_is_read_from_exported_weights(tmp_path):
    model = A2fd(SMALL).eval()
    save_a2fd_description(tmp_path, replace(SMALL, pose=ONE))
    save_file(model.state_dict(), tmp_path / "a2fd.safetensors")
    again = load_a2fd(tmp_path)
    assert not again.training
    assert again.config.pose == ONE
    source, windows, pose = inputs(1, 2)
    wanted = model(source, windows, pose)[0].value
    torch.testing.assert_close(again(source, windows, pose + 1)[0].value, wanted)
    with pytest.raises(FileNotFoundError, match=r"neither a run of train_a2fd\.py nor a folder"):
        load_a2fd(tmp_path / "elsewhere")


def test_another_fomm_is_refused():
    one, two = KeypointDetector(KEYPOINTS), KeypointDetector(KEYPOINTS)
    fomm = FommConfig(32, KEYPOINTS)
    config = config_for(NARROW, fomm, fingerprint(one))
    check_fomm(config, fomm, one)
    check_fomm(replace(config, teacher=None), fomm, two)
    with pytest.raises(ConfigError, match="same sizes, but with other weights"):
        check_fomm(config, fomm, two)
    with pytest.raises(ConfigError, match=r"made for a FOMM of 32 px .* this one has 64 px"):
        check_fomm(config, replace(fomm, size=64), one)


def test_a_distance_is_the_mean_or_the_sum_of_a_frames_numbers():
    predicted = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]])  # one clip of two frames
    truth = torch.tensor([[[0.0, 4.0], [1.0, 0.0]]])
    assert frame_distance(predicted, truth, "norm") == pytest.approx((3 + 1) / 2)
    assert frame_distance(predicted, truth, "mean") == pytest.approx((1.5 + 0.5) / 2)


def test_imitation_by_hand():
    value = torch.zeros(1, 1, 2, 2)
    jacobian = torch.eye(2).expand(1, 1, 2, 2, 2)
    heatmap = torch.tensor([[0.25, 0.25], [0.25, 0.25]]).expand(1, 1, 2, 2, 2)
    truth = value.clone()
    truth[0, 0, 1] = torch.tensor([0.5, -0.25])
    sharp = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).expand(1, 1, 2, 2, 2)
    ours, theirs = (Keypoints(value, jacobian), heatmap), (Keypoints(truth, 3 * jacobian), sharp)
    means = {name: float(term) for name, term in imitation(ours, theirs, "mean").items()}
    assert means == pytest.approx({"value": 0.75 / 4, "jacobian": 1.0, "heatmap": 1.5 / 4})
    sums = {name: float(term) for name, term in imitation(ours, theirs, "norm").items()}
    assert sums == pytest.approx({"value": 0.75, "jacobian": 8.0, "heatmap": 3.0})


@pytest.mark.parametrize(
    ("config", "most"),
    [
        ("a2fd.yaml", 10 * 10 * 2.0),  # lambda_h x keypoints x all of both heatmaps' weight
        ("ablations/a2fd_release.yaml", 1000 * 2 / 58**2),
        ("ablations/a2fd_mean.yaml", 1000 * 2 / 58**2),
        ("a2fd_finetune.yaml", 1000 * 2 / 58**2),
    ],
)
def test_the_heatmap_term_counts_for_as_much_as_paper_and_release_let_it(config, most):
    """Heatmaps of vox-256 that peak in different places are as far apart as two can be."""
    loss = load_config(Config, CONFIGS / config).loss
    ours, theirs = torch.zeros(2, 1, 1, 10, 58, 58)
    ours[..., 20, 20], theirs[..., 40, 40] = 1, 1
    still = Keypoints(torch.zeros(1, 1, 10, 2), torch.zeros(1, 1, 10, 2, 2))
    terms = imitation((still, ours), (still, theirs), loss.reduction)
    assert loss.heatmap * float(terms["heatmap"]) == pytest.approx(most)
    assert float(terms["value"]) == float(terms["jacobian"]) == 0
