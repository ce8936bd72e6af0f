"""Animate a portrait, frame by frame: keypoints in, pictures out, as a stream.

The source is encoded once. No more than two batches of frames are alive at any time, so that memory
does not grow with the length of the video (the release holds it whole, and encodes the source anew
for every frame).

Letters: B frames of a batch, K keypoints, S pixels of a side.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eamm.fomm.generator import Source
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm
from eamm.fomm.transfer import movement_scale, relative
from eamm.pictures import from_tensor, to_tensor

Image = NDArray[np.uint8]

CPU_BATCH = 1  # larger ones are no faster there, and need more memory
CUDA_BATCH = 16


class Prepared(NamedTuple):
    """A source and what is computed from it once."""

    source: Any  # what the engine's own `render` needs
    keypoints: Keypoints  # (1, K)


class Engine(Protocol):
    """Something that runs a FOMM."""

    def prepare(self, source_1CHW: Tensor) -> Any:
        """Return what `render` needs of a source; `.keypoints` are its keypoints (1, K)."""

    def render(self, prepared: Any, keypoints: Keypoints) -> Tensor:
        """Return the pictures (B, 3, S, S) in [0, 1] of driving keypoints (B, K)."""

    def keypoints(self, frames_BCHW: Tensor) -> Keypoints:
        """Return the keypoints (B, K) of frames in [0, 1]."""


class Eager:
    """A FOMM as it was trained, without any speed-up but that the source is encoded once."""

    def __init__(self, fomm: Fomm) -> None:
        self.fomm = fomm

    @torch.inference_mode()
    def prepare(self, source_1CHW: Tensor) -> Prepared:
        """Return the source's features and keypoints."""
        source = self.fomm.generator.encode(source_1CHW)
        return Prepared(source, self.fomm.detector(source_1CHW))

    @torch.inference_mode()
    def render(self, prepared: Prepared, keypoints: Keypoints) -> Tensor:
        """Return the pictures (B, 3, S, S) in [0, 1] of driving keypoints (B, K)."""
        B, generator = len(keypoints.value), self.fomm.generator
        source = Source(
            _repeated(prepared.source.frames, B),
            tuple(_repeated(features, B) for features in prepared.source.features),
        )
        own = Keypoints(*(_repeated(each, B) for each in prepared.keypoints))
        pictures: Tensor = generator.render(source, generator.motion(source.frames, own, keypoints))
        return pictures

    @torch.inference_mode()
    def keypoints(self, frames_BCHW: Tensor) -> Keypoints:
        """Return the keypoints (B, K) of frames in [0, 1]."""
        found: Keypoints = self.fomm.detector(frames_BCHW)
        return found


@dataclass(frozen=True)
class Transfer:
    """How motion is taken over; see eamm/fomm/transfer.py."""

    relative: bool = False
    adapt_scale: bool = False  # changes nothing unless `relative`
    initial: Image | None = None  # (S, S, 3), the driving frame that resembles the source


class Animator:
    """One source picture that can be animated."""

    def __init__(self, engine: Engine, source: Image, device: torch.device | str = "cpu") -> None:
        """Encode the source, (S, S, 3) uint8 RGB."""
        self.engine, self.device = engine, torch.device(device)
        self.batch = CUDA_BATCH if self.device.type == "cuda" else CPU_BATCH
        self.prepared = engine.prepare(self._tensor([source]))

    @property
    def keypoints(self) -> Keypoints:
        """The source's keypoints, (1, K)."""
        found: Keypoints = self.prepared.keypoints
        return found

    def detect(self, frames: list[Image]) -> Keypoints:
        """Return the keypoints of frames (S, S, 3)."""
        return self.engine.keypoints(self._tensor(frames))

    def render(self, keypoints: Keypoints) -> Image:
        """Return the pictures (B, S, S, 3) of driving keypoints (B, K)."""
        there = Keypoints(*(each.to(self.device) for each in keypoints))
        return from_tensor(self.engine.render(self.prepared, there).float())

    def play(self, keypoints: Keypoints) -> Iterator[Image]:
        """Yield the picture (S, S, 3) of each of many keypoints (T, K)."""
        for value, jacobian in zip(*(each.split(self.batch) for each in keypoints), strict=True):
            yield from self.render(Keypoints(value, jacobian))

    def follow(
        self, driving: Iterable[Image], transfer: Transfer | None = None
    ) -> Iterator[tuple[Image, Image]]:
        """Yield each driving frame (S, S, 3) and the source in its place.

        Frames are taken from `driving` one batch at a time.
        """
        transfer, frames = transfer or Transfer(), iter(driving)
        opening = next(frames, None)
        if opening is None:
            return
        initial = self.detect([opening if transfer.initial is None else transfer.initial])
        scale = movement_scale(self.keypoints, initial) if transfer.adapt_scale else 1.0
        frames = itertools.chain([opening], frames)
        del opening  # else it would stay alive to the end
        while batch := list(itertools.islice(frames, self.batch)):
            keypoints = self.detect(batch)
            if transfer.relative:
                keypoints = relative(self.keypoints, keypoints, initial, scale)
            yield from zip(batch, self.render(keypoints), strict=True)

    def _tensor(self, frames: list[Image]) -> Tensor:
        return to_tensor(np.stack(frames)).to(self.device)


def _repeated(values_1: Tensor, B: int) -> Tensor:
    return values_1.expand(B, *values_1.shape[1:])
