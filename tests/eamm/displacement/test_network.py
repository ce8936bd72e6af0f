"""The displacement learner's networks and losses, by numbers worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from affekt.media.video.tensors import to_tensor
from eamm.displacement.network import (
    RELEASED_GAINS,
    WEIGHTS,
    Displacement,
    DisplacementConfig,
    DisplacementDescription,
    EmotionExtractor,
    ExtractorConfig,
    apply_displacement,
    displacements,
    emotion_source,
    load_displacement,
    positional_encoding,
    save_displacement_description,
    select,
)
from eamm.fomm.blocks import HourglassConfig
from eamm.fomm.keypoints import Keypoints
from eamm.losses import classification, error_ratios, keypoint_terms

EXTRACTOR = ExtractorConfig(2, HourglassConfig(4, 16, 2), (8, 16), 1)
SMALL = DisplacementConfig(
    keypoints=5,
    keypoint_ids=(3, 1),
    frequencies=2,
    projection=16,
    neutral=8,
    hidden=(16, 16, 64),
    extractor=EXTRACTOR,
)
# What the released emotion network holds and nothing uses (keys/eamm_keys.json), parameters.
DEAD = {
    "fc": 512 * 8 + 8,  # a second classifier
    "fc_n": 60 * 128 + 128 + 128 * 512 + 512,  # keypoints without positional encoding
    "final_4": 2 * (4 * 4 * 3 + 4),
    "final_10": 8 * 4 * 3 + 8 + 10 * 8 * 3 + 10,
}
RELEASE_PARAMETERS = 27_888_092


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def keypoints(*leading, count=5):
    return Keypoints(torch.randn(*leading, count, 2), torch.randn(*leading, count, 2, 2))


def test_the_full_size_network_has_the_releases_parameters_less_its_dead_modules():
    extractor = ExtractorConfig(head="release")
    model = Displacement(DisplacementConfig(head="release", classes=8, extractor=extractor))
    assert parameters(model) + sum(DEAD.values()) == RELEASE_PARAMETERS
    assert sum(DEAD.values()) == 4_104 + 73_856 + 104 + 354
    assert parameters(model.predictor.output) == 10 + 36 + 52
    assert parameters(model.predictor.projection) == 1260 * 1024 + 1024 + 1024 * 512 + 512


def test_the_papers_form_has_an_mlp_on_the_residual_blocks():
    """Supplement A.1: "The subsequent ResBlock and MLP", f_e of 512; and the release's has none."""
    released, paper = (EmotionExtractor(ExtractorConfig(head=head)) for head in ("release", "mlp"))
    assert parameters(paper) - parameters(released) == 2 * (512 * 512 + 512)
    assert parameters(EmotionExtractor(ExtractorConfig())) == parameters(paper)
    small = EmotionExtractor(EXTRACTOR).eval()
    plain = EmotionExtractor(replace(EXTRACTOR, head="release")).eval()
    plain.load_state_dict({n: w for n, w in small.state_dict().items() if "head" not in n})
    frames = torch.rand(2, 3, 16, 16)
    first, last = small.head[0], small.head[2]
    by_hand = (plain(frames) @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias
    torch.testing.assert_close(small(frames), by_hand)


def test_a_full_size_frame_goes_through_the_releases_shapes():
    extractor = EmotionExtractor(ExtractorConfig()).eval()
    seen = []
    for layer in (extractor.down, extractor.hourglass, extractor.stem, *extractor.stages):
        layer.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    with torch.no_grad():
        feature = extractor(torch.rand(1, 3, 256, 256))
    assert seen[:3] == [(3, 64, 64), (35, 64, 64), (64, 32, 32)]
    assert seen[3:] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert feature.shape == (1, 512)


def test_the_extractor_blurs_with_the_releases_fixed_deviation():
    kernel = EmotionExtractor(EXTRACTOR).down.weight[0, 0]
    assert kernel.shape == (13, 13)  # at any downscale
    ratio = kernel[6, 7] / kernel[6, 6]
    torch.testing.assert_close(ratio, torch.tensor(math.exp(-1 / (2 * 1.5**2))))


def test_the_encoding_of_two_numbers_is_the_one_by_hand():
    numbers = torch.tensor([0.5, -1.0])
    sin, cos = math.sin, math.cos
    by_hand = [0.5, -1.0]
    for x, y in ((0.5, -1.0), (1.0, -2.0), (2.0, -4.0)):
        by_hand += [sin(x), sin(y), cos(x), cos(y)]
    torch.testing.assert_close(positional_encoding(numbers, 3), torch.tensor(by_hand))
    assert positional_encoding(torch.zeros(10, 6), 10).shape == (10, 126)
    highest = positional_encoding(torch.full((6,), 0.3), 10)[-12:]
    by_hand = torch.tensor([math.sin(512 * 0.3)] * 6 + [math.cos(512 * 0.3)] * 6)
    torch.testing.assert_close(highest, by_hand, atol=1e-4, rtol=0)


def test_without_encoding_keypoints_enter_as_they_are():
    assert torch.equal(positional_encoding(torch.ones(4, 6), 0), torch.ones(4, 6))
    assert Displacement(replace(SMALL, frequencies=0)).predictor.projection[0].in_features == 30
    assert Displacement(SMALL).predictor.projection[0].in_features == 30 * 5


def test_the_mlp_begins_at_no_displacement():
    value, jacobian = Displacement(SMALL)(torch.rand(2, 3, 16, 16), keypoints(2))
    assert value.shape == (2, 2, 2)
    assert jacobian.shape == (2, 2, 2, 2)
    assert not value.any()
    assert not jacobian.any()


def test_the_releases_head_gives_position_first_then_the_jacobian_by_rows():
    model = Displacement(replace(SMALL, keypoint_ids=(0, 1, 2, 4), head="release")).eval()
    model.predictor.output = Fixed(torch.arange(24.0).reshape(1, 4, 6))
    value, jacobian = model(torch.rand(1, 3, 16, 16), keypoints(1))
    assert value[0, 1].tolist() == [6, 7]
    assert jacobian[0, 1].tolist() == [[8, 9], [10, 11]]


class Fixed(nn.Module):
    """Gives the same whatever it gets, if that has one row of 64 numbers."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def forward(self, hidden):
        assert hidden.shape[1:] == (1, 64)
        return self.out


def test_displacements_follow_the_emotion_and_the_neutral_keypoints():
    model = Displacement(SMALL).eval()
    nn.init.normal_(model.predictor.output.weight)
    frames, neutral = torch.rand(2, 3, 16, 16), keypoints(2)
    value = model(frames, neutral).value
    assert not torch.allclose(model(frames.flip(0), neutral).value, value, atol=1e-6)
    for part in Keypoints._fields:
        other = neutral._replace(**{part: getattr(neutral, part) + 0.3})
        assert not torch.allclose(model(frames, other).value, value, atol=1e-6)
    torch.testing.assert_close(model.predict(model.extractor(frames), neutral).value, value)


def test_only_the_chosen_keypoints_move_in_their_order_and_by_their_gains():
    neutral, offsets = keypoints(4, 3), keypoints(4, 3, count=2)
    moved = apply_displacement(neutral, offsets, (3, 1), (0.5, 2.0))
    for before, after, offset in zip(neutral, moved, offsets, strict=True):
        torch.testing.assert_close(after[:, :, 3], before[:, :, 3] + 0.5 * offset[:, :, 0])
        torch.testing.assert_close(after[:, :, 1], before[:, :, 1] + 2.0 * offset[:, :, 1])
        for still in (0, 2, 4):
            assert torch.equal(after[:, :, still], before[:, :, still])
    plain = apply_displacement(neutral, offsets, (3, 1))
    wanted = neutral.value[..., 3, :] + offsets.value[..., 0, :]
    torch.testing.assert_close(plain.value[..., 3, :], wanted)
    chosen = select(neutral, (3, 1))
    assert torch.equal(chosen.jacobian[..., 0, :, :], neutral.jacobian[..., 3, :, :])


def test_gains_of_another_number_are_refused():
    with pytest.raises(ValueError, match="4 keypoint_gains for 2 keypoint_ids"):
        apply_displacement(keypoints(1), keypoints(1, count=2), (3, 1), RELEASED_GAINS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"keypoint_ids": (1, 5)}, "indices from 0 to 4"),
        ({"keypoint_ids": (1, -1)}, "indices from 0 to 4"),
        ({"keypoint_ids": (1, 1)}, "different indices"),
        ({"keypoint_ids": ()}, "different indices"),
        ({"head": "release"}, "not 2 from 64"),
        ({"head": "release", "keypoint_ids": (0, 1, 2, 3), "hidden": (8, 8, 8)}, "not 4 from 8"),
    ],
)
def test_keypoints_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **wrong)


def test_the_loss_is_the_one_by_hand():
    """Two frames, two keypoints, off by known amounts."""
    teacher = keypoints(2, count=2)
    value = torch.tensor([[[1.0, -2.0], [0, 0]], [[0, 0], [0, 3.0]]])
    jacobian = torch.zeros(2, 2, 2, 2)
    jacobian[0, 1] = torch.tensor([[1.0, 1.0], [-1.0, 5.0]])
    ours = Keypoints(teacher.value + value, teacher.jacobian + jacobian)
    frame = keypoint_terms(ours, teacher, "frame")
    torch.testing.assert_close(frame["value"], torch.tensor((3 + 3) / 2))
    torch.testing.assert_close(frame["jacobian"], torch.tensor(8 / 2))
    means = keypoint_terms(ours, teacher, "keypoint_means")
    torch.testing.assert_close(means["value"], torch.tensor(3 / 4 + 3 / 4))
    torch.testing.assert_close(means["jacobian"], torch.tensor(8 / 8))


def test_the_classification_loss_is_the_mean_cross_entropy():
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    by_hand = (math.log(2) - math.log(3 / 4)) / 2
    torch.testing.assert_close(classification(logits, torch.tensor([1, 0])), torch.tensor(by_hand))


def test_an_error_ratio_is_one_without_displacement_and_zero_at_the_teacher():
    neutral, teacher = keypoints(6), keypoints(6)
    halfway = Keypoints(*((a + b) / 2 for a, b in zip(neutral, teacher, strict=True)))
    for ours, wanted in ((neutral, 1.0), (halfway, 0.5), (teacher, 0.0)):
        ratios = error_ratios(ours, neutral, teacher)
        assert ratios == pytest.approx({"value": wanted, "jacobian": wanted}, abs=1e-5)


def test_an_emotion_sources_mouth_is_hidden_only_where_it_was_in_training():
    frames = np.full((3, 64, 64, 3), 200, np.uint8)
    description = DisplacementDescription(SMALL, size=32)
    shown = emotion_source(frames, description)
    assert shown.shape == (3, 3, 32, 32)
    changed = (shown - 200 / 255).abs().amax(dim=1) > 1e-6
    assert changed.any(dim=0).nonzero().amin(dim=0).tolist() == [20, 11]
    assert torch.equal(shown, emotion_source(frames, description))
    plain = emotion_source(frames, replace(description, mask_mouth=False))
    assert torch.equal(plain, to_tensor(np.full((3, 32, 32, 3), 200, np.uint8)))


def test_a_long_clip_is_displaced_in_pieces_as_a_whole():
    model = Displacement(replace(SMALL, keypoint_ids=(0, 1, 2, 4), head="release")).eval()
    frames, neutral = torch.rand(70, 3, 16, 16), keypoints(70)
    with torch.no_grad():
        pieces = displacements(model, model.extractor(frames), neutral)
        whole = model(frames, neutral)
    torch.testing.assert_close(pieces.value, whole.value)
    torch.testing.assert_close(pieces.jacobian, whole.jacobian)


def test_exported_weights_load_and_a_folder_without_any_names_the_commands(tmp_path):
    model = Displacement(SMALL)
    description = DisplacementDescription(SMALL, 16, (1.0, 0.5))
    save_displacement_description(tmp_path, description)
    save_file(model.state_dict(), tmp_path / WEIGHTS)
    loaded, found = load_displacement(tmp_path)
    assert found == description
    assert not loaded.training
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)
    with pytest.raises(FileNotFoundError, match=r"train_emotion_.*released.importer"):
        load_displacement(tmp_path / "nothing")
