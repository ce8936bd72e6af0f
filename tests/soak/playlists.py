"""Files that name other files or addresses, under the names of clips: none may be followed.

The folder that they point to is watched by inotify, and a socket listens at the address: a file
that is opened, or a connection, is seen whatever library made it.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image as Pillow

from affekt.media.audio.reader import read_audio
from affekt.media.video.container import MediaError
from affekt.media.video.pictures import is_picture, read_picture
from affekt.media.video.video import probe, read_video
from tests.corpora import clapper
from tests.soak.runner import Case, Finding, Part

IN_ACCESS, IN_OPEN = 0x1, 0x20
HLS = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n"
END = "#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
MPD = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT2S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
    "<Period>"
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="9">{}'
    "</Representation></AdaptationSet></Period></MPD>\n"
)
CPL = (
    '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
    "<Id>urn:uuid:1</Id><SegmentList><Segment><SequenceList/></Segment></SegmentList>"
    "</CompositionPlaylist>\n"
)
# Name and text; SECRET is the folder that is watched, WEB the address at which a socket listens
TEXTS = {
    "hls_relative.m3u8": HLS + END.format("secret/a.ts"),
    "hls_absolute.mp4": HLS + END.format("SECRET/a.ts"),
    "hls_file.mkv": HLS + END.format("file:SECRET/a.ts"),
    "hls_file_slashes.mp4": HLS + END.format("file://SECRET/a.ts"),
    "hls_http.mp4": HLS + END.format("WEB/a.ts"),
    "hls_concat.mp4": HLS + END.format("concat:SECRET/a.ts|SECRET/a.ts"),
    "hls_subfile.mp4": HLS + END.format("subfile,,start,0,end,0,,:SECRET/a.ts"),
    "hls_crypto.mp4": HLS + END.format("crypto:SECRET/a.ts"),
    "hls_data.wav": HLS + END.format("data:video/mp2t;base64,R0AAEA=="),
    "hls_key.m3u8": HLS + '#EXT-X-KEY:METHOD=AES-128,URI="SECRET/a.ts"\n' + END.format("a.ts"),
    "hls_map.m3u8": HLS + '#EXT-X-MAP:URI="SECRET/a.mp4"\n' + END.format("SECRET/a.mp4"),
    "hls_master.mp4": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\nSECRET/inner.m3u8\n",
    "hls_sound.mp4": '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",'
    'URI="SECRET/inner.m3u8"'
    '\n#EXT-X-STREAM-INF:BANDWIDTH=9,AUDIO="a"\nWEB/inner.m3u8\n',
    "hls_mark.mp4": "\ufeff" + HLS + END.format("SECRET/a.ts"),
    "hls_lines.m3u": (HLS + END.format("SECRET/a.ts")).replace("\n", "\r\n"),
    "concat.mp4": "ffconcat version 1.0\nfile secret/a.mp4\n",
    "concat_absolute.wav": "ffconcat version 1.0\nfile 'SECRET/a.mp4'\n",
    "concat_http.mkv": "ffconcat version 1.0\nfile WEB/a.mp4\n",
    "concat_option.txt": "ffconcat version 1.0\nfile secret/a.mp4\noption safe 0\nduration 2\n",
    "dash.mpd": MPD.format("<BaseURL>secret/a.mp4</BaseURL><SegmentBase/>"),
    "dash_absolute.mp4": MPD.format("<BaseURL>file:SECRET/a.mp4</BaseURL><SegmentBase/>"),
    "dash_http.mp4": MPD.format("<BaseURL>WEB/a.mp4</BaseURL><SegmentBase/>"),
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "session2.mp4": "v=0\nm=audio 5004 RTP/AVP 0\nc=IN IP4 127.0.0.1\n",
    "composition.xml": CPL,
    "asx.wmv": '<asx version="3.0"><entry><ref href="WEB/a.mp4"/></entry></asx>\n',
    "vobsub.mp4": "# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n"
    "timestamp: 00:00:00:000, filepos: 000000000\n",
    "drawing.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
    '<image href="SECRET/001.png" width="9" height="9"/></svg>\n',
}


def _numbered(folder: Path, name: str) -> None:
    """A picture under a name that FFmpeg takes for a row of pictures."""
    Pillow.new("RGB", (64, 64)).save(folder / "picture.png")
    (folder / "picture.png").rename(folder / name)


def _referring(folder: Path, name: str, entry: bytes) -> None:
    """A film whose samples lie in another file: its data references (ISO/IEC 14496-12, 8.7.2)."""
    own = struct.pack(">I4sI", 12, b"url ", 1)  # the samples are in this file
    data = clapper.write(folder / name, 1.0).read_bytes()
    while (at := data.rfind(own)) >= 0:
        data = resized_boxes(data, at, len(own), entry)
    (folder / name).write_bytes(data)


def _url(place: bytes) -> bytes:
    return struct.pack(">I4sI", 12 + len(place), b"url ", 0) + place


def _alias(path: str) -> bytes:
    """QuickTime's reference by a Macintosh alias that holds an absolute path."""
    text = path.replace("/", ":").encode()
    text += bytes(len(text) % 2)
    record = bytes(10 + 1 + 27 + 12 + 1 + 63 + 16) + struct.pack(">HH", 0, 0) + bytes(16)
    record += struct.pack(">HH", 2, len(text)) + text + struct.pack(">hH", -1, 0)
    return struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record


def resized_boxes(data: bytes, at: int, length: int, entry: bytes) -> bytes:
    """Replace bytes; correct the sizes of the boxes that hold them."""
    grown = bytearray(data[:at] + entry + data[at + length :])
    begin, end = 0, len(data)
    while begin < at:
        size, name = struct.unpack_from(">I4s", data, begin)
        assert size >= 8, name
        if begin + size <= at:  # a box before it
            begin += size
            continue
        struct.pack_into(">I", grown, begin, size + len(entry) - length)
        end = begin + size
        begin += {b"dref": 16, b"stts": 12}.get(name, 8)  # to what it holds
    assert at < end
    return bytes(grown)


def _linked(folder: Path) -> None:
    """A Matroska file that says it goes on in another one (NextFilename, NextUID)."""
    data = clapper.write(folder / "linked.mkv", 1.0).read_bytes()
    muxer = data.index(b"\x4d\x80")  # MuxingApp: its place is as long as what replaces it
    length = data[muxer + 2] & 0x7F
    name = b"secret/a.mkv".ljust(length, b"\0")[:length]
    data = (
        data[:muxer] + b"\x3e\x83" + data[muxer + 2 : muxer + 3] + name + data[muxer + 3 + length :]
    )
    (folder / "linked.mkv").write_bytes(data)


FILES: dict[str, Callable[[Path], None]] = {
    "%03d.png": lambda folder: _numbered(folder / "secret", "%03d.png"),
    "*.png": lambda folder: _numbered(folder / "secret", "*.png"),
    "referring.mp4": lambda folder: _referring(folder, "referring.mp4", _url(b"secret/a.mp4\0")),
    "alias.mov": lambda folder: _referring(
        folder, "alias.mov", _alias(str(folder / "secret" / "a.mp4"))
    ),
    "linked.mkv": _linked,
}


def cases(_shared: Path, count: int) -> Iterator[Case]:
    """Every file of TEXTS and FILES, read in every way in which media are read."""
    for name in [*TEXTS, *FILES][:count]:
        yield Case(name, lambda folder, name=name: follows(folder, name))


def follows(folder: Path, name: str) -> Finding:
    """Write what a playlist points to and the playlist; find whether reading it follows it."""
    secret = folder / "secret"
    secret.mkdir(exist_ok=True)
    clapper.write(secret / "a.ts", 1.0)
    clapper.write(secret / "a.mp4", 1.0)
    (secret / "inner.m3u8").write_text(HLS + END.format("a.ts"))
    for number in range(3):
        _numbered(secret, f"{number:03d}.png")
    with socket.create_server(("127.0.0.1", 0)) as server:
        path = folder / name
        web = f"http://127.0.0.1:{server.getsockname()[1]}"
        if name in TEXTS:
            path.write_text(TEXTS[name].replace("SECRET", str(secret)).replace("WEB", web))
        else:
            FILES[name](folder)
            path = next(folder.rglob(name.replace("*", "[*]")))
        watch = watch_folder(secret)
        said = _read(path)
        opened = {each for each in opened_files(watch) if each != path.name}
        server.setblocking(False)
        try:
            server.accept()
            opened.add("the network")
        except BlockingIOError:
            pass
    several = [text for text in said if "\n" in text]
    text = f"opened {', '.join(sorted(opened))}" if opened else said[0]
    return Finding(not opened and not several, text)


def _read(path: Path) -> list[str]:
    """Read a file in every way; return what was said."""
    ways: list[Callable[[Path], object]] = [
        lambda path: list(read_video(path)),
        probe,
        read_audio,
        is_picture,
        read_picture,
    ]
    said = []
    for way in ways:
        try:
            said.append(f"read: {type(way(path)).__name__}")
        except MediaError as error:
            said.append(f"{error.reason}: {error}")
    return said


def watch_folder(folder: Path) -> int:
    """Return an inotify descriptor of a folder's files."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    if watch < 0 or libc.inotify_add_watch(watch, os.fsencode(folder), IN_OPEN | IN_ACCESS) < 0:
        raise OSError(ctypes.get_errno(), "inotify does not watch", str(folder))
    return int(watch)


def opened_files(watch: int) -> set[str]:
    """Return the names of files that were opened since the last call."""
    found = set()
    try:
        while data := os.read(watch, 1 << 16):
            while data:
                length = struct.unpack_from("iIII", data)[3]
                found.add(os.fsdecode(data[16 : 16 + length].rstrip(b"\0")))
                data = data[16 + length :]
    except BlockingIOError:
        pass
    return found - {""}


PART = Part("playlists", "no other file and no socket is opened", cases, len(TEXTS) + len(FILES))
