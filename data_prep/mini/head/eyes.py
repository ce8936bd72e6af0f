"""Lids, eyeballs and brows, built for the right half of the picture and mirrored."""

import numpy as np

from affekt.arrays import Array
from data_prep.mini.head.mesh import (
    SKULL,
    Part,
    flipped,
    grid,
    mirrored,
    mixed,
    relief,
    smoothstep,
    solid,
)

EYE = np.array([3.15, 0.0])  # centre of the right eye, cm
EYE_HALF_WIDTH = 1.50
EYEBALL = np.array([1.80, 1.25, 1.20])  # semi-axes, wider than a ball to fill the corners
LID = EYEBALL + np.array([0.14, 0.18, 0.20])
EYEBALL_Z = -6.35
IRIS_RADIUS = 0.60
UPPER_LID, LOWER_LID = 0.52, 0.42  # heights over and under the line of the corners, cm
COLUMNS = 32  # around the eye opening
RINGS = (0.0, 0.07, 0.16, 0.28, 0.42, 0.58, 0.78, 1.0)  # lid margin to rim of the socket


def skin_point(x: Array, y: Array) -> Array:
    """Points (V, 3) of the neutral face at frontal positions, relief included."""
    points = SKULL.front(x, y)
    points[..., 2] -= relief(points)
    return points


def lid_line(u: Array, height: float) -> Array:
    """Height over the corner line at u in [-1, 1] across the eye; the outer corner sits higher."""
    arch = (1 - np.abs(u) ** 2.4) ** 0.8
    return -height * arch - 0.10 * u


def lid_columns() -> tuple[Array, Array]:
    """u in [-1, 1] and side (-1 upper, +1 lower) of the columns, from the inner corner."""
    angle = 2 * np.pi * np.arange(COLUMNS) / COLUMNS
    u = -np.cos(angle)
    return u * (1 - 0.12 * (1 - u * u)), np.where(angle <= np.pi, -1.0, 1.0)


def _on_ellipsoid(xy: Array, axes: Array) -> Array:
    across = (xy - EYE) / axes[:2]
    depth = np.sqrt(np.clip(1 - np.square(across).sum(axis=-1), 0.05, None))
    return np.concatenate([xy, (EYEBALL_Z - axes[2] * depth)[..., None]], axis=-1)


def _margin(upper: float, lower: float) -> Array:
    """Lid margin (COLUMNS, 3) for given lid heights; the lids lie on the lid ellipsoid."""
    u, side = lid_columns()
    y = np.where(side < 0, lid_line(u, upper), lid_line(u, -lower))
    xy = EYE + np.stack([u * EYE_HALF_WIDTH, y], axis=-1)
    return _on_ellipsoid(xy, LID)


def socket() -> Array:
    """Rim (COLUMNS, 2) of the lid patch, where it joins the face."""
    u, side = lid_columns()
    angle = np.arccos(np.clip(-u, -1, 1)) * -side
    return np.stack(
        [EYE[0] + 0.05 - 2.2 * np.cos(angle), EYE[1] - 0.12 - 1.42 * np.sin(angle)], axis=-1
    )


def _patch(upper: float, lower: float) -> Array:
    """Lid points (rings x columns, 3) for lid heights: from the margin to the rim."""
    margin, rim = _margin(upper, lower), socket()
    rings = []
    for t in RINGS:
        xy = margin[:, :2] * (1 - t) + rim * t
        points, lid = skin_point(xy[:, 0], xy[:, 1]), _on_ellipsoid(xy, LID)
        merge = smoothstep(0.25, 1.0, np.array(t))
        points[:, 2] = lid[:, 2] * (1 - merge) + points[:, 2] * merge
        points[:, 2] += 0.16 * _crease(t)
        rings.append(points)
    return np.concatenate(rings)


def _crease(t: float) -> Array:
    """Depth (COLUMNS,) in [0, 1] of the fold over the upper lid."""
    u, side = lid_columns()
    return np.exp(-(((t - 0.36) / 0.09) ** 2)) * (side < 0) * (1 - u**4)


def eyelids() -> tuple[Part, slice]:
    """The lid patch, and the slice of its points that are the rim of the socket."""
    _, side = lid_columns()
    paints = []
    for t in RINGS:
        lash = (side < 0) * (1.0 if t <= 0.07 else 0.0) + (side > 0) * (0.35 if t == 0 else 0.0)
        shade = 0.55 * _crease(t) + 0.12 * (1 - t) * (side < 0)
        paints.append(mixed(mixed(solid(COLUMNS, "skin"), "shade", shade), "lash", lash))
    neutral = _patch(UPPER_LID, LOWER_LID)
    meeting = 0.8 * LOWER_LID  # closed lids meet low in the opening
    part = Part(
        neutral,
        flipped(grid(len(RINGS), COLUMNS, closed=True)),
        np.concatenate(paints),
        np.zeros(len(neutral)),
        soft=True,
        modes={
            "blink": _patch(-meeting, meeting + 0.02) - neutral,
            "lid_raise": _patch(UPPER_LID + 0.34, LOWER_LID + 0.06) - neutral,
            "squint": _patch(UPPER_LID - 0.10, LOWER_LID - 0.26) - neutral,
        },
    )
    return part, slice(len(neutral) - COLUMNS, len(neutral))


def eyeballs() -> list[Part]:
    """White and iris of both eyes, with the gaze modes."""
    white, iris = _white(), _iris()
    parts = [white, mirrored(white), iris, mirrored(iris)]
    for part in parts[2:]:
        away = np.zeros((len(part.points), 3))
        part.modes["gaze_x"] = away + np.array([0.42, 0.0, 0.03])
        part.modes["gaze_y"] = away + np.array([0.0, 0.32, 0.03])
    return parts


def _white() -> Part:
    columns, rings = 24, 6
    angle = 2 * np.pi * np.arange(columns) / columns
    radius = np.linspace(0.02, 0.97, rings)
    offset = np.stack([np.cos(angle), -np.sin(angle)], axis=-1) * EYEBALL[:2]
    xy = (EYE + radius[:, None, None] * offset).reshape(-1, 2)
    points = _on_ellipsoid(xy, EYEBALL)
    shade = np.repeat(smoothstep(0.55, 1.0, radius) * 0.5, columns)
    paint = mixed(solid(len(points), "white"), "shade", shade)
    return Part(points, grid(rings, columns, closed=True), paint, np.zeros(len(points)))


def _iris() -> Part:
    columns = 28
    angle = 2 * np.pi * np.arange(columns) / columns
    rings = (
        (0.0, "pupil"), (0.42, "pupil"), (0.44, "iris"), (0.82, "iris"),
        (0.88, "iris_rim"), (1.0, "iris_rim"),
    )  # fmt: skip
    circle = np.stack([np.cos(angle), -np.sin(angle)], axis=-1)
    radii = np.array([radius for radius, _ in rings]) * IRIS_RADIUS
    xy = (EYE + radii[:, None, None] * circle).reshape(-1, 2)
    points = _on_ellipsoid(xy, EYEBALL + 0.03)
    paint = np.concatenate([solid(columns, material) for _, material in rings])
    return Part(points, grid(len(rings), columns, closed=True), paint, np.zeros(len(points)))


def sparks() -> list[Part]:
    """The light reflected by each eye: a small bright disc, on the same side in both."""
    columns = 10
    angle = 2 * np.pi * np.arange(columns) / columns
    circle = 0.13 * np.stack([np.cos(angle), -np.sin(angle)], axis=-1)
    parts = []
    for side in (-1, 1):
        centre = np.array([side * EYE[0] - 0.2, -0.2])
        rim = np.concatenate([centre + 0.01 * circle, centre + circle])
        depth = np.full((len(rim), 1), EYEBALL_Z - EYEBALL[2] - 0.08)
        points = np.concatenate([rim, depth], axis=1)
        paint = solid(len(points), "spark")
        parts.append(Part(points, grid(2, columns, closed=True), paint, np.zeros(len(points))))
    return parts


# middle line of the brow: x, y, half thickness
BROW_LINE = (
    (1.05, -2.10, 0.27), (1.9, -2.38, 0.31), (3.0, -2.62, 0.28),
    (4.2, -2.58, 0.21), (5.25, -2.12, 0.10),
)  # fmt: skip


def brow() -> Part:
    """The right brow: a strip a little in front of the skin, soft at its edges."""
    line = np.array(BROW_LINE)
    along = np.linspace(0, 1, 20)
    knots = np.linspace(0, 1, len(line))
    fit = np.polynomial.polynomial.polyfit(knots, line, 3)
    x, y, half = np.polynomial.polynomial.polyval(along, fit)
    half = np.clip(half, 0.06, None) * smoothstep(-0.12, 0.10, along)
    profile = np.array([-1.15, -0.85, 0.0, 0.85, 1.15])
    xs = np.tile(x, len(profile))
    ys = (y + profile[:, None] * half).reshape(-1)
    points = skin_point(xs, ys)
    points[:, 2] -= np.repeat([0.02, 0.09, 0.13, 0.09, 0.02], len(x))
    ink = np.repeat([0.0, 1.0, 1.0, 1.0, 0.0], len(x))
    thick = np.zeros_like(points)
    thick[:, 1] = np.repeat(profile, len(x)) * np.tile(half, len(profile)) * 0.16
    return Part(
        points,
        grid(len(profile), len(x)),
        mixed(solid(len(points), "skin"), "brow", ink),
        np.zeros(len(points)),
        soft=True,
        modes={"brow_thickness": thick},
    )
