"""What drives a portrait: sound and head pose to its neutral keypoints (EAMM; filters of its
release's demo). eamm/inference/emotion.py displaces them.

Letters: T frames of the sound, K keypoints, S pixels of a side.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from affekt.arrays import Array, Image
from affekt.media.faces.one_euro import one_euro
from affekt.media.video.tensors import to_tensor
from affekt.runtime.config import ConfigError
from eamm.a2fd.network import A2fd, check_fomm, fingerprint, load_a2fd
from eamm.displacement.network import Displacement, DisplacementDescription, load_displacement
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm, load_fomm

Part = Literal["pose", "keypoints", "displacement"]

CHUNK = 32  # frames that a network sees at once
# One-Euro filters of the release's demo: what values and jacobians are multiplied by first, and the
# filter's settings. The pose's are eamm.inference.pose.SMOOTHING.
KEYPOINT_FILTER = (10.0, {"mincutoff": 0.05, "beta": 8.0})
DISPLACEMENT_FILTER = (100.0, {"mincutoff": 1.0, "beta": 0.2})


@dataclass(frozen=True)
class EammRuns:
    """Where the trained parts are: runs, or folders that eamm.released.importer wrote."""

    fomm: Path
    a2fd: Path
    displacement: Path
    face_model: Path  # read only where a pose is measured


@dataclass(frozen=True)
class Networks:
    """The trained parts, in evaluation mode on one device."""

    fomm: Fomm
    a2fd: A2fd
    displacement: Displacement | None  # None where no emotion is wanted
    description: DisplacementDescription | None

    @property
    def size(self) -> int:
        """Pixels of a side of the pictures, S."""
        return self.fomm.config.size


def load_networks(runs: EammRuns, emotion: bool, device: torch.device | str) -> Networks:
    """Read the trained parts; the displacement learner only where emotion is wanted.

    Raises:
        FileNotFoundError: a part is not trained yet; the message names it.
        ConfigError: parts that were not made for each other.
    """
    fomm, a2fd = load_fomm(runs.fomm, device), load_a2fd(runs.a2fd, device)
    check_fomm(a2fd.config, fomm.config, fomm.detector)
    if not emotion:
        return Networks(fomm, a2fd, None, None)
    displacement, description = load_displacement(runs.displacement, device)
    ours, theirs = displacement.config.keypoints, fomm.config.keypoints.count
    if ours != theirs:
        raise ConfigError(
            f"{runs.displacement} knows {ours} keypoints, the FOMM in {runs.fomm} has {theirs}; "
            "take those that were trained together"
        )
    found = fingerprint(fomm.detector)
    if description.teacher not in (None, found):
        raise ConfigError(
            f"{runs.displacement} moves the keypoints of detector {description.teacher}, the FOMM "
            f"in {runs.fomm} has {found}; take those that were trained together"
        )
    return Networks(fomm, a2fd, displacement, description)


def neutral_keypoints(
    a2fd: A2fd, source: Image, windows: Array, pose: Array, audio_gain: float = 1.0
) -> Keypoints:
    """Return A2FD's keypoints (T, K) of a sound of any length.

    Args:
        a2fd: in evaluation mode.
        source: the portrait (S, S, 3).
        windows: audio windows (T, 28, 12).
        pose: (T, 6), the release's convention, see eamm/inference/pose.py.
        audio_gain: see A2fd.forward.
    """
    device = next(a2fd.parameters()).device
    heard, held = (
        torch.from_numpy(np.array(each, np.float32))[None].to(device) for each in (windows, pose)
    )
    return a2fd.of_clip(to_tensor(source[None]).to(device), heard, held, audio_gain)


def smoothed(keypoints: Keypoints, settings: tuple[float, dict[str, float]]) -> Keypoints:
    """Return keypoints or displacements (T, ...) smoothed over time (EAMM release, demo).

    Values and jacobians are filtered on their own; see KEYPOINT_FILTER and DISPLACEMENT_FILTER.
    """
    unit, filtering = settings
    parts = []
    for each in keypoints:
        calm = one_euro(unit * each.detach().cpu().numpy().astype(np.float64), **filtering) / unit
        parts.append(torch.from_numpy(calm).to(each))
    return Keypoints(*parts)
