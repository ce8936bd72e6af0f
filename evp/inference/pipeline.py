"""EVP inference: a person of the training set talks with a wanted emotion (Fig. 2).

    job = EvpJob(EvpRuns.in_folder(Path("runs/demo")), audio, target, out, Emotion("happy"))
    pipeline = EvpPipeline.for_jobs([job])
    pipeline.run(job)                   # audio from a file
    pipeline.run(job, samples=samples)  # or from an array, such as synthetic speech

Order: audio windows and emotion code -> aligned landmarks (Sec. 3.2) -> mouth closed in pauses ->
faces placed in the target's pose, edge maps, rendered frames (Sec. 3.3) -> the video file.

Letters: T frames of the audio.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.face3d.model import load_face_model
from affekt.media.faces.crop import centred_square
from affekt.media.faces.detector import DetectorDevice, DetectorName, make_detector
from affekt.media.faces.edges import sketch
from affekt.media.faces.geometry import FACE_SIZE, align_2d, align_3d
from affekt.media.faces.track import FaceTrack, FaceTracker, FramesConfig
from affekt.media.video.pictures import resized
from affekt.media.video.result import Progress, no_progress, read_driving_audio, write_videos
from affekt.media.video.video import write_video
from affekt.runtime.devices import pick_device
from evp.inference.landmarks import Emotion, audio_to_landmarks
from evp.inference.portrait import Alignment, EditedFrame, Paste, edit
from evp.inference.postprocess import PauseRule, PostprocessOptions, mouth_closed
from evp.inference.renderer import Target, load_renderer
from evp.networks.audio2lm import load_predictor


@dataclass(frozen=True)
class EvpRuns:
    """Where the trained networks are, and the device that they run on."""

    audio2lm: Path
    edge2video: Path
    face_model: Path
    device: DetectorDevice = "auto"
    speaker: str = ""  # whose neutral face; none: the renderer's
    image_generator: Path | None = None  # a run that renders the initial frames; none: real ones

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Return the runs of a folder that is laid out as demo.py does."""
        return cls(folder / "audio2lm", folder / "edge2video", folder / "face_model.npz")


@dataclass(frozen=True)
class EvpJob:
    """One video to make."""

    runs: EvpRuns
    audio: Path
    target: Path  # a video of the person
    out: Path
    emotion: Emotion = field(default_factory=Emotion)
    face: Path | None = None  # a video of the person whose face moves this way, not by the audio
    pauses: PauseRule | None = None  # where the mouth closes; none: it stays as predicted
    alignment: Alignment = "3d"
    postprocess: PostprocessOptions = field(default_factory=PostprocessOptions)
    crop: Literal["portrait", "none"] = "portrait"  # of the target; none: its whole picture
    frame: Literal["full", "crop"] = "full"  # the target's frame, or the generated crop alone
    paste: Paste = "face"
    landmarks: Path | None = None  # a preview of the predicted landmarks goes there
    detector: DetectorName = "mediapipe"  # the one that the corpus was prepared with
    detector_device: DetectorDevice | None = None  # of face_alignment; none: the networks'


class EvpPipeline:
    """Trained EVP networks that make videos of one person."""

    def __init__(
        self, runs: EvpRuns, tracker: FaceTracker, *, align: bool = True, predict: bool = True
    ) -> None:
        """Load the networks.

        Args:
            runs: where they are.
            tracker: finds the faces of target videos.
            align: load the face model, for jobs of another alignment than `none`.
            predict: load the audio-to-landmark network, for jobs without `face`.

        Raises:
            FileNotFoundError: a network is not trained yet; the message names it.
        """
        self.runs, self.tracker = runs, tracker
        self.renderer = load_renderer(runs.edge2video, runs.device, runs.image_generator)
        self.face_model = load_face_model(runs.face_model) if align else None
        self.predictor = (
            load_predictor(runs.audio2lm, pick_device(runs.device)) if predict else None
        )

    @classmethod
    def for_jobs(cls, jobs: Sequence[EvpJob]) -> Self:
        """Load what jobs need that share runs and detector; see `__init__`."""
        job = jobs[0]
        return cls(
            job.runs,
            FaceTracker(make_detector(job.detector, job.detector_device or job.runs.device)),
            align=any(job.alignment != "none" for job in jobs),
            predict=any(job.face is None for job in jobs),
        )

    def run(
        self, job: EvpJob, progress: Progress = no_progress, samples: Array | None = None
    ) -> list[Path]:
        """Write the edited target video, and its landmark preview where one is wanted.

        Args:
            job: what is wanted.
            progress: wraps the rows of frames, for a progress bar.
            samples: audio to use instead of the file `job.audio`, which need not exist then; mono
                16 kHz (`resampled` of affekt/media/audio/reader.py converts).

        Raises:
            MediaError: the audio or the target cannot be used.
            FileNotFoundError: the emotion codes are not computed yet.
            ValueError: an unknown speaker, label or blend.
        """
        # Aligned landmarks (T, 68, 2), from the audio or from a video of the face
        samples = read_driving_audio(job.audio) if samples is None else samples
        face = self._landmarks(job, samples)
        if job.pauses is not None:
            face = mouth_closed(face, samples, job.pauses)
        if job.landmarks is not None:
            write_video(job.landmarks, map(landmark_preview, face), samples)

        # Faces in the target's pose, of as many of its frames as there are; edge maps, frames
        size = self.renderer.stored
        track = self.tracker.track(job.target, FramesConfig(size=size), len(face))
        whole = centred_square(*track.crop.source_size, size)
        crop = whole if job.crop == "none" else track.crop
        target = Target(job.target, track.landmarks, crop)
        edited = edit(self.renderer, target, face, self.face_model, job.alignment, job.postprocess)

        # Video file
        rows = ([finished(frame, job)] for frame in edited)
        write_videos([job.out], progress(rows, len(face)), samples)
        return [job.out]

    def _landmarks(self, job: EvpJob, samples: Array) -> Array:
        """Return the aligned face of every frame, (T, 68, 2)."""
        if job.face is not None:
            return aligned_track(self.tracker.track(job.face))
        assert self.predictor is not None
        speaker = self.runs.speaker or self.renderer.speaker
        return audio_to_landmarks(self.predictor, self.runs.audio2lm, samples, speaker, job.emotion)


def aligned_track(track: FaceTrack) -> Array:
    """Return a video's own face, aligned (T, 68, 2): what a perfect landmark network predicts."""
    if track.landmarks3d is None:
        return align_2d(track.landmarks)
    return align_3d(track.landmarks3d)


def landmark_preview(landmarks: Array) -> Image:
    """Return an aligned face (68, 2) as a white sketch on black, 256 px."""
    return np.repeat(sketch(landmarks, (FACE_SIZE, FACE_SIZE))[:, :, None], 3, axis=2)


def finished(edited: EditedFrame, job: EvpJob) -> Image:
    """Return the picture of the video: the full frame, or the crop alone.

    With crop `none`, where the target is a crop already, it is as large as the target's square.
    """
    if job.frame == "full":
        return edited.pasted(job.paste)
    size = len(edited.picture) if job.crop == "portrait" else min(edited.crop.source_size)
    return np.asarray(resized(edited.picture[None], size)[0])
