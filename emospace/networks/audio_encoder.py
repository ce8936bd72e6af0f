"""The audio encoder of AME: a Transformer with a CLS token (supplement Sec. 1.1, Fig. 1a).

Printed there: CLS as in ViT for pooling, 4 layers, 8 heads, width 256, then a linear layer to the
emotion code. Ours, since nothing is printed: log-mel as input (affekt/media/audio/mel.py), four of
its rows a token (20 tokens a second: short against a syllable, and a quarter of the cost of one
row), a feedforward width of four times 256, sinusoidal positions, so that any length goes in.

Dimension letters in this file:
    B  clips of a batch
    R  mel rows, 80 a second
    M  mel bins, 80
    N  tokens over time, of `rows` mel rows each
    W  numbers of a token
    C  numbers of an emotion code
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from affekt.media.audio.mel import BINS, FLOOR
from emospace.networks.transformer import Transformer, positions

SILENCE = float(np.log(FLOOR))  # what a mel is lengthened with


@dataclass(frozen=True)
class AudioEncoderConfig:
    """Sizes; the defaults of the first three are the paper's."""

    layers: int = 4
    heads: int = 8
    width: int = 256
    feedforward: int = 1024
    rows: int = 4  # mel rows a token
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}, wanted a multiple of heads, {self.heads}")


class AudioEncoder(nn.Module):
    """Log-mels (B, R, M) to emotion codes (B, C), not normalised."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: AudioEncoderConfig, code_dim: int) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Linear(config.rows * BINS, config.width)
        self.cls = nn.Parameter(0.02 * torch.randn(config.width))
        self.transformer = Transformer(
            config.layers, config.width, config.heads, config.feedforward, config.dropout
        )
        self.projection = nn.Linear(config.width, code_dim)
        # Of the training mels, all bins together: what emotion does to the spectrum stays in
        self.register_buffer("mean", torch.tensor(-6.0))
        self.register_buffer("deviation", torch.tensor(2.0))

    def set_stats(self, mean: float, deviation: float) -> None:
        """Set what mels are normalised by: mean and deviation of those of training."""
        self.mean.fill_(mean)
        self.deviation.fill_(deviation)

    def forward(self, mel_BRM: Tensor, rows_B: Tensor | None = None) -> Tensor:
        """Return the codes (B, C).

        Args:
            mel_BRM: natural logarithms; clips of a batch are of one length.
            rows_B: how many rows of each clip are sound and no padding; None: all.
        """
        return self.projection(self._encoded(mel_BRM, rows_B, False)[0][:, 0])

    def attention(self, mel_BRM: Tensor, rows_B: Tensor | None = None) -> Tensor:
        """Return what CLS attends to over time, (B, N): Fig. 4a. Rows sum to 1.

        The mean over the heads of the last layer, as printed of the heads; which layer is not. The
        weight of CLS on itself is left out.
        """
        weights = self._encoded(mel_BRM, rows_B, True)[1][-1][:, 0, 1:]
        return weights / weights.sum(dim=1, keepdim=True)

    def _encoded(
        self, mel_BRM: Tensor, rows_B: Tensor | None, with_weights: bool
    ) -> tuple[Tensor, list[Tensor]]:
        B, R, _ = mel_BRM.shape
        rows = self.config.rows
        mel_BRM = F.pad(mel_BRM, (0, 0, 0, -R % rows), value=SILENCE)
        normed = (mel_BRM - self.mean) / self.deviation
        time_BNW = self.tokens(normed.reshape(B, -1, rows * BINS))
        N = time_BNW.shape[1]
        time_BNW = time_BNW + positions(N, self.config.width, mel_BRM.device)
        x_BNW = torch.cat([self.cls.expand(B, 1, -1), time_BNW], dim=1)
        padding = None
        if rows_B is not None:
            place = torch.arange(-1, N, device=mel_BRM.device)  # CLS is never padding
            padding = place * rows >= rows_B[:, None]
        return self.transformer(x_BNW, padding, with_weights)


def batched(mels: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mels (R_i, M) as one batch (B, R, M), lengthened by silence, and their rows (B,)."""
    rows = torch.tensor([len(mel) for mel in mels])
    longest = int(rows.max())
    padded = [F.pad(mel, (0, 0, 0, longest - len(mel)), value=SILENCE) for mel in mels]
    return torch.stack(padded), rows
