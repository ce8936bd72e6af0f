"""Released EAMM weights, imported, give what the second, independent definition gives (1e-4).

At the published sizes: nothing smaller has the release's layout, and it takes seconds.
"""

import pytest
import torch

from eamm.a2fd.network import AUDIO_GAIN, load_a2fd
from eamm.displacement.network import apply_displacement, load_displacement
from eamm.fomm.keypoints import Keypoints
from eamm.released.importer import import_released
from tests.corpora.eamm_definition import (
    audio_keypoints,
    demo_keypoints,
    emotion_displacement,
    emotion_feature,
    linear,
)
from tests.corpora.released_layout import random_state, released_shapes

CLOSE = {"rtol": 0, "atol": 1e-4}


@pytest.fixture(scope="module")
def released():
    shapes = {name: released_shapes("eamm", name) for name in ("audio_feature", "emo_detector")}
    shapes["kp_detector_a"] = released_shapes("fomm", "kp_detector")
    states = {name: random_state(of, 20 + i) for i, (name, of) in enumerate(shapes.items())}
    heads = states["kp_detector_a"]
    heads["kp.weight"] *= 0.3
    heads["jacobian.weight"] *= 0.1
    heads["jacobian.bias"] += torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(10)
    return states


@pytest.fixture(scope="module")
def imported(released, tmp_path_factory):
    folder = tmp_path_factory.mktemp("eamm")
    files = {"1-6000": ("audio_feature", "kp_detector_a"), "5-3000": ("emo_detector",)}
    paths = []
    for name, networks in files.items():
        paths.append(folder / f"{name}.pth.tar")
        parts = {network: released[network] for network in networks}
        torch.save(parts, paths[-1], _use_new_zipfile_serialization=False)
    import_released(paths, folder / "out")
    for path in paths:
        path.unlink()
    return folder / "out"


def inputs(frames=3):
    """Source, windows and poses of the ranges that the release's samples have."""
    generator = torch.Generator().manual_seed(4)
    source = torch.rand((2, 3, 256, 256), generator=generator)
    windows = 10 * torch.randn((2, frames, 28, 12), generator=generator) - 5
    scale = torch.tensor([10.0, 5.0, 5.0, 5e-5, 3.0, 3.0])
    middle = torch.tensor([0.0, 5.0, -1.0, 5e-4, 60.0, 72.0])
    return source, windows, middle + scale * torch.randn((2, frames, 6), generator=generator)


@torch.no_grad()
@pytest.mark.parametrize("gain", [1.0, AUDIO_GAIN])
def test_audio_keypoints_and_heatmaps_are_the_definitions(released, imported, gain):
    source, windows, pose = inputs()
    ours, heatmap = load_a2fd(imported)(source, windows, pose, audio_gain=gain)
    points, heatmaps = audio_keypoints(
        released["audio_feature"], released["kp_detector_a"], source, windows, pose, gain
    )
    for t, ((value, jacobian), heat) in enumerate(zip(points, heatmaps, strict=True)):
        torch.testing.assert_close(ours.value[:, t], value, **CLOSE)
        torch.testing.assert_close(ours.jacobian[:, t], jacobian, **CLOSE)
        torch.testing.assert_close(heatmap[:, t], heat, **CLOSE)
    assert torch.stack([value for value, _ in points]).std(dim=0).mean() > 1e-3  # frames differ
    assert heatmap.amax() > 10 / heatmap[0, 0, 0].numel()  # heatmaps are not flat


@torch.no_grad()
def test_emotion_displacements_are_the_definitions(released, imported):
    model, description = load_displacement(imported)
    generator = torch.Generator().manual_seed(6)
    frames = torch.rand((2, 3, 256, 256), generator=generator)
    value = torch.rand((2, 10, 2), generator=generator) * 2 - 1
    jacobian = torch.eye(2) + 0.3 * torch.randn((2, 10, 2, 2), generator=generator)
    state = released["emo_detector"]
    feature = emotion_feature(state, frames)
    ours = model.extractor(frames)
    torch.testing.assert_close(ours, feature, **CLOSE)
    assert feature.std() > 0.05
    wanted = emotion_displacement(state, feature, (value, jacobian))
    found = model(frames, Keypoints(value, jacobian))
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, **CLOSE)
        assert theirs.std() > 0.01
    logits = model.classify(ours)
    torch.testing.assert_close(logits, linear(state, "classify.last_fc", feature), **CLOSE)
    moved = apply_displacement(
        Keypoints(value, jacobian), found, model.config.keypoint_ids, description.keypoint_gains
    )
    for mine, theirs in zip(moved, demo_keypoints((value, jacobian), wanted), strict=True):
        torch.testing.assert_close(mine, theirs, **CLOSE)
