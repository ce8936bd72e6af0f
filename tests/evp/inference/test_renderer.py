"""What a sequential renderer sees before a video's first frame, and how its videos are drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from affekt.media.faces.crop import Crop, cut
from affekt.media.video.pictures import resized
from affekt.media.video.video import VideoWriter, read_frames
from affekt.nets.ema import make_ema
from affekt.runtime import checkpoint
from evp.data.portraits import guidance_maps, scaled
from evp.inference.drawing import RendererDescription, make_generator, render, save_description
from evp.inference.portrait import edit
from evp.inference.renderer import Renderer, Target, frames_before, load_renderer
from evp.networks.generator import GeneratorConfig, GuidanceConfig

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


def renderer(config, opener=None):
    torch.manual_seed(0)
    made = [
        None if each is None else make_generator(PLAIN, each).eval() for each in (config, opener)
    ]
    return Renderer(made[0], PLAIN, "s", made[1])


def test_the_targets_own_frames_come_before_mirrored_in_time(target):
    first = frames_before(renderer(BEFORE), target, target.landmarks + 3, target.landmarks)
    stored = np.stack([cut(frame, CROP) for frame in read_frames(target.path)[[2, 1]]])
    np.testing.assert_array_equal(first.frames, resized(stored, 32))
    own = CROP.to_stored(target.landmarks[[2, 1]])
    np.testing.assert_array_equal(first.guidance, guidance_maps(stored, own, PLAIN))


def test_an_opener_draws_the_new_face_in_them(target):
    faces = target.landmarks + 3
    both = renderer(BEFORE, ALONE)
    first = frames_before(both, target, faces, target.landmarks)
    stored = np.stack([cut(frame, CROP) for frame in read_frames(target.path)[[2, 1]]])
    new, old = (CROP.to_stored(each[[2, 1]]) for each in (faces, target.landmarks))
    np.testing.assert_array_equal(first.guidance, guidance_maps(stored, new, PLAIN, old))
    np.testing.assert_array_equal(first.frames, render(both.opener, first.guidance))


def test_a_target_that_is_shorter_than_what_is_seen_gives_its_last_frame_again(target):
    long = renderer(replace(ALONE, previous=4))
    first = frames_before(long, target, target.landmarks[:3], target.landmarks[:3])
    np.testing.assert_array_equal(first.frames[0], first.frames[1])  # frame 2 for 4, 3 and 2
    np.testing.assert_array_equal(first.frames[1], first.frames[2])
    assert (first.frames[2] != first.frames[3]).any()


def test_a_renderer_of_single_frames_sees_nothing_before(target):
    assert frames_before(renderer(ALONE), target, target.landmarks, target.landmarks) is None


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
    checkpoint.save(folder / "checkpoints", 1, {"average": make_ema(generator, 0.0)})
    return folder


def test_runs_are_loaded_with_an_opener_that_fits(tmp_path):
    run, opener = saved(tmp_path / "run", BEFORE), saved(tmp_path / "opener", ALONE)
    assert load_renderer(run, "cpu").opener is None
    assert load_renderer(run, "cpu", opener).opener is not None
    with pytest.raises(ValueError, match=r"generator.previous=0 there, and one with 1 or more"):
        load_renderer(run, "cpu", run)
    with pytest.raises(ValueError, match=r"generator.previous=0 there, and one with 1 or more"):
        load_renderer(opener, "cpu", opener)
    small = saved(tmp_path / "small", ALONE, replace(PLAIN, size=16))
    with pytest.raises(ValueError, match=r"has guidance .*size=16"):
        load_renderer(run, "cpu", small)
    other = saved(tmp_path / "other", ALONE, speaker="t")
    with pytest.raises(ValueError, match=r"has speaker t, .* has s"):
        load_renderer(run, "cpu", other)


def test_the_frames_before_are_of_the_faces_that_are_drawn(target, monkeypatch):
    seen = []

    def noted(*given):
        seen.append(given)
        return frames_before(*given)

    monkeypatch.setattr("evp.inference.portrait.frames_before", noted)
    face = np.random.default_rng(1).uniform(80, 170, (6, 68, 2))
    edited = list(edit(renderer(BEFORE, ALONE), target, face, None, "none"))
    (_, whose, faces, replaced) = seen[0]
    assert whose is target
    there = scaled(CROP.to_stored(faces), 32 / 64)
    np.testing.assert_allclose(there, [frame.face for frame in edited], rtol=1e-9)
    np.testing.assert_array_equal(replaced, target.landmarks)
