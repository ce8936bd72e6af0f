"""Pictures of an emotion that goes over into another: frames, and curves over the seconds.

Letters: W weights, T frames, K labels, S pixels of a side.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from affekt.arrays import Array, Image
from affekt.media.constants import FRAME_RATE
from affekt.media.faces.points import MOUTH_CORNERS, mouth_opening
from affekt.media.plots import beside, enlarged, save
from evp.analysis.emotion_path import way_gone

Measure = Callable[[Array], Array]  # faces (..., 68, 2) -> (...)

INNER_BROWS = (20, 21, 22, 23)  # the ends at the nose: up in sadness and fear, down in anger
TILE = 192  # pixels a side of a frame in a strip or video
PER_ROW = 8  # names in a row of the legend


def side_by_side(pictures: Sequence[Image], texts: Sequence[str]) -> Image:
    """Return generated frames (S, S, 3) beside each other, each with its text."""
    return beside([enlarged(each, TILE) for each in pictures], texts)


def weight_strip(
    rows: Sequence[Sequence[Image]], weights: Sequence[float], times: Sequence[int]
) -> Image:
    """Return frames as a sheet: a row for each time, a column for each weight.

    Args:
        rows: for each time W pictures (S, S, 3).
        weights: of the columns.
        times: of the rows, in frames.
    """
    texts = [f"w = {weight:g}" for weight in weights]
    lines = [
        side_by_side(row, [f"{texts[0]},  {time / FRAME_RATE:.2f} s", *texts[1:]])
        for row, time in zip(rows, times, strict=True)
    ]
    return np.concatenate(lines)


def widest(faces: Array, count: int) -> list[int]:
    """Return the frame of the widest mouth in each of `count` equal parts of a clip (T, 68, 2)."""
    opening = mouth_opening(faces)
    parts = np.array_split(np.arange(len(faces)), min(count, len(faces)))
    return [int(part[opening[part].argmax()]) for part in parts]


def draw_blend(
    path: Path,
    title: str,
    faces_WT: Array,
    weights: Sequence[float],
    truth: tuple[Array, Array],
) -> None:
    """Draw a face's tracks under each weight of a blend.

    Heights are above those of the mean true face of the first emotion; dotted are both true means.

    Args:
        path: the PNG file.
        title: above the panels.
        faces_WT: (W, T, 68, 2), pixels of the aligned face.
        weights: of the lines, from 0 to 1.
        truth: the mean true faces (68, 2) of both emotions.
    """
    panels: dict[str, Measure] = {
        "share of the true way": lambda faces: way_gone(faces, *truth),
        **_heights(truth[0]),
    }
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(weights)))
    names = [f"w = {weight:g}" for weight in weights]
    figure, axes = _panels([*panels, "mouth opening, px"], title, faces_WT.shape[1])
    for axis, measure in zip(axes, [*panels.values(), mouth_opening], strict=True):
        _lines(axis, dict(zip(names, measure(faces_WT), strict=True)), colours)
    for axis, measure in zip(axes, panels.values(), strict=False):
        for face in truth:
            axis.axhline(measure(face), color="0.4", linewidth=0.8, linestyle=":")
    _finish(figure, axes[0], path)


def draw_schedule(
    path: Path,
    title: str,
    weights_TK: Array,
    faces: Mapping[str, Array],
) -> None:
    """Draw a schedule's weights, and the face's tracks beside those of each label alone.

    Heights are above those of the first label's mean.

    Args:
        path: the PNG file.
        title: above the panels.
        weights_TK: of the labels, over the frames.
        faces: (T, 68, 2), pixels of the aligned face, under each label, K of them, and last under
            the schedule.
    """
    labels = list(faces)[:-1]
    first = faces[labels[0]].mean(axis=0)
    measures = {**_heights(first), "mouth opening, px": mouth_opening}
    palette = plt.get_cmap("tab10")
    colours = [*(palette(k % 10) for k in range(len(labels))), "black"]
    figure, axes = _panels(["weight", *measures], title, len(weights_TK))
    _lines(axes[0], dict(zip(labels, weights_TK.T, strict=True)), colours)
    for axis, measure in zip(axes[1:], measures.values(), strict=True):
        _lines(axis, {name: measure(each) for name, each in faces.items()}, colours)
    _finish(figure, axes[1], path)


def _heights(first: Array) -> dict[str, Measure]:
    """Return measures of how far a face is above another, (68, 2), in pixels."""

    def height(points: Sequence[int]) -> Measure:
        return lambda faces: (first - faces)[..., list(points), 1].mean(axis=-1)

    return {
        "inner brows, px up": height(INNER_BROWS),
        "mouth corners, px up": height(MOUTH_CORNERS),
    }


def _panels(names: Sequence[str], title: str, frames: int) -> tuple[Any, Any]:
    figure, axes = plt.subplots(len(names), figsize=(8, 1.9 * len(names)), sharex=True)
    for axis, name in zip(axes, names, strict=True):
        axis.set_ylabel(name, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    axes[0].set_title(title, fontsize=10)
    axes[-1].set_xlabel("seconds", fontsize=8)
    axes[-1].set_xlim(0, frames / FRAME_RATE)
    return figure, axes


def _lines(axis: Any, tracks: Mapping[str, Array], colours: Sequence[Any]) -> None:
    for (name, values), colour in zip(tracks.items(), colours, strict=False):
        seconds = (np.arange(len(values)) + 0.5) / FRAME_RATE
        axis.plot(seconds, values, color=colour, linewidth=1.2, label=name)


def _finish(figure: Any, named: Any, path: Path) -> None:
    """Write the picture with a legend, below it, of the lines of one panel."""
    lines, names = named.get_legend_handles_labels()
    figure.legend(lines, names, fontsize=8, ncols=PER_ROW, loc="lower center")
    save(figure, path, below=0.03 * -(-len(names) // PER_ROW))
