"""Video discriminator: what its windows hold, against slow loops, and what they follow."""

import itertools
from dataclasses import replace

import pytest
import torch

from evp.networks.discriminator import DiscriminatorConfig, features, logits
from evp.networks.judges import Judges
from evp.networks.video_discriminator import (
    VideoDiscriminator,
    VideoDiscriminatorConfig,
    residuals,
    strided_flow,
    windows,
)
from evp.rollout import Sequences
from tests.corpora.slow_warp import sampled

PATCHES = DiscriminatorConfig(channels=4, layers=2, scales=2)
SMALL = VideoDiscriminatorConfig(frames=2, temporal_scales=2, patches=PATCHES)


def some(batch=2, frames=5, size=16):
    return torch.rand(batch, frames, 3, size, size), 3 * torch.randn(batch, frames, 2, size, size)


def followed(flow_T2HW, t, row, column, stride):
    """Return the step to the frame `stride` before, frame by frame, as long as it is known."""
    x, y = float(column), float(row)
    for k in range(stride):
        right, down = sampled(flow_T2HW[t - k], x, y).tolist()
        x, y = x + right, y + down
    return x - column, y - row


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
def test_each_temporal_scale_answers_at_every_patch_scale_for_every_window(
    frames, scales, strides, shortest
):
    config = VideoDiscriminatorConfig(frames, scales, patches=PATCHES)
    assert (config.strides, config.shortest) == (strides, shortest)
    judge = VideoDiscriminator(config)
    answers = logits(judge(*some(frames=shortest + 1)))
    count = [2 * (shortest + 1 - (frames - 1) * stride) for stride in strides]
    sides = (7, 5)  # of patches of 16 and of 8 pixels: 16 -> 9 -> 6 -> 7 and 8 -> 5 -> 4 -> 5
    assert [tuple(each.shape) for each in answers] == [
        (windows, 1, side, side) for windows in count for side in sides
    ]
    assert len(judge.scales) == scales
    with pytest.raises(ValueError, match=f"{shortest - 1} frames, wanted at least {shortest}"):
        judge(*some(frames=shortest - 1))


def changed(judge, one, other):
    """Return for each scale, which windows are judged otherwise."""
    with torch.no_grad():
        pairs = zip(logits(judge(*one)), logits(judge(*other)), strict=True)
        return [((a - b).abs().amax(dim=(1, 2, 3)) > 1e-6).tolist() for a, b in pairs]


def test_a_window_is_judged_by_its_frames_and_their_flow_alone():
    judge, (frames, flow) = VideoDiscriminator(SMALL), some(batch=1)  # 4 windows and 3
    other, motion = frames.clone(), flow.clone()
    other[:, 1] = torch.rand(3, 16, 16)
    motion[:, 2] *= -1
    by_frame = changed(judge, (frames, flow), (other, flow))
    assert by_frame == [[True, True, False, False]] * 2 + [[False, True, False]] * 2
    by_flow = changed(judge, (frames, flow), (frames, motion))
    # two frames apart, the flow of frame 2 is part of those of frames 2 and 3
    assert by_flow == [[False, True, False, False]] * 2 + [[True, True, False]] * 2


@torch.no_grad()
def test_each_scale_of_time_and_of_patches_has_a_network_of_its_own():
    judge, inputs = VideoDiscriminator(SMALL), some()
    base = logits(judge(*inputs))
    networks = [patches for scale in judge.scales for patches in scale.scales]
    assert len(networks) == 4
    for number, network in enumerate(networks):
        bias = network.layers[-1].bias
        bias += 1
        found = [one - other for one, other in zip(logits(judge(*inputs)), base, strict=True)]
        for place, change in enumerate(found):
            torch.testing.assert_close(change, torch.full_like(change, place == number))
        bias -= 1


def truth(flow=True):
    frames, motion = some()
    return Sequences(frames, torch.rand(2, 5, 1, 16, 16), motion if flow else None)


def test_each_judge_answers_for_itself():
    sequences = truth()
    made = torch.rand_like(sequences.frames)
    both = Judges(1, PATCHES, SMALL)
    answers = both(made, sequences)
    assert [*answers] == ["gan", "gan_video"]
    for one, other in zip(
        logits(answers["gan_video"]), logits(both.video(made, sequences.flow)), strict=True
    ):
        torch.testing.assert_close(one, other)
    for b in range(2):
        for t in range(5):
            alone = both.image(made[b, t][None], sequences.guidance[b, t][None])
            for one, other in zip(logits(answers["gan"]), logits(alone), strict=True):
                torch.testing.assert_close(one[5 * b + t], other[0])
    assert [*Judges(1, PATCHES, None)(made, truth(flow=False))] == ["gan"]
    assert [*Judges(1, None, SMALL)(made, sequences)] == ["gan_video"]
    assert not [*Judges(1, None, None).parameters()]
    assert Judges(1, None, None)(made, sequences) == {}


def test_features_are_everything_before_the_logits():
    judge = VideoDiscriminator(replace(SMALL, temporal_scales=1))
    answers = judge(*some())
    assert [len(scale) for scale in features(answers)] == [3, 3]
    assert all(each.shape[1] > 1 for scale in features(answers) for each in scale)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"frames": 1}, "frames is 1, wanted at least 2"), ({"temporal_scales": 0}, "scales is 0")],
)
def test_sizes_that_judge_no_motion_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        VideoDiscriminatorConfig(**wrong)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_residuals_are_what_a_believed_flow_leaves_unexplained(stride):
    """By a loop: each frame less the one a stride before, sampled where the flow points."""
    pictures, flow = some(batch=1, frames=6, size=6)
    believed = (torch.rand(1, 6, 1, 6, 6) > 0.2).float()
    found, far = residuals(pictures, flow, believed, stride), strided_flow(flow, stride)
    for t in range(stride, 6):
        for row in range(6):
            for column in range(6):
                step = far[0, t, :, row, column].tolist()
                moved = sampled(pictures[0, t - stride], column + step[0], row + step[1])
                sure = certainty(believed[0], flow[0], t, row, column, stride)
                wanted = sure * (pictures[0, t, :, row, column] - moved)
                torch.testing.assert_close(found[0, t, :, row, column], wanted, atol=1e-5, rtol=0)


def certainty(believed_T1HW, flow_T2HW, t, row, column, stride):
    """Return the product of what is believed along a pixel's way, read where it leads."""
    sure = believed_T1HW[t, :, row, column]
    if stride == 1:
        return sure
    x, y = (start + float(flow_T2HW[t, k, row, column]) for k, start in enumerate((column, row)))
    rest = torch.stack(
        [
            torch.stack(
                [certainty(believed_T1HW, flow_T2HW, t - 1, j, i, stride - 1) for i in range(6)], 1
            )
            for j in range(6)
        ],
        dim=1,
    )
    return sure * sampled(rest, x, y)


def test_a_judge_of_residuals_sees_none_in_a_picture_that_moves_with_its_flow():
    """A wall that moves by a pixel a frame: nothing is left but where it came into sight."""
    wall = torch.rand(3, 16, 24)
    frames = torch.stack([wall[:, :, 5 - t : 21 - t] for t in range(5)])[None]
    flow = torch.tensor([-1.0, 0.0])[:, None, None].expand(1, 5, 2, 16, 16)
    sure = torch.ones(1, 5, 1, 16, 16)
    left = residuals(frames, flow, sure, 1)[:, 1:]
    assert left[..., 1:].abs().max() < 1e-5
    assert left[..., 0].abs().max() > 0.1
    judge = VideoDiscriminator(replace(SMALL, sees="residuals")).eval()
    doubted = sure.clone()
    doubted[..., 0] = 0  # now nothing is left at all, whatever the wall is
    with torch.no_grad():
        one, other = (judge(each, flow, doubted)[0][-1] for each in (frames, 0 * frames))
        third = judge(torch.rand_like(frames), flow, doubted)[0][-1]
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    assert (third - other).abs().max() > 1e-3


def test_without_norm_weights_keep_the_size_of_what_they_see():
    wide = DiscriminatorConfig(channels=32, layers=3, scales=1, norm="none")
    answers = VideoDiscriminator(replace(SMALL, patches=wide))(*some(size=64))
    sizes = [float(layer.detach().square().mean()) for layer in features(answers)[0]]
    assert len(sizes) == 4
    for one, other in itertools.pairwise(sizes):
        assert 0.5 < other / one < 2
