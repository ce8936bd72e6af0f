"""Post-process predicted landmarks: mouth closed in pauses, smoothing, the target's eyes.

Pauses and smoothing are rules of EVP's release (its stages 1 and 2, not in the paper); eyes of the
target are ours: the release's portraits never blink, which its users asked for.

The release decides frame by frame whether the audio is silent, and fades the predicted faces of
long pauses to the one whose lips are closest. Ours: mouth and jaw alone go there, the rest stays as
predicted; the share of the prediction that a pause keeps is the mean of the release's random one;
lips are closest where they are nearest to each other, crossed or not; the fade lies within the
pause, with none where the audio begins or ends; and `PauseRule.measure` can be the audio's level,
since the release's sum of samples finds digital silence alone.

Letters: T frames of the result, 25 per second. Smoothing and eyes take landmarks placed in the
target's full frame, pixels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from affekt.arrays import Array
from affekt.media.audio.reader import fitted
from affekt.media.constants import SAMPLES_PER_FRAME
from affekt.media.faces.geometry import apply, similarity
from affekt.media.faces.one_euro import one_euro
from affekt.media.faces.points import JAW, MOUTH

Mask = NDArray[np.bool_]
Eyes = Literal["predicted", "target"]
Measure = Literal["sum", "level"]

# Up to where a frame is silent: |sum of its 640 samples|, full scale 1 (release); dB below loud
# speech (ours; measured on pauses of Emo-DB).
THRESHOLDS: dict[Measure, float] = {"sum": 0.1, "level": 25.0}
LOUD = 95  # percentile of the frames' levels: taken for loud speech
SHORTEST = 20  # frames, 0.8 s: shorter silences are part of speech (release)
FADE = np.array([0.8, 0.6, 0.4, 0.2])  # of the prediction, from speech into a pause (release)
KEPT = 0.05  # of the prediction inside a pause: the mean of the release's 1 - r, r ~ U(0.9, 1)
CLOSING = np.array(JAW + MOUTH)  # the chin follows the lips
UPPER_LIP, LOWER_LIP = 62, 66  # the middle of the inner lips; 98 and 102 of the release's 106
LANDMARK_FILTER = {"mincutoff": 0.01, "beta": 0.7, "dcutoff": 1.0, "freq": 100.0}  # the release's
RELEASE_HEIGHT = 1080  # pixels; of MEAD's videos, in whose pixels the release filters
# Corners and lids of both eyes, in the image's order.
CORNERS = ((36, 39), (42, 45))
LIDS = ((37, 38, 40, 41), (43, 44, 46, 47))


@dataclass(frozen=True)
class PauseRule:
    """What counts as silence."""

    measure: Measure = "sum"
    threshold: float = THRESHOLDS["sum"]

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < float("inf"):
            raise ValueError(f"the silence threshold is {self.threshold}, wanted 0 or more")


def mouth_closed(face: Array, samples: Array, rule: PauseRule) -> Array:
    """Return faces (T, 68, 2) with a closed mouth in the long pauses of their audio.

    Args:
        face: (T, 68, 2), aligned landmarks with y down.
        samples: the audio, 16 kHz, full scale 1; frame k begins at sample 640 k.
        rule: what a pause is.
    """
    return closed_where(face, silent_frames(samples, len(face), rule))


def silent_frames(samples: Array, count: int, rule: PauseRule) -> Mask:
    """Return which of `count` frames lie in a long pause, (T,) (EVP release).

    Silences shorter than `SHORTEST` are taken for speech, and then a single frame of speech between
    two that are left for silence. After the end of the audio it is silent.
    """
    audio = fitted(np.asarray(samples, np.float64), count * SAMPLES_PER_FRAME)
    silent = _quiet(audio.reshape(count, SAMPLES_PER_FRAME), rule)
    for start, stop in _runs(silent):
        silent[start:stop] = stop - start >= SHORTEST
    silent[1:-1] |= silent[:-2] & silent[2:]
    return silent


def _quiet(audio: Array, rule: PauseRule) -> Mask:
    """Return which frames (T, 640) are silent on their own, (T,).

    `sum`: the absolute sum of the samples, a stand-in for energy, is not above the threshold.
    `level`: the RMS, without the frame's mean, is that many dB or more below the `LOUD`
    percentile of all frames'.
    """
    if rule.measure == "sum":
        loudness, limit = np.abs(audio.sum(axis=1)), rule.threshold
    else:
        loudness = audio.std(axis=1)
        limit = float(np.percentile(loudness, LOUD)) * 10 ** (-rule.threshold / 20)
    return loudness <= limit


def closed_where(face: Array, silent: Mask) -> Array:
    """Return faces (T, 68, 2) whose jaw and mouth are those of the closest lips where silent (T,).

    Frames that are not silent, and all other points, are the very same.
    """
    result = face.copy()
    lips_apart = np.abs(face[:, LOWER_LIP, 1] - face[:, UPPER_LIP, 1])
    closed = face[int(lips_apart.argmin()), CLOSING]
    share = _share_of_speech(silent)[silent, None, None]
    rows = np.flatnonzero(silent)[:, None]
    result[rows, CLOSING] = share * face[rows, CLOSING] + (1 - share) * closed
    return result


def _share_of_speech(silent: Mask) -> Array:
    """Return the share of the prediction (T,): 1 in speech, fading within pauses next to speech."""
    share = np.where(silent, KEPT, 1.0)
    for start, stop in _runs(silent):
        pause = share[start:stop]
        fade = FADE[: len(pause)]
        if start > 0:
            pause[: len(fade)] = fade
        if stop < len(silent):
            pause[::-1][: len(fade)] = np.maximum(pause[::-1][: len(fade)], fade)
    return share


def _runs(silent: Mask) -> list[tuple[int, int]]:
    """Return first frame and end of every run of silent frames."""
    edges = np.flatnonzero(np.diff(silent, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@dataclass(frozen=True)
class PostprocessOptions:
    """How faces are post-processed in the target's frames."""

    smooth: bool = False  # over time
    eyes: Eyes = "predicted"


def postprocessed(placed: Array, target: Array, height: int, options: PostprocessOptions) -> Array:
    """Return placed faces (T, 68, 2), smoothed and with the target's eyes as wanted.

    The eyes come last: a blink lasts three frames, and is not smoothed.

    Args:
        placed: (T, 68, 2).
        target: (T, 68, 2), the target's own landmarks of the same frames.
        height: of the target's frames, pixels.
        options: what is wanted.
    """
    if options.smooth:
        placed = smoothed(placed, height)
    return with_eyes_of(target, placed) if options.eyes == "target" else placed


def smoothed(placed: Array, height: int) -> Array:
    """Return faces (T, 68, 2) through the release's One-Euro filter, each coordinate on its own.

    How much the filter does depends on the unit, and the release's is a pixel of a frame 1080
    high: in other frames faces are filtered as if the frame had been scaled to that height (ours),
    so that a video and its smaller copy are smoothed alike.
    """
    unit = RELEASE_HEIGHT / height
    return one_euro(unit * placed, **LANDMARK_FILTER) / unit


def with_eyes_of(target: Array, placed: Array) -> Array:
    """Return faces (T, 68, 2) whose lids are open as far as the target's in the same frame.

    The target's lids are carried over by the similarity between the corners of the eye, so that
    each eye has the target's ratio of height to width and the corners stay where they are; nothing
    is left of predicted lids. All other points are the very same.
    """
    result = placed.copy()
    for corners, lids in zip(CORNERS, LIDS, strict=True):
        onto = similarity(target[:, corners], placed[:, corners])
        result[:, lids] = apply(onto, target[:, lids])
    return result
