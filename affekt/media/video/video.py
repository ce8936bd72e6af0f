"""Video files: any container and frame rate in, constant 25 fps out; H.264 with sound in step.

Time. Which track is read, and where its zero lies, is settled in container.py, for pictures and
sound alike, so that a late start of one of them stays a delay. Picture k of the constant-rate video
is the source frame whose time stamp is nearest to k / 25 s, the earlier of two equally near. (The
last frame at or before that instant would lag by half a source frame on average, 17 ms at 30 fps: a
lip-sync measure detects that.) n seconds give round(25 n) pictures; a file at 25 fps gives each of
its frames once. Decoding is a stream: memory does not grow with the length.

Pictures are RGB, uint8, as players display them (display.py), of the size of the first.
"""

import ctypes
import logging
import sys
import typing as tp
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from affekt.arrays import Array, Image
from affekt.media.constants import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME
from affekt.media.video.container import Media, open_media
from affekt.media.video.container import MediaError as MediaError
from affekt.media.video.display import TRANSFERS, deinterlaced, displayed
from affekt.runtime.files import replacing

log = logging.getLogger(__name__)


# glibc's numbers (malloc.h) and our limits: pictures of up to 16 MB come from memory that is kept
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT, PICTURE = 64 << 20, 16 << 20  # bytes
CRF = 18  # H.264's constant rate factor for written videos: visually lossless
# What FFmpeg's RGB conversion uses where a file declares nothing. Written files declare it.
BT601 = 5  # AVCOL_SPC_BT470BG
LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG: luma from 16 to 235


@dataclass(frozen=True)
class VideoInfo:
    """What a video file declares of itself; MPEG streams without an index only estimate it."""

    width: int  # pixels, as shown: upright and square
    height: int
    fps: float  # of the source, frames per second; the mean where it varies
    frames: int  # pictures at 25 fps
    seconds: float
    has_audio: bool


def probe(path: Path) -> VideoInfo:
    """Return what a file declares; of one that declares no length, all frames are decoded.

    Raises:
        MediaError: missing, empty, truncated, damaged, no_video.
    """
    with open_media(path) as media:
        stream = _video_stream(media)
        first = next(media.timed(stream), None)
        if first is None:
            raise MediaError("no_video", f"{path} has a video stream without a single frame")
        height, width = displayed(first[2], stream).shape[:2]
        seconds = media.end(stream)
        fps = float(stream.average_rate or stream.guessed_rate or FRAME_RATE)
        has_audio = media.track("audio") is not None
    if seconds is None:  # opened anew: not every file can be wound back
        with open_media(path) as media:
            seconds = max(end for _, end, _ in media.timed(media.track("video")))
    frames = max(1, round(seconds * FRAME_RATE))
    return VideoInfo(width, height, fps, frames, seconds, has_audio)


def read_video(path: Path) -> Iterator[Image]:
    """Yield the pictures of a video at constant 25 fps, (H, W, 3), one at a time.

    Raises:
        MediaError: missing, empty, truncated, damaged, no_video; as soon as it is met.
    """
    with open_media(path) as media:
        stream = _video_stream(media)
        size: tuple[int, int] | None = None
        for picture in _constant_rate(_timed(media, stream), stream):
            size = size or (picture.shape[1], picture.shape[0])
            same = size == (picture.shape[1], picture.shape[0])
            yield picture if same else cv2.resize(picture, size).astype(np.uint8, copy=False)


def keep_buffers() -> None:
    """Let this process keep some memory of freed pictures, where the C library is glibc.

    Else the memory of each 1080p picture goes back to the system and is cleared anew: 1.3 ms of 11.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, PICTURE)
        library.mallopt(M_TRIM_THRESHOLD, KEPT)


def read_frames(path: Path) -> Image:
    """Return all pictures of a short video at 25 fps, (T, H, W, 3) uint8 RGB."""
    return np.stack(list(read_video(path)))


class VideoWriter:
    """H.264, yuv420p, 25 fps, fast start, with AAC sound; the file appears whole or not at all.

    A context manager: whatever is raised inside it, a full disk included, leaves no part of a file
    and keeps an older one. The sound is cut, or padded with zeros, to the length of the pictures.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        audio: Array | None = None,
        crf: int = CRF,
        gop: int | None = None,
    ) -> None:
        """Describe the file; entering the context opens it.

        Args:
            path: of an .mp4 file.
            size: width and height in pixels, both even, since yuv420p halves them.
            audio: (samples,) float in [-1, 1] at 16 kHz; None for no sound.
            crf: H.264's quality; lower is better.
            gop: frames from one key frame to the next; None: the encoder's default, 250.
        """
        if min(size) < 2 or size[0] % 2 or size[1] % 2:
            even = " x ".join(str(max(2, side + side % 2)) for side in size)
            raise ValueError(
                f"{path}: H.264 in yuv420p needs even sizes, not {size[0]} x {size[1]}; "
                f"scale or pad the frames to {even}"
            )
        self.path, self.size = Path(path), size
        self.audio = None if audio is None else _checked_sound(audio, self.path)
        self.crf, self.gop = crf, gop
        self.count = 0  # pictures written

    def __enter__(self) -> tp.Self:
        self._place = replacing(self.path)
        self._temporary = self._place.__enter__()
        self._container = av.open(
            f"file:{self._temporary}", "w", format="mp4", options={"movflags": "faststart"}
        )
        options = {
            "crf": str(self.crf),
            "g": str(self.gop or 250),
            "x264-params": "mbtree=0",  # with it, equal pictures of 96 px gave two different files
        }
        self._video = self._container.add_stream("libx264", rate=FRAME_RATE, options=options)
        self._video.width, self._video.height = self.size
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.colorspace = BT601
        self._video.codec_context.color_range = LIMITED_RANGE
        self._sound = None
        if self.audio is not None:
            self._sound = self._container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        return self

    def write(self, frame: Image) -> None:
        """Append one picture, (H, W, 3) uint8 RGB, of the size given."""
        wanted = (self.size[1], self.size[0], 3)
        if frame.shape != wanted or frame.dtype != np.uint8:
            raise ValueError(
                f"{self.path}: frame {self.count} is {frame.dtype} {frame.shape}, "
                f"wanted uint8 {wanted}"
            )
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = rgb.reformat(
            format="yuv420p", dst_colorspace=BT601, dst_color_range=LIMITED_RANGE
        )
        picture.pts, picture.time_base = self.count, Fraction(1, FRAME_RATE)
        self._container.mux(self._video.encode(picture))
        if self._sound is not None:
            self._container.mux(self._sound.encode(self._sound_of(self.count)))
        self.count += 1

    def __exit__(self, kind: tp.Any, error: BaseException | None, trace: tp.Any) -> None:
        try:
            if error is None:
                self._finish()
        except BaseException as failure:
            error = failure
            raise
        finally:
            self._close(quiet=error is not None)
            self._place.__exit__(type(error) if error else None, error, trace)

    def _finish(self) -> None:
        if not self.count:
            raise ValueError(f"{self.path}: no frame was written")
        self._container.mux(self._video.encode(None))
        if self._sound is not None:
            self._container.mux(self._sound.encode(None))
        self._container.close()

    def _sound_of(self, index: int) -> tp.Any:
        piece = np.zeros((1, SAMPLES_PER_FRAME), np.float32)
        assert self.audio is not None
        given = self.audio[index * SAMPLES_PER_FRAME :][:SAMPLES_PER_FRAME]
        piece[0, : len(given)] = given
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, index * SAMPLES_PER_FRAME
        frame.time_base = Fraction(1, SAMPLE_RATE)
        return frame

    def _close(self, quiet: bool) -> None:
        try:
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            if not quiet:
                raise
            log.debug("closing the unfinished %s: %s", self.path, error)


def write_video(path: Path, frames: Iterable[Image], audio: Array | None = None) -> None:
    """Write pictures (H, W, 3) uint8 RGB at 25 fps, with sound (samples,) at 16 kHz if given."""
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"{path}: there is no frame to write")
    with VideoWriter(path, (first.shape[1], first.shape[0]), audio) as writer:
        writer.write(first)
        for picture in pictures:
            writer.write(picture)


def _video_stream(media: Media) -> tp.Any:
    stream = media.track("video")
    if stream is None:
        raise MediaError("no_video", f"{media.path} holds no video stream")
    transfer = TRANSFERS.get(int(stream.codec_context.color_trc))
    if transfer:
        log.warning("%s is HDR video (%s); it is tone-mapped to SDR", media.path, transfer)
    return stream


def _timed(media: Media, stream: tp.Any) -> Iterator[tuple[float, float, tp.Any]]:
    """Yield (start, end, frame), in seconds from zero, in rising order.

    Raises:
        MediaError: no_video (not a single frame), damaged, jump, truncated.
    """
    start = end = 0.0
    found = False
    for stamp, end, frame in deinterlaced(media.timed(stream), stream):
        start, found = max(start, stamp), True  # a stamp that runs backwards: the order counts
        yield start, end, frame
    if not found:
        raise MediaError("no_video", f"{media.path} has a video stream without a single frame")
    media.check_end(stream, end)


def _constant_rate(timed: Iterable[tuple[float, float, tp.Any]], stream: tp.Any) -> Iterator[Image]:
    """Yield the frame nearest to each 40 ms instant; only frames that are shown are converted."""
    count = 0
    held: tp.Any = None
    held_start = end = 0.0
    picture: Image | None = None
    for start, end, frame in timed:  # noqa: B007 - the last `end` is the length of the video
        while held is not None and 2 * count / FRAME_RATE <= held_start + start:
            picture = displayed(held, stream) if picture is None else picture
            yield picture
            count += 1
        held, held_start, picture = frame, start, None
    for _ in range(count, max(1, round(end * FRAME_RATE))):
        picture = displayed(held, stream) if picture is None else picture
        yield picture


def _checked_sound(audio: Array, path: Path) -> Array:
    sound = np.asarray(audio, np.float32)
    if sound.ndim != 1 or not np.isfinite(sound).all():
        raise ValueError(
            f"{path}: the sound has shape {sound.shape}; wanted finite mono samples (N,)"
        )
    return np.clip(sound, -1, 1)
