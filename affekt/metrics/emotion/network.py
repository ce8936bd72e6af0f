"""The emotion classifier: a frame attention network (FAN), and the file that holds a trained one.

Meng, Peng, Wang, Qiao: Frame Attention Networks for Facial Expression Recognition in Videos, ICIP
2019 (arXiv:1907.00193), Sec. 2. A ResNet-18 turns each face into a feature f_i; attention weighs
the frames; one softmax classifies the video:

    self-attention      alpha_i = sigmoid(f_i^T q0)
    global feature      f'_v = sum_i alpha_i f_i / sum_i alpha_i
    relation-attention  beta_i = sigmoid([f_i : f'_v]^T q1)
    video               f_v = sum_i alpha_i beta_i [f_i : f'_v] / sum_i alpha_i beta_i

With self-attention alone the video is f'_v. Two differences from the published code: q0 and q1 have
no offset, as in the paper (there they have one), and training and use share one pooling (there the
weights of the sum at test time lack beta, those of the denominator have it).

A classifier's label order, and the people that it was trained on, are in the header of its
weights file, with its sizes and its accuracy on true videos, the ceiling of every result.

Letters: B videos, T frames of a video, N faces, D numbers of a frame's feature, S pixels of a side,
K emotions.
"""

import json
import typing as tp
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from affekt.nets.residual import residual_stage
from affekt.runtime.config import from_mapping
from affekt.runtime.weights.convert import fill, read_torch, tensors
from affekt.runtime.weights.tensor_files import load_tensors, save_tensors

Attention = tp.Literal["self", "relation"]

WEIGHTS = "emotion_classifier.safetensors"  # in the run folder
HEADER = "emotion_classifier"  # the entry of the file's metadata
TRAIN = "train it: python -m affekt.metrics.emotion.train CONFIG.yaml, to the last step"


@dataclass(frozen=True)
class FanConfig:
    """Sizes; the defaults are ResNet-18's and the published code's."""

    widths: tuple[int, ...] = (64, 128, 256, 512)  # channels of the four residual stages
    blocks: int = 2  # residual blocks a stage
    attention: Attention = "relation"
    attention_dropout: float = 0.5  # of what the attention weights are computed from
    dropout: float = 0.6  # of the video's feature before the softmax

    def __post_init__(self) -> None:
        if len(self.widths) != 4 or min(self.widths) < 1 or self.blocks < 1:
            raise ValueError(
                f"widths are {self.widths} and blocks {self.blocks}, wanted four widths, all 1 or "
                "more, and a block at least"
            )
        for name in ("attention_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted 0 or more, less than 1")

    @property
    def dim(self) -> int:
        """D, the length of a frame's feature: 512 in the paper."""
        return self.widths[-1]


class Backbone(nn.Module):
    """ResNet-18 without its last layer, of any width; names and layout are torchvision's."""

    def __init__(self, config: FanConfig) -> None:
        super().__init__()
        first = config.widths[0]
        self.conv1 = nn.Conv2d(3, first, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = residual_stage(first, config.widths[0], 1, config.blocks)
        self.layer2 = residual_stage(config.widths[0], config.widths[1], 2, config.blocks)
        self.layer3 = residual_stage(config.widths[1], config.widths[2], 2, config.blocks)
        self.layer4 = residual_stage(config.widths[2], config.widths[3], 2, config.blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, faces_NCSS: Tensor) -> Tensor:
        """Return features (N, D), not negative, of faces (N, 3, S, S) in [0, 1]."""
        stem = self.maxpool(self.relu(self.bn1(self.conv1(faces_NCSS))))
        last = self.layer4(self.layer3(self.layer2(self.layer1(stem))))
        return self.avgpool(last).flatten(1)


class Fan(nn.Module):
    """Videos of faces (B, T, 3, S, S) in [0, 1] to logits (B, K)."""

    def __init__(self, config: FanConfig, classes: int) -> None:
        super().__init__()
        self.config = config
        pooled = 2 * config.dim if config.attention == "relation" else config.dim
        self.backbone = Backbone(config)
        self.alpha = nn.Linear(config.dim, 1, bias=False)  # q0
        if config.attention == "relation":
            self.beta = nn.Linear(2 * config.dim, 1, bias=False)  # q1
        self.classifier = nn.Linear(pooled, classes)
        self.attention_dropout = nn.Dropout(config.attention_dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, faces_BTCSS: Tensor) -> Tensor:
        """Return logits (B, K) of faces (B, T, 3, S, S) in [0, 1]."""
        features = self.backbone(faces_BTCSS.flatten(0, 1))
        return self.classify(features.unflatten(0, faces_BTCSS.shape[:2]))

    def classify(self, features_BTD: Tensor) -> Tensor:
        """Return logits (B, K) of videos whose frames have these features."""
        return self.classifier(self.dropout(self.pool(features_BTD)))

    def pool(self, features_BTD: Tensor) -> Tensor:
        """Return the videos' features, (B, D) with self-attention, (B, 2 D) with relation."""
        alpha = self._weights(self.alpha, features_BTD)
        overall = weighted_mean(features_BTD, alpha)
        if self.config.attention == "self":
            return overall
        pairs = torch.cat([features_BTD, overall[:, None].expand_as(features_BTD)], dim=2)
        beta = self._weights(self.beta, pairs)
        return weighted_mean(pairs, alpha * beta)

    def _weights(self, query: nn.Module, features_BTD: Tensor) -> Tensor:
        """Return attention weights (B, T) in (0, 1)."""
        return torch.sigmoid(query(self.attention_dropout(features_BTD))[..., 0])


def weighted_mean(features_BTD: Tensor, weights_BT: Tensor) -> Tensor:
    """Return sum_i w_i f_i / sum_i w_i, (B, D), of weights that are not negative nor all 0."""
    total = weights_BT.sum(dim=1, keepdim=True)
    return (weights_BT[..., None] * features_BTD).sum(dim=1) / total


@dataclass(frozen=True)
class Description:
    """The header of a weights file."""

    fan: FanConfig
    emotions: tuple[str, ...]  # in label order
    size: int  # S, pixels of a face's side
    corpus: str  # that it was trained on
    split_sha256: str  # data.split_hash of the training clips
    speakers: tuple[str, ...]  # of the training clips
    truth_split: str | None = None  # what its accuracy was measured on; None: nothing
    truth_clips: int = 0
    truth_correct: int = 0


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network in evaluation mode."""

    network: Fan
    description: Description
    device: torch.device


def save_classifier(folder: Path, network: Fan, description: Description) -> Path:
    """Write the weights and their description into a run folder; return the file."""
    path = folder / WEIGHTS
    save_tensors(path, network.state_dict(), {HEADER: json.dumps(asdict(description))})
    return path


def load_classifier(path: Path, device: torch.device | str = "cpu") -> Classifier:
    """Read a trained classifier.

    Args:
        path: a run folder of affekt.metrics.emotion.train, or the weights file of one.
        device: where it goes.

    Raises:
        FileNotFoundError: no such file; the message names the command that makes one.
        ValueError: the file is damaged, or is no emotion classifier of this project.
    """
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; {TRAIN}")
    state, metadata = load_tensors(file)
    # Sizes from the description, weights from the same file
    try:
        description = from_mapping(
            Description, json.loads(metadata.get(HEADER, "{}")), "its description"
        )
        network = Fan(description.fan, len(description.emotions))
        network.load_state_dict(state)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{file} is no emotion classifier of this project: {error}") from None
    target = torch.device(device)
    return Classifier(network.to(target).eval(), description, target)


def load_backbone(network: Backbone, path: Path) -> None:
    """Start a backbone from weights of a ResNet-18 of torchvision's names.

    Args:
        network: gets them; its widths must be those of the file.
        path: a torch file: a state dict, or one under "state_dict"; keys may begin with "module."
            (DataParallel). The last layer is left out: its classes are not ours.

    Raises:
        ValueError: no such weights in the file, or of other sizes; the message names a key.
    """
    # The file's weights under this network's names
    found = read_torch(path, "wanted is the published backbone of FER+")
    state = found.get("state_dict", found) if isinstance(found, dict) else found
    weights = tensors(state, "the backbone", path)
    plain = {key.removeprefix("module."): value for key, value in weights.items()}
    wanted = {key: plain[key] for key in network.state_dict() if key in plain}
    # Fill all but the last layer; the training mode is kept
    training = network.training
    try:
        fill(network, wanted, {key: key for key in wanted})
    except ValueError as error:
        sizes = "a ResNet-18 with torchvision's names; fan.widths must be [64, 128, 256, 512]"
        raise ValueError(f"{path}: {error}; wanted is {sizes}") from None
    network.train(training)
