"""Prepare a published corpus: one folder a clip, at 25 fps and 16 kHz.

    python -m data_prep.prepare configs/data/mini.yaml
    python -m data_prep.prepare configs/data/mead.yaml corpus.root=/data/MEAD workers=8
    python -m data_prep.prepare configs/data/folder.yaml corpus.root=/data/clips out=data/mine
    python -m data_prep.prepare configs/data/ravdess.yaml corpus.root=/data/RAVDESS --dry-run
    python -m data_prep.prepare configs/real/emodb.yaml corpus.root=/data/emodb

Reads any container and frame rate, finds 68 landmarks in every frame, crops the frames, and
computes the MFCC; of sounds (corpus.sound_only=true, or layout: emodb), the MFCC alone. With
--dry-run it writes nothing: it lists the clips, and tells from a few that it prepares into a
temporary folder how long all take and how much room they need. Else it writes corpus.json,
manifest.jsonl, quarantine.jsonl and clips/<speaker>/<clip id>/ (see docs/formats.md), and clip.json
in each: the frames whose landmarks were filled in, and the state of the source.

`mfcc.backend=python_speech_features` and `audio.reader=librosa` use the libraries of the papers'
releases, slower and equal but for rounding; detector.name=face_alignment their kind of landmarks.

The same command again prepares what is missing and what changed in the source. A source that was
refused is tried again when it changed, or with retry=true. A corpus is of one setting: other
settings need another `out`.

Next: python -m data_prep.inspect, python -m data_prep.face_model, python -m data_prep.pose.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import shutil
import sys
import typing as tp
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from affekt.media.constants import FRAME_RATE, SAMPLE_RATE
from affekt.media.corpus import SCHEMA
from affekt.media.faces.detector import detector_version
from affekt.media.faces.track import FramesConfig
from affekt.runtime.command import config_from_argv
from affekt.runtime.config import differences, plain
from affekt.runtime.files import (
    TEMPORARY,
    is_disk_error,
    read_json,
    read_jsonl,
    write_json,
    write_jsonl,
)
from data_prep.clips.clip import (
    AudioConfig,
    ClipConfig,
    ClipOutcome,
    DetectorConfig,
    MfccConfig,
    PrepareJob,
    clip_folder,
    outcomes,
    stamp,
)
from data_prep.clips.dry_run import Plan, report
from data_prep.clips.layouts.config import SENTENCES, CorpusConfig, Listing, Refusal, Source
from data_prep.clips.layouts.listing import find_sources
from data_prep.clips.splits import SplitConfig, numbered, splits_of

log = logging.getLogger(__name__)

Row = dict[str, tp.Any]


@dataclass(frozen=True)
class Config:
    """Settings of a prepared corpus; changing any but the last five needs another `out`."""

    corpus: CorpusConfig
    split: SplitConfig = field(default_factory=SplitConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    frames: FramesConfig = field(default_factory=FramesConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    mfcc: MfccConfig = field(default_factory=MfccConfig)
    out: Path = Path("data/prepared")
    workers: int = 2  # processes; 0: none but this one
    retry: bool = False  # try refused sources again, though they did not change
    progress: bool = True  # a bar
    dry_run: bool = False  # say what would be done, and how long it would take; write nothing

    def __post_init__(self) -> None:
        if self.corpus.has_pictures and self.audio.trim_below:
            raise ValueError(
                "audio.trim_below would shift sound against its pictures; it is for corpora "
                "without them (corpus.sound_only=true)"
            )
        known = SENTENCES.get(self.corpus.layout)
        unknown = sorted(set(self.split.test_sentences) - set(known or ()))
        if known and unknown:
            raise ValueError(f"split.test_sentences has unknown texts {unknown}; known: {known}")


@dataclass(frozen=True)
class Result:
    """Contents of a prepared corpus after a run."""

    manifest: list[Row]
    quarantine: list[Row]
    made: int  # clips that this run prepared


def prepare(config: Config) -> Result:
    """Prepare what is missing of a corpus.

    Raises:
        FileNotFoundError: no corpus there, or the detector's weights are missing.
        ValueError: `out` holds a corpus of other settings, or names do not fit the layout.
        OSError: the disk is full; the same command goes on where it stopped.
    """
    # List the sources, and which of them are not prepared yet.
    listing = numbered(find_sources(config.corpus), config.split)
    for note in listing.notes:
        log.warning("%s", note)
    splits = splits_of(listing.sources, config.split)
    with _locked(config.out):
        _claim(config)
        refused = _refused(config)
        todo = _todo(config, listing, refused)
        job = _job(config)
        # Prepare them; the lists are written even when the run is interrupted.
        made = 0
        try:
            for outcome in _shown(outcomes(todo, job, config.workers), len(todo), config):
                made += outcome.reason is None
                refused.pop(outcome.source.id, None)
                if outcome.reason is not None:
                    refused[outcome.source.id] = _refusal(outcome)
        finally:
            result = _write_lists(config, listing, splits, refused, made)
    return result


def dry_run(config: Config) -> str:
    """Return what `prepare` would do, how long it would take and how much room it needs.

    Raises:
        FileNotFoundError, ValueError: as `prepare`.
    """
    listing = numbered(find_sources(config.corpus), config.split)
    _check_settings(config)
    todo = _todo(config, listing, _refused(config))
    splits = splits_of(listing.sources, config.split)
    return report(Plan(listing, splits, todo, _job(config), config.workers))


def summary(result: Result, out: Path) -> str:
    """Return what a prepared corpus holds, for people."""
    clips = result.manifest
    frames = sum(row["frames"] for row in clips)
    minutes = frames / FRAME_RATE / 60
    splits = Counter(row["split"] for row in clips)
    speakers, emotions = ({row[key] for row in clips} for key in ("speaker", "emotion"))
    lines = [
        f"{out}: {len(clips)} clips ({result.made} new), {frames} frames, {minutes:.1f} minutes, "
        f"{len(speakers)} speakers, {len(emotions)} emotions",
        "splits: " + (", ".join(f"{name} {n}" for name, n in sorted(splits.items())) or "none"),
    ]
    if clips and "train" not in splits:
        lines.append(
            "no clip is train, so nothing can learn from this corpus: see split.* (--resolve)"
        )
    reasons = Counter(row["reason"] for row in result.quarantine)
    if reasons:
        counts = ", ".join(f"{name} {n}" for name, n in reasons.most_common())
        lines.append(f"refused {len(result.quarantine)} ({counts}); see {out / 'quarantine.jsonl'}")
        lines += [f"  {row['reason']}: {row['message']}" for row in result.quarantine[:10]]
        if len(result.quarantine) > 10:
            lines.append(f"  ... and {len(result.quarantine) - 10} more")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 if the corpus holds at least one clip, else 1."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    switches = {"dry-run": "say what would be done and how long it would take; write nothing"}
    config = config_from_argv(Config, __doc__, argv, switches=switches)
    try:
        if config.dry_run:
            print(dry_run(config))
            return 0
        result = prepare(config)
    except (OSError, ValueError) as error:
        print(f"prepare: {error}", file=sys.stderr)
        if is_disk_error(error):
            print("what is done is kept: make room, then run the same command", file=sys.stderr)
        return 1
    print(summary(result, config.out))
    return 0 if result.manifest else 1


def settings(config: Config) -> Row:
    """Return what decides the contents of a prepared corpus, as plain values."""
    values: Row = plain(config)
    for name in ("out", "workers", "retry", "progress", "dry_run"):
        del values[name]
    del values["corpus"]["root"]  # a corpus may move
    if not config.corpus.has_pictures:
        del values["frames"], values["detector"]
    else:
        del values["detector"]["device"], values["detector"]["weights"]
        values["detector"]["version"] = detector_version(config.detector.name)
    # Defaults are left out, so that a corpus prepared before the option came remains the same.
    for name, default in (("audio", AudioConfig()), ("mfcc", MfccConfig())):
        if values[name] == plain(default):
            del values[name]
    usual = CorpusConfig(config.corpus.layout, config.corpus.root)
    for name in ("sound_only", "channels", "boxes"):
        if getattr(config.corpus, name) == getattr(usual, name):
            del values["corpus"][name]
    return values


def _job(config: Config) -> PrepareJob:
    frames = config.frames if config.corpus.has_pictures else None
    needs_sound = config.corpus.sound == "required"
    contents = ClipConfig(frames, needs_sound, config.audio, config.mfcc)
    return PrepareJob(config.out, contents, config.detector)


def _claim(config: Config) -> None:
    """Write corpus.json, or check that the one there is of the same settings."""
    _check_settings(config)
    path = config.out / "corpus.json"
    if not path.exists():
        write_json(path, _corpus_record(config, settings(config)))


def _check_settings(config: Config) -> None:
    """Refuse an `out` that holds a corpus of other settings."""
    path, wanted = config.out / "corpus.json", settings(config)
    if not path.exists():
        return
    found = read_json(path).get("settings", {})
    differing = [f"{key} = {old!r}, now {new!r}" for key, old, new in differences(found, wanted)]
    if differing:
        raise ValueError(
            f"{config.out} was prepared with other settings ({'; '.join(differing)}); "
            "choose another out=, or delete that folder"
        )


def _corpus_record(config: Config, values: Row) -> Row:
    pictures: Row = {"detector": None}
    if config.corpus.has_pictures:
        pictures = {
            "profile": config.frames.profile,
            "size": config.frames.size,
            "store": config.frames.store,
            "detector": values["detector"]["version"],
        }
    return {
        "schema": SCHEMA,
        "fps": FRAME_RATE,
        "sample_rate": SAMPLE_RATE,
        "emotions": list(config.corpus.classes),
        **pictures,
        "settings_sha256": hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest(),
        "settings": values,
    }


def _refused(config: Config) -> dict[str, Row]:
    """Return what an earlier run refused, by clip id."""
    path = config.out / "quarantine.jsonl"
    rows = read_jsonl(path) if path.exists() and not config.retry else []
    return {row["id"]: row for row in rows}


def _todo(config: Config, listing: Listing, refused: dict[str, Row]) -> list[Source]:
    """Return the sources that are neither prepared nor refused as they are now."""
    settled = {(name, json.dumps(row["stamp"])) for name, row in refused.items()}
    return [
        source
        for source in listing.sources
        if not _is_ready(config.out, source)
        and (source.id, json.dumps(stamp(source))) not in settled
    ]


def _is_ready(out: Path, source: Source) -> bool:
    path = clip_folder(out, source) / "clip.json"
    return path.is_file() and read_json(path)["stamp"] == stamp(source)


def _refusal(outcome: ClipOutcome) -> Row:
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


def _write_lists(
    config: Config,
    listing: Listing,
    splits: dict[str, str],
    refused: dict[str, Row],
    made: int,
) -> Result:
    """Write manifest and quarantine of the sources listed now, from what lies on the disk."""
    sources = listing.sources
    ready = [source for source in sources if _is_ready(config.out, source)]
    manifest = [_manifest_row(config.out, source, splits[source.id]) for source in ready]
    listed = {source.id for source in sources} - {row["id"] for row in manifest}
    quarantine = [refused[name] for name in sorted(refused.keys() & listed)]
    quarantine += [_refusal_by_name(refusal) for refusal in listing.refused]
    write_jsonl(config.out / "manifest.jsonl", manifest)
    write_jsonl(config.out / "quarantine.jsonl", quarantine)
    return Result(manifest, quarantine, made)


def _manifest_row(out: Path, source: Source, split: str) -> Row:
    record = read_json(clip_folder(out, source) / "clip.json")
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


def _shown(found: Iterator[ClipOutcome], total: int, config: Config) -> Iterator[ClipOutcome]:
    with tqdm(total=total, desc="prepare", unit="clip", disable=not config.progress) as bar:
        for outcome in found:
            bar.update()
            if outcome.reason is not None:
                bar.write(f"refused, {outcome.reason}: {outcome.message}")
            yield outcome


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the folder for this process; remove what a killed one left half-written."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is preparing {out}; wait for it") from None
        for left in out.glob(f"clips/*/{TEMPORARY}*/"):
            if not (left.is_symlink() or left.parent.is_symlink()):
                shutil.rmtree(left)
        yield


if __name__ == "__main__":
    sys.exit(main())
