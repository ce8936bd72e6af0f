"""Still pictures of any kind as upright RGB: photographs, scans, drawings, screen shots.

    what                        as
    grey, palette, CMYK         RGB
    transparent                 laid over white, the paper that most viewers show
    16 bits a channel           8 bits, the upper ones
    floating point              0 to 1 is black to white
    animated, several pages     the first
    EXIF orientation            upright
    an embedded colour profile  sRGB (phones write Display P3)
    larger than `longest`       reduced by averaging, so that nothing aliases

The content decides how a file is read, never its name.
"""

import io
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps, UnidentifiedImageError

from affekt.arrays import Array, Image
from affekt.media.video.container import MediaError

LONGEST = 4096  # pixels of the longer side; more than any network here can use, and 50 MB at most
BACKGROUND = (255, 255, 255)  # under transparent pixels
READABLE = "PNG, JPEG, WebP, AVIF, JPEG 2000, BMP, PPM, TIFF or GIF"
# Pillow's names of these (a JPEG with a second picture is JPEG); other formats may start programs
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "JPEG2000", "BMP", "PPM", "TIFF", "GIF")
# Of a picture as it is decoded (a JPEG at a smaller size): a scan has 35 million, and copies of it
# are made. A few bytes can claim 180 million, which is where Pillow draws its own line.
MAX_PIXELS = 50_000_000
# What Pillow's readers raise on files that are damaged.
DAMAGED = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, struct.error, zlib.error),
    *(TypeError, AttributeError, ArithmeticError, MemoryError, RecursionError),
)


def read_picture(path: Path, longest: int = LONGEST) -> Image:
    """Return a picture as (H, W, 3) uint8 RGB, upright, its longer side at most `longest` pixels.

    Raises:
        MediaError: missing, empty, damaged (no picture at all, or too large to be decoded).
    """
    path = Path(path)
    if not path.is_file():
        raise MediaError("missing", f"{path} does not exist or is no file")
    if not path.stat().st_size:
        raise MediaError("empty", f"{path} is empty (0 bytes)")
    # Decode; each of the decoder's errors becomes one that names the file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures and odd metadata
            picture = _decoded(path, longest)
    except UnidentifiedImageError:
        text = f"{path} is no picture that can be read; wanted {READABLE}"
        raise MediaError("damaged", text) from None
    except Pillow.DecompressionBombError as error:
        raise MediaError("damaged", f"{path} is too large a picture: {error}") from None
    except DAMAGED as error:
        raise MediaError("damaged", f"{path} is a damaged picture: {error}") from None
    return reduced(picture, longest)


def is_picture(path: Path) -> bool:
    """Return whether a file is a still picture; one whose frames have durations is a video."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(path, formats=FORMATS) as picture:
                if getattr(picture, "n_frames", 1) == 1:
                    return True
                picture.seek(1)
                _check_size(picture)
                picture.load()
                # A phone's second picture (depth, gain map) and a document's pages last no time
                return "duration" not in picture.info
    except (*DAMAGED, Pillow.DecompressionBombError):
        return False


def reduced(picture: Image, longest: int) -> Image:
    """Return a picture (H, W, 3) whose longer side is at most `longest` pixels."""
    share = longest / max(picture.shape[:2])
    if share >= 1:
        return picture
    height, width = (max(1, round(side * share)) for side in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def resized(frames: Image, size: int) -> Image:
    """Return square frames (N, H, H, 3) as (N, size, size, 3).

    Raises:
        ValueError: the frames are not square.
    """
    N, H, W, _ = frames.shape
    if H != W:
        raise ValueError(
            f"frames of {W}x{H} pixels are not square, as a prepared corpus stores them"
        )
    if size == H:
        return frames
    how = cv2.INTER_AREA if size < H else cv2.INTER_CUBIC
    out = np.empty((N, size, size, 3), np.uint8)
    for frame, other in zip(frames, out, strict=True):
        cv2.resize(frame, (size, size), other, interpolation=how)
    return out


def _decoded(path: Path, longest: int) -> Image:
    with Pillow.open(path, formats=FORMATS) as picture:
        picture.draft("RGB", (longest, longest))  # JPEG alone can be decoded at a smaller size
        _check_size(picture)
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)
        return np.array(_rgb(_in_srgb(picture)), np.uint8)


def _check_size(picture: Pillow.Image) -> None:
    most = MAX_PIXELS
    if picture.has_transparency_data or picture.mode == "F":  # of which there are more copies
        most = MAX_PIXELS // 2
    if picture.width * picture.height > most:
        found = f"{picture.width} x {picture.height} pixels, more than {most}"
        raise Pillow.DecompressionBombError(found)


def _in_srgb(picture: Pillow.Image) -> Pillow.Image:
    """Return an RGB picture in sRGB where it carries another profile; a bad one is passed over."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "RGBA"):
        return picture
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(given):
            return picture
        changed = ImageCms.profileToProfile(picture, given, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError):
        return picture
    return picture if changed is None else changed


def _rgb(picture: Pillow.Image) -> Pillow.Image:
    """Return a picture of any of Pillow's modes as RGB."""
    if picture.mode.startswith(("I", "F")):  # Pillow itself would cut off all above 255
        return Pillow.fromarray(_eight_bits(np.asarray(picture), picture.mode)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    colours = picture.convert("RGBA")
    under = Pillow.new("RGBA", colours.size, (*BACKGROUND, 255))
    return Pillow.alpha_composite(under, colours).convert("RGB")


def _eight_bits(values: Array, mode: str) -> Image:
    """Return grey values of more than 8 bits (16 in whole numbers, 0 to 1 in others) in 8."""
    if mode == "F":
        scaled = 255 * np.nan_to_num(values.astype(np.float64))
        return np.asarray(np.rint(scaled.clip(0, 255)), np.uint8)
    upper: Array = values.clip(0, 65535) >> 8
    return upper.astype(np.uint8)
