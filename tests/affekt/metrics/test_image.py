"""Picture metrics: by hand, against scikit-image, by what moves them; whole clips at once."""

from functools import partial
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from affekt.media.video.video import read_video
from affekt.metrics.image import (
    METRICS,
    picture_scores,
    psnr,
    psnr_u8wrap,
    ssim,
)


def picture(seed=0, size=(48, 40), smooth=True):
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(float)
    for axis in (0, 1) if smooth else ():
        noise = sum(np.roll(noise, k, axis) for k in range(5)) / 5
    return noise.astype(np.uint8)


@st.composite
def pairs(draw, side):
    """A picture of `side` pixels or more, and the same with noise."""
    size, seed = draw(st.tuples(*[st.integers(side, 40)] * 2)), draw(st.integers(0, 999))
    strength, truth = draw(st.integers(0, 255)), picture(seed, size, draw(st.booleans()))
    noise = np.random.default_rng(seed + 1).integers(-strength, strength + 1, truth.shape)
    return np.clip(truth + noise, 0, 255).astype(np.uint8), truth


@settings(max_examples=40, deadline=None)
@given(pairs(7))
def test_ssim_and_psnr_are_scikit_images(pair):
    result, truth = pair
    library = structural_similarity(result, truth, channel_axis=-1, data_range=255)
    assert ssim(result, truth) == pytest.approx(library, abs=1e-11)
    if (result != truth).any():
        library = peak_signal_noise_ratio(truth, result, data_range=255)
        assert psnr(result, truth) == pytest.approx(library)


def test_ssim_takes_black_white_strided_and_full_size_pictures():
    black, white = np.zeros((9, 9, 3), np.uint8), np.full((9, 9, 3), 255, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(black, white) == pytest.approx(c1 / (255**2 + c1))  # by hand: no variance
    large = picture(1, (270, 480))
    other = np.ascontiguousarray(np.roll(large, 1, axis=1))
    library = structural_similarity(large, other, channel_axis=-1, data_range=255)
    assert ssim(large[:, ::-1], other[:, ::-1]) == pytest.approx(library, abs=1e-11)


def test_equal_pictures_have_ssim_1_and_the_capped_psnr():
    assert ssim(picture(), picture()) == 1
    assert psnr(picture(), picture()) == psnr_u8wrap(picture(), picture()) == 100


def test_psnr_by_hand():
    truth = np.full((8, 8, 3), 100, np.uint8)
    result = truth.copy()
    result[0, 0, 0] = 228  # one difference of 128 in 192 numbers: MSE = 128^2 / 192
    assert psnr(result, truth) == pytest.approx(10 * np.log10(255**2 * 192 / 128**2))
    assert psnr(truth, result) == psnr(result, truth)


def test_u8wrap_overflows_as_the_published_script_does():
    truth = np.zeros((16, 16, 3), np.uint8)
    for difference, wrapped in ((3, 9), (16, 0), (20, 400 % 256), (255, 1)):
        result = np.full_like(truth, difference)
        wanted = 100 if wrapped == 0 else 10 * np.log10(255**2 / wrapped)
        assert psnr_u8wrap(result, truth) == pytest.approx(wanted)


def test_u8wrap_has_its_floor_at_27_90_db_for_random_differences():
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    black = np.zeros_like(every)
    assert psnr_u8wrap(every, black) == pytest.approx(27.898, abs=0.001)  # mean square 105.5
    noise = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 1), dtype=np.uint8)
    unrelated = noise.repeat(3, axis=3)
    assert psnr_u8wrap(*unrelated) == pytest.approx(27.90, abs=0.05)
    assert psnr(*unrelated) < 9


def test_a_worse_picture_scores_worse():
    truth = picture(size=(64, 64))
    noise = np.random.default_rng(1).standard_normal(truth.shape)
    worse = [np.clip(truth + s * noise, 0, 255).astype(np.uint8) for s in (2, 8, 32)]
    for metric in (ssim, psnr):
        scores = [metric(result, truth) for result in worse]
        assert scores == sorted(scores, reverse=True)


def test_pictures_that_do_not_match_are_refused():
    for result, truth, message in (
        (picture(), picture(size=(48, 41)), "differ in size"),
        (picture().astype(float), picture(), "of uint8, found float64"),
        (picture()[..., :1], picture()[..., :1], "wanted RGB"),
    ):
        for metric in (ssim, psnr, psnr_u8wrap):
            with pytest.raises(ValueError, match=message):
                metric(result, truth)
    with pytest.raises(ValueError, match="7 x 7 pixels, found 6 x 48"):
        ssim(picture(size=(48, 6)), picture(size=(48, 6)))


def test_ssim_falls_with_every_pixel_of_shift():
    large = picture(2, (80, 96))
    truth = large[:, 8:88]
    scores = [ssim(large[:, 8 - k : 88 - k], truth) for k in range(4)]
    assert scores[0] == 1
    assert min(-np.diff(scores)) > 0.05


def test_brightness_moves_psnr_by_the_known_number_and_leaves_the_structure():
    truth = np.clip(picture(3, (64, 64)), 20, 200)
    for step, decibel in ((8, 30.0691), (16, 24.0485), (32, 18.0279)):  # 20 log10(255 / step)
        assert psnr(truth + np.uint8(step), truth) == pytest.approx(decibel, abs=1e-4)
    assert 0.95 < ssim(truth + np.uint8(16), truth) < 1  # the luminance term alone
    assert ssim(255 - truth, truth) < 0  # the same luminances, the structure reversed


# --- whole clips


def clips(frames=5, size=(24, 31), seed=0):
    """Two clips whose first frames are equal."""
    rng = np.random.default_rng(seed)
    truths = np.stack([picture(seed + k, size) for k in range(frames)])
    results = np.clip(truths + rng.integers(-30, 31, truths.shape), 0, 255).astype(np.uint8)
    results[0] = truths[0]
    return results, truths


def test_a_clips_scores_are_the_definitions_frame_by_frame():
    results, truths = clips()
    found = picture_scores(iter(results), iter(truths))
    assert found.keys() == METRICS.keys() == {"ssim", "psnr", "psnr_u8wrap"}
    for name, values in found.items():
        slow = [METRICS[name](*pair) for pair in zip(results, truths, strict=True)]
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, slow, rtol=0, atol=1e-10)


def test_a_clips_psnr_is_the_mean_of_frames_and_an_equal_frame_counts_100_db():
    truths = np.full((2, 16, 16, 3), 100, np.uint8)
    results = truths.copy()
    results[1] += 8
    values = picture_scores(results, truths)["psnr"]
    assert values == pytest.approx([100, 30.0691], abs=1e-4)
    pooled = 10 * np.log10(255**2 / 32)
    assert values.mean() - pooled > 30


def test_clips_that_cannot_be_compared_are_refused():
    results, truths = clips(frames=3)
    for ours, theirs, message in (
        (results[:2], truths, "argument 2 is longer"),
        (results, truths[:1], "argument 2 is shorter"),
        (results[:, 1:], truths, "differ in size"),
        (results.astype(float), truths, "of uint8"),
        (results[:, :6], truths[:, :6], "needs 7 x 7 pixels, found 31 x 6"),
    ):
        with pytest.raises(ValueError, match=message):
            picture_scores(ours, theirs)


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["av_talk/May_5s.mp4", "mead_same_sentence/W009_front_happy_level3_001.mp4"]
)
def test_real_frames_score_as_scikit_image_says(media_root, name):
    every_third = islice(read_video(media_root / name), 0, 12, 3)
    frames = [frame[:300, :300] for frame in every_third]
    results, truths = frames[1:], frames[:-1]
    library = {
        "ssim": partial(structural_similarity, channel_axis=-1, data_range=255),
        "psnr": partial(peak_signal_noise_ratio, data_range=255),
    }
    found = picture_scores(results, truths)
    for metric, of_pair in library.items():
        values = [*map(of_pair, results, truths)]
        np.testing.assert_allclose(found[metric], values, rtol=0, atol=1e-9)
