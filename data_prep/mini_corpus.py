"""Render the mini corpus: speaking heads with known landmarks, phonemes and pose, as MEAD lays out.

    python -m data_prep.mini_corpus --out data/raw/mini --speakers 3 --sentences 14
    python -m data_prep.mini_corpus --out data/raw/tiny --speakers 1 --emotions happy sad
    python -m data_prep.mini_corpus --out data/raw/mini --first-speaker 3 --speakers 20

Writes <speaker>/video/front/<emotion>/level_<n>/<nnn>.mp4 and <speaker>/audio/... .m4a; the same
number is the same sentence in every emotion. Lively target videos, heads turning to 25 degrees, go
to video/lively and audio_lively. The truth is in truth/, sentences.csv and speakers.json. Running
again does only what is missing; a clip depends on nothing but the settings and its own name.
"""

import argparse
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from affekt.media.emotions import EMOTIONS, NEUTRAL, canonical
from affekt.runtime.command import CommandParser
from affekt.runtime.files import read_json, write_json, write_text
from affekt.runtime.parallel import parallel_map
from data_prep.mini.clip import ClipName, Settings, make_clip
from data_prep.mini.speakers import MAX_SPEAKERS, make_speaker
from data_prep.mini.voice.speech import SENTENCES
from data_prep.mini.voice.voices import LEVEL_STRENGTH

SETTINGS_FILE = "settings.json"
VERSION = 1  # of what is rendered; raised when the same settings give other clips
SIZES = (64, 1024)  # pixels, least and most


@dataclass(frozen=True)
class Extent:
    """Extent of the corpus; a later run can extend it."""

    speakers: int = 3
    sentences: int = 14
    emotions: tuple[str, ...] = EMOTIONS
    levels: tuple[int, ...] = (3,)
    lively: int = 2  # target videos of each speaker
    first_speaker: int = 0  # the number of the first of them: other people of the same corpus

    @property
    def people(self) -> range:
        """The numbers of the speakers."""
        return range(self.first_speaker, self.first_speaker + self.speakers)


def clip_names(extent: Extent) -> Iterator[ClipName]:
    """All clips of an extent; neutral has level 1 only, as in MEAD.

    Lively clips go through the emotions at the highest level, neutral first.
    """
    emotions = sorted(extent.emotions, key=lambda name: (name != NEUTRAL, name))
    for speaker in extent.people:
        for emotion in emotions:
            for level in levels_of(emotion, extent.levels):
                for number in range(1, extent.sentences + 1):
                    yield ClipName(speaker, "front", emotion, level, number)
        for k in range(extent.lively):
            emotion = emotions[k % len(emotions)]
            level = max(levels_of(emotion, extent.levels))
            yield ClipName(speaker, "lively", emotion, level, 1 + k % len(SENTENCES))


def levels_of(emotion: str, levels: Sequence[int]) -> tuple[int, ...]:
    """Levels in which an emotion is shown."""
    return (1,) if emotion == NEUTRAL else tuple(levels)


def make_corpus(root: Path, extent: Extent, settings: Settings, workers: int) -> int:
    """Write what is missing of a corpus; returns the number of clips written.

    Raises:
        ValueError: the folder holds a corpus of other settings.
    """
    _keep_settings(root, settings)
    _describe(root, extent, settings)
    speakers = [make_speaker(settings.seed, k).name for k in range(extent.people.stop)]
    missing = [
        name
        for name in clip_names(extent)
        if not all(path.is_file() for path in name.files(root, speakers[name.speaker]))
    ]
    with tqdm(total=len(missing), desc="mini corpus", unit="clip") as bar:
        make = partial(make_clip, root, settings=settings)
        for _ in parallel_map(make, missing, workers if workers > 1 else 0):
            bar.update()
    return len(missing)


def _keep_settings(root: Path, settings: Settings) -> None:
    path = root / SETTINGS_FILE
    wanted = {"version": VERSION} | asdict(settings)
    if not path.is_file():
        write_json(path, wanted)
        return
    found = read_json(path)
    if found != wanted:
        differing = {key for key in wanted if found.get(key) != wanted[key]}
        raise ValueError(
            f"{path} is of another corpus: {', '.join(sorted(differing))} differ "
            f"(found {found}, wanted {wanted}); use its settings or another --out"
        )


def _describe(root: Path, extent: Extent, settings: Settings) -> None:
    """Write sentences.csv (number, text) and speakers.json."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("number", "text"))
    rows.writerows((f"{k:03d}", text) for k, text in enumerate(SENTENCES, 1))
    write_text(root / "sentences.csv", table.getvalue())
    known = root / "speakers.json"
    have = len(read_json(known)) if known.is_file() else 0
    count = max(have, extent.people.stop)
    write_json(known, [asdict(make_speaker(settings.seed, k)) for k in range(count)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    settings = Settings(options.seed, options.size, options.voice_strength, options.face_strength)
    emotions = tuple(dict.fromkeys(options.emotions))
    levels = tuple(sorted(set(options.levels)))
    extent = Extent(
        options.speakers, options.sentences, emotions, levels, options.lively, options.first_speaker
    )
    if extent.people.stop > MAX_SPEAKERS:
        last = extent.people.stop - 1
        parser.error(f"speakers {extent.people.start} to {last}: there are 0 to {MAX_SPEAKERS - 1}")
    try:
        made = make_corpus(options.out, extent, settings, options.workers)
    except ValueError as error:
        parser.error(str(error))
    print(f"{options.out}: {made} clips written, {len(list(clip_names(extent)))} in all")


def _parser() -> CommandParser:
    defaults, extent = Settings(), Extent()
    parser = CommandParser(__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the corpus")
    add("--seed", type=_count(0), default=defaults.seed, help="of speakers and clips")
    add("--speakers", type=_count(1, MAX_SPEAKERS), default=extent.speakers)
    add("--first-speaker", type=_count(0, MAX_SPEAKERS - 1), default=extent.first_speaker,
        help="number of the first one: more people for a corpus that is there")  # fmt: skip
    add("--sentences", type=_count(1, len(SENTENCES)), default=extent.sentences)
    add("--emotions", type=_emotion, nargs="+", default=list(EMOTIONS), metavar="EMOTION",
        help=f"of {', '.join(EMOTIONS)}")  # fmt: skip
    add("--levels", type=int, nargs="+", choices=sorted(LEVEL_STRENGTH), default=extent.levels,
        help="intensity, 1 to 3; neutral always is level 1")  # fmt: skip
    add("--lively", type=_count(0), default=extent.lively,
        help="target videos of each speaker with a lively head")  # fmt: skip
    add("--size", type=_even, default=defaults.size, help="of the pictures, pixels")
    add("--voice-strength", type=_strength, default=defaults.voice_strength,
        help="of the emotion in the voice")  # fmt: skip
    add("--face-strength", type=_strength, default=defaults.face_strength,
        help="of the emotion in the face")  # fmt: skip
    add("--workers", type=_count(1), default=2, help="processes")
    return parser


class _count:  # noqa: N801 - argparse shows the type's name
    """A whole number in a range."""

    def __init__(self, least: int, most: int | None = None) -> None:
        self.least, self.most = least, most

    def __call__(self, text: str) -> int:
        value = int(text)
        if value < self.least or (self.most is not None and value > self.most):
            most = "" if self.most is None else f" and at most {self.most}"
            raise argparse.ArgumentTypeError(f"{value}: wanted at least {self.least}{most}")
        return value


def _emotion(text: str) -> str:
    try:
        return canonical(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _even(text: str) -> int:
    value = _count(*SIZES)(text)
    if value % 2:
        raise argparse.ArgumentTypeError(f"{value}: H.264 in yuv420p needs an even size")
    return value


def _strength(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1.5:
        raise argparse.ArgumentTypeError(f"{value}: wanted 0 to 1.5")
    return value


if __name__ == "__main__":
    main()
