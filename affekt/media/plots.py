"""Plots: training curves, time series, scatter plots, labelled strips of frames."""

import itertools
import typing as tp
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from affekt.arrays import Array, Image
from affekt.media.constants import FRAME_RATE
from affekt.runtime.files import read_jsonl, replacing

LABEL_HEIGHT = 22  # pixels above a labelled frame
MARKS = "osD^vPX*<>"  # of kinds of points; matplotlib's names
OKABE_ITO = (  # distinct without colour vision too (Okabe and Ito 2008, Color Universal Design)
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#000000",
)


def pyplot() -> tp.Any:
    """Return matplotlib.pyplot, which is imported with the first plot; it needs no display."""
    import matplotlib as mpl

    mpl.use("Agg")  # pictures go to files
    from matplotlib import pyplot as plt

    return plt


def curves(path: Path, runs: Mapping[str, Path], key: str = "total") -> None:
    """Plot one metric of metrics.jsonl for several runs over their steps, each in its own panel."""
    plt = pyplot()
    columns = min(3, len(runs))
    rows = -(-len(runs) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4 * columns, 2.6 * rows), squeeze=False)
    for axis in axes.flat[len(runs) :]:
        axis.axis("off")
    for axis, (name, run) in zip(axes.flat, runs.items(), strict=False):
        points = [row for row in read_jsonl(run / "metrics.jsonl") if key in row]
        axis.plot([row["step"] for row in points], [row[key] for row in points], linewidth=1)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    save(figure, path)


def tracks(path: Path, title: str, lines: Mapping[str, Array], stride: int = 1) -> None:
    """Plot series of one clip over its seconds, each (T,), a value every `stride` frames."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(9, 2.6))
    for name, values in lines.items():
        seconds = stride * np.arange(len(values)) / FRAME_RATE
        axis.plot(seconds, values, label=name, linewidth=1.2)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("seconds", fontsize=8)
    axis.legend(fontsize=8, ncols=min(5, len(lines)))
    axis.grid(alpha=0.3)
    save(figure, path)


def clouds(
    path: Path,
    panels: Mapping[str, Array],
    colours: Sequence[str],
    marks: Sequence[str],
    outlined: Sequence[bool] | None = None,
    title: str = "",
) -> None:
    """Plot points (N, 2) in a panel for each name, a colour and a mark for each kind of point.

    Args:
        path: the PNG file.
        panels: by title; the same N points in each.
        colours: what colour the points have, N names, such as emotions; up to 8 are distinct
            without colour vision, beyond 20 they repeat.
        marks: what mark, N names, such as speakers; beyond `MARKS` they repeat.
        outlined: which of the N are outlined, in front of the others, which are paler.
        title: above all panels; what the points are.
    """
    plt = pyplot()
    # A colour for each kind, a marker for each maker
    kinds, makers = sorted(set(colours)), sorted(set(marks))
    hues: Sequence[tp.Any] = OKABE_ITO
    if len(kinds) > len(hues):
        hues = [plt.get_cmap("tab20")(place) for place in range(20)]
    inks = {kind: hues[i % len(hues)] for i, kind in enumerate(kinds)}
    shapes = {maker: MARKS[i % len(MARKS)] for i, maker in enumerate(makers)}
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 4.2), squeeze=False)
    front = np.zeros(len(colours), bool) if outlined is None else np.asarray(outlined, bool)
    # One panel a name: outlined points in front of the others
    for axis, (name, points) in zip(axes.flat, panels.items(), strict=True):
        for kind, maker in itertools.product(kinds, makers):
            mine = (np.asarray(colours) == kind) & (np.asarray(marks) == maker)
            style = {"s": 34, "color": inks[kind], "marker": shapes[maker], "linewidths": 0}
            pale = 0.8 if outlined is None else 0.35
            axis.scatter(*points[mine & ~front].T, **style, alpha=pale)
            style |= {"edgecolors": "black", "linewidths": 0.9, "zorder": 3}
            axis.scatter(*points[mine & front].T, **style)
        axis.set_title(name, fontsize=10)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    # One legend for all panels, below them
    legend = [axes[0, 0].plot([], [], "s", color=ink)[0] for ink in inks.values()]
    legend += [axes[0, 0].plot([], [], shape, color="0.3")[0] for shape in shapes.values()]
    names, columns = [*kinds, *makers], min(6, len(kinds) + len(makers))
    rows = -(-len(names) // columns)
    figure.legend(legend, names, fontsize=8, ncols=columns, loc="lower center")
    figure.suptitle(title, fontsize=11)
    save(figure, path, below=0.05 * rows)


def save(figure: tp.Any, path: Path, below: float = 0.0) -> None:
    """Write a matplotlib figure as a PNG file and close it; a share of it `below` stays free."""
    figure.tight_layout(rect=(0, below, 1, 1))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    pyplot().close(figure)


def enlarged(frame: Image, size: int) -> Image:
    """Return a frame as a square of `size` pixels a side."""
    return np.asarray(cv2.resize(frame, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


def labelled(frame: Image, text: str) -> Image:
    """Return the frame with its name on a strip above it."""
    strip = np.zeros((LABEL_HEIGHT, frame.shape[1], 3), np.uint8)
    scale = 0.45 * min(1.0, frame.shape[1] / (10 * max(1, len(text))))
    colour = (255, 255, 255)
    cv2.putText(strip, text, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
    return np.concatenate([strip, frame])


def labelled_row(frames: Sequence[Image], texts: Sequence[str], size: int) -> Image:
    """Return labelled frames side by side, each a square of `size` pixels a side."""
    pairs = zip(frames, texts, strict=True)
    return np.concatenate([labelled(enlarged(f, size), t) for f, t in pairs], axis=1)


def write_png(path: Path, image: Image) -> None:
    """Write an RGB picture."""
    with replacing(path) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
