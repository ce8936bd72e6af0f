"""A corpus as published, what a file's name says, and the clips that come of it."""

import re
import typing as tp
from dataclasses import dataclass
from pathlib import Path

from affekt.media.emotions import EMOTIONS

Layout = tp.Literal[
    "mead", "folder", "list", "lrw", "emodb", "ravdess", "cremad", "grid", "voxceleb"
]
Channel = tp.Literal["speech", "song"]
FRONT = "front"
# Sentences of corpora that have a fixed list of them; split.test_sentences is checked against it.
SENTENCES: dict[str, tuple[str, ...]] = {
    "emodb": ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10"),
    "ravdess": ("kids", "dogs", "kids-song", "dogs-song"),
    "cremad": (
        *("IEO", "TIE", "IOM", "IWW", "TAI", "MTI"),
        *("IWL", "ITH", "DFA", "ITS", "TSI", "WSI"),
    ),
}


@dataclass(frozen=True)
class CorpusConfig:
    """The published corpus, and how its file names are parsed."""

    layout: Layout
    root: Path  # a folder; of the layout list, the CSV file
    views: tuple[str, ...] = (FRONT,)  # mead: camera folders; empty: all
    speakers: tuple[str, ...] = ()  # empty: all
    emotions: tuple[str, ...] = ()  # empty: all
    levels: tuple[int, ...] = ()  # intensities; empty: all. Neutral, which has one, is always kept
    sentence_table: Path | None = None  # CSV: which file numbers hold the same sentence
    sound: tp.Literal["required", "optional"] = "required"  # optional: a clip without is silent
    pattern: str = (
        r"(?P<number>.+)"  # folder, lrw: of the whole name without suffix; others are left out
    )
    sound_folder: Path | None = None  # folder: sounds of the same relative names, other suffix
    speaker: str = ""  # folder, grid: where no name tells; empty: the name of the file's folder
    spellings: tuple[tuple[str, str], ...] = ()  # pairs (the corpus's name, emotion): [[W, angry]]
    classes: tuple[str, ...] = EMOTIONS  # the labels in order; a corpus may bring its own
    sound_only: bool = False  # prepare the sound alone; of emodb, which has no pictures, always
    channels: tuple[Channel, ...] = ("speech",)  # ravdess: speech, song
    boxes: bool = True  # voxceleb: search the face in the box of the .txt beside a clip

    def __post_init__(self) -> None:
        try:
            groups = set(re.compile(self.pattern).groupindex)
        except re.error as error:
            raise ValueError(
                f"pattern {self.pattern!r} is no regular expression: {error}"
            ) from None
        if self.sound_folder is not None and not self.has_pictures:
            raise ValueError("of sounds alone corpus.root is their folder; leave out sound_folder")
        unknown = groups - {"speaker", "emotion", "level", "number", "sentence"}
        if unknown:
            raise ValueError(
                f"pattern has groups {sorted(unknown)}; known: speaker, emotion, level, number, "
                "sentence"
            )

    @property
    def has_pictures(self) -> bool:
        """Whether pictures are prepared, not the sound alone."""
        return not (self.sound_only or self.layout == "emodb")


@dataclass(frozen=True)
class Name:
    """What the place and the name of a file say, in the corpus's own spelling."""

    speaker: str
    emotion: str
    level: int
    number: str
    sentence: str
    view: str = FRONT
    split: str | None = None
    fault: str = ""  # why the clip cannot be used, where its name tells


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
    boxes: Path | None = None  # where the face is in every frame
    alignment: Path | None = None  # when its words are said

    @property
    def id(self) -> str:
        """The clip's name: speaker, emotion, level, number and a view other than front."""
        view = () if self.view == FRONT else (self.view,)
        parts = (self.speaker, self.emotion, str(self.level), self.number, *view)
        return re.sub(r"[^\w.+-]+", "-", "_".join(parts))


@dataclass(frozen=True)
class Refusal:
    """A file whose name or place rules it out, before it is read."""

    path: Path
    reason: tp.Literal["bad_name", "unknown_emotion", "same_id", "copy"]
    message: str


@dataclass(frozen=True)
class Listing:
    """The clips of a corpus, sorted by id, and what is not among them."""

    sources: tuple[Source, ...]
    unmatched: tuple[Path, ...]  # left out: names that do not fit the layout or the pattern
    refused: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()  # what is missing, in lines for people
