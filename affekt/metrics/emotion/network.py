"""Frame attention network: one emotion for a whole video from the faces of some of its frames.

Meng, Peng, Wang, Qiao: Frame Attention Networks for Facial Expression Recognition in Videos, ICIP
2019 (arXiv:1907.00193), Sec. 2. A ResNet-18 turns each face into a feature f_i; attention weighs
the frames; one softmax judges the video:

    self-attention      alpha_i = sigmoid(f_i^T q0)
    global feature      f'_v = sum_i alpha_i f_i / sum_i alpha_i
    relation-attention  beta_i = sigmoid([f_i : f'_v]^T q1)
    video               f_v = sum_i alpha_i beta_i [f_i : f'_v] / sum_i alpha_i beta_i

With self-attention alone the video is f'_v. Two differences from the published code: q0 and q1 have
no offset, as in the paper (there they have one), and training and use share one pooling (there the
weights of the sum at test time lack beta, those of the denominator have it).

Letters: B videos, T frames of a video, N faces, D numbers of a frame's feature, S pixels of a side,
K emotions.
"""

import typing as tp
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

Attention = tp.Literal["self", "relation"]


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
        self.layer1 = _stage(first, config.widths[0], 1, config.blocks)
        self.layer2 = _stage(config.widths[0], config.widths[1], 2, config.blocks)
        self.layer3 = _stage(config.widths[1], config.widths[2], 2, config.blocks)
        self.layer4 = _stage(config.widths[2], config.widths[3], 2, config.blocks)
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

    def forward(self, faces: Tensor, there: Tensor | None = None) -> Tensor:
        """Return logits (B, K).

        Args:
            faces: (B, T, 3, S, S) in [0, 1].
            there: (B, T) bool, which frames are the video's own; the others are padding, which
                nothing sees, batch norm included. Every video needs one. None: all are.
        """
        if there is None:
            there = torch.ones(faces.shape[:2], dtype=torch.bool, device=faces.device)
        found = self.backbone(faces[there])
        features = found.new_zeros(*there.shape, self.config.dim).masked_scatter(
            there[..., None], found
        )
        return self.judge(features, there)

    def judge(self, features_BTD: Tensor, there_BT: Tensor) -> Tensor:
        """Return logits (B, K) of videos whose frames have these features."""
        return self.classifier(self.dropout(self.pool(features_BTD, there_BT)))

    def pool(self, features_BTD: Tensor, there_BT: Tensor) -> Tensor:
        """Return the videos' features, (B, D) with self-attention, (B, 2 D) with relation."""
        alpha = self._weights(self.alpha, features_BTD, there_BT)
        overall = weighted_mean(features_BTD, alpha)
        if self.config.attention == "self":
            return overall
        pairs = torch.cat([features_BTD, overall[:, None].expand_as(features_BTD)], dim=2)
        beta = self._weights(self.beta, pairs, there_BT)
        return weighted_mean(pairs, alpha * beta)

    def _weights(self, query: nn.Module, features_BTD: Tensor, there_BT: Tensor) -> Tensor:
        """Return attention weights (B, T) in (0, 1), 0 where no frame is."""
        scores = query(self.attention_dropout(features_BTD))[..., 0]
        return torch.sigmoid(scores) * there_BT


def weighted_mean(features_BTD: Tensor, weights_BT: Tensor) -> Tensor:
    """Return sum_i w_i f_i / sum_i w_i, (B, D), of weights that are not negative nor all 0."""
    total = weights_BT.sum(dim=1, keepdim=True)
    return (weights_BT[..., None] * features_BTD).sum(dim=1) / total


def _stage(inside: int, outside: int, stride: int, blocks: int) -> nn.Sequential:
    """Return a residual stage; its first block changes size and channels, as in torchvision."""
    shortcut = None
    if stride != 1 or inside != outside:
        shortcut = nn.Sequential(
            nn.Conv2d(inside, outside, 1, stride=stride, bias=False), nn.BatchNorm2d(outside)
        )
    others = [BasicBlock(outside, outside) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(inside, outside, stride, shortcut), *others)
