"""HEF: a portrait moved to other expressions and poses, by flows and faces from coarse to fine.

What the paper's abstract and supplement say: style-based, StyConv blocks (Sec. 1.3), flow fields
and faces learned hierarchically and residually, one picture at a time, any portrait; the ablations
w/o res. and w/o hie. change the flow operation (Sec. 1.4, Fig. 2). The rest is ours, after the open
system that is built most alike, LIA (arXiv:2203.09043):

    source    StyleGAN2's residual encoder, features at every level down to 8 px, where the
              network of the face begins
    style     a window of 2 w + 1 motions around the frame to draw, each beside the source's own,
              through PIRenderer's convolutions (7, then three of 3 with dilation 3), whose middle
              frame is taken; plus the source's coarsest features, averaged
    level     StyConv up (but at 8 px), StyConv, ToFlow (two numbers of flow, one of a mask), the
              source's features warped by the flow and blended in by the mask, ToRGB
    residual  ToFlow adds to the coarser level's output at twice the size, and so does ToRGB
    flow      half a tanh of the two numbers, plus the face-model prior where it is switched on

Without `residual` each level has a flow and a mask of its own, and the finest alone draws a
picture, since no coarser one is added to it. Without `hierarchical` one level, of `flow_size`,
gives the one flow and mask, interpolated for finer levels; coarser ones have none. StyleHEAT has
its one flow at 64 px.

Letters: B pictures, C channels, h, w pixels, S the picture's side, W frames of a window, E
expression modes, M = 6 + E numbers of a motion (pose in units of the picture, then expression), F
numbers of a style code, N landmarks.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from affekt.media.face3d.model import FaceModel
from affekt.nets.places import pixel_centres
from affekt.nets.precision import in_float32
from affekt.nets.warp import warp_by_grid
from emospace.data.motions import LIMIT, MotionStats
from emospace.networks.flow_prior import FlowPrior, PriorConfig
from emospace.networks.styconv import (
    EqualConv,
    EqualLinear,
    ResidualDown,
    StyConv,
    StyleOutput,
    activation,
    doubled,
)

COARSEST = 8  # pixels a side of the first level
REACH = 0.5  # of a flow without prior, in half sides of the picture: LIA's tanh, halved
MAPPING_SLOPE = 0.1  # PIRenderer's
DILATED = 3  # residual convolutions of the mapping, and their dilation
GREY = 0.5  # of a fresh network's picture


@dataclass(frozen=True)
class RendererConfig:
    """Sizes and switches; the defaults are those of 256 px."""

    size: int = 256  # pixels a side
    channels: tuple[int, ...] = (512, 512, 512, 256, 128, 64)  # at 8, 16, ... `size` px
    style: int = 512
    mapping: int = 256  # channels of the motion's convolutions
    window: int = 13  # w: frames before and after; 27 in all, PIRenderer's
    residual: bool = True  # False: w/o res.
    hierarchical: bool = True  # False: w/o hie.
    flow_size: int = 64  # pixels a side of the one flow, w/o hie.
    # Logit of a fresh mask. At 3 all but 5 % of a picture is warped source; what no source shows,
    # the inside of a mouth, needs it lower.
    mask_bias: float = 3.0
    blend_picture: bool = False  # also blend in the warped source itself; ours, for short training
    prior: bool = False  # see flow_prior.py
    bumps: PriorConfig = field(default_factory=PriorConfig)

    def __post_init__(self) -> None:
        wanted = COARSEST << (len(self.channels) - 1)
        if not self.channels or self.size != wanted:
            raise ValueError(
                f"size is {self.size} with {len(self.channels)} channels; wanted one for each of "
                f"{COARSEST}, {2 * COARSEST}, ... size pixels"
            )
        if not self.hierarchical and self.flow_size not in self.sizes:
            raise ValueError(f"flow_size is {self.flow_size}, wanted one of {self.sizes}")
        if self.window < 0:
            raise ValueError(f"window is {self.window}, wanted 0 or more frames on either side")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Pixels a side of every level."""
        return tuple(COARSEST << level for level in range(len(self.channels)))


class Source(NamedTuple):
    """A portrait, encoded once for all its frames."""

    features: list[Tensor]  # (B, C, h, w) at each level
    pictures: list[Tensor]  # (B, 3, h, w) at each level, [0, 1]
    code: Tensor  # (B, F)

    def repeated(self, count: int) -> "Source":
        """Return one portrait (B = 1) as many times."""
        features, pictures = (
            [each.expand(count, -1, -1, -1) for each in part]
            for part in (self.features, self.pictures)
        )
        return Source(features, pictures, self.code.expand(count, -1))


class Level(NamedTuple):
    """What one level gives."""

    picture: Tensor | None  # (B, 3, h, w), about [0, 1]; None: no finer level would use it
    warped: Tensor | None  # (B, 3, h, w), the source picture moved by the flow
    flow: Tensor | None  # (B, 2, h, w), backward, in half sides of the picture
    logits: Tensor | None  # (B, 3, h, w): two of flow before tanh, one of the mask
    steady: Tensor | None  # the same after smoothing over time; what flow and mask are made of


class History(NamedTuple):
    """The frame before, for steadier flows and masks, which then follow later."""

    steady: list[Tensor | None]  # of each of its levels
    share: float  # 0 to 1, of it that is kept


class Renderer(nn.Module):
    """The whole network; `forward` draws frames, `encode` a portrait for many of them."""

    def __init__(
        self, config: RendererConfig, stats: MotionStats, face: FaceModel | None = None
    ) -> None:
        """Make a fresh network, which leaves the source where it is or where the prior moves it.

        Raises:
            ValueError: the prior is on and there is no face model, or one of other modes.
        """
        super().__init__()
        self.config = config
        found = 0 if face is None else len(face.expression)
        if config.prior and found != stats.modes:
            raise ValueError(
                f"the prior needs the face model of the {stats.modes} expression modes, got "
                f"{f'one of {found}' if face else 'none'}"
            )
        self.encoder = SourceEncoder(config)
        self.motion = MotionMapping(config, stats)
        self.blocks = nn.ModuleList(Block(config, level) for level in range(len(config.channels)))
        self.prior = FlowPrior(face, config.bumps) if config.prior and face is not None else None

    def encode(self, source_BCSS: Tensor) -> Source:
        """Return a portrait's features, pictures and code, of (B, 3, S, S) in [0, 1]."""
        return self.encoder(source_BCSS)

    def forward(
        self,
        source: Source,
        source_motion_BM: Tensor,
        window_BWM: Tensor,
        landmarks_BN2: Tensor | None = None,
        history: History | None = None,
    ) -> list[Level]:
        """Return every level's output, the finest last, whose picture is the frame.

        Args:
            source: of `encode`.
            source_motion_BM: the source's own motion.
            window_BWM: 2 w + 1 motions, the frame to draw in the middle.
            landmarks_BN2: the source's, in [-1, 1]; for the prior alone.
            history: of the frame before, where flows and masks are smoothed.
        """
        style_BF = source.code + self.motion(source_motion_BM, window_BWM)
        priors = self._priors(source_motion_BM, window_BWM, landmarks_BN2)
        features_BChw = source.features[0]
        levels: list[Level] = []
        for number, block in enumerate(self.blocks):
            there = source.features[number], source.pictures[number]
            before = levels[-1] if levels else None
            old = None if history is None else (history.steady[number], history.share)
            features_BChw, level = block(
                features_BChw, style_BF, there, before, priors[number], old
            )
            levels.append(level)
        return levels

    def _priors(
        self, source_BM: Tensor, window_BWM: Tensor, landmarks_BN2: Tensor | None
    ) -> list[Tensor | None]:
        """Return the face model's flow at every level; None without a prior."""
        if self.prior is None:
            return [None] * len(self.blocks)
        places, moves = self.prior(source_BM, window_BWM[:, self.config.window], landmarks_BN2)
        return [self.prior.flow(places, moves, size) for size in self.config.sizes]


class SourceEncoder(nn.Module):
    """Features of the source at every level, and a code of the coarsest."""

    def __init__(self, config: RendererConfig) -> None:
        super().__init__()
        fine_first = config.channels[::-1]
        self.from_rgb = EqualConv(3, fine_first[0], (1, 1))
        self.downs = nn.ModuleList(ResidualDown(*pair) for pair in pairwise(fine_first))
        self.code = EqualLinear(fine_first[-1], config.style)

    def forward(self, source_BCSS: Tensor) -> Source:
        features = [activation(self.from_rgb(2 * source_BCSS - 1))]
        pictures = [source_BCSS]
        for down in self.downs:
            features.append(down(features[-1]))
            pictures.append(F.avg_pool2d(pictures[-1], 2))
        code_BF = self.code(features[-1].mean(dim=(2, 3)))
        return Source(features[::-1], pictures[::-1], code_BF)


class MotionMapping(nn.Module):
    """A window of motions beside the source's own to a style code (PIRenderer's layers)."""

    mean: Tensor
    scale: Tensor

    def __init__(self, config: RendererConfig, stats: MotionStats) -> None:
        super().__init__()
        M, width = len(stats.mean), config.mapping
        self.middle = config.window
        self.first = EqualConv(2 * M, width, (7,), padding=3)
        self.dilated = nn.ModuleList(
            EqualConv(width, width, (3,), padding=3, dilation=3) for _ in range(DILATED)
        )
        self.last = EqualLinear(width, config.style)
        self.register_buffer("mean", torch.tensor(stats.mean), persistent=False)
        self.register_buffer("scale", torch.tensor(stats.scale), persistent=False)

    def forward(self, source_BM: Tensor, window_BWM: Tensor) -> Tensor:
        """Return (B, F)."""
        W = window_BWM.shape[1]
        own_BWM = self.normalised(source_BM)[:, None].expand(-1, W, -1)
        both_BWM = torch.cat([self.normalised(window_BWM), own_BWM], dim=2)
        out_BCW = self.first(both_BWM.transpose(1, 2))
        for conv in self.dilated:
            out_BCW = out_BCW + conv(F.leaky_relu(out_BCW, MAPPING_SLOPE))
        return activation(self.last(F.leaky_relu(out_BCW[:, :, self.middle], MAPPING_SLOPE)))

    def normalised(self, motion: Tensor) -> Tensor:
        """Return motions (..., M) less their mean, over their scale, at most LIMIT away from 0."""
        return ((motion - self.mean) / self.scale).clamp(-LIMIT, LIMIT)


class Block(nn.Module):
    """One level: StyConvs, flow and mask, warp and blend, picture."""

    def __init__(self, config: RendererConfig, level: int) -> None:
        super().__init__()
        channels, style = config.channels, config.style
        self.residual, self.blend_picture = config.residual, config.blend_picture
        coarser = channels[max(level - 1, 0)]
        self.up = StyConv(coarser, channels[level], style, up=level > 0)
        self.conv = StyConv(channels[level], channels[level], style)
        # Which levels give a flow of their own, and whether a coarser one's is added to it
        size = config.sizes[level]
        self.flows = config.hierarchical or size >= config.flow_size
        own = config.hierarchical or size == config.flow_size
        first = level == 0 or not config.residual or not config.hierarchical
        bias = (0.0, 0.0, config.mask_bias if first else 0.0)
        self.to_flow = StyleOutput(channels[level], bias, style, zero=True) if own else None
        grey = (GREY if level == 0 or not config.residual else 0.0,) * 3
        draws = config.residual or level == len(channels) - 1
        self.to_rgb = StyleOutput(channels[level], grey, style, zero=True) if draws else None
        self.adds_flow = config.residual and config.hierarchical and level > 0

    def forward(
        self,
        features_BChw: Tensor,
        style_BF: Tensor,
        source: tuple[Tensor, Tensor],
        before: Level | None,
        prior_B2hw: Tensor | None,
        old: tuple[Tensor | None, float] | None,
    ) -> tuple[Tensor, Level]:
        """Return the level's features and its output; see `Renderer.forward`."""
        features_BChw = self.conv(self.up(features_BChw, style_BF), style_BF)
        # The source's features and picture, where the flow finds them
        logits = steady = flow = warped = None
        mask: Tensor | float = 0.0
        if self.flows:
            logits = self._logits(features_BChw, style_BF, before)
            steady = logits
            if old is not None and old[0] is not None:
                steady = torch.lerp(logits, old[0], old[1])
            flow, mask = flow_and_mask(steady, prior_B2hw)
            found_BChw, warped = (warp_source(each, flow) for each in source)
            features_BChw = mask * found_BChw + (1 - mask) * features_BChw
        # The face: the coarser one and what is new, or beside it the source's picture itself
        picture = None if self.to_rgb is None else self.to_rgb(features_BChw, style_BF)
        if picture is not None and before is not None and before.picture is not None:
            picture = picture + doubled(before.picture)
        if picture is not None and warped is not None and self.blend_picture:
            picture = mask * warped + (1 - mask) * picture
        return features_BChw, Level(picture, warped, flow, logits, steady)

    def _logits(self, features_BChw: Tensor, style_BF: Tensor, before: Level | None) -> Tensor:
        """Return this level's flow and mask before tanh and sigmoid, (B, 3, h, w)."""
        coarser = None if before is None or before.logits is None else doubled(before.logits)
        if self.to_flow is None:
            assert coarser is not None
            return coarser
        own = self.to_flow(features_BChw, style_BF)
        return own + coarser if self.adds_flow and coarser is not None else own


def frame_of(levels: list[Level]) -> Tensor:
    """Return the frame that the finest level drew, (B, 3, S, S), about [0, 1]."""
    frame = levels[-1].picture
    assert frame is not None
    return frame


@in_float32
def flow_and_mask(logits_B3hw: Tensor, prior_B2hw: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the flow (B, 2, h, w), half a tanh plus the prior, and the mask (B, 1, h, w)."""
    flow = REACH * torch.tanh(logits_B3hw[:, :2])
    return flow if prior_B2hw is None else flow + prior_B2hw, torch.sigmoid(logits_B3hw[:, 2:])


@in_float32
def warp_source(maps_BChw: Tensor, flow_B2hw: Tensor) -> Tensor:
    """Return maps sampled where a backward flow in half sides points; the border is repeated."""
    h, w = flow_B2hw.shape[2:]
    grid_Bhw2 = pixel_centres(h, w, like=flow_B2hw) + flow_B2hw.permute(0, 2, 3, 1)
    return warp_by_grid(maps_BChw, grid_Bhw2, align_corners=False, padding="border")
