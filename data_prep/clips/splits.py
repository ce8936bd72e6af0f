"""Splits: held-out speakers, held-out sentences, and a share of the rest for validation.

Later stages learn from `train` alone; that holds for means, PCA, face models and codes too.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from affekt.runtime.files import nfc
from data_prep.clips.layouts.config import Listing, Refusal, Source
from data_prep.clips.layouts.listing import folder_name


@dataclass(frozen=True)
class SplitConfig:
    """The first rule that fits a clip decides; a clip that none fits is `train`.

    Where a corpus brings splits of its own (LRW), what it holds out stays so, whatever the rules.
    """

    test_speakers: tuple[str, ...] = ()  # unseen people (EAMM: M003, M030, W009, W015)
    test_sentences: tuple[str, ...] = ()  # unseen sentences of known people
    test_numbers_below: int = 0  # files numbered below this; EVP holds out those below 10
    test_share: float = 0.0  # share of (speaker, sentence) groups for test_sentence, by a hash
    val_share: float = 0.0  # and for val

    def __post_init__(self) -> None:
        shares = (self.test_share, self.val_share)
        if min(shares) < 0 or sum(shares) >= 1:
            raise ValueError(f"test_share and val_share are {shares}; wanted >= 0, in all below 1")


def numbered(listing: Listing, config: SplitConfig) -> Listing:
    """Return the listing without the clips of which no rule can say whether they are held out.

    Raises:
        ValueError: no clip is left.
    """
    if not config.test_numbers_below:
        return listing
    sources, refused = [], list(listing.refused)
    for source in listing.sources:
        try:
            split_of(source, config)
        except ValueError as error:
            refused.append(Refusal(source.video, "bad_name", str(error)))
            continue
        sources.append(source)
    if not sources:
        raise ValueError(refused[-1].message)
    return replace(listing, sources=tuple(sources), refused=tuple(refused))


def splits_of(sources: Sequence[Source], config: SplitConfig) -> dict[str, str]:
    """Return the split of every clip by its id.

    A sentence of a speaker is held out whole: where one of its files is numbered below the limit,
    its other emotions are too, whatever their numbers (MEAD numbers them differently).

    Raises:
        ValueError: see `split_of`.
    """
    splits = {source.id: split_of(source, config) for source in sources}
    held = {(s.speaker, s.sentence) for s in sources if splits[s.id] == "test_sentence"}
    for source in sources:
        if splits[source.id] != "test_speaker" and (source.speaker, source.sentence) in held:
            splits[source.id] = "test_sentence"
    return splits


def split_of(source: Source, config: SplitConfig) -> str:
    """Return train, val, test_sentence or test_speaker.

    Raises:
        ValueError: files are to be held out by number and this one has none.
    """
    if source.split is not None and source.split != "train":
        return source.split
    if source.speaker in map(folder_name, config.test_speakers):
        return "test_speaker"
    if source.sentence in map(nfc, config.test_sentences) or _numbered_below(source, config):
        return "test_sentence"
    group = f"{source.speaker}/{source.sentence}"
    digest = hashlib.sha256(group.encode()).digest()
    drawn = int.from_bytes(digest[:8], "big") / 2**64  # the same in every run and on every machine
    if drawn < config.test_share:
        return "test_sentence"
    return "val" if drawn < config.test_share + config.val_share else "train"


def _numbered_below(source: Source, config: SplitConfig) -> bool:
    if not config.test_numbers_below:
        return False
    if not source.number.isdecimal():
        raise ValueError(
            f"{source.video}: {source.number!r} is no number, so split.test_numbers_below "
            "cannot hold it out; use split.test_sentences"
        )
    return int(source.number) < config.test_numbers_below
