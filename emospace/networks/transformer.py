"""Transformer encoder with a prepended token, which returns its attention where it is asked for.

The paper's two Transformers, the audio encoder's (supplement Sec. 1.1) and Phi of the expression
network (Sec. 1.2), have layers, heads and widths printed and nothing else: normalisation before
each part, GELU and sinusoidal positions are ours, the usual ones that train without a warm-up.

Dimension letters in this file:
    B  sequences of a batch
    N  tokens of a sequence
    W  numbers of a token
"""

import math

import torch
from torch import Tensor, nn

LONGEST_WAVE = 10_000.0  # of the positions (Vaswani et al., arXiv:1706.03762, Sec. 3.5)


class TransformerLayer(nn.Module):
    """Self-attention and a two-layer perceptron, each added to what it is given."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x_BNW: Tensor, padding_BN: Tensor | None = None, with_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the tokens and, where asked for, the weights (B, N, N), means over the heads.

        Args:
            x_BNW: tokens.
            padding_BN: True where a token is padding, which none attends to.
            with_weights: row i of the weights is what token i attends to; it sums to 1.
        """
        normed = self.attention_norm(x_BNW)
        attended, weights = self.attention(
            normed, normed, normed, key_padding_mask=padding_BN, need_weights=with_weights
        )
        x_BNW = x_BNW + self.dropout(attended)
        return x_BNW + self.dropout(self.feedforward(self.norm(x_BNW))), weights


class Transformer(nn.Module):
    """A stack of layers, and a last normalisation."""

    def __init__(
        self, layers: int, width: int, heads: int, feedforward: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, feedforward, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, x_BNW: Tensor, padding_BN: Tensor | None = None, with_weights: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the tokens (B, N, W), and the weights (B, N, N) of each layer where asked for."""
        found = []
        for layer in self.layers:
            x_BNW, weights = layer(x_BNW, padding_BN, with_weights)
            if weights is not None:
                found.append(weights)
        return self.norm(x_BNW), found


def positions(count: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return sinusoidal positions (count, width) in [-1, 1], of any length.

    Sines in the even columns, cosines in the odd, wavelengths from 2 pi to 2 pi LONGEST_WAVE.
    """
    place = torch.arange(count, device=device, dtype=torch.float32)[:, None]
    rates = torch.arange(0, width, 2, device=device, dtype=torch.float32) / width
    angles = place * torch.exp(-math.log(LONGEST_WAVE) * rates)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]
