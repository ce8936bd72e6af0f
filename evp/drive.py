"""From sound and a wanted emotion to a speaker's moving landmarks (EVP Sec. 3.3 and 4.2).

Letters: T video frames, E channels of an emotion code.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evp.audio2lm import Predictor, predict_landmarks
from evp.emotion_codes import load_codes
from evp.encoders import encode
from evp.landmark_space import unflatten
from media.audio import read_audio
from media.mfcc import sound_windows

Array = NDArray[Any]


@dataclass(frozen=True)
class Emotion:
    """Where the emotion comes from: at most one of these; none: from the driving sound itself."""

    label: str | None = None  # the mean code of a class
    audio: Path | None = None  # the mean code of another recording
    blend: str | None = None  # "a:b:w", (1 - w) a + w b of two mean codes

    def __post_init__(self) -> None:
        given = [name for name, value in vars(self).items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"the emotion comes from one place, not from {' and '.join(given)}")


def emotion_code(
    predictor: Predictor, run_dir: Path, emotion: Emotion, speaker: str, own: Array
) -> Array:
    """Return the emotion code (E,).

    Args:
        predictor: of the audio-to-landmark run in `run_dir`, whose mean codes are read.
        emotion: what is wanted.
        speaker: whose mean codes are preferred.
        own: audio windows (T, 28, 12) of the driving sound.

    Raises:
        FileNotFoundError: the mean codes are not computed yet; the message names the command.
        ValueError: an unknown label, or a blend that is not a:b:w.
    """
    if emotion.label is not None:
        return load_codes(run_dir).of(emotion.label, speaker)
    if emotion.blend is not None:
        return load_codes(run_dir).blend(emotion.blend, speaker)
    heard = own if emotion.audio is None else sound_windows(read_audio(emotion.audio))
    device = next(predictor.encoders.parameters()).device
    codes = encode(predictor.encoders.emotion, torch.from_numpy(np.array(heard)).to(device))
    mean: Array = codes.mean(dim=0).cpu().numpy()
    return mean


def speaking_face(
    predictor: Predictor, run_dir: Path, samples: Array, speaker: str, emotion: Emotion
) -> Array:
    """Return the speaker's aligned landmarks saying this sound, (T, 68, 2), pixels of 256.

    Raises:
        KeyError: a speaker that the run was not trained on.
        ValueError: see `sound_windows` and `emotion_code`.
    """
    heard = sound_windows(samples)
    code = emotion_code(predictor, run_dir, emotion, speaker, heard)
    neutral = unflatten(predictor.space.neutral_of(speaker))
    return predict_landmarks(predictor.model, predictor.encoders, heard, code, neutral)
