"""A trained edge-to-video generator at work: frames in order, and its files in a run folder.

Letters: T frames, L frames that a temporal generator sees before, C guidance channels, S pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from affekt.arrays import Image
from affekt.runtime.config import dump_config, load_config
from affekt.runtime.run import restore
from evp.networks.generator import Generator, GeneratorConfig, GuidanceConfig
from evp.networks.temporal_generator import TemporalGenerator

DESCRIPTION = "edge2video.yaml"  # in the run folder: what `load_generator` needs to know
MAPS_AT_ONCE = 8  # through a generator that draws every frame on its own


@dataclass(frozen=True)
class First:
    """What was there before a video begins."""

    frames: Image  # (L, S, S, 3) RGB
    guidance: Image  # (L, C, S, S)


class Drawing:
    """One video, whose frames are drawn in order."""

    def __init__(self, generator: nn.Module, first: First | None = None) -> None:
        """Begin a video.

        Args:
            generator: its mode counts: put it into evaluation mode first.
            first: needed by a temporal generator, and by no other.
        """
        self.generator = generator
        self.device = next(generator.parameters()).device
        self.before: list[Tensor] = []  # (3, S, S) in [-1, 1]
        self.maps: list[Tensor] = []  # (C, S, S) in [0, 1]
        previous = previous_of(generator)
        if previous:
            found = 0 if first is None else len(first.frames)
            if first is None or found != previous:
                raise ValueError(f"{found} frames before the first one, wanted {previous}")
            if len(first.guidance) != previous:
                raise ValueError(f"{len(first.guidance)} guidance maps of them, wanted {previous}")
            frames = np.ascontiguousarray(np.moveaxis(first.frames, -1, -3))
            self.before = list(torch.from_numpy(frames).to(self.device).float() / 127.5 - 1)
            self.maps = list(torch.from_numpy(first.guidance).to(self.device).float() / 255)

    @torch.no_grad()
    def draw(self, guidance: Image) -> Image:
        """Return the next frames (T, S, S, 3) RGB, of their guidance maps (T, C, S, S)."""
        maps = torch.from_numpy(guidance)
        if self.before:
            drawn = [self._next(each.to(self.device).float() / 255) for each in maps]
            return grey_levels(torch.stack(drawn))
        parts = maps.split(MAPS_AT_ONCE)
        return np.concatenate(
            [grey_levels(self.generator(part.to(self.device).float() / 255)) for part in parts]
        )

    def _next(self, maps_CSS: Tensor) -> Tensor:
        seen = torch.stack([*self.maps, maps_CSS])[None]
        frame: Tensor = self.generator(seen, torch.stack(self.before)[None]).frame[0]
        self.maps, self.before = [*self.maps[1:], maps_CSS], [*self.before[1:], frame]
        return frame


def previous_of(generator: nn.Module) -> int:
    """Return how many frames before a generator sees: 0 if it draws each on its own."""
    inner = generator.module if isinstance(generator, AveragedModel) else generator
    assert isinstance(inner, Generator | TemporalGenerator)
    return inner.config.previous


def render(generator: nn.Module, guidance: Image, first: First | None = None) -> Image:
    """Return a whole video (T, S, S, 3) of its guidance maps; see `Drawing`."""
    return Drawing(generator, first).draw(guidance)


def grey_levels(frames_TCSS: Tensor) -> Image:
    """Return frames (T, S, S, 3) uint8 RGB of (T, 3, S, S) in [-1, 1]."""
    levels = (127.5 * (frames_TCSS + 1)).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def make_generator(guidance: GuidanceConfig, config: GeneratorConfig) -> nn.Module:
    """Return a new network of these sizes: temporal if it is to see frames before."""
    kind = TemporalGenerator if config.previous else Generator
    return kind(guidance.channels, config)


@dataclass(frozen=True)
class RendererDescription:
    """What a run folder says of its generator."""

    generator: GeneratorConfig
    guidance: GuidanceConfig
    speaker: str  # whom it draws


def save_description(run_dir: Path, description: RendererDescription) -> None:
    """Write the description into a run folder, where `load_generator` finds it."""
    dump_config(description, run_dir / DESCRIPTION)


def load_generator(
    run_dir: Path, device: torch.device | str = "cpu"
) -> tuple[nn.Module, RendererDescription]:
    """Read the averaged generator of a run of train_edge2video.py, in evaluation mode.

    Raises:
        FileNotFoundError: not such a run, or it has no checkpoint yet.
    """
    path = run_dir / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run train_edge2video.py into that folder")
    description = load_config(RendererDescription, path)
    generator = make_generator(description.guidance, description.generator)
    average = AveragedModel(generator)
    restore(run_dir, average=average)
    generator.load_state_dict(average.module.state_dict())
    return generator.to(device).eval(), description
