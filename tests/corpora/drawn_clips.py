"""Small clips of a drawn face, and a detector that reads the drawing: for tests of evaluations."""

import numpy as np

from affekt.media.faces.detector import Detection
from affekt.media.faces.geometry import RIGID_TEMPLATE
from affekt.media.faces.points import MOUTH, RIGID

SIZE = 96


class BarDetector:
    """Reads the drawings of `draw`: the mouth is as open as the bar is tall; no bar, no face.

    The bar's left end is where the face is, so that a moved drawing is a moved face.
    """

    version = "bar detector"
    seen = 0  # pictures that were looked at, by all of them

    def detect(self, frame):
        BarDetector.seen += 1
        grey = frame.mean(axis=2)
        if grey.max() < 150:
            return None
        weight = np.clip(grey[:, SIZE // 2] - 60, 0, 120) / 120
        left = np.clip(grey.max(axis=0) - 60, 0, 120).argmax()
        points = np.full((68, 2), 48.0)
        points[list(RIGID)] = RIGID_TEMPLATE[:, :2] * SIZE / 256
        points[list(MOUTH), 1] += weight.sum()
        points[:, 0] += left - 30
        return Detection(points.astype(np.float32), None)


def draw(openings, seed=0):
    """Draw a bar of each height (pixels; 0: none) on a fixed background, (T, 96, 96, 3)."""
    background = np.random.default_rng(seed).integers(20, 40, (SIZE // 8, SIZE // 8, 3))
    background = background.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
    frames = np.repeat(background[None], len(openings), axis=0)
    for frame, opening in zip(frames, openings, strict=True):
        frame[20 : 20 + opening, 30:66] = 230
    return frames


def mouth(seed, frames=12):
    """Return openings that change at random."""
    return np.random.default_rng(seed).integers(8, 60, frames)
