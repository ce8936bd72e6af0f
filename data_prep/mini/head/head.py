"""The head of a speaker: hair, the whole mesh, its modes and the 68 iBUG points on it."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from affekt.arrays import Array
from affekt.media.faces.points import FLIP
from data_prep.mini.head import eyes, modes, mouth, skin
from data_prep.mini.head.mesh import (
    MATERIALS,
    SKULL,
    Part,
    Triangles,
    flipped,
    joined,
    mirrored,
    sheet,
    smoothstep,
    solid,
)
from data_prep.mini.speakers import Speaker, palette

F32 = NDArray[np.float32]

# The 68 iBUG points are where the pipeline's detector has them (measured on rendered faces), so
# that "true" means what a perfect detector would report. The jaw is a line of the head itself, not
# its silhouette. Given for the image-right half and mirrored.
CORNERS = 4  # vertices that carry a landmark

# Frontal positions on the neutral average head, cm: iBUG index -> (x, y)
FACE = {
    8: (0.0, 11.37), 9: (2.34, 10.84), 10: (4.01, 9.73), 11: (5.53, 8.04), 12: (6.0, 6.75),
    13: (6.41, 5.01), 14: (6.64, 3.36), 15: (6.83, 1.84), 16: (7.0, 0.36), 22: (1.4, -2.19),
    23: (2.91, -2.56), 24: (4.08, -2.64), 25: (4.96, -2.38), 26: (5.54, -1.79), 27: (0.0, -0.43),
    28: (0.0, 1.37), 29: (0.0, 2.98), 30: (0.0, 3.96), 33: (0.0, 5.28), 34: (0.76, 5.25),
    35: (1.26, 4.91),
}  # fmt: skip
# On the lids: iBUG index -> (u across the eye from inner to outer corner, side, ring)
LIDS = {
    42: (-1.0, -1, 0.0), 43: (-0.27, -1, 0.5), 44: (0.45, -1, 0.0),
    45: (1.0, -1, 0.0), 46: (0.33, 1, 0.5), 47: (-0.38, 1, 0.0),
}  # fmt: skip
# On the lips: iBUG index -> (u across the mouth, side, ring)
LIPS = {
    51: (0.0, -1, 0.0), 52: (0.28, -1, 0.0), 53: (0.55, -1, 0.0), 54: (1.0, -1, 5.0),
    55: (0.53, 1, 0.75), 56: (0.3, 1, 1.0), 57: (0.0, 1, 1.25), 62: (0.0, -1, 5.0),
    63: (0.23, -1, 5.0), 64: (0.85, -1, 5.0), 65: (0.25, 1, 5.0), 66: (0.0, 1, 5.0),
}  # fmt: skip


@dataclass(frozen=True)
class Head:
    """A speaker's mesh; everything that moves is linear in the expression.

    V vertices, F triangles, E expression modes (`modes.EXPRESSIONS`). Units: cm.
    """

    base: F32  # (V, 3) neutral
    modes: F32  # (E, V, 3)
    follow: F32  # (V,) 1 turns with the head, 0 stays with the body
    triangles: Triangles  # (F, 3)
    surface: F32  # (V, 4) colour and gloss
    landmark_vertices: NDArray[np.int64]  # (68, 4)
    landmark_weights: Array  # (68, 4), rows sum to 1

    def vertices(self, strengths: Array) -> F32:
        """Positions (T, V, 3) for expression strengths (T, E), before the pose."""
        moved = strengths.astype(np.float32) @ self.modes.reshape(len(self.modes), -1)
        return self.base + moved.reshape(len(strengths), *self.base.shape)

    def landmarks(self, vertices: F32) -> Array:
        """The 68 points (T, 68, 3) of positions (T, V, 3)."""
        corners = vertices[:, self.landmark_vertices].astype(np.float64)
        return np.einsum("tpcd,pc->tpd", corners, self.landmark_weights)


_skin = cache(skin.skin)  # the same part for every speaker


def _expression_modes(part: Part) -> Array:
    """(E, V, 3) of one part; hard parts have only the jaw and their own modes."""
    fields = []
    for name in modes.EXPRESSIONS:
        field = part.modes.get(name, np.zeros_like(part.points))
        if name == "jaw_open":
            field = field + modes.jaw_turn(part.points, part.jaw)
        if part.soft:
            field = field + modes.skin_field(name, part.points, part.jaw)
        fields.append(field)
    return np.stack(fields)


def _identity_shift(part: Part, amounts: tuple[float, ...]) -> Array:
    shift = np.zeros_like(part.points)
    for name, amount in zip(modes.IDENTITIES, amounts, strict=True):
        if name in modes.IDENTITY_FIELDS:
            shift += amount * modes.IDENTITY_FIELDS[name](part.points)
        elif name in part.modes:
            shift += amount * part.modes[name]
    return shift


def make_head(speaker: Speaker) -> Head:
    """The mesh of a speaker."""
    style = HAIR_STYLES[speaker.style]
    parts = [
        _skin(),
        *(eyes.brow(), mirrored(eyes.brow()), *eyes.eyeballs(), *eyes.sparks()),
        *(*mouth.inside_mouth(), *skin.ears()),
        *skin.torso(speaker.collar, speaker.neck_width),
        hair_shell(style),
        *hair_bun(speaker.style),
    ]
    whole = joined(parts)
    fields = np.concatenate([_expression_modes(part) for part in parts], axis=1)
    shift = np.concatenate([_identity_shift(part, speaker.identity) for part in parts])
    colours = palette(speaker)
    vertices, weights = landmark_anchors(parts[0])
    return Head(
        base=(whole.points + shift).astype(np.float32),
        modes=fields.astype(np.float32),
        follow=whole.follow.astype(np.float32),
        triangles=np.ascontiguousarray(whole.triangles),
        surface=(whole.paint @ np.array([colours[name] for name in MATERIALS])).astype(np.float32),
        landmark_vertices=vertices,
        landmark_weights=weights,
    )


Anchor = tuple[NDArray[np.int64], Array]


def landmark_anchors(skin: Part) -> Anchor:
    """Vertices (68, 4) of the skin part and weights (68, 4) that carry the landmarks."""
    vertices = np.zeros((68, CORNERS), dtype=np.int64)
    weights = np.zeros((68, CORNERS))
    lids = eyes.COLUMNS * len(eyes.RINGS)
    for k in range(68):
        right = k in FACE or k in LIDS or k in LIPS
        source = k if right else FLIP[k]
        flip = 1.0 if right else -1.0
        if source in FACE:
            x, y = FACE[source]
            vertices[k], weights[k] = _on_face(skin, flip * x, y)
        elif source in LIDS:
            u, side, ring = LIDS[source]
            at = _on_grid(eyes.lid_columns(), u, side, ring)
            vertices[k], weights[k] = at[0] + (0 if right else lids), at[1]
        else:
            u, side, ring = LIPS[source]
            at = _on_grid(mouth.lip_columns(), flip * u, side, ring)
            vertices[k], weights[k] = at[0] + 2 * lids, at[1]
    return vertices, weights


def _on_face(skin: Part, x: float, y: float) -> Anchor:
    """The foremost triangle at a frontal position, and the barycentric weights there."""
    a, b, c = np.moveaxis(skin.points[skin.triangles], 1, 0)
    area = _cross(b - a, c - a)
    seen = np.where(area < -1e-6, area, -np.inf)
    at = np.array([x, y, 0.0]) - a
    wb, wc = _cross(at, c - a) / seen, _cross(b - a, at) / seen
    hit = np.isfinite(seen) & (wb >= -1e-9) & (wc >= -1e-9) & (wb + wc <= 1 + 1e-9)
    depth = np.where(hit, a[:, 2] + wb * (b - a)[:, 2] + wc * (c - a)[:, 2], np.inf)
    best = int(depth.argmin())
    assert hit[best], f"no skin at ({x}, {y})"
    shares = np.array([1 - wb[best] - wc[best], wb[best], wc[best], 0.0])
    return np.append(skin.triangles[best], skin.triangles[best][0]).astype(np.int64), shares


def _cross(p: Array, q: Array) -> Array:
    return p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]


def _on_grid(columns: tuple[Array, Array], u: float, side: int, ring: float) -> Anchor:
    """Between two columns of one side and two rings of a closed patch."""
    across, sides = columns
    count = len(across)
    own = np.flatnonzero((sides == side) | (np.abs(across) == 1))
    own = own[np.argsort(across[own])]
    right = int(np.clip(np.searchsorted(across[own], u), 1, len(own) - 1))
    left = right - 1
    span = across[own[right]] - across[own[left]]
    share = float(np.clip((u - across[own[left]]) / span, 0, 1))
    inner = min(int(ring), int(np.ceil(ring)))
    part = ring - inner
    rings = np.array([inner, inner, inner + (part > 0), inner + (part > 0)])
    pair = np.array([own[left], own[right], own[left], own[right]])
    weights = np.array([1 - share, share, 1 - share, share]) * np.array(
        [1 - part, 1 - part, part, part]
    )
    return rings * count + pair, weights


# Hair: one smooth shell around the skull, in a few styles.
HAIR_COLUMNS, HAIR_ROWS = 73, 26


@dataclass(frozen=True)
class HairStyle:
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


HAIR_STYLES: dict[str, HairStyle] = {
    "short": HairStyle(volume=0.75, crown=0.6, sideburn=0.8),
    "side_part": HairStyle(hairline=-6.3, volume=0.9, crown=1.0, parting=-28.0, sweep=1.1),
    "crop": HairStyle(hairline=-7.0, volume=0.45, crown=0.25, temple=56.0, sideburn=0.2),
    "bob": HairStyle(hairline=-6.3, nape=12.0, volume=1.2, crown=0.7, temple=57.0, curtain=True,
                 parting=22.0, sweep=1.0),
    "long": HairStyle(hairline=-6.6, nape=17.5, volume=1.1, crown=0.7, temple=55.0, curtain=True),
    "fringe": HairStyle(hairline=-4.3, nape=11.0, volume=1.2, crown=0.7, temple=57.0, curtain=True),
    "tied": HairStyle(hairline=-6.8, nape=6.0, volume=0.6, crown=0.5, temple=57.0, sideburn=-0.5),
}  # fmt: skip


def _hairline(theta: Array, style: HairStyle) -> Array:
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


def _hair_outline(y: Array) -> tuple[Array, Array, Array]:
    """Half width, front and back z of the hair's core; it does not follow the jaw."""
    held = np.minimum(y, 0.5)
    row = SKULL.row_at(held)
    side, front, back = (SKULL.point(np.array(theta), row) for theta in (np.pi / 2, 0.0, np.pi))
    below = np.maximum(y - 0.5, 0)
    width = side[..., 0] - 0.04 * np.maximum(below - 6, 0)
    return width, front[..., 2], np.maximum(back[..., 2] - 0.25 * below, 6.8)


def hair_shell(style: HairStyle) -> Part:
    """The hair as a part that turns with the head."""
    theta = np.linspace(-np.pi, np.pi, HAIR_COLUMNS)
    edge = _hairline(theta, style)
    share = np.linspace(0, 1, HAIR_ROWS)[:, None]
    rows = share * SKULL.row_at(np.minimum(edge, 0.5))
    # rows follow the skull's outline to the edge, or to ear height and then straight down
    heights = _hair_heights(rows, share, edge)
    width, front, back = _hair_outline(heights)
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
    tint = 0.5 + 0.5 * np.sin(theta * 9.0 + 1.3 * np.sin(theta * 4.0))
    dark = 0.35 * tint + 0.35 * share**3
    outer = sheet(np.stack([x, y, z], axis=-1), "hair", {"hair_dark": dark})
    if not style.curtain:
        return outer
    lining = solid(len(outer.points), "hair_dark")
    return joined([outer, replace(outer, triangles=flipped(outer.triangles), paint=lining)])


def _hair_heights(rows: Array, share: Array, edge: Array) -> Array:
    front = np.array(0.0)
    on_skull = SKULL.point(front, rows)[..., 1]
    hang = np.maximum(edge - 0.5, 0)
    bend = 0.55  # share of the rows above ear height where hair hangs lower
    above = np.minimum(share / bend, 1) * SKULL.row_at(np.array(0.5))
    upper = SKULL.point(front, above)[..., 1]
    hanging = np.where(share < bend, upper, 0.5 + (share - bend) / (1 - bend) * hang)
    return np.where(hang > 0, hanging, on_skull)


def hair_bun(style_name: str) -> list[Part]:
    """A knot at the top for tied hair, nothing for the other styles."""
    if style_name != "tied":
        return []
    around, down = np.meshgrid(np.linspace(-np.pi, np.pi, 25), np.linspace(0, np.pi, 13))
    x, y, z = np.sin(down) * np.sin(around), -np.cos(down), -np.sin(down) * np.cos(around)
    points = np.stack([2.4 * x, 2.0 * y - 11.2, 2.4 * z + 3.0], axis=-1)
    return [sheet(points, "hair")]
