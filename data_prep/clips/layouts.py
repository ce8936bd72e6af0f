"""Layouts of published corpora: where clips lie, and what their names mean.

mead    <speaker>/video/<view>/<emotion>/level_<n>/<number>.mp4, with the sound beside it in
        <speaker>/audio/<emotion>/level_<n>/<number>.m4a (of a view other than front:
        <speaker>/audio_<view>/...). A clip without such a file uses the video's own sound.
folder  videos (or sounds) anywhere under a folder; `pattern` reads their names.
list    a CSV file with the columns video, audio, speaker, emotion, level, sentence; paths are
        relative to it, an empty audio means the video's own sound.
lrw     <WORD>/<train|val|test>/<WORD>_<nnnnn>.mp4, words cut from broadcasts: 29 frames at 25 fps,
        256 x 256, with sound. Speakers are not named, so every clip is a speaker of its own: what
        a stage takes from another clip of the speaker can only come from the clip itself. The sets
        published are kept: train and val by name, test as `test_speaker`. The same people may
        speak in all three. The sentence is the word, the emotion neutral. `pattern` can choose
        words: '(ABOUT|AFTER)_.*'. The .txt beside a clip, which times the word in it, is not read.
emodb   wav/<speaker><text><emotion><version>.wav (03a01Fa: speaker 03, text a01, F happy, version
        a), acted German emotional speech (Burkhardt et al. 2005) without pictures: the prepared
        clips have audio.wav and mfcc.npy alone, which emotion pretraining and disentanglement need.
        The sentence is the text; intensities there are none. `classes` lists its seven emotions.
"""

import re
import typing as tp
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from affekt.media.emotions import EMOTIONS, NEUTRAL, canonical
from affekt.runtime.csv_files import read_csv
from data_prep.sentences import plain_number, read_table

VIDEO_SUFFIXES = (".mp4", ".mov", ".mpg", ".mpeg", ".avi", ".mkv", ".webm", ".m4v", ".wmv", ".flv")
SOUND_SUFFIXES = (".wav", ".m4a", ".mp3", ".flac", ".ogg", ".aac", ".aif", ".aiff", ".mov", ".mp4")
LIST_COLUMNS = ("video", "audio", "speaker", "emotion", "level", "sentence")
FRONT = "front"
EMODB_NAME = re.compile(r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<emotion>[A-Z])(?P<version>[a-z])")
EMODB_TEXTS = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
EMODB_EMOTIONS = {
    "W": "angry",  # Wut
    "L": "bored",  # Langeweile
    "E": "disgusted",  # Ekel
    "A": "fear",  # Angst
    "F": "happy",  # Freude
    "N": "neutral",
    "T": "sad",  # Trauer
}
LRW_SPLITS = {"train": "train", "val": "val", "test": "test_speaker"}  # LRW's name: the project's


@dataclass(frozen=True)
class CorpusConfig:
    """The published corpus, and how its file names are parsed."""

    layout: tp.Literal["mead", "folder", "list", "lrw", "emodb"]
    root: Path  # a folder; of the layout list, the CSV file
    views: tuple[str, ...] = (FRONT,)  # mead: camera folders
    speakers: tuple[str, ...] = ()  # empty: all
    emotions: tuple[str, ...] = ()  # empty: all
    levels: tuple[int, ...] = ()  # intensities; empty: all. Neutral, which has one, is always kept
    sentence_table: Path | None = None  # CSV: which file numbers hold the same sentence
    sound: tp.Literal["required", "optional"] = "required"  # optional: a clip without is silent
    pattern: str = (
        r"(?P<number>.+)"  # folder, lrw: of the whole name without suffix; others are left out
    )
    sound_folder: Path | None = None  # folder: sounds of the same relative names, other suffix
    speaker: str = ""  # folder: where the pattern names none; empty: the name of the file's folder
    spellings: tuple[tuple[str, str], ...] = ()  # pairs (the corpus's name, emotion): [[W, angry]]
    classes: tuple[str, ...] = EMOTIONS  # the labels in order; a corpus may bring its own

    def __post_init__(self) -> None:
        try:
            groups = set(re.compile(self.pattern).groupindex)
        except re.error as error:
            raise ValueError(
                f"pattern {self.pattern!r} is no regular expression: {error}"
            ) from None
        unknown = groups - {"speaker", "emotion", "level", "number", "sentence"}
        if unknown:
            raise ValueError(
                f"pattern has groups {sorted(unknown)}; known: speaker, emotion, level, number, "
                "sentence"
            )

    @property
    def sound_only(self) -> bool:
        """Whether the corpus has no pictures."""
        return self.layout == "emodb"


@dataclass(frozen=True)
class Source:
    """One clip as published."""

    video: Path  # of a corpus without pictures, the sound
    audio: Path | None  # None: the video's own sound
    speaker: str
    emotion: str  # of the corpus's classes
    level: int
    number: str  # what the corpus calls the file
    sentence: str
    view: str = FRONT
    split: str | None = None  # where the corpus itself defines it

    @property
    def id(self) -> str:
        """The clip's name: speaker, emotion, level, number and a view other than front."""
        view = () if self.view == FRONT else (self.view,)
        parts = (self.speaker, self.emotion, str(self.level), self.number, *view)
        return re.sub(r"[^\w.+-]+", "-", "_".join(parts))


@dataclass(frozen=True)
class Listing:
    """The clips of a corpus, sorted by id, and the files that were left out by the pattern."""

    sources: tuple[Source, ...]
    unmatched: tuple[Path, ...] = ()


def find_sources(config: CorpusConfig) -> Listing:
    """List the clips that the config chooses.

    Raises:
        FileNotFoundError: no such root, or no clip under it.
        ValueError: an emotion that is none of the classes, or two files with one id.
    """
    root = config.root
    if not root.exists():
        raise FileNotFoundError(f"corpus.root {root} does not exist")
    # The layout lists the clips, the config chooses among them.
    finders = {
        "mead": _find_mead,
        "folder": _find_folder,
        "list": _find_list,
        "lrw": _find_lrw,
        "emodb": _find_emodb,
    }
    unmatched: list[Path] = []
    sources = list(finders[config.layout](config, unmatched))
    sources = list(_with_sentences(_chosen(sources, config), config.sentence_table))
    if not sources:
        left_out = f"; the pattern fits none of {len(unmatched)} files" if unmatched else ""
        raise FileNotFoundError(
            f"no clip of the layout {config.layout!r} under {root} fits the config{left_out}"
        )
    # Names must make folders, and ids be unique.
    by_id: dict[str, Source] = {}
    for source in sources:
        if not re.fullmatch(r"\w[\w.+ -]*", source.speaker):
            raise ValueError(f"{source.video}: {source.speaker!r} cannot name a speaker's folder")
        twin = by_id.setdefault(source.id, source)
        if twin is not source:
            raise ValueError(f"{twin.video} and {source.video} have the same id {source.id!r}")
    return Listing(tuple(by_id[name] for name in sorted(by_id)), tuple(unmatched))


def _find_mead(config: CorpusConfig, unmatched: list[Path]) -> Iterator[Source]:
    for view in config.views:
        for path in _files(config.root.glob(f"*/video/{view}/*/*/*"), VIDEO_SUFFIXES):
            speaker, _, _, emotion, level, _ = path.relative_to(config.root).parts
            digits = re.fullmatch(r"level_(\d+)", level)
            if digits is None:
                unmatched.append(path)
                continue
            folder = "audio" if view == FRONT else f"audio_{view}"
            beside = config.root / speaker / folder / emotion / level / path.name
            yield Source(
                video=path,
                audio=_sound_beside(beside),
                speaker=speaker,
                emotion=_class_of(emotion, path, config),
                level=int(digits[1]),
                number=path.stem,
                sentence=path.stem,
                view=view,
            )


def _find_folder(config: CorpusConfig, unmatched: list[Path]) -> Iterator[Source]:
    for path in _files(config.root.rglob("*"), VIDEO_SUFFIXES):
        match = re.fullmatch(config.pattern, path.stem)
        if match is None:
            unmatched.append(path)
            continue
        named = {key: value for key, value in match.groupdict().items() if value is not None}
        number = named.get("number", path.stem)
        sound = None
        if config.sound_folder is not None:
            sound = _sound_beside(config.sound_folder / path.relative_to(config.root))
        yield Source(
            video=path,
            audio=sound,
            speaker=named.get("speaker") or config.speaker or path.parent.name,
            emotion=_class_of(named.get("emotion", NEUTRAL), path, config),
            level=int(named.get("level", 1)),
            number=number,
            sentence=named.get("sentence", number),
        )


def _find_list(config: CorpusConfig, unmatched: list[Path]) -> Iterator[Source]:
    for line, row in read_csv(config.root, LIST_COLUMNS)[1]:
        if not row["video"] or not row["level"].isdigit():
            raise ValueError(f"{config.root}, line {line}: no video, or a level not a number")
        video = config.root.parent / row["video"]
        yield Source(
            video=video,
            audio=config.root.parent / row["audio"] if row["audio"] else None,
            speaker=row["speaker"],
            emotion=_class_of(row["emotion"], config.root, config),
            level=int(row["level"]),
            number=video.stem,
            sentence=row["sentence"],
        )


def _find_lrw(config: CorpusConfig, unmatched: list[Path]) -> Iterator[Source]:
    for path in _files(config.root.glob("*/*/*"), VIDEO_SUFFIXES):
        word, part, _ = path.relative_to(config.root).parts
        number = path.stem.removeprefix(f"{word}_")
        named = path.stem == f"{word}_{number}" and number.isdigit() and part in LRW_SPLITS
        if not named or re.fullmatch(config.pattern, path.stem) is None:
            unmatched.append(path)
            continue
        yield Source(
            video=path,
            audio=None,
            speaker=f"{word}-{part}-{number}",  # each set counts from 00001
            emotion=_class_of(NEUTRAL, path, config),
            level=1,
            number=number,
            sentence=word,
            split=LRW_SPLITS[part],
        )


def _find_emodb(config: CorpusConfig, unmatched: list[Path]) -> Iterator[Source]:
    files = _files(config.root.glob("wav/*"), (".wav",))
    if not files:
        folder = config.root / "wav"
        raise FileNotFoundError(f"no wav files in {folder}; set corpus.root to Emo-DB's folder")
    for path in files:
        name = EMODB_NAME.fullmatch(path.stem)
        if name is None or name["emotion"] not in EMODB_EMOTIONS:
            unmatched.append(path)
            continue
        yield Source(
            video=path,
            audio=None,
            speaker=name["speaker"],
            emotion=_class_of(EMODB_EMOTIONS[name["emotion"]], path, config),
            level=1,
            number=name["text"] + name["version"],
            sentence=name["text"],
        )


def _chosen(sources: Iterable[Source], config: CorpusConfig) -> Iterator[Source]:
    emotions = {_class_of(name, Path("corpus.emotions"), config) for name in config.emotions}
    for source in sources:
        right_level = source.level in config.levels or source.emotion == NEUTRAL
        if (
            (not config.speakers or source.speaker in config.speakers)
            and (not emotions or source.emotion in emotions)
            and (not config.levels or right_level)
        ):
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
        yield Source(**{**vars(source), "sentence": table.get(key, own)})


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


def _files(paths: Iterable[Path], suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )


def _sound_beside(path: Path) -> Path | None:
    candidates = (path.with_suffix(suffix) for suffix in SOUND_SUFFIXES)
    return next((candidate for candidate in candidates if candidate.is_file()), None)
