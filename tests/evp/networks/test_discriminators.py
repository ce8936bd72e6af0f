"""Discriminators: patches, and windows of frames against slow loops."""

import itertools
from dataclasses import replace

import pytest
import torch

from evp.networks.discriminators import (
    DiscriminatorConfig,
    Discriminators,
    MultiScale,
    PatchDiscriminator,
    VideoDiscriminator,
    VideoDiscriminatorConfig,
    flow_residuals,
    strided_flow,
    windows,
)
from tests.corpora.slow_warp import sampled

PATCHES = DiscriminatorConfig(channels=4, layers=2, scales=2)
SMALL = VideoDiscriminatorConfig(frames=2, temporal_scales=2, patches=PATCHES)


def some(batch=2, frames=5, size=16):
    return torch.rand(batch, frames, 3, size, size), 3 * torch.randn(batch, frames, 2, size, size)


def logits(outputs):
    return [scale.logits for scale in outputs]


def followed(flow_T2HW, t, row, column, stride):
    """Return the step to the frame `stride` before, frame by frame, as long as it is known."""
    x, y = float(column), float(row)
    for k in range(stride):
        right, down = sampled(flow_T2HW[t - k], x, y).tolist()
        x, y = x + right, y + down
    return x - column, y - row


def test_there_is_one_logit_map_a_scale_each_half_as_large():
    discriminator = MultiScale(4, DiscriminatorConfig(channels=4, layers=2, scales=3))
    maps_of_logits = logits(discriminator(torch.rand(2, 4, 64, 64)))
    assert [tuple(each.shape) for each in maps_of_logits] == [(2, 1, n, n) for n in (19, 11, 7)]


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_a_patch_of_the_published_size(layers, patch):
    network = PatchDiscriminator(4, DiscriminatorConfig(4, layers, 1, norm="batch")).eval()
    image = torch.rand(1, 4, 128, 128, requires_grad=True)
    middle = network(image).logits
    middle[0, 0, middle.shape[2] // 2, middle.shape[3] // 2].backward()
    seen = (image.grad.abs().amax(dim=(0, 1, 3)) > 0).nonzero().flatten()
    assert int(seen.max() - seen.min() + 1) == patch


def test_the_discriminator_compares_frame_and_map():
    discriminators = Discriminators(1, DiscriminatorConfig(4, 2, 2), None)
    frame, maps = torch.rand(1, 1, 3, 32, 32), torch.rand(2, 1, 1, 32, 32)
    one, two = (logits(discriminators(frame, maps[k : k + 1])["gan"]) for k in range(2))
    for first, second in zip(one, two, strict=True):
        assert (first - second).abs().max() > 1e-4


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_flow_over_several_frames_follows_pixels_from_one_to_the_next(stride):
    """Flows that are straight lines are sampled exactly; small ones do not leave the picture."""
    rows, columns = torch.meshgrid(torch.arange(13.0), torch.arange(13.0), indexing="ij")
    slopes = 0.1 * torch.randn(5, 2, 3, dtype=torch.float64)
    plane = torch.stack([columns - 6, rows - 6, torch.full_like(rows, 5)]).double()
    flow = torch.einsum("tck,khw->tchw", slopes, plane)
    found = strided_flow(flow[None], stride)[0]
    for t in range(stride, 5):
        for row in range(4, 9):
            for column in range(4, 9):
                wanted = followed(flow, t, row, column, stride)
                assert found[t, :, row, column].tolist() == pytest.approx(wanted, abs=1e-9)


def test_a_steady_motion_is_as_many_times_as_long():
    flow = torch.tensor([2.0, -1.0])[:, None, None].expand(1, 9, 2, 6, 6)
    for stride in (1, 3, 9):
        torch.testing.assert_close(strided_flow(flow, stride), stride * flow)


@pytest.mark.parametrize(("frames", "stride"), [(2, 1), (3, 1), (2, 2), (3, 2)])
def test_a_window_holds_its_frames_and_the_flows_between_them(frames, stride):
    pictures, flow = some(frames=7, size=4)
    between = strided_flow(flow, stride)
    wanted = []
    for b in range(2):
        for start in range(7 - (frames - 1) * stride):
            places = [start + k * stride for k in range(frames)]
            parts = [pictures[b, t] for t in places] + [between[b, t] / 20 for t in places[1:]]
            wanted.append(torch.cat(parts))
    found = windows(pictures, flow, frames, stride)
    torch.testing.assert_close(found, torch.stack(wanted))
    assert found.shape[1] == 3 * frames + 2 * (frames - 1)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_flow_of_the_first_frame_is_not_used(stride):
    pictures, flow = some(frames=5, size=4)
    flow[:, 0] = torch.nan
    assert windows(pictures, flow, 2, stride).isfinite().all()


@pytest.mark.parametrize(
    ("frames", "scales", "strides", "shortest"),
    [(2, 1, (1,), 2), (3, 1, (1,), 3), (2, 2, (1, 2), 3), (3, 2, (1, 3), 7), (2, 3, (1, 2, 4), 5)],
)
def test_each_temporal_scale_has_logits_at_every_patch_scale_for_every_window(
    frames, scales, strides, shortest
):
    config = VideoDiscriminatorConfig(frames, scales, patches=PATCHES)
    assert (config.strides, config.shortest) == (strides, shortest)
    network = VideoDiscriminator(config)
    maps = logits(network(*some(frames=shortest + 1)))
    count = [2 * (shortest + 1 - (frames - 1) * stride) for stride in strides]
    sides = (7, 5)  # of patches of 16 and of 8 pixels: 16 -> 9 -> 6 -> 7 and 8 -> 5 -> 4 -> 5
    wanted = [(windows, 1, side, side) for windows in count for side in sides]
    assert [tuple(each.shape) for each in maps] == wanted
    assert len(network.scales) == scales
    with pytest.raises(ValueError, match=f"{shortest - 1} frames, wanted at least {shortest}"):
        network(*some(frames=shortest - 1))


def changed(network, one, other):
    """Return for each scale, which windows' logits differ."""
    with torch.no_grad():
        pairs = zip(logits(network(*one)), logits(network(*other)), strict=True)
        return [((a - b).abs().amax(dim=(1, 2, 3)) > 1e-6).tolist() for a, b in pairs]


def test_logits_of_a_window_depend_on_its_frames_and_their_flow_alone():
    network, (frames, flow) = VideoDiscriminator(SMALL), some(batch=1)  # 4 windows and 3
    other, motion = frames.clone(), flow.clone()
    other[:, 1] = torch.rand(3, 16, 16)
    motion[:, 2] *= -1
    by_frame = changed(network, (frames, flow), (other, flow))
    assert by_frame == [[True, True, False, False]] * 2 + [[False, True, False]] * 2
    by_flow = changed(network, (frames, flow), (frames, motion))
    # two frames apart, the flow of frame 2 is part of those of frames 2 and 3
    assert by_flow == [[False, True, False, False]] * 2 + [[True, True, False]] * 2


@torch.no_grad()
def test_each_scale_of_time_and_of_patches_has_a_network_of_its_own():
    network, inputs = VideoDiscriminator(SMALL), some()
    base = logits(network(*inputs))
    networks = [patches for scale in network.scales for patches in scale.scales]
    assert len(networks) == 4
    for number, patches in enumerate(networks):
        bias = patches.layers[-1].bias
        bias += 1
        found = [one - other for one, other in zip(logits(network(*inputs)), base, strict=True)]
        for place, change in enumerate(found):
            torch.testing.assert_close(change, torch.full_like(change, place == number))
        bias -= 1


def test_each_discriminator_sees_its_own_frames():
    (frames, flow), guidance = some(), torch.rand(2, 5, 1, 16, 16)
    both = Discriminators(1, PATCHES, SMALL)
    outputs = both(frames, guidance, flow)
    assert [*outputs] == ["gan", "gan_video"]
    video = both.video(frames, flow)
    for one, other in zip(logits(outputs["gan_video"]), logits(video), strict=True):
        torch.testing.assert_close(one, other)
    for b in range(2):
        for t in range(5):
            alone = both.image(torch.cat([frames[b, t], guidance[b, t]])[None])
            for one, other in zip(logits(outputs["gan"]), logits(alone), strict=True):
                torch.testing.assert_close(one[5 * b + t], other[0])
    assert [*Discriminators(1, PATCHES, None)(frames, guidance)] == ["gan"]
    assert [*Discriminators(1, None, SMALL)(frames, guidance, flow)] == ["gan_video"]
    assert not [*Discriminators(1, None, None).parameters()]
    assert Discriminators(1, None, None)(frames, guidance) == {}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"frames": 1}, "frames is 1, wanted at least 2"), ({"temporal_scales": 0}, "scales is 0")],
)
def test_sizes_without_motion_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        VideoDiscriminatorConfig(**wrong)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_residuals_are_what_a_reliable_flow_leaves_unexplained(stride):
    """By a loop: each frame less the one a stride before, sampled where the flow points."""
    pictures, flow = some(batch=1, frames=6, size=6)
    reliable = (torch.rand(1, 6, 1, 6, 6) > 0.2).float()
    found, far = flow_residuals(pictures, flow, reliable, stride), strided_flow(flow, stride)
    for t in range(stride, 6):
        for row in range(6):
            for column in range(6):
                step = far[0, t, :, row, column].tolist()
                moved = sampled(pictures[0, t - stride], column + step[0], row + step[1])
                sure = certainty(reliable[0], flow[0], t, row, column, stride)
                wanted = sure * (pictures[0, t, :, row, column] - moved)
                torch.testing.assert_close(found[0, t, :, row, column], wanted, atol=1e-5, rtol=0)


def certainty(reliable_T1HW, flow_T2HW, t, row, column, stride):
    """Return the product of what is reliable along a pixel's way, read where it leads."""
    sure = reliable_T1HW[t, :, row, column]
    if stride == 1:
        return sure
    x, y = (start + float(flow_T2HW[t, k, row, column]) for k, start in enumerate((column, row)))
    places = [(t - 1, j, i, stride - 1) for j in range(6) for i in range(6)]
    rest = [certainty(reliable_T1HW, flow_T2HW, *place) for place in places]
    rest = torch.stack(rest, dim=1).reshape(1, 6, 6)
    return sure * sampled(rest, x, y)


def test_a_picture_that_moves_with_its_flow_leaves_no_residuals():
    """A wall that moves by a pixel a frame: nothing is left but where it came into sight."""
    wall = torch.rand(3, 16, 24)
    frames = torch.stack([wall[:, :, 5 - t : 21 - t] for t in range(5)])[None]
    flow = torch.tensor([-1.0, 0.0])[:, None, None].expand(1, 5, 2, 16, 16)
    sure = torch.ones(1, 5, 1, 16, 16)
    left = flow_residuals(frames, flow, sure, 1)[:, 1:]
    assert left[..., 1:].abs().max() < 1e-5
    assert left[..., 0].abs().max() > 0.1
    network = VideoDiscriminator(replace(SMALL, input="flow_residuals")).eval()
    doubted = sure.clone()
    doubted[..., 0] = 0  # now nothing is left at all, whatever the wall is
    with torch.no_grad():
        one, other = (network(each, flow, doubted)[0].logits for each in (frames, 0 * frames))
        third = network(torch.rand_like(frames), flow, doubted)[0].logits
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    assert (third - other).abs().max() > 1e-3


def test_without_norm_weights_keep_the_size_of_what_they_see():
    wide = DiscriminatorConfig(channels=32, layers=3, scales=1, norm="none")
    outputs = VideoDiscriminator(replace(SMALL, patches=wide))(*some(size=64))
    sizes = [float(layer.detach().square().mean()) for layer in outputs[0].features]
    assert len(sizes) == 4
    for one, other in itertools.pairwise(sizes):
        assert 0.5 < other / one < 2
