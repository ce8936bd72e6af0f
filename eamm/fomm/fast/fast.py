"""A trained FOMM made for inference: the same pictures in a fraction of the time (ours).

What is known beforehand is done beforehand: batch norm is part of the convolutions, upsampling is
done by the convolution after it, heads that read the same features are one convolution, and all
that depends on the source alone is computed once a clip (`prepare`).

Letters: B driving frames, S sources (B or 1), K keypoints, C channels, h, w pixels of the motion.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from affekt.nets.warp import warp_by_grid
from eamm.fomm.blocks import ResBlock, coordinate_grid, gaussians, resize_bilinear, resize_flow
from eamm.fomm.fast.convolution import (
    BlockedConvolution,
    Convolution,
    Engine,
    FoldedBlock,
    FoldedHourglass,
    FoldedResBlock,
    folded_blocks,
)
from eamm.fomm.fast.fold import folded, joined
from eamm.fomm.generator import Generator
from eamm.fomm.keypoints import KeypointDetector, Keypoints
from eamm.fomm.model import Fomm
from eamm.fomm.motion import DenseMotion, sparse_motions

Precision = Literal["float32", "bfloat16"]
ConvolutionChoice = Literal["auto", "plain", "winograd"]


class PreparedSource(NamedTuple):
    """A picture and all that is computed from it alone."""

    frames: Tensor  # (S, 3, H, W) in [0, 1]
    small: Tensor  # (S, 3, h, w): blurred and made smaller, for the motion
    background: Tensor  # (S, 3, h, w): the same under the identity motion
    features: tuple[Tensor, ...]  # of the encoder, the coarsest last; only those that are used


class FastMotion(NamedTuple):
    """Where the source's pixels go."""

    flow: Tensor  # (B, h, w, 2), x and y in [-1, 1]
    occlusion: Tensor  # (B, 1, h, w) in [0, 1]


class FastFomm(nn.Module):
    """The inference form of a Fomm; a copy, so the Fomm may go on training.

    Args:
        fomm: in evaluation mode; the device of its parameters is kept.
        precision: of convolutions. bfloat16 is faster where the processor has it; keypoints and
            motion remain in float32, so that nothing trembles.
        convolution: "winograd" does large convolutions of single frames by NNPACK where torch
            carries it (CPU, float32; see eamm.fomm.fast.nnpack), "plain" never; "auto" does what is
            likely to be faster.
        compiled: pass the drawing of frames through torch.compile; worth its minute on CUDA alone.

    Raises:
        ValueError: the Fomm is in training mode; its statistics are not settled.
    """

    def __init__(
        self,
        fomm: Fomm,
        precision: Precision = "float32",
        convolution: ConvolutionChoice = "auto",
        compiled: bool = False,
    ) -> None:
        super().__init__()
        if fomm.training:
            raise ValueError("FastFomm needs a Fomm in evaluation mode; call .eval() first")
        self.config = fomm.config
        device = next(fomm.parameters()).device
        winograd = convolution != "plain" and device.type == "cpu"
        exact = Engine(device=device.type, nnpack=winograd)
        engine = exact if precision == "float32" else Engine(torch.bfloat16, device.type)
        # Pictures follow keypoints with some 25 times their rounding: no Winograd there.
        plain = Engine(device=device.type)
        self.detector = FastDetector(fomm.detector, self.config.size, plain)
        self.motion = FastDenseMotion(fomm.generator.motion, self.config.size, exact)
        self.generator = FastGenerator(fomm.generator, self.config.size, engine)
        self.eval().requires_grad_(False)
        if compiled:
            self.generator.compile()
            self.motion.compile()

    @torch.no_grad()
    def keypoints(self, frames_BCHW: Tensor) -> Keypoints:
        """Return the keypoints of frames (B, 3, H, W) in [0, 1]."""
        return self.detector(frames_BCHW)

    @torch.no_grad()
    def prepare(self, source_SCHW: Tensor) -> PreparedSource:
        """Return what `render` needs of a picture, (S, 3, H, W) in [0, 1]."""
        small, background = self.motion.prepare(source_SCHW)
        return PreparedSource(source_SCHW, small, background, self.generator.encode(source_SCHW))

    @torch.no_grad()
    def render(self, source: PreparedSource, source_kp: Keypoints, driving_kp: Keypoints) -> Tensor:
        """Return the source as the driving keypoints want it, (B, 3, H, W) in [0, 1], float32.

        Args:
            source: of `prepare`; one for all frames, or one a frame.
            source_kp: as many as sources.
            driving_kp: B of them.
        """
        motion = self.motion(source, source_kp, driving_kp)
        return self.generator(source, motion)


class FastDetector(nn.Module):
    """Keypoints, with one convolution for heatmaps and jacobians."""

    def __init__(self, detector: KeypointDetector, size: int, engine: Engine) -> None:
        super().__init__()
        heads = detector.heads
        self.count, self.temperature = heads.kp.out_channels, heads.temperature
        self.down = detector.down
        self.hourglass = FoldedHourglass(detector.hourglass, size // self.down.factor, engine)
        self.heads = Convolution(*joined(heads.kp, heads.jacobian), padding=0, engine=engine)

    def forward(self, frames_BCHW: Tensor) -> Keypoints:
        maps = self.heads(self.hourglass(self.down(frames_BCHW)))
        B, _, h, w = maps.shape
        # Long sums over pixels lose digits where pixels do not come last in memory.
        maps = maps.contiguous().flatten(2)
        heatmap = (maps[:, : self.count] / self.temperature).softmax(dim=2)
        grid = coordinate_grid(h, w, like=heatmap).reshape(h * w, 2)
        jacobians = maps[:, self.count :].reshape(B, self.count, 4, h * w)
        jacobian = torch.einsum("bkp,bkjp->bkj", heatmap, jacobians)
        return Keypoints(heatmap @ grid, jacobian.reshape(B, self.count, 2, 2))


class FastDenseMotion(nn.Module):
    """The dense motion, with one convolution for mask and occlusion."""

    def __init__(self, motion: DenseMotion, size: int, engine: Engine) -> None:
        super().__init__()
        self.variance, self.align_corners = motion.variance, motion.align_corners
        self.down = motion.down
        self.hourglass = FoldedHourglass(motion.hourglass, size // self.down.factor, engine)
        padding = motion.mask.kernel_size[0] // 2
        self.heads = Convolution(*joined(motion.mask, motion.occlusion), padding, engine)

    def prepare(self, source_SCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the small source, and that under the identity motion, both (S, 3, h, w)."""
        small: Tensor = self.down(source_SCHW)
        h, w = small.shape[2:]
        identity = coordinate_grid(h, w, like=small).expand(len(small), -1, -1, -1)
        return small, warp_by_grid(small, identity, self.align_corners)

    def forward(
        self, source: PreparedSource, source_kp: Keypoints, driving_kp: Keypoints
    ) -> FastMotion:
        B, (h, w) = len(driving_kp.value), source.small.shape[2:]
        motions = sparse_motions(source_kp, driving_kp, (h, w))  # the background's first
        moved = self._moved(source.small, motions[:, 1:])
        background = source.background.expand(B, -1, -1, -1)[:, None]
        bumps = gaussians(driving_kp.value, (h, w), self.variance)
        bumps = bumps - gaussians(source_kp.value, (h, w), self.variance)
        shown = torch.cat(
            [
                torch.cat([torch.zeros_like(background[:, :, :1]), background], dim=2),
                torch.cat([bumps[:, :, None], moved], dim=2),
            ],
            dim=1,
        )
        logits = self.heads(self.hourglass(shown.flatten(1, 2)))
        mask = logits[:, :-1].softmax(dim=1)
        flow = (mask[..., None] * motions).sum(dim=1)
        return FastMotion(flow, logits[:, -1:].sigmoid())

    def _moved(self, small_SChw: Tensor, motions_BMhw2: Tensor) -> Tensor:
        """Return the small source under every motion, (B, M, 3, h, w), without copies of it.

        The motions of a frame are one tall flow; and so are the frames' where the source is one.
        """
        B, M, h, w, _ = motions_BMhw2.shape
        S, C = small_SChw.shape[:2]
        tall = motions_BMhw2.reshape(S, -1, w, 2)
        moved = warp_by_grid(small_SChw, tall, self.align_corners)
        return moved.reshape(S, C, B // S, M, h, w).permute(0, 2, 3, 1, 4, 5).flatten(0, 1)


class FastGenerator(nn.Module):
    """The generator's encoder and decoder."""

    def __init__(self, generator: Generator, size: int, engine: Engine) -> None:
        super().__init__()
        self.skips, self.align_corners = generator.skips, generator.align_corners
        self.aligned_flow, self.padding = generator.aligned_flow, generator.padding
        self.first = FoldedBlock(generator.first, size, engine)
        self.down_blocks = folded_blocks(generator.down_blocks, size, engine)
        coarsest = size >> len(self.down_blocks)
        self.bottleneck = nn.Sequential(
            *(
                FoldedResBlock(block, coarsest, engine)
                for block in generator.bottleneck
                if isinstance(block, ResBlock)
            )
        )
        self.up_blocks = folded_blocks(generator.up_blocks, coarsest, engine)
        padding = generator.final.kernel_size[0] // 2
        kind = BlockedConvolution if len(self.up_blocks) else Convolution  # even sides
        self.final = kind(*folded(generator.final), padding, engine)

    def encode(self, source_SCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the features `forward` moves, in float32, the coarsest last."""
        features = [self.first(source_SCHW)]
        for block in self.down_blocks:
            features.append(block(features[-1]))
        return tuple(maps.float() for maps in (features if self.skips else features[-1:]))

    def forward(self, source: PreparedSource, motion: FastMotion) -> Tensor:
        """Return the picture, (B, 3, H, W) in [0, 1]."""
        finer = list(source.features)
        coarsest = finer.pop()
        moved = self._moved(coarsest, motion)
        occlusion = resize_bilinear(motion.occlusion, _size(coarsest))
        out = self.bottleneck(moved * occlusion)
        if self.skips:
            out = torch.lerp(out.float(), moved, occlusion)
        for block in self.up_blocks:
            out = block(out)
            if self.skips:
                out = self._mixed(out, finer.pop(), motion)
        prediction = self.final(out).float().sigmoid_()
        return self._mixed(prediction, source.frames, motion) if self.skips else prediction

    def _moved(self, features_SChw: Tensor, motion: FastMotion) -> Tensor:
        """Return the source's features where the flow wants them, (B, C, h, w)."""
        flow = resize_flow(motion.flow, _size(features_SChw), self.aligned_flow)
        features = features_SChw.expand(len(flow), -1, -1, -1)
        return warp_by_grid(features, flow, self.align_corners, self.padding)

    def _mixed(self, drawn_BChw: Tensor, features_SChw: Tensor, motion: FastMotion) -> Tensor:
        """Return the moved features where the source shows what is needed, else what was drawn."""
        occlusion = resize_bilinear(motion.occlusion, _size(features_SChw))
        return torch.lerp(drawn_BChw.float(), self._moved(features_SChw, motion), occlusion)


def _size(maps_BChw: Tensor) -> tuple[int, int]:
    h, w = maps_BChw.shape[2:]
    return h, w
