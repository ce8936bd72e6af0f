"""What becomes of the networks' pictures: pasted back into the whole portrait, or side by side.

Letters: H, W pixels of the portrait; S pixels a side of the networks' pictures.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from eamm.source import Portrait
from media.corpus import Crop
from media.paste import border_mask, paste
from media.pictures import reduced

Array = NDArray[Any]
Image = NDArray[np.uint8]

LONGEST = 1920  # pixels of the longer side of a video of the whole portrait


class PasteBack:
    """Puts pictures of the networks back into the portrait they were cut from.

    The whole crop is replaced and fades out towards its border: heads move, and shoulders with
    them. A portrait of more than `LONGEST` pixels is made smaller.
    """

    def __init__(self, portrait: Portrait, size: int) -> None:
        """Prepare for pictures of `size` (S) pixels a side."""
        self.picture = reduced(portrait.picture, LONGEST)
        share = self.picture.shape[1] / portrait.picture.shape[1]
        self.crop = scaled_source(portrait.crop, share, self.picture)
        self.mask = border_mask(size)

    def __call__(self, picture: Image) -> Image:
        """Return the portrait (H, W, 3) with a picture (S, S, 3) in its place."""
        return paste(self.picture, picture, self.crop, self.mask)


def scaled_source(crop: Crop, share: float, picture: Image) -> Crop:
    """Return the crop of a picture that is `share` as large as the one it was chosen for."""
    matrix = crop.matrix.copy()
    matrix[:, :2] /= share
    matrix[:, 2] += crop.matrix[:, :2] @ np.full(2, 0.5 / share - 0.5)
    return Crop(matrix, crop.size, (picture.shape[1], picture.shape[0]))


def side_by_side(*pictures: Image) -> Image:
    """Return pictures of one height next to each other; others are scaled to the first's."""
    height = pictures[0].shape[0]
    return np.hstack([_of_height(picture, height) for picture in pictures])


def _of_height(picture: Image, height: int) -> Image:
    if picture.shape[0] == height:
        return picture
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
