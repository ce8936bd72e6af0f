"""Feature maps of VGG-19, for perceptual losses (EVP supplement eq. 4; FOMM, EAMM).

The weights are a choice that the configuration states: torchvision's ImageNet weights from the
weights folder, or random weights from a fixed seed. Neither replaces the other silently.
"""

import typing as tp
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from affekt.runtime.weights import registry as weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1] (torchvision)
IMAGENET_STD = (0.229, 0.224, 0.225)

Layer = tp.Literal["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
# VGG-19's layers (Simonyan and Zisserman 2015, Table 1, E): channels of 3 x 3 convolutions, 0: pool
LAYERS = (*(64,) * 2, 0, *(128,) * 2, 0, *(256,) * 4, 0, *(512,) * 4, 0, *(512,) * 4, 0)
PLACES: dict[Layer, int] = {  # in torchvision's vgg19().features, whose layout this is
    "relu1_1": 1,
    "relu2_1": 6,
    "relu3_1": 11,
    "relu4_1": 20,
    "relu5_1": 29,
}


@dataclass(frozen=True)
class VggConfig:
    """Which weights, and which feature maps are compared."""

    weights: tp.Literal["imagenet", "random"] = "imagenet"
    layers: tuple[Layer, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    seed: int = 0  # of random weights

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers is empty; to do without the VGG term set its weight to 0")


class Vgg(nn.Module):
    """Frozen VGG-19 up to the last layer wanted."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: VggConfig) -> None:
        """Load or initialise the weights.

        Raises:
            FileNotFoundError: weights are "imagenet" and the file is not in the weights folder.
            ValueError: the file is there and is not the published one.
        """
        super().__init__()
        self.places = [PLACES[layer] for layer in config.layers]
        with torch.device("meta"):  # no time for weights that are replaced
            network = vgg19_layers()[: max(self.places) + 1]
        if config.weights == "random":
            state = _random_state(network, config)
        else:
            state = torch.load(weights.find("vgg19"), "cpu", weights_only=True, mmap=True)
            state = {key.removeprefix("features."): value for key, value in state.items()}
            # Mapped, so that the 400 MB of the classifier are not read; copied, so that a file that
            # is replaced while a training runs changes nothing
            state = {key: state[key].clone() for key in network.state_dict()}
        network.load_state_dict({key: state[key] for key in network.state_dict()}, assign=True)
        self.features = network.requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None])

    def forward(self, frames_BCHW: Tensor) -> list[Tensor]:
        """Return the feature maps of the wanted layers, of frames (B, 3, H, W) in [0, 1]."""
        features = (frames_BCHW - self.mean) / self.std
        found = {}
        for place, layer in enumerate(self.features):
            features = layer(features)
            if place in self.places:
                found[place] = features
        return [found[place] for place in self.places]


def vgg19_layers() -> nn.Sequential:
    """Return VGG-19's convolutions as torchvision numbers them; its package imports for seconds."""
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in LAYERS:
        if outputs == 0:
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        inputs = outputs
    return nn.Sequential(*layers)


def _random_state(network: nn.Module, config: VggConfig) -> dict[str, Tensor]:
    """Initialise weights that keep the size of activations (He et al. 2015), biases 0."""
    generator = torch.Generator().manual_seed(config.seed)
    state = {}
    for key, empty in network.state_dict().items():
        value = torch.zeros(empty.shape)
        if key.endswith("weight"):
            nn.init.kaiming_normal_(value, nonlinearity="relu", generator=generator)
        state[key] = value
    return state
