"""The frames of a prepared clip: one file in the clip's folder, any frame at random.

    kind   file          a frame  16 in a row  2 at random  good for
    jpeg   frames.jpegs  17 kB    4x           4x           most: quality 95, one file with an index
    raw    frames.npy    197 kB   50x          40x          a corpus that fits the disk: uint8
    mp4    frames.mp4    1.7 kB   1x           1/8          a huge one: H.264, a key frame every 8

The factors are speeds against a folder of PNG files, at 256 px (python -m benchmarks.frames).
An open store holds no file descriptor and no state: it can be sent to DataLoader workers, and ten
thousand of them cost no more than their indices.

A .jpegs file holds JPEG pictures one after the other, and their places
(affekt/media/video/packed.py).
"""

import abc
import contextlib
import typing as tp
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.lib import format as npy

from affekt.arrays import Image
from affekt.media.constants import FRAME_RATE
from affekt.media.video.container import decoded, open_media
from affekt.media.video.packed import Packed, PackedKind, check, packed_writer
from affekt.media.video.video import VideoWriter, probe
from affekt.runtime.files import DamagedFileError, npy_writer, replacing

Kind = tp.Literal["jpeg", "raw", "mp4"]
Write = Callable[[Image], None]

FILES: dict[Kind, str] = {"jpeg": "frames.jpegs", "raw": "frames.npy", "mp4": "frames.mp4"}
JPEG_QUALITY = 95  # 42.6 dB at 256 px, of the mini corpus
KEY_FRAME_EVERY = 8  # frames, of the mp4 kind: at most 7 are decoded in vain
PREPARE = "run python -m data_prep.prepare"
JPEGS = PackedKind(b"AFKTJPEG", 1, PREPARE)


class FrameStore(abc.ABC):
    """Stored frames: `store[i]` is (H, W, 3), `store[i:j]` is (j - i, H, W, 3), uint8 RGB."""

    def __init__(self, path: Path, count: int, size: tuple[int, int]) -> None:
        self.path, self.count = path, count
        self.size = size  # width and height, pixels

    def __len__(self) -> int:
        return self.count

    @tp.overload
    def __getitem__(self, key: int) -> Image: ...
    @tp.overload
    def __getitem__(self, key: slice) -> Image: ...

    def __getitem__(self, key: int | slice) -> Image:
        if isinstance(key, slice):
            return self.read(range(self.count)[key])
        if not -self.count <= key < self.count:
            raise IndexError(f"{self.path} has {self.count} frames; there is no frame {key}")
        return self.read([key % self.count])[0]

    def read(self, indices: Sequence[int]) -> Image:
        """Return the frames with these numbers, 0 to count - 1, (len(indices), H, W, 3)."""
        frames = np.empty((len(indices), self.size[1], self.size[0], 3), np.uint8)
        if len(indices):
            self._fill(frames, indices)
        return frames

    @abc.abstractmethod
    def _fill(self, frames: Image, indices: Sequence[int]) -> None:
        """Read the frames with these numbers into `frames`."""


def write_frames(folder: Path, frames: Iterable[Image], kind: Kind = "jpeg") -> None:
    """Store frames (H, W, 3) uint8 RGB of one size in a clip's folder, as they come."""
    with frame_writer(folder, kind) as write:
        for frame in frames:
            write(frame)


@contextlib.contextmanager
def frame_writer(folder: Path, kind: Kind) -> Iterator[Write]:
    """Yield a function that appends a frame; the file appears when the context ends well."""
    if kind not in FILES:
        raise ValueError(f"frames cannot be stored as {kind!r}; known kinds: {', '.join(FILES)}")
    path = folder / FILES[kind]
    with replacing(path) as temporary, _WRITERS[kind](temporary) as append:
        size: list[tuple[int, ...]] = []

        def write(frame: Image) -> None:
            if not size:
                size.append(frame.shape)
            if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape != size[0]:
                found, wanted = f"{frame.dtype} {frame.shape}", f"uint8 {size[0]}"
                raise ValueError(f"a frame for {path} is {found}, wanted {wanted} (H, W, 3)")
            append(frame)

        yield write
        if not size:
            raise ValueError(f"no frame was written to {path}")


def open_frames(folder: Path) -> FrameStore:
    """Open the stored frames of a clip's folder; whatever kind is there.

    Raises:
        FileNotFoundError: none is there; the message names the command that makes them.
        ValueError: the file is damaged, truncated, or of another version.
    """
    for kind, name in FILES.items():
        if (folder / name).is_file():
            return _STORES[kind](folder / name)
    raise FileNotFoundError(f"{folder} holds no frames ({', '.join(FILES.values())}); {PREPARE}")


class _JpegStore(FrameStore):
    def __init__(self, path: Path) -> None:
        self.packed = Packed(path, JPEGS)
        super().__init__(path, len(self.packed), self.packed.size)

    def _fill(self, frames: Image, indices: Sequence[int]) -> None:
        pieces = self.packed.pieces(indices)
        for frame, index, piece in zip(frames, indices, pieces, strict=True):
            picture = cv2.imdecode(piece, cv2.IMREAD_COLOR_RGB)
            fits = picture is not None and picture.shape == frame.shape
            _check(self.path, fits, f"frame {index} is no JPEG of {self.size}")
            frame[:] = picture


class _RawStore(FrameStore):
    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            try:
                version = npy.read_magic(file)
                _check(path, version == (1, 0), f"its .npy version is {version}, not (1, 0)")
                shape, by_columns, dtype = npy.read_array_header_1_0(file)
            except ValueError as error:
                raise DamagedFileError(f"{path} is damaged: {error}; {PREPARE}") from None
            self.begin = file.tell()
        plain = dtype == np.uint8 and len(shape) == 4 and shape[3] == 3 and not by_columns
        _check(path, plain, f"it holds {dtype} {shape}, wanted uint8 (T, H, W, 3)")
        self.frame_bytes = int(np.prod(shape[1:]))
        wanted, found = self.begin + shape[0] * self.frame_bytes, path.stat().st_size
        _check(path, found == wanted, f"it has {found} bytes, wanted {wanted}")
        super().__init__(path, shape[0], (shape[2], shape[1]))

    def _fill(self, frames: Image, indices: Sequence[int]) -> None:
        with self.path.open("rb", buffering=0) as file:
            if isinstance(indices, range) and indices.step == 1:
                file.seek(self.begin + indices.start * self.frame_bytes)
                _read_into(file, frames)
                return
            for frame, index in zip(frames, indices, strict=True):
                file.seek(self.begin + index * self.frame_bytes)
                _read_into(file, frame)


class _VideoStore(FrameStore):
    def __init__(self, path: Path) -> None:
        info = probe(path)
        super().__init__(path, info.frames, (info.width, info.height))

    def _fill(self, frames: Image, indices: Sequence[int]) -> None:
        wanted = set(indices)
        found: dict[int, Image] = {}
        with open_media(self.path) as media:
            stream = media.track("video")
            begin = int(min(wanted) / FRAME_RATE / float(stream.time_base or 1))
            media.container.seek(begin, stream=stream)  # to the key frame at or before it
            for frame in decoded(media.container, stream, self.path):
                index = round(frame.time * FRAME_RATE)
                if index in wanted:
                    found[index] = frame.to_ndarray(format="rgb24", threads=1)
                if len(found) == len(wanted):
                    break
        _check(self.path, len(found) == len(wanted), f"frames {wanted - set(found)} are missing")
        for frame, index in zip(frames, indices, strict=True):
            frame[:] = found[index]


@contextlib.contextmanager
def _jpeg_writer(path: Path) -> Iterator[Write]:
    with packed_writer(path, JPEGS) as append_piece:

        def append(frame: Image) -> None:
            turned = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
            piece = cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
            append_piece(np.asarray(piece, np.uint8), *frame.shape[:2])

        yield append


@contextlib.contextmanager
def _raw_writer(path: Path) -> Iterator[Write]:
    with npy_writer(path) as append_rows:
        yield lambda frame: append_rows(frame[None])


@contextlib.contextmanager
def _video_writer(path: Path) -> Iterator[Write]:
    with contextlib.ExitStack() as stack:
        writers: list[VideoWriter] = []

        def append(frame: Image) -> None:
            if not writers:
                size = (frame.shape[1], frame.shape[0])
                writers.append(stack.enter_context(VideoWriter(path, size, gop=KEY_FRAME_EVERY)))
            writers[0].write(frame)

        yield append


def _read_into(file: tp.Any, target: Image) -> None:
    view = memoryview(target.data).cast("B")
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])
        if not count:
            raise ValueError(f"{file.name} ended early; {PREPARE}")
        done += count


def _check(path: Path, fine: bool, complaint: str) -> None:
    check(fine, path, complaint, PREPARE)


_WRITERS = {"jpeg": _jpeg_writer, "raw": _raw_writer, "mp4": _video_writer}
_STORES: dict[Kind, Callable[[Path], FrameStore]] = {
    "jpeg": _JpegStore,
    "raw": _RawStore,
    "mp4": _VideoStore,
}
