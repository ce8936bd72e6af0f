"""Edge-to-video generator of EVP (Sec. 3.3, supplement 1.2): coarse-to-fine, as pix2pixHD's.

A global generator (convolutions down, residual blocks, convolutions up) sees the guidance map at a
fraction of the resolution. Each local enhancer doubles the resolution: it convolves the sharper
map down once, adds the coarser network's last features, and goes through residual blocks and up.
Architecture: Wang et al., High-Resolution Image Synthesis and Semantic Manipulation with
Conditional GANs (arXiv:1711.11585), Sec. 3.2 and its appendix, which the supplement cites.

Dimension letters: B frames in the batch, C channels, H, W pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from media.edges import CHANNELS, Form
from runtime.config import dump_config, load_config
from runtime.run import restore

Image = NDArray[np.uint8]
Norm = Literal["instance", "batch"]

DESCRIPTION = "edge2video.yaml"  # in the run folder: what `load_generator` needs to know
MAPS_AT_ONCE = 8  # through the generator in `render`
WARM_UP = 10  # updates; the average of early steps forgets the first weights faster


@dataclass(frozen=True)
class GuidanceConfig:
    """What the generator sees, and the size at which it works."""

    form: Form = "distance"
    size: int = 512  # pixels a side; stored frames of another size are resized

    @property
    def channels(self) -> int:
        """Channels of a guidance map."""
        return CHANNELS[self.form]


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes; the defaults are pix2pixHD's, twice as wide, which is the width of the release."""

    channels: int = 64  # of the first layer at full resolution; the global generator has more
    downsamplings: int = 3  # of the global generator
    blocks: int = 9  # residual blocks of the global generator
    enhancers: int = 1  # each halves the resolution of what lies below; 0: a global generator only
    enhancer_blocks: int = 3  # residual blocks of an enhancer
    outer_kernel: int = 7  # pixels; of the first and last convolutions; odd
    norm: Norm = "instance"

    def __post_init__(self) -> None:
        if self.outer_kernel % 2 == 0:
            raise ValueError(f"outer_kernel is {self.outer_kernel}, wanted an odd number")


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """Return a normalisation layer; instance norm has no weights, as in pix2pixHD."""
    return nn.InstanceNorm2d(channels) if norm == "instance" else nn.BatchNorm2d(channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with norm, added to the input."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.norm = norm_layer(norm, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.second_norm = norm_layer(norm, channels)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        hidden = F.relu(self.norm(self.first(features_BCHW)))
        out: Tensor = features_BCHW + self.second_norm(self.second(hidden))
        return out


class GlobalGenerator(nn.Module):
    """Convolutions down, residual blocks, convolutions up: features at the input's resolution."""

    def __init__(self, in_channels: int, channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        widths = [channels << level for level in range(config.downsamplings + 1)]
        layers = [_stem(in_channels, channels, config)]
        layers += [_down(width, config.norm) for width in widths[:-1]]
        layers += [ResidualBlock(widths[-1], config.norm) for _ in range(config.blocks)]
        layers += [_up(width, config.norm) for width in reversed(widths[:-1])]
        self.layers = nn.Sequential(*layers)

    def forward(self, guidance_BCHW: Tensor) -> Tensor:
        features: Tensor = self.layers(guidance_BCHW)
        return features


class LocalEnhancer(nn.Module):
    """Features at full resolution from the map at full and features at half resolution."""

    def __init__(self, in_channels: int, channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        norm = config.norm
        self.down = nn.Sequential(_stem(in_channels, channels, config), _down(channels, norm))
        blocks = [ResidualBlock(2 * channels, norm) for _ in range(config.enhancer_blocks)]
        self.up = nn.Sequential(*blocks, _up(channels, norm))

    def forward(self, guidance_BCHW: Tensor, coarse_BCHW: Tensor) -> Tensor:
        features: Tensor = self.up(self.down(guidance_BCHW) + coarse_BCHW)
        return features


class Generator(nn.Module):
    """A guidance map to a frame."""

    def __init__(self, in_channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels << level for level in range(config.enhancers + 1)]
        self.coarsest = GlobalGenerator(in_channels, widths[-1], config)
        self.enhancers = nn.ModuleList(
            LocalEnhancer(in_channels, width, config) for width in reversed(widths[:-1])
        )
        self.head = _outer(config.channels, 3, config)

    @property
    def divisor(self) -> int:
        """What the height and the width of a guidance map must be divisible by."""
        return 1 << (self.config.downsamplings + self.config.enhancers)

    def forward(self, guidance_BCHW: Tensor) -> Tensor:
        """Return frames, (B, 3, H, W) in [-1, 1].

        Args:
            guidance_BCHW: guidance maps in [0, 1], H and W multiples of `divisor`.
        """
        H, W = guidance_BCHW.shape[2:]
        if H % self.divisor or W % self.divisor:
            raise ValueError(
                f"a guidance map of {W}x{H} pixels, wanted multiples of {self.divisor}: "
                f"{self.config.enhancers} enhancers and {self.config.downsamplings} downsamplings"
            )
        pyramid = [guidance_BCHW]
        for _ in self.enhancers:
            pyramid.append(
                F.avg_pool2d(pyramid[-1], 3, stride=2, padding=1, count_include_pad=False)
            )
        features = self.coarsest(pyramid.pop())
        for enhancer in self.enhancers:
            features = enhancer(pyramid.pop(), features)
        return torch.tanh(self.head(features))


def _outer(in_channels: int, channels: int, config: GeneratorConfig) -> nn.Conv2d:
    kernel = config.outer_kernel
    return nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, padding_mode="reflect")


def _stem(in_channels: int, channels: int, config: GeneratorConfig) -> nn.Module:
    conv = _outer(in_channels, channels, config)
    return nn.Sequential(conv, norm_layer(config.norm, channels), nn.ReLU())


def _down(channels: int, norm: Norm) -> nn.Module:
    conv = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
    return nn.Sequential(conv, norm_layer(norm, 2 * channels), nn.ReLU())


def _up(channels: int, norm: Norm) -> nn.Module:
    conv = nn.ConvTranspose2d(2 * channels, channels, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(conv, norm_layer(norm, channels), nn.ReLU())


def averaged(generator: Generator, decay: float) -> AveragedModel:
    """Return the exponential moving average of a generator's weights; 0 copies the last ones.

    Ours: it takes the flicker of the adversarial game and of a high learning rate out of the
    result. Call `update_parameters(generator)` after every step.
    """

    def blend(average: Tensor, now: Tensor, updates: Tensor | int) -> Tensor:
        kept = torch.as_tensor((1 + updates) / (WARM_UP + updates)).clamp(max=decay)
        return torch.lerp(now, average, kept.to(now))

    return AveragedModel(generator, avg_fn=blend)  # buffers (batch norm) are copied


@torch.no_grad()
def render(generator: nn.Module, guidance: Image) -> Image:
    """Return frames (T, H, W, 3) uint8 RGB of guidance maps (T, C, H, W) uint8.

    The generator's mode counts: put it into evaluation mode first.
    """
    device = next(generator.parameters()).device
    frames = []
    for maps in torch.from_numpy(guidance).split(MAPS_AT_ONCE):
        generated = generator(maps.to(device).float() / 255)
        grey_levels = (127.5 * (generated + 1)).round().clamp(0, 255).to(torch.uint8)
        frames.append(grey_levels.permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(frames)


@dataclass(frozen=True)
class RendererDescription:
    """What a run folder says of its generator."""

    generator: GeneratorConfig
    guidance: GuidanceConfig
    speaker: str  # whom it draws


def save_description(run_dir: Path, description: RendererDescription) -> None:
    """Write the description into a run folder, where `load_generator` finds it."""
    dump_config(description, run_dir / DESCRIPTION)


def load_generator(
    run_dir: Path, device: torch.device | str = "cpu"
) -> tuple[Generator, RendererDescription]:
    """Read the averaged generator of a run of train_edge2video.py, in evaluation mode.

    Raises:
        FileNotFoundError: not such a run, or it has no checkpoint yet.
    """
    path = run_dir / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run train_edge2video.py into that folder")
    description = load_config(RendererDescription, path)
    generator = Generator(description.guidance.channels, description.generator)
    average = AveragedModel(generator)
    restore(run_dir, average=average)
    generator.load_state_dict(average.module.state_dict())
    return generator.to(device).eval(), description
