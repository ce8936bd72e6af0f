"""The speech aligner against the cell-by-cell definition and by hand; on real speech."""

from collections import defaultdict
from difflib import SequenceMatcher
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest

from affekt.media.audio.mfcc import FRAME_LENGTH, FRAME_STEP, PADDING, mfcc
from affekt.media.audio.reader import read_audio
from affekt.media.constants import SAMPLE_RATE
from data_prep.alignment import speech as alignment
from data_prep.alignment.dtw import dtw_path, warp
from data_prep.alignment.speech import EDGE, END_COST, PAUSE_COST, align_speech, speech_features

STATES = 5 * np.random.default_rng(3).standard_normal((16, 13)) * [0.2, *[1] * 12]


def spoken(states, holds, seed=0, pause_after=None):
    """MFCC of states held for so many rows, 20 rows of silence after one, 12 at both ends."""
    rng = np.random.default_rng(seed)
    silence = np.zeros((20, 13))
    silence[:, 0] = -36
    parts = [silence[:EDGE]]
    for k, (state, hold) in enumerate(zip(states, holds, strict=True)):
        parts += [np.repeat(state[None], hold, axis=0)]
        parts += [silence] if k == pause_after else []
    rows = np.concatenate([*parts, silence[:EDGE]])
    return rows + 0.3 * rng.standard_normal(rows.shape)


def least_cost(distances, pass_a, pass_b):
    """The recursion and the ends as the module's docstring has them, cell by cell."""
    n, m = distances.shape
    best = {(-1, -1): 0.0}
    for i in range(n):
        for j in range(m):
            near = distances[i, j]
            best[i, j] = min(
                best.get((i - 1, j - 1), np.inf) + near,
                best.get((i - 1, j), np.inf) + min(near, pass_a[i]),
                best.get((i, j - 1), np.inf) + min(near, pass_b[j]),
            )
    left_a = np.minimum(END_COST, pass_a)
    left_b = np.minimum(END_COST, pass_b)
    ends = [best[i, m - 1] + left_a[i + 1 :].sum() for i in range(n // 4, n)]
    ends += [best[n - 1, j] + left_b[j + 1 :].sum() for j in range(m // 4, m)]
    return min(ends)


@pytest.mark.parametrize(("n", "m"), [(9, 9), (5, 14), (14, 5), (20, 17), (30, 12)])
@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_finds_the_least_cost_of_the_definition(n, m, seed):
    rng = np.random.default_rng(seed)
    distances = rng.uniform(0, 1, (n, m))
    pass_a = np.where(rng.random(n) < 0.3, PAUSE_COST, np.inf)
    pass_b = np.where(rng.random(m) < 0.3, PAUSE_COST, np.inf)
    path, cost = alignment._best_path(distances, pass_a, pass_b)
    assert cost == pytest.approx(least_cost(distances, pass_a, pass_b), rel=1e-12)
    steps = {tuple(step) for step in np.diff(path, axis=0).tolist()}
    assert path[0].tolist() == [0, 0]
    assert steps <= {(0, 1), (1, 0), (1, 1)}
    assert path[-1, 0] == n - 1 or path[-1, 1] == m - 1


def test_a_path_through_a_pause_and_to_an_early_end_by_hand():
    near = np.ones((3, 5))
    near[0, 0] = near[1, 2] = near[2, 3] = 0.0  # column 1 is a pause, column 4 has no partner
    path, cost = alignment._best_path(
        near, np.full(3, np.inf), np.array([np.inf, PAUSE_COST, np.inf, np.inf, np.inf])
    )
    assert path.tolist() == [[0, 0], [0, 1], [1, 2], [2, 3]]
    assert cost == pytest.approx(PAUSE_COST + END_COST)


def test_a_recording_aligned_to_itself_costs_nothing_row_by_row():
    rows = spoken(STATES, [8] * 16)
    path, cost, matched = align_speech(rows, rows)
    np.testing.assert_array_equal(path, np.arange(len(rows))[:, None].repeat(2, axis=1))
    assert cost == pytest.approx(0, abs=1e-5)
    assert matched == (len(rows), len(rows))


def test_states_meet_their_like_at_an_uneven_rate_over_a_pause():
    rng = np.random.default_rng(0)
    holds, others = rng.integers(5, 12, 16), rng.integers(5, 12, 16)
    a = spoken(STATES, holds, 1, pause_after=7)
    b = spoken(STATES, others, 2)
    said_a = np.r_[
        np.arange(8).repeat(holds[:8]), np.full(20, -1), np.arange(8, 16).repeat(holds[8:])
    ]
    said_b = np.arange(16).repeat(others)
    path = align_speech(a, b).path
    at = warp(np.arange(len(a)), path, len(b))[EDGE:-EDGE] - EDGE
    assert np.mean(said_a[at] == said_b) > 0.97


def test_loudness_and_a_voices_colour_change_nothing():
    a, b = spoken(STATES, [8] * 16, 1), spoken(STATES, [10] * 16, 2)
    changed = a + np.r_[2.0, np.linspace(-3, 3, 12)]
    one, other = align_speech(a, b), align_speech(changed, b)
    np.testing.assert_array_equal(one.path, other.path)
    assert one.cost == pytest.approx(other.cost, rel=1e-9)


@pytest.mark.parametrize("cut", ["a", "b"])
def test_where_one_breaks_off_the_other_stays_alone_and_the_path_still_leads_to_both_ends(cut):
    whole, part = spoken(STATES, [8] * 16, 1), spoken(STATES[:10], [9] * 10, 2)
    a, b = (part, whole) if cut == "a" else (whole, part)
    path, _, matched = align_speech(a, b)
    assert path[0].tolist() == [0, 0]
    assert path[-1].tolist() == [len(a) - 1, len(b) - 1]
    assert {tuple(step) for step in np.diff(path, axis=0).tolist()} <= {(0, 1), (1, 0), (1, 1)}
    long, short = matched if cut == "b" else matched[::-1]
    assert long == pytest.approx(EDGE + 80, abs=2)
    assert short == len(part)
    if cut == "b":  # the rest of the longer one stays beside the last matched row
        rest = path[(path[:, 0] >= long) & (path[:, 0] < len(a) - EDGE)]
        assert set(rest[:, 1].tolist()) == {len(b) - EDGE - 1}


def test_features_are_unit_vectors_and_silence_is_marked():
    rows = spoken(STATES, [8] * 16, pause_after=7)
    features, silent = speech_features(rows)
    assert features.shape == (len(rows) - 2 * EDGE, 26)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-4)
    assert np.flatnonzero(silent).tolist() == list(range(64, 84))


def test_features_are_deviations_of_the_speech_the_energy_twice_and_the_scale_of_a_column_is_lost():
    rows = np.zeros((80, 13))
    rows[12:68, :2] = np.tile([[1.0, 1.0], [-1.0, -1.0]], (28, 1))  # energy and one cepstrum
    features, _ = speech_features(rows)
    np.testing.assert_allclose(features[10, 12], 2 * features[10, 0])
    np.testing.assert_allclose(np.abs(features[10, 0]) / np.abs(features[10]).max(), 0.5, atol=0.01)
    rows[:, 1] *= 3.0
    np.testing.assert_allclose(speech_features(rows)[0], features, atol=1e-5)
    pause = np.zeros((20, 13))
    pause[:, 0], pause[:, 1] = -36, 9
    longer = np.concatenate([rows[:40], pause, rows[40:]])
    np.testing.assert_allclose(speech_features(longer)[0][2:20], features[2:20], atol=1e-5)


def test_digital_silence_and_a_constant_are_aligned_without_a_warning():
    silence = np.full((60, 13), -36.0)
    assert align_speech(silence, silence[:50]).path[-1].tolist() == [59, 49]


def test_bad_input_is_refused_by_name():
    good = spoken(STATES, [4] * 16)
    hole = good.copy()
    hole[30, 2] = np.nan
    for pair, message in (
        ((good[:24], good), r"first recording's MFCC have shape \(24, 13\), wanted \(rows, 13\)"),
        ((good, good[:, :12]), r"second recording's MFCC have shape"),
        ((good, hole), "second recording's MFCC hold NaN or infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            align_speech(*pair)


FIRST_ROW = (FRAME_LENGTH / 2 - PADDING) / SAMPLE_RATE  # seconds; a row stands for its middle


def syllables(path):
    """Starts in seconds, and what is said, of Emo-DB's labels without pauses."""
    lines = path.read_text(encoding="latin-1").lower().splitlines()
    labels = [line.split() for line in lines if line.strip()]
    kept = [(float(time), name) for time, name in labels if name != "("]
    return np.array([time for time, _ in kept]), [name for _, name in kept]


def errors_ms(a, b, path, matched):
    """How far from the labels of `a` the starts of the syllables of `b` come to lie."""
    blocks = SequenceMatcher(None, a.names, b.names, autojunk=False).get_matching_blocks()
    same = [(i + k, j + k) for i, j, size in blocks for k in range(size)]
    first, second = np.array(same, int).reshape(-1, 2).T
    wanted, starts = a.starts[first], b.starts[second]
    rows = warp(np.arange(len(a.mfcc)), path, len(b.mfcc))[:matched]
    at = (starts - FIRST_ROW) * SAMPLE_RATE / FRAME_STEP
    past = np.maximum(at - (len(rows) - 1), 0)
    found = (np.interp(at, np.arange(len(rows)), rows) + past) * FRAME_STEP / SAMPLE_RATE
    inside = (wanted < a.seconds) & (starts < b.seconds)  # copies are cut to one length
    return 1000 * np.abs(found + FIRST_ROW - wanted)[inside]


@pytest.mark.data
def test_on_real_speech_the_starts_of_syllables_are_found_better_than_by_plain_dtw(media_root):
    root = media_root / "emodb"
    if not (root / "silb").is_dir():
        pytest.skip("Emo-DB has no silb folder here")
    said = {}
    for path in sorted((root / "wav").glob("*.wav")):
        samples = read_audio(path)
        starts, names = syllables(root / "silb" / f"{path.stem}.silb")
        seconds = len(samples) / SAMPLE_RATE
        said[path.stem] = SimpleNamespace(
            mfcc=mfcc(samples), seconds=seconds, starts=starts, names=names
        )
    errors = defaultdict(list)
    for (one, a), (other, b) in permutations(said.items(), 2):
        if one[:5] == other[:5] and one[5] != other[5]:  # a speaker's text in two emotions
            chosen_on = one[:2] in ("03", "08", "10", "11")
            path, _ = dtw_path(a.mfcc, b.mfcc)
            errors[chosen_on, "plain"].append(errors_ms(a, b, path, len(b.mfcc)))
            path, _, (_, matched) = align_speech(a.mfcc, b.mfcc)
            errors[chosen_on, "ours"].append(errors_ms(a, b, path, matched))
    assert sum(map(len, errors.values())) > 2 * 1900
    for chosen_on in (True, False):
        plain, ours = (np.concatenate(errors[chosen_on, name]) for name in ("plain", "ours"))
        assert np.median(ours) < np.median(plain)
        assert ours.mean() < 0.6 * plain.mean()
        assert np.median(ours) <= 20
        assert ours.mean() <= 45
