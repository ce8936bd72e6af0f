"""Open media files and decode their streams; whatever is wrong with a file has a reason code.

PyAV carries FFmpeg, so the content decides how a file is read, never its name.
"""

import errno
import typing as tp
from collections.abc import Iterator
from pathlib import Path

import av
from av.container import InputContainer

Reason = tp.Literal[
    "missing",  # no such file
    "empty",  # 0 bytes
    "truncated",  # shorter than its own headers declare: a partial copy
    "damaged",  # no media file, or data that cannot be decoded
    "no_video",
    "no_audio",
    "silent",  # sound that is zero throughout
    "audio_short",  # sound that ends well before the pictures
    "too_short",
    "no_face",
    "face_vanishes",  # for longer than can be filled in
    "face_jumps",  # a cut, or another face
    "failed",  # none of these: a fault of the program or of a library
]
# Top-level boxes of MP4 and MOV (ISO/IEC 14496-12, QuickTime); others are not checked.
BOXES = (b"ftyp", b"styp", b"free", b"skip", b"wide", b"uuid", b"meta", b"sidx", b"pdin")
MEDIA_BOXES = (b"moov", b"mdat", b"moof", b"mfra")
STREAMED_RIFF = 0x7FFF_F000  # sizes from here on mean that the writer had none yet
RIFF_SLACK = 8  # bytes that careless writers count too much
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


class MediaError(ValueError):
    """A media file cannot be used: `reason` is a short code for lists, the text is for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.reason: Reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


def open_media(path: Path) -> InputContainer:
    """Open a media file for reading; use the result as a context manager.

    Raises:
        MediaError: missing, empty, truncated, damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise MediaError("missing", f"{path} does not exist or is no file")
    if not path.stat().st_size:
        raise MediaError("empty", f"{path} is empty (0 bytes)")
    if _is_cut_off(path):
        raise MediaError("truncated", f"{path} ends before its contents do: a partial copy")
    try:
        return av.open(str(path))
    except av.FFmpegError as error:
        raise MediaError("damaged", f"{path} is no readable media file: {error}") from None


def decoded(container: InputContainer, stream: tp.Any, path: Path) -> Iterator[tp.Any]:
    """Yield the decoded frames of one stream.

    Raises:
        MediaError: damaged.
    """
    try:
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise MediaError("damaged", f"{path} has damaged data near {frame.time} s")
            yield frame
    except av.FFmpegError as error:
        raise MediaError("damaged", f"{path} cannot be decoded to its end: {error}") from None


def start_time(container: InputContainer) -> float:
    """Return the instant of the container's clock, in seconds, that counts as zero."""
    return float((container.start_time or 0) / av.time_base)


def is_disk_error(error: BaseException) -> bool:
    """Return whether an error is the disk's (full, over quota, read-only) and not one file's."""
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def _is_cut_off(path: Path) -> bool:
    """Return whether an MP4, MOV, WAV or AVI file is shorter than its own headers declare.

    FFmpeg calls a cut MP4 invalid data or stops early, and reads a cut WAV without an error.
    """
    with path.open("rb") as file:
        header = file.read(12)
        total = path.stat().st_size
        if header[4:8] == b"ftyp":
            return _ends_inside_a_box(file, total)
        size = int.from_bytes(header[4:8], "little")
        streamed = size >= STREAMED_RIFF
        return header[:4] == b"RIFF" and not streamed and total < size + 8 - RIFF_SLACK


def _ends_inside_a_box(file: tp.BinaryIO, total: int) -> bool:
    """Walk the top-level boxes: a 32-bit size, a name and, where that size is 1, a 64-bit size."""
    position = 0
    while position < total:
        file.seek(position)
        header = file.read(16)
        size, name = int.from_bytes(header[:4], "big"), header[4:8]
        if size == 1:
            size = int.from_bytes(header[8:], "big")
        if name not in BOXES + MEDIA_BOXES or size < 8:  # junk; size 0 means: up to the end
            return False
        position += size
    return position > total
