"""Rendering frames in order, each after those before it, and a generator's files."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from affekt.media.faces.crop import Crop, cut
from affekt.media.video.pictures import resized
from affekt.media.video.video import VideoWriter, read_frames
from affekt.runtime.training import checkpoint
from affekt.runtime.training.optim import Ema
from evp.data.portraits import GuidanceConfig, guidance_maps, scaled
from evp.inference.portrait import edit
from evp.inference.renderer import (
    FrameRenderer,
    InitialFrames,
    Renderer,
    RendererDescription,
    Target,
    grey_levels,
    history_length,
    initial_frames,
    load_generator,
    load_renderer,
    make_generator,
    render,
    save_description,
)
from evp.networks.generator import Generator, GeneratorConfig
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


def some_initial(count=2):
    frames = np.random.default_rng(1).integers(0, 256, (count, 16, 16, 3)).astype(np.uint8)
    return InitialFrames(frames, some_maps(count, seed=2))


def test_a_temporal_generator_goes_on_from_its_own_frames():
    generator, first, maps = moving(), some_initial(), some_maps(5)
    frames = [torch.from_numpy(frame).permute(2, 0, 1) / 127.5 - 1 for frame in first.frames]
    seen = torch.from_numpy(np.concatenate([first.guidance, maps])) / 255
    with torch.no_grad():
        for t in range(5):
            before = torch.stack(frames[t : t + 2])
            frames.append(generator(seen[None, t : t + 3], before[None]).frame[0])
    wanted = grey_levels(torch.stack(frames[2:]))
    found = render(generator, maps, first)
    assert (found.shape, found.dtype) == ((5, 16, 16, 3), np.uint8)
    assert np.abs(found.astype(int) - wanted).max() <= 1  # of rounding


@pytest.mark.parametrize("generator", [moving, lambda: Generator(1, SMALL).eval()])
def test_a_video_in_two_calls_is_the_video_in_one(generator):
    torch.manual_seed(0)
    generator, maps = generator(), some_maps(11)
    first = some_initial() if history_length(generator) else None
    frames = FrameRenderer(generator, first)
    parts = [frames.render(maps[:1]), frames.render(maps[1:4]), frames.render(maps[4:])]
    whole = render(generator, maps, first)
    assert np.abs(np.concatenate(parts).astype(int) - whole).max() <= 1
    assert not any(frame.requires_grad for frame in frames.history)  # no graph grows with it
    again = render(generator, maps, first)  # a new video begins anew
    np.testing.assert_array_equal(again, whole)


def test_what_was_before_counts():
    generator, maps, first = moving(), some_maps(3), some_initial()
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
        (some_initial(1), "1 frames before the first one, wanted 2"),
        (some_initial(3), "3 frames before the first one, wanted 2"),
        (InitialFrames(some_initial().frames, some_maps(1)), "1 guidance maps .*, wanted 2"),
    ],
)
def test_a_temporal_generator_wants_the_frames_before_the_first(first, message):
    with pytest.raises(ValueError, match=message):
        FrameRenderer(moving(), first)


def test_each_kind_of_generator_says_how_many_frames_it_sees():
    for previous in (0, 1, 3):
        config = replace(SMALL, previous=previous)
        generator = make_generator(GuidanceConfig("plain", 16), config)
        assert isinstance(generator, TemporalGenerator if previous else Generator)
        assert history_length(generator) == previous
        assert history_length(Ema(generator, 0.5)) == previous


def test_grey_levels_are_rounded_and_stay_in_their_range():
    values = torch.tensor([-1.2, -1, -0.997, 0, 0.5, 1, 1.2])
    levels = grey_levels(values[:, None, None, None].expand(7, 3, 1, 1))
    assert levels[:, 0, 0, 0].tolist() == [0, 0, 0, 128, 191, 255, 255]


def test_render_returns_the_grey_levels_of_the_frames():
    generator, maps = Generator(1, SMALL).eval(), some_maps(11)
    with torch.no_grad():
        wanted = 127.5 * (generator(torch.from_numpy(maps).float() / 255) + 1)
    pictures = render(generator, maps)
    assert (pictures.shape, pictures.dtype) == ((11, 16, 16, 3), np.uint8)
    assert np.abs(pictures - wanted.permute(0, 2, 3, 1).numpy()).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("make", [moving, lambda: Generator(1, SMALL)])
def test_a_saved_generator_is_loaded_as_it_was(tmp_path, make):
    with pytest.raises(FileNotFoundError, match=r"train_edge2video\.py"):
        load_generator(tmp_path)
    generator = make().eval()
    average = Ema(generator, 0.5)
    average.update_parameters(generator)
    description = RendererDescription(generator.config, GuidanceConfig("plain", 16), "M901")
    save_description(tmp_path, description)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_generator(tmp_path)
    checkpoint.save(tmp_path / "checkpoints", 1, {"ema": average})
    loaded, found = load_generator(tmp_path)
    assert found == description
    assert not loaded.training
    inputs = some_maps(4), some_initial() if history_length(generator) else None
    np.testing.assert_array_equal(render(loaded, *inputs), render(generator, *inputs))


PLAIN = GuidanceConfig("plain", 32)
ALONE = GeneratorConfig(channels=2, downsamplings=1, blocks=1, enhancers=0, outer_kernel=3)
BEFORE = replace(ALONE, previous=2)
CROP = Crop(np.array([[0.4, 0, -8.0], [0, 0.4, -4.0]]), (64, 64), (160, 128))


@pytest.fixture
def target(tmp_path):
    """A video of 6 frames, the face a pixel further to the right in each."""
    rng = np.random.default_rng(0)
    wall = rng.integers(0, 256, (16, 20, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    with VideoWriter(tmp_path / "v.mp4", (160, 128)) as writer:
        for t in range(6):
            writer.write(np.roll(wall, 4 * t, axis=1))
    face = rng.uniform(60, 110, (68, 2)) * [1, 0.8]
    return Target(tmp_path / "v.mp4", face + np.arange(6)[:, None, None] * [2, 0], CROP)


def renderer(config, other=None):
    torch.manual_seed(0)
    configs = (config, other)
    made = [each and make_generator(PLAIN, each).eval() for each in configs]
    return Renderer(made[0], PLAIN, "s", made[1])


def test_the_targets_own_frames_come_before_mirrored_in_time_or_an_image_generators(target):
    faces = target.landmarks + 3
    stored = np.stack([cut(frame, CROP) for frame in read_frames(target.path)[[2, 1]]])
    new, old = (CROP.to_stored(each[[2, 1]]) for each in (faces, target.landmarks))
    own = initial_frames(renderer(BEFORE), target, faces, target.landmarks)
    np.testing.assert_array_equal(own.frames, resized(stored, 32))
    np.testing.assert_array_equal(own.guidance, guidance_maps(stored, old, PLAIN))
    both = renderer(BEFORE, ALONE)
    made = initial_frames(both, target, faces, target.landmarks)
    np.testing.assert_array_equal(made.guidance, guidance_maps(stored, new, PLAIN, old))
    np.testing.assert_array_equal(made.frames, render(both.image_generator, made.guidance))


def test_a_target_that_is_shorter_than_what_is_seen_gives_its_last_frame_again(target):
    long = renderer(replace(ALONE, previous=4))
    first = initial_frames(long, target, target.landmarks[:3], target.landmarks[:3])
    np.testing.assert_array_equal(first.frames[0], first.frames[1])  # frame 2 for 4, 3 and 2
    np.testing.assert_array_equal(first.frames[1], first.frames[2])
    assert (first.frames[2] != first.frames[3]).any()


def test_a_renderer_of_single_frames_sees_nothing_before(target):
    assert initial_frames(renderer(ALONE), target, target.landmarks, target.landmarks) is None


def test_an_edited_video_is_one_sequence_however_many_frames_are_read_at_once(target, monkeypatch):
    face = np.random.default_rng(1).uniform(80, 170, (11, 68, 2))
    draw = renderer(BEFORE)
    whole = [frame.picture for frame in edit(draw, target, face, None, "none")]
    monkeypatch.setattr("evp.inference.portrait.BATCH", 3)
    parts = [frame.picture for frame in edit(draw, target, face, None, "none")]
    np.testing.assert_array_equal(whole, parts)
    assert len(whole) == 11
    other = renderer(BEFORE, ALONE)  # the same network, after other frames
    assert (np.array(whole) != [f.picture for f in edit(other, target, face, None, "none")]).any()


def saved(folder, config, guidance=PLAIN, speaker="s"):
    generator = make_generator(guidance, config)
    save_description(folder, RendererDescription(config, guidance, speaker))
    checkpoint.save(folder / "checkpoints", 1, {"ema": Ema(generator, 0.0)})
    return folder


def test_runs_are_loaded_with_an_image_generator_that_fits(tmp_path):
    run, still = saved(tmp_path / "run", BEFORE), saved(tmp_path / "still", ALONE)
    assert load_renderer(run, "cpu").image_generator is None
    assert load_renderer(run, "cpu", still).image_generator is not None
    with pytest.raises(ValueError, match=r"generator.previous=0 there, and one with 1 or more"):
        load_renderer(run, "cpu", run)
    with pytest.raises(ValueError, match=r"generator.previous=0 there, and one with 1 or more"):
        load_renderer(still, "cpu", still)
    with pytest.raises(ValueError, match=r"has guidance .*size=16"):
        load_renderer(run, "cpu", saved(tmp_path / "small", ALONE, replace(PLAIN, size=16)))
    with pytest.raises(ValueError, match=r"has speaker t, .* has s"):
        load_renderer(run, "cpu", saved(tmp_path / "other", ALONE, speaker="t"))


def test_the_initial_frames_are_of_the_faces_that_are_drawn(target, monkeypatch):
    seen = []

    def noted(*given):
        seen.append(given)
        return initial_frames(*given)

    monkeypatch.setattr("evp.inference.portrait.initial_frames", noted)
    face = np.random.default_rng(1).uniform(80, 170, (6, 68, 2))
    edited = list(edit(renderer(BEFORE, ALONE), target, face, None, "none"))
    (_, whose, faces, replaced) = seen[0]
    assert whose is target
    there = scaled(CROP.to_stored(faces), 32 / 64)
    np.testing.assert_allclose(there, [frame.face for frame in edited], rtol=1e-9)
    np.testing.assert_array_equal(replaced, target.landmarks)
