"""Landmark schemes: which points a face has, and which of them mean the same.

    ibug68    the project's own, with axes (..., 68, 2 or 3): what detectors give and corpora hold
    sense106  of EVP's release, (..., 106, 2): twice as many points on the contour, two lines a
              brow, sides of the nose, lids and pupils. Its detector is not public; faces in it come
              from imports (evp.released.importer)

Every iBUG point is one of the 106 (`SENSE106.ibug`), so that faces of the release go through all
that is made for 68 points: alignment, face models, metrics. Source of the 106: drawing order and
groups of the release's edge maps and basis files. Left and right are the image's.
"""

import typing as tp
from dataclasses import dataclass

import numpy as np

from affekt.arrays import Array
from affekt.media.faces import points

SchemeName = tp.Literal["ibug68", "sense106"]
Curves = tuple[tuple[str, tuple[int, ...]], ...]  # (name, points in drawing order)


@dataclass(frozen=True)
class Scheme:
    """The points of a face."""

    name: SchemeName
    count: int
    groups: dict[str, tuple[int, ...]]  # jaw, brows, nose, eyes, mouth
    ibug: tuple[int, ...]  # which point each of the 68 of iBUG is
    curves: Curves  # the 14 lines of an edge map, always of the same parts of the face
    flip: tuple[int, ...]  # what each point becomes when the picture is mirrored left to right

    @property
    def jaw(self) -> tuple[int, ...]:
        """Return the contour from the left ear over the chin to the right ear."""
        return self.groups["jaw"]

    @property
    def rigid(self) -> tuple[int, ...]:
        """Return bridge of the nose and corners of the eyes (see points.RIGID), in that order."""
        return tuple(self.ibug[point] for point in points.RIGID)

    def check(self, landmarks: Array) -> None:
        """Refuse landmarks (..., points, coordinates) of another scheme.

        Raises:
            ValueError: they have another number of points; the message names their scheme.
        """
        if landmarks.ndim < 2 or landmarks.shape[-2] != self.count:
            fits = [name for name, s in SCHEMES.items() if landmarks.shape[-2:-1] == (s.count,)]
            whose = f", which is {fits[0]}" if fits else ""
            raise ValueError(
                f"landmarks have shape {landmarks.shape}{whose}; wanted (..., {self.count}, 2 or 3)"
                f" of {self.name}"
            )


IBUG68 = Scheme(
    name="ibug68",
    count=points.COUNT,
    groups=points.GROUPS,
    ibug=tuple(range(points.COUNT)),
    # The release's parts in iBUG-68, whose brows are single lines and whose nose has no side
    # points, so that its third line joins the tip to the wings.
    curves=(
        ("contour", tuple(range(17))),
        ("left brow", (17, 18, 19, 20, 21)),
        ("right brow", (22, 23, 24, 25, 26)),
        ("nose bridge", (27, 28, 29, 30)),
        ("nose base", (31, 32, 33, 34, 35)),
        ("nose wings", (31, 30, 35)),
        ("left eye above", (36, 37, 38, 39)),
        ("left eye below", (39, 40, 41, 36)),
        ("right eye above", (42, 43, 44, 45)),
        ("right eye below", (45, 46, 47, 42)),
        ("outer lip above", (48, 49, 50, 51, 52, 53, 54)),
        ("outer lip below", (54, 55, 56, 57, 58, 59, 48)),
        ("inner lip above", (60, 61, 62, 63, 64)),
        ("inner lip below", (64, 65, 66, 67, 60)),
    ),
    flip=points.FLIP,
)

SENSE106 = Scheme(
    name="sense106",
    count=106,
    # As the release groups them; 72-83 (lids, pupils, sides of the nose), 104 and 105 are in none.
    groups={
        "jaw": tuple(range(33)),
        "brows": (*range(33, 43), *range(64, 72)),
        "nose": tuple(range(43, 52)),
        "eyes": tuple(range(52, 64)),
        "mouth": tuple(range(84, 104)),
    },
    ibug=(*range(0, 33, 2), *range(33, 64), *range(84, 104)),
    # Brows are closed, as the release draws them, and the nose is a triangle below its bridge.
    curves=(
        ("contour", tuple(range(33))),
        ("left brow", (37, 36, 35, 34, 33, 64, 65, 66, 67, 37)),
        ("right brow", (38, 39, 40, 41, 42, 71, 70, 69, 68, 38)),
        ("nose left", (44, 47)),
        ("nose base", (47, 48, 49, 50, 51)),
        ("nose right", (51, 44)),
        ("left eye above", (52, 53, 54, 55)),
        ("left eye below", (55, 56, 57, 52)),
        ("right eye above", (58, 59, 60, 61)),
        ("right eye below", (61, 62, 63, 58)),
        ("outer lip above", (84, 85, 86, 87, 88, 89, 90)),
        ("outer lip below", (90, 91, 92, 93, 94, 95, 84)),
        ("inner lip above", (96, 97, 98, 99, 100)),
        ("inner lip below", (100, 101, 102, 103, 96)),
    ),
    flip=(
        *range(32, -1, -1),
        *range(42, 32, -1),
        *range(43, 47),
        *range(51, 46, -1),
        *(61, 60, 59, 58, 63, 62),
        *(55, 54, 53, 52, 57, 56),
        *range(71, 63, -1),
        *(75, 76, 77, 72, 73, 74),
        *(79, 78, 81, 80, 83, 82),
        *range(90, 83, -1),
        *range(95, 90, -1),
        *range(100, 95, -1),
        *range(103, 100, -1),
        *(105, 104),
    ),
)

SCHEMES: dict[SchemeName, Scheme] = {"ibug68": IBUG68, "sense106": SENSE106}


def scheme_of(landmarks: Array) -> Scheme:
    """Return the scheme that landmarks (..., points, coordinates) are in, by their number.

    Raises:
        ValueError: no scheme has that many points.
    """
    for scheme in SCHEMES.values():
        if landmarks.ndim >= 2 and landmarks.shape[-2] == scheme.count:
            return scheme
    known = ", ".join(f"{s.count} ({s.name})" for s in SCHEMES.values())
    raise ValueError(f"landmarks have shape {landmarks.shape}; points of a known face: {known}")


def to_ibug68(landmarks: Array) -> Array:
    """Return the 68 points of iBUG, (..., 68, D), of a face of any scheme (..., points, D).

    Exact: they are a selection. 68 points are returned as they are.

    Raises:
        ValueError: no scheme has that many points.
    """
    scheme = scheme_of(landmarks)
    if scheme is IBUG68:
        return landmarks
    return landmarks[..., np.array(scheme.ibug), :]
