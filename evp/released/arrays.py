"""The arrays of EVP's release: mean emotion features, a speaker's landmark basis, predicted faces.

    (E,) float       an emotion feature: `<ID>_feature/happy.npy`, or a blend, `happy2_sad8.npy`
    (212, >= K)      U, the directions of a speaker's landmarks in its columns: `<ID>_U_106.npy`
    (212,)           a face of 106 points: the mean, `<ID>_mean_106.npy`, or a template such as
                     `mouth_open.npy`
    (T, 106, 2)      faces that its first stage predicted: `result/<ID>.npy`

Its landmarks are pixels of a 256 px face crop over 255; here they are face frames
(affekt.media.faces.geometry).
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.emotions import EMOTIONS, canonical
from affekt.media.faces.geometry import FACE_SIZE
from affekt.media.faces.schemes import SENSE106
from affekt.runtime.files import load_npy
from evp.inference.emotion_codes import EmotionCodes
from evp.landmark_space import LandmarkSpace, flatten
from evp.networks.audio2lm import COMPONENT

SIDE = 255  # pixels that are 1 in the release's landmarks
COORDINATES = 2 * SENSE106.count  # 212
ORTHONORMAL = 1e-3  # largest difference of U^T U from the identity; of the public ones 1e-6
LIMITS = (-1.0, 2.0)  # of landmarks; a face lies in 0 ... 1, a predicted one near it
BLENDED = "blends of two emotions: --emotion-blend a:b:w makes (1 - w) a + w b of the codes"
WANTED = (
    "wanted an emotion feature (E,), a basis (212, K), a mean face (212,) or faces (T, 106, 2) of "
    "EVP's release"
)


@dataclass
class Arrays:
    """What the arrays of one speaker hold."""

    features: dict[str, Array] = field(default_factory=dict)  # by label
    blends: list[str] = field(default_factory=list)  # file names
    basis: Array | None = None  # (212, K)
    mean: Array | None = None  # (212,) in units of the release
    faces: dict[str, Array] = field(default_factory=dict)  # by file name, (T, 106, 2), likewise
    files: dict[str, Path] = field(default_factory=dict)  # by what each became


def read_array(path: Path, arrays: Arrays) -> str:
    """Read one .npy file into `arrays`; return what it is, as text.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, no array of the release, or a second of what there is one of.
    """
    array = load_npy(path, None, WANTED)
    if array.dtype.kind != "f":
        raise ValueError(f"{path} holds {array.dtype}, not real numbers; {WANTED}")
    name = path.stem.split("__")[-1]
    # Identified by the array's shape, a mean also by its name
    if array.shape == (COORDINATES,) and "mean" in name:
        _take(arrays, "mean", path)
        arrays.mean = _in_limits(array, path).astype(float)
        return "a mean face"
    if array.shape == (COORDINATES,):
        array = array.reshape(1, SENSE106.count, 2)
    if array.ndim == 2 and array.shape[0] == COORDINATES:
        return _take_basis(array, path, arrays)
    if array.ndim == 3 and array.shape[1:] == (SENSE106.count, 2) and len(array):
        _take(arrays, f"faces {name}", path)
        arrays.faces[name] = _in_limits(array, path)
        return f"{len(array)} faces"
    if array.ndim == 1 and array.size:
        return _take_feature(array, name, path, arrays)
    raise ValueError(f"{path} has shape {array.shape}; {WANTED}")


def emotion_codes(arrays: Arrays, speaker: str, dim: int) -> EmotionCodes | None:
    """Return the features as mean codes of a speaker, or None where there are none.

    Raises:
        ValueError: a feature of another length than `dim`; the message names its file.
    """
    codes = {}
    for label, feature in arrays.features.items():
        if feature.shape != (dim,):
            path = arrays.files[f"emotion {label}"]
            raise ValueError(
                f"{path} has shape {feature.shape}, wanted ({dim},): an emotion feature of the "
                "encoder's length"
            )
        codes[label] = codes[f"{speaker}/{label}"] = feature
    return EmotionCodes(EMOTIONS, codes) if codes else None


def landmark_space(arrays: Arrays, speaker: str, components: int) -> LandmarkSpace | None:
    """Return mean and basis as a speaker's landmark space, or None where neither is given.

    The mean is the neutral face, as in the release's inference. The release keeps no deviations:
    they are such that a network's step of 1 is the release's.

    Raises:
        ValueError: one without the other, or fewer than `components` directions.
    """
    if arrays.mean is None and arrays.basis is None:
        return None
    if arrays.mean is None or arrays.basis is None:
        missing = "<ID>_mean_106.npy" if arrays.mean is None else "<ID>_U_106.npy"
        raise ValueError(f"a landmark basis is of no use without its mean: give {missing} as well")
    if arrays.basis.shape[1] < components:
        found = arrays.basis.shape[1]
        path = arrays.files["basis"]
        raise ValueError(f"{path} has {found} directions in its columns, wanted {components}")
    # In pixels of the aligned face, with deviations of the release's scale
    face = flatten(pixels(arrays.mean.reshape(SENSE106.count, 2)))[None]
    basis = np.ascontiguousarray(arrays.basis[:, :components].T, dtype=np.float32)
    deviation = np.full(components, SIDE / FACE_SIZE / COMPONENT, np.float32)
    return LandmarkSpace((speaker,), face, face.copy(), basis, deviation)


def pixels(faces: Array) -> Array:
    """Turn landmarks of the release into pixels of the 256 px face."""
    return np.float64(SIDE) * faces


def _take_feature(array: Array, name: str, path: Path, arrays: Arrays) -> str:
    if array.min() < 0:
        raise ValueError(f"{path} has numbers below 0, and an emotion feature none; {WANTED}")
    if re.fullmatch(r"[a-z]+\d+_[a-z]+\d+", name):  # <a><i>_<b><j> holds (i a + j b) / 10
        arrays.blends.append(path.name)
        return "a blend of two emotion features"
    try:
        label = canonical(name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; an emotion feature is named by its emotion") from None
    _take(arrays, f"emotion {label}", path)
    arrays.features[label] = array.astype(np.float32)
    return f"the emotion feature of {label}"


def _take_basis(array: Array, path: Path, arrays: Arrays) -> str:
    product = array.T.astype(float) @ array
    if np.abs(product - np.eye(len(product))).max() > ORTHONORMAL:
        raise ValueError(f"{path} is no basis: its columns are not orthonormal; {WANTED}")
    _take(arrays, "basis", path)
    arrays.basis = array
    return f"a landmark basis of {array.shape[1]} directions"


def _in_limits(array: Array, path: Path) -> Array:
    low, high = float(array.min()), float(array.max())
    if low < LIMITS[0] or high > LIMITS[1]:
        raise ValueError(
            f"{path} holds landmarks from {low:g} to {high:g}, wanted fractions of the face crop, "
            f"from 0 to 1; {WANTED}"
        )
    return array


def _take(arrays: Arrays, what: str, path: Path) -> None:
    """Note the file of something that there is one of."""
    if what in arrays.files:
        raise ValueError(f"{path} is a second {what}, after {arrays.files[what]}; give one")
    arrays.files[what] = path
