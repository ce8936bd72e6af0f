"""Hair as one smooth shell around the skull, in a few styles."""

from dataclasses import dataclass

import numpy as np

from affekt.arrays import Array
from data_prep.mini.head.mesh import SKULL, Part, flipped, grid, joined, mixed, smoothstep, solid

COLUMNS, ROWS = 73, 26


@dataclass(frozen=True)
class Style:
    """A cut: lengths as heights y in cm, angles in degrees from the front."""

    hairline: float = -6.7  # over the forehead
    temple: float = 58.0  # angle where the hairline turns down
    sideburn: float = 0.5  # y of the lower end before the ear
    nape: float = 5.0  # y of the lower end behind the ear
    volume: float = 0.9  # cm over the skull
    crown: float = 0.5  # more of it at the top
    parting: float = 0.0  # angle of the side part, 0 for none
    sweep: float = 0.0  # cm by which the hairline drops on one side
    curtain: bool = False  # long sides over the ears


STYLES: dict[str, Style] = {
    "short": Style(volume=0.75, crown=0.6, sideburn=0.8),
    "side_part": Style(hairline=-6.3, volume=0.9, crown=1.0, parting=-28.0, sweep=1.1),
    "crop": Style(hairline=-7.0, volume=0.45, crown=0.25, temple=56.0, sideburn=0.2),
    "bob": Style(hairline=-6.3, nape=12.0, volume=1.2, crown=0.7, temple=57.0, curtain=True,
                 parting=22.0, sweep=1.0),
    "long": Style(hairline=-6.6, nape=17.5, volume=1.1, crown=0.7, temple=55.0, curtain=True),
    "fringe": Style(hairline=-4.3, nape=11.0, volume=1.2, crown=0.7, temple=57.0, curtain=True),
    "tied": Style(hairline=-6.8, nape=6.0, volume=0.6, crown=0.5, temple=57.0, sideburn=-0.5),
}  # fmt: skip


def _lower_edge(theta: Array, style: Style) -> Array:
    degrees = np.degrees(theta)
    away = np.abs(degrees)
    front = style.hairline + 0.9 * (away / style.temple) ** 3
    front = front + style.sweep * np.tanh((degrees - style.parting) / 25.0) * (away < 90)
    if style.curtain:
        side = smoothstep(style.temple, style.temple + 5.0, away)
        return front * (1 - side) + style.nape * side
    side = smoothstep(style.temple, style.temple + 16.0, away)
    edge = front * (1 - side) + style.sideburn * side
    over_ear = smoothstep(82.0, 92.0, away)
    edge = edge * (1 - over_ear) + (-1.0) * over_ear
    behind = smoothstep(118.0, 160.0, away)
    return edge * (1 - behind) + style.nape * behind


def _outline(y: Array) -> tuple[Array, Array, Array]:
    """Half width, front and back z of the hair's core; it does not follow the jaw."""
    held = np.minimum(y, 0.5)
    row = SKULL.row_at(held)
    side = SKULL.point(np.full(np.shape(y), np.pi / 2), row)
    front = SKULL.point(np.zeros(np.shape(y)), row)
    back = SKULL.point(np.full(np.shape(y), np.pi), row)
    below = np.maximum(y - 0.5, 0)
    width = side[..., 0] - 0.04 * np.maximum(below - 6, 0)
    return width, front[..., 2], np.maximum(back[..., 2] - 0.25 * below, 6.8)


def shell(style: Style) -> Part:
    """The hair as a part that turns with the head."""
    theta = np.linspace(-np.pi, np.pi, COLUMNS)
    edge = _lower_edge(theta, style)
    share = np.linspace(0, 1, ROWS)[:, None]
    row_top, row_edge = 0.0, SKULL.row_at(np.minimum(edge, 0.5))
    # rows follow the skull's outline to the edge, or to ear height and then straight down
    heights = _heights(row_top + share * (row_edge - row_top), share, edge)
    width, front, back = _outline(heights)
    # Distance from the skull: volume of the style, less at roots and parting, more where it hangs.
    rooted = smoothstep(1.0, 0.82, np.broadcast_to(share, heights.shape))
    hanging = (edge > 3.0)[None, :] & (heights > 0)
    top = smoothstep(-4.0, -10.5, heights)
    volume = style.volume + style.crown * top
    lift = 0.12 + (volume - 0.12) * np.where(hanging, 1.0, rooted)
    below = np.where(hanging, heights, 0.0)
    lift = lift + 0.55 * smoothstep(0.0, 5.0, below) + 0.10 * np.sin(1.1 * below)
    if style.parting:
        line = np.exp(-(((np.degrees(theta) - style.parting) / 5.0) ** 2))
        lift = lift - 0.45 * line * smoothstep(-6.0, -9.0, heights) * lift
    # Positions and paint.
    middle, depth = (front + back) / 2, (back - front) / 2
    crown = smoothstep(0.0, 0.08, np.broadcast_to(share, heights.shape))
    x = (width + lift) * np.sin(theta) * np.where(share == 0, 0.0, 1.0)
    z = middle - (depth + lift) * np.cos(theta) * np.where(share == 0, 0.0, 1.0)
    y = heights - lift * smoothstep(-6.0, -11.0, heights) * (1 - 0.3 * crown)
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    tint = 0.5 + 0.5 * np.sin(theta * 9.0 + 1.3 * np.sin(theta * 4.0))
    dark = 0.35 * np.broadcast_to(tint, heights.shape) + 0.35 * share**3
    paint = mixed(solid(len(points), "hair"), "hair_dark", dark.reshape(-1))
    outer = Part(points, grid(ROWS, COLUMNS), paint, np.zeros(len(points)))
    if not style.curtain:
        return outer
    lining = solid(len(points), "hair_dark")
    return joined([outer, Part(points, flipped(outer.triangles), lining, outer.jaw)])


def _heights(rows: Array, share: Array, edge: Array) -> Array:
    on_skull = SKULL.point(np.zeros(rows.shape), rows)[..., 1]
    hang = np.maximum(edge - 0.5, 0)
    bend = 0.55  # share of the rows above ear height where hair hangs lower
    upper = SKULL.point(
        np.zeros(rows.shape), np.minimum(share / bend, 1) * SKULL.row_at(np.array(0.5))
    )[..., 1]
    hanging = np.where(share < bend, upper, 0.5 + (share - bend) / (1 - bend) * hang)
    return np.where(hang > 0, hanging, on_skull)


def bun(style_name: str) -> list[Part]:
    """A knot at the top for tied hair, nothing for the other styles."""
    if style_name != "tied":
        return []
    around, down = np.meshgrid(np.linspace(-np.pi, np.pi, 25), np.linspace(0, np.pi, 13))
    x, y, z = np.sin(down) * np.sin(around), -np.cos(down), -np.sin(down) * np.cos(around)
    points = np.stack([2.4 * x, 2.0 * y - 11.2, 2.4 * z + 3.0], axis=-1).reshape(-1, 3)
    return [Part(points, grid(13, 25), solid(len(points), "hair"), np.zeros(len(points)))]
