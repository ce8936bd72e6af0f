"""FOMM's networks: sizes of the release, and the properties that the paper's pictures rest on."""

from dataclasses import replace

import pytest
import torch

from affekt.nets.warp import warp_by_grid
from eamm.fomm.blocks import (
    AntiAlias,
    ConvBlock,
    Hourglass,
    HourglassConfig,
    coordinate_grid,
    gaussians,
)
from eamm.fomm.discriminator import Discriminator, DiscriminatorConfig
from eamm.fomm.generator import Generator, GeneratorConfig
from eamm.fomm.keypoints import KeypointConfig, KeypointHeads, Keypoints, invert
from eamm.fomm.model import Fomm, FommConfig, load_fomm, save_fomm_description
from eamm.fomm.motion import DenseMotion, MotionConfig, sparse_motions

SMALL = FommConfig(
    size=32,
    keypoints=KeypointConfig(3, HourglassConfig(4, 16, 2), downscale=2, kernel=3),
    motion=MotionConfig(HourglassConfig(4, 16, 2), downscale=2, kernel=3),
    generator=GeneratorConfig(4, 16, 1, 1),
)
STILL = Keypoints(torch.zeros(2, 3, 2), torch.eye(2).expand(2, 3, 2, 2))


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.fixture(scope="module")
def vox256():
    with torch.device("meta"):
        return Fomm(FommConfig())


def test_vox_256_has_the_releases_parameters(vox256):
    assert count(vox256.generator) == pytest.approx(45.575e6, abs=500)
    assert count(vox256.detector) == pytest.approx(14.215e6, abs=500)
    with torch.device("meta"):
        assert count(Discriminator(10, DiscriminatorConfig())) == pytest.approx(2.759e6, abs=500)
    assert FommConfig().heatmap_size == 58


def test_vox_256_has_the_shapes_of_the_releases_tables(vox256):
    frames = torch.zeros(1, 3, 256, 256, device="meta")
    keypoints, heatmap = vox256.detector.with_heatmap(frames)
    assert heatmap.shape == (1, 10, 58, 58)
    assert vox256.detector.features(frames).shape == (1, 35, 64, 64)
    assert vox256.generator.motion.hourglass.out_channels == 108
    generated = vox256.generator(frames, keypoints, keypoints)
    assert generated.prediction.shape == generated.deformed.shape == (1, 3, 256, 256)
    assert generated.motion.mask.shape == (1, 11, 64, 64)
    assert vox256.generator.encode(frames).features[-1].shape == (1, 256, 64, 64)
    with torch.device("meta"):
        found = Discriminator(10, DiscriminatorConfig()).scales[0](frames)
    assert found.logits.shape == (1, 1, 26, 26)
    assert [f.shape[1] for f in found.features] == [64, 128, 256, 512]


@pytest.mark.parametrize(("factor", "taps"), [(2, 5), (4, 13), (8, 29)])
def test_the_anti_alias_kernel_is_a_mean_of_the_releases_size(factor, taps):
    kernel = AntiAlias(3, factor).weight
    assert kernel.shape == (3, 1, taps, taps)
    assert kernel.sum(dim=(1, 2, 3)) == pytest.approx(torch.ones(3), abs=1e-6)
    assert torch.equal(kernel, kernel.flip(2).flip(3))
    middle, next_one = kernel[0, 0, taps // 2, taps // 2 : taps // 2 + 2]
    sigma = (factor - 1) / 2
    assert next_one / middle == pytest.approx(torch.tensor(-0.5 / sigma**2).exp().item(), rel=1e-5)


def test_anti_alias_keeps_every_nth_pixel_from_the_first():
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    small = AntiAlias(1, 4)(ramp)
    assert small.shape == (1, 1, 8, 8)
    assert small[0, 0, 4, 2:6] == pytest.approx(torch.tensor([8.0, 12.0, 16.0, 20.0]), abs=1e-4)
    assert AntiAlias(1, 1)(ramp) is ramp
    assert AntiAlias(1, 8, sigma=1.5).weight.shape[-1] == 13  # EAMM's release, whatever the factor


def test_the_identity_flow_leaves_a_picture_untouched_only_with_aligned_corners():
    frames = torch.rand(1, 3, 16, 16)
    grid = coordinate_grid(16, 16, frames)[None]
    assert torch.allclose(warp_by_grid(frames, grid, align_corners=True), frames, atol=1e-5)
    darkened = warp_by_grid(torch.ones(1, 1, 16, 16), grid, align_corners=False)
    assert darkened[0, 0, 8, 8] == pytest.approx(1)
    assert darkened[0, 0, 8, 0] == pytest.approx(0.5, abs=1e-5)
    assert darkened[0, 0, 0, 0] == pytest.approx(0.25, abs=1e-5)


def test_a_bump_is_one_at_its_keypoint_and_falls_with_the_distance():
    bump = gaussians(torch.tensor([[[0.5, -1.0]]]), (5, 9), variance=0.01)
    assert bump.shape == (1, 1, 5, 9)
    assert bump[0, 0, 0, 6] == pytest.approx(1)
    assert bump[0, 0, 0, 7] == pytest.approx(torch.tensor(-0.5 * 0.25**2 / 0.01).exp().item())


def test_keypoints_of_a_shifted_picture_move_with_it():
    heads = KeypointHeads(1, KeypointConfig(1, kernel=1)).eval()
    with torch.no_grad():
        heads.kp.weight.fill_(1)
    features = 5 * gaussians(torch.tensor([[[-0.25, 0.0]], [[0.25, 0.5]]]), (33, 33), 0.01)
    keypoints, heatmap = heads(features)
    places = torch.tensor([[[-0.25, 0.0]], [[0.25, 0.5]]])
    assert torch.allclose(keypoints.value, places, atol=1e-3)
    assert torch.allclose(heatmap.sum(dim=(2, 3)), torch.ones(2, 1))
    assert torch.allclose(keypoints.jacobian, torch.eye(2).expand(2, 1, 2, 2))  # at the start


def test_every_local_frame_begins_as_the_identity_wherever_keypoints_are():
    keypoints = Fomm(SMALL).detector(torch.rand(2, 3, 32, 32))
    assert torch.allclose(keypoints.jacobian, torch.eye(2).expand(2, 3, 2, 2), atol=1e-5)


def test_a_keypoints_motion_maps_its_driving_place_onto_its_source_place():
    source = Keypoints(torch.tensor([[[0.5, 0.25]]]), torch.tensor([[[[2.0, 0.0], [0.0, 1.0]]]]))
    driving = Keypoints(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[[0.0, -1.0], [1.0, 0.0]]]]))
    background, moved = sparse_motions(source, driving, (5, 5))[0]
    assert torch.equal(background, coordinate_grid(5, 5, background))
    assert moved[2, 2].tolist() == pytest.approx([0.5, 0.25])
    # J_s J_d^-1 = [[0, 2], [-1, 0]]: a step of (1/2, 0) goes to (0, -1/2), of (0, 1/2) to (1, 0)
    assert moved[2, 3].tolist() == pytest.approx([0.5, -0.25])
    assert moved[3, 2].tolist() == pytest.approx([1.5, 0.25])


def test_the_inverse_of_local_frames_is_torchs():
    frames = torch.randn(2, 3, 2, 2) + 2 * torch.eye(2)
    assert torch.allclose(invert(frames), torch.linalg.inv(frames), atol=1e-4)


def test_unmoved_keypoints_leave_the_source_where_it_is():
    motion = DenseMotion(3, SMALL.motion, align_corners=True).eval()
    frames = torch.rand(2, 3, 32, 32)
    found = motion(frames, STILL, STILL)
    assert torch.allclose(found.flow, coordinate_grid(16, 16, frames).expand_as(found.flow))
    assert torch.allclose(found.mask.sum(dim=1), torch.ones(2, 16, 16))


def test_only_an_aligned_flow_leaves_the_source_itself_where_it_is():
    """The release resizes the flow like a picture: its ends are off by half a coarse pixel."""
    frames = torch.rand(2, 3, 32, 32)
    aligned = replace(SMALL, generator=replace(SMALL.generator, aligned_flow=True))
    deformed = Fomm(aligned).eval().generator(frames, STILL, STILL).deformed
    assert torch.allclose(deformed, frames, atol=1e-5)
    ramp = torch.arange(32.0).expand(1, 3, 32, 32)
    one = Keypoints(STILL.value[:1], STILL.jacobian[:1])
    deformed = Fomm(SMALL).eval().generator(ramp, one, one).deformed
    # pixel i looks at 31 clamp((i - 1/2) / 2, 0, 15) / 15
    wanted = 31 * ((torch.arange(32.0) - 0.5) / 2).clamp(0, 15) / 15
    assert torch.allclose(deformed[0, 0, 16], wanted, atol=1e-3)


@pytest.mark.parametrize("skips", [False, True])
def test_where_the_occlusion_is_0_nothing_of_the_source_is_seen(skips):
    config = replace(SMALL, generator=replace(SMALL.generator, skips=skips))
    generator = Fomm(config).eval().generator
    one, other = torch.rand(2, 1, 3, 32, 32)
    still = Keypoints(STILL.value[:1], STILL.jacobian[:1])
    motion = generator.motion(one, still, still)
    hidden = motion._replace(occlusion=torch.zeros_like(motion.occlusion))
    shown = motion._replace(occlusion=torch.ones_like(motion.occlusion))
    same = [generator.render(generator.encode(frames), hidden) for frames in (one, other)]
    assert torch.equal(*same)
    differ = [generator.render(generator.encode(frames), shown) for frames in (one, other)]
    assert (differ[0] - differ[1]).abs().max() > 1e-4


def test_skips_show_the_moved_source_itself_where_nothing_is_hidden():
    config = replace(SMALL, generator=replace(SMALL.generator, skips=True, aligned_flow=True))
    generator = Fomm(config).eval().generator
    frames = torch.rand(2, 3, 32, 32)
    motion = generator.motion(frames, STILL, STILL)
    shown = motion._replace(occlusion=torch.ones_like(motion.occlusion))
    assert torch.allclose(generator.render(generator.encode(frames), shown), frames, atol=1e-5)


@pytest.mark.parametrize("skips", [False, True])
def test_a_source_encoded_once_gives_the_same_frames(skips):
    fomm = Fomm(replace(SMALL, generator=replace(SMALL.generator, skips=skips))).eval()
    source, driving = torch.rand(2, 1, 3, 32, 32)
    keypoints = fomm.detector(source), fomm.detector(driving)
    once = fomm.generator.encode(source)
    rendered = fomm.generator.render(once, fomm.generator.motion(source, *keypoints))
    assert torch.equal(rendered, fomm(source, driving).prediction)


def test_an_hourglass_refuses_what_it_cannot_halve():
    with pytest.raises(ValueError, match="20x16 pixels, wanted multiples of 8"):
        Hourglass(3, HourglassConfig(4, 16, 3))(torch.zeros(1, 3, 16, 20))
    hourglass = Hourglass(3, HourglassConfig(4, 16, 3))
    frames = torch.rand(2, 3, 16, 16)
    assert torch.equal(hourglass(frames)[:, 4:], frames)  # the last skip is the input


def test_down_averages_and_up_repeats():
    block = ConvBlock(1, 1, resize="down").eval()
    with torch.no_grad():
        block.conv.weight.zero_()
        block.conv.weight[0, 0, 1, 1] = 1
        block.conv.bias.zero_()
    picture = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    assert block(picture).item() == pytest.approx(4, rel=1e-4)
    block.resize = "up"
    assert block(picture)[0, 0, :, 0].tolist() == pytest.approx([1, 1, 5, 5], rel=1e-4)


def test_the_discriminator_of_vox_adv_also_sees_the_keypoints():
    config = DiscriminatorConfig(4, 16, 3, spectral_norm=False, keypoints=True)
    discriminator = Discriminator(10, config)
    assert discriminator.scales[0].convs[0].in_channels == 13
    assert Discriminator(10, DiscriminatorConfig()).scales[0].convs[0].in_channels == 3
    frames = {1: torch.rand(1, 3, 64, 64)}
    here, there = (discriminator(frames, torch.full((1, 10, 2), x))[0].logits for x in (0, 0.5))
    assert not torch.equal(here, there)
    with pytest.raises(ValueError, match=r"factors \[1\], not \[2\]"):
        Discriminator(10, replace(config, factors=(1, 2)))(frames, torch.zeros(1, 10, 2))


def test_a_folder_without_a_model_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither a run of train_fomm.py nor a folder"):
        load_fomm(tmp_path)
    save_fomm_description(tmp_path, SMALL)
    with pytest.raises(FileNotFoundError, match="no checkpoint in"):
        load_fomm(tmp_path)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel is 4, wanted an odd number"):
        KeypointConfig(kernel=4)


@pytest.mark.parametrize("skips", [True, False])
def test_only_with_skips_is_what_comes_from_outside_the_source_its_border(skips):
    config = GeneratorConfig(4, 8, 1, 1, skips=skips)
    generator = Generator(2, config, MotionConfig(HourglassConfig(4, 8, 1), 2), True).eval()
    source = torch.full((1, 3, 16, 16), 0.75)
    far = Keypoints(torch.full((1, 2, 2), 0.9), torch.eye(2).expand(1, 2, 2, 2))
    near = Keypoints(torch.full((1, 2, 2), -0.9), torch.eye(2).expand(1, 2, 2, 2))
    with torch.no_grad():
        deformed = generator(source, far, near).deformed
    assert bool((deformed > 0.7499).all()) == skips
