"""Validation during training: which clips every stage is measured on, and how often."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from affekt.media.corpus import Clip, Corpus
from affekt.runtime.config import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class ValConfig:
    """A stage's validation; no choice depends on its metrics."""

    split: Literal["val", "test_sentence", "test_speaker", "none"] = "test_sentence"
    every: int = 1_000  # steps
    clips: int = 0  # at most so many, evenly spread over the split; 0: all


def val_clips(corpus: Corpus, val: ValConfig) -> list[Clip]:
    """Return the clips to measure, sorted by id; none for the split "none".

    Raises:
        ConfigError: the corpus has no clip in this split.
    """
    if val.split == "none":
        return []
    clips = corpus.clips(val.split)
    if not clips:
        raise ConfigError(
            f"{corpus.root} has no clip of split {val.split!r}; choose another val.split, or none"
        )
    return evenly_spread(clips, val.clips) if val.clips else clips


def evenly_spread(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` of the items, evenly spread, the first and the last among them."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]
