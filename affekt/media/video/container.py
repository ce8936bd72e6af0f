"""Open media files and decode their streams; whatever is wrong with a file has a reason code.

PyAV carries FFmpeg, so the content decides how a file is read, never its name.
"""

import contextlib
import math
import re
import typing as tp
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition

from affekt.media.constants import FRAME_RATE
from affekt.media.video.cut_off import is_cut_off

Reason = tp.Literal[
    "missing",  # no such file
    "empty",  # 0 bytes
    "truncated",  # shorter than its own headers declare: a partial copy
    "damaged",  # no media file, or data that cannot be decoded
    "jump",  # time stamps that leave a hole of more than JUMP_AHEAD
    "no_video",
    "no_audio",
    "silent",  # sound that is zero throughout
    "audio_short",  # sound that ends well before the pictures
    "too_short",
    "no_face",
    "face_vanishes",  # for longer than can be filled in
    "face_jumps",  # a cut, or another face
    "too_long",  # longer than `limited_length` allows
    "timeout",  # it took longer to read than a clip may take
    "failed",  # none of these: a fault of the program or of a library
]
# FFmpeg's names of what is read. None of them opens a second file: playlists, numbered pictures and
# descriptions of streams do. A format that is not listed is refused before its reader starts.
FORMATS = (
    *("mov", "matroska", "avi", "flv", "live_flv", "asf", "mpegts", "mpeg", "mpegvideo", "ogg"),
    *("mxf", "mxf_opatom", "gxf", "dv", "rm", "nut", "wtv", "ivf", "yuv4mpegpipe", "gif", "apng"),
    *("h264", "hevc", "m4v", "mjpeg", "av1", "obu", "vc1", "h263"),
    *("wav", "w64", "flac", "mp3", "aac", "loas", "aiff", "caf", "ac3", "eac3", "dts", "truehd"),
    *("amr", "amrnb", "amrwb", "ape", "au", "mpc", "mpc8", "nistsphere", "tak", "tta", "voc", "wv"),
)
MAX_PIXELS = 50_000_000  # of a frame: 8K has 33 million; a header of a few bytes may claim 2e9
DECODER_OPTIONS = {"max_pixels": str(MAX_PIXELS)}
OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS), **DECODER_OPTIONS}
# Decoders that paint over what is damaged unless they are told to stop. Broadcast streams go on.
STRICT = ("h264", "hevc")
TRUNCATED_BY = 0.5  # seconds that may be missing from a stream's declared length
JUMP_BACK = 0.5  # seconds: more than decoders reorder, less than any file worth joining
JUMP_AHEAD = 10.0  # seconds: longer than any pause in front of a camera


_longest = ContextVar("longest", default=math.inf)  # seconds that media may last


class MediaError(ValueError):
    """A media file cannot be used: `reason` is a short code for lists, the text is for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.reason: Reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass
class Media:
    """An opened media file; a context manager.

    The one place where tracks are chosen and time is put in order, for pictures and sound alike:

        question                  rule
        which track               the one marked as default, as players take it, else the first;
                                  never a cover picture
        time zero                 the file's own start, the earliest of its tracks
        a frame without a stamp   follows the frame before it
        stamps jump back          by more than 0.5 s: files were joined, and what follows continues
                                  where the first part ended, pictures and sound by the same shift;
                                  by less, the order of frames counts
        stamps jump ahead         by more than 10 s: a joined .ts or .mpg continues, another file is
                                  refused, with the place
        length                    what the track declares, else what is decoded (that of the file is
                                  often another track's); at most what `limited_length` allows
        protocols                 local files alone; a colon in a name has no meaning
        formats                   those of FORMATS, whatever the file is called
    """

    path: Path
    container: InputContainer
    longest: float = field(default_factory=lambda: _longest.get())  # seconds

    def __enter__(self) -> tp.Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    @property
    def zero(self) -> float:
        """The instant of the container's clock, in seconds, that counts as zero."""
        return float((self.container.start_time or 0) / av.time_base)

    def track(self, kind: tp.Literal["video", "audio"]) -> tp.Any:
        """Return the stream of pictures or sound that players take, None where there is none.

        Raises:
            MediaError: damaged (its codec is unknown, or its frames are larger than MAX_PIXELS),
                too_long.
        """
        streams = [
            stream
            for stream in self.container.streams
            if stream.type == kind and not stream.disposition & Disposition.attached_pic
        ]
        if not streams:
            return None
        stream = next((s for s in streams if s.disposition & Disposition.default), streams[0])
        if stream.codec_context is None:
            raise MediaError("damaged", f"{self.path}: no decoder knows how its {kind} is coded")
        width, height = (getattr(stream.codec_context, side, 0) for side in ("width", "height"))
        if width * height > MAX_PIXELS:
            text = f"{self.path}: frames of {width} x {height}, more than {MAX_PIXELS} pixels"
            raise MediaError("damaged", text)
        stream.codec_context.options = dict(DECODER_OPTIONS)
        if stream.codec_context.name in STRICT and not self._joins:
            stream.codec_context.options |= {"err_detect": "explode"}
        stream.codec_context.thread_count = 1  # clips are decoded side by side, by processes
        self._check_length(self.end(stream) or 0.0)
        return stream

    def end(self, stream: tp.Any) -> float | None:
        """Return when a stream ends by its own declaration, in seconds from zero."""
        if self._joins or self.container.format.name == "asf":  # which declares the file's alone
            return None
        tag = re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", stream.metadata.get("DURATION", ""))
        if tag:  # Matroska's way, by the file's clock
            return 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3]) - self.zero
        if not stream.duration:
            return None
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base) - self.zero

    def check_end(self, stream: tp.Any, end: float) -> None:
        """Refuse a stream whose last frame ends well before the stream does by its declaration.

        Raises:
            MediaError: truncated.
        """
        declared = self.end(stream)
        if declared is not None and end < declared - TRUNCATED_BY:
            text = f"stops at {end:.2f} s, though it declares {declared:.2f} s"
            raise MediaError("truncated", f"{self.path} {text}")

    def timed(self, stream: tp.Any) -> Iterator[tuple[float, float, tp.Any]]:
        """Yield (start, end, frame) of one stream, decoded, in seconds from zero.

        Raises:
            MediaError: damaged, jump, too_long.
        """
        end = shift = 0.0
        last: float | None = None  # the start of the frame before
        joints = iter(self._joints)
        for frame in decoded(self.container, stream, self.path):
            start = end if frame.time is None else frame.time - self.zero + shift
            # Some files give a frame the hole after it as its length, others the one before
            reach = 0.0 if last is None else last + min(end - last, JUMP_AHEAD)
            ahead = start > reach + JUMP_AHEAD
            if ahead and not self._joins:
                text = f"{self.path}: nothing from {reach:.2f} s to {start:.2f} s; cut it there"
                raise MediaError("jump", text)
            if last is not None and (ahead or start < last - JUMP_BACK):
                joined = next(joints, shift + end - start)
                start, shift = start + joined - shift, joined
            lasts = _lasts(frame, stream)
            self._check_length(start, lasts)
            last, end = start, start + lasts
            yield start, end, frame

    def _check_length(self, seconds: float, of_one: float = 0.0) -> None:
        """Refuse a frame that lasts as long as no pause may, and media beyond the limit."""
        if of_one > JUMP_AHEAD and not self._joins:
            text = f"one frame, at {seconds:.2f} s, lasts {of_one:.0f} s; cut it there"
            raise MediaError("jump", f"{self.path}: {text}")
        if seconds > self.longest:
            limit = f"the limit is {self.longest / 60:g} (clip_minutes)"
            text = f"{self.path} lasts {seconds / 60:.1f} minutes or more; {limit}"
            raise MediaError("too_long", text)

    @cached_property
    def _joints(self) -> list[float]:
        """Return the shift of what follows each joint, in seconds, the same for both tracks.

        A part begins where the longer track of the one before ends, so that sound and pictures
        stay in step over any number of joints. Packets are read, not decoded.
        """
        if not self._joins:
            return []
        tracks = [track for kind in ("video", "audio") if (track := self.track(kind)) is not None]
        parts: dict[int, list[list[float]]] = {track.index: [] for track in tracks}  # start, end
        clock: dict[int, float] = {}
        with av.open(f"file:{self.path}", options=OPTIONS) as container:
            for packet in container.demux([container.streams[index] for index in parts]):
                if packet.dts is None or packet.pts is None:
                    continue
                base, own = float(packet.time_base), parts[packet.stream.index]
                start, stamp = packet.pts * base - self.zero, packet.dts * base
                last = clock.get(packet.stream.index, stamp)
                if not own or not last - JUMP_BACK <= stamp <= last + JUMP_AHEAD:
                    own.append([start, start])
                own[-1][0] = min(own[-1][0], start)
                own[-1][1] = max(own[-1][1], start + (packet.duration or 0) * base)
                clock[packet.stream.index] = stamp
        shifts = [0.0]
        for before, after in pairwise(zip(*parts.values(), strict=False)):
            shifts.append(shifts[-1] + max(e for _, e in before) - min(s for s, _ in after))
        return shifts[1:]

    @property
    def _joins(self) -> bool:
        """Whether the format may be joined from parts, each with a clock of its own."""
        return self.container.format.name in ("mpegts", "mpeg")


@contextlib.contextmanager
def limited_length(minutes: float) -> Iterator[None]:
    """Refuse longer media opened inside the `with`: by what they declare, then by what is decoded.

    A few bytes can declare hours of silence or of one picture, which readers would make in full.
    """
    before = _longest.set(60 * minutes)
    try:
        yield
    finally:
        _longest.reset(before)


def open_media(path: Path) -> Media:
    """Open a media file for reading.

    Raises:
        MediaError: missing, empty, truncated, damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise MediaError("missing", f"{path} does not exist or is no file")
    if not path.stat().st_size:
        raise MediaError("empty", f"{path} is empty (0 bytes)")
    if is_cut_off(path):
        raise MediaError("truncated", f"{path} ends before its contents do: a partial copy")
    try:
        container = av.open(f"file:{path}", options=OPTIONS)
    except av.ArgumentError:  # FFmpeg's answer to a format that is not listed
        text = (
            f"{path} is a playlist, a picture or of another kind that is not read as video or sound"
        )
        raise MediaError("damaged", text) from None
    except av.FFmpegError as error:
        raise MediaError("damaged", f"{path} is no readable media file: {error}") from None
    return Media(path, container)


def decoded(container: InputContainer, stream: tp.Any, path: Path) -> Iterator[tp.Any]:
    """Yield the decoded frames of one stream.

    H.264 and HEVC that cannot be decoded before the first frame is left out: a film that was cut
    without encoding it anew may begin with pictures that need the ones before the cut.

    Raises:
        MediaError: damaged.
    """
    begun, first_error = False, None
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError as error:
                if begun or stream.codec_context.name not in STRICT:
                    raise
                first_error = first_error or error
                continue
            for frame in frames:
                if frame.is_corrupt:
                    raise MediaError("damaged", f"{path} has damaged data near {frame.time} s")
                begun = True
                yield frame
        if first_error is not None and not begun:
            raise first_error
    except av.ArgumentError as error:  # FFmpeg's answer to what its options forbid
        text = f"{path} cannot be decoded: {error} (are its frames more than 50 million pixels?)"
        raise MediaError("damaged", text) from None
    except av.FFmpegError as error:
        raise MediaError("damaged", f"{path} cannot be decoded to its end: {error}") from None


def _lasts(frame: tp.Any, stream: tp.Any) -> float:
    """Return the seconds of a frame: by its samples, its own length or the stream's usual rate."""
    if isinstance(frame, av.AudioFrame):
        return frame.samples / frame.sample_rate
    if frame.duration:
        return float(frame.duration * frame.time_base)
    return 1 / float(stream.average_rate or stream.guessed_rate or FRAME_RATE)
