"""Lids, eyeballs and brows, built for the right half of the picture and mirrored."""

import numpy as np

from affekt.arrays import Array
from data_prep.mini.head.mesh import SKULL, Part, flipped, mirrored, relief, sheet, smoothstep

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
    """Lid points (rings, columns, 3) for lid heights: from the margin to the rim."""
    t = np.array(RINGS)[:, None]
    xy = _margin(upper, lower)[:, :2] * (1 - t[..., None]) + socket() * t[..., None]
    points, lid = skin_point(xy[..., 0], xy[..., 1]), _on_ellipsoid(xy, LID)
    merge = smoothstep(0.25, 1.0, t)
    points[..., 2] = lid[..., 2] * (1 - merge) + points[..., 2] * merge + 0.16 * _crease(t)
    return points


def _crease(t: Array) -> Array:
    """Depth (rings, columns) in [0, 1] of the fold over the upper lid."""
    u, side = lid_columns()
    return np.exp(-(((t - 0.36) / 0.09) ** 2)) * (side < 0) * (1 - u**4)


def eyelids() -> tuple[Part, slice]:
    """The lid patch, and the slice of its points that are the rim of the socket."""
    _, side = lid_columns()
    t = np.array(RINGS)[:, None]
    shade = 0.55 * _crease(t) + 0.12 * (1 - t) * (side < 0)
    lash = (side < 0) * (t <= 0.07) + 0.35 * (side > 0) * (t == 0)
    neutral = _patch(UPPER_LID, LOWER_LID)
    part = sheet(neutral, "skin", {"shade": shade, "lash": lash}, closed=True)
    part.triangles, part.soft = flipped(part.triangles), True
    meeting = 0.8 * LOWER_LID  # closed lids meet low in the opening
    heights = {
        "blink": (-meeting, meeting + 0.02),
        "lid_raise": (UPPER_LID + 0.34, LOWER_LID + 0.06),
        "squint": (UPPER_LID - 0.10, LOWER_LID - 0.26),
    }
    part.modes = {name: (_patch(*lids) - neutral).reshape(-1, 3) for name, lids in heights.items()}
    return part, slice(len(part.points) - COLUMNS, len(part.points))


def eyeballs() -> list[Part]:
    """White and iris of both eyes, with the gaze modes."""
    white, iris = _white(), _iris()
    parts = [white, mirrored(white), iris, mirrored(iris)]
    for part in parts[2:]:
        away = np.zeros((len(part.points), 3))
        part.modes["gaze_x"] = away + np.array([0.42, 0.0, 0.03])
        part.modes["gaze_y"] = away + np.array([0.0, 0.32, 0.03])
    return parts


def _disc(radii: Array, columns: int) -> Array:
    """Flat rings (rings, columns, 2) around the origin."""
    angle = 2 * np.pi * np.arange(columns) / columns
    return radii[:, None, None] * np.stack([np.cos(angle), -np.sin(angle)], axis=-1)


def _white() -> Part:
    radii = np.linspace(0.02, 0.97, 6)
    points = _on_ellipsoid(EYE + _disc(radii, 24) * EYEBALL[:2], EYEBALL)
    shade = smoothstep(0.55, 1.0, radii)[:, None] * 0.5
    return sheet(points, "white", {"shade": shade}, closed=True)


def _iris() -> Part:
    radii = np.array([0.0, 0.42, 0.44, 0.82, 0.88, 1.0])
    points = _on_ellipsoid(EYE + _disc(radii * IRIS_RADIUS, 28), EYEBALL + 0.03)
    over = {"iris": radii[:, None] >= 0.44, "iris_rim": radii[:, None] >= 0.88}
    return sheet(points, "pupil", over, closed=True)


def sparks() -> list[Part]:
    """The light reflected by each eye: a small bright disc, on the same side in both."""
    disc = 0.13 * _disc(np.array([0.01, 1.0]), 10)
    depth = np.full((*disc.shape[:2], 1), EYEBALL_Z - EYEBALL[2] - 0.08)
    centres = (np.array([side * EYE[0] - 0.2, -0.2]) for side in (-1, 1))
    return [
        sheet(np.concatenate([centre + disc, depth], axis=-1), "spark", closed=True)
        for centre in centres
    ]


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
    profile = np.array([-1.15, -0.85, 0.0, 0.85, 1.15])[:, None]
    ys = y + profile * half
    points = skin_point(np.broadcast_to(x, ys.shape), ys)
    points[..., 2] -= np.array([0.02, 0.09, 0.13, 0.09, 0.02])[:, None]
    ink = np.array([0.0, 1.0, 1.0, 1.0, 0.0])[:, None]
    thick = np.zeros_like(points)
    thick[..., 1] = profile * half * 0.16
    part = sheet(points, "skin", {"brow": ink})
    part.soft, part.modes = True, {"brow_thickness": thick.reshape(-1, 3)}
    return part
