"""A schedule of emotions over time: weights of labels at points in time (EVP paper Sec. 4.2).

JSON, or CSV with a column for each label (an empty cell is 0), times in seconds:

    {"interpolation": "smooth",                     time,happy,sad
     "points": [                                    0.0,1,0
       {"time": 0.0, "weights": {"happy": 1}},      2.5,0.4,0.6
       {"time": 2.5, "weights": {"happy": 0.4, "sad": 0.6}}]}

Weights are held before the first point and after the last. Between two points they go from the one
to the other as 3 u^2 - 2 u^3 (`smooth`), as u (`linear`), or leap at the second (`step`), where u
is the share of the time between them. So they stay between those of the two points and sum to 1;
a spline through all points would overshoot, and one of each label alone (PCHIP) would not keep the
sum. Smooth weights rest at every point. The paper blends two emotions by one weight for a clip;
schedules are ours.

Letters: P points, K labels, N times, E channels of an emotion code.
"""

import csv
import itertools
import json
import math
import typing as tp
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from affekt.arrays import Array
from affekt.media.constants import FRAME_RATE

Interpolation = tp.Literal["smooth", "linear", "step"]
Point = tuple[str, float, dict[str, float]]  # place in the file, time, weights

WAYS: dict[str, Callable[[Array], Array]] = {
    "smooth": lambda u: u * u * (3 - 2 * u),
    "linear": lambda u: u,
    "step": np.floor,
}
SLACK = 0.002  # of a sum of weights: thirds written as 0.333 are meant to be 1


@dataclass(frozen=True)
class EmotionTrack:
    """Weights of labels over time; of `read_track`, which checks them."""

    labels: tuple[str, ...]  # K
    times: tuple[float, ...]  # P, seconds, rising
    weights: tuple[tuple[float, ...], ...]  # P x K, 0 to 1; each row sums to 1
    interpolation: Interpolation = "smooth"

    def weights_at(self, times: ArrayLike) -> Array:
        """Return the weights (N, K) at times (N,) in seconds; each row sums to 1."""
        weights_PK, points = np.array(self.weights), np.array(self.times)
        at = np.clip(np.asarray(times, float), points[0], points[-1])
        before = np.searchsorted(points, at, side="right") - 1
        after = np.minimum(before + 1, len(points) - 1)
        span = points[after] - points[before]
        share = np.divide(at - points[before], span, out=np.zeros_like(at), where=span > 0)
        way_N1 = WAYS[self.interpolation](share)[:, None]
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
    """Read a schedule from a .json or .csv file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: neither of them, or not of the form above; no point at all, times that do not
            rise, weights below 0 or with another sum than 1. The message names file and point.
    """
    readers = {".json": _read_json, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} is no schedule of emotions; wanted a .json or .csv file")
    if not path.is_file():
        raise FileNotFoundError(f"there is no schedule of emotions {path}")
    try:
        points, interpolation = readers[path.suffix.lower()](path)
        return track_of(points, interpolation)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def track_of(points: Sequence[Point], interpolation: str = "smooth") -> EmotionTrack:
    """Return the schedule of these points; a label that a point does not name has weight 0 there.

    Raises:
        ValueError: see `read_track`.
    """
    if interpolation not in WAYS:
        raise ValueError(f"the interpolation is {interpolation!r}, wanted one of {', '.join(WAYS)}")
    if not points:
        raise ValueError("there is no point; wanted at least one time with its weights")
    # Valid weights at rising times
    for where, time, weights in points:
        _check_point(where, time, weights)
    for (_, earlier, _), (where, later, _) in itertools.pairwise(points):
        if later <= earlier:
            raise ValueError(f"{where}: times must rise, and {later:g} comes after {earlier:g}")
    # One row of weights a point, over all labels, summing to 1
    labels = tuple(dict.fromkeys(label for *_, weights in points for label in weights))
    rows = [[weights.get(label, 0.0) for label in labels] for *_, weights in points]
    return EmotionTrack(
        labels,
        tuple(time for _, time, _ in points),
        tuple(tuple(weight / math.fsum(row) for weight in row) for row in rows),
        tp.cast(Interpolation, interpolation),
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


def _read_json(path: Path) -> tuple[list[Point], str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error}") from None
    record = _record(record, "the file", ("points",), ("interpolation",))
    if not isinstance(record["points"], list):
        raise ValueError("points is no list")
    points = [_json_point(f"point {k}", one) for k, one in enumerate(record["points"], 1)]
    return points, str(record.get("interpolation", "smooth"))


def _json_point(where: str, found: tp.Any) -> Point:
    point = _record(found, where, ("time", "weights"))
    if not isinstance(point["weights"], dict):
        raise ValueError(f'{where}: weights is no record, such as {{"happy": 1}}')
    weights = {
        label.strip(): _number(weight, f"{where}: the weight of {label!r}")
        for label, weight in point["weights"].items()
    }
    return where, _number(point["time"], f"{where}: the time"), weights


def _record(
    found: tp.Any, where: str, needed: Sequence[str], free: Sequence[str] = ()
) -> dict[str, tp.Any]:
    """Return a JSON record that has the keys needed and no others than those."""
    if not isinstance(found, dict):
        kind = "a list" if isinstance(found, list) else repr(found)
        raise ValueError(f"{where} is {kind}, wanted a record with {', '.join(needed)}")
    keys = set(found)
    if not set(needed) <= keys <= {*needed, *free}:
        held = ", ".join(sorted(keys)) or "none of them"
        raise ValueError(f"{where} holds {held}; wanted {', '.join((*needed, *free))}")
    return found


def _number(found: tp.Any, what: str) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError(f"{what} is {found!r}, wanted a number")
    return float(found)


def _read_csv(path: Path) -> tuple[list[Point], str]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            rows = [(f"line {reader.line_num}", cells) for cells in reader if any(cells)]
        except csv.Error as error:
            raise ValueError(f"no CSV: {error}") from None
    labels = header[1:]
    if header[:1] != ["time"] or not all(labels) or len(set(labels)) != len(labels) or not labels:
        raise ValueError(
            f"the header is {','.join(header)!r}, wanted time and labels, such as time,happy,sad"
        )
    return [_csv_point(where, header, cells) for where, cells in rows], "smooth"


def _csv_point(where: str, header: Sequence[str], cells: Sequence[str]) -> Point:
    if len(cells) != len(header):
        raise ValueError(f"{where} has {len(cells)} cells, wanted {len(header)}")
    numbers = [_cell(where, name, cell) for name, cell in zip(header, cells, strict=True)]
    return where, numbers[0], dict(zip(header[1:], numbers[1:], strict=True))


def _cell(where: str, column: str, cell: str) -> float:
    text = cell.strip()
    if not text and column != "time":
        return 0.0
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{where}: {column} is {cell!r}, wanted a number") from None
