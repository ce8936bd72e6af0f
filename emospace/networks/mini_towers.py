"""Text and picture towers from scratch, which train in minutes on a CPU. All of it is ours.

They have the shape of CLIP's towers and nothing to download. A text tower from scratch knows no
word that it has not seen: unseen words need `minilm` or `clip` (emospace/networks/towers.py).

Dimension letters in this file:
    N  texts or pictures
    L  words of a text
    G  letter n-grams of a word
    S  pixels of a picture's side
"""

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from affekt.arrays import Image
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import channels_first, unit_range
from emospace.networks.transformer import Transformer, positions

WORDS, GRAMS = 16, 20  # of a text, of a word; what is beyond is cut off
BUCKETS = 4096  # of hashed n-grams; 0 is padding
LENGTHS = (3, 4)  # letters of an n-gram
LAYERS, HEADS = 2, 4
CHANNELS = (32, 64, 96, 128)  # of the picture tower's convolutions, each halving the picture
DROPOUT = 0.1


class MiniText(nn.Module):
    """Hashed letter n-grams of each word to a mean, then two Transformer layers over the words."""

    far = 0.35  # a text whose n-grams are less like every known phrase's than this is unknown

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.grams = nn.Embedding(BUCKETS, dim, padding_idx=0)
        self.transformer = Transformer(LAYERS, dim, HEADS, 2 * dim, DROPOUT)

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Return what forward takes, (N, L, G) int64."""
        tokens = torch.zeros(len(texts), WORDS, GRAMS, dtype=torch.int64)
        for row, text in zip(tokens, texts, strict=True):
            for place, word in zip(row, words_of(text)[:WORDS], strict=False):
                grams = _hashed(word)[:GRAMS]
                place[: len(grams)] = torch.tensor(grams)
        return tokens

    def forward(self, tokens_NLG: Tensor) -> Tensor:
        """Return (N, dim), not normalised."""
        given = tokens_NLG > 0
        grams = given.sum(dim=2, keepdim=True).clamp(min=1)
        words_NLW = self.grams(tokens_NLG).sum(dim=2) / grams
        padding_NL = ~given.any(dim=2)
        padding_NL[:, 0] = False  # an empty text has one token all the same
        x_NLW = words_NLW + positions(WORDS, self.dim, words_NLW.device)
        x_NLW, _ = self.transformer(x_NLW, padding_NL)
        kept = (~padding_NL)[:, :, None].float()
        return (x_NLW * kept).sum(dim=1) / kept.sum(dim=1)

    def likeness(self, texts: Sequence[str]) -> Tensor:
        """Return unit vectors (N, BUCKETS) whose cosines say how many n-grams texts share."""
        counts = torch.zeros(len(texts), BUCKETS)
        for row, text in zip(counts, texts, strict=True):
            for word in words_of(text):
                row[list(_hashed(word))] += 1
        return F.normalize(counts, dim=1)


class MiniImage(nn.Module):
    """Four convolutions of stride 2 and a linear layer over what is left of the picture."""

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.dim, self.size = dim, size
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in CHANNELS:
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
                nn.GroupNorm(8, outputs),
                nn.ReLU(inplace=True),
            ]
            inputs = outputs
        self.convolutions = nn.Sequential(*layers)
        left = -(-size // 2 ** len(CHANNELS))  # rows of the last map
        self.dense = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(inputs * left**2, dim))

    def pixels(self, frames: Image) -> Tensor:
        """Return what forward takes, (N, 3, S, S) uint8, of frames (N, H, W, 3)."""
        return channels_first(resized(frames, self.size))

    def forward(self, pixels_NCSS: Tensor) -> Tensor:
        """Return (N, dim), not normalised."""
        maps = self.convolutions(2 * unit_range(pixels_NCSS) - 1)
        return self.dense(maps.flatten(1))


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters."""
    return re.findall(r"[\w']+", text.lower())


@lru_cache(maxsize=4096)
def _hashed(word: str) -> tuple[int, ...]:
    """Return the numbers, 1 ... BUCKETS - 1, of a word's n-grams, ends of the word marked."""
    marked = f"#{word}#"
    grams = [
        marked[start : start + length]
        for length in LENGTHS
        for start in range(max(1, len(marked) - length + 1))
    ]
    numbers = np.array([zlib.crc32(gram.encode()) for gram in dict.fromkeys(grams)])
    return tuple((1 + numbers % (BUCKETS - 1)).tolist())
