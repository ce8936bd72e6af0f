"""Drawing: frames in order, each after those before it, and a generator's files."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from affekt.nets.ema import make_ema
from affekt.runtime import checkpoint
from evp.inference.drawing import (
    Drawing,
    First,
    RendererDescription,
    grey_levels,
    load_generator,
    make_generator,
    previous_of,
    render,
    save_description,
)
from evp.networks.generator import Generator, GeneratorConfig, GuidanceConfig
from evp.networks.temporal_generator import TemporalGenerator

SMALL = GeneratorConfig(channels=4, downsamplings=2, blocks=2, enhancers=1, enhancer_blocks=1)
SEEING = replace(SMALL, previous=2)


def moving():
    """Return a temporal generator whose flow is not at its beginning, zero."""
    generator = TemporalGenerator(1, SEEING).eval()
    torch.nn.init.normal_(generator.heads[1].flow.weight, std=0.02)
    return generator


def some_maps(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 16, 16)).astype(np.uint8)


def some_first(count=2):
    frames = np.random.default_rng(1).integers(0, 256, (count, 16, 16, 3)).astype(np.uint8)
    return First(frames, some_maps(count, seed=2))


def test_a_temporal_generator_goes_on_from_its_own_frames():
    generator, first, maps = moving(), some_first(), some_maps(5)
    frames = [torch.from_numpy(frame).permute(2, 0, 1) / 127.5 - 1 for frame in first.frames]
    seen = torch.from_numpy(np.concatenate([first.guidance, maps])) / 255
    with torch.no_grad():
        for t in range(5):
            before = torch.stack(frames[t : t + 2])
            frames.append(generator(seen[None, t : t + 3], before[None]).frame[0])
    wanted = grey_levels(torch.stack(frames[2:]))
    found = render(generator, maps, first)
    assert found.shape == (5, 16, 16, 3)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - wanted).max() <= 1  # of rounding


@pytest.mark.parametrize("generator", [moving, lambda: Generator(1, SMALL).eval()])
def test_a_video_in_two_calls_is_the_video_in_one(generator):
    torch.manual_seed(0)
    generator, maps = generator(), some_maps(11)
    first = some_first() if previous_of(generator) else None
    drawing = Drawing(generator, first)
    parts = [drawing.draw(maps[:1]), drawing.draw(maps[1:4]), drawing.draw(maps[4:])]
    whole = render(generator, maps, first)
    assert np.abs(np.concatenate(parts).astype(int) - whole).max() <= 1
    assert not any(frame.requires_grad for frame in drawing.before)  # no graph grows with it
    again = render(generator, maps, first)  # a new video begins anew
    np.testing.assert_array_equal(again, whole)


def test_what_was_before_counts():
    generator, maps, first = moving(), some_maps(3), some_first()
    base = render(generator, maps, first).astype(int)
    for name in ("frames", "guidance"):
        for number in range(2):
            other = getattr(first, name).copy()
            other[number] = 255 - other[number]
            touched = render(generator, maps, replace(first, **{name: other}))
            assert np.abs(touched[0] - base[0]).max() > 1


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (None, "0 frames before the first one, wanted 2"),
        (some_first(1), "1 frames before the first one, wanted 2"),
        (some_first(3), "3 frames before the first one, wanted 2"),
        (First(some_first().frames, some_maps(1)), "1 guidance maps .*, wanted 2"),
    ],
)
def test_a_temporal_generator_wants_the_frames_before_the_first(first, message):
    with pytest.raises(ValueError, match=message):
        Drawing(moving(), first)


def test_each_kind_of_generator_says_how_many_frames_it_sees():
    for previous in (0, 1, 3):
        config = replace(SMALL, previous=previous)
        generator = make_generator(GuidanceConfig("plain", 16), config)
        assert isinstance(generator, TemporalGenerator if previous else Generator)
        assert previous_of(generator) == previous
        assert previous_of(make_ema(generator, 0.5)) == previous


def test_grey_levels_are_rounded_and_stay_in_their_range():
    values = torch.tensor([-1.2, -1, -0.997, 0, 0.5, 1, 1.2])
    levels = grey_levels(values[:, None, None, None].expand(7, 3, 1, 1))
    assert levels[:, 0, 0, 0].tolist() == [0, 0, 0, 128, 191, 255, 255]


def test_a_saved_temporal_generator_is_loaded_as_it_was(tmp_path):
    generator = moving()
    average = make_ema(generator, 0.5)
    average.update_parameters(generator)
    description = RendererDescription(SEEING, GuidanceConfig("plain", 16), "M901")
    save_description(tmp_path, description)
    checkpoint.save(tmp_path / "checkpoints", 1, {"average": average})
    loaded, found = load_generator(tmp_path)
    assert found == description
    assert not loaded.training
    inputs = some_maps(4), some_first()
    np.testing.assert_array_equal(render(loaded, *inputs), render(generator, *inputs))


def test_render_returns_the_grey_levels_of_the_frames():
    generator = Generator(1, SMALL).eval()
    maps = np.random.default_rng(0).integers(0, 256, (11, 1, 16, 16)).astype(np.uint8)
    with torch.no_grad():
        wanted = 127.5 * (generator(torch.from_numpy(maps).float() / 255) + 1)
    pictures = render(generator, maps)
    assert pictures.shape == (11, 16, 16, 3)
    assert pictures.dtype == np.uint8
    assert np.abs(pictures - wanted.permute(0, 2, 3, 1).numpy()).max() <= 0.5 + 1e-3


def test_a_saved_generator_is_loaded_as_it_was(tmp_path):
    generator = Generator(1, SMALL)
    average = make_ema(generator, 0.5)
    average.update_parameters(generator)
    description = RendererDescription(SMALL, GuidanceConfig("plain", 16), "M901")
    save_description(tmp_path, description)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_generator(tmp_path)
    checkpoint.save(tmp_path / "checkpoints", 1, {"average": average})
    loaded, found = load_generator(tmp_path)
    assert found == description
    assert not loaded.training
    maps = torch.rand(1, 1, 16, 16)
    torch.testing.assert_close(loaded(maps), generator.eval()(maps))


def test_a_folder_of_no_run_says_which_command_makes_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train_edge2video\.py"):
        load_generator(tmp_path)
