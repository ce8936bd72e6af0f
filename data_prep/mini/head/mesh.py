"""Meshes: bare head and torso as surfaces, and parts with points, triangles, paint and modes.

Head and torso are stacks of horizontal ellipses, a front outline and a side outline. A surface
point is (theta, row): theta is the angle around the vertical axis (0 looks at the viewer, positive
to the image right), row the position along the outline from crown (0) to chin (1). All numbers are
in centimetres and ours; proportions follow an average adult head.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from affekt.arrays import Array

# height y, half width, front z, back z
SKULL_OUTLINE = (
    (-11.5, 0.0, 0.6, 0.6),
    (-11.25, 2.5, -2.4, 3.4),
    (-10.5, 4.4, -4.7, 5.5),
    (-9.3, 5.8, -6.5, 7.2),
    (-7.4, 6.8, -8.0, 8.7),
    (-5.0, 7.3, -8.9, 9.5),
    (-2.5, 7.4, -9.2, 9.6),
    (0.0, 7.15, -8.9, 9.2),
    (2.5, 6.85, -8.85, 8.0),
    (5.3, 6.45, -9.1, 5.5),
    (7.6, 5.8, -9.35, 2.5),
    (9.0, 5.1, -9.2, -0.5),
    (10.4, 3.9, -9.3, -3.2),
    (11.25, 2.4, -8.9, -5.0),
    (11.6, 1.0, -8.2, -6.4),
    (11.65, 0.0, -7.4, -7.4),
)
TORSO_OUTLINE = (
    (4.0, 4.2, -2.0, 6.0),
    (9.0, 4.2, -2.3, 6.2),
    (12.5, 4.3, -2.8, 6.6),
    (14.5, 5.1, -3.3, 7.0),
    (15.6, 7.2, -3.9, 7.2),
    (16.6, 10.4, -4.6, 7.4),
    (17.8, 14.0, -5.4, 7.7),
    (19.5, 16.6, -6.4, 8.0),
    (22.0, 18.0, -7.4, 8.4),
    (30.0, 19.0, -8.0, 9.0),
)


@dataclass(frozen=True)
class Outline:
    """A stack of ellipses given by rows of (y, half width, front z, back z)."""

    rows: tuple[tuple[float, float, float, float], ...]

    @cached_property
    def _curve(self) -> PchipInterpolator:
        table = np.array(self.rows)
        steps = np.linalg.norm(np.diff(table[:, :3], axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(steps)])
        return PchipInterpolator(along / along[-1], table)

    @cached_property
    def _rows_of_heights(self) -> tuple[Array, Array]:
        rows = np.linspace(0, 1, 2001)
        return np.asarray(self._curve(rows)[:, 0]), rows

    def row_at(self, y: Array) -> Array:
        """Row of a height; heights beyond the ends get the end."""
        heights, rows = self._rows_of_heights
        return np.interp(y, heights, rows)

    def half_width(self, y: Array) -> Array:
        """Half width in cm at a height."""
        return self._curve(self.row_at(y))[..., 1]

    def point(self, theta: Array, row: Array) -> Array:
        """Points (..., 3) of the surface at (theta, row)."""
        theta, row = np.broadcast_arrays(theta, row)
        y, width, front, back = np.moveaxis(self._curve(row), -1, 0)
        middle, depth = (front + back) / 2, (back - front) / 2
        return np.stack([width * np.sin(theta), y, middle - depth * np.cos(theta)], axis=-1)

    def locate(self, x: Array, y: Array) -> tuple[Array, Array]:
        """(theta, row) of the front surface behind the frontal position (x, y)."""
        row = self.row_at(y)
        width = np.maximum(self._curve(row)[..., 1], 1e-6)
        return np.arcsin(np.clip(x / width, -1, 1)), row

    def front(self, x: Array, y: Array) -> Array:
        """Points (..., 3) of the front surface at frontal positions (x, y)."""
        return self.point(*self.locate(x, y))


SKULL = Outline(SKULL_OUTLINE)
TORSO = Outline(TORSO_OUTLINE)


def bump(points: Array, centre: tuple[float, ...], radii: tuple[float, ...]) -> Array:
    """Gaussian weight (V,) of points (V, 3) around a centre, in as many axes as are given."""
    axes = len(centre)
    scaled = (points[..., :axes] - np.array(centre)) / np.array(radii)
    return np.exp(-np.square(scaled).sum(axis=-1))


def both_sides(points: Array, centre: tuple[float, ...], radii: tuple[float, ...]) -> Array:
    """`bump` at the centre and at its mirror image."""
    mirrored = (-centre[0], *centre[1:])
    return bump(points, centre, radii) + bump(points, mirrored, radii)


def smoothstep(low: float | Array, high: float | Array, value: Array) -> Array:
    """0 below low, 1 above high, smooth between."""
    t = np.clip((value - low) / (np.asarray(high) - low), 0, 1)
    return t * t * (3 - 2 * t)


def relief(points: Array) -> Array:
    """Height (V,) towards the viewer of nose, brow ridge, cheeks, muzzle and chin over the skull.

    Eye sockets and the groove under the lips are negative.
    """
    x, y = points[..., 0], points[..., 1]
    height = 0.30 * both_sides(points, (2.6, -2.2), (2.4, 0.9))
    height -= 0.55 * both_sides(points, (3.1, 0.3), (1.6, 1.1))
    height += 0.30 * both_sides(points, (4.2, 3.2), (1.7, 1.6))
    height += 0.35 * bump(points, (0.0, 7.3), (2.4, 1.7))
    height -= 0.22 * bump(points, (0.0, 9.05), (1.5, 0.40))
    height += 0.28 * bump(points, (0.0, 10.4), (1.4, 0.9))
    height -= 0.12 * both_sides(points, (2.6, 5.6), (0.7, 1.2))  # fold from nose to mouth
    return height + _nose(x, y)


def _nose(x: Array, y: Array) -> Array:
    """A rounded bridge, the ball of the tip, and the wings."""
    ridge_y = (-2.2, -1.0, 0.3, 1.8, 3.2, 4.2, 4.8, 5.2, 5.5, 5.9)
    ridge_height = (0.0, 0.12, 0.40, 0.92, 1.50, 1.72, 1.45, 0.85, 0.35, 0.0)
    ridge_width = (1.3, 1.0, 0.92, 0.95, 1.02, 1.10, 1.10, 0.95, 0.7, 0.6)
    height = PchipInterpolator(ridge_y, ridge_height)(np.clip(y, ridge_y[0], ridge_y[-1]))
    width = PchipInterpolator(ridge_y, ridge_width)(np.clip(y, ridge_y[0], ridge_y[-1]))
    ridge = height * np.exp(-(np.abs(x / width) ** 2.0))
    points = np.stack([x, y], axis=-1)
    ball = 0.50 * bump(points, (0.0, 4.25), (0.85, 0.75))
    wings = 0.80 * both_sides(points, (1.28, 4.72), (0.52, 0.55))
    return ridge + ball + wings


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
    follow: Array  # (V,) 1 turns with the head, 0 stays with the body
    soft: bool = False  # skin: follows the expression fields
    modes: dict[str, Array] = field(default_factory=dict)


def solid(count: int, material: str) -> Array:
    """Paint of one material for `count` points."""
    paint = np.zeros((count, len(MATERIALS)))
    paint[:, COLUMN[material]] = 1
    return paint


def mixed(base: Array, material: str, weight: Array) -> Array:
    """Paint `base` with a share `weight` (V,) of a material over it."""
    share = np.clip(weight, 0, 1)[:, None]
    return base * (1 - share) + solid(len(base), material) * share


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


def sheet(
    points: Array,
    base: str,
    over: Mapping[str, Array | float] | None = None,
    *,
    closed: bool = False,
    jaw: Array | float = 0.0,
    follow: Array | float = 1.0,
) -> Part:
    """A part of a grid of points (rows, columns, 3), see `grid`.

    `base` is its material, `over` the shares of others over it; these, `jaw` and `follow` are
    broadcast to (rows, columns).
    """
    shape = points.shape[:2]
    paint = solid(shape[0] * shape[1], base)
    for material, share in (over or {}).items():
        paint = mixed(paint, material, np.broadcast_to(share, shape).reshape(-1))
    jaw, follow = (np.broadcast_to(value, shape).reshape(-1) for value in (jaw, follow))
    return Part(points.reshape(-1, 3), grid(*shape, closed=closed), paint, jaw, follow)


def mirrored(part: Part) -> Part:
    """The part on the other side of the face."""
    flip = np.array([-1.0, 1.0, 1.0])
    modes = {name: mode * flip for name, mode in part.modes.items()}
    triangles = flipped(part.triangles)
    return replace(part, points=part.points * flip, triangles=triangles, modes=modes)


def joined(parts: Sequence[Part]) -> Part:
    """One part of all; a mode that a part does not have is zero there."""
    starts = np.cumsum([0] + [len(part.points) for part in parts])
    modes = {name: np.zeros((starts[-1], 3)) for part in parts for name in part.modes}
    for part, start in zip(parts, starts, strict=False):
        for name, mode in part.modes.items():
            modes[name][start : start + len(mode)] = mode
    triangles = [part.triangles + start for part, start in zip(parts, starts, strict=False)]
    return Part(
        np.concatenate([part.points for part in parts]),
        np.concatenate(triangles).astype(np.int32),
        np.concatenate([part.paint for part in parts]),
        np.concatenate([part.jaw for part in parts]),
        np.concatenate([part.follow for part in parts]),
        modes=modes,
    )
