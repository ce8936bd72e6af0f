"""Items of AME: crops, jitter and masks of a sound, pictures, one item at one index."""

import numpy as np
import pytest
import torch

from affekt.media.audio.mel import BINS, FLOOR
from emospace.data.emotions import (
    LEVEL_INTENSITY,
    EmotionClips,
    EmotionDataConfig,
    intensity_of,
    masked,
    picture_jitter,
    spectrum_jitter,
    spread_frames,
    training_clips,
)
from tests.corpora.emotion_space_corpus import make_emotion_corpus

PLAIN = EmotionDataConfig(
    seconds=0.5, frames=3, gain=0.0, equaliser=0.0, time_masks=0, band_masks=0, flip=False
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("items") / "corpus"
    return make_emotion_corpus(root, speakers=2, held_out=1, frames=20)


def items_of(corpus, config, **options):
    prompts = {(label, 0): 10 * label + torch.arange(5) for label in range(3)}
    prompts[1, 3] = torch.tensor([99])
    clips = training_clips(corpus, config)
    return EmotionClips(clips, corpus.emotions, prompts, config, seed=1, **options)


def test_an_item_is_of_one_clip_and_its_emotion(corpus):
    items = items_of(corpus, PLAIN, images=24)
    starts = set()
    for index in range(2 * len(items)):
        item, clip = items[index], items.clips[index % len(items)]
        label = corpus.emotions.index(clip.emotion)
        assert (int(item["label"]), int(item["level"])) == (label, clip.level)
        assert int(item["rows"]) == 40 == len(item["mel"])
        found = np.lib.stride_tricks.sliding_window_view(clip.mel(), 40, axis=0)
        apart = np.abs(found.transpose(0, 2, 1) - item["mel"].numpy()).max(axis=(1, 2))
        assert apart.min() == 0
        starts.add(int(apart.argmin()))
        assert item["image"].shape == (3, 24, 24)
        text = int(item["text"])
        assert text == 99 if (label, clip.level) == (1, 3) else text // 10 == label
    assert len(starts) > 8  # of 26


def test_the_same_index_gives_the_same_item_and_another_epoch_another(corpus):
    items = items_of(corpus, EmotionDataConfig(seconds=0.5, frames=3))
    again = items_of(corpus, EmotionDataConfig(seconds=0.5, frames=3))
    for name, value in items[3].items():
        assert torch.equal(value, again[3][name])
    other = items[3 + len(items)]
    assert not torch.equal(other["mel"], items[3]["mel"])


def test_features_of_a_frozen_tower_take_the_place_of_pixels(corpus):
    count = len(training_clips(corpus, PLAIN))
    features = torch.randn(count, 3, 7)
    items = items_of(corpus, PLAIN, images=features)
    seen = {int(k) for i in range(40) for k in [place(features[1], items[1 + count * i]["image"])]}
    assert seen == {0, 1, 2}


def place(rows, row):
    return (rows == row).all(dim=1).nonzero()[0]


def test_a_short_sound_is_followed_by_silence_that_is_counted_out(corpus):
    items = items_of(corpus, EmotionDataConfig(seconds=2.0, frames=3))
    item = items[0]
    rows = int(item["rows"])
    assert (rows, len(item["mel"])) == (65, 160)
    assert item["mel"][rows:].unique().tolist() == pytest.approx([np.log(FLOOR)])
    assert item["mel"].min() >= np.float32(np.log(FLOOR))


def test_statistics_are_those_of_all_training_mels(corpus):
    values = np.concatenate([clip.mel().ravel() for clip in corpus.clips("train")])
    found = items_of(corpus, PLAIN).stats()
    assert found == pytest.approx((values.mean(), values.std()), rel=1e-5)


def test_jitter_has_the_size_that_is_asked_for_and_is_smooth():
    rng = np.random.default_rng(0)
    curves = np.array([spectrum_jitter(0.0, 3.0, rng) for _ in range(400)])
    assert curves[:, [0, -1]].std() == pytest.approx(3.0, rel=0.1)
    assert np.abs(np.diff(curves, axis=1)).max() < 1.5
    gains = np.array([spectrum_jitter(2.0, 0.0, rng) for _ in range(400)])
    assert gains.std() == pytest.approx(2.0, rel=0.1)
    assert np.ptp(gains, axis=1).max() == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mask_replaces_one_run_of_rows_or_bins_by_the_mean(axis):
    mel = np.random.default_rng(0).normal(size=(30, BINS))
    lengths = set()
    for seed in range(60):
        changed = masked(mel, 6, axis, np.random.default_rng(seed)) != mel
        lines = changed.all(axis=1 - axis)
        assert changed.sum() == lines.sum() * mel.shape[1 - axis]
        assert np.abs(np.diff(lines.astype(int))).sum() <= 2
        lengths.add(int(lines.sum()))
    assert lengths == set(range(7))


def test_a_picture_is_shifted_and_lit_otherwise_but_not_torn():
    picture = np.full((20, 20, 3), 100, np.uint8)
    picture[8:12, 8:12] = 200
    same = picture_jitter(picture, 0.0, 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(same, picture)
    moved = picture_jitter(picture, 0.0, 0.2, np.random.default_rng(1))
    assert (moved == 200).sum() == (picture == 200).sum()
    assert (moved != picture).any()
    lit = picture_jitter(picture, 0.3, 0.0, np.random.default_rng(1))
    assert len(np.unique(lit)) == 2


def test_frames_are_spread_evenly_and_repeat_in_a_short_clip(corpus):
    clip = corpus.clips()[0]
    assert spread_frames(clip, 3) == [3, 10, 16]
    assert spread_frames(clip, 1) == [10]
    assert len(spread_frames(clip, 50)) == 50


def test_the_intensity_of_a_level_is_meads_and_of_neutral_1(corpus):
    for clip in corpus.clips():
        wanted = 1.0 if clip.emotion == "neutral" else LEVEL_INTENSITY[clip.level]
        assert intensity_of(clip) == wanted
    with pytest.raises(ValueError, match="seconds must be above 0"):
        EmotionDataConfig(seconds=0.0)
