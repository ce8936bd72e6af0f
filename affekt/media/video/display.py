"""Decoded video frames as players display them: RGB, upright, square pixels, whole pictures, SDR.

    what                                as
    rotation in the metadata            upright
    pixels that are not square          square, of the height given
    interlaced fields                   whole pictures, by FFmpeg's yadif, at the same rate
    HDR (BT.2100 HLG and PQ)            tone-mapped to SDR
    wide colours (BT.2020)              BT.709

Tone mapping (ours): reference white, 203 cd/m2 (BT.2408-7, table 1), becomes SDR's white; below 0.8
of it nothing changes but the primaries (BT.2087-0), above it an exponential shoulder keeps hue.
"""

import functools
import typing as tp
from collections.abc import Iterator

import cv2
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame

from affekt.arrays import Array, Image

# FFmpeg's numbers (ITU-T H.273, tables 2 to 4)
BT2020, PQ, HLG = 9, 16, 18
TRANSFERS = {PQ: "PQ", HLG: "HLG"}
WHITE = 203.0  # cd/m2
PEAK = 1000.0  # cd/m2: the display that HLG's system gamma of 1.2 is for (BT.2100-2, table 5)
KNEE = 0.8  # of white: where the shoulder begins
GAMMA = 2.4  # of SDR displays (BT.1886)
LUMA = (0.2627, 0.6780, 0.0593)  # of BT.2020
TO_BT709 = np.array(  # from BT.2020, linear light (BT.2087-0, inverse of its M)
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)

Timed = Iterator[tuple[float, float, tp.Any]]  # start and end in seconds, frame


def displayed(frame: tp.Any, stream: tp.Any) -> Image:
    """Return a decoded frame as (H, W, 3) uint8 RGB, in this thread alone.

    By itself PyAV converts each frame with as many threads as there are cores, in every process.
    """
    wide = frame.color_primaries == BT2020 or frame.color_trc in TRANSFERS
    picture: Image = _narrowed(frame) if wide else frame.to_ndarray(format="rgb24", threads=1)
    aspect = stream.sample_aspect_ratio
    if aspect and aspect != 1:
        height, width = picture.shape[:2]
        size = (round(width * float(aspect)), height)
        picture = cv2.resize(picture, size).astype(np.uint8, copy=False)
    quarters = round(frame.rotation / 90) % 4  # counter-clockwise, as numpy counts
    return np.ascontiguousarray(np.rot90(picture, quarters)) if quarters else picture


def deinterlaced(timed: Timed, stream: tp.Any) -> Timed:
    """Pass frames on; from the first interlaced one on, each becomes a whole picture."""
    graph: Graph | None = None
    form: tuple[int, int, str] | None = None  # of the frames that the filter takes
    times: list[tuple[float, float]] = []  # of the frames inside the filter, which holds one back
    for start, end, frame in timed:
        if graph is None and not frame.interlaced_frame:
            yield start, end, frame
            continue
        # Another size or pixel format needs another filter; the old one gives what it holds
        found = frame.width, frame.height, frame.format.name
        if graph is not None and found != form:
            graph.vpush(None)
            yield from _pulled(graph, times)
            graph = None
        graph, form = graph or _yadif(frame, stream), found
        times.append((start, end))
        graph.vpush(frame)
        yield from _pulled(graph, times)
    if graph is not None:
        graph.vpush(None)
        yield from _pulled(graph, times)


def _yadif(frame: VideoFrame, stream: tp.Any) -> Graph:
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(None, frame.width, frame.height, frame.format, time_base=stream.time_base),
        graph.add("yadif", "mode=send_frame:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _pulled(graph: Graph, times: list[tuple[float, float]]) -> Timed:
    while True:
        try:
            frame = graph.vpull()
        except (BlockingIOError, EOFError):  # it wants more, or it is empty
            return
        yield *times.pop(0), frame


def _narrowed(frame: VideoFrame) -> Image:
    """Return a picture of wide colours or high dynamic range as SDR in BT.709's colours."""
    code = int(frame.color_trc)
    signal = frame.to_ndarray(format="rgb48le", threads=1)
    light = _to_light(code)[signal]
    if code == HLG:  # from the scene's light to the display's: BT.2100-2, table 5
        luminance = light @ np.array(LUMA, np.float32)
        light *= np.power(luminance, 0.2)[..., None] * np.float32(PEAK / WHITE)
    light = np.maximum(cv2.transform(light, TO_BT709.astype(np.float32)), 0)
    if code in TRANSFERS:
        brightest = light.max(axis=2)
        light *= (_shoulder(brightest) / np.maximum(brightest, 1e-6))[..., None]
    return np.rint(255 * np.power(light.clip(0, 1), 1 / GAMMA)).astype(np.uint8)


def _shoulder(light: Array) -> Array:
    over = np.maximum(light - KNEE, 0)
    return np.minimum(light, KNEE) + (1 - KNEE) * (1 - np.exp(-over / (1 - KNEE)))


@functools.cache
def _to_light(transfer: int) -> Array:
    """Return linear light of each 16-bit signal: 1 is white, of HLG's scene the largest signal."""
    signal = np.arange(65536) / 65535
    if transfer == PQ:  # BT.2100-2, table 4
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        power = signal ** (1 / m2)
        light = 10000 / WHITE * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    elif transfer == HLG:  # BT.2100-2, table 5
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    else:
        light = signal**GAMMA
    return light.astype(np.float32)
