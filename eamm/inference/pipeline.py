"""EAMM inference: a portrait talks, with the head pose and the emotion of other videos (Fig. 2).

    job = EammJob(EammRuns.in_folder(Path("runs/demo/eamm")), source, audio, out, ...)
    pipeline = EammPipeline.for_jobs([job])
    pipeline.run(job)                   # audio from a file
    pipeline.run(job, samples=samples)  # or from an array, such as synthetic speech

Order: audio windows, portrait, emotion sources and head pose are read -> A2FD's neutral keypoints
(Sec. 3.2) -> keypoints displaced by the emotion (Sec. 3.3) -> the portrait rendered at both -> the
video files.

Letters: T frames of the audio, N frames of a pose or emotion source, K keypoints, S pixels a side.
"""

import itertools
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from affekt.arrays import Array, Image
from affekt.media.audio.mfcc import sound_windows
from affekt.media.face3d.model import load_face_model
from affekt.media.faces.compose import FrameComposer, output_rows
from affekt.media.faces.crop import EAMM_SIZE, Crop
from affekt.media.faces.detector import make_detector
from affekt.media.faces.portrait import Portrait, load_portrait
from affekt.media.faces.track import FaceTrack, FaceTracker, FramesConfig
from affekt.media.video.container import MediaError
from affekt.media.video.pictures import is_picture
from affekt.media.video.result import (
    Progress,
    no_progress,
    output_paths,
    read_driving_audio,
    write_videos,
)
from affekt.runtime.devices import pick_device
from eamm.fomm.animate import Animator
from eamm.fomm.fast.fast import FastFomm
from eamm.fomm.keypoints import Keypoints
from eamm.inference.emotion import (
    EmotionClip,
    EmotionSource,
    emotional_keypoints,
    read_emotion,
    source_frames,
)
from eamm.inference.fomm_pipeline import RenderOptions
from eamm.inference.inputs import DrivingVideo, align_per_frame
from eamm.inference.keypoints import (
    KEYPOINT_FILTER,
    EammRuns,
    Part,
    audio_to_keypoints,
    load_networks,
    relative_to_neutral,
    smoothed,
)
from eamm.pose import (
    Square,
    fitted_pose,
    is_pose_file,
    pose_for,
    read_pose_file,
    relative_pose,
)


@dataclass(frozen=True)
class PoseSource:
    """Where the head pose comes from."""

    path: Path | None = None  # a video, picture or .npy file; None: the portrait's own pose, held
    relative: bool = False  # the portrait's own pose, changed as the source's changes
    square: Square = "clip"


@dataclass(frozen=True)
class EammJob:
    """One talking portrait to make."""

    runs: EammRuns
    source: Path  # the portrait
    audio: Path
    out: Path
    pose: PoseSource = field(default_factory=PoseSource)
    emotion: EmotionSource = field(default_factory=EmotionSource)
    audio_gain: float = 1.0
    smooth: frozenset[Part] = frozenset()
    relative: bool = False  # move the portrait's own keypoints, not take A2FD's as they are
    neutral: bool = True  # where there is an emotion, also write OUT_neutral.mp4 without it
    options: RenderOptions = field(default_factory=RenderOptions)


class EammPipeline:
    """Trained EAMM networks that make portraits talk."""

    def __init__(
        self, runs: EammRuns, tracker: FaceTracker, options: RenderOptions, *, emotion: bool = True
    ) -> None:
        """Load the networks; the displacement learner only where an emotion is wanted.

        Raises:
            FileNotFoundError: a network is not trained yet; the message names it.
            ConfigError: networks that were not trained together.
        """
        self.tracker, animator = tracker, options.animator
        self.networks = load_networks(runs, emotion, pick_device(options.device))
        self.engine = FastFomm(self.networks.fomm, animator.precision)

    @classmethod
    def for_jobs(cls, jobs: Sequence[EammJob]) -> Self:
        """Load what jobs need that share runs, detector and device; see `__init__`."""
        options = jobs[0].options
        tracker = FaceTracker(make_detector(*options.chosen_detector))
        emotion = any(job.emotion.paths for job in jobs)
        return cls(jobs[0].runs, tracker, options, emotion=emotion)

    def run(
        self, job: EammJob, progress: Progress = no_progress, samples: Array | None = None
    ) -> list[Path]:
        """Write the videos of a talking portrait, with and (where `job.neutral`) without emotion.

        Args:
            job: what is wanted.
            progress: wraps the rows of frames, for a progress bar.
            samples: audio to use instead of the file `job.audio`, which need not exist then; mono
                16 kHz (`resampled` of affekt/media/audio/reader.py converts).

        Raises:
            MediaError: portrait, audio, pose or emotion source cannot be used.
            ValueError: a pose file that cannot be used.
            FileNotFoundError: no face model to measure poses with.
        """
        networks, options = self.networks, job.options

        # Inputs
        samples = read_driving_audio(job.audio) if samples is None else samples
        windows = sound_windows(samples)
        portrait = self.load_portrait(job)
        animator = Animator(networks.fomm, portrait.stored, options.animator, self.engine)
        with tempfile.TemporaryDirectory(prefix="affekt-") as folder:
            clips = self.emotion_clips(job, Path(folder), len(windows))

            # Keypoints (T, K): neutral, and displaced by the emotion
            neutral = self.neutral_keypoints(job, portrait, windows)
            wanted = [neutral]
            if clips:
                assert networks.emotion is not None
                smooth = "displacement" in job.smooth
                emotional = emotional_keypoints(
                    *networks.emotion, clips, job.emotion, neutral, smooth
                )
                wanted = [emotional, neutral] if job.neutral else [emotional]

            # Frames, as a stream, and video files
            results = animator.render(*wanted)
            sources = source_frames(clips, len(windows), job.emotion.loop)
            frames = zip(results, sources, strict=True)
            composer = FrameComposer(portrait, options.paste, options.size)
            rows = output_rows(frames, portrait, composer, options.comparison)
            more = {"neutral": bool(clips) and job.neutral, "comparison": options.comparison}
            paths = output_paths(job.out, more)
            write_videos(paths, progress(rows, len(windows)), samples)
        return paths

    def load_portrait(self, job: EammJob) -> Portrait:
        """Read the portrait and cut it as the networks take it."""
        size, detector = self.networks.size, self.tracker.detector
        return load_portrait(job.source, size, detector, job.options.crop)

    def neutral_keypoints(self, job: EammJob, portrait: Portrait, windows: Array) -> Keypoints:
        """Return A2FD's keypoints (T, K) of audio windows (T, 28, 12) and the job's head pose.

        Raises:
            MediaError, ValueError, FileNotFoundError: the pose source cannot be used.
        """
        pose = self.head_pose(job, portrait, len(windows))
        picture = portrait.stored
        neutral = audio_to_keypoints(self.networks.a2fd, picture, windows, pose, job.audio_gain)
        if job.relative:
            own = self._own_pose(job, portrait)
            neutral = relative_to_neutral(self.networks, picture, own, neutral)
        return smoothed(neutral, KEYPOINT_FILTER) if "keypoints" in job.smooth else neutral

    def emotion_clips(self, job: EammJob, folder: Path, length: int) -> list[EmotionClip]:
        """Read the emotion sources for `length` frames and their features; frames go to `folder`.

        Raises:
            MediaError: a source is unreadable, or shows no face.
        """
        clips = []
        for number, path in enumerate(job.emotion.paths):
            assert self.networks.emotion is not None
            frames = self._emotion_frames(path, job.emotion.align, length)
            clips.append(read_emotion(*self.networks.emotion, frames, folder / str(number)))
        return clips

    def head_pose(self, job: EammJob, portrait: Portrait, length: int) -> Array:
        """Return the head pose of each of `length` frames, (length, 6), the release's convention.

        Raises:
            MediaError: the pose source is unreadable, or shows no face.
            ValueError: a pose file of another width, or with NaN.
            FileNotFoundError: no such file, or no face model to measure poses with.
        """
        if job.pose.path is None:
            return pose_for(length, self._own_pose(job, portrait))
        own = self._own_pose(job, portrait) if job.pose.relative else None
        poses = self._source_pose(job, job.pose.path, length)
        if own is not None:
            poses = relative_pose(own[0], poses)
        return pose_for(length, poses, "pose" in job.smooth)

    def _own_pose(self, job: EammJob, portrait: Portrait) -> Array:
        """Return the pose in which the portrait is held, (1, 6).

        Raises:
            MediaError: no face was found in it.
        """
        if portrait.landmarks is None:
            raise MediaError("no_face", f"{job.source}: no face was found, so its pose is unknown")
        return _measured_pose(job, portrait.landmarks[None], portrait.crop)

    def _source_pose(self, job: EammJob, path: Path, length: int) -> Array:
        """Return the poses (N, 6) of a pose file, a picture or a video's first `length` frames."""
        if is_pose_file(path):
            return read_pose_file(path)
        if is_picture(path):
            picture = load_portrait(path, EAMM_SIZE, self.tracker.detector, "eamm")
            assert picture.landmarks is not None
            return _measured_pose(job, picture.landmarks[None], picture.crop)
        track = self._track(path, length)
        return _measured_pose(job, track.landmarks, track.crop)

    def _emotion_frames(self, path: Path, align: str, length: int) -> Iterable[Image]:
        """Return the frames of an emotion source that `length` frames need, cut as `eamm`."""
        size = self.networks.size
        if is_picture(path):
            return [load_portrait(path, size, self.tracker.detector, "eamm").stored]
        track = self._track(path, length)
        if align == "clip":
            return itertools.islice(DrivingVideo(path, track.crop).frames(), len(track.landmarks))
        return align_per_frame(path, track.landmarks, size)

    def _track(self, path: Path, length: int) -> FaceTrack:
        return self.tracker.track(path, FramesConfig("eamm", self.networks.size), length)


def _measured_pose(job: EammJob, landmarks: Array, crop: Crop) -> Array:
    """Return the poses (N, 6) of landmarks (N, 68, 2), fitted with the run's face model."""
    return fitted_pose(load_face_model(job.runs.face_model), landmarks, crop, job.pose.square)
