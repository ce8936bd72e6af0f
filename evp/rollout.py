"""Sequences of frames as edge-to-video learns them: drawn one after the other, level by level.

Dimension letters: B sequences, K frames of a sequence, T = K - L drawn frames after the L first,
which are the truth's; C channels, H, W pixels.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from evp.networks.blocks import halved
from evp.networks.generator import Generator
from evp.networks.temporal_generator import Drawn, TemporalGenerator


@dataclass(frozen=True)
class SequenceConfig:
    """How a sequence is drawn in training.

    Memory: without `checkpointing` every drawn frame keeps its activations until the step's
    gradient is taken, T times those of a single frame. With it a frame keeps its inputs alone
    and is drawn a second time for the gradient: the memory of one frame, a third more time.
    """

    backpropagation: int = 1  # frames that a gradient goes back through; 1: vid2vid's default
    checkpointing: bool = False
    lost: float = 0.0  # share of sequences whose first frames are blank; see `first_frames`
    coarse_steps: int = 0  # steps in which the global generator learns alone, at its resolution
    enhancer_steps: int = 0  # thereafter, steps in which each enhancer learns alone

    def __post_init__(self) -> None:
        if self.backpropagation < 1:
            raise ValueError(f"backpropagation is {self.backpropagation}, wanted at least 1")
        if not 0 <= self.lost <= 1:
            raise ValueError(f"lost is {self.lost}, wanted 0 to 1")


@dataclass(frozen=True)
class Sequences:
    """True frames, their maps, and their backward flow where it is known."""

    frames: Tensor  # (B, K, 3, H, W) in [-1, 1]
    guidance: Tensor  # (B, K, C, H, W) in [0, 1]
    flow: Tensor | None = None  # (B, K, 2, H, W), pixels, to the frame before
    confidence: Tensor | None = None  # (B, K, 1, H, W), 1 where the flow is to be believed

    @classmethod
    def of(cls, batch: dict[str, Tensor]) -> "Sequences":
        """Return a batch of evp.data.portraits.PortraitClips."""
        return cls(**batch)

    def after(self, first: int) -> "Sequences":
        """Return all but the first frames."""
        return Sequences(*(None if each is None else each[:, first:] for each in self._parts()))  # type: ignore[arg-type]

    def at_level(self, level: int) -> "Sequences":
        """Return them at 1 / 2^level of their size."""
        sequences = self
        for _ in range(level):
            sequences = sequences._halved()
        return sequences

    def _halved(self) -> "Sequences":
        flow, confidence = self.flow, self.confidence
        return Sequences(
            _halved(self.frames),
            _halved(self.guidance),
            None if flow is None else _halved(flow) / 2,
            None if confidence is None else -_pooled(-confidence),  # where all of it is believed
        )

    def _parts(self) -> tuple[Tensor | None, ...]:
        return self.frames, self.guidance, self.flow, self.confidence


@dataclass(frozen=True)
class DrawnSequences:
    """What a generator drew: T frames, and how, if it knows of motion."""

    frames: Tensor  # (B, T, 3, H, W) in [-1, 1]
    hallucinated: Tensor | None = None  # (B, T, 3, H, W) in [-1, 1]
    flow: Tensor | None = None  # (B, T, 2, H, W), pixels
    mask: Tensor | None = None  # (B, T, 1, H, W) in [0, 1]


def draw_sequences(
    generator: nn.Module, truth: Sequences, config: SequenceConfig, level: int = 0
) -> DrawnSequences:
    """Draw the frames after the first L of each sequence, one after the other.

    The first L frames before are the truth's, later ones are the generator's own. A gradient goes
    back from a frame into those before it within groups of `backpropagation` frames.

    Args:
        generator: a Generator, which draws all K frames on their own, or a TemporalGenerator.
        truth: sequences of K > L frames, at the size of the level.
        level: see TemporalGenerator.forward.
    """
    if isinstance(generator, Generator):
        frames = generator(truth.guidance.flatten(0, 1)).float()
        return DrawnSequences(frames.unflatten(0, truth.frames.shape[:2]))
    assert isinstance(generator, TemporalGenerator)
    first, drawn = generator.config.previous, []
    before = first_frames(truth.frames[:, :first], config.lost)
    for number, t in enumerate(range(first, truth.frames.shape[1])):
        if number % config.backpropagation == 0:
            before = [frame.detach() for frame in before]
        maps, seen = truth.guidance[:, t - first : t + 1], torch.stack(before, dim=1)
        one: Drawn = _run(generator, config.checkpointing, maps, seen, level)
        before = [*before[1:], one.frame]
        drawn.append(one)
    return DrawnSequences(*(torch.stack(each, dim=1) for each in zip(*drawn, strict=True)))


def first_frames(frames_BLCHW: Tensor, lost: float) -> list[Tensor]:
    """Return the frames before the first drawn one, (B, C, H, W) each, some sequences' blank.

    Ours: a generator that has always seen a true face a few frames ago copies it on and on, and its
    own small errors with it, which grow in a long video. One that has also had to begin with
    nothing (grey, 0) draws from its maps. vid2vid has the blank beginning as an option for all
    sequences. Drawn from torch's global generator.
    """
    if lost:
        kept = torch.rand(len(frames_BLCHW), device=frames_BLCHW.device) >= lost
        frames_BLCHW = frames_BLCHW * kept[:, None, None, None, None]
    return list(frames_BLCHW.unbind(1))


def _run(generator: nn.Module, again: bool, *inputs: Any) -> Drawn:
    if again:
        return checkpoint(generator, *inputs, use_reentrant=False)
    return generator(*inputs)


@dataclass(frozen=True)
class Phase:
    """Which part of a coarse-to-fine generator learns."""

    level: int  # 0: pictures of the full size
    alone: bool  # whether the networks below are left as they are


def phase_of(step: int, enhancers: int, config: SequenceConfig) -> Phase:
    """Return the phase of a step (from 1): the global generator, each enhancer alone, all together.

    pix2pixHD (arXiv:1711.11585, Sec. 3.2), which the supplement cites for coarse-to-fine.
    """
    if step <= config.coarse_steps:
        return Phase(enhancers, alone=False)
    passed = step - config.coarse_steps - 1
    if passed < enhancers * config.enhancer_steps:
        return Phase(enhancers - 1 - passed // config.enhancer_steps, alone=True)
    return Phase(0, alone=False)


def let_learn(generator: nn.Module, phase: Phase) -> None:
    """Let the networks of a phase have gradients, and no others."""
    if not isinstance(generator, TemporalGenerator):
        return
    generator.requires_grad_(not phase.alone)
    if phase.alone:
        place = len(generator.enhancers) - phase.level
        generator.enhancers[place - 1].requires_grad_(True)
        generator.heads[place].requires_grad_(True)


def _halved(pictures_BKCHW: Tensor) -> Tensor:
    return halved(pictures_BKCHW.flatten(0, 1)).unflatten(0, pictures_BKCHW.shape[:2])


def _pooled(pictures_BKCHW: Tensor) -> Tensor:
    small = F.max_pool2d(pictures_BKCHW.flatten(0, 1), 3, stride=2, padding=1)
    return small.unflatten(0, pictures_BKCHW.shape[:2])
