"""Render the mini corpus: speaking heads with known landmarks, phonemes and pose, as MEAD lays out.

    python -m data_prep.mini_corpus --out data/raw/mini --speakers 3 --sentences 14
    python -m data_prep.mini_corpus --out data/raw/tiny --speakers 1 --emotions happy sad
    python -m data_prep.mini_corpus --out data/raw/mini --first-speaker 3 --speakers 20

Writes <speaker>/video/front/<emotion>/level_<n>/<nnn>.mp4 and <speaker>/audio/... .m4a; the same
number is the same sentence in every emotion. Lively target videos, heads turning to 25 degrees, go
to video/lively and audio_lively. The truth is in truth/, sentences.csv and speakers.json. Running
again does only what is missing; a clip depends on nothing but the settings and its own name.
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

    def __post_init__(self) -> None:
        limits = {
            "speakers": (1, MAX_SPEAKERS),
            "first_speaker": (0, MAX_SPEAKERS - 1),
            "sentences": (1, len(SENTENCES)),
        }
        for key, (least, most) in limits.items():
            if not least <= getattr(self, key) <= most:
                raise ValueError(
                    f"{key} is {getattr(self, key)}, wanted at least {least} and at most {most}"
                )
        if self.lively < 0:
            raise ValueError(f"lively is {self.lively}, wanted at least 0")
        if self.people.stop > MAX_SPEAKERS:
            last = self.people.stop - 1
            raise ValueError(
                f"speakers {self.first_speaker} to {last}: there are 0 to {MAX_SPEAKERS - 1}"
            )

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
    options = vars(parser.parse_args(arguments))
    out, workers = options.pop("out"), options.pop("workers")
    options["levels"] = tuple(sorted(set(options["levels"])))
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
    add("--workers", type=int, default=2, help="processes")
    return parser


if __name__ == "__main__":
    main()
