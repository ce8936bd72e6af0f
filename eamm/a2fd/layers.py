"""The layers of Audio2Facial-Dynamics and their sizes (EAMM, supplement A.1; its release).

Letters: C, h, w channels and pixels of a feature map; K keypoints.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from eamm.fomm.blocks import AntiAlias, ConvBlock, Hourglass
from eamm.fomm.keypoints import KeypointConfig

POSE_SIZE = 6  # yaw, pitch, roll, scale, tx, ty; see eamm/pose.py
FIRST_PIXELS = range(4, 8)  # a side, of the decoder's first map; the release's has 4
AUDIO_CELLS = 12 * 2  # what two poolings leave of 28 x 12


@dataclass(frozen=True)
class A2fdWidths:
    """Widths of the network's own layers; the defaults are the release's."""

    identity_channels: int = 4  # of the first level; doubled at each, the last has identity_dim
    identity_dim: int = 512  # f_I
    audio_channels: tuple[int, int, int, int, int] = (64, 128, 256, 256, 512)
    audio_hidden: int = 2048
    audio_dim: int = 256  # f_a
    pose_hidden: int = 128
    pose_dim: int = 256  # f_p
    hidden: int = 256  # of the LSTM
    layers: int = 3  # of the LSTM
    decoder_first: int = 256  # channels of the decoder's first map
    decoder: int = 128  # channels of its further maps
    # Add the decoder's map to the one that the detector computes from the source, and condition the
    # LSTM on the source's keypoints. Ours: a fresh network leaves the source as it is, an unknown
    # face begins with its own keypoints; how far to move follows from where they are and the pose.
    residual: bool = False


@dataclass(frozen=True)
class NormStats:
    """Constants that inputs of a network are normalised with: (input - mean) / scale."""

    mean: tuple[float, ...] = ()  # one an input; none: 0
    scale: tuple[float, ...] = ()  # one an input; none: 1

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.scale) or 0 in self.scale:
            raise ValueError("mean and scale hold as many numbers as each other, scale no 0")


@dataclass(frozen=True)
class A2fdConfig:
    """The whole network: its own widths, and what follows from the FOMM that it serves."""

    widths: A2fdWidths = field(default_factory=A2fdWidths)
    size: int = 256  # pixels a side of the source
    keypoints: KeypointConfig = field(default_factory=KeypointConfig)
    pose: NormStats = NormStats()  # of the six numbers of a pose; as it is: raw, the paper's
    source: NormStats = NormStats()  # of the 6 K numbers of the source's keypoints, where residual
    teacher: str | None = None  # `fingerprint` of the detector that gave the targets; None: unknown

    def __post_init__(self) -> None:
        for name, count in (("pose", POSE_SIZE), ("source", 6 * self.keypoints.count)):
            found = len(getattr(self, name).mean)
            if found not in (0, count):
                raise ValueError(f"{name}.mean holds {found} numbers, wanted {count} or none")
        if self.first_pixels not in FIRST_PIXELS:
            raise ValueError(
                f"the detector's feature map has {self.feature_size} pixels a side, but the "
                "decoder makes 4, 5, 6 or 7 times a power of 2; train a FOMM of another size or "
                "downscale"
            )

    @property
    def feature_size(self) -> int:
        """Pixels a side of the detector's feature map: 64 at vox-256."""
        return self.size // self.keypoints.downscale

    @property
    def doublings(self) -> int:
        """How often the decoder doubles its first map: 4 times at vox-256."""
        return max((self.feature_size // FIRST_PIXELS.start).bit_length() - 1, 0)

    @property
    def first_pixels(self) -> int:
        """Pixels a side of the decoder's first map: 4 at vox-256; 0 where none would fit."""
        pixels, rest = divmod(self.feature_size, 1 << self.doublings)
        return 0 if rest else pixels

    @property
    def features(self) -> int:
        """Channels of the detector's feature map: 35 at vox-256."""
        return self.keypoints.hourglass.channels + 3


class Normalize(nn.Module):
    """(input - mean) / scale, with constants that no state dict holds."""

    mean: Tensor
    scale: Tensor

    def __init__(self, stats: NormStats) -> None:
        super().__init__()
        mean, scale = stats.mean or (0.0,), stats.scale or (1.0,)
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("scale", torch.tensor(scale), persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return numbers (..., N) in the same shape."""
        return (numbers - self.mean) / self.scale


def identity_encoder(size: int, widths: A2fdWidths) -> nn.Sequential:
    """Return blocks that halve the picture until a single pixel is left: 8 at 256 px."""
    levels = size.bit_length() - 1
    doubled = [min(widths.identity_channels << i, widths.identity_dim) for i in range(levels - 1)]
    channels = [3, *doubled, widths.identity_dim]
    return nn.Sequential(*(ConvBlock(*pair, resize="down") for pair in pairwise(channels)))


def audio_encoder(widths: A2fdWidths) -> nn.Sequential:
    """Return convolutions from windows (N, 1, 28, 12) to maps (N, C, 12, 2)."""
    first, second, third, fourth, last = widths.audio_channels
    return nn.Sequential(
        _audio_block(1, first),
        _audio_block(first, second),
        nn.MaxPool2d(3, stride=(1, 2)),
        _audio_block(second, third),
        _audio_block(third, fourth),
        _audio_block(fourth, last),
        nn.MaxPool2d(3, stride=(2, 2)),
    )


def _audio_block(in_channels: int, out_channels: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


def decoder(config: A2fdConfig) -> nn.Sequential:
    """Return transposed convolutions from one pixel to the detector's feature map.

    The first makes 4 x 4 pixels at vox-256 (kernel 6), each further one doubles them.
    """
    widths = config.widths
    channels = [widths.decoder_first, *[widths.decoder] * (config.doublings - 1), config.features]
    if not config.doublings:
        channels = [config.features]
    kernel = config.first_pixels + 2
    layers: list[nn.Module] = [nn.ConvTranspose2d(widths.hidden, channels[0], kernel, 2, 1)]
    for before, after in pairwise(channels):
        layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1)]
    return nn.Sequential(*layers)


def source_features(config: A2fdConfig) -> nn.Sequential:
    """Return the frozen part of the detector that computes a picture's feature map."""
    keypoints = config.keypoints
    parts = AntiAlias(3, keypoints.downscale), Hourglass(3, keypoints.hourglass)
    return nn.Sequential(*parts).requires_grad_(False).eval()
