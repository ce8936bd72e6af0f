from dataclasses import replace

import pytest
import torch

from emospace.data.motions import MotionStats
from emospace.networks.renderer import (
    REACH,
    History,
    Renderer,
    RendererConfig,
    flow_and_mask,
    warp_source,
)
from emospace.networks.styconv import doubled
from tests.corpora.emotion_space_corpus import emotion_model

MODES, M, W, SIDE = 6, 12, 5, 32
STATS = MotionStats((0.0,) * M, (1.0,) * M)
CONFIG = RendererConfig(
    size=SIDE, channels=(8, 6, 4), style=8, mapping=8, window=2, flow_size=16, blend_picture=True
)


def make(config=CONFIG, lively=True):
    """A network whose flows, masks and pictures are not those of a fresh one."""
    renderer = Renderer(config, STATS, emotion_model(MODES))
    for block in renderer.blocks if lively else ():
        for layer in filter(None, (block.to_rgb, block.to_flow)):
            torch.nn.init.normal_(layer.weight)
    return renderer


def inputs(batch=2):
    return torch.rand(batch, 3, SIDE, SIDE), torch.randn(batch, M), torch.randn(batch, W, M)


def own_outputs(renderer, source, *motions):
    """Levels, and what ToFlow and ToRGB of each level gave themselves."""
    found = {}
    for number, block in enumerate(renderer.blocks):
        for name in ("to_flow", "to_rgb"):
            layer = getattr(block, name)
            if layer is not None:
                layer.register_forward_hook(
                    lambda _, __, out, key=(name, number): found.update({key: out})
                )
    return renderer(renderer.encode(source), *motions), found


def test_with_an_open_mask_a_fresh_network_gives_the_source_back():
    source, own, window = inputs()
    renderer = make(replace(CONFIG, mask_bias=40.0), lively=False)
    levels = renderer(renderer.encode(source), own, window)
    assert all(torch.equal(level.flow, torch.zeros_like(level.flow)) for level in levels)
    torch.testing.assert_close(levels[-1].picture, source)
    assert [level.picture.shape[-1] for level in levels] == [8, 16, 32]


def test_a_fresh_mask_is_as_open_as_its_bias():
    renderer = make(replace(CONFIG, mask_bias=0.5), lively=False)
    source, own, window = inputs()
    levels = renderer(renderer.encode(source), own, window)
    for level in levels:
        torch.testing.assert_close(level.logits[:, 2], torch.full_like(level.logits[:, 2], 0.5))


@pytest.mark.parametrize("residual", [True, False])
def test_flow_mask_and_picture_add_to_the_coarser_levels_where_residual(residual):
    config = replace(CONFIG, residual=residual, blend_picture=False)
    levels, own = own_outputs(make(config), *inputs())
    for number, level in enumerate(levels):
        logits, picture = own["to_flow", number], own.get(("to_rgb", number))
        if residual and number:
            logits = logits + doubled(levels[number - 1].logits)
            picture = picture + doubled(levels[number - 1].picture)
        torch.testing.assert_close(level.logits, logits)
        if residual or number == 2:
            torch.testing.assert_close(level.picture, picture)
        else:
            assert level.picture is picture is None
        torch.testing.assert_close(level.flow, REACH * torch.tanh(logits[:, :2]))


def test_without_hierarchy_one_level_gives_the_flow_of_all_finer_ones():
    source, own, window = inputs()
    levels, outputs = own_outputs(make(replace(CONFIG, hierarchical=False)), source, own, window)
    assert [key for key in outputs if key[0] == "to_flow"] == [("to_flow", 1)]
    assert levels[0].flow is levels[0].warped is None
    torch.testing.assert_close(levels[1].logits, outputs["to_flow", 1])
    torch.testing.assert_close(levels[2].logits, doubled(levels[1].logits))
    torch.testing.assert_close(levels[2].warped, warp_source(source, levels[2].flow))


def test_the_warped_source_is_blended_by_the_mask():
    source, own, window = inputs()
    levels, outputs = own_outputs(make(), source, own, window)
    last = levels[-1]
    drawn = outputs["to_rgb", 2] + doubled(levels[1].picture)
    mask = torch.sigmoid(last.logits[:, 2:])
    torch.testing.assert_close(last.picture, mask * last.warped + (1 - mask) * drawn)
    torch.testing.assert_close(last.warped, warp_source(source, last.flow))


def test_the_prior_is_added_to_the_flow_of_every_level():
    source, own, window = inputs()
    plain, prior = make(), make(replace(CONFIG, prior=True))
    prior.load_state_dict(plain.state_dict())
    levels = prior(prior.encode(source), own, window)
    for size, level in zip(CONFIG.sizes, levels, strict=True):
        moved = prior.prior.flow(*prior.prior(own, window[:, 2]), size)
        flow, _ = flow_and_mask(level.logits, None)
        torch.testing.assert_close(level.flow, flow + moved)


def test_every_motion_of_the_window_and_the_sources_own_count():
    source, own, window = inputs(1)
    renderer = make()
    encoded = renderer.encode(source)
    picture = renderer(encoded, own, window)[-1].picture
    for place in range(W):
        other = window.clone()
        other[:, place] += 1
        assert not torch.allclose(renderer(encoded, own, other)[-1].picture, picture, atol=1e-4)
    assert not torch.allclose(renderer(encoded, own + 1, window)[-1].picture, picture, atol=1e-4)


def test_motions_are_normalised_and_an_outlier_is_clamped():
    stats = MotionStats((1.0,) * M, (2.0,) * M)
    renderer = Renderer(CONFIG, stats)
    found = renderer.motion.normalised(torch.tensor([3.0] * (M - 1) + [1e6]))
    assert found.tolist() == [1.0] * (M - 1) + [10.0]


def test_history_keeps_a_share_of_the_frame_before():
    source, own, window = inputs(1)
    renderer = make()
    encoded = renderer.encode(source)
    before, plain = (renderer(encoded, own, each) for each in (torch.randn_like(window), window))
    steady = [level.steady for level in before]
    smoothed = renderer(encoded, own, window, history=History(steady, 0.25))
    first = 0.75 * plain[0].logits + 0.25 * steady[0]
    torch.testing.assert_close(smoothed[0].steady, first)
    assert torch.equal(smoothed[0].logits, plain[0].logits)  # what finer levels add to
    none = renderer(encoded, own, window, history=History(steady, 0.0))
    torch.testing.assert_close(none[-1].picture, plain[-1].picture)


def test_a_portrait_encoded_once_draws_many_frames():
    source, own, window = inputs(3)
    renderer = make()
    one = renderer.encode(source[:1])
    many = renderer(one.repeated(3), own, window)[-1].picture
    singly = [renderer(one, own[i : i + 1], window[i : i + 1])[-1].picture for i in range(3)]
    torch.testing.assert_close(many, torch.cat(singly), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 64}, "size is 64 with 3 channels"),
        ({"hierarchical": False, "flow_size": 12}, r"flow_size is 12, wanted one of \(8, 16, 32\)"),
        ({"window": -1}, "window is -1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)


def test_a_prior_wants_the_face_model_of_its_coefficients():
    config = replace(CONFIG, prior=True)
    with pytest.raises(ValueError, match="face model of the 6 expression modes, got none"):
        Renderer(config, STATS)
    with pytest.raises(ValueError, match="got one of 4"):
        Renderer(config, STATS, emotion_model(4))
