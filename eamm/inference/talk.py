"""One talking portrait from files: every frame's keypoints, with and without emotion (EAMM)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from affekt.arrays import Array, Image
from affekt.media.audio.mfcc import clip_mfcc, windows
from affekt.media.constants import SAMPLES_PER_FRAME
from affekt.media.face3d.model import load_face_model
from affekt.media.faces.crop import EAMM_SIZE, Crop
from affekt.media.faces.detector import Detector
from affekt.media.video.container import MediaError
from affekt.media.video.pictures import is_picture
from affekt.media.video.tensors import to_tensor
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.transfer import relative
from eamm.inference.cli import EammJob
from eamm.inference.drive import KEYPOINT_FILTER, Networks, neutral_keypoints, smoothed
from eamm.inference.emotion import EmotionClip, emotional_keypoints, read_emotion
from eamm.inference.inputs import Driving, Portrait, load_portrait, steadied
from eamm.inference.pose import fitted_pose, moved_from, pose_for, read_pose_file

NPY = b"\x93NUMPY"  # what numpy.save's files begin with


class Found(Protocol):
    """The faces of a video."""

    @property
    def landmarks(self) -> Array:
        """(N, 68, 2), pixels of the video."""

    @property
    def crop(self) -> Crop:
        """The part around the first face, of profile `eamm`."""


@dataclass(frozen=True)
class Faces:
    """How faces are found."""

    detector: Detector  # in pictures
    analyse: Callable[[Path], Found]  # in every frame of a video; data_prep.clips.clip's, say


def talking_keypoints(
    job: EammJob,
    networks: Networks,
    portrait: Portrait,
    heard: Array,
    faces: Faces,
    clips: list[EmotionClip],
) -> list[Keypoints]:
    """Return the keypoints (T, K) with emotion, where there are clips, and without.

    Args:
        job: what is wanted.
        networks: trained.
        portrait: that is animated.
        heard: audio windows (T, 28, 12).
        faces: find those of the pose source.
        clips: of the emotion sources.

    Raises:
        MediaError, ValueError, FileNotFoundError: the pose source cannot be used.
    """
    pose = head_pose(job, portrait, faces, len(heard))
    neutral = neutral_keypoints(networks.a2fd, portrait.stored, heard, pose, job.audio_gain)
    if job.relative:
        neutral = from_rest(networks, portrait, own_pose(job, portrait), neutral)
    if "keypoints" in job.smooth:
        neutral = smoothed(neutral, KEYPOINT_FILTER)
    if not clips:
        return [neutral]
    assert networks.displacement is not None
    assert networks.description is not None
    smooth = "displacement" in job.smooth
    learned = networks.displacement, networks.description
    return [emotional_keypoints(*learned, clips, job.emotion, neutral, smooth), neutral]


@torch.no_grad()
def from_rest(networks: Networks, portrait: Portrait, pose: Array, talking: Keypoints) -> Keypoints:
    """Return the portrait's own keypoints, moved as A2FD's move from their rest, (T, K).

    Their rest is what A2FD makes of silence in the portrait's own pose. Ours: what A2FD gets wrong
    about a face unlike those it learned from is in both, and cancels. (The release takes A2FD's
    keypoints as they are.)

    Args:
        networks: trained.
        portrait: that is animated.
        pose: (1, 6), its own.
        talking: A2FD's keypoints (T, K).
    """
    silence = windows(clip_mfcc(np.zeros(SAMPLES_PER_FRAME, np.float32), 1))
    rest = neutral_keypoints(networks.a2fd, portrait.stored, silence, pose)
    picture = to_tensor(portrait.stored[None]).to(talking.value.device)
    return relative(networks.fomm.detector(picture), talking, rest)


def own_pose(job: EammJob, portrait: Portrait) -> Array:
    """Return the pose in which the portrait is held, (1, 6).

    Raises:
        MediaError: no face was found in it.
    """
    if portrait.landmarks is None:
        raise MediaError("no_face", f"{job.source}: no face was found, so its pose is unknown")
    return _measured(job, portrait.landmarks[None], portrait.crop)


def head_pose(job: EammJob, portrait: Portrait, faces: Faces, length: int) -> Array:
    """Return the head's pose at each of `length` frames, (length, 6), the release's convention.

    Raises:
        MediaError: the pose source is unreadable, or shows no face.
        ValueError: a pose file of another width, or with NaN.
        FileNotFoundError: no such file, or no face model to measure poses with.
    """
    path, own = job.pose.path, None
    if path is None or job.pose.relative:
        own = own_pose(job, portrait)
        if path is None:
            return pose_for(length, own)
    poses = _source_pose(job, path, faces)
    if own is not None:
        poses = moved_from(own[0], poses)
    return pose_for(length, poses, "pose" in job.smooth)


def emotion_clips(
    job: EammJob, networks: Networks, faces: Faces, folder: Path
) -> list[EmotionClip]:
    """Return the emotion sources as the networks see them; their pictures are kept in `folder`.

    Raises:
        MediaError: a source is unreadable, or shows no face.
    """
    clips = []
    for number, path in enumerate(job.emotion.paths):
        assert networks.displacement is not None
        assert networks.description is not None
        frames = _emotion_frames(path, job.emotion.align, networks.size, faces)
        place = folder / str(number)
        clips.append(read_emotion(networks.displacement, networks.description, frames, place))
    return clips


def _source_pose(job: EammJob, path: Path, faces: Faces) -> Array:
    """Return the poses (N, 6) of a pose file, a picture or a video."""
    if path.suffix == ".npy" or _begins_with(path, NPY):
        return read_pose_file(path)
    if is_picture(path):
        shown = load_portrait(path, EAMM_SIZE, faces.detector, "eamm")
        assert shown.landmarks is not None
        return _measured(job, shown.landmarks[None], shown.crop)
    found = faces.analyse(path)
    return _measured(job, found.landmarks, found.crop)


def _measured(job: EammJob, landmarks: Array, crop: Crop) -> Array:
    """Return the poses (N, 6) of landmarks (N, 68, 2), fitted with the run's face model."""
    return fitted_pose(load_face_model(job.runs.face_model), landmarks, crop, job.pose.square)


def _emotion_frames(path: Path, align: str, size: int, faces: Faces) -> Iterable[Image]:
    """Return the frames of an emotion source, (S, S, 3) each, cut as profile `eamm`."""
    if is_picture(path):
        return [load_portrait(path, size, faces.detector, "eamm").stored]
    found = faces.analyse(path)
    if align == "clip":
        return Driving(path, found.crop).frames()
    return steadied(path, found.landmarks, size)


def _begins_with(path: Path, magic: bytes) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(magic)) == magic
