"""Video discriminator D_V of EVP (supplement 1.2): K consecutive frames with their real flow.

As vid2vid's (arXiv:1808.06601, Sec. 3.2): a conditional patch discriminator sees K frames of a
sequence, and the optical flow between the corresponding real ones, so that it can tell frames that
move as the real ones do from frames that do not. A coarser temporal scale sees frames that lie K
times as far apart, under the flow joined over the frames between. Every temporal scale has patch
discriminators of its own, at several sizes.

Dimension letters: B sequences, T frames, K frames judged together, W windows, H rows, X columns.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from affekt.nets.warp import joined, warped
from evp.networks.discriminator import Answers, DiscriminatorConfig, MultiScale
from evp.networks.temporal_generator import FLOW_SCALE


@dataclass(frozen=True)
class VideoDiscriminatorConfig:
    """Sizes; the defaults are vid2vid's."""

    frames: int = 3  # K
    temporal_scales: int = 2
    sees: Literal["frames", "residuals"] = "frames"  # see `windows` and `residuals`
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


class VideoDiscriminator(nn.Module):
    """D_V: windows of frames at several distances, each with the real ones' flow."""

    def __init__(self, config: VideoDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.unseen = 0 if config.sees == "frames" else 3  # a window's first residual is older
        channels = 3 * config.frames - self.unseen + 2 * (config.frames - 1)
        self.scales = nn.ModuleList(MultiScale(channels, config.patches) for _ in config.strides)

    def forward(
        self, frames_BTCHX: Tensor, flow_BT2HX: Tensor, confidence_BT1HX: Tensor | None = None
    ) -> Answers:
        """Return the answers of every scale to every window.

        Args:
            frames_BTCHX: (B, T, 3, H, X) in [-1, 1], T at least the config's `shortest`.
            flow_BT2HX: backward flow of the real frames, pixels; the first is not used.
            confidence_BT1HX: 1 where that flow is to be believed; needed for residuals.
        """
        answers: Answers = []
        for scale, stride in zip(self.scales, self.config.strides, strict=True):
            shown = frames_BTCHX
            if self.config.sees == "residuals":
                assert confidence_BT1HX is not None
                shown = residuals(frames_BTCHX, flow_BT2HX, confidence_BT1HX, stride)
            cut = windows(shown, flow_BT2HX, self.config.frames, stride)
            answers += scale(cut[:, self.unseen :])
        return answers


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


def residuals(
    frames_BTCHX: Tensor, flow_BT2HX: Tensor, confidence_BT1HX: Tensor, stride: int
) -> Tensor:
    """Return x_t - w(x_{t-stride}), what the flow does not explain, 0 where it is not believed.

    Ours. Of whole frames a small discriminator learns first that they are blurred, which D_I tells
    already; here it can learn nothing but how they change. The first `stride` mean nothing.
    """
    believed = confidence_BT1HX
    for _ in range(stride - 1):
        believed = confidence_BT1HX * _moved(_later(believed), flow_BT2HX)
    earlier = _moved(_later(frames_BTCHX, stride), strided_flow(flow_BT2HX, stride))
    return believed * (frames_BTCHX - earlier)


def strided_flow(flow_BT2HX: Tensor, stride: int) -> Tensor:
    """Return the flow of each frame to the one `stride` before; the first `stride` mean nothing."""
    total = flow_BT2HX
    for _ in range(stride - 1):
        far = joined(flow_BT2HX.flatten(0, 1), _later(total).flatten(0, 1))
        total = far.unflatten(0, flow_BT2HX.shape[:2])
    return total


def _later(pictures_BTCHX: Tensor, by: int = 1) -> Tensor:
    """Return the pictures so many frames before each; before the first there is the first."""
    first = pictures_BTCHX[:, :1].expand(-1, by, -1, -1, -1)
    return torch.cat([first, pictures_BTCHX[:, :-by]], dim=1)


def _moved(pictures_BTCHX: Tensor, flow_BT2HX: Tensor) -> Tensor:
    moved = warped(pictures_BTCHX.flatten(0, 1), flow_BT2HX.flatten(0, 1))
    return moved.unflatten(0, flow_BT2HX.shape[:2])
