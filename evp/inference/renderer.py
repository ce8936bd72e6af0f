"""Render frames of a person from guidance maps with a trained edge-to-video network (EVP Sec. 3.3).

Letters: T frames, N frames of a target video, L history frames that a temporal generator takes, C
guidance channels, S pixels a side.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from affekt.arrays import Array, Image
from affekt.media.faces.crop import Crop, cut
from affekt.media.video.pictures import resized
from affekt.media.video.video import read_video
from affekt.runtime.config import dump_config, load_config
from affekt.runtime.devices import pick_device
from affekt.runtime.run import restore
from evp.data.portraits import GuidanceConfig, guidance_maps
from evp.networks.generator import Generator, GeneratorConfig
from evp.networks.temporal_generator import TemporalGenerator

DESCRIPTION = "edge2video.yaml"  # in the run folder, of the generator
BATCH = 8  # maps at once through a generator without history


@dataclass(frozen=True)
class Renderer:
    """A trained edge-to-video network and whom it renders."""

    generator: nn.Module
    guidance: GuidanceConfig
    speaker: str
    image_generator: nn.Module | None = None  # renders the initial frames; None: the target's own
    stored: int = 256  # pixels a side of the crops that it was trained on, before they were resized


@dataclass(frozen=True)
class Target:
    """A video of the person, with the faces that were found in it."""

    path: Path
    landmarks: Array  # (N, 68, 2), source pixels
    crop: Crop  # the part that is rendered


@dataclass(frozen=True)
class InitialFrames:
    """The history of a video's first frame."""

    frames: Image  # (L, S, S, 3) RGB
    guidance: Image  # (L, C, S, S)


class FrameRenderer:
    """Renders the frames of one video in order, each with those before it as history."""

    def __init__(self, generator: nn.Module, initial: InitialFrames | None = None) -> None:
        """Begin a video.

        Args:
            generator: its mode counts: put it into evaluation mode first.
            initial: needed by a temporal generator, and by no other.
        """
        self.generator = generator
        self.device = next(generator.parameters()).device
        self.history: list[Tensor] = []  # (3, S, S) in [-1, 1]
        self.maps: list[Tensor] = []  # (C, S, S) in [0, 1], of the history
        length = history_length(generator)
        if not length:
            return
        found = 0 if initial is None else len(initial.frames)
        if initial is None or found != length:
            raise ValueError(f"{found} frames before the first one, wanted {length}")
        if len(initial.guidance) != length:
            raise ValueError(f"{len(initial.guidance)} guidance maps of them, wanted {length}")
        frames = np.ascontiguousarray(np.moveaxis(initial.frames, -1, -3))
        self.history = list(torch.from_numpy(frames).to(self.device).float() / 127.5 - 1)
        self.maps = list(torch.from_numpy(initial.guidance).to(self.device).float() / 255)

    @torch.no_grad()
    def render(self, guidance: Image) -> Image:
        """Return the next frames (T, S, S, 3) RGB, of their guidance maps (T, C, S, S)."""
        maps = torch.from_numpy(guidance)
        if self.history:
            frames = [self._next(each.to(self.device).float() / 255) for each in maps]
            return grey_levels(torch.stack(frames))
        return np.concatenate(
            [
                grey_levels(self.generator(part.to(self.device).float() / 255))
                for part in maps.split(BATCH)
            ]
        )

    def _next(self, maps_CSS: Tensor) -> Tensor:
        guidance = torch.stack([*self.maps, maps_CSS])[None]
        frame: Tensor = self.generator(guidance, torch.stack(self.history)[None]).frame[0]
        self.maps, self.history = [*self.maps[1:], maps_CSS], [*self.history[1:], frame]
        return frame


def history_length(generator: nn.Module) -> int:
    """Return how many frames before a generator takes: 0 if it renders each on its own."""
    inner = generator.module if isinstance(generator, AveragedModel) else generator
    assert isinstance(inner, Generator | TemporalGenerator)
    return inner.config.previous


def render(generator: nn.Module, guidance: Image, initial: InitialFrames | None = None) -> Image:
    """Return a whole video (T, S, S, 3) of its guidance maps; see `FrameRenderer`."""
    return FrameRenderer(generator, initial).render(guidance)


def grey_levels(frames_TCSS: Tensor) -> Image:
    """Return frames (T, S, S, 3) uint8 RGB of (T, 3, S, S) in [-1, 1]."""
    levels = (127.5 * (frames_TCSS + 1)).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def make_generator(guidance: GuidanceConfig, config: GeneratorConfig) -> nn.Module:
    """Return a new network of these sizes: temporal if it takes a history."""
    kind = TemporalGenerator if config.previous else Generator
    return kind(guidance.channels, config)


@dataclass(frozen=True)
class RendererDescription:
    """What a run folder holds of its generator besides the weights."""

    generator: GeneratorConfig
    guidance: GuidanceConfig
    speaker: str  # whom it renders
    stored: int = 256  # pixels a side of the corpus's frames; generation cuts the target alike


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
    ema = AveragedModel(generator)
    restore(run_dir, ema=ema)
    generator.load_state_dict(ema.module.state_dict())
    return generator.to(device).eval(), description


def load_renderer(
    run_dir: Path, device: str = "auto", image_generator: Path | None = None
) -> Renderer:
    """Read a run of train_edge2video.py.

    Args:
        run_dir: the run.
        device: `auto`, `cpu` or `cuda`.
        image_generator: another run, whose generator takes no history, for the initial frames.

    Raises:
        FileNotFoundError: not such a run, or it has no checkpoint yet.
        ValueError: the image generator does not fit the run's generator.
    """
    where = pick_device(device)
    generator, description = load_generator(run_dir, where)
    if image_generator is None:
        return Renderer(
            generator, description.guidance, description.speaker, None, description.stored
        )
    # The image generator must be of the same person and guidance maps
    first, other = load_generator(image_generator, where)
    if not isinstance(first, Generator) or not history_length(generator):
        raise ValueError(
            f"initial frames by {image_generator}: wanted a run with generator.previous=0 there, "
            f"and one with 1 or more in {run_dir}"
        )
    for name in ("guidance", "speaker", "stored"):
        found, wanted = getattr(other, name), getattr(description, name)
        if found != wanted:
            raise ValueError(f"{image_generator} has {name} {found}, {run_dir} has {wanted}")
    return Renderer(generator, description.guidance, description.speaker, first, description.stored)


def initial_frames(
    renderer: Renderer, target: Target, faces: Array, replaced: Array
) -> InitialFrames | None:
    """Return the history of the first frame for a temporal generator; None for any other.

    The frames after the first, mirrored in time, so that the video starts in motion: the target's
    own, with maps of its own face, as vid2vid starts from real frames; or, with an image generator,
    rendered frames of the new face.

    Args:
        renderer: with its generator.
        target: whose frames they are.
        faces: (T, 68, 2), the new faces in the target's frames, source pixels.
        replaced: (T, 68, 2), the target's own.
    """
    length = history_length(renderer.generator)
    if not length:
        return None
    # The target's first frames, backwards in time
    frames = list(itertools.islice(read_video(target.path), length + 1))
    last = min(len(frames), len(faces)) - 1
    mirrored = [min(k, last) for k in range(length, 0, -1)]
    stored = np.stack([cut(frames[k], target.crop) for k in mirrored])
    old = target.crop.to_stored(replaced[mirrored])
    # True frames with their own maps, or rendered ones with the new face's
    if renderer.image_generator is None:
        maps = guidance_maps(stored, old, renderer.guidance)
        return InitialFrames(resized(stored, renderer.guidance.size), maps)
    new = target.crop.to_stored(faces[mirrored])
    maps = guidance_maps(stored, new, renderer.guidance, old)
    return InitialFrames(render(renderer.image_generator, maps), maps)
