"""Text and picture towers of AME behind one interface, chosen by configuration.

The paper's space "inherits CLIP's semantics" (abstract); which CLIP, what is frozen and what is
trained, no source prints: CLIP ViT-B/32, frozen, is our choice for the paper's size. Where its
weights are not at hand, MiniLM (text) and EfficientNet-Lite0 (pictures) lie inside packages, and
the `mini` towers learn from nothing.

A frozen tower's codes of the bank's prompts and of the clips' pictures are computed once and kept
in the run folder, under a name that holds the tower's hash.

Dimension letters in this file:
    N  texts or pictures
    D  numbers that a tower gives
    C  numbers of an emotion code
"""

import hashlib
import logging
import typing as tp
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from affekt.arrays import Array, Image
from affekt.runtime.files import load_npy, save_npy
from emospace.networks.mini_towers import MiniImage, MiniText
from emospace.networks.pretrained_towers import (
    EFFNET_SIZE,
    ClipImage,
    ClipText,
    ClipWeights,
    EffnetLite0,
    MiniLm,
)

Learn = tp.Literal["frozen", "finetune"]

AT_ONCE = 32  # texts or pictures that a frozen tower encodes in one go

log = logging.getLogger(__name__)


class TextTower(tp.Protocol):
    """What every text tower offers; all of them are modules."""

    dim: int  # D
    far: float  # texts whose likeness to every known phrase is below it are unknown

    def tokens(self, texts: Sequence[str]) -> Tensor: ...
    def __call__(self, tokens: Tensor) -> Tensor: ...
    def likeness(self, texts: Sequence[str]) -> Tensor: ...


class ImageTower(tp.Protocol):
    """What every picture tower offers; all of them are modules."""

    dim: int  # D

    def pixels(self, frames: Image) -> Tensor: ...
    def __call__(self, pixels: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class TextTowerConfig:
    """Which text tower, and what is trained of it."""

    kind: tp.Literal["clip", "minilm", "mini"] = "clip"
    learn: Learn = "frozen"
    clip: ClipWeights = "openai"
    adapter: int = 0  # width of a residual adapter after it, ours; 0: none
    noise: float = 0.0  # length of what is added to its features in training; see `Adapter`

    def __post_init__(self) -> None:
        check(self.kind, self.learn)


@dataclass(frozen=True)
class ImageTowerConfig:
    """Which picture tower, and what is trained of it; `none` serves corpora of sound alone."""

    kind: tp.Literal["clip", "effnet_lite0", "mini", "none"] = "clip"
    learn: Learn = "frozen"
    clip: ClipWeights = "openai"
    adapter: int = 0  # as of the text tower
    noise: float = 0.0  # likewise
    size: int = EFFNET_SIZE  # pixels that effnet_lite0 and mini get; CLIP's are 224

    def __post_init__(self) -> None:
        check(self.kind, self.learn)
        if self.size < 16:
            raise ValueError(f"size is {self.size}, wanted 16 pixels or more")


def check(kind: str, learn: Learn) -> None:
    """Refuse a frozen tower without weights.

    Raises:
        ValueError: it is that.
    """
    if kind == "mini" and learn == "frozen":
        raise ValueError("a mini tower has no weights of its own: learn wants to be finetune")


def make_text_tower(config: TextTowerConfig, code_dim: int) -> nn.Module:
    """Return a text tower; see `TextTower`.

    Raises:
        FileNotFoundError: its package or weights are not there; the message says which.
    """
    if config.kind == "mini":
        return MiniText(code_dim)
    tower = MiniLm() if config.kind == "minilm" else ClipText(config.clip)
    return tower.requires_grad_(config.learn == "finetune")


def make_image_tower(config: ImageTowerConfig, code_dim: int) -> nn.Module | None:
    """Return a picture tower, see `ImageTower`; None of the kind "none".

    Raises:
        FileNotFoundError: as `make_text_tower`.
    """
    if config.kind == "mini":
        return MiniImage(code_dim, config.size)
    if config.kind == "none":
        return None
    effnet = config.kind == "effnet_lite0"
    tower = EffnetLite0(config.size) if effnet else ClipImage(config.clip)
    return tower.requires_grad_(config.learn == "finetune")


class Adapter(nn.Module):
    """A tower's D numbers to an emotion code of C, close to what the tower says.

    Where D and C differ, a linear layer that begins with orthonormal rows, so that cosines stay as
    they are in a random subspace; then, with `hidden`, x + W2 gelu(W1 x) whose W2 begins at 0. With
    D = C and no `hidden` the tower's code passes unchanged and nothing is learned.

    With `noise`, training sees every feature with a random vector of that length added, beside 1 of
    its own: an adapter that leans on all of a word's feature finds unseen words better (of words
    left out of the training bank, three folds, 0.870 are right without and 0.902 with 1.5).
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, noise: float = 0.0) -> None:
        super().__init__()
        self.noise = noise
        self.projection: nn.Linear | None = None
        if inputs != outputs:
            self.projection = nn.Linear(inputs, outputs, bias=False)
            nn.init.orthogonal_(self.projection.weight)
        self.residual: nn.Sequential | None = None
        if hidden:
            last = nn.Linear(hidden, outputs)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.residual = nn.Sequential(
                nn.LayerNorm(outputs), nn.Linear(outputs, hidden), nn.GELU(), last
            )

    def forward(self, features_ND: Tensor) -> Tensor:
        """Return (N, C), of features brought to unit length first."""
        x = nn.functional.normalize(features_ND, dim=1)
        if self.noise and self.training:
            x = x + self.noise * x.shape[1] ** -0.5 * torch.randn_like(x)
        x = x if self.projection is None else self.projection(x)
        return x if self.residual is None else x + self.residual(x)


def frozen_codes(
    tower: nn.Module, inputs: Callable[[int, int], Tensor], count: int, what: str, folder: Path
) -> Tensor:
    """Return a frozen tower's features of `count` things, (count, D) float32 on the CPU.

    They are kept in `folder`, under a name with the tower's hash and that of `what`; a file that is
    there is read instead.

    Args:
        tower: with a `fingerprint`.
        inputs: from the first and the last but one of some of the things to what the tower takes.
        count: how many.
        what: all that the features depend on besides the tower: texts, clips and frames.
        folder: of the run.
    """
    named = f"{tower.fingerprint}\n{what}"
    path = folder / f"codes_{hashlib.sha256(named.encode()).hexdigest()[:16]}.npy"
    if path.is_file():
        shape = (count, int(tp.cast(tp.Any, tower.dim)))
        return torch.from_numpy(load_npy(path, shape, "delete it: the next start makes it anew"))
    log.info("codes of %d by the frozen tower %s", count, tower.fingerprint)
    device = next(tower.parameters()).device
    parts: list[Array] = []
    with torch.no_grad():
        for start in range(0, count, AT_ONCE):
            given = inputs(start, min(start + AT_ONCE, count)).to(device)
            parts.append(tower(given).float().cpu().numpy())
    codes = np.concatenate(parts)
    save_npy(path, codes)
    return torch.from_numpy(codes)
