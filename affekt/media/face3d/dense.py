"""All vertices of an imported face model, in step with its landmark rows (face3d/model.py).

One set of coefficients moves both: unit, origin and gauge are those of the landmarks, so that row
`landmarks[n]` of a dense face is row n of the landmark model.

Letters: V vertices, F triangles, K identity modes, E expression modes.
"""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.face3d.model import OUTER_EYES, combined
from affekt.media.faces import points
from affekt.runtime.files import replacing

FORMAT = "affekt-dense-face-1"
KEYS = ("mean", "identity", "expression", "landmarks", "triangles")


@dataclass(frozen=True, eq=False)
class DenseFace:
    """A mesh and its modes.

    Attributes:
        mean: (V, 3).
        identity, expression: (K, V, 3), (E, V, 3).
        landmarks: (68,), the vertices that are the iBUG-68 points.
        triangles: (F, 3), F = 0 where none are known.
        name: what the model is.
    """

    mean: Array
    identity: Array
    expression: Array
    landmarks: Array
    triangles: Array
    name: str = "unnamed"

    def shapes(self, identity: Array, expression: Array) -> Array:
        """Return faces (..., V, 3) of coefficients (..., K) and (..., E), broadcast (EVP Eq. 1)."""
        return combined(self, identity, expression)


def canonical_dense(face: DenseFace) -> DenseFace:
    """Return `face` in the unit, origin and gauge that `face_model.canonical` gives its landmarks.

    What moves, turns or scales the landmarks is taken from a mode of all vertices as a similarity
    about the landmarks' centre.
    """
    rows = face.mean[face.landmarks].astype(np.float64)
    unit = float(np.linalg.norm(rows[OUTER_EYES[0]] - rows[OUTER_EYES[1]]))
    mean = (face.mean - rows[list(points.RIGID)].mean(axis=0)) / unit
    identity = face.identity / unit
    centre = mean[face.landmarks].mean(axis=0)
    of_landmarks = _similarities(mean[face.landmarks], centre)
    flat = identity[:, face.landmarks].reshape(len(identity), -1)
    shares = np.linalg.lstsq(of_landmarks.T, flat.T.astype(np.float64), rcond=None)[0]
    moved = (shares.T @ _similarities(mean, centre)).reshape(identity.shape)
    identity = identity - moved.astype(identity.dtype)
    return replace(face, mean=mean, identity=identity, expression=face.expression / unit)


def save_dense_face(face: DenseFace, path: Path) -> None:
    """Write `face` as .npz in float32, whole or not at all."""
    arrays = {key: getattr(face, key) for key in KEYS}
    for key in KEYS:
        arrays[key] = arrays[key].astype(np.int32 if key in KEYS[3:] else np.float32)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, format=FORMAT, name=face.name, **arrays)


def load_dense_face(path: Path) -> DenseFace:
    """Read what `save_dense_face` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another file; the message names the key and what was wanted.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no dense face {path}; python -m data_prep.face_model import --dense writes one"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is no readable .npz dense face: {error}") from None
    if str(arrays.get("format")) != FORMAT or not {*KEYS, "name"} <= arrays.keys():
        raise ValueError(f"{path} is no {FORMAT}; it holds {', '.join(sorted(arrays))}")
    name = str(arrays.pop("name"))
    face = DenseFace(**{key: arrays[key] for key in KEYS}, name=name)
    V = len(face.mean)
    wanted = {"mean": (V, 3), "landmarks": (points.COUNT,)}
    wanted |= {key: (len(arrays[key]), V, 3) for key in ("identity", "expression")}
    for key, shape in (wanted | {"triangles": (len(face.triangles), 3)}).items():
        if arrays[key].shape != shape or arrays[key].dtype.kind not in "fi":
            raise ValueError(f"{path}: '{key}' has shape {arrays[key].shape}, wanted {shape}")
    return face


def _similarities(vertices: Array, centre: Array) -> Array:
    """Return the seven directions (7, 3V) in which a similarity about `centre` moves vertices."""
    centred = vertices - centre
    directions = [np.tile(axis, (len(vertices), 1)) for axis in np.eye(3)]
    directions += [np.cross(axis, centred) for axis in np.eye(3)]
    return np.stack([*directions, centred]).reshape(7, -1)
