"""Which clips of a prepared corpus are there, refused or missing: manifest and quarantine.

A share of a corpus (data_prep/clips/shards.py) has lists of its own, and shard.json says of what.
"""

import hashlib
import json
import typing as tp
from dataclasses import asdict, dataclass, replace

from affekt.media.integrity import MANIFEST, QUARANTINE, whole_record, write_lists
from data_prep.clips.clip import ClipOutcome, PrepareJob, clip_folder, stamp
from data_prep.clips.layouts.config import Listing, Refusal, Source
from data_prep.clips.shards import Shard, parse_shard

Row = dict[str, tp.Any]


@dataclass(frozen=True)
class Result:
    """Contents of a prepared corpus after a run."""

    manifest: list[Row]
    quarantine: list[Row]
    made: int  # clips that this run prepared

    @property
    def refused_share(self) -> float:
        """The share of the clips that were refused; left-out copies are no clips."""
        refused = sum(row["reason"] != "copy" for row in self.quarantine)
        return refused / max(1, refused + len(self.manifest))


def own_share(listing: Listing, shard: Shard) -> Listing:
    """Return the sources and the refused files that belong to a share."""
    sources = tuple(source for source in listing.sources if shard.holds(source.id))
    refused = tuple(each for each in listing.refused if shard.holds(str(each.path)))
    return replace(listing, sources=sources, refused=refused)


def shard_record(text: str, own: Listing, whole: Listing) -> Row:
    """Return shard.json, which data_prep.merge checks: which share `i/n` it is, and of what."""
    shard = parse_shard(text)
    assert shard is not None
    names = [[each.id for each in whole.sources], sorted(str(r.path) for r in whole.refused)]
    return asdict(shard) | {
        "own": len(own.sources) + len(own.refused),
        "listed": sum(map(len, names)),
        "listing_sha256": hashlib.sha256(json.dumps(names).encode()).hexdigest(),
    }


def missing(job: PrepareJob, listing: Listing, refused: dict[str, Row]) -> list[Source]:
    """Return the sources that are neither prepared nor refused as they are now."""
    settled = {(name, json.dumps(row["stamp"])) for name, row in refused.items()}
    return [
        source
        for source in listing.sources
        if not is_current(whole_clip(job, source), source)
        and (source.id, json.dumps(stamp(source))) not in settled
    ]


def whole_clip(job: PrepareJob, source: Source) -> Row:
    """Return the clip.json of a clip that is there, whole and of these settings; else {}.

    A clip that names no settings is of before they were named.
    """
    record = whole_record(clip_folder(job.out, source))
    return record if record.get("settings_sha256", job.settings) == job.settings else {}


def is_current(record: Row, source: Source) -> bool:
    """Return whether a clip is of the source as it is now; older ones name no boxes or words."""
    known = record.get("stamp", [])
    return bool(known) and known == stamp(source)[: len(known)]


def refusal_row(outcome: ClipOutcome) -> Row:
    """Return the line of quarantine.jsonl of a source that was refused."""
    return {
        "id": outcome.source.id,
        "path": str(outcome.source.video),
        "stage": outcome.stage,
        "reason": outcome.reason,
        "message": outcome.message,
        "stamp": stamp(outcome.source),
    }


def _refusal_by_name(refusal: Refusal) -> Row:
    return {
        "id": str(refusal.path),  # it has no other
        "path": str(refusal.path),
        "stage": "name",
        "reason": refusal.reason,
        "message": refusal.message,
        "stamp": None,
    }


def list_clips(
    job: PrepareJob,
    listing: Listing,
    splits: dict[str, str],
    refused: dict[str, Row],
    made: int,
) -> Result:
    """Write manifest and quarantine of the sources listed now, from what lies on the disk.

    Where a run ends early, older versions of clips that it did not come to stay in the manifest.
    """
    sources = listing.sources
    ready = {source.id: whole_clip(job, source) for source in sources}
    for source in sources:
        if source.id in refused and not is_current(ready[source.id], source):
            ready[source.id] = {}
    manifest = [_manifest_row(s, splits[s.id], ready[s.id]) for s in sources if ready[s.id]]
    listed = {source.id for source in sources if not ready[source.id]}
    quarantine = [refused[name] for name in sorted(refused.keys() & listed)]
    by_name = sorted(listing.refused, key=lambda refusal: str(refusal.path))
    quarantine += [_refusal_by_name(refusal) for refusal in by_name]
    write_lists(job.out, {MANIFEST: manifest, QUARANTINE: quarantine})
    return Result(manifest, quarantine, made)


def _manifest_row(source: Source, split: str, record: Row) -> Row:
    return {
        "id": source.id,
        "speaker": source.speaker,
        "emotion": source.emotion,
        "level": source.level,
        "sentence": source.sentence,
        "split": split,
        "frames": record["frames"],
        "sha256": record["sha256"],
        "source": str(source.video),
    }
