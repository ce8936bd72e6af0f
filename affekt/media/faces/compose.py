"""Compose output frames: rendered pictures pasted back into the portrait, or side by side.

Letters: H, W pixels of the portrait; S pixels a side of the networks' pictures, N when written.
"""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from affekt.arrays import Image
from affekt.media.faces.crop import Crop
from affekt.media.faces.paste import border_mask, paste
from affekt.media.faces.portrait import Portrait
from affekt.media.video.pictures import reduced, resized

LONGEST = 1920  # pixels of the longer side of a video of the whole portrait


class FrameComposer:
    """Makes an output frame: the rendered picture, or the portrait with it inside.

    Alone, it may be written as large as a truth is. Pasted, the whole crop is replaced and fades
    out towards its border: heads move, and shoulders with them. A portrait of more than `LONGEST`
    pixels is made smaller.
    """

    def __init__(self, portrait: Portrait, paste_back: bool, size: int | None = None) -> None:
        """Prepare for pictures of a portrait, written alone with `size` pixels a side (None: S)."""
        self.paste_back, self.size = paste_back, size or portrait.crop.size[0]
        self.picture = reduced(portrait.picture, LONGEST)
        share = self.picture.shape[1] / portrait.picture.shape[1]
        self.crop = scaled_source(portrait.crop, share, self.picture)
        self.mask = border_mask(portrait.crop.size[0])

    def __call__(self, picture: Image) -> Image:
        """Return the frame for a picture (S, S, 3): (H, W, 3), or (N, N, 3) alone."""
        if self.paste_back:
            return paste(self.picture, picture, self.crop, self.mask)
        return np.asarray(resized(picture[None], self.size)[0], np.uint8)


def output_rows(
    frames: Iterable[tuple[tuple[Image, ...], tuple[Image, ...]]],
    portrait: Portrait,
    composer: FrameComposer,
    comparison: bool,
) -> Iterator[list[Image]]:
    """Yield each frame's pictures: the results and, where wanted, all inputs and results.

    Args:
        frames: the results, of EAMM the emotional picture before the neutral one, and the inputs'
            pictures that go with them; without any, the portrait.
        portrait: what is animated.
        composer: makes the written pictures of the results.
        comparison: add one of inputs and results, side by side.
    """
    for results, inputs in frames:
        shown = *(inputs or (portrait.stored,)), *reversed(results)
        yield [*map(composer, results), *([side_by_side(*shown)] if comparison else [])]


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
