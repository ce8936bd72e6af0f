"""Damaged and hostile videos and sounds: each refused for the right reason, or read whole.

The right reasons follow from what was done to a file and stand beside it in `files`. Two are
allowed where a cut shows as damaged data in one container and as a missing end in another.
"""

import random
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from affekt.media.audio.reader import read_audio
from affekt.media.video.container import MediaError
from affekt.media.video.video import read_video
from tests.corpora import clapper
from tests.soak.playlists import resized_boxes
from tests.soak.runner import Case, Finding, Part

Change = Callable[[bytes], bytes]
KINDS = {  # ending: encoder of pictures, of sound
    "mp4": ("libx264", "aac"),
    "mov": ("mpeg4", "aac"),
    "mkv": ("libx264", "aac"),
    "webm": ("libvpx", "libopus"),
    "avi": ("mpeg4", "mp3"),
    "ts": ("libx264", "aac"),
    "flv": ("libx264", "aac"),
    "wmv": ("wmv2", "aac"),
}
LOST = ("truncated", "damaged")
# They declare no length that can be relied on: half of one is a shorter film.
HALF = dict.fromkeys(("ts", "flv"), (*LOST, "read"))
TEXTS = {
    "page.mp4": b"<!DOCTYPE html><html><body>404</body></html>" * 20,
    "archive.mp4": b"PK\x03\x04" + bytes(2000),
    "program.mp4": b"\x7fELF\x02\x01\x01" + bytes(2000),
    "text.mkv": b"nothing to see here\n" * 200,
    "document.avi": b"%PDF-1.7\n" + bytes(2000),
    "script.mp4": b"#!/bin/sh\ntouch /tmp/affekt-soak-evil\n",
    "json.mov": b'{"frames": [1, 2, 3]}\n' * 50,
    "zeros.mp4": bytes(100_000),
}


def _cut(share: float, data: bytes) -> bytes:
    return data[: int(share * len(data))]


def _overwritten(data: bytes) -> bytes:
    """A tenth in the middle replaced by noise."""
    noise = random.Random(0).randbytes(len(data) // 10)
    begin = len(data) // 3
    return data[:begin] + noise + data[begin + len(noise) :]


def _swapped(old: bytes, new: bytes, data: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


def _huge(data: bytes) -> bytes:
    """Key frames of VP8 that claim 15000 x 15000 pixels."""
    start, changed = data.index(b"\x9d\x01\x2a"), bytearray(data)
    changed[start + 3 : start + 7] = 2 * (15000).to_bytes(2, "little")
    return bytes(changed)


def _hours(data: bytes) -> bytes:
    """A last frame that lasts for ten hours."""
    table = data.index(b"stts") + 8
    return resized_boxes(data, table, 12, struct.pack(">5I", 2, 74, 640, 1, 36000 * 16000))


def _clip(change: Change, path: Path, **options: object) -> None:
    video, audio = KINDS[path.suffix[1:]]
    clapper.write(path, 3.0, **{"video": video, "audio": audio, **options})
    path.write_bytes(change(path.read_bytes()))


def _same(data: bytes) -> bytes:
    return data


def _wav(change: Change, path: Path) -> None:
    soundfile.write(path, clapper.beeps(2.0, 16000), 16000)
    path.write_bytes(change(path.read_bytes()))


def files() -> Iterator[tuple[str, Callable[[Path], object], tuple[str, ...]]]:
    """Yield name, writer and right reasons; "read" where the file is to be read whole."""
    for end in KINDS:
        yield f"whole.{end}", partial(_clip, _same), ("read",)
        yield f"empty.{end}", Path.touch, ("empty",)
        yield f"half.{end}", partial(_clip, partial(_cut, 0.5)), HALF.get(end, LOST)
        yield f"head.{end}", partial(_clip, partial(_cut, 0.02)), (*LOST, "no_video")
        yield f"overwritten.{end}", partial(_clip, _overwritten), LOST
        noise = random.Random(1).randbytes(5000)
        yield (
            f"noise.{end}",
            partial(lambda data, path: path.write_bytes(data), noise),
            ("damaged",),
        )
    for name, content in TEXTS.items():
        yield name, partial(lambda data, path: path.write_bytes(data), content), ("damaged",)
    unknown = partial(_swapped, b"avc1", b"zzzz")
    yield "unknown_video.mp4", partial(_clip, unknown), ("damaged",)
    silent = partial(_clip, partial(_swapped, b"A_AAC", b"A_ZZZ"))
    yield "unknown_sound.wav.mkv", silent, ("damaged",)
    yield "huge.webm", partial(_clip, _huge), ("damaged",)
    yield "hours.mp4", partial(_clip, _hours, sounds=[]), ("jump",)
    gap = np.concatenate([np.arange(25) / 25, 36000 + np.arange(25) / 25])
    yield "gap.mkv", partial(_clip, _same, sounds=[], stamps=gap), ("jump",)
    yield "mute.wav.mp4", partial(_clip, _same, sounds=[]), ("no_audio",)
    yield "half.wav", partial(_wav, partial(_cut, 0.5)), ("truncated",)
    yield "noise.wav", lambda path: path.write_bytes(random.Random(2).randbytes(3000)), ("damaged",)


def cases(_shared: Path, count: int) -> Iterator[Case]:
    """Every file of `files`; its sound is read where "wav" is in its name, else its pictures."""
    for name, write, reasons in list(files())[:count]:
        yield Case(name, partial(refused, name=name, write=write, reasons=reasons))


def refused(
    folder: Path, name: str, write: Callable[[Path], object], reasons: tuple[str, ...]
) -> Finding:
    """Write a file and read it to its end; find whether the reason is a right one."""
    path = folder / name
    write(path)
    try:
        if "wav" in name:
            read_audio(path)
        else:
            count = sum(1 for _ in read_video(path))
    except MediaError as error:
        named = str(path) in str(error) and "\n" not in str(error)
        return Finding(error.reason in reasons and named, f"{error.reason}: {error}")
    if "wav" in name:
        return Finding("read" in reasons, "read")
    return Finding(
        "read" in reasons and (count in (75, 76) or not name.startswith("whole")),
        f"read, {count} pictures",
    )


PART = Part("media", "the right reason", cases, 64, allowed=2, megabytes=1024)
