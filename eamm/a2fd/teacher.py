"""Training targets of Audio2Facial-Dynamics: the keypoints of FOMM's frozen detector, cached in the
run folder where colours are not jittered (EAMM supplement A.2).

    teacher/value.npy, jacobian.npy, heatmap.npy   of every frame of the clips, one after the other
    teacher/checksums.npy                          (N, 3) uint32: a CRC-32 of each row of these
    teacher/teacher.json                           whose detector, which clips, and the SHA-256 of
                                                   the checksums

A row is compared with its checksum each time it is read, so that files of any size cost nothing at
the start. The folder appears whole or not at all.

The detector stays in evaluation mode, so that its statistics are those it was trained to; the
release leaves it in training mode and lets them drift.

Letters: T frames of a clip, N frames of all clips, K keypoints, h, w of a heatmap.
"""

import contextlib
import logging
import re
import typing as tp
import zlib
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
from affekt.nets.fingerprint import fingerprint
from affekt.runtime.files import (
    DamagedFileError,
    load_npy,
    map_npy,
    npy_writer,
    read_json,
    replacing_folder,
    sha256,
    write_json,
)
from eamm.a2fd.layers import NormStats
from eamm.a2fd.network import flat
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm

log = logging.getLogger(__name__)

AT_ONCE = 32  # frames a pass of the detector
LEAST_DEVIATION = 1e-3  # of a keypoint's number; a thousandth of half the picture
PARTS = {"value": np.float32, "jacobian": np.float32, "heatmap": np.float16}
SEAL, CHECKSUMS = "teacher.json", "checksums.npy"
OWN = re.compile(rf"({'|'.join(PARTS)}|checksums)\.npy|teacher\.json")


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

    folder: Path
    parts: dict[str, Array]  # value (N, K, 2), jacobian (N, K, 2, 2), heatmap (N, K, h, w)
    checksums: Array  # (N, 3) uint32, of the rows of the parts
    first: dict[Path, int]  # by a clip's folder: which row is its first frame

    def of(self, clip: Clip, frames: slice) -> dict[str, Tensor]:
        """Return value, jacobian and heatmap of consecutive frames of a clip.

        Raises:
            DamagedFileError: they are not as they were written.
        """
        start = self.first[clip.folder]
        rows = slice(start + frames.start, start + frames.stop)
        read = {name: np.array(array[rows]) for name, array in self.parts.items()}
        found = np.stack([_checksums(array) for array in read.values()], axis=1)
        if not np.array_equal(found, self.checksums[rows]):
            row, part = np.argwhere(found != self.checksums[rows])[0]
            path = self.folder / f"{list(read)[part]}.npy"
            text = f"{path} is damaged: row {rows.start + row} is not as it was written"
            raise DamagedFileError(f"{text}; {_remedy(self.folder)}")
        return {
            name: torch.from_numpy(array.astype(np.float32, copy=False))
            for name, array in read.items()
        }


def cache_targets(fomm: Fomm, clips: Sequence[Clip], folder: Path) -> CachedTargets:
    """Return the keypoints of all frames of the clips, from `folder` or computed into it.

    The files are used again only for the same detector and the same clips. Heatmaps are kept with
    half precision, since a frame has tens of thousands of numbers.

    Raises:
        DamagedFileError: a file of the folder is cut off, or of another type or shape.
    """
    starts = np.cumsum([0, *(clip.frames for clip in clips)]).tolist()
    key = {"detector": fingerprint(fomm.detector), "clips": [[c.id, c.frames] for c in clips]}
    known = _known(folder / SEAL)
    there = (folder / CHECKSUMS).is_file()
    if not there or known | key != known or CHECKSUMS not in known:
        log.info("detecting the keypoints of %d frames of %d clips", starts[-1], len(clips))
        with replacing_folder(folder, OWN) as temporary:
            _write_targets(fomm, clips, temporary)
            write_json(temporary / SEAL, key | {CHECKSUMS: sha256(temporary / CHECKSUMS)})
    elif known[CHECKSUMS] != sha256(folder / CHECKSUMS):
        text = f"{folder / CHECKSUMS} is damaged: it is not as it was written"
        raise DamagedFileError(f"{text}; {_remedy(folder)}")
    # What is there, opened
    what, N = _remedy(folder), starts[-1]
    shapes = {name: (N, *shape) for name, shape in _shapes(fomm).items()}
    parts = {
        name: map_npy(folder / f"{name}.npy", shapes[name], kind, what)
        for name, kind in PARTS.items()
    }
    checksums = load_npy(folder / CHECKSUMS, (N, len(PARTS)), what)
    folders = (clip.folder for clip in clips)
    return CachedTargets(folder, parts, checksums, dict(zip(folders, starts[:-1], strict=True)))


def source_stats(fomm: Fomm, clips: Sequence[Clip]) -> NormStats:
    """Return mean and deviation over clips of the keypoints of their first frames, 6 K numbers."""
    found = [teacher_keypoints(fomm, clip.store()[0:1])[0] for clip in clips]
    numbers = torch.cat([flat(keypoints) for keypoints in found])
    deviation = numbers.std(dim=0, correction=0).clamp(min=LEAST_DEVIATION)
    return NormStats(tuple(numbers.mean(dim=0).tolist()), tuple(deviation.tolist()))


def _write_targets(fomm: Fomm, clips: Sequence[Clip], folder: Path) -> None:
    """Write the targets clip by clip, so that memory holds a single clip."""
    with contextlib.ExitStack() as stack:
        paths = [folder / f"{name}.npy" for name in PARTS]
        *parts, checksums = [
            stack.enter_context(npy_writer(path)) for path in (*paths, folder / CHECKSUMS)
        ]
        for clip in clips:
            keypoints, heatmap = teacher_keypoints(fomm, clip.store()[0 : clip.frames])
            found = zip((*keypoints, heatmap), PARTS.values(), strict=True)
            targets = [target.cpu().numpy().astype(kind) for target, kind in found]
            for append, target in zip(parts, targets, strict=True):
                append(target)
            checksums(np.stack([_checksums(target) for target in targets], axis=1))


def _known(seal: Path) -> dict[str, tp.Any]:
    """Return what teacher.json says, or {} where it says nothing."""
    with contextlib.suppress(FileNotFoundError, DamagedFileError):
        known = read_json(seal)
        return known if isinstance(known, dict) else {}
    return {}


def _shapes(fomm: Fomm) -> dict[str, tuple[int, ...]]:
    """Return the shape of a row of each part."""
    K, side = fomm.config.keypoints.count, fomm.config.heatmap_size
    return {"value": (K, 2), "jacobian": (K, 2, 2), "heatmap": (K, side, side)}


def _checksums(rows: Array) -> Array:
    """Return the CRC-32 of each row (n, ...) of an array, (n,) uint32."""
    return np.array([zlib.crc32(np.ascontiguousarray(row).data) for row in rows], np.uint32)


def _remedy(folder: Path) -> str:
    return f"remove {folder}, then run the same command, which computes it anew"
