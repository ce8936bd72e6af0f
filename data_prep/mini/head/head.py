"""The head of a speaker: a mesh and its modes, from identity and expression to positions."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from data_prep.mini.head import expression, eyes, hair, identity, mouth, skin
from data_prep.mini.head.parts import MATERIALS, Part, Triangles, joined, mirrored
from data_prep.mini.head.points import attach
from data_prep.mini.head.surface import Array
from data_prep.mini.speakers import Speaker, palette

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """A speaker's mesh; everything that moves is linear in the expression.

    V vertices, F triangles, E expression modes (`expression.EXPRESSIONS`). Units: cm.
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
        return np.asarray(self.base + moved.reshape(len(strengths), *self.base.shape))

    def landmarks(self, vertices: F32) -> Array:
        """The 68 points (T, 68, 3) of positions (T, V, 3)."""
        corners = vertices[:, self.landmark_vertices].astype(np.float64)
        return np.asarray(np.einsum("tpcd,pc->tpd", corners, self.landmark_weights))


@cache
def _skin() -> Part:
    return skin.skin()


def _face_parts() -> list[Part]:
    soft = [_skin(), eyes.brow(), mirrored(eyes.brow())]
    return [*soft, *eyes.eyeballs(), *eyes.sparks(), *mouth.inside_mouth(), *skin.ears()]


def _expression_modes(part: Part, points: Array) -> Array:
    """(E, V, 3) of one part; hard parts know only the jaw and their own modes."""
    fields = []
    for name in expression.EXPRESSIONS:
        mode = part.modes.get(name, np.zeros_like(points))
        if name in expression.FIELDS and part.soft:
            mode = mode + expression.FIELDS[name](points, part.jaw)
        elif name == "jaw_open":
            mode = mode + expression.jaw_turn(points, part.jaw)
        fields.append(mode)
    return np.stack(fields)


def _identity_shift(part: Part, amounts: tuple[float, ...]) -> Array:
    shift = np.zeros_like(part.points)
    for name, amount in zip(identity.IDENTITIES, amounts, strict=True):
        if name in identity.FIELDS:
            shift += amount * identity.FIELDS[name](part.points)
        elif name in part.modes:
            shift += amount * part.modes[name]
    return shift


def make_head(speaker: Speaker) -> Head:
    """The mesh of a speaker."""
    style = hair.STYLES[speaker.style]
    parts = [
        *_face_parts(),
        *skin.torso(speaker.collar, speaker.neck_width),
        hair.shell(style),
        *hair.bun(speaker.style),
    ]
    whole = joined(parts)
    modes = np.concatenate([_expression_modes(part, part.points) for part in parts], axis=1)
    shift = np.concatenate([_identity_shift(part, speaker.identity) for part in parts])
    colours = palette(speaker)
    vertices, weights = attach(parts[0])
    assert whole.follow is not None
    return Head(
        base=(whole.points + shift).astype(np.float32),
        modes=modes.astype(np.float32),
        follow=whole.follow.astype(np.float32),
        triangles=np.ascontiguousarray(whole.triangles),
        surface=(whole.paint @ np.array([colours[name] for name in MATERIALS])).astype(np.float32),
        landmark_vertices=vertices,
        landmark_weights=weights,
    )
