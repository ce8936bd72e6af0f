"""Stored frames read back, against a folder of PNG files read by OpenCV, as FOMM's loader has it.

    python -m benchmarks.frames
    python -m benchmarks.frames --json

Sixteen frames in a row from a rendered clip of 256 px, and two at random (what FOMM trains on).
Wanted for sixteen: raw at least 30 times faster, JPEG at least 4 times with at most 20 kB a frame
and at least 44 dB. `max_abs_diff` is that of raw, which is exact; `notes` hold size and quality.
"""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from affekt.arrays import Image
from affekt.media.video.frames import FILES, FrameStore, open_frames, write_frames
from affekt.media.video.video import read_frames
from benchmarks.harness import Result, compare, main, table, timing_rows
from data_prep.mini.clip import ClipName, Settings, make_clip

CLIP = ClipName(speaker=0, view="front", emotion="happy", level=3, number=1)
CHOICES: dict[str, Sequence[int]] = {"16 in a row": range(8, 24), "2 at random": (37, 5)}


def write_pngs(folder: Path, frames: Image) -> None:
    """Write each frame as a PNG file."""
    for k, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{k:06d}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))


def read_pngs(folder: Path, indices: Sequence[int]) -> Image:
    """Return the frames of these numbers, RGB."""
    pictures = (cv2.imread(str(folder / f"{k:06d}.png")) for k in indices)
    return np.stack([cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) for picture in pictures])


def quality(frames: Image, stored: Image) -> float:
    """Return the PSNR in dB; 99 for equal frames."""
    error = float(np.square(stored.astype(float) - frames).mean())
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


def measure() -> tuple[Result, str]:
    """Time every kind of store and the PNG folder."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        frames = rendered(root / "raw")
        write_pngs(root, frames)
        stores: dict[str, FrameStore] = {}
        notes: dict[str, dict[str, float]] = {}
        for kind, file in FILES.items():
            write_frames(root / kind, frames, kind)
            stores[kind] = open_frames(root / kind)
            size = (root / kind / file).stat().st_size / len(frames)
            psnr = quality(frames, stores[kind][:])
            notes[kind] = {"kilobytes_a_frame": round(size / 1000, 2), "psnr": round(psnr, 2)}
        ratio: dict[str, float] = {}
        milliseconds, rows = {}, []
        for what, indices in CHOICES.items():
            reading = {name: partial(store.read, indices) for name, store in stores.items()}
            timing = compare({"png folder": partial(read_pngs, root, indices), **reading})
            rows += timing_rows(what, timing)
            milliseconds[what] = timing.milliseconds
            ratio |= {f"{name}, {what}": timing.ratio[name] for name in stores}
        difference = float(np.abs(stores["raw"][:].astype(int) - frames).max())
    text = table(["read", "candidate", "ms", "ratio"], rows)
    text += "\n" + "\n".join(f"{kind}: {note}" for kind, note in notes.items())
    return Result("frames", ratio, difference, milliseconds, dict(notes)), text


def rendered(folder: Path) -> Image:
    """Return the frames of a clip of the mini corpus, (T, 256, 256, 3)."""
    make_clip(folder, CLIP, Settings())
    return read_frames(next(folder.rglob("*.mp4")))


if __name__ == "__main__":
    main(__doc__, measure)
