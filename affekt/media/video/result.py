"""Generated videos: the sound that they are made to, and the files that they become."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from affekt.arrays import Array, Image
from affekt.media.audio.reader import fitted, read_audio
from affekt.media.constants import SAMPLES_PER_FRAME
from affekt.media.video.container import MediaError
from affekt.media.video.video import VideoWriter, probe

Rows = Iterable[Sequence[Image]]
Watch = Callable[[Rows, int], Rows]  # passes the rows on, of which so many come; a progress bar


def unwatched(rows: Rows, _count: int) -> Rows:
    """Pass the rows on: no progress bar."""
    return rows


def sound_if_any(path: Path) -> Array | None:
    """Return the sound of a video, 16 kHz, or None where it has none."""
    try:
        return read_audio(path)
    except MediaError as error:
        if error.reason != "no_audio":
            raise
        return None


def driving_sound(path: Path) -> Array:
    """Return the sound of a file, 16 kHz; that of a video lasts as long as its pictures.

    AAC pads a sound to whole blocks, so that a video's own sound runs a frame or two over.
    """
    samples = read_audio(path)
    try:
        frames = probe(path).frames
    except MediaError as error:
        if error.reason != "no_video":
            raise
        return samples
    return fitted(samples, frames * SAMPLES_PER_FRAME)


def outputs(out: Path, wanted: dict[str, bool]) -> list[Path]:
    """Return the files of a job: OUT.mp4 and, of the others, OUT_name.mp4 where wanted."""
    more = [out.with_name(f"{out.stem}_{name}.mp4") for name, given in wanted.items() if given]
    return [out, *more]


def write_pictures(paths: Sequence[Path], rows: Rows, samples: Array | None) -> None:
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
