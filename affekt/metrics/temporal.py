"""Temporal metrics: warp error, sharpness, flicker, landmark jitter, the lag of the mouth. Ours.

No paper at hand defines such a figure (Xu et al. 2023 run a user study). A video is best compared
with the motion that it should have, the truth's: by its own motion, a frozen video is perfect.

Warp error. The optical flow between neighbouring frames of the truth gives where each pixel of
frame t + 1 came from. Every video's frame t is moved along it and compared with its own frame
t + 1: the residual is what the true motion leaves unexplained. By itself it rewards blur, which has
little to be moved: sigma 2 on real clips leaves a third of the truth's. So what is missing of the
change that the truth's frames undergo when they are moved is added, and the sum is a share of it:

    error = (residual + max(0, change of the truth - change of the video)) / change of the truth

with residual = sum |moved(frame t) - frame t+1| and change = sum |moved(frame t) - frame t|. A
frozen frame of the truth scores 1, a perfect video 0. On ten real and rendered clips the truth
scores .21 to .47, blurred by sigma 1, 2 and 4 .36 to .63, .53 to .80 and .72 to .94; noise of 5
levels .35 to .70, one frame late .55 to 1.0. A pixel counts where

    the flow is reliable: forward and backward flow undo one another, and the pixel came from
        inside the picture (affekt/media/video/flow.py);
    the motion is visible: moving the true frame changes the pixel by `VISIBLE` grey levels or more.

Without the second, walls and shirts dominate the mean: on calm real clips a frozen frame, which has
none of the camera's noise, then beat the truth; with it, it scored 1.4 to 4.2 times the truth's
error on each of 14 real clips. The truth's own row is what noise, light and an imperfect flow cost.

Sharpness. The deviation of a frame's Laplacian, mean over frames, as a share of the truth's. It is
read beside the warp error: a video with more fine detail than the flow can move has the greater
residual.

Lag. Loudness is no mouth opening, but both rise and fall with the syllables; the shift at which
they correlate best is compared with that of the true video, never read as an absolute lag.

Letters: T frames, H rows, W columns; pictures are (H, W, 3) uint8 RGB, of 255 grey levels.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest

import cv2
import numpy as np

from affekt.arrays import Array, Image
from affekt.media.constants import SAMPLE_RATE, SAMPLES_PER_FRAME
from affekt.media.faces.geometry import View
from affekt.media.video.flow import Dis, confident, origins, sampled
from affekt.metrics.landmark import aligned

VISIBLE = 4.0  # grey levels; the truth's own error is below on nearly all of the clips above
TRUTH = "the truth"
JERK = 3  # the order of the difference that jitter takes
REACH = 10  # frames (0.4 s) on either side
SAME_SOUND = 0.3  # correlation; copies by AAC at 32 kbit/s have .9, other words below .1
QUIET = 1e-4  # of full scale; the floor under the logarithm of loudness


@dataclass(frozen=True)
class Motion:
    """Where each pixel of a frame lay one frame before."""

    x: Array  # (H, W) float32, column in the frame before
    y: Array  # (H, W) float32, row
    counted: Array  # (H, W) bool, whether the pixel counts

    def moved(self, grey: Array) -> Array:
        """Return the frame before (H, W), uint8 or float, moved to where it should now be."""
        return sampled(grey.astype(np.float32), self.x, self.y)

    def sum(self, values: Array) -> float:
        """Return the sum of values (H, W) over the pixels that count."""
        return float(values[self.counted].sum(dtype=float))


def warp_errors(
    results: Mapping[str, Iterable[Image]],
    truth: Iterable[Image],
    flows: tuple[Array, Array] | None = None,
) -> dict[str, float | None]:
    """Return each video's warp error under the truth's flow, a share of the true change, from 0.

    The pixels of a clip count alike, whatever their frame. Frames are read in step and two of each
    video are held; the flow is computed once for all. None for every video if no pixel of the
    truth moves visibly: then it is undefined.

    Args:
        results: by name, as many frames (H, W, 3) as the truth has; the truth may be among them.
        truth: the true frames.
        flows: the truth's flow (T, H, W, 2) and where it is confident (T, H, W), as a prepared
            corpus stores it: more exact for pictures smaller than the corpus's. Else it is computed
            from the pictures given.

    Raises:
        ValueError: another number of frames or size of pictures, fewer than two frames, or pictures
            below 16 pixels.
    """
    residuals, changes = (dict.fromkeys([TRUTH, *results], 0.0) for _ in range(2))
    videos = {TRUTH: truth} | {f"result {name!r}": frames for name, frames in results.items()}
    before: list[Image] | None = None
    number = 0
    # Read all videos in step; two frames of each are held
    for number, pictures in enumerate(_in_step(videos)):
        now = [np.asarray(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), np.uint8) for each in pictures]
        if before is not None:
            # The truth's flow, and where it counts, for all results
            motion = _motion(before[0], now[0], flows, number)
            for name, old, new in zip(residuals, before, now, strict=True):
                moved = motion.moved(old)
                residuals[name] += motion.sum(np.abs(moved - new))
                changes[name] += motion.sum(np.abs(moved - old))
        before = now
    # Shares of the true change over all pixels of the clip
    if number == 0:
        raise ValueError("a warp error needs two frames or more")
    if not (wanted := changes[TRUTH]):
        return dict.fromkeys(results)
    missing = {name: max(0.0, wanted - changes[name]) for name in results}
    return {name: (residuals[name] + missing[name]) / wanted for name in results}


def sharpness(frames: Iterable[Image]) -> float:
    """Return the standard deviation of a frame's Laplacian, mean over frames; 0 if all are flat."""
    grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames)
    return float(np.mean([cv2.Laplacian(each, cv2.CV_32F).std() for each in grey]))


def visible_motion(before: Image, flow: Array, confidence: Array) -> Motion:
    """Return a motion, of a flow (H, W, 2), which counts where it is confident and visible."""
    x, y = origins(flow)
    change = np.abs(sampled(before.astype(np.float32), x, y) - before)
    return Motion(x, y, confidence & (change >= VISIBLE))


def _motion(before: Image, now: Image, flows: tuple[Array, Array] | None, number: int) -> Motion:
    if flows is None:
        back, forth = Dis()(before, now)
        return visible_motion(before, back, confident(back, forth))
    if number >= len(flows[0]) or flows[0].shape[1:3] != now.shape:
        raise ValueError(
            f"frame {number} of {now.shape[::-1]} pixels has no flow: flows of {flows[0].shape}"
        )
    return visible_motion(before, flows[0][number], flows[1][number])


def flicker(frames: Iterable[Image]) -> float:
    """Return the mean absolute change of a pixel's channels from frame to frame, levels of 255.

    Motion counts too, so it is read with the truth's. VBench's temporal flickering is
    1 - flicker / 255.

    Raises:
        ValueError: fewer than two frames, or frames of several sizes.
    """
    changes, before = [], None
    for frame in frames:
        if before is not None:
            _check_size(frame, before, "the frame before")
            changes.append(float(cv2.absdiff(frame, before).mean()))
        before = frame
    if not changes:
        raise ValueError("flicker needs two frames or more")
    return float(np.mean(changes))


def jitter(raw: Array, view: View = "2d") -> float:
    """Return the mean norm of the third difference of aligned landmarks, pixels of the 256 px face.

    mean over t and n of |p[t+3, n] - 3 p[t+2, n] + 3 p[t+1, n] - p[t, n]|: trembling counts, steady
    motion and steady acceleration do not. Four frames in a row must have a face. It needs no truth
    and a still face has none, so it is read with the truth's: more trembles, less is smoothed.

    Args:
        raw: landmarks (T, 68, 2 or 3) in pixels of the video, NaN where there is no face.
        view: of the alignment, see affekt.media.faces.geometry.

    Raises:
        ValueError: no four frames in a row with a face, or a 3d view without depth.
    """
    jerks = np.diff(aligned(raw, view), n=JERK, axis=0)
    lengths = np.linalg.norm(jerks, axis=-1).mean(axis=-1)
    whole = np.isfinite(lengths)
    if not whole.any():
        raise ValueError(f"no {JERK + 1} frames in a row of {len(raw)} have a face")
    return float(lengths[whole].mean())


def loudness(samples: Array) -> Array:
    """Return the log root mean square of each video frame's sound, (T,) for (640 T,) samples."""
    frames = samples[: len(samples) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]
    power = np.square(frames.reshape(-1, SAMPLES_PER_FRAME)).mean(axis=1)
    return 0.5 * np.log(power + QUIET**2)


def sound_lag(sound: Array, truth: Array) -> float | None:
    """Return by how many milliseconds a sound (samples,) comes after the true one, at 16 kHz.

    The shift, of half the shorter sound at most, at which the waveforms correlate best, in either
    polarity; None where they do not (below 0.3 of what equal sounds do), as with other words.
    """
    from scipy.signal import correlate, correlation_lags  # a second that --help need not take

    samples = min(len(sound), len(truth))
    ours, theirs = sound[:samples].astype(float), truth[:samples].astype(float)
    scale = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    if not scale:
        return None
    agreement = np.abs(correlate(ours, theirs, method="fft")) / scale
    shifts = correlation_lags(samples, samples)
    near = np.abs(shifts) <= samples // 2
    best = int(np.argmax(np.where(near, agreement, -1)))
    return 1000 * float(shifts[best]) / SAMPLE_RATE if agreement[best] >= SAME_SOUND else None


def opening_lag(opening: Array, level: Array, reach: int = REACH) -> int:
    """Return by how many frames the mouth opening (T,) follows the loudness (T,); negative: leads.

    Raises:
        ValueError: of different length, or too short for the reach, or one of them constant.
    """
    if len(opening) != len(level) or len(opening) <= 2 * reach:
        raise ValueError(
            f"mouth opening has {len(opening)} frames and loudness {len(level)}; wanted as many, "
            f"and more than {2 * reach}"
        )
    if min(np.ptp(opening), np.ptp(level)) == 0:
        raise ValueError("a mouth that never moves, or a sound that never changes, has no lag")
    shifts = range(-reach, reach + 1)
    agreement = [_correlation(opening, level, shift) for shift in shifts]
    return shifts[int(np.argmax(agreement))]


def _in_step(videos: Mapping[str, Iterable[Image]]) -> Iterator[tuple[Image, ...]]:
    """Yield the videos' frames side by side; they must be of the first one's number and size."""
    for number, pictures in enumerate(zip_longest(*videos.values())):
        for name, picture in zip(videos, pictures, strict=True):
            if picture is None:
                raise ValueError(f"{name} has {number} frames, another video more")
            _check_size(picture, pictures[0], TRUTH, f"frame {number} of {name}")
        yield pictures


def _check_size(picture: Image, other: Image, whose: str, name: str = "a frame") -> None:
    if picture.shape != other.shape:
        raise ValueError(f"{name} has shape {picture.shape}, {whose} {other.shape}")


def _correlation(opening: Array, level: Array, shift: int) -> float:
    later, earlier = (opening, level) if shift >= 0 else (level, opening)
    count = len(opening) - abs(shift)
    pair = np.corrcoef(later[abs(shift) :], earlier[:count])
    return float(np.nan_to_num(pair[0, 1], nan=-1.0))
