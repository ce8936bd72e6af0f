"""Prepare a published corpus: one folder a clip, at 25 fps and 16 kHz.

    python -m data_prep.prepare configs/data/mini.yaml
    python -m data_prep.prepare configs/data/mead.yaml corpus.root=/data/MEAD workers=8
    python -m data_prep.prepare configs/data/folder.yaml corpus.root=/data/clips out=data/mine
    python -m data_prep.prepare configs/data/ravdess.yaml corpus.root=/data/RAVDESS --dry-run
    python -m data_prep.prepare configs/data/mead.yaml --shard 3/16
    python -m data_prep.prepare configs/data/mead.yaml --ray auto
    python -m data_prep.prepare configs/real/emodb.yaml corpus.root=/data/emodb

Reads any container and frame rate, finds 68 landmarks in every frame, crops the frames, and
computes the MFCC; of sounds (corpus.sound_only=true, or layout: emodb), the MFCC alone. With
--dry-run it writes nothing: it lists the clips, and tells from a few that it prepares into a
temporary folder how long all take and how much room they need. Else it writes corpus.json,
manifest.jsonl, quarantine.jsonl and clips/<speaker>/<clip id>/ (see docs/formats.md), and clip.json
in each: the frames whose landmarks were filled in, and the state of the source.

`mfcc.backend=python_speech_features` and `audio.reader=librosa` use the libraries of the papers'
releases, slower and equal but for rounding; detector.name=face_alignment their kind of landmarks.

The same command again prepares what is missing, what changed in the source, and clips whose files
are cut off. A source that was refused is tried again when it changed, or with retry=true. A corpus
is of one setting: other settings need another `out`. Where more than quarantine_limit of the clips
are refused, the command ends with an error, and what is done stays.

On several machines (docs/scale.md): --shard i/n prepares the share i, from 0, of the clips into
out/shards/i-of-n/, and python -m data_prep.merge joins the shares; --ray works on a Ray cluster.

Next: python -m data_prep.inspect, python -m data_prep.face_model, python -m data_prep.pose.
"""

import hashlib
import json
import logging
import sys
import typing as tp
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from affekt.media.constants import FRAME_RATE, SAMPLE_RATE
from affekt.media.corpus import SCHEMA
from affekt.media.faces.detector import detector_version
from affekt.media.faces.track import FramesConfig
from affekt.media.integrity import (
    CLIP,
    CORPUS,
    QUARANTINE,
    SHARD,
    check_list,
    read_sealed,
    whole_record,
    write_sealed,
)
from affekt.runtime.command import config_from_argv
from affekt.runtime.config import differences, plain
from affekt.runtime.files import DamagedFileError, is_disk_error, read_jsonl
from affekt.runtime.lock import locked
from data_prep.clips.clip import (
    CONTENTS_VERSION,
    AudioConfig,
    ClipConfig,
    ClipOutcome,
    DetectorConfig,
    Engine,
    MfccConfig,
    PrepareJob,
    clip_folder,
    outcomes,
    remove_unfinished_clips,
)
from data_prep.clips.dry_run import Plan, report
from data_prep.clips.layouts.config import SENTENCES, CorpusConfig, Listing, Source
from data_prep.clips.layouts.listing import find_sources
from data_prep.clips.lists import (
    Result,
    list_clips,
    missing,
    own_share,
    refusal_row,
    shard_record,
)
from data_prep.clips.shards import FOLDER, parse_shard
from data_prep.clips.splits import SplitConfig, numbered, splits_of

log = logging.getLogger(__name__)

Row = dict[str, tp.Any]


@dataclass(frozen=True)
class Config:
    """Settings of a prepared corpus; changing any but `out` and what follows needs another."""

    corpus: CorpusConfig
    split: SplitConfig = field(default_factory=SplitConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    frames: FramesConfig = field(default_factory=FramesConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    mfcc: MfccConfig = field(default_factory=MfccConfig)
    out: Path = Path("data/prepared")
    workers: int = 2  # processes; 0: none but this one, which no clip_seconds can end
    clip_minutes: float = 60.0  # a longer source is refused (too_long)
    clip_seconds: float = 3600.0  # that preparing a clip may take, else it is refused (timeout)
    shard: str = ""  # i/n: the share i, from 0, of n; empty: all
    ray: str = ""  # address of a Ray cluster that does the work; auto: the one of this machine
    # Share of the clips that may be refused before the command ends with an error; not counted are
    # files left out as copies of others. A corpus of a few clips may need more.
    quarantine_limit: float = 0.02
    retry: bool = False  # try refused sources again, though they did not change
    progress: bool = True  # a bar
    dry_run: bool = False  # say what would be done, and how long it would take; write nothing

    def __post_init__(self) -> None:
        parse_shard(self.shard)
        if min(self.clip_minutes, self.clip_seconds) <= 0:
            raise ValueError("clip_minutes and clip_seconds must be above 0")
        if not 0 <= self.quarantine_limit <= 1:
            raise ValueError(f"quarantine_limit is {self.quarantine_limit}, wanted a share, 0 to 1")
        if self.corpus.has_pictures and self.audio.trim_below:
            raise ValueError(
                "audio.trim_below would shift sound against its pictures; it is for corpora "
                "without them (corpus.sound_only=true)"
            )
        known = SENTENCES.get(self.corpus.layout)
        unknown = sorted(set(self.split.test_sentences) - set(known or ()))
        if known and unknown:
            raise ValueError(f"split.test_sentences has unknown texts {unknown}; known: {known}")

    @property
    def place(self) -> Path:
        """The folder of what is prepared: `out`, or that of a share."""
        shard = parse_shard(self.shard)
        return self.out if shard is None else shard.folder(self.out)


def prepare(config: Config) -> Result:
    """Prepare what is missing of a corpus.

    Raises:
        FileNotFoundError: no corpus there, or the detector's weights are missing.
        ValueError: `out` holds a corpus of other settings or is in use, names do not fit the
            layout, or a clip would be written through a link.
        OSError: the disk is full; the same command goes on where it stopped.
    """
    # List the sources, and which of them are not prepared yet.
    whole = numbered(find_sources(config.corpus), config.split)
    for note in whole.notes:
        log.warning("%s", note)
    splits = splits_of(whole.sources, config.split)
    config, listing = _share(config, whole)
    with locked(config.out, "preparing"):
        remove_unfinished_clips(config.out)
        _claim(config)
        refused = _refused(config)
        job = _job(config)
        todo = missing(job, listing, refused)
        _refuse_links(job.out, todo)
        # Prepare them; the lists are written even when the run is interrupted.
        made = 0
        try:
            for outcome in _shown(outcomes(todo, job, _engine(config)), len(todo), config):
                made += outcome.reason is None
                refused.pop(outcome.source.id, None)
                if outcome.reason is not None:
                    refused[outcome.source.id] = refusal_row(outcome)
        finally:
            result = list_clips(job, listing, splits, refused, made)
        if config.shard:
            write_sealed(config.out / SHARD, shard_record(config.shard, listing, whole))
    return result


def dry_run(config: Config) -> str:
    """Return what `prepare` would do, how long it would take and how much room it needs.

    Raises:
        FileNotFoundError, ValueError: as `prepare`.
    """
    config, listing = _share(config, numbered(find_sources(config.corpus), config.split))
    _check_settings(config)
    job = _job(config)
    todo = missing(job, listing, _refused(config))
    splits = splits_of(listing.sources, config.split)
    return report(Plan(listing, splits, todo, job, config.workers))


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
    """Run the command line.

    Returns:
        0 if the corpus holds at least one clip and few enough were refused, else 1.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    switches = {"dry-run": "say what would be done and how long it would take; write nothing"}
    values = {"shard": "i/n: prepare the share i of n alone", "ray": "address of a Ray cluster"}
    config = config_from_argv(Config, __doc__, argv, switches=switches, values=values)
    try:
        if config.dry_run:
            print(dry_run(config))
            return 0
        result = prepare(config)
    except (OSError, ValueError) as error:
        kept = "; what is done is kept: make room, then run the same command"
        print(f"prepare: {error}{kept if is_disk_error(error) else ''}", file=sys.stderr)
        return 1
    print(summary(result, config.place))
    if result.refused_share > config.quarantine_limit:
        print(
            f"prepare: {result.refused_share:.1%} of the clips are refused, more than "
            f"quarantine_limit={config.quarantine_limit:g} allows: see to the reasons above, or "
            "raise it if that many are bad; what is prepared can be used",
            file=sys.stderr,
        )
        return 1
    return 0 if result.manifest or config.shard else 1


def settings(config: Config) -> Row:
    """Return what decides the contents of a prepared corpus, as plain values."""
    values: Row = plain(config)
    names = list(values)
    for name in names[names.index("out") :]:
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
    if CONTENTS_VERSION > 1:
        values["contents_version"] = CONTENTS_VERSION
    return values


def _settings_sha256(values: Row) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _job(config: Config) -> PrepareJob:
    frames = config.frames if config.corpus.has_pictures else None
    needs_sound = config.corpus.sound == "required"
    contents = ClipConfig(frames, needs_sound, config.audio, config.mfcc)
    digest = _settings_sha256(settings(config))
    return PrepareJob(config.out, contents, config.detector, digest, config.clip_minutes)


def _engine(config: Config) -> Engine:
    return Engine(config.workers, config.clip_seconds, config.ray)


def _share(config: Config, listing: Listing) -> tuple[Config, Listing]:
    """Return the share of the clips that is to be prepared, and the configuration with its `out`.

    A share is a prepared corpus of its own, which data_prep.merge makes part of the whole.
    """
    shard = parse_shard(config.shard)
    if shard is None:
        if (config.out / FOLDER).exists():
            log.warning("%s holds shards: is python -m data_prep.merge to be run?", config.out)
        return config, listing
    return replace(config, out=config.place), own_share(listing, shard)


def _claim(config: Config) -> None:
    """Write corpus.json, or check that the one there is of the same settings."""
    if not _check_settings(config):
        record = _corpus_record(config, settings(config))
        write_sealed(config.out / CORPUS, record | {"lists": {}})


def _check_settings(config: Config) -> bool:
    """Refuse an `out` that holds a corpus of other settings; return whether it holds one."""
    path, wanted = config.out / CORPUS, settings(config)
    try:
        found = read_sealed(path).get("settings", {})
    except (FileNotFoundError, DamagedFileError) as error:
        # Its settings are those of its clips, which name them
        of_these = {"settings_sha256": _settings_sha256(wanted)}
        for clip in config.out.glob(f"clips/*/*/{CLIP}"):
            if not whole_record(clip.parent).items() >= of_these.items():
                raise ValueError(
                    f"{error}: and {clip.parent} may be of other settings; choose another out=, or "
                    f"delete {config.out}"
                ) from None
        return False
    differing = [f"{key} = {old!r}, now {new!r}" for key, old, new in differences(found, wanted)]
    if differing:
        raise ValueError(
            f"{config.out} was prepared with other settings ({'; '.join(differing)}); "
            "choose another out=, or delete that folder"
        )
    return True


def _refuse_links(out: Path, todo: Sequence[Source]) -> None:
    """Refuse to write clips through links below `out`, which may lead to somebody's own files."""
    speakers = {clip_folder(out, source).parent for source in todo}
    for folder in (out / "clips", *sorted(speakers), *(clip_folder(out, each) for each in todo)):
        if folder.is_symlink():
            raise ValueError(
                f"{folder} is a link, through which no clip is written or removed; put a folder "
                "there, or choose another out= (which may be a link itself)"
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
        "settings_sha256": _settings_sha256(values),
        "settings": values,
    }


def _refused(config: Config) -> dict[str, Row]:
    """Return what an earlier run refused, by clip id."""
    path = config.out / QUARANTINE
    if config.retry or not path.exists():
        return {}
    try:
        check_list(config.out, read_sealed(config.out / CORPUS), QUARANTINE)
        return {row["id"]: row for row in read_jsonl(path)}
    except (FileNotFoundError, ValueError, LookupError, TypeError) as error:
        log.warning("what was refused is tried again: %s", error)
        return {}


def _shown(found: Iterator[ClipOutcome], total: int, config: Config) -> Iterator[ClipOutcome]:
    with tqdm(total=total, desc="prepare", unit="clip", disable=not config.progress) as bar:
        for outcome in found:
            bar.update()
            if outcome.reason is not None:
                bar.write(f"refused, {outcome.reason}: {outcome.message}")
            yield outcome


if __name__ == "__main__":
    sys.exit(main())
