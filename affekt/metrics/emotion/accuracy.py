"""Emotion accuracy of a prepared corpus's true clips, and of results that imitate them.

    python -m affekt.metrics.emotion.accuracy runs/demo/emotion_classifier --corpus data/mini_eamm
    python -m affekt.metrics.emotion.accuracy RUN --corpus data/mini --split test_sentence \\
        --results FOLDER

A result is FOLDER/<clip id>.mp4 and is asked for the emotion of the clip of that id. The accuracy
of the truth is the classifier's own and the ceiling of every result. test.py holds results against
their truth by every metric; this command checks the classifier, on any split of any corpus.
"""

import argparse
import sys
import typing as tp
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from affekt.arrays import Array
from affekt.media.corpus import SPLITS, Clip, Corpus
from affekt.media.faces.detector import Detector, make_detector
from affekt.media.video.video import read_video
from affekt.metrics.emotion.data import spread
from affekt.metrics.emotion.score import (
    FRAMES,
    Accuracy,
    Reading,
    accuracy,
    confusion,
    efd_proxy,
    read_clip,
    read_emotion,
    relative,
)
from affekt.metrics.emotion.weights import Classifier, load_classifier
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import write_json
from affekt.runtime.run import pick_device

ENDING = ".mp4"


@dataclass(frozen=True)
class Scored:
    """The readings of some clips and the emotions that they are of."""

    readings: list[Reading]
    labels: list[int]

    @property
    def guesses(self) -> list[int | None]:
        """What was read, None where no face was found."""
        return [reading.label for reading in self.readings]

    @property
    def accuracy(self) -> Accuracy:
        """How many were read right."""
        return accuracy(self.guesses, self.labels)


def score_truth(classifier: Classifier, corpus: Corpus, clips: Sequence[Clip]) -> Scored:
    """Return the readings of prepared clips.

    Raises:
        ValueError: a clip has an emotion that the classifier has not learned.
    """
    readings = [read_clip(classifier, clip) for clip in tqdm(clips, "truth", disable=None)]
    return Scored(readings, labels_of(classifier, corpus, clips))


def score_results(
    classifier: Classifier, corpus: Corpus, clips: Sequence[Clip], folder: Path, detector: Detector
) -> Scored:
    """Return the readings of a folder's videos that are named like these clips.

    Raises:
        FileNotFoundError: a clip has no video there.
        MediaError: a video cannot be read.
        ValueError: a clip has an emotion that the classifier has not learned.
    """
    labels, readings = labels_of(classifier, corpus, clips), []
    for clip in tqdm(clips, "results", disable=None):
        path = folder / f"{clip.id}{ENDING}"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: a result is named like its true clip")
        frames = list(read_video(path))
        readings.append(read_emotion(classifier, frames, sparse_landmarks(frames, detector)))
    return Scored(readings, labels)


def labels_of(classifier: Classifier, corpus: Corpus, clips: Sequence[Clip]) -> list[int]:
    """Return the clips' emotions in the classifier's label order, which need not be the corpus's.

    Raises:
        ValueError: an emotion that the classifier has not learned.
    """
    known = classifier.description.emotions
    strange = sorted({clip.emotion for clip in clips} - set(known))
    if strange:
        raise ValueError(
            f"{corpus.root} has clips of {', '.join(strange)}; the classifier knows "
            f"{', '.join(known)}"
        )
    return [known.index(clip.emotion) for clip in clips]


def sparse_landmarks(frames: Sequence[Array], detector: Detector, count: int = FRAMES) -> Array:
    """Return landmarks (T, 68, 2) of the frames that `read_emotion` reads; NaN for the others."""
    landmarks = np.full((len(frames), 68, 2), np.nan)
    for number in spread(len(frames), count):
        face = detector.detect(frames[number])
        if face is not None:
            landmarks[number] = face.points
    return landmarks


def efd_of(results: Scored, truth: Scored) -> float | None:
    """Return the mean of efd_proxy over clips of equal frames; None where there is none."""
    distances = [
        efd_proxy(ours.features, theirs.features)
        for ours, theirs in zip(results.readings, truth.readings, strict=True)
        if ours.frames == theirs.frames
    ]
    known = [each for each in distances if not np.isnan(each)]
    return float(np.mean(known)) if known else None


def seen_people(classifier: Classifier, clips: Sequence[Clip]) -> list[str]:
    """Return who of the clips' people the classifier has learned from, by name."""
    return sorted({clip.speaker for clip in clips} & set(classifier.description.speakers))


def summary(name: str, found: Accuracy) -> str:
    """Return one line on an accuracy."""
    bounds = " to ".join(f"{100 * each:.1f}" for each in bounds_of(found))
    percent = f"{100 * found.rate:.1f} % ({bounds})"
    return f"{name}: {percent}, {found.correct} of {found.clips} clips"


def bounds_of(found: Accuracy) -> list[float]:
    """Return the lower and the upper bound of an accuracy's 95 % interval."""
    return [each for each in (found.interval.low, found.interval.high) if each is not None]


def matrix(scored: Scored, emotions: Sequence[str]) -> str:
    """Return the confusion matrix as text: a row for each true emotion that occurs."""
    table = confusion(scored.guesses, scored.labels, len(emotions))
    width = max(map(len, emotions)) + 1
    cells = [["", *emotions]] + [
        [emotion, *map(str, row)]
        for emotion, row, label in zip(emotions, table, range(len(emotions)), strict=True)
        if label in scored.labels
    ]
    lines = ["".join(cell.rjust(width) for cell in row) for row in cells]
    blind = sum(guess is None for guess in scored.guesses)
    return "\n".join(lines + ([f"{blind} clips without a face count as wrong"] if blind else []))


def record(scored: Scored, emotions: Sequence[str]) -> dict[str, tp.Any]:
    """Return the figures as JSON has them."""
    found = scored.accuracy
    return {
        "accuracy": found.rate,
        "wilson_95": bounds_of(found),
        "correct": found.correct,
        "clips": found.clips,
        "confusion": confusion(scored.guesses, scored.labels, len(emotions)).tolist(),
    }


def report(args: argparse.Namespace) -> None:
    """Measure what the command line asks for; print it, and write it where wanted.

    Raises:
        OSError, ValueError: the classifier, the corpus or a result cannot be used.
    """
    classifier = load_classifier(args.run, pick_device("auto"))
    corpus, emotions = Corpus(args.corpus), classifier.description.emotions
    clips = corpus.clips(args.split, speaker=args.speaker)
    if not clips:
        person = f" of {args.speaker}" if args.speaker else ""
        raise ValueError(f"{args.corpus} has no clip{person} in split {args.split!r}")
    seen = seen_people(classifier, clips)
    if seen:
        _say(f"the classifier has learned from {', '.join(seen)}: no test of unseen people")
    truth = score_truth(classifier, corpus, clips)
    _say(summary("truth", truth.accuracy), matrix(truth, emotions))
    figures: dict[str, tp.Any] = {"emotions": list(emotions), "truth": record(truth, emotions)}
    if args.results:
        results = score_results(classifier, corpus, clips, args.results, make_detector())
        share, distance = relative(results.accuracy, truth.accuracy), efd_of(results, truth)
        _say(summary("results", results.accuracy), matrix(results, emotions))
        _say(f"results / truth: {100 * share:.1f} %")
        _say(f"efd_proxy: {'no clips of equal length' if distance is None else f'{distance:.3f}'}")
        figures["results"] = record(results, emotions)
        figures |= {"relative": share, "efd_proxy": distance}
    if args.json:
        write_json(args.json, figures)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = CommandParser(__doc__)
    parser.add_argument("run", type=Path, help="run of affekt.metrics.emotion.train, or its file")
    parser.add_argument("--corpus", type=Path, required=True, help="with the true clips")
    parser.add_argument("--split", choices=SPLITS, default="test_speaker")
    parser.add_argument("--speaker", help="this person alone")
    parser.add_argument("--results", type=Path, help="folder of <clip id>.mp4")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    with user_errors():
        report(parser.parse_args(argv))
    return 0


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    sys.exit(main())
