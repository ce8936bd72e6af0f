"""The skin of the head: lids and lips joined by a triangulated face, ears, neck and torso."""

from dataclasses import replace

import numpy as np
from scipy.spatial import Delaunay

from affekt.arrays import Array
from data_prep.mini.head import eyes, mouth
from data_prep.mini.head.mesh import (
    SKULL,
    TORSO,
    Outline,
    Part,
    Triangles,
    both_sides,
    bump,
    joined,
    mirrored,
    mixed,
    relief,
    sheet,
    smoothstep,
    solid,
)

DOMAIN = np.array([6.5, 32.0])  # cm of theta (radians) and of row, so that triangles keep shape
SPACING, NOSE_SPACING = 0.60, 0.30  # cm between free points


def skin() -> Part:
    """One soft part: lids, lips, and the face and skull between them."""
    # The finished patches, and their rims, which the face is joined to.
    right_lids, rim = eyes.eyelids()
    left_lids = mirrored(right_lids)
    lips, border = mouth.lips()
    patches = [right_lids, left_lids, lips]
    starts = np.cumsum([0] + [len(patch.points) for patch in patches])
    loops = [np.arange(starts[k], starts[k + 1])[part] for k, part in enumerate((rim, rim, border))]
    shared = np.concatenate(loops)
    fixed = np.concatenate([patch.points for patch in patches])
    outlines = [fixed[loop][:, :2] for loop in loops]

    # Free points over face and skull, triangulated between the rims.
    theta, row, points = _free_points(outlines)
    fixed_theta, fixed_row = SKULL.locate(fixed[shared][:, 0], fixed[shared][:, 1])
    domain = DOMAIN * np.stack([np.append(fixed_theta, theta), np.append(fixed_row, row)], axis=-1)
    ends = np.cumsum([len(loop) for loop in loops])
    triangles = _triangulate(domain, np.split(domain[: len(shared)], ends[:-1]))
    index = np.append(shared, starts[-1] + np.arange(len(points)))

    # One part of all.
    jaw = mouth.jaw_weight(points[:, 0], points[:, 1])
    between = index[triangles] - starts[-1]
    free = Part(points, between, _make_up(points), jaw, np.ones(len(points)))
    return replace(joined([*patches, free]), soft=True)


def _free_points(outlines: list[Array]) -> tuple[Array, Array, Array]:
    """theta, row and position of the points outside the outlines of eyes and mouth."""
    x, y = _hexagons((-7.5, 7.5), (-7.6, 11.4), SPACING)
    inner = np.abs(x) < 0.86 * SKULL.half_width(y)
    nose_box = (np.abs(x) < 2.1) & (y > -1.2) & (y < 6.0)
    x, y = x[inner & ~nose_box], y[inner & ~nose_box]
    nx, ny = _hexagons((-2.1, 2.1), (-1.2, 6.0), NOSE_SPACING)
    x, y = np.append(x, nx), np.append(y, ny)
    keep = np.ones(len(x), dtype=bool)
    for outline in outlines:
        centre = outline.mean(axis=0)
        keep &= ~inside(centre + 1.10 * (outline - centre), np.stack([x, y], axis=-1))
    x, y = x[keep], y[keep]
    theta, row = SKULL.locate(x, y)

    around, along = np.meshgrid(np.linspace(-np.pi, np.pi, 53), np.linspace(0, 1, 45))
    around, along = around.ravel(), along.ravel()
    at = SKULL.point(around, along)
    front = np.abs(around) < np.pi / 2
    covered = front & (at[:, 1] > -7.5) & (at[:, 1] < 11.45)
    covered &= np.abs(at[:, 0]) < 0.90 * SKULL.half_width(at[:, 1])
    theta, row = np.append(theta, around[~covered]), np.append(row, along[~covered])

    points = SKULL.point(theta, row)
    faces = np.cos(theta) > 0
    points[faces, 2] -= relief(points[faces]) * smoothstep(0.0, 0.25, np.cos(theta[faces]))
    return theta, row, points


def _hexagons(xs: tuple[float, float], ys: tuple[float, float], step: float) -> tuple[Array, Array]:
    rows = np.arange(ys[0], ys[1] + 1e-9, step * np.sqrt(3) / 2)
    columns = np.arange(0, (xs[1] - xs[0]) / 2 + 1e-9, step)
    columns = np.append(-columns[:0:-1], columns)
    x, y = np.meshgrid(columns, rows)
    x = x + np.where(np.arange(len(rows)) % 2, step / 2, 0.0)[:, None]
    return x.ravel(), y.ravel()


def inside(polygon: Array, points: Array) -> Array:
    """Whether points (N, 2) lie in a polygon (M, 2): the crossing rule."""
    x, y = points[:, 0:1], points[:, 1:2]
    x0, y0 = polygon.T
    x1, y1 = np.roll(polygon, -1, axis=0).T
    spans = (y0 > y) != (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = x < (x1 - x0) * (y - y0) / (y1 - y0) + x0
    return (spans & crossing).sum(axis=1) % 2 == 1


def _triangulate(domain: Array, holes: list[Array]) -> Triangles:
    """Triangles of the domain points outside the polygons `holes`."""
    triangles = Delaunay(domain).simplices
    centres = domain[triangles].mean(axis=1)
    triangles = triangles[~np.any([inside(hole, centres) for hole in holes], axis=0)]
    a, b, c = np.moveaxis(domain[triangles], 1, 0)
    area = np.cross(b - a, c - a)
    triangles = triangles[np.abs(area) > 1e-6]
    turned = area[np.abs(area) > 1e-6] > 0
    triangles[turned] = triangles[turned][:, ::-1]
    return np.asarray(triangles, dtype=np.int32)


def _make_up(points: Array) -> Array:
    """Paint of the face: blush on cheeks and nose, nostrils, shade under nose, lip and brows."""
    paint = solid(len(points), "skin")
    front = (points[:, 2] < -1).astype(np.float64)
    blush = 0.55 * both_sides(points, (4.1, 3.4), (1.8, 1.4)) + 0.35 * bump(
        points, (0.0, 4.2), (1.2, 0.9)
    )
    paint = mixed(paint, "blush", blush * front)
    shade = 0.30 * bump(points, (0.0, 9.0), (1.3, 0.35)) + 0.70 * both_sides(
        points, (0.60, 5.22), (0.28, 0.15)
    )
    return mixed(paint, "shade", shade * front)


def torso(collar: float, neck_width: float) -> list[Part]:
    """Neck (skin) and shirt, which stay with the body; the neck's top turns with the head."""
    theta, row = np.meshgrid(np.linspace(-np.pi, np.pi, 49), np.linspace(0, 1, 40))
    narrow = Outline(
        tuple(
            (y, width * (neck_width if y < 15 else 1.0), front, back)
            for y, width, front, back in TORSO.rows
        )
    )
    points = narrow.point(theta, row)
    shadow = (1 - smoothstep(9.5, 14.0, points[..., 1])) * 0.65
    follow = 1 - smoothstep(6.0, 15.0, points[..., 1])
    return [sheet(points, "skin", {"shade": shadow}, follow=follow), _shirt(narrow, collar)]


def _shirt(outline: Outline, collar: float) -> Part:
    rows = np.arange(26)[:, None]
    theta = np.linspace(-np.pi, np.pi, 61)
    edge = collar + 1.3 * np.cos(theta)
    y = edge + np.linspace(0, 1, len(rows))[:, None] ** 1.5 * (29.5 - edge)
    points = outline.point(np.broadcast_to(theta, y.shape), outline.row_at(y))
    out = np.where(rows == 0, -0.15, 0.38)
    side = np.stack([np.sin(theta), 0 * theta, -np.cos(theta)], axis=-1)
    points += out[..., None] * side
    points[..., 1] -= out * 0.5
    return sheet(points, "shirt", {"shirt_dark": rows <= 2}, follow=0.0)


def ear() -> Part:
    """The right ear: a flattened shell with a darker hollow."""
    columns = 20
    angle = 2 * np.pi * np.arange(columns) / columns
    radius = np.linspace(0.02, 1.0, 7)[:, None]
    narrowing = 1 - 0.28 * np.sin(angle)  # the lobe is narrower than the top
    across = radius * np.cos(angle) * 1.15 * narrowing
    down = -radius * np.sin(angle) * 2.7
    bulge = 0.55 * np.sqrt(np.clip(1 - radius**2, 0, 1)) - 0.45 * np.exp(-((radius / 0.45) ** 2))
    points = np.stack([7.25 + 0.75 * across + 0.5 * bulge, 1.2 + down - 0.2 * across,
                       0.9 + 1.0 * across * 0.8 - bulge], axis=-1)  # fmt: skip
    hollow = np.exp(-((radius / 0.5) ** 2)) * 0.6
    return sheet(points, "skin", {"shade": hollow, "blush": 0.2}, closed=True)


def ears() -> list[Part]:
    """Both ears."""
    return [ear(), mirrored(ear())]
