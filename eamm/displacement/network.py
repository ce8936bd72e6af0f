"""EAMM's implicit emotion displacement learner: displacements of A2FD's neutral keypoints from an
emotion source (supplement A.1, Fig. 2; what it leaves open is as in the EAMM release).

The emotion extractor E_e maps a frame to its emotion feature: FOMM's downsampling and hourglass,
then a ResNet-18 without its 7x7 stem, 256 px -> 35 x 64 x 64 -> 64 x 32 x 32 -> 512 x 4 x 4 -> 512
at the release's size, and an MLP on that mean, which the release leaves out. The predictor P_d maps
that feature and the positionally encoded neutral keypoints to displacements of a few of the
keypoints: those that emotion moves and speech does not, which depend on the FOMM at hand
(eamm.displacement.keypoint_choice measures them).

Letters: B frames, K keypoints, M displaced keypoints, T frames of a clip, S pixels of a side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from affekt.arrays import Image
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import to_tensor
from affekt.nets.precision import in_float32
from affekt.nets.residual import residual_stage
from affekt.runtime.config import dump_config
from eamm.augment import mask_mouth
from eamm.fomm.blocks import AntiAlias, Hourglass, HourglassConfig, mlp
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import read_description, read_weights

DESCRIPTION = "displacement.yaml"  # what `load_displacement` needs
WEIGHTS = "displacement.safetensors"  # of an imported model
NUMBERS = 6  # of a keypoint: x, y, J00, J01, J10, J11
RELEASED = (1, 4, 6, 8)  # the keypoints that the released weights displace
RELEASED_GAINS = (0.2, 1.0, 1.0, 0.0)  # by which the release's demo scales their displacements
CHUNK = 32  # frames at once through a network at inference


@dataclass(frozen=True)
class ExtractorConfig:
    """Sizes of the emotion extractor; the defaults are the release's."""

    downscale: int = 4  # the picture is made this much smaller first
    hourglass: HourglassConfig = field(default_factory=lambda: HourglassConfig(32))
    widths: tuple[int, ...] = (64, 128, 256, 512)  # channels of the residual stages
    blocks: int = 2  # residual blocks a stage
    sigma: float = 1.5  # pixels, of the blur before `downscale`: fixed in the EAMM release
    # mlp: the supplement's "ResBlock and MLP", here of two layers as its other projections have.
    # release: the mean of the last stage's map is the emotion feature itself.
    head: Literal["mlp", "release"] = "mlp"

    def __post_init__(self) -> None:
        if not self.widths or self.blocks < 1:
            raise ValueError(
                f"widths are {self.widths} and blocks {self.blocks}, wanted one at least"
            )

    @property
    def dim(self) -> int:
        """Length of the emotion feature: 512 in the paper."""
        return self.widths[-1]


class EmotionExtractor(nn.Module):
    """Frames (B, 3, S, S) in [0, 1] to emotion features (B, dim)."""

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__()
        self.down = AntiAlias(3, config.downscale, config.sigma)
        self.hourglass = Hourglass(3, config.hourglass)
        first = config.widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(self.hourglass.out_channels, first, 3, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        ins = (first, *config.widths[:-1])
        self.stages = nn.Sequential(
            *(
                residual_stage(*sizes, stride=1 + (number > 0), blocks=config.blocks)
                for number, sizes in enumerate(zip(ins, config.widths, strict=True))
            )
        )
        for part in (*self.stem.modules(), *self.stages.modules()):
            if isinstance(part, nn.Conv2d):  # as torchvision's ResNet begins
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        self.head = _mlp(config.dim) if config.head == "mlp" else nn.Identity()

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """Return the emotion feature of each frame."""
        features: Tensor = self.stages(self.stem(self.hourglass(self.down(frames_BCHW))))
        return self.head(features.mean(dim=(2, 3)))


@dataclass(frozen=True)
class DisplacementConfig:
    """Sizes; the defaults are the release's where it and the supplement agree."""

    keypoints: int = 10  # K
    keypoint_ids: tuple[int, ...] = RELEASED  # which of them are displaced, in this order
    # mlp: the supplement's 4-layer MLP. release: three of its layers, then three one-dimensional
    # convolutions over the last one's 64 numbers, which give exactly 4 x 6.
    head: Literal["mlp", "release"] = "mlp"
    frequencies: int = 10  # L of the positional encoding; 0: none
    projection: int = 1024  # hidden width of the neutral keypoints' 2-layer MLP
    neutral: int = 512  # numbers of the neutral feature
    hidden: tuple[int, int, int] = (512, 256, 64)  # widths of the head
    extractor: ExtractorConfig = field(default_factory=ExtractorConfig)
    classes: int = 0  # of the classification head on the emotion feature; 0: none

    def __post_init__(self) -> None:
        ids = self.keypoint_ids
        wrong = [index for index in ids if not 0 <= index < self.keypoints]
        if wrong or not ids or len(set(ids)) < len(ids):
            raise ValueError(
                f"keypoint_ids is {ids}, wanted different indices from 0 to {self.keypoints - 1}"
            )
        if self.head == "release" and (len(ids), self.hidden[-1]) != (4, 64):
            raise ValueError(
                f"the head 'release' displaces 4 keypoints from a last width of 64, not "
                f"{len(ids)} from {self.hidden[-1]}; use the head 'mlp'"
            )


@dataclass(frozen=True)
class DisplacementDescription:
    """A run folder's displacement.yaml."""

    displacement: DisplacementConfig
    size: int = 256  # S of the emotion source
    keypoint_gains: tuple[float, ...] = ()  # of the displacements; empty: 1
    mask_mouth: bool = True  # whether mouths were hidden in training
    emotions: tuple[str, ...] = ()  # the classification head's classes
    teacher: str | None = None  # `fingerprint` of the detector whose keypoints it displaces


@in_float32
def positional_encoding(numbers: Tensor, frequencies: int) -> Tensor:
    """Return numbers (..., n) with their sines and cosines, (..., n (1 + 2 L)).

    Supplement A.1 ("the dimension of the sinusoid is set to be 10"), as NeRF (arXiv:2003.08934,
    eq. 4) but without pi, and with the numbers themselves (EAMM release):
    [p, sin p, cos p, sin 2p, cos 2p, ..., sin 2^(L-1) p, cos 2^(L-1) p], each a block of n.
    """
    scaled = [numbers * 2.0**power for power in range(frequencies)]
    waves = [wave for angle in scaled for wave in (angle.sin(), angle.cos())]
    return torch.cat([numbers, *waves], dim=-1)


class DisplacementPredictor(nn.Module):
    """P_d: emotion features and neutral keypoints to displacements of the chosen keypoints."""

    def __init__(self, config: DisplacementConfig) -> None:
        super().__init__()
        self.config = config
        inputs = config.keypoints * NUMBERS * (1 + 2 * config.frequencies)
        self.projection = mlp(inputs, config.projection, config.neutral)
        self.hidden = mlp(config.extractor.dim + config.neutral, *config.hidden)
        self.output = _convolutions() if config.head == "release" else _dense(config)

    def forward(self, emotion_BE: Tensor, keypoints: Keypoints) -> Keypoints:
        """Return the displacements, (B, M, 2) and (B, M, 2, 2)."""
        B, M = len(emotion_BE), len(self.config.keypoint_ids)
        numbers = torch.cat([keypoints.value, keypoints.jacobian.flatten(2)], dim=2)
        encoded = positional_encoding(numbers, self.config.frequencies).flatten(1)
        together = torch.cat([emotion_BE, self.projection(encoded)], dim=1)
        hidden = self.hidden(together)
        out = self.output(hidden[:, None]) if self.config.head == "release" else self.output(hidden)
        numbers = out.reshape(B, M, NUMBERS)
        return Keypoints(numbers[..., :2], numbers[..., 2:].unflatten(2, (2, 2)))


class Displacement(nn.Module):
    """Extractor, predictor and, where there are classes, a classifier of emotion features."""

    def __init__(self, config: DisplacementConfig) -> None:
        super().__init__()
        self.config = config
        self.extractor = EmotionExtractor(config.extractor)
        self.predictor = DisplacementPredictor(config)
        self.classifier = (
            nn.Linear(config.extractor.dim, config.classes) if config.classes else None
        )

    def forward(self, emotion_BCHW: Tensor, keypoints: Keypoints) -> Keypoints:
        """Return the displacements that each emotion frame gives its neutral keypoints."""
        return self.predict(self.extractor(emotion_BCHW), keypoints)

    def predict(self, emotion_BE: Tensor, keypoints: Keypoints) -> Keypoints:
        """Return the displacements of emotion features (B, dim), which may be blended."""
        return self.predictor(emotion_BE, keypoints)

    def classify(self, emotion_BE: Tensor) -> Tensor:
        """Return the logits of emotion features, (B, classes)."""
        assert self.classifier is not None, "this network has no classification head"
        return self.classifier(emotion_BE)


@in_float32
def apply_displacement(
    keypoints: Keypoints, displacement: Keypoints, ids: Sequence[int], gains: Sequence[float] = ()
) -> Keypoints:
    """Return keypoints (..., K) with those of `ids` displaced, each times its gain (1 if none).

    Raises:
        ValueError: another number of gains than of ids.
    """
    if gains and len(gains) != len(ids):
        raise ValueError(f"{len(gains)} keypoint_gains for {len(ids)} keypoint_ids {tuple(ids)}")
    value, jacobian = displacement
    index = torch.tensor(ids, device=value.device)
    gain = value.new_tensor(gains or [1.0] * len(ids))
    return Keypoints(
        keypoints.value.index_add(-2, index, gain[:, None] * value),
        keypoints.jacobian.index_add(-3, index, gain[:, None, None] * jacobian),
    )


def select(keypoints: Keypoints, ids: Sequence[int]) -> Keypoints:
    """Return some of the keypoints (..., K), in the order asked for."""
    index = list(ids)
    return Keypoints(keypoints.value[..., index, :], keypoints.jacobian[..., index, :, :])


def emotion_source(frames: Image, description: DisplacementDescription, seed: int = 0) -> Tensor:
    """Return an emotion source as the network expects it, (T, 3, S, S) float32 in [0, 1].

    Resized, and its mouth hidden under noise where it was in training; the release's demo applies
    the whole training augmentation at random.

    Args:
        frames: (T, H, W, 3) RGB, squares cut as profile `eamm` does.
        description: of the run.
        seed: of the noise.
    """
    small = resized(frames, description.size)
    if description.mask_mouth:
        small = mask_mouth(small, np.random.default_rng(seed))
    return to_tensor(small)


@torch.no_grad()
def displacements(model: Displacement, features_TE: Tensor, neutral: Keypoints) -> Keypoints:
    """Return the displacements (T, M) that emotion features give neutral keypoints (T, K)."""
    parts = [
        model.predict(features, Keypoints(*chunk))
        for features, *chunk in zip(
            features_TE.split(CHUNK), *(each.split(CHUNK) for each in neutral), strict=True
        )
    ]
    return Keypoints(*(torch.cat(each) for each in zip(*parts, strict=True)))


def save_displacement_description(folder: Path, description: DisplacementDescription) -> None:
    """Write what `load_displacement` needs."""
    dump_config(description, folder / DESCRIPTION)


def load_displacement(
    path: Path, device: torch.device | str = "cpu"
) -> tuple[Displacement, DisplacementDescription]:
    """Read a displacement learner in evaluation mode.

    Args:
        path: a run folder of train_emotion_displacement.py, or one that eamm.released.importer
            wrote.
        device: where it goes.

    Raises:
        FileNotFoundError: neither of them; the message names the commands.
    """
    script = "train_emotion_displacement.py"
    description = read_description(DisplacementDescription, path, DESCRIPTION, script)
    model = Displacement(description.displacement)
    read_weights(path, WEIGHTS, model, model=model)
    return model.to(device).eval(), description


def _dense(config: DisplacementConfig) -> nn.Module:
    """The MLP's fourth layer; it begins at no displacement (ours)."""
    last = nn.Linear(config.hidden[-1], NUMBERS * len(config.keypoint_ids))
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return last


def _mlp(dim: int) -> nn.Sequential:
    """The extractor's MLP: (B, dim) to (B, dim)."""
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))


def _convolutions() -> nn.Module:
    """The release's head: (B, 1, 64) to (B, 4, 6)."""
    return nn.Sequential(
        nn.Conv1d(1, 2, 4, stride=2, padding=1),  # 64 -> 32
        nn.MaxPool1d(2),
        nn.ReLU(),
        nn.Conv1d(2, 4, 4, stride=2, padding=1),  # 16 -> 8
        nn.ReLU(),
        nn.Conv1d(4, 4, 3),  # -> 6
    )
