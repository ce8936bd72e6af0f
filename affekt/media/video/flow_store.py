"""The optical flow of a prepared clip: one file, flow.pngs, the flow of any frame at random.

Flow is stored at half the frames' size, a frame as KITTI does (Menze and Geiger, CVPR 2015; its
development kit): a 16-bit PNG of three channels, 64 u + 2^15, 64 v + 2^15, and 1 where the flow can
be trusted, 0 elsewhere. Flow that cannot be trusted is stored too, which KITTI does not do, so that
flow next to it can be interpolated. u and v are pixels of the stored size. The PNGs lie one after
the other behind one index (affekt/media/video/packed.py). Frame t has number t; frame 0, which has
no frame before, has zero flow and no confidence.

Letters: K frames asked for; H rows, W columns.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from affekt.arrays import Array
from affekt.media.video.packed import Packed, PackedKind, packed_writer
from affekt.runtime.files import replacing

Write = Callable[[Array, Array], None]

FILE = "flow.pngs"
MAKE = "run python -m data_prep.flow"
PNGS = PackedKind(b"AFKTFLOW", 1, f"remove it and {MAKE} data/CORPUS")
STEPS, ZERO = 64, 2**15  # of a pixel; the value of no motion (KITTI)
LONGEST = 511.0  # pixels along an axis; 16 bits hold no more
COMPRESSION = 6  # of 9, which is 10 % smaller and takes ten times as long
WHOLE = 0.999  # of a pixel whose sources can all be trusted, but for rounding


class FlowStore:
    """Stored flow; it holds no descriptor, so it can be sent to DataLoader workers."""

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            ValueError: it is damaged, truncated, or of another version.
        """
        self.path, self._packed = path, Packed(path, PNGS)
        self.size = self._packed.size  # width and height stored, pixels

    def __len__(self) -> int:
        return len(self._packed)

    def read(self, indices: Sequence[int], size: int) -> tuple[Array, Array]:
        """Return the flow of frames from the frames before them, for pictures of size x size.

        Args:
            indices: frame numbers, 0 to len - 1; that of frame 0 is zero, and nowhere trusted.
            size: pixels a side; flow is interpolated and scaled to it.

        Returns:
            (K, size, size, 2) float32, x then y, pixels of a picture of `size`, and (K, size, size)
            bool, whether it can be trusted. See affekt/media/video/flow.py.

        Raises:
            IndexError: no such frame.
            ValueError: the file is damaged.
        """
        flow = np.empty((len(indices), size, size, 2), np.float32)
        trusted = np.empty(flow.shape[:3], bool)
        for index in indices:
            if not 0 <= index < len(self):
                raise IndexError(f"{self.path} has {len(self)} frames; there is no frame {index}")
        # Decode the 16-bit PNGs and scale the flow to the size wanted
        for place, piece in enumerate(self._packed.pieces(indices)):
            picture = cv2.imdecode(piece, cv2.IMREAD_UNCHANGED)
            fits = picture is not None and picture.dtype == np.uint16
            fits = fits and picture.shape == (*self.size[::-1], 3)
            self._packed.check(fits, f"frame {indices[place]} is no flow of {self.size}")
            flow[place], trusted[place] = resized(*_decoded(picture), (size, size))
        return flow, trusted


def open_flow(folder: Path, corpus: Path = Path("data/CORPUS")) -> FlowStore:
    """Open the stored flow of a clip's folder, a clip of `corpus`.

    Raises:
        FileNotFoundError: none is there; the message names the command that makes it.
        ValueError: the file is damaged, truncated, or of another version.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {MAKE} {corpus}")
    return FlowStore(path)


@contextlib.contextmanager
def flow_writer(folder: Path) -> Iterator[Write]:
    """Yield a function that appends a frame; the file appears when the context ends well.

    The function takes the flow (H, W, 2), pixels, and where it is trusted, (H, W) bool, both at the
    size of the frames, from frame 0 on.
    """
    with replacing(folder / FILE) as temporary, packed_writer(temporary, PNGS) as append:

        def write(flow: Array, trusted: Array) -> None:
            height, width = (max(side // 2, 1) for side in trusted.shape)
            piece = cv2.imencode(
                ".png",
                _encoded(*resized(flow, trusted, (width, height))),
                [cv2.IMWRITE_PNG_COMPRESSION, COMPRESSION],
            )[1]
            append(np.asarray(piece, np.uint8), height, width)

        yield write


def resized(flow: Array, trusted: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """Return flow (H, W, 2) and its mask for a picture of another width and height.

    The flow is averaged, or interpolated, and scaled to the new pixels. A pixel is trusted where
    all that it is made of is.
    """
    height, width = trusted.shape
    if size == (width, height):
        return flow, trusted
    shrinks = size[0] <= width and size[1] <= height
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    scale = np.array([size[0] / width, size[1] / height], np.float32)
    share = cv2.resize(trusted.astype(np.float32), size, interpolation=way)
    return cv2.resize(flow, size, interpolation=way) * scale, share > WHOLE


def _encoded(flow: Array, trusted: Array) -> Array:
    """Return (H, W, 3) uint16 in OpenCV's order: blue the mask, green v, red u."""
    held = (np.abs(flow) <= LONGEST).all(-1)  # neither NaN nor infinity
    steps = np.rint(np.where(held[..., None], flow, 0) * STEPS) + ZERO
    picture = np.empty((*trusted.shape, 3), np.uint16)
    picture[..., 0] = trusted & held
    picture[..., 1], picture[..., 2] = steps[..., 1], steps[..., 0]
    return picture


def _decoded(picture: Array) -> tuple[Array, Array]:
    steps = picture[..., [2, 1]].astype(np.float32)
    return (steps - ZERO) / STEPS, picture[..., 0] > 0
