"""Training targets of Audio2Facial-Dynamics: the keypoints of FOMM's frozen detector, cached in the
run folder where colours are not jittered (EAMM supplement A.2).

The detector stays in evaluation mode, so that its statistics are those it was trained to; the
release leaves it in training mode and lets them drift.

Letters: T frames of a clip, N frames of all clips, K keypoints, h, w of a heatmap.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from affekt.arrays import Array, Image
from affekt.media.corpus import Clip
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import to_tensor
from affekt.runtime.files import read_json, write_json
from eamm.a2fd.layers import NormStats
from eamm.a2fd.network import fingerprint, flat
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm

log = logging.getLogger(__name__)

AT_ONCE = 32  # frames a pass of the detector
LEAST_DEVIATION = 1e-3  # of a keypoint's number; a thousandth of half the picture
PARTS = ("value", "jacobian", "heatmap")


@torch.no_grad()
def teacher_keypoints(fomm: Fomm, frames: Image) -> tuple[Keypoints, Tensor]:
    """Return the detector's keypoints of stored frames (T, H, W, 3) RGB, and their heatmaps."""
    device = next(fomm.parameters()).device
    small = resized(frames, fomm.config.size)
    found = [
        fomm.detector.with_heatmap(to_tensor(part).to(device))
        for part in np.split(small, range(AT_ONCE, len(small), AT_ONCE))
    ]
    value, jacobian = (torch.cat(part) for part in zip(*(one for one, _ in found), strict=True))
    return Keypoints(value, jacobian), torch.cat([heatmap for _, heatmap in found])


@dataclass(frozen=True)
class CachedTargets:
    """The detector's keypoints and heatmaps of every frame of some clips, files opened to read."""

    parts: dict[str, Array]  # value (N, K, 2), jacobian (N, K, 2, 2), heatmap (N, K, h, w)
    first: dict[Path, int]  # by a clip's folder: which row is its first frame

    def of(self, clip: Clip, frames: slice) -> dict[str, Tensor]:
        """Return value, jacobian and heatmap of consecutive frames of a clip."""
        start = self.first[clip.folder]
        rows = slice(start + frames.start, start + frames.stop)
        return {
            name: torch.from_numpy(array[rows].astype(np.float32))
            for name, array in self.parts.items()
        }


def cache_targets(fomm: Fomm, clips: Sequence[Clip], folder: Path) -> CachedTargets:
    """Return the keypoints of all frames of the clips, from `folder` or computed into it.

    The files are used again only for the same detector and the same clips. Heatmaps are kept with
    half precision, since a frame has tens of thousands of numbers.
    """
    starts = np.cumsum([0, *(clip.frames for clip in clips)]).tolist()
    key = {"detector": fingerprint(fomm.detector), "clips": [[c.id, c.frames] for c in clips]}
    seal = folder / "teacher.json"  # written last: without it the files may be torn
    if not seal.is_file() or read_json(seal) != key:
        log.info("detecting the keypoints of %d frames of %d clips", starts[-1], len(clips))
        seal.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        _write_targets(fomm, clips, folder)
        write_json(seal, key)
    parts = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in PARTS}
    folders = (clip.folder for clip in clips)
    return CachedTargets(parts, dict(zip(folders, starts[:-1], strict=True)))


def source_stats(fomm: Fomm, clips: Sequence[Clip]) -> NormStats:
    """Return mean and deviation over clips of the keypoints of their first frames, 6 K numbers."""
    found = [teacher_keypoints(fomm, clip.store()[0:1])[0] for clip in clips]
    numbers = torch.cat([flat(keypoints) for keypoints in found])
    deviation = numbers.std(dim=0, correction=0).clamp(min=LEAST_DEVIATION)
    return NormStats(tuple(numbers.mean(dim=0).tolist()), tuple(deviation.tolist()))


def _write_targets(fomm: Fomm, clips: Sequence[Clip], folder: Path) -> None:
    """Write the targets clip by clip, so that memory holds a single clip."""
    K, side = fomm.config.keypoints.count, fomm.config.heatmap_size
    N = sum(clip.frames for clip in clips)
    shapes = ((N, K, 2), (N, K, 2, 2), (N, K, side, side))
    kinds = (np.float32, np.float32, np.float16)
    files = [
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, shape)
        for name, kind, shape in zip(PARTS, kinds, shapes, strict=True)
    ]
    start = 0
    for clip in clips:
        keypoints, heatmap = teacher_keypoints(fomm, clip.store()[0 : clip.frames])
        for file, target in zip(files, (*keypoints, heatmap), strict=True):
            file[start : start + clip.frames] = target.cpu().numpy()
        start += clip.frames
    for file in files:
        file.flush()
