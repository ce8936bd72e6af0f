"""Join shards of a prepared corpus, or several corpora of the same settings, into one.

    python -m data_prep.prepare configs/data/mead.yaml --shard 0/16     (and so on to 15/16)
    python -m data_prep.merge data/mead
    python -m data_prep.merge data/mead /disk1/mead /disk2/mead

A shard is a prepared corpus of its own, OUT/shards/<i>-of-<n>/. The first form joins those of one
folder, the second those of several, or whole corpora. The result is that of one run without shards,
byte for byte, in whatever order parts are joined. Clips are linked, not copied, where the file
system allows it: OUT/shards can be deleted afterwards.

Refused, before anything is written: parts of different settings, a shard that is missing (unless
--partial), unfinished, or that saw other sources than the rest; while clips are joined: one that is
damaged, or is there already with different contents. The same command again does what is missing.
"""

import contextlib
import logging
import os
import shutil
import sys
import typing as tp
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from affekt.media.integrity import (
    CORPUS,
    MAKERS,
    MANIFEST,
    QUARANTINE,
    SHARD,
    check_list,
    read_sealed,
    whole_record,
    write_lists,
    write_sealed,
)
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.config import differences
from affekt.runtime.files import read_jsonl, replacing_folder
from affekt.runtime.lock import locked
from data_prep.clips.clip import OWN, remove_unfinished_clips
from data_prep.clips.lists import Result
from data_prep.clips.shards import FOLDER
from data_prep.prepare import summary

log = logging.getLogger(__name__)

Row = dict[str, tp.Any]

# What all shards of a corpus have in common, and what is said where they have not
SHARED = {
    "count": "are of different numbers of shards",
    "listed": "saw different numbers of sources",
    "listing_sha256": "saw different sources",
}


@dataclass(frozen=True)
class _Part:
    """A prepared corpus that becomes part of another."""

    root: Path
    info: Row  # corpus.json
    manifest: list[Row]
    quarantine: list[Row]
    shard: Row | None  # shard.json; None: a corpus of its own


def merge(
    out: Path, others: Sequence[Path] = (), partial: bool = False, progress: bool = True
) -> Result:
    """Join the corpus in `out`, if there is one, its shards, and those of `others`, in `out`.

    Args:
        out: the folder of the whole.
        others: prepared corpora, or folders of shards.
        partial: shards may be missing.
        progress: show a bar.

    Raises:
        FileNotFoundError: there is nothing to join.
        ValueError: parts that do not fit, or are damaged; a folder that is in use.
        OSError: the disk is full; the same command goes on where it stopped.
    """
    roots = [root for place in (out, *others) for root in _roots(place)]
    if not roots:
        raise FileNotFoundError(f"{out} holds no shards; run data_prep.prepare --shard i/n first")
    with contextlib.ExitStack() as held:
        for root in dict.fromkeys([out, *roots]):
            held.enter_context(locked(root, "merging"))
        parts = [_read(root) for root in roots]
        _check_settings(parts)
        _check_shards([part for part in parts if part.shard is not None], partial)
        rows, quarantine = _joined(parts)
        # Clips first: the lists name only what is there
        if not (out / CORPUS).exists():
            write_sealed(out / CORPUS, parts[0].info | {"lists": {}})
        remove_unfinished_clips(out)
        made = 0
        for row, root in tqdm(rows, desc="merge", unit="clip", disable=not progress):
            made += _adopt(Path("clips") / row["speaker"] / row["id"], root, out)
        manifest = [row for row, _ in rows]
        write_lists(out, {MANIFEST: manifest, QUARANTINE: quarantine})
    return Result(manifest, quarantine, made)


def _roots(place: Path) -> list[Path]:
    """Return the corpora in a folder: itself, and its shards."""
    found = [place] if (place / MANIFEST).is_file() else []
    return found + sorted(path.parent for path in place.glob(f"{FOLDER}/*-of-*/{CORPUS}"))


def _read(root: Path) -> _Part:
    info = read_sealed(root / CORPUS)
    for name in (MANIFEST, QUARANTINE):
        check_list(root, info, name)
        if not (root / name).is_file():
            raise ValueError(f"{root} is not finished; run the same data_prep.prepare again")
    shard = read_sealed(root / SHARD, MAKERS[SHARD]) if (root / SHARD).is_file() else None
    return _Part(root, info, read_jsonl(root / MANIFEST), read_jsonl(root / QUARANTINE), shard)


def _check_settings(parts: Sequence[_Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        if part.info["settings_sha256"] != first.info["settings_sha256"]:
            found = differences(first.info["settings"], part.info["settings"])
            named = "; ".join(f"{key} = {old!r} and {new!r}" for key, old, new in found)
            raise ValueError(f"{first.root} and {part.root} have different settings ({named})")


def _check_shards(parts: Sequence[_Part], partial: bool) -> None:
    """Refuse shards of different listings, unfinished ones, and a set that is not whole."""
    if not parts:
        return
    first = parts[0]
    facts = [tp.cast(Row, part.shard) for part in parts]
    for part, shard in zip(parts, facts, strict=True):
        found = len(part.manifest) + len(part.quarantine)
        if found != shard["own"]:
            raise ValueError(
                f"{part.root} has {found} of its {shard['own']} clips; run that shard again"
            )
        for key, what in SHARED.items():
            if shard[key] != facts[0][key]:
                text = f"{first.root} and {part.root} {what} ({facts[0][key]}, {shard[key]})"
                raise ValueError(f"{text}; run all shards of one number again, on the same sources")
    missing = set(range(facts[0]["count"])) - {shard["index"] for shard in facts}
    if missing and not partial:
        raise ValueError(
            f"of {facts[0]['count']} shards {sorted(missing)} are missing: run them, name their "
            "folders, or give --partial"
        )


def _joined(parts: Sequence[_Part]) -> tuple[list[tuple[Row, Path]], list[Row]]:
    """Return the rows of all parts, each with the part that holds its clip, and the quarantine.

    Raises:
        ValueError: a clip is in two parts that differ about it.
    """
    rows: dict[str, tuple[Row, Path]] = {}
    for part in parts:
        for row in part.manifest:
            known, root = rows.setdefault(row["id"], (row, part.root))
            if known != row:
                raise ValueError(
                    f"clip {row['id']} is different in {root} and {part.root}; delete the older "
                    "one's folder and prepare that part again"
                )
    refused = {row["id"]: row for part in parts for row in part.quarantine if row["id"] not in rows}
    quarantine = sorted(refused.values(), key=lambda row: (row["stage"] == "name", row["id"]))
    return [rows[name] for name in sorted(rows)], quarantine


def _adopt(place: Path, root: Path, out: Path) -> bool:
    """Bring a clip's folder from `root` to `out`; return whether that was to be done.

    Raises:
        ValueError: it is damaged, or another one is there.
    """
    source, target = root / place, out / place
    record = whole_record(source)
    if not record:
        raise ValueError(f"{source} is missing or damaged; prepare that part again")
    there = whole_record(target)
    if there:
        if there.get("files", there) != record.get("files", record):
            raise ValueError(f"{source} and {target} have different contents; delete the older one")
        return False
    with replacing_folder(target, OWN) as temporary:
        for path in source.iterdir():
            try:
                os.link(path, temporary / path.name)
            except OSError:  # another disk, or one without links
                shutil.copy2(path, temporary / path.name)
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    parser = CommandParser(__doc__)
    parser.add_argument("out", type=Path, help="the folder of the whole corpus")
    parser.add_argument("others", type=Path, nargs="*", help="corpora, or folders of shards")
    parser.add_argument("--partial", action="store_true", help="shards may be missing")
    args = parser.parse_args(argv)
    with user_errors():
        result = merge(args.out, args.others, args.partial)
    print(summary(result, args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
