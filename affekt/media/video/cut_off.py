"""Whether a media file is shorter than its own header declares: a partial copy.

FFmpeg calls a cut MP4 invalid data or stops early, and neither it nor libsndfile says anything of a
cut WAV, AIFF, CAF, AU or WMV: they are read as shorter ones.
"""

import typing as tp
from pathlib import Path

HEADER = 1 << 16  # bytes in which a size is looked for
# Top-level boxes of MP4 and MOV (ISO/IEC 14496-12, QuickTime); others are not checked.
BOXES = (b"ftyp", b"styp", b"free", b"skip", b"wide", b"uuid", b"meta", b"sidx", b"pdin")
MEDIA_BOXES = (b"moov", b"mdat", b"moof", b"mfra")
STREAMED = 0x7FFF_F000  # 32-bit sizes from here on mean that the writer had none yet
STREAMED_64 = 1 << 48  # the same of 64-bit ones, and of text that is no size
SLACK = 8  # bytes that careless writers count too much
# Of WMV and WMA (Advanced Systems Format): the first bytes, and those of the object with the size
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
ASF_BROADCAST = 1  # the flag of a live stream
W64 = b"riff\x2e\x91\xcf\x11"


def is_cut_off(path: Path) -> bool:
    """Return whether a file ends before the size that its header declares, if it declares one."""
    total = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(HEADER)
        if header[4:8] == b"ftyp":
            return _ends_inside_a_box(file, total)
    return total < _declared(header) - SLACK


def _declared(header: bytes) -> int:
    """Return the bytes that a file should have, 0 where it does not say."""

    def number(at: int, length: int, order: tp.Literal["little", "big"]) -> int:
        size = int.from_bytes(header[at : at + length], order)
        return 0 if size >= (STREAMED if length == 4 else STREAMED_64) else at + length + size

    if header.startswith(ASF):
        return _asf_size(header)
    if header[:4] == b"RIFF":  # WAV, AVI
        return number(4, 4, "little")
    if header[:4] == b"RF64" and header[12:16] == b"ds64":
        return number(20, 8, "little") - 20
    if header[:8] == W64:
        return number(16, 8, "little") - 24
    if header[:4] == b"FORM" and header[8:12] in (b"AIFF", b"AIFC"):
        return number(4, 4, "big")
    if header[:4] == b".snd":  # AU: where the samples begin, and their bytes
        return number(8, 4, "big") - 12 + int.from_bytes(header[4:8], "big")
    if header[:4] == b"caff" and b"data" in header:
        return number(header.index(b"data") + 4, 8, "big")
    return 0


def _asf_size(header: bytes) -> int:
    """Return the bytes that an ASF file declares (2.2 and 3.2 of its specification), 0 if none."""
    properties = header[header.find(ASF_PROPERTIES) :][:92] if ASF_PROPERTIES in header else b""
    if len(properties) < 92 or properties[88] & ASF_BROADCAST:
        return 0
    return int.from_bytes(properties[40:48], "little")


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
