"""Neutral keypoints of a portrait from audio and head pose by A2FD (EAMM Sec. 3.2), and the
temporal filters of the release's demo. eamm/inference/emotion.py displaces them.

Letters: T frames of the audio, K keypoints, S pixels of a side.
"""

import typing as tp
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from affekt.arrays import Array, Image
from affekt.media.audio.mfcc import clip_mfcc
from affekt.media.audio.mfcc import windows as windows_of_mfcc
from affekt.media.constants import SAMPLES_PER_FRAME
from affekt.media.faces.one_euro import one_euro
from affekt.media.video.tensors import to_tensor
from affekt.nets.fingerprint import fingerprint
from affekt.runtime.config import ConfigError
from eamm.a2fd.network import A2fd, check_fomm, load_a2fd
from eamm.displacement.network import Displacement, DisplacementDescription, load_displacement
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm, load_fomm
from eamm.fomm.transfer import relative

Part = tp.Literal["pose", "keypoints", "displacement"]

# One-Euro filters of the release's demo: what values and jacobians are multiplied by first, and the
# filter's settings. The pose's are eamm.pose.SMOOTHING.
KEYPOINT_FILTER = (10.0, {"mincutoff": 0.05, "beta": 8.0})
DISPLACEMENT_FILTER = (100.0, {"mincutoff": 1.0, "beta": 0.2})


@dataclass(frozen=True)
class EammRuns:
    """Where the trained networks are: runs, or folders that eamm.released.importer wrote."""

    fomm: Path
    a2fd: Path
    displacement: Path
    face_model: Path  # read only where a pose is measured

    @classmethod
    def in_folder(cls, folder: Path) -> tp.Self:
        """Return the runs of a folder that is laid out as demo.py does."""
        names = ("fomm", "a2fd", "displacement", "face_model.npz")
        return cls(*(folder / name for name in names))


@dataclass(frozen=True)
class Networks:
    """The trained networks, in evaluation mode on one device."""

    fomm: Fomm
    a2fd: A2fd
    # The displacement learner and its run's description; None where no emotion is wanted.
    emotion: tuple[Displacement, DisplacementDescription] | None

    @property
    def size(self) -> int:
        """Pixels of a side of the pictures, S."""
        return self.fomm.config.size


def load_networks(runs: EammRuns, emotion: bool, device: torch.device | str) -> Networks:
    """Load the trained networks; the displacement learner only where emotion is wanted.

    Raises:
        FileNotFoundError: a network is not trained yet; the message names it.
        ConfigError: networks that were not trained together.
    """
    # Each network refers to the FOMM that it was trained with
    fomm, a2fd = load_fomm(runs.fomm, device), load_a2fd(runs.a2fd, device)
    check_fomm(a2fd.config, fomm.config, fomm.detector)
    if not emotion:
        return Networks(fomm, a2fd, None)
    # The displacement network needs the same keypoints
    displacement, description = load_displacement(runs.displacement, device)
    ours, theirs = displacement.config.keypoints, fomm.config.keypoints.count
    if ours != theirs:
        raise ConfigError(
            f"{runs.displacement} has {ours} keypoints, the FOMM in {runs.fomm} has {theirs}; "
            "take those that were trained together"
        )
    found = fingerprint(fomm.detector)
    if description.teacher not in (None, found):
        raise ConfigError(
            f"{runs.displacement} moves the keypoints of detector {description.teacher}, the FOMM "
            f"in {runs.fomm} has {found}; take those that were trained together"
        )
    return Networks(fomm, a2fd, (displacement, description))


def audio_to_keypoints(
    a2fd: A2fd, portrait: Image, windows: Array, pose: Array, audio_gain: float = 1.0
) -> Keypoints:
    """Return A2FD's neutral keypoints (T, K) for audio of any length.

    Args:
        a2fd: in evaluation mode.
        portrait: (S, S, 3).
        windows: audio windows (T, 28, 12).
        pose: (T, 6), the release's convention, see eamm/pose.py.
        audio_gain: see A2fd.forward.
    """
    device = next(a2fd.parameters()).device
    windows_1T, pose_1T = (
        torch.from_numpy(np.array(each, np.float32))[None].to(device) for each in (windows, pose)
    )
    return a2fd.of_clip(to_tensor(portrait[None]).to(device), windows_1T, pose_1T, audio_gain)


@torch.no_grad()
def relative_to_neutral(
    networks: Networks, portrait: Image, pose: Array, keypoints: Keypoints
) -> Keypoints:
    """Return the portrait's own keypoints, moved as A2FD's move from silence, (T, K).

    Silence is A2FD's keypoints of no sound in the portrait's own pose. Ours: what A2FD gets wrong
    about a face that differs from its training faces is in both, and cancels. (The release
    takes A2FD's keypoints as they are.)

    Args:
        networks: trained.
        portrait: (S, S, 3).
        pose: (1, 6), its own.
        keypoints: A2FD's (T, K).
    """
    silence = windows_of_mfcc(clip_mfcc(np.zeros(SAMPLES_PER_FRAME, np.float32), 1))
    rest = audio_to_keypoints(networks.a2fd, portrait, silence, pose)
    picture = to_tensor(portrait[None]).to(keypoints.value.device)
    return relative(networks.fomm.detector(picture), keypoints, rest)


def smoothed(keypoints: Keypoints, settings: tuple[float, dict[str, float]]) -> Keypoints:
    """Return keypoints or displacements (T, ...) smoothed over time (EAMM release, demo).

    Values and jacobians are filtered on their own; see KEYPOINT_FILTER and DISPLACEMENT_FILTER.
    """
    unit, filtering = settings
    parts = []
    for each in keypoints:
        values = unit * each.detach().cpu().numpy().astype(np.float64)
        parts.append(torch.from_numpy(one_euro(values, **filtering) / unit).to(each))
    return Keypoints(*parts)
