"""A face drawn with ellipses that detectors find, and videos of it, for tests."""

import dataclasses

import cv2
import numpy as np

from affekt.media.faces.track import FramesConfig
from affekt.media.video.video import write_video
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.prepare import Config


def draw_face(size=256, center=(0.5, 0.5), height=0.62, mouth=0.3, background=(70, 90, 110)):
    """Return (size, size, 3) uint8 RGB: a frontal face, `height` of the picture high.

    center: of the face, in shares of the picture; mouth: 0 closed to 1 wide open.
    """
    scale = 4  # drawn larger and averaged, so that edges are smooth
    side = size * scale
    picture = np.full((side, side, 3), background, np.uint8)
    x0, y0 = center[0] * side, center[1] * side
    unit = height * side / 2  # half the height of the face

    def at(x, y):
        return round(x0 + x * unit), round(y0 + y * unit)

    def ellipse(x, y, width, tall, color, angle=0, start=0, end=360, line=-1):
        axes = (max(1, round(width * unit)), max(1, round(tall * unit)))
        cv2.ellipse(picture, at(x, y), axes, angle, start, end, color, line, cv2.LINE_AA)

    skin, shade, hair, lip = (222, 176, 148), (190, 140, 115), (60, 40, 30), (170, 75, 75)
    cv2.rectangle(picture, at(-0.35, 0.6), at(0.35, 1.7), shade, -1)  # neck
    ellipse(0, -0.15, 0.86, 1.0, hair)
    ellipse(0, 0, 0.74, 1.0, skin)
    ellipse(0, -0.82, 0.6, 0.28, hair)
    for side_of in (-1, 1):
        ellipse(0.3 * side_of, -0.12, 0.15, 0.075, (250, 250, 250))
        ellipse(0.3 * side_of, -0.12, 0.065, 0.07, (50, 35, 25))
        ellipse(0.3 * side_of, -0.12, 0.15, 0.085, shade, line=max(1, round(0.02 * unit)))
        ellipse(0.3 * side_of, -0.3, 0.2, 0.05, hair, 0, 180, 360, round(0.05 * unit))
    ellipse(0, 0.08, 0.05, 0.25, (205, 160, 132))
    ellipse(0, 0.27, 0.14, 0.08, shade)
    ellipse(0, 0.27, 0.12, 0.07, (215, 165, 138))
    ellipse(0, 0.55, 0.27, 0.08 + 0.1 * mouth, lip)
    ellipse(0, 0.55, 0.2, 0.012 + 0.1 * mouth, (70, 20, 25))
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def talking(frames, size=256, **face):
    """Return pictures whose mouth opens and closes four times a second."""
    opening = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * np.arange(frames) / 25)
    return [draw_face(size, mouth=float(value), **face) for value in opening]


def tone(frames):
    """Return a sound as long as the frames, (640 frames,) float32, never silent."""
    return (0.3 * np.sin(2 * np.pi * 220 * (np.arange(640 * frames) / 16_000))).astype(np.float32)


def talking_clip(path, frames=12, size=256, sound=True, **face):
    """Write a talking face as an .mp4 of 25 fps, with sound unless told otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, talking(frames, size, **face), tone(frames) if sound else None)
    return path


def folder_config(root, out, **changes):
    """Return how a folder of clips named speaker_emotion_number is prepared in this process."""
    corpus = CorpusConfig(
        "folder", root, pattern=r"(?P<speaker>[a-z]+)_(?P<emotion>[a-z]+)_(?P<number>\w+)"
    )
    config = Config(corpus, frames=FramesConfig(size=64), out=out, workers=0, progress=False)
    return dataclasses.replace(config, **changes)
