"""Which pauses of real speech `generate.py evp --silence close` finds, by measure and threshold.

    python -m benchmarks.pauses --source /data/emodb --json

Recordings of Emo-DB are joined in pairs of one speaker, with 1.2 s between them that hold the first
one's own noise, of before or after what is said, to and fro. Syllable times say where somebody
speaks. The table, for each measure and threshold of evp/inference/postprocess.py:
    found    share of the pauses that are silent in 8 of 10 frames; their first and last three are
             left out, because the last syllable dies away in them
    shut     share of the frames between first and last syllable of either recording that are taken
             for silence: the mouth would close while something is said
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from affekt.arrays import Array
from affekt.media.audio.reader import read_audio
from affekt.media.constants import SAMPLE_RATE, SAMPLES_PER_FRAME
from affekt.runtime.command import CommandParser, user_errors
from benchmarks.alignment import MEDIA
from benchmarks.harness import table
from evp.inference.postprocess import Measure, PauseRule, silent_frames

RULES: tuple[tuple[Measure, float], ...] = (
    *(("sum", threshold) for threshold in (0.1, 0.3, 1.0, 3.0)),
    *(("level", threshold) for threshold in (20.0, 25.0, 30.0, 35.0)),
)
PAUSE = 30  # frames
DYING = 3  # frames at either end of a pause
FOUND = 0.8  # of a pause's other frames
NOISE = SAMPLE_RATE // 16  # samples, the fewest that noise is made of


@dataclass(frozen=True)
class Said:
    """A recording: from its start to the end of the last syllable."""

    speaker: str
    samples: Array
    first: int  # sample at which the first syllable begins
    noise: Array  # of before or after what is said


@dataclass(frozen=True)
class Pair:
    """Two recordings with a pause between."""

    samples: Array
    speech: Array  # (T,), frames between first and last syllable
    pause: Array  # (T,), frames of the pause that are certain


def read_said(source: Path) -> list[Said]:
    """Return the recordings whose labels leave room for noise, by name.

    Raises:
        FileNotFoundError: no wav files there.
    """
    files = sorted((source / "wav").glob("*.wav"))
    if not files:
        raise FileNotFoundError(f"no wav files in {source / 'wav'}; set --source to Emo-DB")
    found = []
    for path in files:
        labels = source / "silb" / f"{path.stem}.silb"
        lines = labels.read_text(encoding="latin-1").split("\n") if labels.is_file() else []
        times = [int(float(line.split()[0]) * SAMPLE_RATE) for line in lines if line.strip()]
        samples = read_audio(path)
        samples = samples[: np.flatnonzero(samples)[-1] + 1]  # the files end in digital silence
        if len(times) > 2:  # the last label is the end
            after, before = samples[times[-1] :], samples[: times[0]]
            noise = after if len(after) >= NOISE else before
            if len(noise) >= NOISE:
                found.append(Said(path.stem[:2], samples[: times[-1]], times[0], noise))
    return found


def pairs_of(said: list[Said]) -> Iterator[Pair]:
    """Yield neighbouring recordings of one speaker with a pause between them."""
    for one, other in pairwise(said):
        if one.speaker != other.speaker:
            continue
        start = len(one.samples) // SAMPLES_PER_FRAME
        first = one.samples[: start * SAMPLES_PER_FRAME]
        noise = np.resize(np.append(one.noise, one.noise[::-1]), PAUSE * SAMPLES_PER_FRAME)
        samples = np.concatenate([first, noise, other.samples])
        frame = np.arange(len(samples) // SAMPLES_PER_FRAME)
        stop = start + PAUSE
        before = (frame > one.first // SAMPLES_PER_FRAME) & (frame < start - 1)
        after = frame > stop + other.first // SAMPLES_PER_FRAME
        pause = (frame >= start + DYING) & (frame < stop - DYING)
        yield Pair(samples, before | after, pause)


def measure(source: Path) -> tuple[dict[str, Any], str]:
    """Return the figures by measure and threshold, and their table."""
    pairs = list(pairs_of(read_said(source)))
    rows: list[list[object]] = []
    figures: dict[str, Any] = {"name": "pauses", "pauses": len(pairs)}
    for name, threshold in RULES:
        rule = PauseRule(name, threshold)
        silent = [silent_frames(pair.samples, len(pair.pause), rule) for pair in pairs]
        both = list(zip(pairs, silent, strict=True))
        found = float(np.mean([mask[pair.pause].mean() >= FOUND for pair, mask in both]))
        shut = float(np.concatenate([mask[pair.speech] for pair, mask in both]).mean())
        rows.append([f"{name} {threshold:g}", found, shut])
        figures[f"{name}_{threshold:g}"] = {"found": found, "shut": shut}
    return figures, f"{len(pairs)} pauses\n" + table(["rule", "found", "shut"], rows)


def main() -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    default = Path(os.environ.get("AFFEKT_MEDIA", MEDIA)) / "emodb"
    parser.add_argument("--source", type=Path, default=default, help="Emo-DB: wav/ and silb/")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = parser.parse_args()
    with user_errors():
        figures, text = measure(args.source)
    print(text)
    if args.json:
        print(json.dumps(figures, allow_nan=False))


if __name__ == "__main__":
    main()
