"""Render the mini corpus: speaking heads with known landmarks, phonemes and pose, as MEAD lays out.

    python -m data_prep.mini_corpus --out data/raw/mini --speakers 3 --sentences 14
    python -m data_prep.mini_corpus --out data/raw/tiny --speakers 1 --emotions happy sad
    python -m data_prep.mini_corpus --out data/raw/mini --first-speaker 3 --speakers 20
    python -m data_prep.mini_corpus --out data/raw/turns --people 3 4 5 8 --levels 1 2 3 --rotate

Writes <speaker>/video/front/<emotion>/level_<n>/<nnn>.mp4 and <speaker>/audio/... .m4a; the same
number is the same sentence in every emotion. Lively target videos, heads turning to 25 degrees, go
to video/lively and audio_lively. The truth is in truth/, sentences.csv and speakers.json. Running
again does only what is missing; a clip depends on nothing but the settings and its own name.

With --rotate a speaker does not say every sentence in every emotion: each clip has one, by the
speaker's number, emotion and level, so that few clips hold many sentences and none goes with an
emotion. There are eight voices, those of women (odd numbers) and of men (even ones) whose numbers
have the same (number // 2) % 4; --people chooses, so that whole voices can be held out.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
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


@dataclass(frozen=True)
class Extent:
    """Extent of the corpus; a later run can extend it."""

    speakers: int = 3
    sentences: int = 14
    emotions: tuple[str, ...] = EMOTIONS
    levels: tuple[int, ...] = (3,)
    lively: int = 2  # target videos of each speaker
    first_speaker: int = 0  # the number of the first of them: other people of the same corpus
    numbers: tuple[int, ...] = ()  # of the speakers, in place of `speakers` and `first_speaker`
    first_sentence: int = 1
    rotate: bool = False  # a clip of each emotion and level alone, whose sentence is `rotated`

    def __post_init__(self) -> None:
        limits = {
            "speakers": (1, MAX_SPEAKERS),
            "first_speaker": (0, MAX_SPEAKERS - 1),
            "first_sentence": (1, len(SENTENCES)),
            "sentences": (len(LEVEL_STRENGTH) if self.rotate else 1, len(SENTENCES)),
        }
        for key, (least, most) in limits.items():
            if not least <= getattr(self, key) <= most:
                raise ValueError(
                    f"{key} is {getattr(self, key)}, wanted at least {least} and at most {most}"
                )
        if self.lively < 0:
            raise ValueError(f"lively is {self.lively}, wanted at least 0")
        if not 0 <= min(self.people) <= max(self.people) < MAX_SPEAKERS:
            raise ValueError(
                f"speakers {min(self.people)} to {max(self.people)}: there are 0 to "
                f"{MAX_SPEAKERS - 1}"
            )
        if self.spoken.stop - 1 > len(SENTENCES):
            last = self.spoken.stop - 1
            raise ValueError(
                f"sentences {self.first_sentence} to {last}: there are 1 to {len(SENTENCES)}"
            )

    @property
    def people(self) -> Sequence[int]:
        """The numbers of the speakers."""
        count = range(self.first_speaker, self.first_speaker + self.speakers)
        return self.numbers or count

    @property
    def spoken(self) -> range:
        """The numbers of the sentences."""
        return range(self.first_sentence, self.first_sentence + self.sentences)

    def rotated(self, speaker: int, emotion: str, slot: int) -> int:
        """Return the number of the sentence that a speaker says in an emotion at level `slot`.

        Ours: the next sentence from level to level and on to the next emotion; 7 on from speaker to
        speaker, which no number of sentences below 25 but 7, 14 and 21 divides.
        """
        place = 7 * speaker + len(LEVEL_STRENGTH) * EMOTIONS.index(emotion) + slot - 1
        return self.spoken[place % len(self.spoken)]


def clip_names(extent: Extent) -> Iterator[ClipName]:
    """All clips of an extent; neutral has level 1 only, as in MEAD.

    Lively clips go through the emotions at the highest level, neutral first.
    """
    emotions = sorted(extent.emotions, key=lambda name: (name != NEUTRAL, name))
    for speaker in extent.people:
        for emotion in emotions:
            for level, number in spoken_by(extent, speaker, emotion):
                yield ClipName(speaker, "front", emotion, level, number)
        for k in range(extent.lively):
            emotion = emotions[k % len(emotions)]
            level = max(levels_of(emotion, extent.levels))
            yield ClipName(speaker, "lively", emotion, level, 1 + k % len(SENTENCES))


def spoken_by(extent: Extent, speaker: int, emotion: str) -> Iterator[tuple[int, int]]:
    """Yield level and sentence of a speaker's clips in an emotion.

    By turns, neutral has as many clips as any other emotion has in all its levels.
    """
    if extent.rotate:
        for slot in extent.levels:
            level = 1 if emotion == NEUTRAL else slot
            yield level, extent.rotated(speaker, emotion, slot)
        return
    for level in levels_of(emotion, extent.levels):
        for number in extent.spoken:
            yield level, number


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
    speakers = [make_speaker(settings.seed, k).name for k in range(max(extent.people) + 1)]
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
    count = max(have, max(extent.people) + 1)
    write_json(known, [asdict(make_speaker(settings.seed, k)) for k in range(count)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    out, workers = options.pop("out"), options.pop("workers")
    for key in ("levels", "numbers"):
        options[key] = tuple(sorted(set(options[key])))
    try:
        options["emotions"] = tuple(dict.fromkeys(map(canonical, options["emotions"])))
        settings = Settings(**{field.name: options.pop(field.name) for field in fields(Settings)})
        extent = Extent(**options)
        made = make_corpus(out, extent, settings, workers)
    except ValueError as error:
        parser.error(str(error))
    print(f"{out}: {made} clips written, {len(list(clip_names(extent)))} in all")


def _parser() -> CommandParser:
    parser = CommandParser(__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the corpus")
    numbers = {
        "seed": "of speakers and clips",
        "speakers": "how many",
        "first-speaker": "number of the first one: more people for a corpus that is there",
        "sentences": "how many",
        "first-sentence": "number of the first one, from 1",
        "lively": "target videos of each speaker with a lively head",
        "size": "of the pictures, pixels",
        "voice-strength": "of the emotion in the voice",
        "face-strength": "of the emotion in the face",
    }
    defaults = asdict(Settings()) | asdict(Extent())
    for name, text in numbers.items():
        default = defaults[name.replace("-", "_")]
        add(f"--{name}", type=type(default), default=default, help=text)
    add("--emotions", nargs="+", default=EMOTIONS, metavar="EMOTION",
        help=f"of {', '.join(EMOTIONS)}")  # fmt: skip
    add("--levels", type=int, nargs="+", choices=sorted(LEVEL_STRENGTH), default=Extent().levels,
        help="intensity, 1 to 3; neutral always is level 1")  # fmt: skip
    add("--people", type=int, nargs="+", default=(), dest="numbers", metavar="NUMBER",
        help="numbers of the speakers, in place of --first-speaker and --speakers")  # fmt: skip
    add("--rotate", action="store_true",
        help="one clip of each emotion and level, with sentences by turns")  # fmt: skip
    add("--workers", type=int, default=2, help="processes")
    return parser


if __name__ == "__main__":
    main()
