"""What the names of published corpora mean; each reader sees one file's place, nothing else.

folder    videos (or sounds) anywhere under a folder; `pattern` reads their names.
lrw       <WORD>/<train|val|test>/<WORD>_<nnnnn>.mp4, words cut from broadcasts: 29 frames at 25
          fps, 256 x 256, with sound. Speakers are not named, so every clip is a speaker of its own:
          what a stage takes from another clip of the speaker can only come from the clip itself.
          The sets published are kept: train and val by name, test as `test_speaker`. The same
          people may speak in all three. The sentence is the word, the emotion neutral. `pattern`
          can choose words: '(ABOUT|AFTER)_.*'. The .txt beside a clip, which times the word, is not
          read.
emodb     wav/<speaker><text><emotion><version>.wav (03a01Fa: speaker 03, text a01, F happy, version
          a), acted German emotional speech (Burkhardt et al. 2005) without pictures. The sentence
          is the text; intensities there are none. `classes` lists its seven emotions.
ravdess   anywhere under a folder, 03-01-06-02-01-02-12.wav: modality (01 pictures and sound, 02
          pictures, 03 sound), channel (01 speech, 02 song), emotion, intensity 1 or 2, statement,
          repetition, actor (Livingstone and Russo 2018).
cremad    anywhere under a folder, 1001_DFA_ANG_XX.flv: actor, sentence, emotion, intensity (Cao et
          al. 2014). Levels: LO 1, MD 2, HI 3, and 0 where none was asked for (XX).
grid      <speaker>/.../bbaf2n.mpg, six-word commands (Cooke et al. 2006); the sentence is the code
          of its words. The .align files, there or in <speaker>/align, say when they are spoken.
voxceleb  [dev|test]/[mp4]/<id>/<video>/<utterance>.mp4 (VoxCeleb 1 and 2, and trees like them). dev
          is `train`, test is `test_speaker`; the emotion is neutral, every sentence its own.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from affekt.media.emotions import NEUTRAL
from affekt.media.endings import SOUND_ENDINGS, VIDEO_ENDINGS
from affekt.runtime.files import nfc
from data_prep.clips.layouts.config import Channel, CorpusConfig, Name

Reader = Callable[[Path, Path, CorpusConfig], Name | None]  # file, root -> None: does not fit

EMODB = re.compile(r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<emotion>[A-Z])(?P<version>[a-z])")
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
RAVDESS = re.compile(r"0([123])-0([12])-0([1-8])-0([12])-0([12])-0([12])-(\d\d)")
RAVDESS_EMOTIONS = (
    *("neutral", "calm", "happy", "sad"),
    *("angry", "fear", "disgusted", "surprised"),
)
RAVDESS_STATEMENTS = ("kids", "dogs")  # "Kids are talking by the door.", "Dogs are sitting ..."
SONG = "-song"  # at the end of a sentence that is sung
CREMAD = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_(LO|MD|HI|XX?)")  # one file has a single X
CREMAD_LEVELS = {"LO": 1, "MD": 2, "HI": 3}
CREMAD_EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgusted",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
GRID = re.compile(r"[blps][bgrw][abiw][a-vx-z][0-9z][anps]")  # the words' first letters
GRID_SPEAKER = re.compile(r"(?:.*[\W_])?(s\d{1,2})(?:[\W_].*)?")
VOXCELEB_PARTS = {"dev": "train", "train": "train", "test": "test_speaker"}
VOXCELEB_KINDS = ("mp4", "wav", "aac", "m4a", "vid", "video", "videos")


def folder(path: Path, root: Path, config: CorpusConfig) -> Name | None:
    """Read a name by the pattern; the speaker may be the file's folder, that of root "." too."""
    match = re.fullmatch(config.pattern, nfc(path.stem))
    if match is None:
        return None
    named = {key: value for key, value in match.groupdict().items() if value is not None}
    number, level = named.get("number", path.stem), named.get("level", "1")
    above = Path(os.path.abspath(path)).parent.name  # noqa: PTH100 - links keep their names
    return Name(
        speaker=named.get("speaker") or config.speaker or above,
        emotion=named.get("emotion", NEUTRAL),
        level=int(level) if level.isdecimal() else 0,
        number=number,
        sentence=named.get("sentence", number),
        fault="" if level.isdecimal() else f"the level {level!r} is no number",
    )


def lrw(path: Path, root: Path, config: CorpusConfig) -> Name | None:
    """Read <WORD>/<set>/<WORD>_<number>."""
    parts = path.relative_to(root).parts
    if len(parts) != 3 or re.fullmatch(config.pattern, path.stem) is None:
        return None
    word, part, _ = parts
    number = path.stem.removeprefix(f"{word}_")
    if path.stem != f"{word}_{number}" or not number.isdigit() or part not in LRW_SPLITS:
        return None
    speaker = f"{word}-{part}-{number}"  # each set counts from 00001
    return Name(speaker, NEUTRAL, 1, number, sentence=word, split=LRW_SPLITS[part])


def emodb(path: Path, root: Path, config: CorpusConfig) -> Name | None:
    """Read wav/<speaker><text><emotion><version>."""
    name = EMODB.fullmatch(path.stem)
    parts = path.relative_to(root).parts
    if len(parts) != 2 or parts[0] != "wav" or name is None:
        return None
    if name["emotion"] not in EMODB_EMOTIONS:
        return None
    number = name["text"] + name["version"]
    return Name(name["speaker"], EMODB_EMOTIONS[name["emotion"]], 1, number, sentence=name["text"])


def ravdess(path: Path, root: Path, config: CorpusConfig) -> Name | None:
    """Read the seven numbers; a song has sentences of its own."""
    name = RAVDESS.fullmatch(path.stem)
    if name is None:
        return None
    _, channel, emotion, level, statement, repetition, actor = name.groups()
    sentence = RAVDESS_STATEMENTS[int(statement) - 1] + (SONG if channel == "2" else "")
    calm = "calm-" if emotion == "2" else ""  # a number of its own, should calm be called neutral
    return Name(
        speaker=f"Actor_{actor}",
        emotion=RAVDESS_EMOTIONS[int(emotion) - 1],
        level=int(level),
        number=f"{calm}{sentence}-{repetition}",
        sentence=sentence,
    )


def channel_of(name: Name) -> Channel:
    """Return whether a name of RAVDESS is that of speech or of a song."""
    return "song" if name.sentence.endswith(SONG) else "speech"


def cremad(path: Path, root: Path, config: CorpusConfig) -> Name | None:
    """Read <actor>_<sentence>_<emotion>_<level>."""
    name = CREMAD.fullmatch(path.stem)
    if name is None:
        return None
    actor, sentence, emotion, level = name.groups()
    spelled = CREMAD_EMOTIONS.get(emotion, emotion)
    return Name(actor, spelled, CREMAD_LEVELS.get(level, 0), sentence, sentence)


def grid(path: Path, root: Path, config: CorpusConfig) -> Name | None:
    """Read <speaker>/.../<six letters>; the speaker is the nearest folder called s1, s2, ..."""
    if not GRID.fullmatch(path.stem):
        return None
    folders = Path(os.path.abspath(path)).parent.parts  # noqa: PTH100
    depth = len(path.relative_to(root).parts)  # the root's own name counts, none above it
    named = (GRID_SPEAKER.fullmatch(name) for name in reversed(folders[-depth:]))
    speaker = next((match[1] for match in named if match), config.speaker)
    return Name(speaker, NEUTRAL, 1, path.stem, path.stem) if speaker else None


def voxceleb(path: Path, root: Path, config: CorpusConfig) -> Name | None:
    """Read <parts>/<id>/<video>/<utterance>."""
    parts, known = path.relative_to(root).parts, (*VOXCELEB_PARTS, *VOXCELEB_KINDS)
    if len(parts) < 3:
        return None
    *above, person, video, _ = parts
    if person in known or not set(above) <= set(known):
        return None
    split = next((VOXCELEB_PARTS[part] for part in above if part in VOXCELEB_PARTS), None)
    number = f"{video}-{path.stem}"
    return Name(person, NEUTRAL, 1, number, number, split=split)


def recording(path: Path, config: CorpusConfig) -> tuple[str, tuple[int, int]] | None:
    """Return what names a recording that is published several times, and how good a copy this is.

    RAVDESS has a recording with and without pictures or sound, CREMA-D as .flv, .wav and .mp3, and
    of any folder the sound alone may be wanted of a video that has it beside it in a file of its
    own. The copy of the lowest rank is taken.
    """
    kinds = VIDEO_ENDINGS if config.has_pictures else (*SOUND_ENDINGS, *VIDEO_ENDINGS)
    ending = kinds.index(path.suffix.lower())
    if config.layout == "ravdess":
        order = "123" if config.has_pictures else "312"
        return path.stem[2:], (order.index(path.stem[1]), ending)
    if config.layout == "cremad":
        return path.stem, (0, ending)
    alone = config.layout == "folder" and not config.has_pictures
    return (str(path.with_suffix("")), (0, ending)) if alone else None
