"""Backward optical flow between neighbouring frames, and where it is reliable.

The backward flow of frame t gives for each of its pixels where it lay in frame t - 1, as a step in
pixels: frame t is frame t - 1 sampled at (column, row) + flow (what vid2vid, Wang et al. 2018,
warps by). Two ways to it:

    dis    DIS (Kroeger et al., ECCV 2016), as OpenCV has it: no weights
    raft, raft_small
           RAFT (Teed and Deng, ECCV 2020), torchvision's, weights from a file
           (affekt/media/video/flow_raft.py)

A pixel's flow is trusted where forward and backward flow undo one another (Sundaram et al., ECCV
2010, eq. 5) and the pixel came from inside the picture; not where something was uncovered.

Letters: H rows, W columns.
"""

import typing as tp

import cv2
import numpy as np

from affekt.arrays import Array, Image

Method = tp.Literal["dis", "raft", "raft_small"]

PRESET = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
# Forward-backward check, Sundaram et al. (ECCV 2010), eq. 5: |f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5
RELATIVE, ABSOLUTE = 0.01, 0.5  # of squared pixels; squared pixels
SMALLEST = 16  # pixels a side; below, DIS' patches of 8 pixels have no pyramid


class Estimator(tp.Protocol):
    """A method of optical flow."""

    @property
    def settings(self) -> dict[str, tp.Any]:
        """What its flow depends on, in the words of JSON."""

    def __call__(self, before: Image, now: Image) -> tuple[Array, Array]:
        """Return the flow backward, at the pixels of `now`, and forward, at those of `before`.

        Both are (H, W, 2) float32, x then y, pixels.
        """


class Dis:
    """DIS, medium preset, on brightness. Pictures are (H, W, 3) RGB or (H, W) grey."""

    settings: tp.ClassVar[dict[str, tp.Any]] = {"preset": "medium"}

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(PRESET)

    def __call__(self, before: Image, now: Image) -> tuple[Array, Array]:
        """Return the flow backward and forward.

        Raises:
            ValueError: pictures below 16 pixels.
        """
        before, now = _grey(before), _grey(now)
        if min(now.shape) < SMALLEST:
            raise ValueError(f"flow needs {SMALLEST} pixels a side, found {now.shape[::-1]}")
        back, forth = (
            np.asarray(self._flow.calc(*pair, np.empty(0)))  # nothing to start from
            for pair in ((now, before), (before, now))
        )
        return back, forth


def confident(back: Array, forth: Array) -> Array:
    """Return (H, W) bool: where backward flow can be trusted, given the forward flow.

    Args:
        back: (H, W, 2), of the pixels now.
        forth: (H, W, 2), of the pixels before.
    """
    height, width = back.shape[:2]
    x, y = origins(back)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    there = sampled(forth, x, y)
    lengths = np.square(back).sum(-1) + np.square(there).sum(-1)
    undone: Array = np.square(back + there).sum(-1) < RELATIVE * lengths + ABSOLUTE
    return inside & undone


def origins(back: Array) -> tuple[Array, Array]:
    """Return columns and rows, (H, W) float32 each, from which pixels came by flow (H, W, 2)."""
    rows, columns = np.indices(back.shape[:2], dtype=np.float32)
    return columns + back[..., 0], rows + back[..., 1]


def sampled(values: Array, x: Array, y: Array) -> Array:
    """Return values (H, W) or (H, W, 2) float32 at columns `x` and rows `y`, bilinearly.

    Beyond the picture its edge repeats.
    """
    return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _grey(picture: Image) -> Image:
    if picture.ndim == 2:
        return picture
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
