"""A trained edge-to-video network in use, and what it sees before a video's first frame.

Letters: L frames before the first one, S pixels a side of a generated picture.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from affekt.arrays import Array
from affekt.media.faces.crop import Crop, cut
from affekt.media.video.pictures import resized
from affekt.media.video.video import read_video
from affekt.runtime.run import pick_device
from evp.data.portraits import guidance_maps
from evp.inference.drawing import Drawing, First, load_generator, previous_of, render
from evp.networks.generator import Generator, GuidanceConfig


@dataclass(frozen=True)
class Renderer:
    """A trained edge-to-video network and whom it draws."""

    generator: nn.Module
    guidance: GuidanceConfig
    speaker: str
    opener: nn.Module | None = None  # draws the frames before the first; None: the target's own

    def begin(self, first: First | None) -> Drawing:
        """Begin a video after these frames; see `frames_before`."""
        return Drawing(self.generator, first)


@dataclass(frozen=True)
class Target:
    """A video of the person, with the faces that were found in it."""

    path: Path
    landmarks: Array  # (N, 68, 2), source pixels
    crop: Crop  # the part that the renderer draws


def load_renderer(run_dir: Path, device: str = "auto", opener: Path | None = None) -> Renderer:
    """Read a run of train_edge2video.py.

    Args:
        run_dir: the run.
        device: `auto`, `cpu` or `cuda`.
        opener: another run, whose generator sees no frames before, to draw the first ones.

    Raises:
        FileNotFoundError: not such a run, or it has no checkpoint yet.
        ValueError: the opener does not draw what the run's generator goes on with.
    """
    where = pick_device(device)
    generator, description = load_generator(run_dir, where)
    if opener is None:
        return Renderer(generator, description.guidance, description.speaker)
    first, other = load_generator(opener, where)
    if not isinstance(first, Generator) or not previous_of(generator):
        raise ValueError(
            f"first frames by {opener}: wanted a run with generator.previous=0 there, and one with "
            f"1 or more in {run_dir}"
        )
    for name in ("guidance", "speaker"):
        found, wanted = getattr(other, name), getattr(description, name)
        if found != wanted:
            raise ValueError(f"{opener} has {name} {found}, {run_dir} has {wanted}")
    return Renderer(generator, description.guidance, description.speaker, first)


def frames_before(
    renderer: Renderer, target: Target, faces: Array, replaced: Array
) -> First | None:
    """Return what a temporal generator sees before the first frame; None for any other.

    The frames after the first, mirrored in time, so that the video is entered in motion: the
    target's own, with maps of its own face, as vid2vid begins with real frames; or, with an opener,
    pictures of the new face.

    Args:
        renderer: who draws.
        target: whose frames they are.
        faces: (T, 68, 2), the new faces in the target's frames, source pixels.
        replaced: (T, 68, 2), the target's own.
    """
    previous = previous_of(renderer.generator)
    if not previous:
        return None
    frames = list(itertools.islice(read_video(target.path), previous + 1))
    last = min(len(frames), len(faces)) - 1
    mirrored = [min(k, last) for k in range(previous, 0, -1)]
    stored = np.stack([cut(frames[k], target.crop) for k in mirrored])
    old = target.crop.to_stored(replaced[mirrored])
    if renderer.opener is None:
        maps = guidance_maps(stored, old, renderer.guidance)
        return First(resized(stored, renderer.guidance.size), maps)
    new = target.crop.to_stored(faces[mirrored])
    maps = guidance_maps(stored, new, renderer.guidance, old)
    return First(render(renderer.opener, maps), maps)
