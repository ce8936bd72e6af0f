"""What happens to predicted faces once they stand in the target's frames, before they are drawn.

Smoothing is the filter of EVP's release (stage 2); eyes of the target are ours: the release's
portraits never blink, which its users asked for.

Letters: T frames of the result, 25 per second; landmarks are in pixels of the target's full frame.
"""

from dataclasses import dataclass
from typing import Literal

from affekt.arrays import Array
from affekt.media.faces.geometry import apply, similarity
from affekt.media.faces.one_euro import one_euro

Eyes = Literal["predicted", "target"]

LANDMARK_FILTER = {"mincutoff": 0.01, "beta": 0.7, "dcutoff": 1.0, "freq": 100.0}  # the release's
RELEASE_HEIGHT = 1080  # pixels; of MEAD's videos, in whose pixels the release filters
# Corners and lids of both eyes, in the image's order.
CORNERS = ((36, 39), (42, 45))
LIDS = ((37, 38, 40, 41), (43, 44, 46, 47))


@dataclass(frozen=True)
class Retouch:
    """What is done to a face in its place."""

    smooth: bool = False  # over time
    eyes: Eyes = "predicted"


def retouched(placed: Array, target: Array, height: int, retouch: Retouch) -> Array:
    """Return placed faces (T, 68, 2), smoothed and with the target's eyes as wanted.

    The eyes come last: a blink is a matter of three frames, and is not smoothed.

    Args:
        placed: (T, 68, 2).
        target: (T, 68, 2), the target's own landmarks of the same frames.
        height: of the target's frames, pixels.
        retouch: what is wanted.
    """
    if retouch.smooth:
        placed = smoothed(placed, height)
    return with_eyes_of(target, placed) if retouch.eyes == "target" else placed


def smoothed(placed: Array, height: int) -> Array:
    """Return faces (T, 68, 2) through the release's One-Euro filter, each coordinate on its own.

    How much the filter does depends on the unit, and the release's is a pixel of a frame 1080
    high: in other frames faces are filtered as if the frame had been scaled to that height (ours),
    so that a video and its smaller copy are smoothed alike.
    """
    unit = RELEASE_HEIGHT / height
    return one_euro(unit * placed, **LANDMARK_FILTER) / unit


def with_eyes_of(target: Array, placed: Array) -> Array:
    """Return faces (T, 68, 2) whose lids are open as far as the target's in the same frame.

    The target's lids are carried over by the similarity between the corners of the eye, so that
    each eye has the target's ratio of height to width and the corners stay where they are; nothing
    is left of predicted lids. All other points are the very same.
    """
    result = placed.copy()
    for corners, lids in zip(CORNERS, LIDS, strict=True):
        onto = similarity(target[:, corners], placed[:, corners])
        result[:, lids] = apply(onto, target[:, lids])
    return result
