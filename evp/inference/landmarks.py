"""Landmarks of a speaker from audio and a wanted emotion (EVP Sec. 3.2 and 4.2).

A schedule of emotions over time is a CSV file with times in seconds and a column for each label (an
empty cell is 0):

    time,happy,sad
    0.0,1,0
    2.5,0.4,0.6

Weights are held before the first point and after the last. Between two points they go from the one
to the other as 3 u^2 - 2 u^3, where u is the share of the time between them. So they stay between
those of the two points, sum to 1, and rest at every point; a spline through all points would
overshoot, and one of each label alone (PCHIP) would not keep the sum. The paper blends two emotions
by one weight for a clip; schedules are ours.

Letters: T video frames, E channels of an emotion code, P points, K labels, N times of a schedule.
"""

import csv
import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from affekt.arrays import Array
from affekt.media.audio.mfcc import sound_windows
from affekt.media.audio.reader import read_audio
from affekt.media.constants import FRAME_RATE
from affekt.media.emotions import NEUTRAL
from evp.inference.emotion_codes import EmotionCodes, load_codes
from evp.landmark_space import unflatten
from evp.networks.audio2lm import Predictor, predict_landmarks
from evp.networks.encoders import encode

SLACK = 0.002  # of a sum of weights: thirds written as 0.333 are meant to be 1


@dataclass(frozen=True)
class Emotion:
    """Where the emotion comes from: at most one of these; none: from the driving audio itself."""

    label: str | None = None  # the mean code of a class
    audio: Path | None = None  # the mean code of another recording
    blend: str | None = None  # "a:b:w", (1 - w) a + w b of two mean codes
    track: Path | None = None  # a schedule of mean codes over time, see the top of this file
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
    """Return the emotion code (E,) of a clip, or that of every frame (T, E) of a schedule.

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
    """Return the mean code of the other recording, or of the driving audio."""
    windows = own if emotion.audio is None else sound_windows(read_audio(emotion.audio))
    device = next(predictor.encoders.parameters()).device
    codes = encode(predictor.encoders.emotion, torch.from_numpy(np.array(windows)).to(device))
    return codes.mean(dim=0).cpu().numpy()


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


@dataclass(frozen=True)
class EmotionTrack:
    """Weights of labels over time; of `read_track`, which checks them."""

    labels: tuple[str, ...]  # K
    times: tuple[float, ...]  # P, seconds, rising
    weights: tuple[tuple[float, ...], ...]  # P x K, 0 to 1; each row sums to 1

    def weights_at(self, times: ArrayLike) -> Array:
        """Return the weights (N, K) at times (N,) in seconds; each row sums to 1."""
        weights_PK, points = np.array(self.weights), np.array(self.times)
        at = np.clip(np.asarray(times, float), points[0], points[-1])
        before = np.searchsorted(points, at, side="right") - 1
        after = np.minimum(before + 1, len(points) - 1)
        span = points[after] - points[before]
        u = np.divide(at - points[before], span, out=np.zeros_like(at), where=span > 0)
        way_N1 = (u * u * (3 - 2 * u))[:, None]
        return (1 - way_N1) * weights_PK[before] + way_N1 * weights_PK[after]

    def codes(self, means_KE: Array, frames: int) -> Array:
        """Return the code of every frame, (frames, E) float32: the weighted sum of mean codes.

        Args:
            means_KE: the mean code of each of `labels`.
            frames: of the clip, 25 per second.
        """
        codes: Array = self.weights_at(frame_times(frames)) @ means_KE
        return codes.astype(np.float32)


def frame_times(frames: int) -> Array:
    """Return when the middle of each frame is shown, seconds: (t + 0.5) / 25."""
    return (np.arange(frames) + 0.5) / FRAME_RATE


def read_track(path: Path) -> EmotionTrack:
    """Read a schedule from a .csv file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not of the form above; no point at all, times that do not rise, weights below 0
            or with another sum than 1. The message names file and line.
    """
    if path.suffix.lower() != ".csv":
        raise ValueError(f"{path} is no schedule of emotions; wanted a .csv file")
    if not path.is_file():
        raise FileNotFoundError(f"there is no schedule of emotions {path}")
    try:
        return _read_csv(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from None
    except csv.Error as error:
        raise ValueError(f"{path}: no CSV: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read_csv(path: Path) -> EmotionTrack:
    # The header, and a row of numbers a point
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        header = [name.strip() for name in next(reader, [])]
        rows = [(f"line {reader.line_num}", cells) for cells in reader if any(cells)]
    labels = header[1:]
    if header[:1] != ["time"] or not all(labels) or len(set(labels)) != len(labels) or not labels:
        raise ValueError(
            f"the header is {','.join(header)!r}, wanted time and labels, such as time,happy,sad"
        )
    if not rows:
        raise ValueError("there is no point; wanted at least one time with its weights")
    points = [(where, *_point(where, header, cells)) for where, cells in rows]
    # Valid weights at rising times, each row summing to 1
    for where, time, weights in points:
        _check_point(where, time, dict(zip(labels, weights, strict=True)))
    for (_, earlier, _), (where, later, _) in itertools.pairwise(points):
        if later <= earlier:
            raise ValueError(f"{where}: times must rise, and {later:g} comes after {earlier:g}")
    return EmotionTrack(
        tuple(labels),
        tuple(time for _, time, _ in points),
        tuple(tuple(w / math.fsum(weights) for w in weights) for *_, weights in points),
    )


def _check_point(where: str, time: float, weights: dict[str, float]) -> None:
    if not (math.isfinite(time) and time >= 0):
        raise ValueError(f"{where}: the time is {time:g}, wanted 0 or more seconds")
    for label, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"{where}: the weight of {label!r} is {weight:g}, wanted 0 to 1")
    total = math.fsum(weights.values())
    if abs(total - 1) > SLACK:
        raise ValueError(f"{where}: the weights sum to {total:g}, wanted 1")


def _point(where: str, header: list[str], cells: list[str]) -> tuple[float, list[float]]:
    """Return a line's time and weights; an empty weight is 0."""
    if len(cells) != len(header):
        raise ValueError(f"{where} has {len(cells)} cells, wanted {len(header)}")
    numbers = []
    for column, cell in zip(header, cells, strict=True):
        try:
            numbers.append(float(cell.strip() or ("" if column == "time" else "0")))
        except ValueError:
            raise ValueError(f"{where}: {column} is {cell!r}, wanted a number") from None
    return numbers[0], numbers[1:]
