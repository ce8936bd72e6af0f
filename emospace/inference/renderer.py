"""Draw a portrait under other expressions and poses with a trained HEF.

Letters: T frames, S pixels a side, E expression modes, M = 6 + E numbers of a motion.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from affekt.arrays import Array, Image
from affekt.media.corpus import POSE_DIM
from affekt.media.face3d.crop_pose import picture_places, picture_pose
from affekt.media.face3d.model import FaceModel, load_face_model, save_face_model
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import from_tensor, to_tensor
from affekt.runtime.config import dump_config, load_config
from affekt.runtime.devices import pick_device
from affekt.runtime.run import restore
from emospace.data.motions import MotionStats
from emospace.networks.renderer import History, Renderer, RendererConfig, Source, frame_of

DESCRIPTION = "renderer.yaml"  # in the run folder: sizes, and whose coefficients drive it
FACE_MODEL = "face_model.npz"  # beside it, where the prior is on
BATCH = 8  # frames at once


@dataclass(frozen=True)
class FaceRendererDescription:
    """What a run folder holds of its network besides the weights."""

    renderer: RendererConfig
    motion: MotionStats
    face_model: str  # name of the model whose coefficients drive it
    sha256: str  # of that model


class EncodedPortrait(NamedTuple):
    """A portrait, ready to be drawn."""

    source: Source  # of one picture
    motion: Tensor  # (1, M), the portrait's own
    landmarks: Tensor | None  # (1, 68, 2) in [-1, 1]


class FaceRenderer:
    """A trained HEF in evaluation mode.

    Attributes:
        size: S, of the frames that it draws.
        modes: E.
        sha256: of the face model whose coefficients drive it.
        history: share of the frame before in every flow and mask, 0 to 1. Steadier, and later by
            share / (1 - share) frames; frames are then drawn one by one.
    """

    def __init__(
        self, renderer: Renderer, description: FaceRendererDescription, history: float = 0.0
    ) -> None:
        if not 0 <= history < 1:
            raise ValueError(f"history is {history}, wanted 0 or more and below 1")
        self.renderer, self.description, self.history = renderer, description, history
        self.size, self.modes = description.renderer.size, description.motion.modes
        self.sha256 = description.sha256
        self.device = next(renderer.parameters()).device

    @torch.no_grad()
    def encode(
        self,
        source: Image,
        source_expression: Array,
        source_pose: Array,
        landmarks: Array | None = None,
    ) -> EncodedPortrait:
        """Return a portrait's features and motion.

        Args:
            source: (H, H, 3) uint8 RGB, the crop; of any size.
            source_expression: (E,), in the face model's units.
            source_pose: (6,), in pixels of that crop (affekt.media.face3d.crop_pose.crop_pose).
            landmarks: (68, 2), pixels of that crop: where the prior moves the face from. None: the
                face model's own under the source's pose, less exact. Unused without prior.

        Raises:
            ValueError: another number of modes, or a picture that is not square.
        """
        side = source.shape[0]
        motion = self._motions(source_expression[None], source_pose[None], side)
        places = None
        if landmarks is not None:
            places = torch.from_numpy(picture_places(landmarks, side)).float()[None].to(self.device)
        pictures = to_tensor(resized(source[None], self.size)).to(self.device)
        return EncodedPortrait(self.renderer.encode(pictures), motion, places)

    def render(
        self, encoded: EncodedPortrait, expression: Array, pose: Array, side: int | None = None
    ) -> Iterator[Image]:
        """Yield frames (S, S, 3) uint8 RGB of expressions (T, E) and poses (T, 6).

        Args:
            encoded: the portrait.
            expression: in the face model's units.
            pose: in pixels of the crop that the portrait came in.
            side: pixels a side of that crop; None: S.

        Raises:
            ValueError: another number of modes, or of frames in one of the two.
        """
        motions = self._motions(expression, pose, side or self.size)
        w = self.renderer.config.window
        T = len(motions)
        around = torch.arange(-w, w + 1, device=self.device)
        steady: list[Tensor | None] | None = None
        step = 1 if self.history else BATCH
        for start in range(0, T, step):
            places = torch.arange(start, min(start + step, T), device=self.device)
            windows_BWM = motions[(places[:, None] + around).clamp(0, T - 1)]
            history = History(steady, self.history) if self.history and steady else None
            pictures, steady = self._draw(encoded, windows_BWM, history)
            yield from from_tensor(pictures)

    @torch.no_grad()
    def _draw(
        self, encoded: EncodedPortrait, windows_BWM: Tensor, history: History | None
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return frames (B, 3, S, S), and what is kept of them for the next one."""
        B = len(windows_BWM)
        places = encoded.landmarks
        levels = self.renderer(
            encoded.source.repeated(B),
            encoded.motion.expand(B, -1),
            windows_BWM,
            None if places is None else places.expand(B, -1, -1),
            history,
        )
        return frame_of(levels).float(), [level.steady for level in levels]

    def _motions(self, expression: Array, pose: Array, side: int) -> Tensor:
        """Return motions (T, M) of expressions (T, E) and poses (T, 6) in pixels."""
        expression, pose = np.asarray(expression, float), np.asarray(pose, float)
        wanted = len(pose), self.modes
        if expression.shape != wanted or pose.shape[1:] != (POSE_DIM,):
            raise ValueError(
                f"expression has shape {expression.shape} and pose {pose.shape}, wanted (T, "
                f"{self.modes}) and (T, {POSE_DIM}): coefficients of {self.description.face_model},"
                f" the face model that this renderer was trained with"
            )
        both = np.concatenate([picture_pose(pose, side), expression], axis=1)
        return torch.from_numpy(both).float().to(self.device)


def save_description(
    run_dir: Path, description: FaceRendererDescription, face: FaceModel | None
) -> None:
    """Write what `load_face_renderer` needs into a run folder."""
    dump_config(description, run_dir / DESCRIPTION)
    if description.renderer.prior and face is not None:
        save_face_model(face, run_dir / FACE_MODEL)


def load_face_renderer(
    run_dir: Path, device: torch.device | str = "auto", history: float = 0.0
) -> FaceRenderer:
    """Read the averaged network of a run of train_face_renderer.py.

    Args:
        run_dir: the run.
        device: `auto`, or where it goes.
        history: see `FaceRenderer`.

    Raises:
        FileNotFoundError: not such a run, or it has no checkpoint yet.
    """
    path = run_dir / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run train_face_renderer.py into that folder")
    description = load_config(FaceRendererDescription, path)
    config = description.renderer
    face = load_face_model(run_dir / FACE_MODEL) if config.prior else None
    renderer = Renderer(config, description.motion, face)
    ema = AveragedModel(renderer)
    restore(run_dir, ema=ema)
    renderer.load_state_dict(ema.module.state_dict())
    where = pick_device(device) if isinstance(device, str) else device
    return FaceRenderer(renderer.to(where).eval(), description, history)
