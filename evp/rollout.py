"""Roll a generator out over sequences of frames, and the coarse-to-fine training schedule.

EVP supplement 1.2, after vid2vid (arXiv:1808.06601) and pix2pixHD (arXiv:1711.11585, Sec. 3.2).

Dimension letters: B sequences, K frames of a sequence, T = K - L generated frames after the L true
ones that are the first history; C channels, H, W pixels.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from evp.networks.blocks import halved
from evp.networks.generator import Generator
from evp.networks.temporal_generator import GeneratedFrame, TemporalGenerator


@dataclass(frozen=True)
class SequenceConfig:
    """How a sequence is generated in training.

    Memory: without `checkpointing` every generated frame keeps its activations until the step's
    gradient is taken, T times those of a single frame. With it a frame keeps its inputs alone
    and is generated a second time for the gradient: the memory of one frame, a third more time.
    """

    backpropagation: int = 1  # frames that a gradient goes back through; 1: vid2vid's default
    checkpointing: bool = False
    history_dropout: float = 0.0  # share of sequences with a blank history; see `initial_history`
    coarse_steps: int = 0  # steps that train the global generator alone, at its resolution
    enhancer_steps: int = 0  # thereafter, steps that train each enhancer alone

    def __post_init__(self) -> None:
        if self.backpropagation < 1:
            raise ValueError(f"backpropagation is {self.backpropagation}, wanted at least 1")
        if not 0 <= self.history_dropout <= 1:
            raise ValueError(f"history_dropout is {self.history_dropout}, wanted 0 to 1")


class Sequences(NamedTuple):
    """True frames, their maps, and their backward flow where there is one: a batch of
    evp.data.portraits.PortraitClips.
    """

    frames: Tensor  # (B, K, 3, H, W) in [-1, 1]
    guidance: Tensor  # (B, K, C, H, W) in [0, 1]
    flow: Tensor | None = None  # (B, K, 2, H, W), pixels, to the frame before
    confidence: Tensor | None = None  # (B, K, 1, H, W), 1 where the flow is reliable

    @classmethod
    def of(cls, batch: dict[str, Tensor]) -> "Sequences":
        """Return a batch of evp.data.portraits.PortraitClips, as floats on its device."""
        confidence = batch.get("confidence")
        return cls(
            batch["frames"].float() / 127.5 - 1,
            batch["guidance"].float() / 255,
            batch.get("flow"),
            None if confidence is None else confidence.float(),
        )

    def after(self, first: int) -> "Sequences":
        """Return all but the first frames."""
        return Sequences(*(None if each is None else each[:, first:] for each in self))  # type: ignore[arg-type]

    def at_level(self, level: int) -> "Sequences":
        """Return them at 1 / 2^level of their size."""
        sequences = self
        for _ in range(level):
            sequences = sequences._halved()
        return sequences

    def _halved(self) -> "Sequences":
        frames, guidance, flow, confidence = self
        return Sequences(
            _halved(frames),
            _halved(guidance),
            None if flow is None else _halved(flow) / 2,
            None if confidence is None else -_pooled(-confidence),  # where all of it is reliable
        )


@dataclass(frozen=True)
class GeneratedSequences:
    """T generated frames and, of a temporal generator, what they were composed of."""

    frames: Tensor  # (B, T, 3, H, W) in [-1, 1]
    hallucinated: Tensor | None = None  # (B, T, 3, H, W) in [-1, 1]
    flow: Tensor | None = None  # (B, T, 2, H, W), pixels
    mask: Tensor | None = None  # (B, T, 1, H, W) in [0, 1]


def generate_sequences(
    generator: nn.Module, truth: Sequences, config: SequenceConfig, level: int = 0
) -> GeneratedSequences:
    """Generate the frames after the first L of each sequence, one after the other.

    The history is the true frames at first, then the generator's own. A gradient goes back from a
    frame into its history within groups of `backpropagation` frames.

    Args:
        generator: a Generator, which takes no history and generates all K frames, or a
            TemporalGenerator.
        truth: sequences of K > L frames, at the size of the level.
        level: see TemporalGenerator.forward.
    """
    # Without history: all frames at once
    if isinstance(generator, Generator):
        frames = generator(truth.guidance.flatten(0, 1)).float()
        return GeneratedSequences(frames.unflatten(0, truth.frames.shape[:2]))
    assert isinstance(generator, TemporalGenerator)
    # With history: true frames first, dropped at random in training
    first, generated = generator.config.previous, []
    history = initial_history(truth.frames[:, :first], config.history_dropout)
    for number, t in enumerate(range(first, truth.frames.shape[1])):
        # Truncated backpropagation through time
        if number % config.backpropagation == 0:
            history = [frame.detach() for frame in history]
        # The next frame from the last L maps and frames
        maps = truth.guidance[:, t - first : t + 1]
        inputs = maps, torch.stack(history, dim=1), level
        one: GeneratedFrame = _run(generator, config.checkpointing, *inputs)
        history = [*history[1:], one.frame]
        generated.append(one)
    return GeneratedSequences(*(torch.stack(each, dim=1) for each in zip(*generated, strict=True)))


def initial_history(frames_BLCHW: Tensor, dropout: float) -> list[Tensor]:
    """Return the history of the first generated frame, L of (B, C, H, W), blank in some sequences.

    History dropout, ours: a generator that always has a true face in its history learns to copy it,
    and its own small errors with it, which grow in a long video. With a blank history (grey, 0) in
    a share `dropout` of the sequences it also learns to generate from its maps. vid2vid has the
    blank beginning as an option for all sequences. Random numbers from torch's global generator.
    """
    if dropout:
        kept = torch.rand(len(frames_BLCHW), device=frames_BLCHW.device) >= dropout
        frames_BLCHW = frames_BLCHW * kept[:, None, None, None, None]
    return list(frames_BLCHW.unbind(1))


def _run(generator: nn.Module, checkpointing: bool, *inputs: Any) -> GeneratedFrame:
    if checkpointing:
        return checkpoint(generator, *inputs, use_reentrant=False)
    return generator(*inputs)


@dataclass(frozen=True)
class TrainingPhase:
    """Which networks of a coarse-to-fine generator are trained."""

    level: int  # 0: pictures of the full size
    freeze_coarser: bool  # whether the networks below are left as they are


def training_phase(step: int, enhancers: int, config: SequenceConfig) -> TrainingPhase:
    """Return the phase of a step (from 1): the global generator, each enhancer alone, all networks.

    pix2pixHD (arXiv:1711.11585, Sec. 3.2), which the supplement cites for coarse-to-fine.
    """
    if step <= config.coarse_steps:
        return TrainingPhase(enhancers, freeze_coarser=False)
    passed = step - config.coarse_steps - 1
    if passed < enhancers * config.enhancer_steps:
        return TrainingPhase(enhancers - 1 - passed // config.enhancer_steps, freeze_coarser=True)
    return TrainingPhase(0, freeze_coarser=False)


def set_trainable(generator: nn.Module, phase: TrainingPhase) -> None:
    """Enable gradients of the networks that a phase trains, and of no others."""
    if not isinstance(generator, TemporalGenerator):
        return
    generator.requires_grad_(not phase.freeze_coarser)
    if phase.freeze_coarser:
        place = len(generator.enhancers) - phase.level
        generator.enhancers[place - 1].requires_grad_(True)
        generator.heads[place].requires_grad_(True)


def _halved(pictures_BKCHW: Tensor) -> Tensor:
    return halved(pictures_BKCHW.flatten(0, 1)).unflatten(0, pictures_BKCHW.shape[:2])


def _pooled(pictures_BKCHW: Tensor) -> Tensor:
    small = F.max_pool2d(pictures_BKCHW.flatten(0, 1), 3, stride=2, padding=1)
    return small.unflatten(0, pictures_BKCHW.shape[:2])
