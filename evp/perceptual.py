"""Feature maps of VGG-19 for the VGG feature loss (EVP supplement eq. 4).

The weights are a choice that the configuration states: torchvision's ImageNet weights from the
weights folder, or weights drawn at random from a fixed seed. One never stands in for the other.
"""

import os
import typing as tp
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import vgg19

FILE = "vgg19-dcbb9e9d.pth"  # torchvision's VGG19_Weights.IMAGENET1K_V1
SOURCE = f"https://download.pytorch.org/models/{FILE}"
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1] (torchvision)
IMAGENET_STD = (0.229, 0.224, 0.225)

Layer = tp.Literal["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
# layer: (its place in torchvision's vgg19().features, its weight in pix2pixHD and vid2vid)
LAYERS: dict[Layer, tuple[int, float]] = {
    "relu1_1": (1, 1 / 32),
    "relu2_1": (6, 1 / 16),
    "relu3_1": (11, 1 / 8),
    "relu4_1": (20, 1 / 4),
    "relu5_1": (29, 1.0),
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
        """Load or draw the weights.

        Raises:
            FileNotFoundError: weights are "imagenet" and the file is not in the weights folder.
        """
        super().__init__()
        places = [LAYERS[layer][0] for layer in config.layers]
        with torch.device("meta"):  # no time for weights that are replaced
            network = vgg19(weights=None).features[: max(places) + 1]
        state = (
            _imagenet_state() if config.weights == "imagenet" else _random_state(network, config)
        )
        network.load_state_dict({key: state[key] for key in network.state_dict()}, assign=True)
        self.features = network.requires_grad_(False).eval()
        self.layer_weights = {LAYERS[layer][0]: LAYERS[layer][1] for layer in config.layers}
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None])

    def forward(self, frames_BCHW: Tensor) -> list[tuple[float, Tensor]]:
        """Return (weight, feature map) of every wanted layer, of frames (B, 3, H, W) in [-1, 1]."""
        features = ((frames_BCHW + 1) / 2 - self.mean) / self.std
        found = []
        for place, layer in enumerate(self.features):
            features = layer(features)
            if place in self.layer_weights:
                found.append((self.layer_weights[place], features))
        return found


def weights_folder() -> Path:
    """Return the folder of downloaded weights: $AFFEKT_WEIGHTS, or ./weights."""
    return Path(os.environ.get("AFFEKT_WEIGHTS", "weights"))


def _imagenet_state() -> dict[str, Tensor]:
    path = weights_folder() / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; download {SOURCE} into that folder ($AFFEKT_WEIGHTS, else "
            "./weights), or set vgg.weights=random, or loss.vgg=0 to do without the term"
        )
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return {key.removeprefix("features."): value for key, value in state.items()}


def _random_state(network: nn.Module, config: VggConfig) -> dict[str, Tensor]:
    """Draw weights that keep the size of activations (He et al. 2015), biases 0."""
    generator = torch.Generator().manual_seed(config.seed)
    state = {}
    for key, empty in network.state_dict().items():
        value = torch.zeros(empty.shape)
        if key.endswith("weight"):
            nn.init.kaiming_normal_(value, nonlinearity="relu", generator=generator)
        state[key] = value
    return state
