"""Augmentation of the emotion source, in the EAMM release's order.

The paper's supplement (B.2) names the hidden mouth alone; the steps and their strengths are those
of the release. So that the emotion feature depends on neither speech nor pose nor face shape, the
mouth is hidden under noise, the head is turned, sheared and mirrored; targets come from the frames
as they were.

    1 mouth        a rectangle of fresh uniform noise, frame by frame
    2 flip         left to right, the whole clip or not at all
    3 rotation     one angle for the clip, about the centre, black where nothing was
    4 perspective  random for each frame, the border repeated
    5 jitter       brightness, contrast, saturation, hue: the same for the clip, in random order

All random numbers come from the generator given, so that (seed, index) decides. Lengths are those
of the release's 256 px frames and scale with the picture.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from affekt.arrays import Array, Image
from eamm.fomm.data import JitterConfig, jittered, sample_jitter

FRAME_SIZE = 256  # pixels of a side; what the lengths below are measured in
MOUTH = (85, 160, 185, 220)  # left, top, right, bottom of the noise; EAMM release
KEYSTONE = (20, 29)  # pixels by which the square's lower corners move, at least and at most
ENLARGED = (20, 39)  # pixels by which that square is larger than the picture, or smaller


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly each step works; the defaults are the release's."""

    mouth: bool = True  # hide the mouth under noise
    flip: float = 0.5  # probability
    rotation: float = 30.0  # degrees to either side, at most
    perspective: float = 1.0  # share of the release's corner shifts; 0 leaves the step out
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # see `colour_jitter`

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is {self.flip}, wanted a probability from 0 to 1")
        if self.rotation < 0 or self.perspective < 0 or min(self.jitter) < 0:
            raise ValueError("rotation, perspective and jitter are strengths: wanted 0 or more")
        if self.jitter[3] > 0.5:
            raise ValueError(f"the strength of hue is {self.jitter[3]}, wanted 0.5 at most")


NOTHING = AugmentConfig(mouth=False, flip=0.0, rotation=0.0, perspective=0.0)
MOUTH_ONLY = AugmentConfig(mouth=True, flip=0.0, rotation=0.0, perspective=0.0)


def augment(frames: Image, config: AugmentConfig, rng: np.random.Generator) -> Image:
    """Return a clip's frames (T, H, W, 3) RGB, augmented; the frames given are left as they are."""
    out = mask_mouth(frames, rng) if config.mouth else frames
    if config.flip and rng.random() < config.flip:
        out = np.ascontiguousarray(out[:, :, ::-1])
    if config.rotation:
        out = rotate(out, float(rng.uniform(-config.rotation, config.rotation)))
    if config.perspective:
        out = np.stack([_sheared(frame, config.perspective, rng) for frame in out])
    return colour_jitter(out, config.jitter, rng)


def mouth_box(size: int) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the mouth's rectangle in a square of `size` pixels."""
    left, top, right, bottom = (round(length * size / FRAME_SIZE) for length in MOUTH)
    return left, top, right, bottom


def mask_mouth(frames: Image, rng: np.random.Generator) -> Image:
    """Return frames (T, H, W, 3) with the mouth's rectangle under uniform noise, new each frame."""
    left, top, right, bottom = mouth_box(frames.shape[2])
    masked = frames.copy()
    hidden = masked[:, top:bottom, left:right]
    hidden[...] = rng.integers(0, 256, hidden.shape, dtype=np.uint8)
    return masked


def rotate(frames: Image, degrees: float) -> Image:
    """Return frames (T, H, W, 3) turned counter-clockwise about their centre; corners are black."""
    H, W = frames.shape[1:3]
    matrix = cv2.getRotationMatrix2D(((W - 1) / 2, (H - 1) / 2), degrees, 1.0)
    return np.stack([_image(cv2.warpAffine(frame, matrix, (W, H))) for frame in frames])


def perspective_matrix(size: int, keystone: float, enlarged: float) -> Array:
    """Return the homography (3, 3) of one frame.

    The corners of a square that is `enlarged` pixels larger than the picture on every side (smaller
    if negative): the upper two stay, the lower two move towards each other by `keystone` pixels
    each (apart if negative).
    """
    low, high = -enlarged, size + enlarged
    square = np.array([[low, low], [high, low], [low, high], [high, high]], np.float32)
    moved = square + np.array([[0, 0], [0, 0], [keystone, 0], [-keystone, 0]], np.float32)
    return cv2.getPerspectiveTransform(square, moved)


def colour_jitter(
    frames: Image, strengths: tuple[float, float, float, float], rng: np.random.Generator
) -> Image:
    """Return frames (T, H, W, 3) with one random change of colours, none at strengths of 0.

    Args:
        frames: RGB.
        strengths: of brightness, contrast and saturation, whose factors lie in 1 +- strength, and
            of hue, whose shift lies in +- strength turns.
        rng: also decides the order.
    """
    if not any(strengths):
        return frames
    return jittered(frames, sample_jitter(JitterConfig(*strengths), rng))


def _sheared(frame: Image, strength: float, rng: np.random.Generator) -> Image:
    size = frame.shape[0]
    unit = strength * size / FRAME_SIZE
    keystone, enlarged = (
        unit * float(rng.integers(low, high + 1)) * float(rng.choice((-1, 1)))
        for low, high in (KEYSTONE, ENLARGED)
    )
    matrix = perspective_matrix(size, keystone, enlarged)
    return _image(cv2.warpPerspective(frame, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE))


def _image(picture: Any) -> Image:
    return np.asarray(picture, np.uint8)
