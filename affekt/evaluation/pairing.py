"""Pairs of results and truths, by clip id or by a manifest, and what makes one unfit.

A pair is one clip of an evaluation: its truth, its result, and its metadata. Truth is a
folder of videos or a prepared corpus; a manifest (the CSV of `test.py check --write-manifest`, or
one of your own with a column clip_id) adds speaker, label and source picture.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from affekt.evaluation.video import VideoShape, mismatch
from affekt.media.constants import FRAME_RATE
from affekt.media.corpus import Clip, Corpus
from affekt.media.endings import VIDEO_ENDINGS, is_of, left_out
from affekt.media.video.container import MediaError
from affekt.media.video.result import read_audio_if_any
from affekt.media.video.video import VideoInfo, probe
from affekt.metrics.temporal import sound_lag
from affekt.runtime.files import nfc
from affekt.runtime.manifest import read_manifest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipPair:
    """One clip of an evaluation."""

    id: str
    truth: Path | Clip
    result: Path | None = None  # None: its controls alone
    speaker: str = ""
    emotion: str = ""
    source: Path | None = None  # the picture that the result was made from


@dataclass(frozen=True)
class Pairing:
    """The clips that there are, and those of which a side is missing."""

    pairs: list[ClipPair]
    missing: list[str]  # no result
    extra: list[str]  # no truth
    truths: list[ClipPair]  # every true clip, with a result or without


def find_pairs(
    results: Path | None, truth: Path, split: str, manifest: Path | None = None
) -> Pairing:
    """Match results with the truth.

    Args:
        results: folder of videos named by clip id; None: every truth, alone.
        truth: folder of videos, or a prepared corpus.
        split: of a prepared corpus.
        manifest: CSV with a column clip_id; only its clips count.

    Raises:
        FileNotFoundError: not a folder, no manifest.
        ValueError: two videos of one id, no id in both folders, a manifest that does not fit.
    """
    # The true clips, of which a manifest may take some and add its labels
    truths = _truths(truth, split)
    if manifest is not None:
        truths = _described(truths, manifest)
    everything = [truths[clip] for clip in sorted(truths)]
    if results is None:
        return Pairing(everything, [], [], everything)
    # Results are matched by file name
    videos = find_videos(results)
    shared = sorted(videos.keys() & truths.keys())
    if not shared:
        raise ValueError(
            f"no clip of {results} ({len(videos)} videos) is named like one of {truth} "
            f"({len(truths)} clips); a result must have the clip id as its file name"
        )
    # Clips on one side alone are reported
    return Pairing(
        [replace(truths[clip], result=videos[clip]) for clip in shared],
        missing=sorted(truths.keys() - videos.keys()),
        extra=sorted(videos.keys() - truths.keys()),
        truths=everything,
    )


def find_videos(folder: Path) -> dict[str, Path]:
    """Return a folder's videos by file name without its ending, in composed letters.

    Raises:
        FileNotFoundError: not a folder.
        ValueError: two videos of one name.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder of videos")
    found: dict[str, Path] = {}
    visible = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    for path in visible:
        if not is_of(path, VIDEO_ENDINGS):
            continue
        clip = nfc(path.stem)
        if clip in found:
            raise ValueError(f"{found[clip]} and {path} have one clip id; keep one of them")
        found[clip] = path
    others = [path for path in visible if not is_of(path, VIDEO_ENDINGS) and path.is_file()]
    if others:
        log.warning("%s", left_out(others))
    return found


def problems(pair: ClipPair, slack: int) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a clip: a word to count it by, and a sentence."""
    assert pair.result is not None
    try:
        result = _shape(probe(pair.result))
        if isinstance(pair.truth, Path):
            info = probe(pair.truth)
            truth, has_audio = _shape(info), info.has_audio
        else:
            stored = pair.truth
            truth, has_audio = VideoShape(FRAME_RATE, stored.crop().size, stored.frames), True
        sound = list(_sound_problem(pair))
    except MediaError as error:
        yield "unreadable", str(error)
        return
    yield from mismatch(result, truth, slack).items()
    if not has_audio:
        yield "no sound", "the truth has no sound, so that there are no sync figures"
    yield from sound
    if pair.source is not None and not pair.source.is_file():
        yield "no source", f"the source picture {pair.source} is not there"


def _truths(truth: Path, split: str) -> dict[str, ClipPair]:
    if not (truth / "manifest.jsonl").is_file():
        return {clip: ClipPair(clip, path) for clip, path in find_videos(truth).items()}
    clips = Corpus(truth).clips(split)
    if not clips:
        raise ValueError(f"{truth} has no clips of split {split!r}; --split names another")
    pairs = (ClipPair(clip.id, clip, None, clip.speaker, clip.emotion) for clip in clips)
    return {nfc(pair.id): replace(pair, id=nfc(pair.id)) for pair in pairs}


def _described(truths: dict[str, ClipPair], manifest: Path) -> dict[str, ClipPair]:
    """Return the manifest's clips with their metadata."""
    pairs: dict[str, ClipPair] = {}
    for row in read_manifest(manifest).rows:
        clip = row.clip_id
        if clip not in truths:
            raise ValueError(f"{manifest}, line {row.line}: there is no truth of clip_id {clip!r}")
        known, source = truths[clip], row.cells.get("source")
        pairs[clip] = replace(
            known,
            speaker=row.cells.get("speaker") or known.speaker,
            emotion=row.cells.get("label") or known.emotion,
            source=manifest.parent / source if source else None,
        )
    return pairs


def _sound_problem(pair: ClipPair) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the result's own sound; the measures themselves take the truth's."""
    assert pair.result is not None
    sound = read_audio_if_any(pair.result)
    truth = pair.truth
    wanted = read_audio_if_any(truth) if isinstance(truth, Path) else truth.audio()
    if sound is None or wanted is None or not (sound.any() or wanted.any()):
        return
    lag = sound_lag(sound, wanted)
    if lag is None:
        yield "another sound", "the result's sound is not the truth's at any shift"
    elif abs(lag) > 1000 / FRAME_RATE:
        yield "sound out of step", f"the result's sound is {lag:+.0f} ms behind the truth's"


def _shape(info: VideoInfo) -> VideoShape:
    return VideoShape(info.fps, (info.width, info.height), info.frames)
