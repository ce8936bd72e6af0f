"""The 68 landmarks of iBUG: names of their groups, the lines between them, their mirror image.

Left and right are the image's. Every array of landmarks has axes (..., 68, 2 or 3). The other
scheme of the project, of 106 points, is in affekt/media/faces/schemes.py.
"""

import numpy as np

from affekt.arrays import Array

COUNT = 68
JAW = tuple(range(17))  # image left ear, chin 8, right ear
BROWS = tuple(range(17, 27))
NOSE = tuple(range(27, 36))  # bridge 27-30, nostrils 31-35
EYES = tuple(range(36, 48))
MOUTH = tuple(range(48, 68))
GROUPS = {"jaw": JAW, "brows": BROWS, "nose": NOSE, "eyes": EYES, "mouth": MOUTH}

# Nose bridge and eye corners: what speech and emotion do not move, so the only points that a
# frame is aligned on (with jaw, brows or mouth among them, motion would be aligned away).
RIGID = (27, 28, 29, 30, 36, 39, 42, 45)

MOUTH_CORNERS = (48, 54)
# What shows the emotion and not the speech: brows, lids and mouth corners.
EMOTION = (*BROWS, 37, 38, 40, 41, 43, 44, 46, 47, *MOUTH_CORNERS)

# The sketch of a face: (name, points in drawing order, whether the line is closed).
POLYLINES: tuple[tuple[str, tuple[int, ...], bool], ...] = (
    ("jaw", JAW, False),
    ("left brow", tuple(range(17, 22)), False),
    ("right brow", tuple(range(22, 27)), False),
    ("nose bridge", tuple(range(27, 31)), False),
    ("nostrils", tuple(range(31, 36)), False),
    ("left eye", tuple(range(36, 42)), True),
    ("right eye", tuple(range(42, 48)), True),
    ("outer lips", tuple(range(48, 60)), True),
    ("inner lips", tuple(range(60, 68)), True),
)

# FLIP[k] is the point that k becomes when the picture is mirrored left to right.
FLIP = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46),
    *(39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)


def mouth_opening(landmarks: Array) -> Array:
    """Return the mean gap between the inner lips, (...), in the landmarks' unit."""
    upper, lower = landmarks[..., (61, 62, 63), :], landmarks[..., (67, 66, 65), :]
    return np.linalg.norm(lower - upper, axis=-1).mean(axis=-1)
