"""Target-Adaptive Face Synthesis: predicted faces placed in a target video and rendered there (EVP
Sec. 3.3, Fig. 2).

Letters: T frames of the result, 25 per second; S pixels a side of a generated picture; H, W pixels
of the target's full frames.
"""

import contextlib
import itertools
import tempfile
import typing as tp
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affekt.arrays import Array, Image
from affekt.media.face3d.fit import FitConfig, fit_clip, replace_pose
from affekt.media.face3d.model import FaceModel
from affekt.media.faces.crop import Crop, cut
from affekt.media.faces.geometry import apply, similarity
from affekt.media.faces.paste import border_mask, face_mask, paste
from affekt.media.faces.points import RIGID
from affekt.media.video.frames import open_frames, write_frames
from affekt.media.video.result import ping_pong
from affekt.media.video.video import read_video
from evp.data.portraits import GuidanceConfig, guidance_maps, scaled
from evp.inference.postprocess import PostprocessOptions, postprocessed
from evp.inference.renderer import FrameRenderer, Renderer, Target, initial_frames

Alignment = tp.Literal["3d", "paper", "none"]
Paste = tp.Literal["face", "crop"]

BATCH = 8  # frames read and rendered at once


@dataclass(frozen=True)
class EditedFrame:
    """One frame of the result: the target's own, the generated crop and both faces in it."""

    original: Image  # (H, W, 3), the target's full frame
    crop: Crop
    picture: Image  # (S, S, 3), generated
    face: Array  # (68, 2), the new face, pixels of `picture`
    replaced: Array  # (68, 2), the target's own face there

    def pasted(self, part: Paste) -> Image:
        """Return the full frame with the new face, or the whole new crop, blended in."""
        side = self.picture.shape[0]
        faces = (self.face, self.replaced)
        mask = face_mask(faces, side) if part == "face" else border_mask(side)
        return paste(self.original, self.picture, self.crop, mask)


def edit(
    renderer: Renderer,
    target: Target,
    face: Array,
    model: FaceModel | None,
    alignment: Alignment = "3d",
    postprocess: PostprocessOptions | None = None,
) -> Iterator[EditedFrame]:
    """Yield the frames of a target video with another face, `BATCH` at a time through the network.

    Args:
        renderer: the person's edge-to-video network.
        target: its frames are repeated forwards and backwards where the face is longer.
        face: (T, 68, 2), aligned landmarks in 256 px.
        model: see `place_faces`.
        alignment: see `place_faces`.
        postprocess: how the placed faces are post-processed; None: not at all.
    """
    # Repeat the target forwards and backwards, and place a face in each of its frames
    order = ping_pong(len(target.landmarks), len(face))
    replaced = target.landmarks[order]
    placed = place_faces(face, replaced, model, alignment)
    options = postprocess or PostprocessOptions()
    placed = postprocessed(placed, replaced, target.crop.source_size[1], options)
    # Render in order; a temporal generator needs an initial history
    initial = initial_frames(renderer, target, placed, replaced)
    frame_renderer = FrameRenderer(renderer.generator, initial)
    with frames_in_order(target.path, order) as frames:
        yield from _rendered(
            frame_renderer, renderer.guidance, frames, target.crop, placed, replaced
        )


def place_faces(
    predicted: Array, target: Array, model: FaceModel | None, alignment: Alignment
) -> Array:
    """Return the predicted faces in the target's frames, (T, 68, 2), source pixels.

    Args:
        predicted: (T, 68, 2), aligned faces in 256 px.
        target: (T, 68, 2), the target's landmarks, source pixels.
        model: the landmark face model; needed by all but `none`.
        alignment: `paper` is eq. 8 as printed, l_p = s_t Pr R_t L_p + t_t, where L_p is the fitted
            face: the predicted geometry and expression, and nothing that the fit leaves over. `3d`
            (ours) takes the geometry of the target, one person being both, and carries along what
            the fit leaves over. `none` moves all faces by one 2D similarity and ignores how the
            head moves (Fig. 7, right).
    """
    if alignment == "none":
        predicted_rigid, target_rigid = (each[:, RIGID].mean(0) for each in (predicted, target))
        return apply(similarity(predicted_rigid, target_rigid), predicted)
    if model is None:
        raise ValueError("the 3D alignment needs a face model; name one, or use alignment none")
    config = FitConfig()
    fit = fit_clip(model, target, config)
    if alignment == "paper":
        return replace_pose(model, predicted, fit.pose, config, residual="drop")
    # One person: the target's geometry, so that the new face keeps the target's size.
    return replace_pose(model, predicted, fit.pose, config, identity=fit.identity)


@contextlib.contextmanager
def frames_in_order(path: Path, order: NDArray[np.int_]) -> Iterator[Iterable[Image]]:
    """Yield a video's frames, at 25 fps, in the order asked for.

    A video that is long enough is read as a stream; one that runs back and forth is kept in a
    temporary file of JPEG pictures, so that memory does not grow with its length.
    """
    if (np.diff(order) == 1).all():
        yield itertools.islice(read_video(path), len(order))
        return
    with tempfile.TemporaryDirectory(prefix="affekt-") as folder:
        write_frames(Path(folder), read_video(path))
        store = open_frames(Path(folder))
        yield (store[int(k)] for k in order)


def _rendered(
    frame_renderer: FrameRenderer,
    guidance: GuidanceConfig,
    frames: Iterable[Image],
    crop: Crop,
    faces: Array,
    replaced: Array,
) -> Iterator[EditedFrame]:
    inside, outside = crop.to_stored(faces), crop.to_stored(replaced)
    ratio = guidance.size / crop.size[0]
    rows = zip(frames, inside, outside, strict=True)
    while group := list(itertools.islice(rows, BATCH)):
        stored = np.stack([cut(frame, crop) for frame, _, _ in group])
        new, old = (np.stack([row[k] for row in group]) for k in (1, 2))
        pictures = frame_renderer.render(guidance_maps(stored, new, guidance, old))
        for k, picture in enumerate(pictures):
            faces_there = scaled(new[k], ratio), scaled(old[k], ratio)
            yield EditedFrame(group[k][0], crop, picture, *faces_there)
