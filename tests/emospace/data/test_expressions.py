"""What an item of EAC is made of, and that whitening does not blow up noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from affekt.media.audio.mel import mel_windows
from affekt.runtime.config import ConfigError
from emospace.data.emotions import intensity_of
from emospace.data.expressions import (
    EmotionCodes,
    ExpressionDataConfig,
    ExpressionWindows,
    displacements,
    expression_stats,
    reference_clips,
)
from emospace.data.motions import EXPRESSION_FLOOR, LIMIT, floored
from tests.corpora.emotion_space_corpus import FACES, make_emotion_corpus

C, P = 6, 2
CONFIG = ExpressionDataConfig(window=10, overlap=3, pictures=P)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    corpus = make_emotion_corpus(tmp_path_factory.mktemp("c"), 3, 1, frames=12, levels=(1, 3))
    return corpus.clips("train")


def codes_of(clips):
    """Codes that name where they come from: kind, then the place or emotion, then the row."""
    emotions = sorted({clip.emotion for clip in clips})
    text = {e: np.array([[0, k, n, 0, 0, 0] for n in range(3)]) for k, e in enumerate(emotions)}
    image = np.array([[[1, n, p, 0, 0, 0] for p in range(P)] for n in range(len(clips))])
    audio = np.array([[2, n, 0, 0, 0, 0] for n in range(len(clips))])
    return EmotionCodes(text, image, audio)


def windows_of(clips, **changes):
    return ExpressionWindows(clips, codes_of(clips), replace(CONFIG, **changes), 16, seed=3)


def test_an_item_is_a_window_of_one_clip_and_belongs_together(clips):
    items = windows_of(clips)
    starts = set()
    for index in range(len(items), 4 * len(items)):
        clip, item = clips[index % len(items)], items[index]
        expression, sound = clip.expression(), mel_windows(clip.mel(), 16)
        found = [s for s in range(3) if np.array_equal(expression[s : s + 10], item["expression"])]
        assert len(found) == 1
        np.testing.assert_array_equal(item["mel"], sound[found[0] : found[0] + 10])
        wanted = {1: 0.45, 3: 1.0}[clip.level] if clip.emotion != "neutral" else 1.0
        assert item["intensity"] == pytest.approx(wanted)
        starts |= {*found}
    assert starts == {0, 1, 2}


def test_the_reference_is_a_frame_of_another_neutral_clip_of_the_speaker(clips):
    items = windows_of(clips)
    for index in range(3 * len(items)):
        clip = clips[index % len(items)]
        others = [c for c in clips if c.speaker == clip.speaker and c.emotion == "neutral"]
        frames = np.concatenate([c.expression() for c in others if c.id != clip.id])
        assert (frames == items[index]["reference"].numpy()).all(axis=1).any()


def test_codes_come_from_every_modality_and_any_clip_of_the_emotion(clips):
    items = windows_of(clips)
    kinds, sources = [], set()
    emotions = sorted({clip.emotion for clip in clips})
    for index in range(30 * len(items)):
        clip = clips[index % len(items)]
        kind, place, _ = items[index]["code"][:3].int().tolist()
        kinds.append(kind)
        emotion = emotions[place] if kind == 0 else clips[place].emotion
        assert emotion == clip.emotion
        if kind and index % len(items) == 0:
            sources.add(place)
    shares = np.bincount(kinds) / len(kinds)
    np.testing.assert_allclose(shares, np.full(3, 1 / 3), atol=0.06)
    assert len({clips[place].speaker for place in sources}) > 1
    assert len({clips[place].level for place in sources}) > 1


def test_own_codes_are_those_of_the_items_clip(clips):
    items = windows_of(clips, codes_of="own", codes_from=("image", "audio"))
    for index in range(2 * len(items)):
        kind, place, _ = items[index]["code"][:3].int().tolist()
        assert kind in (1, 2)
        assert place == index % len(items)


def test_a_share_of_the_items_has_no_code(clips):
    items = windows_of(clips, code_dropout=0.25)
    known = [bool(items[index]["known"]) for index in range(40 * len(items))]
    assert np.mean(known) == pytest.approx(0.75, abs=0.05)
    always = windows_of(clips, code_dropout=0.0)
    assert all(bool(always[index]["known"]) for index in range(40))


def test_equal_indices_are_equal_items_and_epochs_differ(clips):
    items = windows_of(clips)
    one, two = items[5], windows_of(clips)[5]
    assert all(torch.equal(one[name], two[name]) for name in one)
    later = [items[5 + epoch * len(items)] for epoch in range(1, 8)]
    for name in ("mel", "code", "reference"):
        assert not all(torch.equal(one[name], each[name]) for each in later), name


def test_the_displacement_of_an_emotion_is_what_its_clips_were_made_with(clips):
    found = displacements(clips, [clip.expression() for clip in clips])
    for emotion, made in FACES.items():
        if emotion in found:  # the corpus' noise moves a clip's mean by some hundredths
            np.testing.assert_allclose(found[emotion][1:6], made, atol=0.12)
    assert not found["neutral"].any()


def test_a_swapped_item_shows_the_emotion_that_its_code_says(clips):
    items = windows_of(clips, swapped=1.0, codes_from=("audio",), codes_of="own")
    d = items.displacements
    for index in range(2 * len(items)):
        clip, item = clips[index % len(items)], items[index]
        other = clips[int(item["code"][1])]
        assert other.emotion != clip.emotion
        assert item["known"]
        s, t = (intensity_of(each) for each in (clip, other))
        assert item["intensity"] == pytest.approx(t)
        moved = t * d[other.emotion] - s * d[clip.emotion]
        before, expression = item["expression"].numpy() - moved, clip.expression()
        assert any(np.allclose(expression[k : k + 10], before, atol=1e-5) for k in range(3))
    some = windows_of(clips, swapped=0.3, codes_from=("audio",), code_dropout=0.0)
    places = [int(some[k]["code"][1]) for k in range(20 * len(some))]
    swaps = [clips[n].emotion != clips[k % len(some)].emotion for k, n in enumerate(places)]
    assert np.mean(swaps) == pytest.approx(0.3, abs=0.06)


def test_an_equaliser_changes_a_whole_item_bin_by_bin_and_silence_stays(clips):
    plain, items = windows_of(clips), windows_of(clips, gain=3.0, equaliser=3.0)
    shifts = []
    for index in range(4):
        heard, silent = plain[index]["mel"], plain[index]["mel"] <= np.log(1e-5) + 0.01
        change = (items[index]["mel"] - heard)[~silent.all(dim=2)]
        shifts.append(change.median(dim=0).values)
        torch.testing.assert_close(change[4], change[9], atol=1e-4, rtol=0)
        assert items[index]["mel"].min() >= np.log(1e-5) - 1e-5
        assert torch.equal(items[index]["expression"], plain[index]["expression"])
    spread = torch.stack(shifts).std(dim=0) / np.log(10) * 20  # dB
    assert 1.0 < spread.mean() < 8.0


def test_a_clip_shorter_than_a_window_holds_its_last_frame(clips):
    item = windows_of(clips, window=14)[0]
    expression = clips[0].expression()
    np.testing.assert_array_equal(item["expression"][:12], expression)
    np.testing.assert_array_equal(item["expression"][12:], expression[[-1, -1]])


def test_modes_that_nothing_moves_are_not_blown_up(clips):
    """The trap: a face model has more modes than the data; whitened, noise is all there is."""
    rng = np.random.default_rng(0)
    frames = [np.hstack([rng.normal(size=(40, 3)), 1e-6 * rng.standard_t(1.5, (40, 4))])] * 9
    stats = expression_stats(clips[:9], frames)
    together = np.concatenate(frames)
    assert np.abs((together - together.mean(0)) / together.std(0)).max() > 5
    whitened = (together - stats.mean) / stats.std
    assert np.abs(whitened).max() < LIMIT
    assert np.abs(whitened[:, 3:]).max() < 0.01
    np.testing.assert_allclose(stats.std[:3], together[:, :3].std(axis=0))
    np.testing.assert_allclose(stats.std[3:], EXPRESSION_FLOOR * stats.std.max())
    np.testing.assert_array_equal(floored(np.zeros(3)), np.ones(3))
    items = windows_of(clips)
    assert all(
        np.abs((e - items.stats()[1].mean) / items.stats()[1].std).max() < LIMIT
        for e in items.expressions
    )


def test_a_failed_fit_is_named(clips):
    frames = [clip.expression().copy() for clip in clips]
    frames[4][7, 1] = 1e4
    with pytest.raises(ConfigError, match=rf"clip {clips[4].id} above all"):
        expression_stats(clips, frames)


def test_sound_is_measured_bin_by_bin_over_all_frames(clips):
    mel, _ = windows_of(clips).stats()
    together = np.concatenate([clip.mel() for clip in clips]).astype(float)
    np.testing.assert_allclose(mel.mean, together.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(mel.std, together.std(axis=0), rtol=1e-3)


def test_speakers_without_another_neutral_clip_are_told(clips, caplog):
    with pytest.raises(ConfigError, match="no neutral clip of M902"):
        reference_clips([c for c in clips if (c.speaker, c.emotion) != ("M902", "neutral")])
    one = next(c for c in clips if c.emotion == "neutral")
    with pytest.raises(ConfigError, match="none of the 1 clips has a neutral clip"):
        reference_clips([one])
    few = [c for c in clips if c.emotion != "neutral" or c.speaker != "M902" or c.sentence == "001"]
    items = windows_of(few)
    assert "references alone" in caplog.text
    alone = next(c for c in few if c.speaker == "M902" and c.emotion == "neutral")
    assert alone not in [few[place] for place in items.items]
    assert len(items) == len(few) - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"overlap": 10}, "window is 10 and overlap 10"),
        ({"codes_from": ()}, "codes_from is"),
        ({"pictures": 0}, "pictures 0"),
        ({"gain": -1.0}, "gain is -1.0"),
        ({"swapped": 1.5}, "swapped 1.5"),
        ({"code_dropout": 1.0}, "code_dropout is 1.0"),
    ],
)
def test_settings_without_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)
