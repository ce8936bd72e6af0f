"""Discriminators D_I and D_V of EVP's renderer (supplement 1.2, eq. 3).

D_I: conditional patch discriminators at several scales, as in pix2pixHD (arXiv:1711.11585, Sec.
3.2). Their input is a frame with its guidance map; every scale but the first works at half the
resolution of the one before. They share no weights.

D_V: as in vid2vid (arXiv:1808.06601, Sec. 3.2). The input is K frames of a sequence and the optical
flow between the corresponding real ones. A coarser temporal scale takes frames K times as far
apart, under the flow composed over the frames between. Every temporal scale has multi-scale patch
discriminators of its own.

Dimension letters: B sequences (or frames, where there is no T), T frames, K frames of a window, W
windows, C channels, H rows, X columns.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from affekt.nets.gan import DiscriminatorOutput
from affekt.nets.warp import compose_flows, warp_by_flow
from evp.networks.blocks import NormType, halved, norm_layer
from evp.networks.temporal_generator import FLOW_SCALE

SLOPE = 0.2  # of the leaky rectifiers
MAX_CHANNELS = 512  # pix2pixHD


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of multi-scale patch discriminators; the defaults are pix2pixHD's and vid2vid's."""

    channels: int = 64  # of the first layer
    layers: int = 3  # with stride 2: 3 layers give patches of 70 pixels
    scales: int = 2
    norm: NormType = "instance"


@dataclass(frozen=True)
class VideoDiscriminatorConfig:
    """Sizes of D_V; the defaults are vid2vid's."""

    frames: int = 3  # K
    temporal_scales: int = 2
    input: Literal["frames", "flow_residuals"] = "frames"  # see `windows` and `flow_residuals`
    patches: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ValueError(f"frames is {self.frames}, wanted at least 2")
        if self.temporal_scales < 1:
            raise ValueError(f"temporal_scales is {self.temporal_scales}, wanted at least 1")

    @property
    def strides(self) -> tuple[int, ...]:
        """How far apart the frames of each temporal scale are."""
        return tuple(self.frames**scale for scale in range(self.temporal_scales))

    @property
    def shortest(self) -> int:
        """The frames that a sequence must have for the coarsest scale."""
        return 1 + (self.frames - 1) * self.strides[-1]


class PatchDiscriminator(nn.Module):
    """4x4 convolutions, each but the last two with stride 2; the first and last have no norm."""

    def __init__(self, in_channels: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        widths = [min(config.channels << level, MAX_CHANNELS) for level in range(config.layers + 1)]
        first = nn.Conv2d(in_channels, widths[0], 4, stride=2, padding=2)
        layers: list[nn.Module] = [nn.Sequential(first, nn.LeakyReLU(SLOPE))]
        for level in range(1, config.layers + 1):
            stride = 2 if level < config.layers else 1
            conv = nn.Conv2d(widths[level - 1], widths[level], 4, stride=stride, padding=2)
            norm = norm_layer(config.norm, widths[level])
            layers.append(nn.Sequential(conv, norm, nn.LeakyReLU(SLOPE)))
        layers.append(nn.Conv2d(widths[-1], 1, 4, padding=2))
        self.layers = nn.ModuleList(layers)
        if config.norm == "none":
            self.apply(_he_init)

    def forward(self, pictures_BCHX: Tensor) -> DiscriminatorOutput:
        outputs = [pictures_BCHX]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        return DiscriminatorOutput(outputs[1:-1], outputs[-1])


def _he_init(layer: nn.Module) -> None:
    """Initialise weights that keep the size of activations without a norm (He et al. 2015)."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, SLOPE)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has one


class MultiScale(nn.Module):
    """One patch discriminator a scale, the finest first."""

    def __init__(self, in_channels: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            PatchDiscriminator(in_channels, config) for _ in range(config.scales)
        )

    def forward(self, pictures_BCHX: Tensor) -> list[DiscriminatorOutput]:
        outputs = []
        for scale in self.scales:
            outputs.append(scale(pictures_BCHX))
            pictures_BCHX = halved(pictures_BCHX)
        return outputs


class VideoDiscriminator(nn.Module):
    """D_V: windows of frames at several distances, each with the real ones' flow."""

    def __init__(self, config: VideoDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        # The first residual of a window is of the frame before it, so its channels are left out.
        self.skipped = 0 if config.input == "frames" else 3
        channels = 3 * config.frames - self.skipped + 2 * (config.frames - 1)
        self.scales = nn.ModuleList(MultiScale(channels, config.patches) for _ in config.strides)

    def forward(
        self, frames_BTCHX: Tensor, flow_BT2HX: Tensor, confidence_BT1HX: Tensor | None = None
    ) -> list[DiscriminatorOutput]:
        """Return the outputs of every temporal scale and, within it, of every spatial scale.

        Args:
            frames_BTCHX: (B, T, 3, H, X) in [-1, 1], T at least the config's `shortest`.
            flow_BT2HX: backward flow of the real frames, pixels; the first is not used.
            confidence_BT1HX: 1 where that flow is reliable; needed for flow residuals.
        """
        outputs: list[DiscriminatorOutput] = []
        for scale, stride in zip(self.scales, self.config.strides, strict=True):
            pictures = frames_BTCHX
            if self.config.input == "flow_residuals":
                assert confidence_BT1HX is not None
                pictures = flow_residuals(frames_BTCHX, flow_BT2HX, confidence_BT1HX, stride)
            cut = windows(pictures, flow_BT2HX, self.config.frames, stride)
            outputs += scale(cut[:, self.skipped :])
        return outputs


class Discriminators(nn.Module):
    """D_I and D_V, those that take part, as one network."""

    def __init__(
        self,
        guidance_channels: int,
        image: DiscriminatorConfig | None,
        video: VideoDiscriminatorConfig | None,
    ) -> None:
        super().__init__()
        self.image = None if image is None else MultiScale(3 + guidance_channels, image)
        self.video = None if video is None else VideoDiscriminator(video)

    def forward(
        self,
        frames_BTCHX: Tensor,
        guidance_BTCHX: Tensor,
        flow_BT2HX: Tensor | None = None,
        confidence_BT1HX: Tensor | None = None,
    ) -> dict[str, list[DiscriminatorOutput]]:
        """Return outputs by the weights of their loss terms: `gan` of D_I, `gan_video` of D_V.

        Args:
            frames_BTCHX: (B, T, 3, H, X) in [-1, 1], true or generated.
            guidance_BTCHX: (B, T, C, H, X), the guidance maps of the true frames.
            flow_BT2HX: backward flow of the true frames, needed by D_V.
            confidence_BT1HX: 1 where that flow is reliable.
        """
        outputs = {}
        if self.image is not None:
            pictures_BTCHX = torch.cat([frames_BTCHX, guidance_BTCHX], dim=2)
            outputs["gan"] = self.image(pictures_BTCHX.flatten(0, 1))
        if self.video is not None:
            assert flow_BT2HX is not None
            outputs["gan_video"] = self.video(frames_BTCHX, flow_BT2HX, confidence_BT1HX)
        return outputs


def windows(frames_BTCHX: Tensor, flow_BT2HX: Tensor, frames: int, stride: int) -> Tensor:
    """Return every window of frames a stride apart, with the flows between its frames.

    Returns:
        (B W, 3 K + 2 (K - 1), H, X): frames, oldest first, then flows in units of `FLOW_SCALE`.
    """
    span = 1 + (frames - 1) * stride
    count = frames_BTCHX.shape[1] - span + 1
    if count < 1:
        raise ValueError(f"{frames_BTCHX.shape[1]} frames, wanted at least {span}")
    flow = strided_flow(flow_BT2HX, stride) / FLOW_SCALE
    places = range(0, span, stride)
    parts = [frames_BTCHX[:, place : place + count] for place in places]
    parts += [flow[:, place : place + count] for place in places[1:]]
    return torch.cat(parts, dim=2).flatten(0, 1)


def flow_residuals(
    frames_BTCHX: Tensor, flow_BT2HX: Tensor, confidence_BT1HX: Tensor, stride: int
) -> Tensor:
    """Return x_t - w(x_{t-stride}), what the flow does not explain, 0 where it is unreliable.

    Ours. Of whole frames a small discriminator learns first that they are blurred, which D_I
    already penalises; residuals leave it only their change over time. The first `stride` frames'
    residuals are undefined.
    """
    reliable = confidence_BT1HX
    for _ in range(stride - 1):
        reliable = confidence_BT1HX * _warp(_delayed(reliable), flow_BT2HX)
    earlier = _warp(_delayed(frames_BTCHX, stride), strided_flow(flow_BT2HX, stride))
    return reliable * (frames_BTCHX - earlier)


def strided_flow(flow_BT2HX: Tensor, stride: int) -> Tensor:
    """Return each frame's flow to the one `stride` before; the first `stride` are undefined."""
    total = flow_BT2HX
    for _ in range(stride - 1):
        far = compose_flows(flow_BT2HX.flatten(0, 1), _delayed(total).flatten(0, 1))
        total = far.unflatten(0, flow_BT2HX.shape[:2])
    return total


def _delayed(pictures_BTCHX: Tensor, by: int = 1) -> Tensor:
    """Return the pictures `by` frames before each; before the first one the first is repeated."""
    first = pictures_BTCHX[:, :1].expand(-1, by, -1, -1, -1)
    return torch.cat([first, pictures_BTCHX[:, :-by]], dim=1)


def _warp(pictures_BTCHX: Tensor, flow_BT2HX: Tensor) -> Tensor:
    warped = warp_by_flow(pictures_BTCHX.flatten(0, 1), flow_BT2HX.flatten(0, 1))
    return warped.unflatten(0, flow_BT2HX.shape[:2])
