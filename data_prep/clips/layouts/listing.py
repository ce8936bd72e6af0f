"""List the clips of a published corpus; what cannot be one is refused alone, with its reason.

mead and the layouts of data_prep.clips.layouts.names are read by the names of files. The layout
list is a CSV file with the columns video, audio, speaker, emotion, level, sentence; its paths are
relative to it, an empty audio means the video's own sound.

A speaker's name that could not be a folder's is changed (Anna's clips: Anna-s clips), which is
said. Two files of one id are refused, both, unless they are the same, byte for byte: then one is
kept.
"""

import re
import typing as tp
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from affekt.media.emotions import NEUTRAL, canonical
from affekt.media.endings import is_of, left_out
from affekt.runtime.csv_files import read_csv
from affekt.runtime.files import nfc, sha256
from data_prep.clips.layouts import names
from data_prep.clips.layouts.config import FRONT, CorpusConfig, Listing, Name, Refusal, Source
from data_prep.clips.layouts.mead import mead, mead_notes, mead_sound
from data_prep.clips.layouts.walk import Files, Sounds, walk
from data_prep.clips.words import read_words
from data_prep.sentences import plain_number, read_table

LIST_COLUMNS = ("video", "audio", "speaker", "emotion", "level", "sentence")
READERS: dict[str, names.Reader] = {
    "mead": mead,
    "folder": names.folder,
    "lrw": names.lrw,
    "emodb": names.emodb,
    "ravdess": names.ravdess,
    "cremad": names.cremad,
    "grid": names.grid,
    "voxceleb": names.voxceleb,
}
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
HINTED = 100  # files that are looked at for the folder that was meant


@dataclass(frozen=True)
class _Candidate:
    """A file that a layout understands, before anything is chosen or checked."""

    path: Path
    name: Name
    audio: Path | None = None
    boxes: Path | None = None
    alignment: Path | None = None


@dataclass
class _Found:
    """What a corpus holds."""

    candidates: list[_Candidate] = field(default_factory=list)
    unmatched: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)  # neither video nor sound
    notes: list[str] = field(default_factory=list)


def find_sources(config: CorpusConfig) -> Listing:
    """List the clips of a published corpus.

    Raises:
        FileNotFoundError: no corpus there, or no clip in it.
        ValueError: not one clip of the corpus can be used, or an option does not fit it.
    """
    root = config.root
    if not root.exists():
        raise FileNotFoundError(f"corpus.root {root} does not exist")
    # The layout reads names, the config chooses among them
    found = _from_list(config) if config.layout == "list" else _from_names(config)
    chosen = [each for each in found.candidates if _is_asked_for(each.name, config)]
    refused: list[Refusal] = []
    sources = list(_sources(chosen, config, refused, found.notes))
    sources = list(_with_sentences(_chosen(sources, config), config.sentence_table))
    sources = _one_of_each_id(sources, refused)
    if not sources:
        _raise_nothing(config, found, refused)
    # What is left out is said
    if found.unmatched:
        first, count = found.unmatched[0], len(found.unmatched)
        what = "corpus.pattern" if config.layout == "folder" else f"the layout {config.layout!r}"
        found.notes.append(f"{count} files do not fit {what} and are left out, as {first}")
    found.notes += [line for line in (left_out(found.others), *_unknown(config, found)) if line]
    sources.sort(key=lambda source: source.id)
    return Listing(tuple(sources), tuple(found.unmatched), tuple(refused), tuple(found.notes))


def folder_name(speaker: str) -> str:
    """Return a speaker's name as that of a folder: composed letters, "-" for what is unsafe."""
    return re.sub(r"^\W+", "", re.sub(r"[^\w.+ -]+", "-", nfc(speaker))).strip()


def _from_names(config: CorpusConfig) -> _Found:
    root = config.root
    if not root.is_dir():
        raise FileNotFoundError(f"corpus.root {root} is a file; the layout is read from a folder")
    files, sounds, found = walk(root), Sounds(), _Found()
    found.others = files.others
    read = READERS[config.layout]
    for path in _media(files, config):
        name = read(path, root, config)
        if name is None:
            found.unmatched.append(path)
        else:
            found.candidates.append(_Candidate(path, name))
    found.candidates = list(_best_copies(found.candidates, config))
    if config.layout == "mead":
        found.notes += mead_notes(((each.path, each.name) for each in found.candidates), config)
    if config.has_pictures:
        found.candidates = [_with_sound(each, config, sounds, files) for each in found.candidates]
    if config.layout == "grid":
        found.candidates = _with_words(found, config)
    return found


def _media(files: Files, config: CorpusConfig) -> list[Path]:
    """Return the files that clips are made of; of sounds, videos too where they may have others."""
    if config.has_pictures:
        return files.videos
    if config.layout in ("folder", "ravdess", "cremad"):
        return [*files.sounds, *files.videos]  # of two copies, _best_copies takes the sound
    return files.sounds or files.videos


def _best_copies(candidates: Sequence[_Candidate], config: CorpusConfig) -> Iterator[_Candidate]:
    """Yield one file of every recording, where a corpus publishes a recording in several kinds."""
    best: dict[str, tuple[tuple[int, int], _Candidate]] = {}
    for each in candidates:
        known = names.recording(each.path, config)
        if known is None:
            yield each
        elif known[0] not in best or known[1] < best[known[0]][0]:
            best[known[0]] = known[1], each
    yield from (each for _, each in best.values())


def _with_sound(each: _Candidate, config: CorpusConfig, sounds: Sounds, files: Files) -> _Candidate:
    """Return a candidate with what lies beside it: its sound, its boxes."""
    path, root = each.path, config.root
    if config.layout == "mead":
        return replace(each, audio=mead_sound(path, each.name, root, sounds))
    if config.layout == "folder" and config.sound_folder is not None:
        return replace(each, audio=sounds.beside(config.sound_folder / path.relative_to(root)))
    if config.layout == "ravdess" and path.stem.startswith("02"):
        return replace(each, audio=files.sound_named(f"03{path.stem[2:]}"))
    if config.layout == "voxceleb" and config.boxes:
        boxes = path.with_suffix(".txt")
        return replace(each, boxes=boxes if boxes.is_file() else None)
    return each


def _with_words(found: _Found, config: CorpusConfig) -> list[_Candidate]:
    """Return the candidates with GRID's alignments, by speaker and name; say what they lack."""
    alignments = {
        (name.speaker, path.stem): path
        for path in found.others
        if path.suffix.lower() == ".align" and (name := names.grid(path, config.root, config))
    }
    candidates, faults = [], []
    for each in found.candidates:
        path = alignments.get((each.name.speaker, each.path.stem))
        try:
            read_words(path) if path else None
        except (ValueError, OSError) as error:
            faults.append(str(error))
            path = None
        candidates.append(replace(each, alignment=path))
    read = set(alignments.values())
    found.others = [path for path in found.others if path not in read]
    if faults:
        found.notes.append(f"clips without words: {len(faults)}; {faults[0]}")
    return candidates


def _from_list(config: CorpusConfig) -> _Found:
    found, root = _Found(), config.root
    if root.is_dir():
        raise FileNotFoundError(
            f"corpus.root of the layout 'list' is a CSV file; {root} is a folder"
        )
    for line, row in read_csv(root, LIST_COLUMNS)[1]:
        video, audio = (
            _on_disk(root.parent / row[key]) if row[key] else None for key in ("video", "audio")
        )
        if not config.has_pictures:
            video, audio = audio or video, None
        level = row["level"]
        fault = "" if level.isdecimal() else f"line {line}: the level {level!r} is no number"
        fault = fault if video else f"line {line}: no file is named"
        path = video or root
        name = Name(
            speaker=row["speaker"],
            emotion=row["emotion"],
            level=int(level) if level.isdecimal() else 0,
            number=path.stem,
            sentence=row["sentence"],
            fault=fault,
        )
        found.candidates.append(_Candidate(path, name, audio))
    return found


def _on_disk(path: Path) -> Path:
    """Return a path as the disk spells it: letters of a name may be composed or not."""
    if path.exists() or not path.parent.is_dir():
        return path
    same = (other for other in path.parent.iterdir() if nfc(other.name) == nfc(path.name))
    return next(same, path)


def _is_asked_for(name: Name, config: CorpusConfig) -> bool:
    """Return whether view, speaker and channel of a clip are those of the config."""
    if config.layout == "ravdess" and names.channel_of(name) not in config.channels:
        return False
    wanted = {folder_name(speaker) for speaker in config.speakers}
    seen = name.view in config.views or not config.views or config.layout != "mead"
    return seen and (not wanted or folder_name(name.speaker) in wanted)


def _sources(
    candidates: Iterable[_Candidate],
    config: CorpusConfig,
    refused: list[Refusal],
    notes: list[str],
) -> Iterator[Source]:
    """Yield the candidates as clips; refuse those whose names do not do."""
    owners: dict[str, str] = {}  # folder's name -> speaker
    for each in candidates:
        # The name: the layout may find fault with it, and a folder must bear the speaker's
        name, path = each.name, each.path
        speaker = folder_name(name.speaker)
        fault = name.fault or (
            "" if speaker else f"{name.speaker!r} cannot name a speaker's folder"
        )
        owner = owners.setdefault(speaker, nfc(name.speaker))
        if speaker and owner != nfc(name.speaker):
            fault = f"the speakers {owner!r} and {name.speaker!r} would both be called {speaker!r}"
        if fault:
            refused.append(Refusal(path, "bad_name", f"{path}: {fault}"))
            continue
        # The emotion, in the corpus's classes
        try:
            emotion = _class_of(name.emotion, path, config)
        except ValueError as error:
            refused.append(Refusal(path, "unknown_emotion", str(error)))
            continue
        yield Source(
            video=path,
            audio=each.audio,
            speaker=speaker,
            emotion=emotion,
            level=name.level,
            number=nfc(name.number),
            sentence=nfc(name.sentence),
            view=name.view,
            split=name.split,
            boxes=each.boxes,
            alignment=each.alignment,
        )
    changed = [f"{old!r} as {new!r}" for new, old in owners.items() if new and new != old]
    if changed:
        notes.append(f"speakers are called otherwise in the corpus: {', '.join(changed)}")


def _chosen(sources: Iterable[Source], config: CorpusConfig) -> Iterator[Source]:
    emotions = {_class_of(name, Path("corpus.emotions"), config) for name in config.emotions}
    for source in sources:
        right_level = source.level in config.levels or source.emotion == NEUTRAL
        if (not emotions or source.emotion in emotions) and (not config.levels or right_level):
            yield source


def _with_sentences(sources: Iterable[Source], table_path: Path | None) -> Iterator[Source]:
    """Yield the sources with the sentence of the table.

    A file that the table does not know gets a sentence of its own: file numbers of two emotions
    do not correspond, and a wrong pair is worse than none.
    """
    if table_path is None:
        yield from sources
        return
    table = read_table(table_path)
    for source in sources:
        key = source.speaker, source.emotion, plain_number(source.number)
        own = f"{source.emotion} {source.number}"
        yield replace(source, sentence=table.get(key, own))


def _one_of_each_id(sources: Sequence[Source], refused: list[Refusal]) -> list[Source]:
    """Return the clips whose id is theirs alone; of equal files, the first."""
    by_id: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        by_id[source.id].append(source)
    kept = []
    for name, twins in by_id.items():
        first, *rest = sorted(twins, key=lambda source: (len(source.video.parts), source.video))
        copies = [source for source in rest if _same_content(first.video, source.video)]
        for source in copies:
            text = f"{source.video} is a copy of {first.video}"
            refused.append(Refusal(source.video, "copy", text))
        if len(copies) == len(rest):
            kept.append(first)
            continue
        others = [source for source in rest if source not in copies]
        for source, twin in ((first, others[0]), *((source, first) for source in others)):
            text = f"{source.video} and {twin.video} have the same id {name!r}; keep one of them"
            refused.append(Refusal(source.video, "same_id", text))
    return kept


def _same_content(one: Path, other: Path) -> bool:
    if not (one.is_file() and other.is_file()) or one.stat().st_size != other.stat().st_size:
        return False
    return sha256(one) == sha256(other)


def _class_of(name: str, where: Path, config: CorpusConfig) -> str:
    spelled = dict(config.spellings).get(name, name)
    if spelled in config.classes:
        return spelled
    try:
        emotion = canonical(spelled)
    except ValueError as error:
        raise ValueError(f"{where}: {error}; set corpus.spellings or corpus.classes") from None
    if emotion not in config.classes:
        raise ValueError(f"{where}: {emotion!r} is none of corpus.classes {config.classes}")
    return emotion


def _unknown(config: CorpusConfig, found: _Found) -> Iterator[str]:
    """Yield lines on speakers that are asked for in vain, and songs that nobody asked for."""
    known = {folder_name(each.name.speaker) for each in found.candidates if config.speakers}
    missing = [who for who in config.speakers if folder_name(who) not in known]
    if missing:
        yield f"corpus.speakers names {', '.join(missing)}, of whom there is no clip"
    channels = [names.channel_of(each.name) for each in found.candidates]
    others = sum(channel not in config.channels for channel in channels)
    if config.layout == "ravdess" and others:
        there = ", ".join(sorted(set(channels)))
        yield f"{others} recordings are of other channels than corpus.channels (there are {there})"


def _raise_nothing(config: CorpusConfig, found: _Found, refused: Sequence[Refusal]) -> tp.NoReturn:
    """Say why there is no clip, and which folder may have been meant."""
    what = f"no clip of the layout {config.layout!r} under {config.root}"
    if refused:
        more = f", and {len(refused) - 1} more like it" if len(refused) > 1 else ""
        raise ValueError(f"{what} can be used: {refused[0].message}{more}")
    if found.candidates:
        views = sorted({each.name.view for each in found.candidates} - {FRONT})
        seen = f"; views: {', '.join(views)}" if views else ""
        count = len(found.candidates)
        raise FileNotFoundError(
            f"{what} fits the config: none of {count} is of the speakers, emotions, levels, "
            f"views and channels asked for{seen}"
        )
    text = f"{what} fits the config"
    if found.unmatched:
        by = "the pattern" if config.layout in ("folder", "lrw") else "the layout"
        text += f"; {by} fits none of {len(found.unmatched)} files, as {found.unmatched[0]}"
    meant = _meant(config, found)
    if meant is not None:
        text += f"; did you mean corpus.root={meant} ?"
    if found.others:
        text += f"; {left_out(found.others)}"
    if any(is_of(path, PICTURES) for path in found.others):
        text += "; pictures are no clips: a portrait is --source of generate.py"
    raise FileNotFoundError(text)


def _meant(config: CorpusConfig, found: _Found) -> Path | None:
    """Return the folder nearest to the root, above or below, in which the layout finds clips."""
    depth = len(config.root.absolute().parts)
    for path in (path.absolute() for path in found.unmatched[:HINTED]):
        for folder in sorted(path.parents, key=lambda folder: abs(len(folder.parts) - depth)):
            name = READERS[config.layout](path, folder, config)
            if name is not None and not name.fault and folder.name:
                return folder
    return None
