"""Audio-to-landmark network of EVP (paper Sec. 3.3, supplement Sec. 1.2).

An MLP maps the neutral face l_a to the identity code f_a; an LSTM takes content code, emotion code
and f_a of every frame; a two-layer MLP gives the displacement l_d; the face is
l_a + l_d (eq. 7). Deviations: displacements are scaled by a constant so that a fresh network moves
the face by pixels, not by whole faces, and f_a is read from how l_a differs from the mean neutral
face; both only help the optimizer. The release's network has options of its own (the YAML of the
paper does not set them): f_a from components of l_a, one layer as head, 106 landmarks.

Dimension letters in this file:
    B  sequences in the batch
    T  video frames of a sequence, 25 per second
    C, E  content and emotion code
    L  landmark coordinates of a frame, 136 (212 of 106 points), in face frames (see
       evp/landmark_space.py)
    K  motion components, where the output is in that space
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from affekt.media.faces.geometry import FACE_SIZE, View
from affekt.media.faces.schemes import SCHEMES, SchemeName, to_ibug68
from affekt.runtime.config import dump_config, load_config
from affekt.runtime.run import restore
from evp.landmark_space import (
    LandmarkSpace,
    flatten,
    load_space,
    save_space,
    unflatten,
)
from evp.networks.encoders import Encoders, encode, load_encoders

DISPLACEMENT = 4 / FACE_SIZE  # face frames; 4 px, the size of a landmark's motion in speech
COMPONENT = 8.0  # deviations; few outputs need larger steps than many to move a face as fast


# What the emotion codes were in training, and so are in use: of each window, or one, their mean.
EmotionCode = Literal["window", "clip"]


@dataclass(frozen=True)
class Audio2LandmarkConfig:
    """Widths of the network; the defaults are the paper's."""

    identity_dim: int = 256  # f_a, supplement Sec. 1.2; the release has 512
    identity_hidden: int = 0  # of the MLP that gives f_a; 0: as wide as f_a. The release has 256
    # Input of f_a's MLP: the neutral face, or its components in the motion basis (release).
    identity_from: Literal["landmarks", "components"] = "landmarks"
    hidden: int = 256
    layers: int = 3
    head_hidden: int = 256  # 0: no hidden layer, as the release
    output: Literal["landmarks", "components"] = "landmarks"  # components: PCA, as the release
    components: int = 16  # the release's
    scheme: SchemeName = "ibug68"  # of the landmarks; the release has 106 points, sense106

    def __post_init__(self) -> None:
        if self.identity_from == "components" and self.output != "components":
            raise ValueError("identity_from=components needs the basis of output=components")


class Audio2Landmark(nn.Module):
    """Predict the face of every frame from codes of its sound and the neutral face."""

    def __init__(
        self, config: Audio2LandmarkConfig, code_dim: int, space: LandmarkSpace | None = None
    ) -> None:
        """Build the network for content and emotion codes of `code_dim` numbers together.

        The mean neutral face and, for component outputs, the motion basis come from `space` and
        are kept with the weights; without a space they are zeros, to be loaded.

        Raises:
            ValueError: a space of another landmark scheme than the configuration's.
        """
        super().__init__()
        self.config = config
        # The identity is the neutral face, in coordinates or components
        coordinates = 2 * SCHEMES[config.scheme].count
        in_space = config.output == "components"
        inputs = config.components if config.identity_from == "components" else coordinates
        between = config.identity_hidden or config.identity_dim
        self.identity = nn.Sequential(
            nn.Linear(inputs, between),
            nn.ReLU(),
            nn.Linear(between, config.identity_dim),
            nn.ReLU(),
        )
        # The LSTM over windows, and the head to coordinates or components
        self.lstm = nn.LSTM(
            config.identity_dim + code_dim, config.hidden, config.layers, batch_first=True
        )
        self.head = _head(config, config.components if in_space else coordinates)
        # Mean face and motion basis, kept with the weights
        self.mean_L: Tensor
        self.basis_KL: Tensor | None
        self.register_buffer("mean_L", torch.zeros(coordinates))
        self.register_buffer(
            "basis_KL", torch.zeros(config.components, coordinates) if in_space else None
        )
        if space is not None:
            self.set_stats(space)

    def forward(self, content_BTC: Tensor, emotion_BTE: Tensor, neutral_BL: Tensor) -> Tensor:
        """Return the coordinates of every frame, (B, T, L).

        Args:
            content_BTC: content codes of the sound around each frame.
            emotion_BTE: emotion codes of each frame; constant in T, or of no channels at all.
            neutral_BL: l_a, the speaker's neutral face.
        """
        B, T, _ = content_BTC.shape
        identity_BI = self.identity(self._identity_input(neutral_BL))
        identity_BTI = identity_BI[:, None].expand(B, T, -1)
        hidden_BTH, _ = self.lstm(torch.cat([identity_BTI, content_BTC, emotion_BTE], dim=2))
        motion: Tensor = self.head(hidden_BTH)
        displacement_BTL = (
            DISPLACEMENT * motion if self.basis_KL is None else motion @ self.basis_KL
        )
        return neutral_BL[:, None] + displacement_BTL

    def _identity_input(self, neutral_BL: Tensor) -> Tensor:
        """Return what f_a is read from, (B, L) or (B, K), around 0."""
        difference_BL = neutral_BL - self.mean_L
        if self.config.identity_from == "landmarks" or self.basis_KL is None:
            return difference_BL / DISPLACEMENT
        return difference_BL @ self.basis_KL.T / self.basis_KL.square().sum(dim=1)

    @torch.no_grad()
    def set_stats(self, space: LandmarkSpace) -> None:
        """Copy the mean neutral face of `space` and its scaled motion basis.

        Raises:
            ValueError: a space of another landmark scheme than the configuration's.
        """
        if space.scheme.name != self.config.scheme:
            raise ValueError(
                f"the faces have the {space.scheme.count} landmarks of {space.scheme.name}, the "
                f"network is for {self.config.scheme}; set its scheme"
            )
        self.mean_L.copy_(torch.from_numpy(space.neutral.mean(axis=0)))
        if self.basis_KL is not None:
            scaled = COMPONENT * space.deviation[:, None] * space.basis
            self.basis_KL.copy_(torch.from_numpy(scaled))


def _head(config: Audio2LandmarkConfig, outputs: int) -> nn.Sequential:
    if not config.head_hidden:
        return nn.Sequential(nn.Linear(config.hidden, outputs))
    return nn.Sequential(
        nn.Linear(config.hidden, config.head_hidden),
        nn.ReLU(),
        nn.Linear(config.head_hidden, outputs),
    )


@dataclass(frozen=True)
class PredictorDescription:
    """What a run folder holds of its network besides weights and landmark space."""

    model: Audio2LandmarkConfig
    view: View
    emotion_code: EmotionCode = "clip"  # of a run before this entry, which was used so


@dataclass(frozen=True)
class Predictor:
    """A trained audio-to-landmark run, ready for inference."""

    model: Audio2Landmark
    encoders: Encoders
    space: LandmarkSpace
    view: View
    emotion_code: EmotionCode


def save_network(run_dir: Path, description: PredictorDescription, space: LandmarkSpace) -> None:
    """Write audio2lm.yaml and landmark_space.npz, which `load_predictor` reads."""
    dump_config(description, run_dir / "audio2lm.yaml")
    save_space(space, run_dir / "landmark_space.npz")


def load_predictor(run_dir: Path, device: torch.device | str = "cpu") -> Predictor:
    """Read a run of train_audio2lm.py; its networks go to `device`.

    Raises:
        FileNotFoundError: not such a run; the message names the file that is missing.
    """
    encoders = load_encoders(run_dir, device)
    space = load_space(run_dir / "landmark_space.npz")
    found = load_config(PredictorDescription, run_dir / "audio2lm.yaml")
    code_dim = encoders.config.content.dim + encoders.config.emotion.dim
    model = Audio2Landmark(found.model, code_dim)
    restore(run_dir, model=model)
    return Predictor(model.to(device).eval(), encoders, space, found.view, found.emotion_code)


def predict_landmarks(
    model: Audio2Landmark,
    encoders: Encoders,
    windows: NDArray[Any],
    emotion_code: NDArray[Any],
    neutral: NDArray[Any],
) -> NDArray[np.float32]:
    """Return the aligned landmarks of every frame, (N, 68, 2), in pixels of the 256 px face.

    Args:
        windows: audio windows (N, 28, 12), see affekt/media/audio/mfcc.py.
        emotion_code: one code (E,) for the whole clip, or one for each frame (N, E).
        neutral: the speaker's neutral face (N, 2), aligned, in pixels, in the network's scheme.

    Raises:
        ValueError: an emotion code of another length than the network's, or a neutral face of
            another scheme.
    """
    SCHEMES[model.config.scheme].check(neutral)
    wanted = encoders.config.emotion.dim
    if emotion_code.shape not in {(wanted,), (len(windows), wanted)}:
        raise ValueError(
            f"the emotion code has shape {emotion_code.shape}, wanted ({wanted},) or "
            f"({len(windows)}, {wanted}); it comes from another run's encoder"
        )
    return predict_faces(model, encoders.content, windows, emotion_code, flatten(neutral))


@torch.no_grad()
def predict_faces(
    model: Audio2Landmark,
    content_encoder: nn.Module,
    windows: NDArray[Any],
    emotion_code: NDArray[Any],
    neutral_L: NDArray[Any],
) -> NDArray[np.float32]:
    """Return what `predict_landmarks` does, for a neutral face in face frames.

    All windows go through the encoder as one batch and through the LSTM in one pass: twice as
    fast as frame by frame, with the same result. An emotion code of length 0 serves a network
    without emotion. Of a network with 106 points, those are returned that iBUG-68 has.
    """
    content_NC = encode(content_encoder, _tensor(windows, model.mean_L.device))
    return faces_under(model, content_NC, emotion_code[None], neutral_L)[0]


@torch.no_grad()
def faces_under(
    model: Audio2Landmark, content_NC: Tensor, codes: NDArray[Any], neutral_L: NDArray[Any]
) -> NDArray[np.float32]:
    """Return one sound's faces under each of B emotion codes, (B, N, 68, 2), in one pass.

    Args:
        model: the network.
        content_NC: content codes of the sound.
        codes: a code (B, E) for the whole clip, or one for each frame (B, N, E).
        neutral_L: the speaker's neutral face, in face frames.
    """
    B, N = len(codes), len(content_NC)
    emotion_BNE = _tensor(codes if codes.ndim == 3 else codes[:, None], content_NC.device)
    faces = model(
        content_NC.expand(B, -1, -1),
        emotion_BNE.expand(B, N, -1),
        _tensor(neutral_L, content_NC.device).expand(B, -1),
    )
    return to_ibug68(unflatten(faces.cpu().numpy()))


def _tensor(array: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32)).to(device)
