"""Stored frames read back, against a folder of PNG files read by OpenCV, as FOMM's loader has it.

    python -m benchmarks.frames --json

Sixteen frames in a row from a rendered clip of 256 px, and two at random (what FOMM trains on).
Measured for sixteen: raw 54 times faster and more, JPEG 3.8 to 4.6 times with 16.9 kB a frame and
42.6 dB, MP4 with 1.7 kB and 41.0 dB. `max_abs_diff` is that of raw, which is exact; `notes` hold
size and quality.
"""

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from affekt.arrays import Image
from affekt.media.video.frames import FILES, open_frames, write_frames
from affekt.media.video.video import read_frames
from benchmarks.harness import Result, main
from data_prep.mini.clip import ClipName, Settings, make_clip

CLIP = ClipName(speaker=0, view="front", emotion="happy", level=3, number=1)
CHOICES: dict[str, Sequence[int]] = {"16 in a row": range(8, 24), "2 at random": (37, 5)}


def read_pngs(folder: Path, indices: Sequence[int]) -> Image:
    """Return the frames of these numbers, RGB."""
    pictures = (cv2.imread(str(folder / f"{k:06d}.png")) for k in indices)
    return np.stack([cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) for picture in pictures])


def quality(frames: Image, stored: Image) -> float:
    """Return the PSNR in dB; 99 for equal frames."""
    error = float(np.square(stored.astype(float) - frames).mean())
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


def measure(_: argparse.Namespace) -> Result:
    """Time every kind of store against the PNG folder."""
    cv2.setNumThreads(1)
    result = Result("frames")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_clip(root / "raw", CLIP, Settings())
        frames = read_frames(next((root / "raw").rglob("*.mp4")))  # (T, 256, 256, 3)
        for k, frame in enumerate(frames):
            cv2.imwrite(str(root / f"{k:06d}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        for kind, file in FILES.items():
            write_frames(root / kind, frames, kind)
            store = open_frames(root / kind)
            size = (root / kind / file).stat().st_size / len(frames)
            result.notes[kind] = {
                "kilobytes_a_frame": round(size / 1000, 2),
                "psnr": round(quality(frames, store[:]), 2),
            }
            if kind == "raw":
                result.differ(store[:], frames)
            for what, indices in CHOICES.items():
                pngs, stored = partial(read_pngs, root, indices), partial(store.read, indices)
                result.time(f"{kind}, {what}", {"png folder": pngs, kind: stored})
    return result


if __name__ == "__main__":
    main(__doc__, measure)
