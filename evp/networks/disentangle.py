"""Cross-reconstructed emotion disentanglement of EVP (paper Sec. 3.2, Fig. 3).

Four windows of one speaker stand at the corners of a square: two contents by two emotions. Codes
of content and emotion are taken from some corners and reconstruct others. Which, is a `Scheme`.

Dimension letters in this file:
    B  squares in the batch
    T, M  MFCC rows and cepstra of a window, 28 and 12
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from evp.losses import (
    Norm,
    Reduction,
    classification,
    content_spread,
    distance,
    normalised,
)
from evp.networks.encoders import (
    AudioDecoder,
    AudioDecoderConfig,
    EmotionClassifier,
    Encoders,
    EncodersConfig,
)

SchemeName = Literal["paper", "release"]


@dataclass(frozen=True)
class Scheme:
    """Which corner's code goes where; corners are numbered 0 ... 3.

    A reconstruction is (corner of the content code, corner of the emotion code, corner to hit).
    """

    emotion_corners: tuple[int, ...]  # whose emotion is classified
    same_content: tuple[tuple[int, int], ...]  # pairs of eq. 5
    different_content: tuple[tuple[int, int], ...]  # pairs that the normalised content loss needs
    self_terms: tuple[tuple[int, int, int], ...]
    cross_terms: tuple[tuple[int, int, int], ...]


SCHEMES: dict[SchemeName, Scheme] = {
    # Corners x_im, x_jn, x_jm, x_in; eq. 2 (cross), 3 (self), 4 and 5.
    "paper": Scheme(
        emotion_corners=(0, 1),
        same_content=((0, 3), (2, 1)),
        different_content=((0, 2), (3, 1)),  # i and j under the same emotion
        self_terms=((0, 0, 0), (1, 1, 1)),
        cross_terms=((0, 1, 3), (1, 0, 2)),
    ),
    # Corners (c1, e1), (c2, e1), (c3, e2), (c1, e2): the release's intended sampling, whose
    # emotion codes always come from another sentence. What it reconstructs from an emotion code
    # of the same label counts as self here.
    "release": Scheme(
        emotion_corners=(1, 2),
        same_content=((0, 3),),
        different_content=((0, 1), (3, 2)),
        self_terms=((0, 1, 0), (3, 2, 3)),
        cross_terms=((0, 2, 3), (3, 1, 0)),
    ),
}


@dataclass(frozen=True)
class LossConfig:
    """Weights of eq. 6, where 0 switches a term off, and what the norms are."""

    cross_reconstruction: float = 1.0
    self_reconstruction: float = 1.0
    classification: float = 1.0  # lambda_cla, supplement Sec. 2.1
    content: float = 1.0  # lambda_con
    norm: Norm = "l2"  # of the reconstructions; the release has l1
    reduction: Reduction = "sample"  # see losses.distance; the release has element
    content_loss: Literal["plain", "normalised"] = "plain"  # normalised: see losses.normalised
    label_smoothing: float = 0.0  # see losses.classification

    def __post_init__(self) -> None:
        if min(self.weights().values()) < 0 or not any(self.weights().values()):
            raise ValueError(f"weights are {self.weights()}, wanted none below 0 and one above")

    def weights(self) -> dict[str, float]:
        """Return the weight of each term by its name in the logs."""
        names = ("cross_reconstruction", "self_reconstruction", "classification", "content")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class DisentanglementConfig:
    """The networks of this stage."""

    encoders: EncodersConfig = field(default_factory=EncodersConfig)
    decoder: AudioDecoderConfig = field(default_factory=AudioDecoderConfig)


class Disentanglement(nn.Module):
    """E_c, E_e, D and C_e over squares of windows."""

    def __init__(self, config: DisentanglementConfig, emotions: int, scheme: SchemeName) -> None:
        super().__init__()
        sizes = config.encoders
        self.scheme = SCHEMES[scheme]
        self.encoders = Encoders(sizes)
        self.decoder = AudioDecoder(config.decoder, sizes.content.dim + sizes.emotion.dim)
        self.classifier = EmotionClassifier(sizes.emotion.dim, emotions)

    def forward(
        self,
        windows_B4TM: Tensor,
        emotions_B4: Tensor,
        loss: LossConfig,
        content_windows_B4TM: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms of eq. 6 whose weight is not 0, unweighted, and `content_spread`.

        A term that is switched off is not computed: neither its reconstructions nor codes that
        nothing else needs. E_c hears `content_windows_B4TM` where they are given (see data.Tilted).
        """
        heard = windows_B4TM if content_windows_B4TM is None else content_windows_B4TM
        terms = self._wanted(loss)
        recipes = [recipe for recipes in terms.values() for recipe in recipes]
        pairs = self._pairs(loss)
        contents = {content for content, _, _ in recipes} | {c for pair in pairs for c in pair}
        content = _codes(self.encoders.content, heard, sorted(contents))
        emotions = {emotion for _, emotion, _ in recipes}
        emotions |= {*self.scheme.emotion_corners} if loss.classification else set()
        emotion = _codes(self.encoders.emotion, windows_B4TM, sorted(emotions))

        result = self._reconstructions(terms, content, emotion, windows_B4TM, loss)
        if loss.classification:
            result["classification"] = self._classification(emotion, emotions_B4, loss)
        if loss.content:
            result["content"] = self._content(content, loss)
        if content:
            result["content_spread"] = content_spread(torch.cat([*content.values()]).detach())
        return result

    @torch.no_grad()
    def show(self, windows_B4TM: Tensor) -> Tensor:
        """Return the corners and what is reconstructed from them, (B, 4 + recipes, T, M)."""
        was_training = self.training
        self.eval()
        scheme = self.scheme
        content, emotion = self.encoders.content(windows_B4TM), self.encoders.emotion(windows_B4TM)
        decoded = [
            self.decoder(content[:, source], emotion[:, style])
            for source, style, _ in scheme.self_terms + scheme.cross_terms
        ]
        self.train(was_training)
        return torch.cat([windows_B4TM, torch.stack(decoded, dim=1)], dim=1)

    def _wanted(self, loss: LossConfig) -> dict[str, tuple[tuple[int, int, int], ...]]:
        scheme = self.scheme
        return {
            "self_reconstruction": scheme.self_terms if loss.self_reconstruction else (),
            "cross_reconstruction": scheme.cross_terms if loss.cross_reconstruction else (),
        }

    def _pairs(self, loss: LossConfig) -> tuple[tuple[int, int], ...]:
        if not loss.content:
            return ()
        guard = self.scheme.different_content if loss.content_loss == "normalised" else ()
        return self.scheme.same_content + guard

    def _reconstructions(
        self,
        terms: dict[str, tuple[tuple[int, int, int], ...]],
        content: dict[int, Tensor],
        emotion: dict[int, Tensor],
        windows_B4TM: Tensor,
        loss: LossConfig,
    ) -> dict[str, Tensor]:
        """Return eq. 3 and 2: each a sum over its two reconstructions, decoded in one pass."""
        recipes = [recipe for recipes in terms.values() for recipe in recipes]
        if not recipes:
            return {}
        decoded = self.decoder(
            torch.cat([content[source] for source, _, _ in recipes]),
            torch.cat([emotion[source] for _, source, _ in recipes]),
        ).chunk(len(recipes))
        errors = {
            recipe: distance(window, windows_B4TM[:, recipe[2]], loss.norm, loss.reduction)
            for recipe, window in zip(recipes, decoded, strict=True)
        }
        return {
            name: torch.stack([errors[recipe] for recipe in chosen]).sum()
            for name, chosen in terms.items()
            if chosen
        }

    def _classification(
        self, emotion: dict[int, Tensor], emotions_B4: Tensor, loss: LossConfig
    ) -> Tensor:
        """Return eq. 4, summed over the corners whose emotion is classified."""
        each = [
            classification(
                self.classifier(emotion[corner]), emotions_B4[:, corner], loss.label_smoothing
            )
            for corner in self.scheme.emotion_corners
        ]
        return torch.stack(each).sum()

    def _content(self, content: dict[int, Tensor], loss: LossConfig) -> Tensor:
        """Return eq. 5, or its guarded form."""
        scheme, reduction = self.scheme, loss.reduction
        same = [distance(content[a], content[b], "l1", reduction) for a, b in scheme.same_content]
        total = torch.stack(same).sum()
        if loss.content_loss == "plain":
            return total
        different = [
            distance(content[a], content[b], "l1", reduction) for a, b in scheme.different_content
        ]
        return normalised(total, torch.stack(different).mean())


def _codes(encoder: nn.Module, windows_B4TM: Tensor, corners: Sequence[int]) -> dict[int, Tensor]:
    """Return the codes of the named corners, encoded in one pass."""
    if not corners:
        return {}
    codes = encoder(windows_B4TM[:, list(corners)])
    return dict(zip(corners, codes.unbind(1), strict=True))
