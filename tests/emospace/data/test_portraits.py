from dataclasses import replace

import numpy as np
import pytest
import torch

from affekt.media.corpus import Corpus
from affekt.media.face3d.crop_pose import crop_pose
from affekt.runtime.config import ConfigError
from affekt.runtime.files import save_npy
from emospace.data import motions
from emospace.data.motions import LIMIT, MotionStats, clip_motion, motion_stats, turn
from emospace.data.portraits import (
    Place,
    PortraitDataConfig,
    PortraitPairs,
    inner_mouth,
    neutral_clips,
    read_pair,
)
from emospace.networks.flow_prior import FlowPrior, PriorConfig
from tests.corpora.emotion_space_corpus import emotion_model, make_emotion_corpus

SIZE, MODES = 32, 6


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("portraits")
    return make_emotion_corpus(root, speakers=2, held_out=0, frames=8, size=SIZE)


@pytest.fixture(scope="module")
def clips(corpus):
    return corpus.clips(split="train")


def test_motions_are_poses_of_the_crop_in_the_pictures_unit_then_expression(clips):
    clip = clips[0]
    found = clip_motion(clip)
    pose = crop_pose(clip.expression_pose(), clip.crop())
    np.testing.assert_allclose(found[:, 6:], clip.expression())
    np.testing.assert_allclose(found[:, 3], pose[:, 3] + np.log(2 / SIZE), atol=1e-5)
    np.testing.assert_allclose(found[:, 4:6], (pose[:, 4:] + 0.5) * 2 / SIZE - 1, atol=1e-5)
    assert torch.equal(torch.from_numpy(found[[2, 2]]), torch.from_numpy(clip_motion(clip, [2, 2])))


def test_the_face_model_under_a_motion_lies_on_the_landmarks(clips):
    model = emotion_model(MODES)
    prior = FlowPrior(model, PriorConfig())
    pair = read_pair(Place(clips[0], 1), Place(clips[0], 5), SIZE, 1)
    moved = prior(pair["source_motion"][None], pair["window"][None, 1])[1][0]
    truth = pair["driving_landmarks"] - pair["source_landmarks"]
    assert (moved - truth).abs().max() < 0.02  # a third of a pixel; the identity is left out
    assert truth.abs().max() > 0.05


def test_statistics_normalise_and_a_mode_that_hardly_moves_is_not_blown_up(clips):
    stats = motion_stats(clips)
    every = stats.normalised(np.concatenate([clip_motion(clip) for clip in clips]))
    assert stats.modes == MODES
    np.testing.assert_allclose(every.mean(axis=0), 0, atol=1e-4)
    assert every[:, 6].std() == pytest.approx(1, abs=1e-3)  # the mouth
    assert np.abs(every).max() < LIMIT
    scale = np.array(stats.scale[6:])
    assert scale.min() >= 0.05 * scale.max() - 1e-9


def test_a_floor_holds_a_still_mode(clips, monkeypatch):
    still = [clip_motion(clip) for clip in clips]
    for each in still:
        each[:, 8] = 1e-6 * np.arange(len(each))
    monkeypatch.setattr(motions, "clip_motion", dict(zip(clips, still, strict=True)).get)
    stats = motion_stats(clips)
    assert stats.scale[8] == pytest.approx(0.05 * max(stats.scale[6:]))


def test_coefficients_far_off_in_too_many_frames_are_refused_by_clip(clips, monkeypatch):
    wild = {clip: clip_motion(clip) for clip in clips}
    wild[clips[3]][2, 7] = 500.0
    monkeypatch.setattr(motions, "clip_motion", wild.get)
    with pytest.raises(ConfigError, match=rf"deviations from the mean, clip {clips[3].id}"):
        motion_stats(clips)


def test_an_item_holds_the_pair_its_motions_and_its_mouth(clips):
    pairs = PortraitPairs(clips, PortraitDataConfig(landmark_noise=0.01), SIZE, 2, seed=3)
    item = pairs[5]
    shapes = {name: tuple(value.shape) for name, value in item.items()}
    assert shapes == {
        **dict.fromkeys(("source", "driving"), (3, SIZE, SIZE)),
        "mouth": (1, SIZE, SIZE),
        "source_motion": (12,),
        "window": (5, 12),
        **dict.fromkeys(("source_landmarks", "driving_landmarks", "prior_landmarks"), (68, 2)),
    }
    assert item["source"].dtype == item["mouth"].dtype == torch.uint8
    noise = item["prior_landmarks"] - item["source_landmarks"]
    assert 0.01 < float(noise.std()) < 0.03  # 0.01 of a side, which is 2 long
    again = PortraitPairs(clips, PortraitDataConfig(landmark_noise=0.01), SIZE, 2, seed=3)[5]
    assert all(torch.equal(item[key], again[key]) for key in item)


def test_sources_are_neutral_as_often_as_asked_and_of_the_same_person(clips):
    for share in (0.0, 1.0):
        pairs = PortraitPairs(clips, PortraitDataConfig(neutral_source=share), SIZE, 0, 0)
        happy = next(clip for clip in clips if clip.emotion == "happy")
        chosen = {pairs._source(happy, np.random.default_rng(k)).clip for k in range(20)}
        assert {clip.speaker for clip in chosen} == {happy.speaker}
        assert {clip.emotion for clip in chosen} == ({"neutral"} if share else {"happy"})


def test_turning_clips_are_drawn_as_often_as_asked(clips):
    turns = sorted(turn(clip) for clip in clips)
    between = (turns[-2] + turns[-1]) / 2
    data = PortraitDataConfig(turning=0.3, turning_deg=between)
    pairs = PortraitPairs(clips, data, SIZE, 0, 0)
    assert len(pairs.turning) == 1
    drawn = [pairs._driving(k, np.random.default_rng(k)).clip for k in range(400)]
    assert np.mean([clip in pairs.turning for clip in drawn]) == pytest.approx(0.3, abs=0.06)
    with pytest.raises(ConfigError, match=r"data\.turning_deg=90"):
        PortraitPairs(clips, replace(data, turning_deg=90.0), SIZE, 0, 0)


def test_at_a_clips_ends_the_window_repeats_its_first_and_last_motion(clips):
    pair = read_pair(Place(clips[0], 0), Place(clips[0], 7), SIZE, 2)
    own = clip_motion(clips[0])
    np.testing.assert_allclose(pair["window"].numpy(), own[[5, 6, 7, 7, 7]])


def test_zoom_and_shift_move_pictures_landmarks_and_motions_alike(clips):
    place = Place(clips[0], 3)
    change = 1.25, np.array([0.2, -0.1])
    plain, moved = (read_pair(place, place, SIZE, 0, each) for each in ((1.0, np.zeros(2)), change))
    wanted = 1.25 * plain["source_landmarks"] + torch.tensor([0.2, -0.1])
    torch.testing.assert_close(moved["source_landmarks"], wanted)
    prior = FlowPrior(emotion_model(MODES), PriorConfig())
    faces = [prior.landmarks(each["source_motion"][None])[0] for each in (plain, moved)]
    torch.testing.assert_close(faces[1], 1.25 * faces[0] + torch.tensor([0.2, -0.1]))
    # What is drawn is drawn where the landmarks are: the inner lips are the darkest part
    mask = inner_mouth(moved["source_landmarks"].numpy(), SIZE) > 0
    grey = moved["source"].float().mean(dim=0).numpy()
    assert grey[mask].mean() < 0.7 * grey.mean()


def test_the_inner_mouth_is_what_the_inner_lips_enclose():
    landmarks = np.zeros((68, 2))
    corners = np.array([[-0.5, 0], [-0.25, -0.5], [0, -0.5], [0.25, -0.5]])
    landmarks[60:64], landmarks[64:68] = corners, -corners
    mask = inner_mouth(landmarks, 16)
    assert mask[8, 8] == 255
    assert mask[0, 0] == mask[8, 15] == 0
    assert 40 < (mask > 0).sum() < 90
    landmarks[60:68, 1] = 0  # closed: the line remains
    assert 5 < (inner_mouth(landmarks, 16) > 0).sum() < 25


def test_a_speaker_without_a_neutral_clip_is_named(clips):
    happy = [clip for clip in clips if clip.emotion == "happy"]
    with pytest.raises(ConfigError, match="no neutral clip of M901, M902"):
        neutral_clips(happy)
    PortraitPairs(happy, PortraitDataConfig(neutral_source=0.0), SIZE, 0, 0)
    with pytest.raises(ConfigError, match="no clip to train on"):
        PortraitPairs([], PortraitDataConfig(), SIZE, 0, 0)


def test_statistics_of_no_size_are_refused():
    with pytest.raises(ValueError, match="scale above 0"):
        MotionStats((0.0,), (0.0,))


def test_missing_coefficients_name_the_command(tmp_path):
    root = tmp_path / "corpus"
    make_emotion_corpus(root, speakers=1, held_out=0, frames=4, emotions=("neutral",))
    clip = Corpus(root).clips()[0]
    save_npy(clip.folder / "expression.npy", np.zeros((4, 12), np.float32))
    assert clip_motion(clip).shape == (4, 12)
    (clip.folder / "expression.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"data_prep\.expression"):
        clip_motion(clip)
