"""Validation frames of the renderer: which are chosen, and that runs are rendered as videos."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affekt.media.corpus import Corpus
from affekt.media.validation import ValConfig
from affekt.runtime.config import ConfigError
from evp.data.portraits import GuidanceConfig, OpenClip, VideoDataConfig, nearest_frames
from evp.inference.renderer import render
from evp.networks.generator import Generator, GeneratorConfig
from evp.networks.temporal_generator import TemporalGenerator
from evp.validation import RUN, plot_samples, render_val, run_starts, val_frames
from tests.corpora.portrait_corpus import SIZE, write_portraits

PLAIN = GuidanceConfig("plain", SIZE // 2)
SMALL = GeneratorConfig(4, 1, 1, 1, 1, outer_kernel=3)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    runs=st.integers(0, 30),
    previous=st.integers(0, 4),
    run=st.integers(1, 9),
)
def test_runs_lie_inside_their_clips_apart_and_evenly_spread(lengths, runs, previous, run):
    starts = run_starts(lengths, runs, previous, run)
    assert len(starts) == len(lengths)
    for length, places in zip(lengths, starts, strict=True):
        assert all(previous <= at <= length - run for at in places)
        assert all(later - at >= run for at, later in pairwise(places))
    assert sum(map(len, starts)) <= max(runs, 1)
    long_enough = any(length >= previous + run for length in lengths)
    assert any(starts) == long_enough

    # of all places where a run could be, counted through the clips, none is far from one
    possible = [(clip, at) for clip, n in enumerate(lengths) for at in range(previous, n - run + 1)]
    chosen = [possible.index((clip, at)) for clip, places in enumerate(starts) for at in places]
    steps = {later - at for at, later in pairwise(chosen)}
    assert len(steps) <= 1
    if possible:
        stride = max(-(-len(possible) // max(runs, 1)), run)
        assert steps <= {stride}
        assert chosen[0] <= stride // 2
        assert len(possible) - chosen[-1] <= stride


def test_runs_of_a_known_corpus_begin_where_they_were_worked_out_by_hand():
    # 14 + 4 beginnings, from frame 2 on; 3 runs: every sixth, from the fourth; at least 5 apart
    assert run_starts([20, 10, 4], 3, previous=2, run=5) == [[5, 11], [3], []]
    assert run_starts([20, 10, 4], 9, previous=2, run=5) == [[4, 9, 14], [5], []]
    assert run_starts([10], 4, previous=2, run=8) == [[2]]  # the only one there is


def test_frames_are_spread_evenly_over_the_held_out_clips(tmp_path):
    write_portraits(tmp_path, ("train", *["test_sentence"] * 5), frames=7)
    data = VideoDataConfig((tmp_path,))
    assert len(val_frames(data, ValConfig(), PLAIN, count=100).frames) == 35
    few = val_frames(data, ValConfig(), PLAIN, count=4)  # every ninth of 35
    assert len(few.frames) == len(few.guidance) == len(few.nearest) == 4
    assert few.initial == ()
    clips = Corpus(tmp_path).clips(split="test_sentence")
    wanted = [
        OpenClip(clips[c], PLAIN).read([k])[0][0] for c, k in ((0, 4), (1, 6), (3, 1), (4, 3))
    ]
    np.testing.assert_array_equal(few.frames, wanted)
    assert val_frames(data, ValConfig("none"), PLAIN) is None


def test_runs_have_the_frames_before_them(tmp_path):
    write_portraits(tmp_path, ("train", *["test_sentence"] * 3), frames=12)
    chosen = val_frames(VideoDataConfig((tmp_path,)), ValConfig(), PLAIN, previous=2, count=23)
    # 3 beginnings a clip, 2 runs at most: every eighth of 9, from the fifth
    clips = Corpus(tmp_path).clips(split="test_sentence")
    assert run_starts([12] * 3, 2, 2, RUN) == [[], [3], []]
    frames, maps = OpenClip(clips[1], PLAIN).read(range(1, 11))
    np.testing.assert_array_equal(chosen.frames, frames[2:])
    np.testing.assert_array_equal(chosen.guidance, maps[2:])
    (first,) = chosen.initial
    np.testing.assert_array_equal(first.frames, frames[:2])
    np.testing.assert_array_equal(first.guidance, maps[:2])
    train = Corpus(tmp_path).clips(split="train")
    looked_up = [at for _, at in nearest_frames(train, clips[1])[3:11]]
    np.testing.assert_array_equal(chosen.nearest, OpenClip(train[0], PLAIN).read(looked_up)[0])


def test_clips_too_short_for_a_run_are_refused_with_the_way_out(tmp_path):
    write_portraits(tmp_path, ("train", "test_sentence"), frames=9)
    data = VideoDataConfig((tmp_path,))
    assert len(val_frames(data, ValConfig(), PLAIN, previous=1).frames) == RUN
    with pytest.raises(ConfigError, match=r"has 10 frames, .* set val\.split=none"):
        val_frames(data, ValConfig(), PLAIN, previous=2)


def test_every_run_is_drawn_as_a_video_of_its_own(tmp_path):
    write_portraits(tmp_path, ("train", *["test_sentence"] * 2), frames=30)
    data = VideoDataConfig((tmp_path,))
    generator = TemporalGenerator(1, replace(SMALL, previous=2)).eval()
    chosen = val_frames(data, ValConfig(), PLAIN, previous=2, count=32)
    result = render_val(generator, chosen)
    assert result.shape == chosen.frames.shape == (32, 32, 32, 3)
    for number, first in enumerate(chosen.initial):
        run = slice(RUN * number, RUN * (number + 1))
        np.testing.assert_array_equal(result[run], render(generator, chosen.guidance[run], first))
    single = Generator(1, SMALL).eval()
    alone = val_frames(data, ValConfig(), PLAIN, count=9)
    np.testing.assert_array_equal(render_val(single, alone), render(single, alone.guidance))


def test_a_sample_picture_shows_map_result_and_truth_side_by_side():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 256, (7, 2, 4, 5)).astype(np.uint8)
    result, truth = rng.integers(0, 256, (2, 7, 4, 5, 3)).astype(np.uint8)
    found = plot_samples(maps, result, truth)
    assert found.shape == (4 * 4, 3 * 5, 3)
    for row, t in enumerate((0, 2, 4, 6)):
        strip = found[4 * row : 4 * row + 4]
        np.testing.assert_array_equal(strip[:, :5], maps[t, -1][..., None].repeat(3, axis=-1))
        np.testing.assert_array_equal(strip[:, 5:10], result[t])
        np.testing.assert_array_equal(strip[:, 10:], truth[t])
