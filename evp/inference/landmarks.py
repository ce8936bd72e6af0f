"""Landmarks of a speaker from audio and a wanted emotion (EVP Sec. 3.2 and 4.2).

Letters: T video frames, E channels of an emotion code.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.audio.mfcc import sound_windows
from affekt.media.audio.reader import read_audio
from affekt.media.emotion_track import read_track
from affekt.media.emotions import NEUTRAL
from evp.inference.emotion_codes import EmotionCodes, at_length, load_codes, sound_codes
from evp.landmark_space import unflatten
from evp.networks.audio2lm import Predictor, predict_landmarks


@dataclass(frozen=True)
class Emotion:
    """Where the emotion comes from: at most one of these; none: from the driving audio itself."""

    label: str | None = None  # the mean code of a class
    audio: Path | None = None  # another recording; see `emotion_code`
    blend: str | None = None  # "a:b:w", (1 - w) a + w b of two mean codes
    track: Path | None = None  # a schedule of mean codes over time, see emotion_track.py
    # How much of it, 0 (neutral) to 1. More is refused: codes are never negative (E_e ends in a
    # ReLU), and beyond the emotion's own some channels would be, which no training sound has shown.
    intensity: float = 1.0

    def __post_init__(self) -> None:
        sources = {name: value for name, value in vars(self).items() if name != "intensity"}
        given = [name for name, value in sources.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"the emotion comes from one place, not from {' and '.join(given)}")
        if not 0 <= self.intensity <= 1:
            raise ValueError(
                f"the intensity is {self.intensity:g}, wanted 0 (neutral) to 1 (the emotion itself)"
            )


def emotion_code(
    predictor: Predictor, run_dir: Path, emotion: Emotion, speaker: str, own: Array
) -> Array:
    """Return the emotion code (E,) of a clip, or that of every frame, (T, E).

    Every frame has its own in a schedule, and where a run trained on the codes of windows takes the
    emotion from a sound. A label, blend or schedule is made of mean codes for such a run too (as in
    the paper and in its release): they do not vary from frame to frame as those that it has seen.

    With an intensity w the code is (1 - w) neutral + w code, where neutral is the mean code of the
    label `neutral` (the paper's intensity manipulation, supplement Fig. 3).

    Args:
        predictor: of the audio-to-landmark run in `run_dir`, whose mean codes are read.
        emotion: what is wanted.
        speaker: whose mean codes are preferred.
        own: audio windows (T, 28, 12) of the driving audio.

    Raises:
        FileNotFoundError: the mean codes are not computed yet; the message names the command.
        ValueError: an unknown label, a blend that is not a:b:w, or a schedule that is none.
    """
    if emotion == Emotion(audio=emotion.audio):  # no mean code is needed
        return _audio_code(predictor, emotion, own)
    # From the run's mean codes
    codes = load_codes(run_dir)
    code = _wanted_code(predictor, codes, emotion, speaker, own)
    if emotion.intensity == 1:
        return code
    # Intensity: interpolate from the neutral code
    neutral = codes.of(NEUTRAL, speaker)
    mixed: Array = (1 - emotion.intensity) * neutral + emotion.intensity * code
    return mixed.astype(np.float32)


def _wanted_code(
    predictor: Predictor, codes: EmotionCodes, emotion: Emotion, speaker: str, own: Array
) -> Array:
    """Return the code at full intensity."""
    if emotion.label is not None:
        return codes.of(emotion.label, speaker)
    if emotion.blend is not None:
        return codes.blend(emotion.blend, speaker)
    if emotion.track is None:
        return _audio_code(predictor, emotion, own)
    track = read_track(emotion.track)
    try:
        means = np.stack([codes.of(label, speaker) for label in track.labels])
    except ValueError as error:
        raise ValueError(f"{emotion.track}: {error}") from None
    return track.codes(means, len(own))


def _audio_code(predictor: Predictor, emotion: Emotion, own: Array) -> Array:
    """Return the code of the other recording, or of the driving audio, as the run was trained."""
    windows = own if emotion.audio is None else sound_windows(read_audio(emotion.audio))
    (code,) = sound_codes(predictor.encoders.emotion, [windows], predictor.emotion_code)
    return at_length(code, len(own))


def audio_to_landmarks(
    predictor: Predictor, run_dir: Path, samples: Array, speaker: str, emotion: Emotion
) -> Array:
    """Return the speaker's aligned landmarks for this audio, (T, 68, 2), pixels of 256.

    Raises:
        ValueError: a speaker that the run was not trained on.
        ValueError: see `sound_windows` and `emotion_code`.
    """
    windows = sound_windows(samples)
    code = emotion_code(predictor, run_dir, emotion, speaker, windows)
    neutral = unflatten(predictor.space.neutral_of(speaker))
    return predict_landmarks(predictor.model, predictor.encoders, windows, code, neutral)
