"""Transformer Phi of EAC: expression coefficients from sound, an emotion code, its intensity and a
reference expression (Xu et al., CVPR 2023; supplement Sec. 1.2).

The supplement says: 8 layers, 8 heads, 256 latent dimensions; "emotion-audio correlated inputs" to
expression coefficients; a prepended token models the intensity of the emotion (Sec. 2.3). Ours,
since the paper's text is not at hand and the supplement leaves it open: what a frame's token holds
(an MLP of 16 rows of log-mel, 0.2 s, plus linear maps of emotion code and reference expression),
sinusoidal positions, layers that normalise first, and the form of the intensity token. A plain
token a + s b can be ignored by the layers above, and was in a trial of few steps, though faces
followed it in rank; in the form `scaled` the intensity s multiplies the emotion itself.

Dimension letters in this file:
    B  windows in the batch
    T  video frames of a window, 25 per second
    R  rows of log-mel around a frame, 80 per second; M its 80 bins
    C  numbers of an emotion code, E  expression modes of the face model
    D  latent dimensions
    L  layers
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from affekt.arrays import Array
from affekt.media.audio.mel import BINS
from emospace.networks.transformer import Transformer, positions

IntensityForm = Literal["scaled", "plain"]


@dataclass(frozen=True)
class ExpressionNetConfig:
    """Sizes; layers, heads and width are the supplement's (Sec. 1.2), the others are ours."""

    layers: int = 8
    heads: int = 8
    width: int = 256  # D
    feedforward: int = 1024  # four times D, as is usual
    mel_rows: int = 16  # R, 0.2 s around a frame
    mel_hidden: int = 512  # of the MLP that reads them
    dropout: float = 0.0
    # Of token 0 with intensity s and code c: scaled, a + s (b + W c), or plain, a + s b. Ours: the
    # supplement says that the token models the intensity, not how.
    intensity: IntensityForm = "scaled"

    def __post_init__(self) -> None:
        if self.width % self.heads or self.layers < 1:
            raise ValueError(
                f"width is {self.width}, wanted a multiple of heads, {self.heads}; layers is "
                f"{self.layers}, wanted 1 or more"
            )
        if self.mel_rows < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"mel_rows is {self.mel_rows}, wanted 1 or more; dropout is {self.dropout}, wanted "
                "0 to below 1"
            )


class ExpressionTransformer(nn.Module):
    """Sound, emotion, intensity and reference to the expression of every frame of a window.

    Coefficients enter and leave in the face model's units; inside they are whitened by the
    statistics of the training clips, which are kept with the weights.
    """

    def __init__(self, config: ExpressionNetConfig, code_dim: int, modes: int) -> None:
        """Build the network for codes of `code_dim` numbers and `modes` coefficients."""
        super().__init__()
        self.config = config
        D = config.width
        # What is summed into a frame's token
        self.sound = nn.Sequential(
            nn.Linear(config.mel_rows * BINS, config.mel_hidden),
            nn.GELU(),
            nn.Linear(config.mel_hidden, D),
        )
        self.emotion = _code_layer(code_dim, D)
        self.no_emotion = nn.Parameter(torch.zeros(D))  # stands for a code that is left out
        self.reference = nn.Linear(modes, D)
        # Token 0, and the layers
        self.token = IntensityToken(config.intensity, code_dim, D)
        self.transformer = Transformer(
            config.layers, D, config.heads, config.feedforward, config.dropout
        )
        self.head = nn.Linear(D, modes)
        nn.init.zeros_(self.head.weight)  # a fresh network gives the mean expression
        nn.init.zeros_(self.head.bias)
        # Statistics of the training clips, kept with the weights
        for name, size in (("mel", BINS), ("expression", modes)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))
        self.mel_mean: Tensor
        self.mel_std: Tensor
        self.expression_mean: Tensor
        self.expression_std: Tensor

    def forward(
        self,
        mel_BTRM: Tensor,
        code: Tensor,
        intensity: Tensor,
        reference_BE: Tensor,
        known_B: Tensor | None = None,
    ) -> Tensor:
        """Return the expression coefficients of every frame, (B, T, E), in the model's units.

        Args:
            mel_BTRM: log-mel around each frame (affekt/media/audio/mel.py, mel_windows).
            code: emotion codes (B, C), or one for each frame (B, T, C), of which token 0 has the
                mean.
            intensity: of the emotion, 0 to about 1, (B,), or (B, T), whose mean is taken.
            reference_BE: the speaker's neutral expression.
            known_B: bool, whether the code is given; without it a learned vector stands for it.
        """
        return self._decoded(mel_BTRM, code, intensity, reference_BE, known_B)[0]

    @torch.no_grad()
    def attention(
        self, mel_BTRM: Tensor, code: Tensor, intensity: Tensor, reference_BE: Tensor
    ) -> Tensor:
        """Return the attention of every layer, (L, B, 1 + T, 1 + T), the mean over its heads.

        Supplement Fig. 4b. Row i says where token i looks; token 0 is the intensity. The arguments
        are those of `forward`.
        """
        return torch.stack(
            self._decoded(mel_BTRM, code, intensity, reference_BE, with_weights=True)[1]
        )

    @torch.no_grad()
    def set_stats(self, mel: tuple[Array, Array], expression: tuple[Array, Array]) -> None:
        """Take over mean and deviation of log-mel bins (M,) and of coefficients (E,)."""
        for name, pair in (("mel", mel), ("expression", expression)):
            for what, numbers in zip(("mean", "std"), pair, strict=True):
                getattr(self, f"{name}_{what}").copy_(torch.from_numpy(numbers))

    def whitened(self, coefficients: Tensor) -> Tensor:
        """Return coefficients (..., E) less their mean in units of their floored deviations."""
        return (coefficients - self.expression_mean) / self.expression_std

    def _decoded(
        self,
        mel_BTRM: Tensor,
        code: Tensor,
        intensity: Tensor,
        reference_BE: Tensor,
        known_B: Tensor | None = None,
        with_weights: bool = False,
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the coefficients (B, T, E), and the layers' attention where asked for."""
        T = mel_BTRM.shape[1]
        code_BTC = code if code.ndim == 3 else code[:, None].expand(-1, T, -1)
        intensity_B = intensity if intensity.ndim == 1 else intensity.mean(dim=1)
        # Token 0 and the frames' tokens, with their positions
        frames_BTD = self._frames(mel_BTRM, code_BTC, reference_BE, known_B)
        token_B1D = self.token(intensity_B, code_BTC.mean(dim=1), known_B)[:, None]
        tokens_BND = torch.cat([token_B1D, frames_BTD], dim=1)
        tokens_BND = tokens_BND + positions(1 + T, self.config.width, tokens_BND.device)
        # Coefficients are read from what the layers make of the frames' tokens
        tokens_BND, weights = self.transformer(tokens_BND, with_weights=with_weights)
        out_BTE = self.head(tokens_BND[:, 1:]).float()
        return self.expression_mean + self.expression_std * out_BTE, weights

    def _frames(
        self, mel_BTRM: Tensor, code_BTC: Tensor, reference_BE: Tensor, known_B: Tensor | None
    ) -> Tensor:
        """Return the sum of sound, emotion and reference of every frame, (B, T, D)."""
        sound_BTD = self.sound(((mel_BTRM - self.mel_mean) / self.mel_std).flatten(2))
        emotion_BTD = self.emotion(code_BTC)
        if known_B is not None:
            emotion_BTD = torch.where(known_B[:, None, None], emotion_BTD, self.no_emotion)
        return sound_BTD + emotion_BTD + self.reference(self.whitened(reference_BE))[:, None]


class IntensityToken(nn.Module):
    """Token 0: an intensity and, in the form `scaled`, an emotion code to one token."""

    def __init__(self, form: IntensityForm, code_dim: int, width: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(width))  # a
        self.step = nn.Parameter(torch.randn(width))  # b
        self.emotion = _code_layer(code_dim, width) if form == "scaled" else None  # W

    def forward(self, intensity_B: Tensor, code_BC: Tensor, known_B: Tensor | None) -> Tensor:
        """Return a + s (b + W c) or a + s b, (B, D); W c is 0 where the code is left out."""
        step_BD = self.step.expand(len(code_BC), -1)
        if self.emotion is not None:
            emotion_BD = self.emotion(code_BC)
            if known_B is not None:
                emotion_BD = emotion_BD * known_B[:, None]
            step_BD = step_BD + emotion_BD
        return self.start + intensity_B[:, None] * step_BD


def _code_layer(code_dim: int, width: int) -> nn.Linear:
    """A linear map that gives codes of length 1 outputs of unit variance at first (ours).

    With torch's own initialisation the outputs would be as small as the codes' single numbers, a
    hundredth of the sound's beside them.
    """
    layer = nn.Linear(code_dim, width)
    nn.init.normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
