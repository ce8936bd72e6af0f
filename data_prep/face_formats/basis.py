"""Linear face model over a whole mesh, the checks of its files, and its 68 landmark vertices.

Letters: V vertices, K identity modes, E expression modes.
"""

import json
import re
import typing as tp
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.face3d.model import FaceModel
from affekt.media.faces import points
from affekt.runtime.files import DamagedFileError, load_npy

# Ours: a component of a PCA is Gaussian, and beyond three standard deviations next to nothing is.
PLAUSIBLE_DEVIATIONS = 3.0
PAIR = re.compile(r"^\s*(\d+)\s*=\s*(\d+)\s*$")
ICT_KEY = "idx_to_landmark_verts"
FORMS = f"{points.COUNT} vertex indices from 0, or lines 'point = vertex' with points from 1"


@dataclass(frozen=True, eq=False)
class Basis(FaceModel):
    """A face model in its source's unit and axes: x to the image right, y up, z to the viewer.

    All kinds that are read have these axes; the x of the subject's left side is positive.
    `landmarks` is the vertex of each iBUG-68 point (counted from 0) that the source itself names.
    """

    landmarks: dict[int, int] = field(default_factory=dict)


def modes_of_columns(columns: Array) -> Array:
    """Return modes (K, V, 3) of a matrix (3V, K) whose rows are x, y, z of vertex after vertex."""
    return columns.reshape(len(columns) // 3, 3, -1).transpose(2, 0, 1)


def pca_range(std: Array) -> Array:
    """Return the plausible range (E, 2) of Gaussian coefficients of standard deviations (E,)."""
    return np.outer(std, [-PLAUSIBLE_DEVIATIONS, PLAUSIBLE_DEVIATIONS])


def the_file(folder: Path, name: str, what: str) -> Path:
    """Return `folder`/`name`.

    Raises:
        FileNotFoundError: it is not there; the message says `what` was expected.
    """
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"no {path}; expected {what}")
    return path


def coordinates(array: Array, path: Path, key: str) -> Array:
    """Return an array whose first size is 3V, the x, y, z of each vertex in turn.

    Raises:
        ValueError: it is no multiple of 3.
    """
    if len(array) % 3:
        raise ValueError(f"{path}: '{key}' has {len(array)} rows, wanted x, y, z of each vertex")
    return array


def read_landmarks(path: Path) -> dict[int, int]:
    """Return the vertex of each iBUG-68 point (both from 0) that a file names.

    text    68 indices counted from 0, or lines `point = vertex` in which points count from 1 and
            vertices from 0 (the form of eos's ibug_to_*.txt), of some points only if need be;
            # starts a comment
    .json   a list of 68 indices from 0, or an object with `idx_to_landmark_verts` (ICT-FaceKit)
    .npy    68 indices from 0

    Raises:
        FileNotFoundError: no such file.
        ValueError: none of the forms above; the message names the file and the forms.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no landmark file {path}; wanted {FORMS}")
    try:
        if path.suffix == ".npy":
            return _whole(load_npy(path, None, f"wanted {FORMS}"), path)
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            value = json.loads(text)
            return _whole(np.array(value.get(ICT_KEY) if isinstance(value, dict) else value), path)
    except DamagedFileError:
        raise
    except (ValueError, RecursionError, MemoryError, TypeError) as error:
        raise ValueError(f"{path} is no list of landmarks: {error}; wanted {FORMS}") from None
    # Text: pairs, or 68 numbers
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    if any("=" in line for line in lines):
        return _pairs(lines, path)
    numbers = " ".join(lines).replace(",", " ").split()
    if not all(number.isdecimal() for number in numbers):
        raise ValueError(f"{path} holds more than numbers; wanted {FORMS}")
    return _whole(np.array(numbers, np.int64), path)


def landmark_vertices(named: Mapping[int, int], vertices: int, source: str) -> Array:
    """Return the vertices (68,) of all points.

    Args:
        named: vertex of each point, both from 0.
        vertices: how many there are.
        source: what the list belongs to, for messages.

    Raises:
        ValueError: points without a vertex, or a vertex that the mesh does not have.
    """
    missing = [str(point + 1) for point in range(points.COUNT) if point not in named]
    if missing:
        raise ValueError(
            f"{source} names no vertex of the iBUG points (from 1) {', '.join(missing)}; give "
            f"them in a file with --landmarks FILE: {FORMS}"
        )
    indices = np.array([named[point] for point in range(points.COUNT)])
    if indices.min() < 0 or indices.max() >= vertices:
        raise ValueError(
            f"{source}: landmarks are vertices {indices.min()} to {indices.max()} of a mesh of "
            f"{vertices}; the list belongs to another mesh, or counts from 1"
        )
    return indices


def _whole(indices: tp.Any, path: Path) -> dict[int, int]:
    if getattr(indices, "shape", None) != (points.COUNT,) or indices.dtype.kind not in "iu":
        shape = getattr(indices, "shape", None)
        raise ValueError(f"{path} holds an array of shape {shape}; wanted {FORMS}")
    return {point: int(vertex) for point, vertex in enumerate(indices)}


def _pairs(lines: list[str], path: Path) -> dict[int, int]:
    """Read eos's mapping; its table of contour landmarks names no vertices and is passed over."""
    found = [match for line in lines if (match := PAIR.match(line))]
    named = {int(match[1]) - 1: int(match[2]) for match in found}
    if not named or len(named) < len(found) or not set(named) <= set(range(points.COUNT)):
        raise ValueError(
            f"{path}: {len(found)} lines 'point = vertex' of {len(named)} points; wanted each "
            f"point from 1 to {points.COUNT} at most once"
        )
    return named
