"""Emotion accuracy: does a network that learned from true videos read the intended emotion?

EVP (arXiv:2104.07452, Table 1 and Sec. 4) retrains FAN on MEAD and counts the videos whose emotion
it reads right: truth 90.2 %, EVP 83.58 %, without cross-reconstruction 69.79 %. What the network
scores on the truth is the ceiling, so a figure stands beside the truth's and as a share of it.

A clip in none of whose frames a face is found counts as wrong: a face that fell apart is the worst
of results, and leaving it out would raise the accuracy.

efd_proxy is ours, in the place of the emotion feature distance of Xu et al. (arXiv:2305.02572),
whose definition is not public: never print one beside the other as if they were the same.

Letters: T frames of a clip, N of them that are read, K emotions, D numbers of a frame's feature.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from affekt.arrays import Array, Image
from affekt.media.corpus import Clip
from affekt.metrics.emotion.data import aligned_faces, frames_of, spread, to_tensor
from affekt.metrics.emotion.weights import Classifier
from affekt.metrics.intervals import Interval, wilson_interval

FRAMES = 16  # of a clip that are read, evenly spaced; the number that C-MET's evaluation reads
SMALLEST = 1e-12  # length of a feature below which it has no direction


@dataclass(frozen=True, eq=False)
class Reading:
    """What the classifier makes of a clip."""

    probabilities: Array  # (K,) float64; NaN where no frame that is read has a face
    features: Array  # (N, D) float32, a frame's before attention; NaN where it has no face
    frames: tuple[int, ...]  # which frames of the clip they are of, N

    @property
    def label(self) -> int | None:
        """The likeliest emotion, in the classifier's label order; None where there is no face."""
        if np.isnan(self.probabilities).any():
            return None
        return int(self.probabilities.argmax())


@dataclass(frozen=True)
class Accuracy:
    """How many clips were read right."""

    correct: int
    clips: int

    @property
    def rate(self) -> float:
        """The share, 0 to 1."""
        return self.correct / self.clips

    @property
    def interval(self) -> Interval:
        """The share with Wilson's 95 % bounds, over clips as if they were independent."""
        return wilson_interval(self.correct, self.clips)


def read_emotion(
    classifier: Classifier, frames: Iterable[Image], landmarks: Array, count: int = FRAMES
) -> Reading:
    """Return the emotion that a clip shows.

    The frames are evenly spaced over the whole clip whether or not a face is in them, so that the
    readings of a result and of its truth, which have one length, are of the same frames.

    Args:
        classifier: of `load_classifier`.
        frames: T of (H, W, 3) uint8 RGB; nothing is asked for behind the last one that is read.
        landmarks: (T, 68, 2 or 3), pixels of these frames, NaN where there is no face.
        count: N at most, how many frames are read.

    Raises:
        ValueError: fewer frames than landmarks, or no landmarks at all.
    """
    if not len(landmarks) or landmarks.shape[1] != 68:
        raise ValueError(f"landmarks have shape {landmarks.shape}, wanted (T, 68, 2), T at least 1")
    chosen = spread(len(landmarks), count)
    wanted, pictures = set(chosen), []
    for number, frame in enumerate(frames):
        if number in wanted:
            pictures.append(frame)
        if number == chosen[-1]:
            break
    if len(pictures) < len(chosen):
        raise ValueError(f"the frames end before frame {chosen[-1]} of {len(landmarks)} landmarks")
    return _read(classifier, pictures, landmarks[chosen, :, :2], chosen)


def read_clip(classifier: Classifier, clip: Clip, count: int = FRAMES) -> Reading:
    """Return the emotion that a prepared clip shows, from its stored frames and landmarks."""
    chosen = spread(clip.frames, count)
    frames, landmarks = frames_of(clip, chosen)
    return _read(classifier, list(frames), landmarks, chosen)


def emotion_correct(reading: Reading, label: int) -> int:
    """Return 1 where the clip was read as this emotion, else 0; a clip without a face is wrong."""
    return int(reading.label == label)


def accuracy(guesses: Sequence[int | None], labels: Sequence[int]) -> Accuracy:
    """Return how many guesses are right; None (no face) is wrong.

    Raises:
        ValueError: no clip, or not as many guesses as labels.
    """
    if not labels:
        raise ValueError("there is no clip to measure an accuracy on")
    right = [guess == label for guess, label in zip(guesses, labels, strict=True)]
    return Accuracy(sum(right), len(right))


def relative(result: Accuracy, truth: Accuracy) -> float:
    """Return the result's accuracy as a share of the truth's, the ceiling.

    Raises:
        ValueError: the classifier reads nothing of the truth, so that it measures nothing.
    """
    if not truth.correct:
        raise ValueError(f"none of the {truth.clips} true clips is read right: no ceiling")
    return result.rate / truth.rate


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

    Raises:
        ValueError: other shapes.
    """
    if features_result.shape != features_truth.shape:
        raise ValueError(
            f"features {features_result.shape} cannot be held against {features_truth.shape}"
        )
    both = np.isfinite(features_result).all(axis=1) & np.isfinite(features_truth).all(axis=1)
    if not both.any():
        return float("nan")
    ours, theirs = (each[both].astype(float) for each in (features_result, features_truth))
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = (ours * theirs).sum(axis=1) / np.maximum(lengths, SMALLEST)
    return max(0.0, float((1 - cosines).mean()))  # rounding may leave it a hair below


@torch.no_grad()
def _read(
    classifier: Classifier, pictures: Sequence[Image], landmarks: Array, chosen: Sequence[int]
) -> Reading:
    """Return the reading of these frames, landmarks (N, 68, 2)."""
    network, description = classifier.network, classifier.description
    features = np.full((len(chosen), description.fan.dim), np.nan, np.float32)
    found = np.isfinite(landmarks).all(axis=(1, 2))
    if not found.any():
        nothing = np.full(len(description.emotions), np.nan)
        return Reading(nothing, features, tuple(chosen))
    seen = [picture for picture, there in zip(pictures, found, strict=True) if there]
    faces = to_tensor(aligned_faces(seen, landmarks[found], description.size))
    each = network.backbone(faces.to(classifier.device))
    all_there = torch.ones(1, len(seen), dtype=torch.bool, device=classifier.device)
    logits = network.judge(each[None], all_there)[0]
    features[found] = each.cpu().numpy()
    return Reading(logits.double().softmax(dim=0).cpu().numpy(), features, tuple(chosen))
