from dataclasses import replace

import numpy as np
import pytest
import torch

from affekt.media.face3d.crop_pose import picture_pose
from affekt.media.video.tensors import to_tensor
from affekt.runtime.training import checkpoint
from affekt.runtime.training.optim import Ema
from emospace.data.motions import MotionStats
from emospace.inference.renderer import (
    FaceRenderer,
    FaceRendererDescription,
    load_face_renderer,
    save_description,
)
from emospace.networks.renderer import Renderer, RendererConfig
from tests.corpora.emotion_space_corpus import emotion_model

MODES, T, SIDE = 6, 19, 16
STATS = MotionStats((0.0,) * 12, (1.0,) * 12)
CONFIG = RendererConfig(
    size=SIDE, channels=(6, 4), style=8, mapping=8, window=2, prior=True, blend_picture=True
)
DESCRIPTION = FaceRendererDescription(CONFIG, STATS, "made up", "f00d")


@pytest.fixture
def renderer():
    torch.manual_seed(1)
    renderer = Renderer(CONFIG, STATS, emotion_model(MODES))
    for block in renderer.blocks:
        torch.nn.init.normal_(block.to_flow.weight)
        torch.nn.init.normal_(block.to_rgb.weight, std=0.3)
    return renderer.eval()


def a_clip(seed=0):
    rng = np.random.default_rng(seed)
    pose = 0.1 * rng.standard_normal((T, 6)) + [0, 0, 0, np.log(5), 8, 7]
    return rng.standard_normal((T, MODES)), pose


def portrait(face, landmarks=None):
    picture = np.random.default_rng(5).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    expression, pose = a_clip(1)
    return face.encode(picture, expression[0], pose[0], landmarks)


def test_frames_are_those_of_the_network_whatever_the_batch(renderer):
    face = FaceRenderer(renderer, DESCRIPTION)
    expression, pose = a_clip()
    frames = list(face.render(portrait(face), expression, pose))
    assert len(frames) == T
    assert frames[0].shape == (SIDE, SIDE, 3)
    assert frames[0].dtype == np.uint8
    # Frame 18, the last: its window is frames 16, 17, 18, 18, 18
    own, own_pose = a_clip(1)
    motions = np.hstack([picture_pose(pose, SIDE), expression])[[16, 17, 18, 18, 18]]
    start = np.hstack([picture_pose(own_pose, SIDE), own])[:1]
    picture = np.random.default_rng(5).integers(0, 255, (1, SIDE, SIDE, 3)).astype(np.uint8)
    window, source = (torch.from_numpy(each).float() for each in (motions, start))
    with torch.no_grad():
        wanted = renderer(renderer.encode(to_tensor(picture)), source, window[None])[-1].picture
    levels = (wanted[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(frames[18] - levels).max() <= 1


def test_a_crop_of_another_size_is_the_same_portrait(renderer):
    face = FaceRenderer(renderer, DESCRIPTION)
    expression, pose = a_clip()
    encoded = portrait(face)
    double = pose.copy()
    double[:, 3] += np.log(2)
    double[:, 4:] = 2 * (pose[:, 4:] + 0.5) - 0.5
    one, two = face.render(encoded, expression, pose), face.render(encoded, expression, double, 32)
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(one, two, strict=True)) <= 1


def test_detected_landmarks_are_where_the_prior_begins(renderer):
    face = FaceRenderer(renderer, DESCRIPTION)
    expression, pose = a_clip()
    shifted = np.full((68, 2), 3.0)
    one, other = (
        next(iter(face.render(portrait(face, places), expression, pose)))
        for places in (None, shifted)
    )
    assert np.abs(one.astype(int) - other).max() > 5


def test_history_makes_frames_steadier(renderer):
    expression, pose = a_clip()
    own_flow = Renderer(replace(CONFIG, prior=False), STATS).eval()
    own_flow.load_state_dict(renderer.state_dict())

    def flicker(history):
        face = FaceRenderer(own_flow, DESCRIPTION, history)
        frames = np.stack(list(face.render(portrait(face), expression, pose))).astype(int)
        return np.abs(np.diff(frames, axis=0)).mean()

    assert flicker(0.8) < 0.8 * flicker(0.0)
    with pytest.raises(ValueError, match=r"history is 1\.0, wanted 0 or more and below 1"):
        FaceRenderer(renderer, DESCRIPTION, 1.0)


def test_a_run_folder_is_read_with_its_averaged_weights_and_its_face_model(renderer, tmp_path):
    save_description(tmp_path, DESCRIPTION, emotion_model(MODES))
    checkpoint.save(tmp_path / "checkpoints", 1, {"ema": Ema(renderer, 0.0)})
    face = load_face_renderer(tmp_path, "cpu")
    assert (face.size, face.modes, face.sha256) == (SIDE, MODES, "f00d")
    assert not face.renderer.training
    expression, pose = a_clip()
    ours = FaceRenderer(renderer, DESCRIPTION)
    pairs = zip(
        face.render(portrait(face), expression, pose),
        ours.render(portrait(ours), expression, pose),
        strict=True,
    )
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in pairs)


def test_what_does_not_fit_is_refused(renderer, tmp_path):
    face = FaceRenderer(renderer, DESCRIPTION)
    expression, pose = a_clip()
    with pytest.raises(ValueError, match=r"wanted \(T, 6\) and \(T, 6\): coefficients of made up"):
        list(face.render(portrait(face), expression[:, :4], pose))
    with pytest.raises(ValueError, match=r"expression has shape \(18, 6\) and pose \(19, 6\)"):
        list(face.render(portrait(face), expression[:-1], pose))
    with pytest.raises(FileNotFoundError, match=r"renderer\.yaml is missing; run train_face_rend"):
        load_face_renderer(tmp_path)
    save_description(tmp_path, DESCRIPTION, emotion_model(MODES))
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_face_renderer(tmp_path)
