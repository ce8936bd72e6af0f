"""Losses of edge-to-video against numbers worked out by hand."""

import pytest
import torch

from evp.perceptual import FILE, Vgg, VggConfig
from evp.video_losses import (
    lsgan_discriminator,
    lsgan_generator,
    reconstruction,
    vgg_distance,
)


def test_reconstruction_is_a_norm_of_each_frame():
    target = torch.zeros(2, 3, 1, 4)
    generated = target.clone()
    generated[0] += 0.5  # 12 values: norm 0.5 sqrt 12, rms 0.5, mse 0.25
    generated[1, 0, 0, 0] = 1  # norm 1, rms 1 / sqrt 12, mse 1 / 12
    root = 12**0.5
    for reduction, by_hand in (
        ("norm", (0.5 * root + 1) / 2),
        ("rms", (0.5 + 1 / root) / 2),
        ("mse", (0.25 + 1 / 12) / 2),
    ):
        loss = reconstruction(generated, target, reduction)
        torch.testing.assert_close(loss, torch.tensor(by_hand), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["norm", "rms", "mse"])
def test_a_perfect_frame_has_no_gradient_and_no_nan(reduction):
    frame = torch.ones(1, 3, 2, 2, requires_grad=True)
    reconstruction(frame, torch.ones(1, 3, 2, 2), reduction).backward()
    assert (frame.grad == 0).all()


def test_lsgan_is_half_the_squared_distance_to_the_labels_averaged_over_scales():
    real = [torch.tensor([1.0, 3.0]), torch.tensor([0.0])]
    fake = [torch.tensor([0.0, 2.0]), torch.tensor([1.0])]
    # scale 1: 0.5 (0 + 4) / 2 + 0.5 (0 + 4) / 2 = 2; scale 2: 0.5 (1 + 1) = 1
    torch.testing.assert_close(lsgan_discriminator(real, fake), torch.tensor(1.5))
    # scale 1: 0.5 (1 + 1) / 2 = 0.5; scale 2: 0
    torch.testing.assert_close(lsgan_generator(fake), torch.tensor(0.25))


def test_vgg_distance_weighs_layers_and_leaves_the_truth_alone():
    truth = [(0.5, torch.zeros(1, 2)), (2.0, torch.tensor([[1.0]]))]
    made = [(0.5, torch.tensor([[1.0, -3.0]])), (2.0, torch.tensor([[4.0]]))]
    for _, value in truth:
        value.requires_grad_()
    loss = vgg_distance(made, truth)
    torch.testing.assert_close(loss, torch.tensor(0.5 * 2 + 2.0 * 3))
    assert not loss.requires_grad


def test_missing_imagenet_weights_are_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFEKT_WEIGHTS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"download\.pytorch\.org.*vgg\.weights=random"):
        Vgg(VggConfig(weights="imagenet"))


def test_weights_come_from_the_file_with_its_names(tmp_path, monkeypatch):
    first = torch.randn(64, 3, 3, 3)
    state = {"features.0.weight": first, "features.0.bias": torch.full((64,), 0.5)}
    state["classifier.6.bias"] = torch.zeros(1000)  # not read
    torch.save(state, tmp_path / FILE)
    monkeypatch.setenv("AFFEKT_WEIGHTS", str(tmp_path))
    vgg = Vgg(VggConfig(layers=("relu1_1",)))
    frame = torch.rand(1, 3, 8, 8) * 2 - 1
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = ((frame + 1) / 2 - mean[:, None, None]) / std[:, None, None]
    wanted = torch.relu(torch.conv2d(normal, first, torch.full((64,), 0.5), padding=1))
    ((weight, found),) = vgg(frame)
    assert weight == 1 / 32
    torch.testing.assert_close(found, wanted)


def test_random_weights_are_the_same_every_time_and_disturb_no_generator():
    layers = ("relu1_1", "relu2_1")
    before = torch.get_rng_state()
    one, two = (Vgg(VggConfig("random", layers)) for _ in range(2))
    other = Vgg(VggConfig("random", layers, seed=1))
    assert torch.equal(torch.get_rng_state(), before)
    frame = torch.rand(1, 3, 16, 16)
    features = [network(frame)[-1][1] for network in (one, two, other)]
    assert torch.equal(features[0], features[1])
    assert not torch.equal(features[0], features[2])
    assert 0.2 < features[0].std() / features[0].mean() < 5  # neither dead nor exploding
    assert not any(parameter.requires_grad for parameter in one.parameters())


def test_no_layer_at_all_is_refused():
    with pytest.raises(ValueError, match="set its weight to 0"):
        VggConfig(layers=())
