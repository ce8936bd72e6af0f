"""A schedule of emotions over time: weights of labels at points in time (EVP paper Sec. 4.2).

A CSV file with times in seconds and a column for each label (an empty cell is 0):

    time,happy,sad
    0.0,1,0
    2.5,0.4,0.6

Weights are held before the first point and after the last. Between two points they go from the one
to the other as 3 u^2 - 2 u^3, where u is the share of the time between them. So they stay between
those of the two points, sum to 1, and rest at every point; a spline through all points would
overshoot, and one of each label alone (PCHIP) would not keep the sum. The paper blends two emotions
by one weight for a clip; schedules are ours.

Letters: P points, K labels, N times, E channels of an emotion code.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from affekt.arrays import Array
from affekt.media.constants import FRAME_RATE
from affekt.runtime.csv_files import Line, read_csv

SLACK = 0.002  # of a sum of weights: thirds written as 0.333 are meant to be 1


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
    header, lines = read_csv(path, ["time"])
    try:
        return _track_of(header, lines)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _track_of(header: Sequence[str], lines: Sequence[Line]) -> EmotionTrack:
    labels = header[1:]
    if header[0] != "time" or not labels or not all(labels):
        raise ValueError(
            f"the header is {','.join(header)!r}, wanted time and labels, such as time,happy,sad"
        )
    if not lines:
        raise ValueError("there is no point; wanted at least one time with its weights")
    points = [_point(f"line {number}", cells) for number, cells in lines]
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


def _point(where: str, cells: dict[str, str]) -> tuple[str, float, list[float]]:
    """Return where a line is, its time and its weights; an empty weight is 0."""
    numbers = []
    for column, cell in cells.items():
        try:  # a comma is a decimal one where semicolons separate the cells
            numbers.append(float(cell.replace(",", ".") or ("" if column == "time" else "0")))
        except ValueError:
            raise ValueError(f"{where}: {column} is {cell!r}, wanted a number") from None
    return where, numbers[0], numbers[1:]
