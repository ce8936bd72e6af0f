"""Pairs of frames for FOMM: which ones, in what order, mirrored and recoloured how."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torchvision.transforms.functional import adjust_hue

from affekt.media.corpus import Clip
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import float_pictures, from_tensor, to_tensor, unit_range
from affekt.runtime.config import ConfigError
from eamm.fomm.data import FrameDataConfig, FramePairs, JitterConfig, jittered, sample_jitter
from tests.corpora.portrait_corpus import write_portraits
from tests.corpora.prepared import write_clip, write_corpus

STILL = JitterConfig(0, 0, 0, 0)
SIZE = 16


def write_numbered(root, speakers=2, clips=3, frames=5, profile="eamm", splits=("train",)):
    """Write clips whose colours encode where a frame is from: red the clip, green the frame.

    Blue is bright on the left half. Landmark k lies at x = k / 8, y = 1.
    """
    rows = []
    for number in range(speakers * clips):
        pictures = np.zeros((frames, SIZE, SIZE, 3), np.uint8)
        pictures[..., 0] = 10 * number + 5
        pictures[..., 1] = 20 * np.arange(frames)[:, None, None]
        pictures[:, :, : SIZE // 2, 2] = 200
        points = np.stack([np.arange(68) / 8, np.ones(68)], axis=1)[None].repeat(frames, 0)
        split = splits[number % len(splits)]
        row = write_clip(root, f"M{number // clips}", number, pictures, split, landmarks=points)
        rows.append(row)
    write_corpus(root, rows, profile)


@pytest.fixture
def corpus(tmp_path):
    write_numbered(tmp_path)
    return tmp_path


def pairs_of(corpus, size=SIZE, seed=0, **data):
    return FramePairs(FrameDataConfig((corpus,), **{"jitter": STILL} | data), size, seed)


def marks(frame):
    """The clip, the frame, and whether the picture is mirrored."""
    return (int(frame[0, 0, 0]) // 10, int(frame[1, 0, 0]) // 20, bool(frame[2, 0, 0] == 0))


def all_marks(pairs):
    """Return the marks of source and driving frame of every pair."""
    every = map(pairs.__getitem__, range(len(pairs)))
    return [[marks(pair[name]) for name in ("source", "driving")] for pair in every]


def test_an_epoch_is_repeats_times_identities_or_clips(corpus):
    assert len(pairs_of(corpus)) == 75 * 2
    assert len(pairs_of(corpus, sampling="clip", repeats=4)) == 4 * 6


def test_an_index_goes_to_its_identity_and_any_of_its_clips(corpus):
    pairs = pairs_of(corpus, repeats=50)
    clips = [marks(pairs[draw]["source"])[0] for draw in range(100)]
    assert all(clip // 3 == draw % 2 for draw, clip in enumerate(clips))
    assert np.bincount(clips, minlength=6).min() >= 8
    by_clip = pairs_of(corpus, sampling="clip")
    assert [marks(by_clip[draw]["source"])[0] for draw in range(6)] == list(range(6))


def test_two_different_frames_of_one_clip_the_earlier_first(corpus):
    drawn = all_marks(pairs_of(corpus, flips=False))
    assert all(source[0] == driving[0] for source, driving in drawn)
    assert all(source[1] < driving[1] for source, driving in drawn)
    assert not any(mark[2] for pair in drawn for mark in pair)


def test_half_the_pairs_run_backwards_and_a_quarter_are_mirrored(corpus):
    drawn = all_marks(pairs_of(corpus, repeats=200))
    backwards = np.array([source[1] > driving[1] for source, driving in drawn])
    mirrored = np.array([source[2] for source, _ in drawn])
    assert all(source[2] == driving[2] for source, driving in drawn)
    assert not (backwards & mirrored).any()
    assert backwards.mean() == pytest.approx(0.5, abs=0.07)
    assert mirrored.mean() == pytest.approx(0.25, abs=0.06)


def test_pairs_across_clips_are_of_one_identity(corpus):
    drawn = all_marks(pairs_of(corpus, repeats=150, across_clips=0.3))
    assert all(source[0] // 3 == driving[0] // 3 for source, driving in drawn)
    across = np.mean([source[0] != driving[0] for source, driving in drawn])
    assert across == pytest.approx(0.3, abs=0.06)


def test_pairs_repeat_from_seed_and_index_alone(corpus):
    one, same, other = pairs_of(corpus), pairs_of(corpus), pairs_of(corpus, seed=1)
    assert torch.equal(one[7]["source"], same[7]["source"])
    assert any(not torch.equal(one[i]["source"], other[i]["source"]) for i in range(8))
    assert any(not torch.equal(one[7]["driving"], one[7 + 2 * i]["driving"]) for i in range(1, 5))


def test_supervising_landmarks_are_group_means_and_are_mirrored_with_the_picture(corpus):
    pairs = pairs_of(corpus, landmarks=((0, 16), (30,), (16,)), repeats=20)
    centre = lambda pixel: 2 * pixel / (SIZE - 1) - 1  # noqa: E731
    seen = set()
    for pair in map(pairs.__getitem__, range(len(pairs))):
        mirrored = marks(pair["driving"])[2]
        seen.add(mirrored)
        # landmark 16 of the mirrored picture is 0 of the original; 30 is its own mirror image
        middle = centre(30 / 8)
        x = [-centre(1), -middle, -centre(0)] if mirrored else [centre(1), middle, centre(2)]
        assert pair["driving_landmarks"][:, 0].tolist() == pytest.approx(x, abs=1e-5)
        assert pair["source_landmarks"][:, 1].tolist() == pytest.approx([centre(1)] * 3, abs=1e-5)
    assert seen == {False, True}
    assert "source_landmarks" not in pairs_of(corpus)[0]


def test_supervising_landmarks_keep_their_place_when_the_picture_is_resized(corpus):
    small = pairs_of(corpus, size=8, landmarks=((30,),), flips=False)[0]
    # pixel 3.75 of 16 is pixel 4.25 / 2 - 1/2 of 8
    assert small["source_landmarks"][0, 0].item() == pytest.approx(2 * 1.625 / 7 - 1, abs=1e-5)


def test_frames_come_at_the_size_wanted(corpus):
    assert pairs_of(corpus, size=8)[0]["source"].shape == (3, 8, 8)
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    means = frames.reshape(2, 4, 2, 4, 2, 3).mean(axis=(2, 4))
    assert np.abs(resized(frames, 4) - means).max() <= 1
    assert resized(frames, 8) is frames
    with pytest.raises(ValueError, match="8x6 pixels are not square"):
        resized(frames[:, :6], 4)


def test_pictures_leave_the_loader_as_bytes_and_are_the_same_floats_on_the_device(corpus):
    pair = pairs_of(corpus, size=8, jitter=JitterConfig(), landmarks=((30,),))[3]
    assert pair["source"].dtype == pair["driving"].dtype == torch.uint8
    floats = float_pictures(pair)
    for name in ("source", "driving"):
        assert torch.equal(floats[name], pair[name].float() / 255)
    assert floats["source_landmarks"] is pair["source_landmarks"]


def test_clips_are_opened_when_they_are_asked_for(corpus, monkeypatch):
    opened = []
    store = Clip.store
    monkeypatch.setattr(Clip, "store", lambda clip: opened.append(clip.id) or store(clip))
    pairs = pairs_of(corpus, landmarks=((30,),))
    assert not opened
    assert all(marks(pairs[0][name])[0] < 3 for name in ("source", "driving"))
    assert len(opened) == 4


def test_every_level_is_the_same_float_as_divided_by_255():
    levels = torch.arange(256, dtype=torch.uint8)
    wanted = torch.from_numpy(np.arange(256, dtype=np.float32) / np.float32(255))
    assert torch.equal(unit_range(levels), wanted)


def test_frames_survive_the_way_to_tensors_and_back():
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    tensor = to_tensor(frames)
    assert tensor[1, 2, 3, 4].item() == pytest.approx(frames[1, 3, 4, 2] / 255)
    assert np.array_equal(from_tensor(tensor), frames)


@pytest.fixture(scope="module")
def photo():
    """A smooth, colourful picture."""
    y, x = np.mgrid[0:48, 0:48] / 47
    picture = np.stack([x, y, (1 + np.sin(5 * x + 3 * y)) / 2], axis=-1)
    return (30 + 200 * picture).astype(np.uint8)


@pytest.mark.parametrize("factor", [0.9, 1.07])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_jitter_is_pillows(photo, name, factor):
    pillow = getattr(ImageEnhance, "Color" if name == "saturation" else name.capitalize())
    wanted = np.asarray(pillow(Image.fromarray(photo)).enhance(factor)).astype(int)
    found = jittered(photo[None], [(name, factor)])[0].astype(int)
    assert np.abs(found - wanted).max() <= 2
    assert np.abs(found - photo).max() > 4


@pytest.mark.parametrize("turns", [-0.1, 0.04])
def test_hue_is_torchvisions(photo, turns):
    wanted = np.asarray(adjust_hue(Image.fromarray(photo), turns)).astype(int)
    found = jittered(photo[None], [("hue", turns)])[0].astype(int)
    assert np.abs(found - wanted).mean() <= 1
    assert np.percentile(np.abs(found - wanted), 99) <= 6  # 8 bits of hue, rounded differently
    assert np.abs(found - photo).mean() > 4


def test_one_draw_recolours_both_frames_and_its_order_varies():
    rng = np.random.default_rng(0)
    drawn = [sample_jitter(JitterConfig(), rng) for _ in range(400)]
    assert len({tuple(name for name, _ in draw) for draw in drawn}) == 24
    factors = {name: [dict(draw)[name] for draw in drawn] for name, _ in drawn[0]}
    for name, middle in (("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0)):
        assert min(factors[name]) == pytest.approx(middle - 0.1, abs=0.01)
        assert max(factors[name]) == pytest.approx(middle + 0.1, abs=0.01)
    frames = np.full((2, 4, 4, 3), (200, 100, 50), np.uint8)
    one, other = jittered(frames, drawn[0])
    assert np.array_equal(one, other)
    assert not np.array_equal(one, frames[0])


def test_no_jitter_leaves_the_frames_as_they_are(photo):
    still = sample_jitter(STILL, np.random.default_rng(0))
    assert np.array_equal(jittered(photo[None], still)[0], photo)


def test_what_cannot_be_learned_from_is_refused_by_name(corpus, tmp_path):
    write_portraits(tmp_path / "portraits")
    with pytest.raises(ConfigError, match=r"profile 'portrait', wanted 'eamm'"):
        pairs_of(tmp_path / "portraits")
    assert len(pairs_of(tmp_path / "portraits", profile="portrait")) == 75
    with pytest.raises(ConfigError, match="no 'val' clip of two frames"):
        FramePairs(FrameDataConfig((corpus,)), SIZE, 0, "val")
    base = FrameDataConfig((corpus,))
    for change, message in (
        ({"corpora": ()}, "corpora is empty"),
        ({"repeats": 0}, "repeats is 0"),
        ({"across_clips": 1.5}, "across_clips is 1.5"),
        ({"landmarks": ((68,),)}, "landmarks has numbers outside 0 to 67"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(base, **change)


def test_a_speaker_of_two_corpora_is_two_identities(corpus, tmp_path):
    write_numbered(tmp_path / "second", speakers=1, clips=1)
    both = FrameDataConfig((corpus, tmp_path / "second"), repeats=1)
    assert len(FramePairs(both, SIZE, 0)) == 3
