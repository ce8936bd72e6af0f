"""Animate a portrait, frame by frame: keypoints in, pictures out, as a stream.

The source is encoded once. No more than two batches of frames are held at any time, so that memory
does not grow with the length of the video (the release holds it whole, and encodes the source anew
for every frame).

Letters: B frames of a batch, K keypoints, S pixels of a side.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from affekt.arrays import Image
from affekt.media.video.tensors import from_tensor, to_tensor
from affekt.runtime.devices import warn_of_slow_bfloat16
from eamm.fomm.fast.fast import FastFomm, Precision
from eamm.fomm.fast.pool import render_frames
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm
from eamm.fomm.transfer import movement_scale, relative

CPU_BATCH = 1  # larger ones are no faster there, and need more memory
CUDA_BATCH = 16


@dataclass(frozen=True)
class AnimatorOptions:
    """How frames are rendered; see eamm/fomm/fast/fast.py and eamm/fomm/fast/pool.py."""

    precision: Precision = "float32"
    workers: int = 1  # processes; more than one on the CPU alone

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers is {self.workers}, wanted at least 1")


@dataclass(frozen=True)
class Transfer:
    """How motion is taken over; see eamm/fomm/transfer.py."""

    relative: bool = False
    adapt_scale: bool = False  # changes nothing unless `relative`
    initial: Image | None = None  # (S, S, 3), the driving frame that resembles the source


class Animator:
    """One source picture that can be animated."""

    def __init__(
        self,
        fomm: Fomm,
        source: Image,
        options: AnimatorOptions | None = None,
        engine: FastFomm | None = None,
    ) -> None:
        """Encode the source, (S, S, 3) uint8 RGB.

        Args:
            fomm: in evaluation mode; its device is used.
            source: the picture.
            options: how frames are rendered.
            engine: the FOMM's inference form, where several sources share it; None makes one.

        Raises:
            ValueError: several workers on CUDA.
        """
        # Frames go in batches; only on the CPU to several processes
        self.fomm, self.options = fomm, options or AnimatorOptions()
        self.device = next(fomm.parameters()).device
        on_cuda = self.device.type == "cuda"
        if on_cuda and self.options.workers > 1:
            raise ValueError("several workers render on the CPU; on CUDA frames go in batches")
        self.batch = CUDA_BATCH if on_cuda else CPU_BATCH
        if self.options.precision == "bfloat16":
            warn_of_slow_bfloat16(self.device.type)
        # Encode the source once
        self.engine = engine or FastFomm(fomm, self.options.precision)
        self.picture = self._tensor([source])
        self.keypoints = self.engine.keypoints(self.picture)  # the source's, (1, K)
        self.source = self.engine.prepare(self.picture)

    def render(self, *many: Keypoints) -> Iterator[tuple[Image, ...]]:
        """Yield the pictures (S, S, 3) of each frame of one or several keypoints (T, K)."""
        together = (_frame(each, k) for k in range(len(many[0].value)) for each in many)
        pictures = self._rendered(together)
        while row := tuple(itertools.islice(pictures, len(many))):
            yield row

    def reenact(
        self, driving: Iterable[Image], transfer: Transfer | None = None
    ) -> Iterator[tuple[Image, Image]]:
        """Yield each driving frame (S, S, 3) and the source rendered with its motion.

        Frames are taken from `driving` one batch at a time.
        """
        waiting: deque[Image] = deque()
        found = self._driving_keypoints(iter(driving), transfer or Transfer(), waiting)
        for picture in self._rendered(found):
            yield waiting.popleft(), picture

    def detect(self, frames: list[Image]) -> Keypoints:
        """Return the keypoints of frames (S, S, 3)."""
        return self.engine.keypoints(self._tensor(frames))

    def _driving_keypoints(
        self, frames: Iterator[Image], transfer: Transfer, waiting: deque[Image]
    ) -> Iterator[Keypoints]:
        """Yield the keypoints (1, K) of each frame, as transferred; the frame goes to `waiting`."""
        initial = None if transfer.initial is None else self.detect([transfer.initial])
        scale: float | None = None
        while batch := list(itertools.islice(frames, self.batch)):
            keypoints = self.detect(batch)
            if transfer.relative:
                initial = _frame(keypoints, 0) if initial is None else initial
                if scale is None:
                    adapt = transfer.adapt_scale
                    scale = movement_scale(self.keypoints, initial) if adapt else 1.0
                keypoints = relative(self.keypoints, keypoints, initial, scale)
            waiting.extend(batch)
            del batch  # only one batch is held while the next is read
            yield from (_frame(keypoints, k) for k in range(len(keypoints.value)))

    def _rendered(self, driving: Iterator[Keypoints]) -> Iterator[Image]:
        """Yield the picture (S, S, 3) of each of the driving keypoints (1, K)."""
        if self.options.workers > 1:
            given = self.fomm, self.picture, self.keypoints, driving
            how = self.options.workers, self.options.precision
            yield from map(from_tensor, render_frames(*given, *how))
            return
        while batch := list(itertools.islice(driving, self.batch)):
            there = Keypoints(
                *(torch.cat(each).to(self.device) for each in zip(*batch, strict=True))
            )
            yield from from_tensor(self.engine.render(self.source, self.keypoints, there))

    def _tensor(self, frames: list[Image]) -> Tensor:
        return to_tensor(np.stack(frames)).to(self.device)


def _frame(keypoints: Keypoints, k: int) -> Keypoints:
    return Keypoints(*(each[k : k + 1] for each in keypoints))
