"""Inference: any portrait talks with any sound and an emotion given as text, picture or sound.

    job = EmospaceJob(EmospaceRuns.in_folder(Path("runs/emospace")), source, audio, out, ...)
    pipeline = EmospacePipeline.for_jobs([job])
    pipeline.run(job)                   # audio from a file
    pipeline.run(job, samples=samples)  # or from an array, such as synthetic speech

Order: sound -> log-mel; portrait -> face model's identity, expression and pose; emotion -> a code
of the emotion space (AME) -> expression coefficients of every frame (EAC) -> frames (HEF) -> file.

Letters: T frames of the sound, E expression modes, S pixels a side.
"""

import typing as tp
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from affekt.arrays import Array, Image
from affekt.media.audio.mel import log_mel
from affekt.media.audio.reader import fitted
from affekt.media.constants import SAMPLES_PER_FRAME
from affekt.media.face3d.crop_pose import crop_pose
from affekt.media.face3d.fit import fit_clip
from affekt.media.face3d.model import FaceModel, load_face_model
from affekt.media.faces.compose import FrameComposer, output_rows
from affekt.media.faces.detector import make_detector
from affekt.media.faces.portrait import Portrait, load_portrait
from affekt.media.faces.portrait_options import PortraitOptions
from affekt.media.faces.track import FaceTracker
from affekt.media.video.container import MediaError
from affekt.media.video.result import (
    Progress,
    no_progress,
    output_paths,
    read_driving_audio,
    write_videos,
)
from affekt.runtime.config import ConfigError
from affekt.runtime.devices import pick_device
from affekt.runtime.files import sha256
from emospace.inference.emotion import Emotion, EmotionReader
from emospace.inference.expression import load_expression_predictor
from emospace.inference.head_pose import head_poses
from emospace.inference.renderer import load_face_renderer
from emospace.networks.emotion_space import load_emotion_space


@dataclass(frozen=True)
class EmospaceRuns:
    """The trained parts."""

    emotion_space: Path  # a run of train_emotion_space.py
    expression: Path  # of train_expression.py
    renderer: Path  # of train_face_renderer.py
    face_model: Path  # the one whose coefficients both learned from

    @classmethod
    def in_folder(cls, root: Path) -> tp.Self:
        """Return the parts as demo.py lays them out."""
        names = "emotion_space", "expression", "renderer", "face_model.npz"
        return cls(*(root / name for name in names))


@dataclass(frozen=True)
class EmospaceJob:
    """One talking portrait to make."""

    runs: EmospaceRuns
    source: Path  # the portrait
    audio: Path
    out: Path
    emotion: Emotion = field(default_factory=Emotion)
    guidance: float = 1.0  # of the expression network
    pose: Path | None = None  # a video or a .npy file; None: as the portrait is held
    history: float = 0.0  # share of the frame before, of the renderer; steadier and later
    options: PortraitOptions = field(default_factory=PortraitOptions)


@dataclass(frozen=True, eq=False)
class FittedPortrait:
    """A portrait and its face in the face model's terms."""

    portrait: Portrait
    expression: Array  # (E,)
    pose: Array  # (6,), pixels of `portrait.picture`


class EmospacePipeline:
    """Trained networks that make portraits talk."""

    def __init__(
        self, runs: EmospaceRuns, tracker: FaceTracker, device: str, history: float = 0.0
    ) -> None:
        """Load the networks.

        Raises:
            FileNotFoundError: a network is not trained yet; the message names it.
            ConfigError: networks that were not trained together.
        """
        self.tracker = tracker
        self.space = load_emotion_space(runs.emotion_space, pick_device(device))
        self.predictor = load_expression_predictor(runs.expression, pick_device(device))
        self.renderer = load_face_renderer(runs.renderer, pick_device(device), history)
        self.model = _face_model(runs, self.predictor.description.sha256, self.renderer.sha256)
        self.predictor.check_space(self.space)

    @classmethod
    def for_jobs(cls, jobs: Sequence[EmospaceJob]) -> tp.Self:
        """Load what jobs need that share runs, detector and device; see `__init__`."""
        job = jobs[0]
        tracker = FaceTracker(make_detector(*job.options.chosen_detector))
        return cls(job.runs, tracker, job.options.device, job.history)

    def run(
        self, job: EmospaceJob, progress: Progress = no_progress, samples: Array | None = None
    ) -> list[Path]:
        """Write the video of a talking portrait; return its files.

        Args:
            job: what is wanted.
            progress: wraps the rows of frames, for a progress bar.
            samples: audio to use instead of the file `job.audio`, which need not exist then; mono
                16 kHz (`resampled` of affekt/media/audio/reader.py converts).

        Raises:
            MediaError: portrait, audio, pose or emotion source cannot be used.
            ValueError: a file of poses, a blend or a track that cannot be used.
        """
        # Inputs; the sound in whole frames, 640 samples each
        samples = read_driving_audio(job.audio) if samples is None else samples
        frames = max(1, round(len(samples) / SAMPLES_PER_FRAME))
        mel = log_mel(fitted(samples, frames * SAMPLES_PER_FRAME))
        emotion = EmotionReader(self.space, self.tracker).read(job.emotion, frames)
        face = self.fitted_portrait(job)

        # Expression (T, E) from sound and emotion; the head's pose (T, 6)
        expression = self.predictor.predict(
            mel, emotion.code, emotion.intensity, face.expression, job.guidance
        )
        poses = head_poses(face.pose, job.pose, frames, self.model, self.tracker)

        # Frames, as a stream, and video files
        rendered = self.render(face, expression, poses)
        composer = FrameComposer(face.portrait, job.options.paste, job.options.size)
        results = (((picture,), (face.portrait.stored,)) for picture in rendered)
        rows = output_rows(results, face.portrait, composer, job.options.comparison)
        paths = output_paths(job.out, {"comparison": job.options.comparison})
        write_videos(paths, progress(rows, frames), samples)
        return paths

    def fitted_portrait(self, job: EmospaceJob) -> FittedPortrait:
        """Read the portrait, cut it as the renderer takes it, and fit the face model to it.

        Raises:
            MediaError: no readable picture, or no face in it.
        """
        detector = self.tracker.detector
        portrait = load_portrait(job.source, self.renderer.size, detector, job.options.crop)
        if portrait.landmarks is None:
            raise MediaError("no_face", f"{job.source}: no face was found, so that nothing moves")
        fit = fit_clip(self.model, portrait.landmarks[None])
        return FittedPortrait(portrait, fit.expression[0], fit.pose[0])

    def render(self, face: FittedPortrait, expression: Array, poses: Array) -> Iterator[Image]:
        """Yield the frames (S, S, 3) of expressions (T, E) and poses (T, 6), source pixels."""
        portrait = face.portrait
        assert portrait.landmarks is not None
        encoded = self.renderer.encode(
            portrait.stored,
            face.expression,
            crop_pose(face.pose[None], portrait.crop)[0],
            portrait.crop.to_stored(portrait.landmarks),
        )
        yield from self.renderer.render(encoded, expression, crop_pose(poses, portrait.crop))


def _face_model(runs: EmospaceRuns, expression: str, renderer: str) -> FaceModel:
    """Return the face model whose coefficients both networks learned from.

    Raises:
        ConfigError: they learned from two models, or from another than the file.
    """
    found = sha256(runs.face_model) if runs.face_model.is_file() else ""
    if expression != renderer:
        raise ConfigError(
            f"{runs.expression} predicts coefficients of the face model {expression[:12]}, "
            f"{runs.renderer} draws those of {renderer[:12]}; train both on corpora of one model"
        )
    if found and found != expression:
        raise ConfigError(
            f"{runs.face_model} is the face model {found[:12]}, the networks learned from "
            f"{expression[:12]}; name that one by --face-model (a prepared corpus keeps it as "
            "expression_model.npz)"
        )
    return load_face_model(runs.face_model)
