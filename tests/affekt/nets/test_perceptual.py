"""The frozen VGG-19 of the perceptual losses: its weights are what the configuration says."""

import io

import pytest
import torch
from torchvision.models import vgg19

from affekt.nets.perceptual import Vgg, VggConfig, vgg19_layers
from tests.corpora.published_weights import publish


def test_missing_imagenet_weights_are_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFEKT_WEIGHTS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"download\.pytorch\.org.*vgg\.weights=random"):
        Vgg(VggConfig(weights="imagenet"))


def test_weights_come_from_the_file_with_its_names(tmp_path, monkeypatch):
    first = torch.randn(64, 3, 3, 3)
    state = {"features.0.weight": first, "features.0.bias": torch.full((64,), 0.5)}
    state["classifier.6.bias"] = torch.zeros(1000)  # not read
    content = io.BytesIO()
    torch.save(state, content)
    path = publish(monkeypatch, tmp_path, "vgg19", content.getvalue())
    monkeypatch.setenv("AFFEKT_WEIGHTS", str(tmp_path))
    vgg = Vgg(VggConfig(layers=("relu1_1",)))
    with path.open("r+b") as file:  # replaced while a training runs
        file.write(bytes(path.stat().st_size))
    frame = torch.rand(1, 3, 8, 8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = (frame - mean[:, None, None]) / std[:, None, None]
    wanted = torch.relu(torch.conv2d(normal, first, torch.full((64,), 0.5), padding=1))
    (found,) = vgg(frame)
    torch.testing.assert_close(found, wanted)


def test_layers_are_torchvisions():
    with torch.device("meta"):
        ours, theirs = vgg19_layers(), vgg19(weights=None).features
    assert str(ours) == str(theirs)


def test_random_weights_are_the_same_every_time_and_disturb_no_generator():
    layers = ("relu1_1", "relu2_1")
    before = torch.get_rng_state()
    one, two = (Vgg(VggConfig("random", layers)) for _ in range(2))
    other = Vgg(VggConfig("random", layers, seed=1))
    assert torch.equal(torch.get_rng_state(), before)
    frame = torch.rand(1, 3, 16, 16)
    features = [network(frame)[-1] for network in (one, two, other)]
    assert torch.equal(features[0], features[1])
    assert not torch.equal(features[0], features[2])
    assert 0.2 < features[0].std() / features[0].mean() < 5  # neither dead nor exploding
    assert not any(parameter.requires_grad for parameter in one.parameters())


def test_layers_come_in_the_order_asked_for_and_none_are_refused():
    with pytest.raises(ValueError, match="set its weight to 0"):
        VggConfig(layers=())
    frame = torch.rand(1, 3, 16, 16)
    forward = Vgg(VggConfig("random", ("relu1_1", "relu2_1")))(frame)
    backward = Vgg(VggConfig("random", ("relu2_1", "relu1_1")))(frame)
    assert [value.shape[1] for value in backward] == [128, 64]
    assert torch.equal(forward[0], backward[1])
