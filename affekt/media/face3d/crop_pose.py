"""Head poses of a clip as its stored crop shows them, in units of the picture.

A prepared corpus keeps poses in source pixels (affekt/media/face3d/model.py). What a network sees
is the crop, at some size: there the pose is turned, scaled and moved by the crop's similarity, and
stated in the picture's own unit, half its side, with the edges at -1 and 1, so that it means the
same at every resolution. Letters: T frames.
"""

import numpy as np

from affekt.arrays import Array
from affekt.media.faces import geometry
from affekt.media.faces.crop import Crop

LOG_SCALE, SHIFT = 3, slice(4, 6)  # columns of a pose


def crop_pose(pose: Array, crop: Crop) -> Array:
    """Return poses (T, 6) in pixels of the stored crop, of poses in source pixels.

    Exact for scaled orthography: projecting a face under the result gives the crop's image of its
    projection under `pose`.
    """
    pose = np.asarray(pose, float)
    rotation = geometry.rotation_matrix(pose[:, :3])
    rotation[:, :2] = crop.matrix[:, :2] / crop.scale @ rotation[:, :2]
    scale = pose[:, LOG_SCALE] + np.log(crop.scale)
    return np.column_stack(
        [geometry.rotation_vector(rotation), scale, crop.to_stored(pose[:, SHIFT])]
    )


def picture_pose(pose: Array, size: int) -> Array:
    """Return poses (..., 6) in units of the picture, of poses in pixels of a square crop of `size`.

    Scaled orthography in them gives places in [-1, 1].
    """
    result = np.array(pose, float)
    result[..., LOG_SCALE] += np.log(2 / size)
    result[..., SHIFT] = picture_places(result[..., SHIFT], size)
    return result


def picture_places(pixels: Array, size: int) -> Array:
    """Return places (..., 2) in [-1, 1] of pixels of a square picture, the edges at the ends."""
    return (np.asarray(pixels, float) + 0.5) * (2 / size) - 1
