"""Frames of the mini corpus per second on one core: drawn, and whole clips written.

    python -m benchmarks.render --json

`ratio` holds frames a second at each size, and `written` those of whole clips: speech, pictures,
encoding, truth. Wanted: at least 60 frames a second at 256 px.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.harness import Result, compare, main
from data_prep.mini.clip import ClipName, Settings, make_clip, perform
from data_prep.mini.head.head import make_head
from data_prep.mini.render import Renderer, background
from data_prep.mini.speakers import make_speaker

SIZES = (128, 256)
CLIP = ClipName(speaker=0, view="front", emotion="happy", level=3, number=1)
FRAME = 20  # of the clip, the one that is drawn


def measure(_: argparse.Namespace) -> Result:
    """Time a picture at each size, and a whole clip with sound, encoding and truth."""
    rates: dict[str, float] = {}
    for size in SIZES:
        settings = Settings(size=size)
        speaker = make_speaker(settings.seed, CLIP.speaker)
        head = make_head(speaker)
        played = perform(CLIP, settings)
        pose = head.vertices(played.strengths)[FRAME], played.pose[FRAME], played.body[FRAME]
        draw = partial(Renderer(head, background(speaker, size)).draw, *pose)
        rates[str(size)] = 1e3 / compare({"draw": draw}).milliseconds["draw"]
    return Result("render", rates | {"written": clip_rate(Settings())})


def clip_rate(settings: Settings) -> float:
    """Return frames per second of whole clips."""
    with tempfile.TemporaryDirectory() as folder:
        make_clip(Path(folder), CLIP, settings)  # compiles, builds the head
        start, frames = time.perf_counter(), 0
        for number in (1, 2, 3):
            name = ClipName(0, "front", "sad", 3, number)
            frames += make_clip(Path(folder), name, settings)
        return frames / (time.perf_counter() - start)


if __name__ == "__main__":
    main(__doc__, measure)
