"""Released weights, imported, give what FOMM's second, independent definition gives (1e-4)."""

import pytest
import torch

from affekt.nets.perceptual import Vgg, VggConfig
from eamm.fomm.losses import equivariance_jacobian, equivariance_value
from eamm.fomm.losses import perceptual as our_perceptual
from eamm.fomm.model import ImagePyramid, load_discriminator, load_fomm
from eamm.fomm.transform import TransformConfig, random_transform
from eamm.released.importer import import_released
from eamm.released.models import Options
from tests.corpora.fomm_definition import (
    coordinate_grid,
    detected_keypoints,
    discriminated,
    equivariance,
    generated,
    perceptual,
    spline_map,
)
from tests.corpora.released_layout import random_fomm, small_fomm

SIZE = 128  # the full-size networks are convolutional: a smaller picture tests them as well
CLOSE = {"rtol": 0, "atol": 1e-4}


@pytest.fixture(scope="module")
def released():
    return random_fomm()


@pytest.fixture(scope="module", params=[True, False], ids=["align_corners", "edges"])
def imported(request, released, tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    torch.save(released, folder / "vox.pth.tar", _use_new_zipfile_serialization=False)
    import_released([folder / "vox.pth.tar"], folder / "out", Options(SIZE, request.param))
    (folder / "vox.pth.tar").unlink()
    return folder / "out"


def pictures(count=2, size=SIZE, seed=5):
    """Smooth random pictures, so that a shift of half a pixel is no noise."""
    coarse = torch.rand((count, 3, 9, 9), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(
        coarse, size=(size, size), mode="bicubic", align_corners=True
    ).clamp(0, 1)


@torch.no_grad()
def compare_generation(fomm, released, source, driving):
    ours = fomm(source, driving)
    detector = released["kp_detector"]
    (kp_source, _), (kp_driving, heat) = (
        detected_keypoints(detector, frames) for frames in (source, driving)
    )
    found, heatmap = fomm.detector.with_heatmap(driving)
    for mine, theirs in zip(found, kp_driving, strict=True):
        torch.testing.assert_close(mine, theirs, **CLOSE)
    torch.testing.assert_close(heatmap, heat, **CLOSE)
    align_corners = fomm.config.align_corners
    wanted = generated(released["generator"], source, kp_source, kp_driving, align_corners)
    motion = {"deformation": ours.motion.flow, "occlusion": ours.motion.occlusion}
    motion |= {"mask": ours.motion.mask, "sparse_deformed": ours.motion.sparse}
    picture = {"prediction": ours.prediction, "deformed": ours.deformed}
    for name, value in (motion | picture).items():
        torch.testing.assert_close(value, wanted[name], **CLOSE, msg=lambda m, n=name: f"{n}: {m}")
    return wanted


def test_keypoints_motion_and_picture_are_the_definitions(imported, released):
    source, driving = pictures(4).split(2)
    wanted = compare_generation(load_fomm(imported), released, source, driving)
    # The weights are such that the comparison says something.
    assert wanted["prediction"].std() > 0.05
    assert wanted["occlusion"].std() > 0.05
    moved = wanted["deformation"] - coordinate_grid(*wanted["deformation"].shape[1:3])
    assert moved.abs().mean() > 0.02
    assert wanted["mask"].amax(dim=1).mean() > 0.2


@pytest.mark.parametrize("imported", [True], indirect=True, ids=["align_corners"])
def test_a_picture_of_the_published_size_is_the_definitions(imported, released):
    frames = pictures(2, 256, seed=6)
    compare_generation(load_fomm(imported), released, frames[:1], frames[1:])


@torch.no_grad()
def test_the_discriminator_is_the_definitions(imported, released):
    frames = pictures()
    (verdict,) = load_discriminator(imported)({1: frames}, torch.zeros(2, 10, 2))
    maps, logits = discriminated(released["discriminator"], frames, None)
    assert len(maps) == 4
    for mine, theirs in zip([*verdict.features, verdict.logits], [*maps, logits], strict=True):
        torch.testing.assert_close(mine, theirs, **CLOSE)
    assert logits.std() > 0.01


@torch.no_grad()
def test_the_adversarial_discriminator_sees_keypoints(tmp_path):
    released = small_fomm(3, "adversarial_discriminator")
    torch.save(released, tmp_path / "vox-adv.pth.tar")
    import_released([tmp_path / "vox-adv.pth.tar"], tmp_path / "out")
    discriminator = load_discriminator(tmp_path / "out")
    assert not discriminator.config.spectral_norm
    points = torch.rand(2, 10, 2) * 2 - 1
    frames = pictures()
    (verdict,) = discriminator({1: frames}, points)
    maps, logits = discriminated(released["discriminator"], frames, points)
    for mine, theirs in zip([*verdict.features, verdict.logits], [*maps, logits], strict=True):
        torch.testing.assert_close(mine, theirs, **CLOSE)
    without = discriminated(released["discriminator"], frames, torch.full_like(points, 9.0))[1]
    assert (without - logits).abs().max() > 0.01


@torch.no_grad()
def test_perceptual_loss_is_the_definitions():
    vgg = Vgg(VggConfig("random"))
    convs = [
        (layer.weight, layer.bias) for layer in vgg.features if isinstance(layer, torch.nn.Conv2d)
    ]
    prediction, frames = pictures().split(1)
    pyramid = ImagePyramid()
    ours = 10 * our_perceptual(vgg, pyramid(prediction), pyramid(frames))
    wanted = perceptual(convs, prediction, frames)
    assert wanted > 1
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-4)


def test_equivariance_losses_are_the_definitions(imported, released):
    fomm, frames = load_fomm(imported), pictures()
    align_corners = fomm.config.align_corners
    transform = random_transform(2, TransformConfig(affine_sigma=0.1, tps_sigma=0.02), frames)
    points = torch.rand(2, 40, 2) * 2 - 1
    for b in range(2):
        wanted = spline_map(points[b], transform.affine[b], transform.weights[b])
        torch.testing.assert_close(transform.points(points)[b], wanted, rtol=0, atol=1e-6)
    with torch.no_grad():
        driving = fomm.detector(frames)
        warped = fomm.detector(transform.frames(frames, align_corners))
    ours = [
        10 * loss(driving, warped, transform)
        for loss in (equivariance_value, equivariance_jacobian)
    ]
    with torch.no_grad():
        wanted = equivariance(
            released["kp_detector"], frames, transform.affine, transform.weights, align_corners
        )
    for mine, theirs in zip(ours, wanted, strict=True):
        assert theirs > 0.1
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-4)
