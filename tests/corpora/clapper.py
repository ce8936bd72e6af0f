"""A video that counts its frames in binary, with a sound that beeps at every full second."""

from fractions import Fraction

import av
import numpy as np

BITS, BLOCK = 12, 16
RATE = 48000


def picture(number, shape=(4 * BLOCK, BITS * BLOCK)):
    """Return a frame (H, W, 3) that shows a number in binary, the lowest bit at the left."""
    bits = number >> np.arange(BITS) & 1
    row = np.where(bits, 220, 20).astype(np.uint8).repeat(shape[1] // BITS)
    return np.broadcast_to(row[None, :, None], (*shape, 3)).copy()


def number(frame):
    """Return the number that a frame shows."""
    height, width = frame.shape[:2]
    row = frame[height // 2, np.arange(BITS) * width // BITS + width // (2 * BITS), 1]
    return int((row > 120) @ (1 << np.arange(BITS)))


def beeps(seconds, rate=RATE):
    """Return mono sound (samples,) with 40 ms of 1 kHz at 1, 2, 3, ... seconds."""
    t = np.arange(round(seconds * rate)) / rate
    on = (t % 1 < 0.04) & (t >= 0.99)
    return (0.5 * np.sin(2000 * np.pi * t) * on).astype(np.float32)


def onsets(samples, rate=16000):
    """Return the seconds at which a beep begins."""
    loud = np.flatnonzero(np.abs(samples) > 0.1)
    return [round(float(k) / rate, 2) for k in loud[np.diff(loud, prepend=-rate) > rate // 4]]


def write(path, seconds=3.0, sounds=None, video="libx264", audio="aac", stamps=None, hole=None):
    """Write a clapper board.

    Args:
        path: its suffix decides the container.
        seconds: of pictures.
        sounds: (samples,) a track; None: one that beeps; the last of several is the default one.
        video: encoder of the pictures.
        audio: encoder of the sound.
        stamps: seconds of each frame; None: 25 a second.
        hole: (begin, end) in seconds, without any packet of sound.
    """
    sounds = [beeps(seconds)] if sounds is None else sounds
    stamps = np.arange(round(25 * seconds)) / 25 if stamps is None else stamps
    with av.open(str(path), "w") as container:
        pictures = container.add_stream(video, rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = BITS * BLOCK, 4 * BLOCK, "yuv420p"
        pictures.time_base = pictures.codec_context.time_base = Fraction(1, 1000)
        tracks = [container.add_stream(audio, rate=RATE, layout="mono") for _ in sounds]
        for track in tracks[-1:]:
            track.disposition = av.stream.Disposition.default
        for k, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(k), format="rgb24")
            frame.pts, frame.time_base = round(1000 * stamp), Fraction(1, 1000)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        for track, sound in zip(tracks, sounds, strict=True):
            for packet in [*encoded(track, sound), *track.encode(None)]:
                time = float((packet.pts or 0) * packet.time_base)
                if hole is None or not hole[0] <= time < hole[1]:
                    container.mux(packet)
    return path


def encoded(track, sound):
    """Yield the packets of a mono sound (samples,) but for the encoder's last ones."""
    for begin in range(0, len(sound), 960):
        piece = sound[None, begin : begin + 960]
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, begin, Fraction(1, RATE)
        yield from track.encode(frame)
