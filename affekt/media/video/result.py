"""Generated videos: the driving audio, the order of repeated frames, and the files written."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.audio.reader import fitted, read_audio
from affekt.media.constants import SAMPLES_PER_FRAME
from affekt.media.video.container import MediaError
from affekt.media.video.video import VideoWriter, probe

Rows = Iterable[Sequence[Image]]  # a row a frame, a column an output video
Progress = Callable[[Rows, int], Rows]  # passes the rows on, of which so many come


def no_progress(rows: Rows, _count: int) -> Rows:
    """Pass the rows on without a progress bar."""
    return rows


def read_audio_if_any(path: Path) -> Array | None:
    """Return the audio of a video, 16 kHz, or None where it has none."""
    try:
        return read_audio(path)
    except MediaError as error:
        if error.reason != "no_audio":
            raise
        return None


def read_driving_audio(path: Path) -> Array:
    """Return the audio of a file, 16 kHz; that of a video lasts as long as its frames.

    AAC pads audio to whole blocks, so that a video's own audio runs a frame or two over.
    """
    samples = read_audio(path)
    try:
        frames = probe(path).frames
    except MediaError as error:
        if error.reason != "no_video":
            raise
        return samples
    return fitted(samples, frames * SAMPLES_PER_FRAME)


def ping_pong(count: int, length: int) -> Array:
    """Return `length` frame numbers that run through 0 ... count-1 forwards and backwards.

    How EVP's release makes a target video last as long as the audio: 0 1 2 2 1 0 0 1 ...

    Raises:
        ValueError: there is no frame to repeat.
    """
    if count < 1:
        raise ValueError("a video without frames cannot be repeated")
    once = np.arange(count)
    turn = np.concatenate([once, once[::-1]])
    return np.resize(turn, length)


def output_paths(out: Path, wanted: dict[str, bool]) -> list[Path]:
    """Return the files of a job: OUT.mp4 and, of the others, OUT_name.mp4 where wanted."""
    more = [out.with_name(f"{out.stem}_{name}.mp4") for name, given in wanted.items() if given]
    return [out, *more]


def write_videos(paths: Sequence[Path], rows: Rows, samples: Array | None) -> None:
    """Write a video a column of `rows`, of the size of its first picture, less odd lines."""
    writers: list[VideoWriter] = []
    with contextlib.ExitStack() as stack:
        for row in rows:
            even = [picture[: -(picture.shape[0] % 2) or None] for picture in row]
            even = [picture[:, : -(picture.shape[1] % 2) or None] for picture in even]
            for path, picture in zip(paths[len(writers) :], even[len(writers) :], strict=True):
                size = (picture.shape[1], picture.shape[0])
                writers.append(stack.enter_context(VideoWriter(path, size, samples)))
            for writer, picture in zip(writers, even, strict=True):
                writer.write(picture)
