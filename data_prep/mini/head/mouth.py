"""Lips, teeth, tongue and the dark behind them."""

import numpy as np

from affekt.arrays import Array
from data_prep.mini.head.eyes import skin_point
from data_prep.mini.head.mesh import Part, sheet, smoothstep

SLIT_Y = 7.55  # height of the closed mouth, cm
HALF_WIDTH = 2.55
UPPER_LIP, LOWER_LIP = 0.66, 0.86  # thickness at the middle, cm
COLUMNS = 48  # around the mouth
# share of the way from the outer border to the slit, then steps back behind it in cm
RINGS = (0.0, 0.10, 0.30, 0.55, 0.80, 1.0)
INSIDE = (0.30, 0.75)


def jaw_weight(x: Array, y: Array) -> Array:
    """Share of the jaw's motion at a frontal position: 0 above the slit, 1 below.

    The step is sharp between the lips and spreads in the cheek.
    """
    spread = 0.12 + 1.5 * smoothstep(1.6, 5.5, np.abs(x))
    return smoothstep(-spread, spread, y - SLIT_Y)


def lip_columns() -> tuple[Array, Array]:
    """u in [-1, 1] across the mouth and side (-1 upper, +1 lower), clockwise from the left."""
    angle = 2 * np.pi * np.arange(COLUMNS) / COLUMNS
    return -np.cos(angle), np.where(angle < np.pi, -1.0, 1.0)


def _borders() -> tuple[Array, Array]:
    """Outer border and slit, (COLUMNS, 2) each."""
    u, side = lip_columns()
    arch = (1 - np.abs(u) ** 2.0) ** 0.85
    bow = 0.12 * np.exp(-((u / 0.13) ** 2)) - 0.05 * np.exp(-(((np.abs(u) - 0.3) / 0.2) ** 2))
    upper = -UPPER_LIP * arch + bow
    lower = LOWER_LIP * arch
    slit = SLIT_Y + 0.06 * np.cos(np.pi * u) * (1 - u * u) + 0.05 * u * u
    x = u * HALF_WIDTH
    outer = np.stack([x, SLIT_Y + 0.05 * u * u + np.where(side < 0, upper, lower)], axis=-1)
    return outer, np.stack([x, slit], axis=-1)


def lips() -> tuple[Part, slice]:
    """The lip patch, and the slice of its points that are its outer border."""
    outer, slit = _borders()
    u, side = lip_columns()
    # Rings from the border to the slit, then the inside behind it
    t = np.array(RINGS)[:, None]
    xy = outer * (1 - t[..., None]) + slit * t[..., None]
    points = skin_point(xy[..., 0], xy[..., 1])
    fullness = np.where(side < 0, 0.30, 0.42)
    points[..., 2] -= fullness * (1 - u**4) * np.sin(np.pi * (0.08 + 0.72 * t)) * (t > 0)
    behind = np.cumsum(INSIDE)[:, None, None] * np.array([0.0, 0.0, 1.0])
    points = np.concatenate([points, points[-1] + behind])
    ring = np.arange(len(points))[:, None]
    inner = np.select([ring < len(RINGS) - 1, ring < len(RINGS)], [0.0, 0.6], 1.0)
    # The jaw's share
    lip_side = side * (1 - np.abs(u) ** 2.4) ** 0.75  # -1 upper, +1 lower lip, 0 at the corners
    jaw = np.tile(0.5 + 0.5 * lip_side, (len(points), 1))
    jaw[0] = 0.5 * (jaw[0] + jaw_weight(*points[0, :, :2].T))
    part = sheet(points, "lip", {"skin": ring == 0, "inner_lip": inner}, closed=True, jaw=jaw)
    part.soft = True
    return part, slice(0, COLUMNS)


def inside_mouth() -> list[Part]:
    """Cavity, tongue and both rows of teeth."""
    return [_cavity(), _teeth(-1.0), _teeth(1.0), _tongue()]


def _cavity() -> Part:
    x, y = np.meshgrid(np.linspace(-3.0, 3.0, 7), np.linspace(SLIT_Y - 1.3, SLIT_Y + 1.2, 6))
    points = np.stack([x, y, np.full(x.shape, -6.4)], axis=-1)
    return sheet(points, "cavity", jaw=np.linspace(0, 1, 6)[:, None])


def _teeth(side: float) -> Part:
    top, bottom = (SLIT_Y - 0.95, SLIT_Y + 0.08) if side < 0 else (SLIT_Y + 0.34, SLIT_Y + 1.1)
    x, y = np.meshgrid(np.linspace(-1.9, 1.9, 15), np.linspace(top, bottom, 5))
    z = -8.75 + 0.24 * x * x + (0.25 if side > 0 else 0.0)
    points = np.stack([x, y + 0.10 * (np.abs(x) / 1.9) ** 2 * side, z], axis=-1)
    dark = smoothstep(0.9, 1.9, np.abs(x)) * 0.6
    return sheet(points, "teeth", {"cavity": dark}, jaw=float(side > 0))


def _tongue() -> Part:
    x, y = np.meshgrid(np.linspace(-1.6, 1.6, 9), np.linspace(SLIT_Y + 0.24, SLIT_Y + 1.3, 6))
    z = -8.0 + 0.30 * x * x - 0.4 * (y - SLIT_Y)
    return sheet(np.stack([x, y, z], axis=-1), "tongue", jaw=0.85)
