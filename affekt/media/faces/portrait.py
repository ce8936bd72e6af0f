"""Portraits, cut as frame profile `eamm` stores faces: the inputs of one-shot systems.

A stored frame is black where the cut leaves the original, a picture here is not: its border
is carried on, ever more blurred. (EAMM's release leaves black edges, which its networks then
animate. Mirroring, the usual remedy, shows a second pair of eyes above a face cut at the hair.)

Letters: H, W pixels of the original; S pixels a side of what is cut from it.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from affekt.arrays import Array, Image
from affekt.media.faces.crop import Crop, centred_square, choose_crop, cut
from affekt.media.faces.detector import Detection, Detector
from affekt.media.video.container import MediaError
from affekt.media.video.pictures import read_picture

log = logging.getLogger(__name__)

Framing = Literal["eamm", "none"]  # the template's similarity, or the largest centred square

SMALL = 256  # pixels of the longer side below which a picture is enlarged, for the detector's sake
SOFTNESS = 0.04  # of the picture's side: the blur of what lies outside the original
HIDDEN = 0.3  # widths around a face that are painted over with it, in search of another one


@dataclass(frozen=True, eq=False)
class Portrait:
    """A source picture and the part of it that the networks animate."""

    picture: Image  # (H, W, 3), upright
    crop: Crop
    stored: Image  # (S, S, 3)
    landmarks: Array | None  # (68, 2), pixels of `picture`; None where no face was found


def load_portrait(path: Path, size: int, detector: Detector, framing: Framing) -> Portrait:
    """Read a portrait of any format and size, and cut it.

    Args:
        path: a still picture; see affekt/media/video/pictures.py.
        size: S.
        detector: finds the face. Of several, the main one is taken, with a warning.
        framing: `none` for a picture that is cut already: its largest centred square is taken, and
            a face is no longer needed (landmarks are None without one).

    Raises:
        MediaError: no readable picture, or no face in it.
    """
    picture = enlarged(read_picture(path))
    face = detector.detect(picture)
    if framing == "none":
        crop = centred_square(picture.shape[1], picture.shape[0], size)
    elif face is None:
        raise no_face(path)
    else:
        warn_of_others(path, picture, face, detector)
        crop = template_crop(picture, face.points, size)
    points = None if face is None else face.points
    return Portrait(picture, crop, cut_whole(picture, crop), points)


def enlarged(picture: Image) -> Image:
    """Return a tiny picture at `SMALL` pixels, others as they are."""
    longest = max(picture.shape[:2])
    if longest >= SMALL:
        return picture
    width, height = (max(1, round(side * SMALL / longest)) for side in picture.shape[1::-1])
    large = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.uint8)


def cut_whole(picture: Image, crop: Crop) -> Image:
    """Return the stored picture (S, S, 3) of an original (H, W, 3), its border carried on."""
    width, height = crop.size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
    reach = crop.to_source(corners)
    before = np.ceil(-0.5 - reach.min(axis=0) - 1e-6).clip(0).astype(int)
    after = np.ceil(reach.max(axis=0) + 0.5 - crop.source_size - 1e-6).clip(0).astype(int)
    if not before.any() and not after.any():
        return cut(picture, crop)
    (left, top), (right, bottom) = before.tolist(), after.tolist()
    whole = cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_REPLICATE)
    matrix = crop.matrix.copy()
    matrix[:, 2] -= matrix[:, :2] @ before
    moved = Crop(matrix, crop.size, (whole.shape[1], whole.shape[0]))
    stored = cut(np.asarray(whole, np.uint8), moved)
    return _softened(stored, crop)


def _softened(stored: Image, crop: Crop) -> Image:
    """Blur what lies outside the original, the more the farther: repeated borders make streaks."""
    unit = SOFTNESS * crop.size[0]
    ones = np.ones(crop.source_size[::-1], np.uint8)
    outside = 1 - cv2.warpAffine(ones, crop.matrix, crop.size, flags=cv2.INTER_NEAREST)
    share = (cv2.distanceTransform(outside, cv2.DIST_L2, 5) / (2 * unit)).clip(0, 1)[..., None]
    blurred = cv2.GaussianBlur(stored, (0, 0), unit)
    return np.asarray(np.rint(stored + share * (blurred.astype(np.float32) - stored)), np.uint8)


def template_crop(picture: Image, points: Array, size: int) -> Crop:
    """Return the crop of profile `eamm` of a picture with these landmarks (68, 2)."""
    return choose_crop("eamm", points, (picture.shape[1], picture.shape[0]), size)


def warn_of_others(path: Path, picture: Image, face: Detection, detector: Detector) -> None:
    """Warn where the picture shows another face than this one."""
    hidden = picture.copy()
    margin = HIDDEN * np.ptp(face.points, axis=0).max()
    low = np.floor(face.points.min(axis=0) - margin).clip(0).astype(int)
    high = np.ceil(face.points.max(axis=0) + margin).clip(0).astype(int)
    hidden[low[1] : high[1], low[0] : high[0]] = picture.mean(axis=(0, 1)).astype(np.uint8)
    if detector.detect(hidden) is None:
        return
    x, y = face.points.mean(axis=0)
    log.warning(
        "%s shows several faces; the largest and most central one is taken, %d px wide at (%d, %d):"
        " cut the picture around another one to have that",
        *(path, round(float(np.ptp(face.points[:, 0]))), round(float(x)), round(float(y))),
    )


def no_face(path: Path) -> MediaError:
    """Return the error for a source without a face."""
    return MediaError(
        "no_face",
        f"{path}: no face was found; wanted a frontal face that is at least a tenth of the picture "
        "wide (one that is cut already goes with --crop none, a driving video --driving-crop none)",
    )
