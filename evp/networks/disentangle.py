"""Cross-reconstructed emotion disentanglement of EVP (paper Sec. 3.2, Fig. 3): the networks.

Codes of content and emotion are taken from some windows of a quad and reconstruct others; which,
is a scheme of evp.data.quads, and the losses of eq. 2-6 are in evp.losses.

Dimension letters in this file:
    B  quads in the batch
    T, M  MFCC rows and cepstra of a window, 28 and 12
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from evp.data.quads import Reconstruction
from evp.losses import QuadNeeds, QuadOutputs
from evp.networks.encoders import (
    AudioDecoder,
    AudioDecoderConfig,
    EmotionClassifier,
    Encoders,
    EncodersConfig,
)


@dataclass(frozen=True)
class DisentanglementConfig:
    """The networks of this stage."""

    encoders: EncodersConfig = field(default_factory=EncodersConfig)
    decoder: AudioDecoderConfig = field(default_factory=AudioDecoderConfig)


class Disentanglement(nn.Module):
    """E_c, E_e, D and C_e over quads of windows."""

    def __init__(self, config: DisentanglementConfig, emotions: int) -> None:
        super().__init__()
        sizes = config.encoders
        self.encoders = Encoders(sizes)
        self.decoder = AudioDecoder(config.decoder, sizes.content.dim + sizes.emotion.dim)
        self.classifier = EmotionClassifier(sizes.emotion.dim, emotions)

    def forward(
        self,
        windows_B4TM: Tensor,
        content_windows_B4TM: Tensor,
        needed: QuadNeeds,
    ) -> QuadOutputs:
        """Return the codes, logits and reconstructions that are needed, and no others.

        Args:
            windows_B4TM: the quads, E_e's input.
            content_windows_B4TM: E_c's input; see evp.data.quads.CepstralOffset.
            needed: places in the quad; see evp.losses.needed_of_quads.
        """
        content = _codes(self.encoders.content, content_windows_B4TM, needed.content)
        emotion = _codes(self.encoders.emotion, windows_B4TM, needed.emotion)
        decoded = self._decode(content, emotion, needed.reconstructions)
        logits = {place: self.classifier(emotion[place]) for place in needed.classified}
        return QuadOutputs(content, logits, decoded)

    @torch.no_grad()
    def reconstruct(
        self, windows_B4TM: Tensor, reconstructions: Sequence[Reconstruction]
    ) -> Tensor:
        """Return the windows and what is reconstructed from them, (B, 4 + R, T, M)."""
        was_training = self.training
        self.eval()
        content, emotion = self.encoders.content(windows_B4TM), self.encoders.emotion(windows_B4TM)
        decoded = [
            self.decoder(content[:, r.content], emotion[:, r.emotion]) for r in reconstructions
        ]
        self.train(was_training)
        return torch.cat([windows_B4TM, torch.stack(decoded, dim=1)], dim=1)

    def _decode(
        self,
        content: dict[int, Tensor],
        emotion: dict[int, Tensor],
        reconstructions: Sequence[Reconstruction],
    ) -> dict[Reconstruction, Tensor]:
        """Return the decoded windows (B, T, M), all in one pass."""
        if not reconstructions:
            return {}
        decoded = self.decoder(
            torch.cat([content[each.content] for each in reconstructions]),
            torch.cat([emotion[each.emotion] for each in reconstructions]),
        )
        return dict(zip(reconstructions, decoded.chunk(len(reconstructions)), strict=True))


def _codes(encoder: nn.Module, windows_B4TM: Tensor, places: Sequence[int]) -> dict[int, Tensor]:
    """Return the codes of some places in the quad, encoded in one pass."""
    if not places:
        return {}
    codes = encoder(windows_B4TM[:, list(places)])
    return dict(zip(places, codes.unbind(1), strict=True))
