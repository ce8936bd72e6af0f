"""What a landmark stage measures beside training, on clips that it does not learn from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from affekt.media.faces.geometry import View
from affekt.metrics.landmark import mouth_correlation, point_distance
from evp.data.speech import clips_of
from evp.landmark_space import LandmarkSpace, unflatten
from evp.networks.encoders import encode


@dataclass(frozen=True)
class HeldOut:
    """Which clips are measured, and how often; nothing is chosen by the figures."""

    split: Literal["val", "test_sentence", "none"] = "test_sentence"
    every: int = 1_000  # steps


def held_out_clips(corpus: Corpus, held_out: HeldOut, emotion: str | None = None) -> list[Clip]:
    """Return the clips to measure, none for the split "none".

    Raises:
        ValueError: the corpus has no clips in this split.
    """
    if held_out.split == "none":
        return []
    clips = clips_of(corpus, held_out.split)
    return [clip for clip in clips if emotion in (None, clip.emotion)]


def class_accuracy(
    encoder: nn.Module, classifier: nn.Module, clips: Sequence[Clip], labels: Sequence[int]
) -> float:
    """Return the share of clips whose label has the highest mean probability over the windows."""
    device = next(classifier.parameters()).device
    sounds = [torch.from_numpy(np.array(clip.windows())) for clip in clips]
    with torch.no_grad():
        logits = classifier(encode(encoder, torch.cat(sounds).to(device)))
    each = logits.softmax(dim=1).split([len(sound) for sound in sounds])
    guesses = [int(windows.mean(dim=0).argmax()) for windows in each]
    return float(np.mean([guess == label for guess, label in zip(guesses, labels, strict=True)]))


def landmark_figures(
    predict: Callable[[Clip], Array], clips: Sequence[Clip], space: LandmarkSpace, view: View
) -> dict[str, float]:
    """Return mouth distance in pixels, its ratio to the speaker's mean face, and mouth_r.

    mouth_r is the median over clips of the correlation of mouth openings, without still mouths.

    Args:
        predict: from a clip to aligned landmarks (T, 68, 2) in pixels.
    """
    ours, mean_face, correlations = [], [], []
    for clip in clips:
        truth, predicted = clip.aligned(view), predict(clip)
        average = unflatten(space.average_of(clip.speaker))
        ours.append(point_distance(predicted, truth))
        mean_face.append(point_distance(np.broadcast_to(average, truth.shape), truth))
        correlations.append(mouth_correlation(predicted, truth))
    return {
        "held_out_mouth_px": float(np.mean(ours)),
        "held_out_mouth_ratio": float(np.mean(ours) / np.mean(mean_face)),
        "held_out_mouth_r": float(np.nanmedian(correlations)),
    }
