"""Generator: what may influence what, and at which sizes."""

import pytest
import torch

from evp.networks.generator import Generator, GeneratorConfig

SMALL = GeneratorConfig(channels=4, downsamplings=2, blocks=1, enhancers=1, enhancer_blocks=1)


def affected(network, size, spot, channels=1):
    """Return rows where the answer changes when one spot of a map does, batch norm at rest."""
    network.eval()
    base = torch.rand(1, channels, size, size)
    touched = base.clone()
    touched[:, :, spot, spot] += 1
    with torch.no_grad():
        change = (network(touched) - network(base)).abs().amax(dim=(0, 1))
    return (change.amax(dim=1) > 1e-6).nonzero().flatten()


@pytest.mark.parametrize(("enhancers", "downsamplings"), [(0, 2), (1, 2), (2, 1)])
def test_frames_have_the_size_of_the_map_and_lie_between_minus_one_and_one(
    enhancers, downsamplings
):
    config = GeneratorConfig(4, downsamplings, 1, enhancers, 1)
    frames = Generator(15, config)(100 * torch.rand(2, 15, 32, 48))
    assert frames.shape == (2, 3, 32, 48)
    assert frames.abs().max() <= 1
    assert frames.std() > 0


def test_a_size_that_does_not_halve_is_refused():
    with pytest.raises(ValueError, match="36x32 pixels, wanted multiples of 8"):
        Generator(1, SMALL)(torch.zeros(1, 1, 32, 36))


def test_a_frame_follows_its_own_map_alone():
    generator = Generator(1, SMALL)
    maps = torch.rand(3, 1, 16, 16)
    before = generator(maps)
    maps[1] = torch.rand(1, 16, 16)
    after = generator(maps)
    torch.testing.assert_close(after[[0, 2]], before[[0, 2]])
    assert (after[1] - before[1]).abs().max() > 1e-3


def test_coarse_and_fine_paths_both_reach_the_frame():
    """A board of single pixels and its negative look the same at half the resolution."""
    board = ((torch.arange(64)[:, None] + torch.arange(64)) % 2)[None, None].float()
    generator = Generator(1, GeneratorConfig(4, 1, 1, 1, 1, norm="batch")).eval()
    middle = slice(28, 36)

    def apart(one, two):
        with torch.no_grad():
            return (generator(one) - generator(two))[..., middle, middle].abs().max()

    assert apart(board, 1 - board) > 1e-3  # the enhancer tells them apart
    for parameter in generator.enhancers[0].down.parameters():
        parameter.data.zero_()
    assert apart(torch.zeros_like(board), torch.ones_like(board)) > 1e-3  # the coarse path is left


def test_residual_blocks_widen_what_a_pixel_influences():
    reach = []
    for blocks in (0, 2):
        config = GeneratorConfig(4, 2, blocks, 0, 1, norm="batch")
        rows = affected(Generator(1, config), size=128, spot=64)
        reach.append(int(rows.max() - rows.min()))
    # each of four 3x3 convolutions at a quarter of the resolution reaches 4 pixels to either side
    assert reach[1] - reach[0] == pytest.approx(4 * 2 * 4, abs=8)


def test_with_batch_norm_at_rest_a_shifted_map_gives_a_shifted_frame():
    generator = Generator(1, GeneratorConfig(4, 2, 1, 1, 1, norm="batch")).eval()
    middle = torch.zeros(1, 1, 128, 128)
    middle[:, :, 60:68, 60:68] = torch.rand(8, 8)
    shift = generator.config.divisor
    assert shift == 8
    with torch.no_grad():
        still, moved = generator(middle), generator(middle.roll(shift, dims=3))
    torch.testing.assert_close(moved[..., 48:96], still[..., 40:88], atol=1e-5, rtol=1e-4)


def test_an_even_outer_kernel_is_refused():
    with pytest.raises(ValueError, match="outer_kernel is 4"):
        GeneratorConfig(outer_kernel=4)
