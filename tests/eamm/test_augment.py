import time
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms import functional

from eamm.augment import (
    MOUTH_ONLY,
    NOTHING,
    AugmentConfig,
    augment,
    colour_jitter,
    mask_mouth,
    mouth_box,
    perspective_matrix,
    rotate,
)
from eamm.fomm.data import JitterConfig, jittered, sample_jitter

RELEASE = AugmentConfig()


def rng(*seed):
    return np.random.default_rng(seed or 0)


def clip(frames=6, size=64):
    """Smooth, coloured, without symmetry, and not black anywhere."""
    y, x = np.mgrid[:size, :size] / size
    picture = np.stack([0.3 + 0.6 * x, 0.3 + 0.6 * y * x, 0.8 - 0.4 * y], axis=-1)
    still = np.repeat(picture[None], frames, axis=0)
    return (255 * (still + 0.02 * np.arange(frames)[:, None, None, None])).clip(1, 255).astype("u1")


def test_the_mouths_rectangle_is_the_releases_and_scales_with_the_picture():
    assert mouth_box(256) == (85, 160, 185, 220)
    assert mouth_box(128) == (42, 80, 92, 110)


def test_noise_hides_the_mouth_anew_in_each_frame_and_nothing_else():
    frames = clip(size=256)
    masked = augment(frames, MOUTH_ONLY, rng())
    inside = masked[:, 160:220, 85:185]
    outside = masked.copy()
    outside[:, 160:220, 85:185] = frames[:, 160:220, 85:185]
    np.testing.assert_array_equal(outside, frames)
    assert np.abs(inside.mean() - 127.5) < 1
    assert np.abs(inside.std() - 255 / np.sqrt(12)) < 1
    assert (inside.min(), inside.max()) == (0, 255)
    for first, second in pairwise(inside):
        assert np.abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05
    for before, noise in zip(frames[:, 160:220, 85:185], inside, strict=True):
        assert np.abs(np.corrcoef(before.ravel(), noise.ravel())[0, 1]) < 0.05


def test_with_everything_off_nothing_changes():
    frames = clip()
    np.testing.assert_array_equal(augment(frames, NOTHING, rng()), frames)


def test_equal_draws_are_equal_and_the_input_is_left_alone():
    frames = clip()
    before = frames.copy()
    strong = replace(RELEASE, jitter=(0.1, 0.1, 0.1, 0.1))
    one, two, other = (augment(frames, strong, rng(3, draw)) for draw in (7, 7, 8))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(frames, before)
    assert (one.dtype, one.shape) == (np.uint8, frames.shape)


def test_a_clip_is_mirrored_as_a_whole_half_of_the_time():
    frames = clip()
    mirrored = 0
    for draw in range(200):
        out = augment(frames, replace(NOTHING, flip=0.5), rng(draw))
        if np.array_equal(out, frames[:, :, ::-1]):
            mirrored += 1
        else:
            np.testing.assert_array_equal(out, frames)
    assert 75 < mirrored < 125


def test_a_quarter_turn_moves_every_pixel_counter_clockwise():
    frames = clip()
    np.testing.assert_array_equal(rotate(frames, 90), np.rot90(frames, axes=(1, 2)))


def test_a_clip_turns_by_one_angle_and_its_corners_are_black():
    still = np.repeat(clip(1), 5, axis=0)
    angles = set()
    for draw in range(20):
        turned = augment(still, replace(NOTHING, rotation=30.0), rng(draw))
        assert (turned == turned[0]).all()
        angles.add(turned[0].tobytes())
    assert len(angles) == 20
    assert not rotate(still, 30)[0, 0, 0].any()
    np.testing.assert_allclose(rotate(still, 30)[0, 32, 32], still[0, 32, 32], atol=3)


def test_angles_stay_within_the_bound_on_both_sides():
    """A single bright pixel on the right edge tells the angle."""
    frame = np.zeros((1, 101, 101, 3), np.uint8)
    frame[0, 47:54, 90] = 255
    seen = []
    for draw in range(100):
        turned = augment(frame, replace(NOTHING, rotation=30.0), rng(draw))[0, ..., 0]
        y, x = np.argwhere(turned > 60).mean(axis=0) - 50
        seen.append(np.degrees(np.arctan2(-y, x)))
    assert -31 < min(seen) < -25
    assert 25 < max(seen) < 31


def test_the_upper_corners_stay_and_the_lower_ones_move_towards_each_other():
    matrix = perspective_matrix(256, 24, 30)
    square = np.array([[[-30, -30], [286, -30], [-30, 286], [286, 286]]], float)
    moved = cv2.perspectiveTransform(square, matrix)[0]
    np.testing.assert_allclose(moved, [[-30, -30], [286, -30], [-6, 286], [262, 286]], atol=1e-3)


def test_perspective_is_drawn_for_each_frame_and_leaves_no_black_border():
    still = np.repeat(clip(1), 8, axis=0)
    sheared = augment(still, replace(NOTHING, perspective=1.0), rng())
    assert len({frame.tobytes() for frame in sheared}) == 8
    assert sheared.min() >= still.min()
    assert np.abs(sheared.astype(int) - still).mean() > 1


def test_a_smaller_share_of_the_perspective_moves_less():
    still = clip(12)
    less, more = (augment(still, replace(NOTHING, perspective=each), rng()) for each in (0.25, 1))
    assert np.abs(less.astype(int) - still).mean() < 0.5 * np.abs(more.astype(int) - still).mean()


def test_colours_change_alike_in_all_frames():
    still = np.repeat(clip(1), 4, axis=0)
    changed = colour_jitter(still, (0.2, 0.2, 0.2, 0.1), rng())
    assert (changed == changed[0]).all()
    assert not np.array_equal(changed, still)


def test_colours_change_as_torchvisions_do():
    """Of smooth pictures, for one draw: the release's ColorJitter, but for the rounding of hue."""
    frames, strengths = clip(3), (0.1, 0.1, 0.1, 0.1)
    expected = torch.from_numpy(frames).movedim(-1, 1)
    for name, factor in sample_jitter(JitterConfig(*strengths), rng(4)):
        expected = getattr(functional, f"adjust_{name}")(expected, factor)
    apart = colour_jitter(frames, strengths, rng(4)) - expected.movedim(1, -1).numpy().astype(int)
    assert np.abs(apart).mean() < 1.5  # grey levels
    assert np.percentile(np.abs(apart), 99) <= 8
    assert np.abs(colour_jitter(frames, strengths, rng(4)) - frames.astype(int)).mean() > 4


def test_a_strength_of_zero_leaves_that_property_alone():
    """Hue goes by way of 8-bit HSV, which changes colours even by no turn at all."""
    brighter = [("brightness", 1.07)]
    expected = jittered(clip(), brighter)
    np.testing.assert_array_equal(jittered(clip(), [("hue", 0.0), *brighter]), expected)


def test_brightness_alone_is_one_factor_within_its_bounds():
    frames = clip()
    factors = []
    for draw in range(30):
        brighter = colour_jitter(frames, (0.1, 0.0, 0.0, 0.0), rng(draw))
        inside = (frames > 40) & (frames < 200)
        ratio = brighter[inside] / frames[inside]
        assert ratio.std() < 0.01
        factors.append(ratio.mean())
    assert 0.89 < min(factors) < 0.95
    assert 1.05 < max(factors) < 1.11


def test_the_steps_come_in_the_releases_order():
    """Noise first: turned, it is no longer an upright rectangle; the corners stay black."""
    frames = np.full((1, 64, 64, 3), 100, np.uint8)
    out = augment(frames, replace(RELEASE, flip=0.0, perspective=0.0, rotation=30.0), rng(5))
    left, top, right, bottom = mouth_box(64)
    upright = np.zeros((64, 64), bool)
    upright[top:bottom, left:right] = True
    changed = (out[0] != 100).any(axis=-1) & (out[0] != 0).any(axis=-1)
    assert (changed & ~upright).sum() > 20
    assert mask_mouth(frames, rng(5))[0][~upright].min() == 100


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"flip": 1.5}, "flip is 1.5"),
        ({"rotation": -1.0}, "wanted 0 or more"),
        ({"jitter": (0.0, 0.0, 0.0, 0.6)}, "hue is 0.6"),
    ],
)
def test_impossible_strengths_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**wrong)


def test_sixteen_frames_take_milliseconds():
    frames = clip(16, 256)
    augment(frames, RELEASE, rng())
    took = []
    for draw in range(3):
        begun = time.process_time()
        augment(frames, RELEASE, rng(draw))
        took.append(time.process_time() - begun)
    assert min(took) < 0.2


def test_jitter_of_sixteen_frames_takes_less_than_reading_them():
    frames, took = clip(16, 256), []
    for draw in range(3):
        begun = time.process_time()
        colour_jitter(frames, (0.1,) * 4, rng(draw))
        took.append(time.process_time() - begun)
    assert min(took) < 0.1  # 0.4 s by torchvision
