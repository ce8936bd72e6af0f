"""Discriminator of HEF: StyleGAN2's residual network (arXiv:1912.04958, Sec. 4.1, Fig. 7).

Ours to choose, since the paper names none: the nearest open systems, LIA and UniFace, take this one
with the non-saturating loss and R1 (emospace/losses.py).

Letters: B pictures, C channels, S the picture's side, G pictures of a group.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from emospace.networks.styconv import EqualConv, EqualLinear, ResidualDown, activation

LAST = 4  # pixels a side of the last map
GROUP = 4  # G of the deviation over pictures, at most
EPSILON = 1e-8


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes; the defaults are those of 256 px."""

    channels: tuple[int, ...] = (512, 512, 512, 512, 256, 128, 64)  # at 4, 8, ... px

    @property
    def size(self) -> int:
        """Pixels a side of the pictures."""
        return LAST << (len(self.channels) - 1)


class Discriminator(nn.Module):
    """A picture to one logit, high for real ones."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        fine_first = config.channels[::-1]
        last = fine_first[-1]
        self.from_rgb = EqualConv(3, fine_first[0], (1, 1))
        self.downs = nn.ModuleList(ResidualDown(*pair) for pair in pairwise(fine_first))
        self.conv = EqualConv(last + 1, last, (3, 3), padding=1)
        self.hidden = EqualLinear(last * LAST**2, last)
        self.logit = EqualLinear(last, 1)

    def forward(self, pictures_BCSS: Tensor) -> Tensor:
        """Return (B, 1), of pictures (B, 3, S, S) in [0, 1]."""
        features = activation(self.from_rgb(2 * pictures_BCSS - 1))
        for down in self.downs:
            features = down(features)
        features = activation(self.conv(with_deviation(features)))
        return self.logit(activation(self.hidden(features.flatten(1))))


def with_deviation(features_BChw: Tensor) -> Tensor:
    """Return features with the mean deviation over a group of pictures as one more channel.

    StyleGAN2's minibatch standard deviation: pictures that are all alike give themselves away.
    Groups hold at most `GROUP` pictures and divide the batch.
    """
    B, _, h, w = features_BChw.shape
    G = max(size for size in range(1, min(GROUP, B) + 1) if B % size == 0)
    groups = features_BChw.float().unflatten(0, (G, B // G))
    deviation = torch.sqrt(groups.var(dim=0, correction=0) + EPSILON).mean(dim=(1, 2, 3))
    channel = deviation.repeat(G)[:, None, None, None].expand(B, 1, h, w)
    return torch.cat([features_BChw, channel.to(features_BChw.dtype)], dim=1)
