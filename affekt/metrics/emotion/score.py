"""Emotion accuracy: the share of videos classified as the intended emotion, and efd_proxy.

    python -m affekt.metrics.emotion.score runs/demo/emotion_classifier --corpus data/mini_eamm
    python -m affekt.metrics.emotion.score RUN --corpus data/mini --split test_sentence

EVP (arXiv:2104.07452, Sec. 4.2) retrains FAN on MEAD and counts the videos whose emotion
it classifies right: truth 90.2 %, EVP 83.58 %, without cross-reconstruction 69.79 %. The accuracy
on true videos is the ceiling, so a figure is reported with the truth's and as a share of it. The
command measures that ceiling, on any split of any prepared corpus; test.py measures results.

A clip in none of whose frames a face is found counts as wrong: a face that fell apart is the worst
of results, and leaving it out would raise the accuracy.

efd_proxy is ours, in the place of the emotion feature distance of Xu et al. (arXiv:2305.02572),
whose definition is not public: never print one next to the other as if they were the same.

Letters: T frames of a clip, N of them that are read, K emotions, D numbers of a frame's feature.
"""

import sys
import typing as tp
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from affekt.arrays import Array, Image
from affekt.media.corpus import SPLITS, Clip, Corpus
from affekt.media.video.tensors import to_tensor
from affekt.metrics.emotion.data import aligned_faces, frames_of, spread
from affekt.metrics.emotion.network import Classifier, load_classifier
from affekt.metrics.intervals import wilson_interval
from affekt.runtime.command import CommandParser, add_device, user_errors
from affekt.runtime.devices import pick_device
from affekt.runtime.files import write_json

FRAMES = 16  # of a clip that are read, evenly spaced; the number that C-MET's evaluation reads
SMALLEST = 1e-12  # length of a feature below which it has no direction


@dataclass(frozen=True, eq=False)
class Reading:
    """The classifier's outputs for a clip."""

    probabilities: Array  # (K,) float64; NaN where no frame that is read has a face
    features: Array  # (N, D) float32, a frame's before attention; NaN where it has no face

    @property
    def label(self) -> int | None:
        """The likeliest emotion, in the classifier's label order; None where there is no face."""
        if np.isnan(self.probabilities).any():
            return None
        return int(self.probabilities.argmax())


def read_emotion(
    classifier: Classifier, frames: Iterable[Image], landmarks: Array, count: int = FRAMES
) -> Reading:
    """Return the emotion that the classifier finds in a clip.

    The frames are evenly spaced over the whole clip whether or not a face is in them, so that the
    readings of a result and of its truth, which have one length, are of the same frames.

    Args:
        classifier: of `load_classifier`.
        frames: T of (H, W, 3) uint8 RGB; none after the last one used is read.
        landmarks: (T, 68, 2 or 3), pixels of these frames, NaN where there is no face.
        count: N at most, how many frames are read.

    Raises:
        ValueError: fewer frames than landmarks.
    """
    # Read the frames wanted and no further
    chosen = spread(len(landmarks), count)
    wanted, pictures = set(chosen), []
    for number, frame in enumerate(frames):
        if number in wanted:
            pictures.append(frame)
        if number == chosen[-1]:
            break
    if len(pictures) < len(chosen):
        raise ValueError(f"the frames end before frame {chosen[-1]} of {len(landmarks)} landmarks")
    return _read(classifier, pictures, landmarks[chosen, :, :2])


def read_clip(classifier: Classifier, clip: Clip, count: int = FRAMES) -> Reading:
    """Return the emotion that a prepared clip shows, from its stored frames and landmarks."""
    chosen = spread(clip.frames, count)
    frames, landmarks = frames_of(clip, chosen)
    return _read(classifier, list(frames), landmarks)


def classify_clips(
    classifier: Classifier, corpus: Corpus, clips: Sequence[Clip], progress: bool = False
) -> tuple[list[int | None], list[int]]:
    """Return the classes of prepared clips, None without a face, and their labels.

    Both in the classifier's label order, which need not be the corpus's.

    Raises:
        ValueError: a clip has an emotion that the classifier was not trained on.
    """
    emotions = classifier.description.emotions
    strange = sorted({clip.emotion for clip in clips} - set(emotions))
    if strange:
        raise ValueError(
            f"{corpus.root} has clips of {', '.join(strange)}; the classifier has "
            f"{', '.join(emotions)}"
        )
    guesses = [
        read_clip(classifier, clip).label for clip in tqdm(clips, "clips", disable=not progress)
    ]
    return guesses, [emotions.index(clip.emotion) for clip in clips]


def count_correct(guesses: Sequence[int | None], labels: Sequence[int]) -> int:
    """Return how many guesses are right; None (no face) is wrong."""
    return sum(guess == label for guess, label in zip(guesses, labels, strict=True))


def confusion(guesses: Sequence[int | None], labels: Sequence[int], classes: int) -> Array:
    """Return counts (K, K) int64: a row for each true emotion, a column for each guess.

    A clip without a face is in no column, so that its row adds up to less than its clips.
    """
    table = np.zeros((classes, classes), np.int64)
    for guess, label in zip(guesses, labels, strict=True):
        if guess is not None:
            table[label, guess] += 1
    return table


def efd_proxy(features_result: Array, features_truth: Array) -> float:
    """Return the mean over frames of 1 - cosine of the features at the same frame, 0 to 1.

    Frames without a face on either side (NaN) are left out; NaN where no frame is left. The
    features are never negative, so that no cosine is.

    Args:
        features_result: (N, D), `Reading.features` of the result.
        features_truth: (N, D), of the truth, of the same frames.
    """
    # Cosine similarity at the frames with a face on both sides
    both = np.isfinite(features_result).all(axis=1) & np.isfinite(features_truth).all(axis=1)
    if not both.any():
        return float("nan")
    ours, theirs = (each[both].astype(float) for each in (features_result, features_truth))
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = (ours * theirs).sum(axis=1) / np.maximum(lengths, SMALLEST)
    return max(0.0, float((1 - cosines).mean()))  # rounding may leave it a hair below


def confusion_text(table: Array, emotions: Sequence[str]) -> str:
    """Return the confusion matrix as text: a row for each true emotion that has a clip."""
    width = max(map(len, emotions)) + 1
    rows = [[name, *map(str, row)] for name, row in zip(emotions, table, strict=True) if row.any()]
    return "\n".join("".join(cell.rjust(width) for cell in row) for row in [["", *emotions], *rows])


def truth_metrics(
    classifier: Classifier, corpus: Corpus, clips: Sequence[Clip]
) -> dict[str, tp.Any]:
    """Return accuracy, wilson_95 (over clips), correct, clips and confusion of prepared clips.

    Raises:
        ValueError: as `classify_clips`, or no clip.
    """
    guesses, labels = classify_clips(classifier, corpus, clips, progress=True)
    right = count_correct(guesses, labels)
    found = wilson_interval(right, len(labels))
    return {
        "accuracy": found.value,
        "wilson_95": [found.low, found.high],
        "correct": right,
        "clips": len(labels),
        "confusion": confusion(guesses, labels, len(classifier.description.emotions)).tolist(),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    # Options
    parser = CommandParser(__doc__)
    parser.add_argument("run", type=Path, help="run of affekt.metrics.emotion.train, or its file")
    parser.add_argument("--corpus", type=Path, required=True, help="with the true clips")
    parser.add_argument("--split", choices=SPLITS, default="test_speaker")
    parser.add_argument("--speaker", help="this person alone")
    parser.add_argument("--json", type=Path, help="write the metrics there too")
    add_device(parser)
    args = parser.parse_args(argv)
    # Accuracy on true clips
    with user_errors():
        classifier = load_classifier(args.run, pick_device(args.device))
        corpus, emotions = Corpus(args.corpus), classifier.description.emotions
        clips = corpus.clips(args.split, speaker=args.speaker)
        if not clips:
            person = f" of {args.speaker}" if args.speaker else ""
            raise ValueError(f"{args.corpus} has no clip{person} in split {args.split!r}")
        truth = truth_metrics(classifier, corpus, clips)
        if args.json:
            write_json(args.json, {"emotions": list(emotions), "truth": truth})

    # A test on people of the training set measures less than it seems to.
    shared = sorted({clip.speaker for clip in clips} & set(classifier.description.speakers))
    lines = [f"trained on {', '.join(shared)} too: no test of unseen people"] if shared else []
    # The report: accuracy with its interval, confusion matrix, clips without a face
    low, high = (100 * bound for bound in truth["wilson_95"])
    share = f"{100 * truth['accuracy']:.1f} % ({low:.1f} to {high:.1f})"
    lines.append(f"truth: {share}, {truth['correct']} of {truth['clips']} clips")
    lines.append(confusion_text(np.array(truth["confusion"]), emotions))
    blind = truth["clips"] - int(np.sum(truth["confusion"]))
    lines += [f"{blind} clips without a face count as wrong"] if blind else []
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


@torch.no_grad()
def _read(classifier: Classifier, pictures: Sequence[Image], landmarks: Array) -> Reading:
    """Return the reading of these frames, landmarks (N, 68, 2)."""
    network, description = classifier.network, classifier.description
    features = np.full((len(landmarks), description.fan.dim), np.nan, np.float32)
    found = np.isfinite(landmarks).all(axis=(1, 2))
    if not found.any():
        return Reading(np.full(len(description.emotions), np.nan), features)
    with_face = [picture for picture, has_face in zip(pictures, found, strict=True) if has_face]
    faces = to_tensor(aligned_faces(with_face, landmarks[found], description.size))
    each = network.backbone(faces.to(classifier.device))
    logits = network.classify(each[None])[0]
    features[found] = each.cpu().numpy()
    return Reading(logits.double().softmax(dim=0).cpu().numpy(), features)


if __name__ == "__main__":
    sys.exit(main())
