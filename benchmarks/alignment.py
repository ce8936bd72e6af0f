"""How far from the truth the aligners put a syllable's start: Emo-DB's labels, in milliseconds.

    python -m benchmarks.alignment
    python -m benchmarks.alignment --source /data/emodb --json

Every recording is aligned to every other of its speaker and sentence in another emotion, both ways
round; the start of each syllable of the one is looked up in the other. Reads <source>/wav and
<source>/silb (lines of a time in seconds and a syllable); without --source, `emodb` in the folder
of sample media that AFFEKT_MEDIA names. Syllables are paired by the fewest edits
between the two lists, as labellers spelled and split words differently; a start counts where the
sound of both files reaches it, since copies in circulation are cut to one length.

Rows: no alignment; the heard parts stretched onto each other; plain DTW of all 13 columns (EVP's);
data_prep.alignment.speech. Its weights were chosen on the speakers 03, 08, 10 and 11 (`chosen on`);
the others had no say (`held out`). Wanted on all: median <= 20 ms, mean <= 45 ms.
"""

import json
import os
import typing as tp
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.audio.mfcc import FRAME_LENGTH, FRAME_STEP, PADDING, mfcc
from affekt.media.audio.reader import read_audio
from affekt.media.constants import SAMPLE_RATE
from affekt.runtime.command import CommandParser, user_errors
from benchmarks.harness import table
from data_prep.alignment.dtw import dtw_path, warp
from data_prep.alignment.speech import align_speech

Syllables = list[tuple[float, str]]

MEDIA = Path(__file__).parent.parent.parent / "shared" / "media"  # where AFFEKT_MEDIA is not set
CHOSEN_ON = ("03", "08", "10", "11")
PAUSE = "("  # a label of its own in Emo-DB; "." is the sentence's end
QUIET = 0.001  # of full scale, as configs/real/emodb.yaml trims
FIRST_ROW = (FRAME_LENGTH / 2 - PADDING) / SAMPLE_RATE  # seconds; a row stands for its middle
ROWS_PER_SECOND = SAMPLE_RATE / FRAME_STEP


@dataclass(frozen=True)
class Recording:
    """One utterance: its name (speaker, text, emotion, version), sound, features and labels."""

    name: str
    samples: Array  # (N,) at 16 kHz
    rows: Array  # (n, 13) MFCC
    syllables: Syllables

    @property
    def seconds(self) -> float:
        """Return how long the file is."""
        return len(self.samples) / SAMPLE_RATE


Aligner = Callable[[Recording, Recording, Array], Array]  # times in the second -> in the first


def read_syllables(path: Path) -> Syllables:
    """Return (start in seconds, lower-case syllable) of each label but pauses.

    Raises:
        ValueError: a line that is not a time and a syllable.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), 1):
        if not line.strip():
            continue
        try:
            time, syllable = line.split()
            found.append((float(time), syllable.lower()))
        except ValueError:
            raise ValueError(f"{path}, line {number}: {line!r} is no time and syllable") from None
    return [(time, syllable) for time, syllable in found if syllable != PAUSE]


def read_recordings(source: Path) -> list[Recording]:
    """Return Emo-DB's recordings that have labels, by name.

    Raises:
        FileNotFoundError: no wav files there.
    """
    files = sorted((source / "wav").glob("*.wav"))
    if not files:
        raise FileNotFoundError(f"no wav files in {source / 'wav'}; set --source to Emo-DB")
    found = []
    for path in files:
        labels = source / "silb" / f"{path.stem}.silb"
        syllables = read_syllables(labels) if labels.is_file() else []
        if syllables:
            samples = read_audio(path)
            found.append(Recording(path.stem, samples, mfcc(samples), syllables))
    return found


def pairs_of(recordings: Sequence[Recording]) -> list[tuple[Recording, Recording]]:
    """Return the ordered pairs of one speaker and sentence in two emotions."""
    return [
        (a, b)
        for a, b in permutations(recordings, 2)
        if a.name[:5] == b.name[:5] and a.name[5] != b.name[5]
    ]


def same_syllables(first: Sequence[str], second: Sequence[str]) -> list[tuple[int, int]]:
    """Return the positions of equal syllables on the way of fewest edits between two lists."""
    n, m = len(first), len(second)
    edits = np.add.outer(np.arange(n + 1), np.arange(m + 1))
    for i in range(n):
        for j in range(m):
            replaced = edits[i, j] + (first[i] != second[j])
            edits[i + 1, j + 1] = min(replaced, edits[i, j + 1] + 1, edits[i + 1, j] + 1)
    i, j, same = n, m, []
    while i and j:
        differs = first[i - 1] != second[j - 1]
        if edits[i, j] == edits[i - 1, j - 1] + differs:
            i, j = i - 1, j - 1
            if not differs:
                same.append((i, j))
        elif edits[i, j] == edits[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return same[::-1]


def true_times(a: Recording, b: Recording) -> Array:
    """Return (start in a, start in b) of the syllables that both files hold, (count, 2)."""
    same = same_syllables([s for _, s in a.syllables], [s for _, s in b.syllables])
    times = [(a.syllables[i][0], b.syllables[j][0]) for i, j in same]
    return np.array([(s, t) for s, t in times if s < a.seconds and t < b.seconds]).reshape(-1, 2)


def no_alignment(_a: Recording, _b: Recording, times: Array) -> Array:
    """Return the same times."""
    return times


def linear_stretch(a: Recording, b: Recording, times: Array) -> Array:
    """Map the part of `b` that is not quiet linearly onto that of `a`."""
    heard = []
    for recording in (a, b):
        loud = np.flatnonzero(np.abs(recording.samples) > QUIET)
        heard.append(loud[[0, -1]] / SAMPLE_RATE)
    (start, end), (other_start, other_end) = heard
    return start + (times - other_start) * (end - start) / (other_end - other_start)


def plain_dtw(a: Recording, b: Recording, times: Array) -> Array:
    """Follow EVP's path: L1, 13 columns, all rows of both."""
    path, _ = dtw_path(a.rows, b.rows)
    return _along(warp(np.arange(len(a.rows)), path, len(b.rows)), times)


def speech(a: Recording, b: Recording, times: Array) -> Array:
    """Follow data_prep.alignment.speech; past the rows that both hold, time goes on as in `b`."""
    path, _, (_, matched) = align_speech(a.rows, b.rows)
    return _along(warp(np.arange(len(a.rows)), path, len(b.rows))[:matched], times)


ALIGNERS: dict[str, Aligner] = {
    "no alignment": no_alignment,
    "linear stretch": linear_stretch,
    "plain DTW": plain_dtw,
    "data_prep.alignment.speech": speech,
}


def errors_ms(
    pairs: Sequence[tuple[Recording, Recording]], aligners: Mapping[str, Aligner]
) -> dict[str, dict[str, Array]]:
    """Return aligner -> speaker -> the absolute errors of all syllables' starts, milliseconds."""
    errors: dict[str, dict[str, list[Array]]] = {name: defaultdict(list) for name in aligners}
    for a, b in pairs:
        times = true_times(a, b)
        if len(times) == 0:
            continue
        for name, aligner in aligners.items():
            found = 1000 * np.abs(aligner(a, b, times[:, 1]) - times[:, 0])
            errors[name][a.name[:2]].append(found)
    return {
        name: {speaker: np.concatenate(parts) for speaker, parts in by_speaker.items()}
        for name, by_speaker in errors.items()
    }


def measure(source: Path) -> tuple[dict[str, tp.Any], str]:
    """Return the figures and their table.

    Raises:
        FileNotFoundError: no wav files there.
        ValueError: no two recordings of one sentence with labels.
    """
    pairs = pairs_of(read_recordings(source))
    if not pairs:
        raise ValueError(f"{source} has no two labelled recordings of a speaker's sentence")
    errors = errors_ms(pairs, ALIGNERS)
    speakers = sorted({a.name[:2] for a, _ in pairs})
    groups = {
        "all": speakers,
        "chosen on": [speaker for speaker in speakers if speaker in CHOSEN_ON],
        "held out": [speaker for speaker in speakers if speaker not in CHOSEN_ON],
    }
    rows, lines = {}, []
    for group, members in groups.items():
        for name, by_speaker in errors.items():
            parts = [by_speaker[speaker] for speaker in members if speaker in by_speaker]
            if parts:
                figures = _figures(np.concatenate(parts))
                rows[f"{group}: {name}"] = figures
                lines.append([group, name, *figures.values()])
    best = rows["all: data_prep.alignment.speech"]
    result = {"name": "alignment", "pairs": len(pairs), **best, "rows": rows}
    return result, table(["speakers", "aligner", "median_ms", "mean_ms", "p90_ms", "n"], lines)


def _figures(errors: Array) -> dict[str, tp.Any]:
    return {
        "median_ms": float(np.median(errors)),
        "mean_ms": float(errors.mean()),
        "p90_ms": float(np.percentile(errors, 90)),
        "boundaries": len(errors),
    }


def _along(source_rows: Array, times: Array) -> Array:
    """Return the times of `a` at the times of `b`, from the row of `a` at each row of `b`."""
    at = (times - FIRST_ROW) * ROWS_PER_SECOND
    past = np.maximum(at - (len(source_rows) - 1), 0)
    rows = np.interp(at, np.arange(len(source_rows)), source_rows) + past
    return rows / ROWS_PER_SECOND + FIRST_ROW


def main() -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    default = Path(os.environ.get("AFFEKT_MEDIA", MEDIA)) / "emodb"
    parser.add_argument("--source", type=Path, default=default, help="Emo-DB: wav/ and silb/")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = parser.parse_args()
    with user_errors():
        result, text = measure(args.source)
    print(text)
    if args.json:
        print(json.dumps(result, allow_nan=False))


if __name__ == "__main__":
    main()
