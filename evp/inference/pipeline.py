"""EVP's trained parts, read once, and the videos that they make (Fig. 2 from sound to pictures)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.face3d.model import load_face_model
from affekt.media.faces.crop import Crop
from affekt.media.faces.edges import sketch
from affekt.media.faces.geometry import FACE_SIZE, align_2d, align_3d
from affekt.media.video.result import Watch, driving_sound, unwatched, write_pictures
from affekt.media.video.video import write_video
from evp.inference.cli import EvpJob
from evp.inference.landmarks import speaking_face
from evp.inference.portrait import EditedFrame, edit
from evp.inference.renderer import Target, load_renderer
from evp.inference.silence import mouth_closed
from evp.networks.audio2lm import load_predictor


class Found(Protocol):
    """The faces of a video."""

    @property
    def landmarks(self) -> Array:
        """(N, 68, 2), pixels of the video."""

    @property
    def landmarks3d(self) -> Array | None:
        """(N, 68, 3), the same with depth, where the detector gives it."""

    @property
    def crop(self) -> Crop:
        """The part that is drawn, of profile `portrait`."""


class EvpStudio:
    """Makes videos of one person."""

    def __init__(self, jobs: Sequence[EvpJob], analyse: Callable[[Path], Found]) -> None:
        """Read the parts that jobs of one set of runs need.

        Args:
            jobs: at least one; all name the same runs.
            analyse: finds the face in every frame of a video.

        Raises:
            FileNotFoundError: a part is not trained yet; the message names it.
        """
        runs = jobs[0].runs
        self.analyse = analyse
        self.renderer = load_renderer(runs.edge2video, runs.device, runs.first_frames)
        in_3d = any(job.alignment == "3d" for job in jobs)
        self.model = load_face_model(runs.face_model) if in_3d else None
        heard = any(job.face is None for job in jobs)
        self.predictor = load_predictor(runs.audio2lm) if heard else None

    def make(self, job: EvpJob, watch: Watch = unwatched) -> list[Path]:
        """Write one edited target video, and its landmark preview where one is wanted.

        Raises:
            MediaError: the sound or the target cannot be used.
            FileNotFoundError: the emotion codes are not computed yet.
            ValueError: an unknown speaker, label or blend.
        """
        samples = driving_sound(job.audio)
        face = self._face(job, samples)
        if job.pauses is not None:
            face = mouth_closed(face, samples, job.pauses)
        if job.landmarks is not None:
            write_video(job.landmarks, map(landmark_preview, face), samples)
        found = self.analyse(job.target)
        target = Target(job.target, found.landmarks, found.crop)
        edited = edit(self.renderer, target, face, self.model, job.alignment, job.retouch)
        rows = ([finished(frame, job)] for frame in edited)
        write_pictures([job.out], watch(rows, len(face)), samples)
        return [job.out]

    def _face(self, job: EvpJob, samples: Array) -> Array:
        """Return the aligned face of every frame, (T, 68, 2): heard, or filmed."""
        if job.face is not None:
            return filmed_face(self.analyse(job.face))
        assert self.predictor is not None
        runs = job.runs
        speaker = runs.speaker or self.renderer.speaker
        return speaking_face(self.predictor, runs.audio2lm, samples, speaker, job.emotion)


def filmed_face(found: Found) -> Array:
    """Return a video's own face, aligned (T, 68, 2): what a perfect landmark network would say."""
    if found.landmarks3d is None:
        return align_2d(found.landmarks)
    return align_3d(found.landmarks3d)


def landmark_preview(landmarks: Array) -> Image:
    """Return an aligned face (68, 2) as a white sketch on black, 256 px."""
    return np.repeat(sketch(landmarks, (FACE_SIZE, FACE_SIZE))[:, :, None], 3, axis=2)


def finished(edited: EditedFrame, job: EvpJob) -> Image:
    """Return the picture that goes into the video: the full frame, or the crop alone."""
    return edited.picture if job.frame == "crop" else edited.pasted(job.paste)
