"""Temporal generator: how a frame is made, of what, and what each level takes part in."""

from dataclasses import replace

import pytest
import torch

from evp.networks.generator import GeneratorConfig
from evp.networks.temporal_generator import FLOW_SCALE, TemporalGenerator
from tests.corpora.slow_warp import moved_slowly

SMALL = GeneratorConfig(4, 2, 2, 1, 1, outer_kernel=3, previous=2)
SIZE = 16


def moving(config=SMALL, channels=1):
    """Return a generator whose flow is not at its beginning, zero."""
    torch.manual_seed(0)
    generator = TemporalGenerator(channels, config).eval()
    for heads in generator.heads:
        torch.nn.init.normal_(heads.flow.weight, std=0.02)
        torch.nn.init.normal_(heads.flow.bias, std=0.02)
    return generator


def seen(config=SMALL, batch=2, channels=1, size=SIZE):
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(batch, config.previous + 1, channels, size, size, generator=generator)
    return maps, 2 * torch.rand(batch, config.previous, 3, size, size, generator=generator) - 1


@torch.no_grad()
def test_a_frame_is_the_last_one_moved_where_the_mask_leaves_it():
    maps, before = seen()
    drawn = moving()(maps, before)
    assert drawn.flow.abs().max() > 1  # pixels: the warp has something to do
    assert 0.1 < drawn.mask.min() < drawn.mask.max() < 0.9
    for b in range(2):
        moved = moved_slowly(before[b, -1], drawn.flow[b])
        by_hand = (1 - drawn.mask[b]) * moved + drawn.mask[b] * drawn.hallucinated[b]
        torch.testing.assert_close(drawn.frame[b], by_hand, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("enhancers", "downsamplings"), [(0, 2), (1, 2), (2, 1)])
def test_every_part_has_the_size_of_the_maps_and_stays_in_its_range(enhancers, downsamplings):
    config = GeneratorConfig(4, downsamplings, 1, enhancers, 1, previous=3)
    maps, before = torch.rand(2, 4, 5, 16, 24), 2 * torch.rand(2, 3, 3, 16, 24) - 1
    frame, hallucinated, flow, mask = moving(config, channels=5)(100 * maps, before)
    sizes = [(2, channels, 16, 24) for channels in (3, 3, 2, 1)]
    assert [tuple(each.shape) for each in (frame, hallucinated, flow, mask)] == sizes
    assert max(frame.abs().max(), hallucinated.abs().max()) <= 1 + 1e-6
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert flow.std() > 0


@torch.no_grad()
def test_an_untrained_network_does_not_move_the_last_frame():
    generator = TemporalGenerator(1, SMALL)
    for level, size in ((0, SIZE), (1, SIZE // 2)):
        maps, before = seen(size=size)
        frame, hallucinated, flow, mask = generator(maps, before, level)
        assert (flow == 0).all()
        blend = (1 - mask) * before[:, -1] + mask * hallucinated
        torch.testing.assert_close(frame, blend, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_head_that_answers_one_means_twenty_pixels():
    generator = TemporalGenerator(1, SMALL)
    generator.heads[1].flow.bias.copy_(torch.tensor([1.0, -0.1]))
    flow = generator(*seen()).flow
    assert FLOW_SCALE == 20
    torch.testing.assert_close(flow[:, 0], torch.full_like(flow[:, 0], 20))
    torch.testing.assert_close(flow[:, 1], torch.full_like(flow[:, 1], -2))


@torch.no_grad()
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize(("kind", "number"), [*((0, k) for k in range(3)), (1, 0), (1, 1)])
def test_every_map_and_every_frame_before_reaches_picture_flow_and_mask(level, kind, number):
    generator, inputs = moving(), seen(size=SIZE >> level)
    base = generator(*inputs, level)
    inputs[kind][0, number] = torch.rand_like(inputs[kind][0, number])
    for one, other in zip(base, generator(*inputs, level), strict=True):
        assert (one[0] - other[0]).abs().max() > 1e-4
        torch.testing.assert_close(one[1], other[1])  # of another sequence


@torch.no_grad()
def test_nothing_but_the_inputs_is_remembered():
    generator, inputs = moving(), seen()
    first = generator(*inputs)
    generator(*seen(replace(SMALL, channels=9), batch=3))
    for one, other in zip(first, generator(*inputs), strict=True):
        assert torch.equal(one, other)


def gradients(generator, level):
    """Return the names of weights that a level's gradient reaches, and of those that have none."""
    drawn = generator(*seen(size=SIZE >> level), level)
    (drawn.frame.square().mean() + drawn.flow.mean() + drawn.mask.mean()).backward()
    named = [(name, p) for name, p in generator.named_parameters() if p.ndim > 1]
    reached = {name for name, p in named if p.grad is not None and p.grad.abs().max() > 0}
    return reached, {name for name, p in named if p.grad is None}


@pytest.mark.parametrize(
    ("level", "left_out"),
    [
        (0, ("heads.0.", "heads.1.")),
        (1, ("enhancers.1.", "heads.0.", "heads.2.")),
        (2, ("enhancers.0.", "enhancers.1.", "heads.1.", "heads.2.")),
    ],
)
def test_a_level_uses_its_own_networks_and_those_below_and_no_others(level, left_out):
    config = replace(SMALL, downsamplings=1, enhancers=2)
    generator = moving(config)
    reached, none = gradients(generator, level)
    names = {name for name, p in generator.named_parameters() if p.ndim > 1}
    assert none == {name for name in names if name.startswith(left_out)}
    assert reached == names - none
    with torch.no_grad():
        drawn = generator(*seen(config, size=SIZE >> level), level)
    assert drawn.frame.shape[-2:] == (SIZE >> level, SIZE >> level)


@torch.no_grad()
def test_coarse_and_fine_paths_both_reach_the_frame():
    """A board of single pixels and its negative look the same at half the resolution."""
    board = ((torch.arange(64)[:, None] + torch.arange(64)) % 2).float()
    generator = moving(GeneratorConfig(4, 1, 2, 1, 1, norm="batch", previous=1))
    middle = slice(28, 36)

    def apart(one, two):
        before = torch.zeros(1, 1, 3, 64, 64)
        maps = (each.expand(1, 2, 1, 64, 64) for each in (one, two))
        pictures = (generator(each, before).hallucinated for each in maps)
        return torch.sub(*pictures)[..., middle, middle].abs().max()

    assert apart(board, 1 - board) > 1e-3  # the enhancer tells them apart
    for parameter in generator.enhancers[0].maps.parameters():
        parameter.data.zero_()
    assert apart(torch.zeros_like(board), torch.ones_like(board)) > 1e-3  # the coarse path is left


@torch.no_grad()
def test_the_coarser_level_is_the_finer_ones_beginning():
    """What the enhancer gets is what the global generator makes of everything at half the size."""
    generator, (maps, before) = moving(), seen()
    got = []
    generator.enhancers[0].register_forward_hook(lambda _, inputs, __: got.extend(inputs))
    generator(maps, before)
    whole = maps.flatten(1, 2), before.flatten(1, 2)
    pool = torch.nn.AvgPool2d(3, 2, 1, count_include_pad=False)
    wanted = (*whole, *generator.coarsest(*map(pool, whole)))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_the_picture_and_its_motion_come_from_decoders_of_their_own():
    generator, inputs = moving(), seen()
    base = generator(*inputs)
    for weight in generator.enhancers[0].motion.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
    touched = generator(*inputs)
    assert torch.equal(touched.hallucinated, base.hallucinated)
    moved = touched
    assert not torch.equal(touched.flow, base.flow)
    assert not torch.equal(touched.mask, base.mask)
    for weight in generator.enhancers[0].picture.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
    touched = generator(*inputs)
    assert not torch.equal(touched.hallucinated, base.hallucinated)
    assert torch.equal(touched.flow, moved.flow)
    assert torch.equal(touched.mask, moved.mask)


def test_picture_and_motion_share_the_earlier_half_of_the_residual_blocks():
    for blocks, shared, own in ((9, 5, 4), (2, 1, 1), (1, 1, 0)):
        coarsest = TemporalGenerator(1, replace(SMALL, blocks=blocks)).coarsest
        ups = SMALL.downsamplings
        assert len(coarsest.shared) == shared
        assert len(coarsest.picture) == len(coarsest.motion) == own + ups


@pytest.mark.parametrize(("level", "wanted"), [(0, 8), (1, 4)])
def test_a_size_that_a_level_cannot_halve_is_refused(level, wanted):
    maps, before = seen(size=4 * wanted + 2)
    message = f"{4 * wanted + 2}x{4 * wanted + 2} pixels, wanted multiples of {wanted}: {1 - level}"
    with pytest.raises(ValueError, match=message):
        TemporalGenerator(1, SMALL)(maps, before, level)
    for side in (3, 4):  # one of the two sides alone
        parts = (each.narrow(side, 0, 4 * wanted) for each in (maps, before))
        with pytest.raises(ValueError, match=f"wanted multiples of {wanted}"):
            TemporalGenerator(1, SMALL)(*parts, level)
    maps, before = seen(size=3 * wanted)
    assert TemporalGenerator(1, SMALL)(maps, before, level).frame.shape[-1] == 3 * wanted


def test_a_generator_that_sees_no_frame_before_is_refused():
    with pytest.raises(ValueError, match="previous is 0"):
        TemporalGenerator(1, replace(SMALL, previous=0))
    with pytest.raises(ValueError, match="previous is -1"):
        replace(SMALL, previous=-1)
