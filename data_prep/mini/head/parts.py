"""Pieces of a mesh: points, triangles, paint and how they move."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data_prep.mini.head.surface import Array

Triangles = NDArray[np.int32]

MATERIALS = (
    "skin", "blush", "shade", "lip", "inner_lip", "lash", "brow",
    "white", "iris", "iris_rim", "pupil", "spark",
    "cavity", "teeth", "tongue", "hair", "hair_dark", "shirt", "shirt_dark",
)  # fmt: skip
COLUMN = {name: column for column, name in enumerate(MATERIALS)}


@dataclass
class Part:
    """A piece of the mesh; `modes` are displacements (V, 3) that only this piece has."""

    points: Array  # (V, 3) cm
    triangles: Triangles  # (F, 3)
    paint: Array  # (V, materials), rows sum to 1
    jaw: Array  # (V,) 1 moves with the lower jaw, 0 with the skull
    soft: bool = False  # skin: follows the expression fields
    follow: Array | None = None  # (V,) 1 turns with the head, 0 stays with the body; None: all 1
    modes: dict[str, Array] = field(default_factory=dict)


def solid(count: int, material: str) -> Array:
    """Paint of one material for `count` points."""
    paint = np.zeros((count, len(MATERIALS)))
    paint[:, COLUMN[material]] = 1
    return paint


def mixed(base: Array, material: str, weight: Array) -> Array:
    """Paint `base` with a share `weight` (V,) of a material over it."""
    share = np.clip(weight, 0, 1)[:, None]
    return np.asarray(base * (1 - share) + solid(len(base), material) * share)


def grid(rows: int, columns: int, *, closed: bool = False) -> Triangles:
    """Triangles of a grid of points stored row by row; `closed` joins last and first column.

    Facing the viewer when columns run to the right and rows run down.
    """
    last = columns if closed else columns - 1
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(last), indexing="ij")
    a, b = r * columns + c, r * columns + (c + 1) % columns
    quads = np.stack([a, b, b + columns, a + columns], axis=-1).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 2, 1]], quads[:, [0, 3, 2]]])
    return np.asarray(triangles, dtype=np.int32)


def flipped(triangles: Triangles) -> Triangles:
    """The same triangles seen from behind."""
    return np.ascontiguousarray(triangles[:, ::-1])


def mirrored(part: Part) -> Part:
    """The part on the other side of the face."""
    flip = np.array([-1.0, 1.0, 1.0])
    return Part(
        part.points * flip,
        flipped(part.triangles),
        part.paint,
        part.jaw,
        part.soft,
        part.follow,
        {name: mode * flip for name, mode in part.modes.items()},
    )


def joined(parts: Sequence[Part]) -> Part:
    """One part of all; a mode that a part does not have is zero there."""
    starts = np.cumsum([0] + [len(part.points) for part in parts])
    modes = {name: np.zeros((starts[-1], 3)) for part in parts for name in part.modes}
    for part, start in zip(parts, starts, strict=False):
        for name, mode in part.modes.items():
            modes[name][start : start + len(mode)] = mode
    follow = [np.ones(len(p.points)) if p.follow is None else p.follow for p in parts]
    return Part(
        np.concatenate([part.points for part in parts]),
        np.concatenate(
            [part.triangles + start for part, start in zip(parts, starts, strict=False)]
        ).astype(np.int32),
        np.concatenate([part.paint for part in parts]),
        np.concatenate([part.jaw for part in parts]),
        follow=np.concatenate(follow),
        modes=modes,
    )
