"""Sequential edge-to-video generator of EVP (Sec. 3.3, supplement 1.2): vid2vid's, coarse-to-fine.

A frame is generated from the guidance maps of that frame and of the L before it, and from its
history, the L frames before it, which at inference are generated too (Wang et al., Video-to-Video
Synthesis, arXiv:1808.06601, eq. 4 and 5):

    x_t = (1 - m_t) w_t(x_{t-1}) + m_t h_t

The network hallucinates a picture h_t, estimates the flow w_t to the frame before, and an occlusion
mask m_t of where the frame before, warped by the flow, is replaced. Maps and frames have
an encoder each, whose features are added; picture and motion (flow and mask) a decoder each. The
global generator works at a fraction of the resolution, and each local enhancer doubles it, as in
evp.networks.generator. Every level has heads of its own, so that the coarse ones can be trained
first.

Ours: the head of the flow begins at zero, so that an untrained network repeats the last frame
instead of tearing it.

Dimension letters: B sequences, L frames before, C channels, H, W pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from affekt.nets.precision import in_float32
from affekt.nets.warp import warp_by_flow
from evp.networks.blocks import ResidualBlock, down, halved, outer, stem, up
from evp.networks.generator import GeneratorConfig

FLOW_SCALE = 20.0  # pixels of flow for a head's output of 1 (vid2vid)


class GeneratedFrame(NamedTuple):
    """One frame of each sequence, and what it was composed of."""

    frame: Tensor  # (B, 3, H, W) in [-1, 1]
    hallucinated: Tensor  # (B, 3, H, W) in [-1, 1]
    flow: Tensor  # (B, 2, H, W), pixels to where it lay in the frame before
    mask: Tensor  # (B, 1, H, W) in [0, 1], the share of the hallucinated picture


class TemporalGlobal(nn.Module):
    """Features for the picture and for the motion, at the input's resolution."""

    def __init__(self, maps: int, frames: int, channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        norm, kernel = config.norm, config.outer_kernel
        widths = [channels << level for level in range(config.downsamplings + 1)]

        def encoder(in_channels: int) -> nn.Module:
            downs = [down(width, norm) for width in widths[:-1]]
            return nn.Sequential(stem(in_channels, channels, kernel, norm), *downs)

        def decoder(blocks: int) -> nn.Module:
            ups = [up(width, norm) for width in reversed(widths[:-1])]
            return nn.Sequential(*_residual(blocks, widths[-1], config), *ups)

        own = config.blocks // 2  # vid2vid: the later half of the blocks are a decoder's own
        self.maps, self.frames = encoder(maps), encoder(frames)
        self.shared = nn.Sequential(*_residual(config.blocks - own, widths[-1], config))
        self.picture, self.motion = decoder(own), decoder(own)

    def forward(self, maps_BCHW: Tensor, frames_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        features = self.shared(self.maps(maps_BCHW) + self.frames(frames_BCHW))
        return self.picture(features), self.motion(features)


class TemporalEnhancer(nn.Module):
    """The same features at twice the resolution."""

    def __init__(self, maps: int, frames: int, channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        norm, kernel = config.norm, config.outer_kernel

        def encoder(in_channels: int) -> nn.Module:
            return nn.Sequential(stem(in_channels, channels, kernel, norm), down(channels, norm))

        def decoder() -> nn.Module:
            blocks = _residual(config.enhancer_blocks, 2 * channels, config)
            return nn.Sequential(*blocks, up(channels, norm))

        self.maps, self.frames = encoder(maps), encoder(frames)
        self.picture, self.motion = decoder(), decoder()

    def forward(
        self, maps_BCHW: Tensor, frames_BCHW: Tensor, picture_BCHW: Tensor, motion_BCHW: Tensor
    ) -> tuple[Tensor, Tensor]:
        features = self.maps(maps_BCHW) + self.frames(frames_BCHW)
        return self.picture(features + picture_BCHW), self.motion(features + motion_BCHW)


class Heads(nn.Module):
    """Features to a picture, a flow and a mask."""

    def __init__(self, channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.picture = outer(channels, 3, config.outer_kernel)
        self.flow = outer(channels, 2, config.outer_kernel)
        self.mask = outer(channels, 1, config.outer_kernel)
        nn.init.zeros_(self.flow.weight)
        nn.init.zeros_(self.flow.bias)  # type: ignore[arg-type]  # it has one

    def forward(
        self, picture_BCHW: Tensor, motion_BCHW: Tensor, last_BCHW: Tensor
    ) -> GeneratedFrame:
        hallucinated = torch.tanh(self.picture(picture_BCHW)).float()
        flow = FLOW_SCALE * in_float32(self.flow)(motion_BCHW)
        mask = torch.sigmoid(self.mask(motion_BCHW)).float()
        frame = (1 - mask) * warp_by_flow(last_BCHW.float(), flow) + mask * hallucinated
        return GeneratedFrame(frame, hallucinated, flow, mask)


class TemporalGenerator(nn.Module):
    """Guidance maps and the frames before to the next frame."""

    def __init__(self, in_channels: int, config: GeneratorConfig) -> None:
        """Build the networks of every level.

        Args:
            in_channels: of one guidance map.
            config: sizes; `previous` is L, at least 1.
        """
        super().__init__()
        if config.previous < 1:
            raise ValueError("a temporal generator takes a history: previous is 0, wanted 1 on")
        self.config = config
        maps, frames = (config.previous + 1) * in_channels, 3 * config.previous
        widths = [config.channels << level for level in range(config.enhancers + 1)]
        self.coarsest = TemporalGlobal(maps, frames, widths[-1], config)
        self.enhancers = nn.ModuleList(
            TemporalEnhancer(maps, frames, width, config) for width in reversed(widths[:-1])
        )
        self.heads = nn.ModuleList(Heads(width, config) for width in reversed(widths))

    def forward(
        self, guidance_BLCHW: Tensor, history_BLCHW: Tensor, level: int = 0
    ) -> GeneratedFrame:
        """Generate the next frame.

        Args:
            guidance_BLCHW: (B, L + 1, C, H, W) guidance maps in [0, 1], oldest first; H and W
                multiples of the config's `divisor`, or of the lower one of a coarser level.
            history_BLCHW: (B, L, 3, H, W) the frames before in [-1, 1], oldest first.
            level: 0 runs all networks; 1 leaves the last enhancer out and takes and returns
                pictures of half the size; and so on.
        """
        self.config.check_size(guidance_BLCHW, level)
        # Input pyramid: maps and history at every level
        levels = len(self.enhancers) - level
        maps, frames = [guidance_BLCHW.flatten(1, 2)], [history_BLCHW.flatten(1, 2)]
        for _ in range(levels):
            maps.append(halved(maps[-1]))
            frames.append(halved(frames[-1]))
        # Coarsest generator, then the enhancers from coarse to fine
        picture, motion = self.coarsest(maps.pop(), frames.pop())
        for enhancer in self.enhancers[:levels]:
            picture, motion = enhancer(maps.pop(), frames.pop(), picture, motion)
        return self.heads[levels](picture, motion, history_BLCHW[:, -1])


def _residual(blocks: int, channels: int, config: GeneratorConfig) -> list[nn.Module]:
    return [ResidualBlock(channels, config.norm) for _ in range(blocks)]
