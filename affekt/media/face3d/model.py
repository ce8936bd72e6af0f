"""A landmark face model: mean + identity modes + expression modes (EVP supplement Sec. 1.2 Eq. 1).

    L = m + sum_k g_k b_k^geo + sum_k e_k b_k^exp

Conventions, whatever file a model came from:
    axes    x to the image right, y down, z away from the viewer, at whom the face looks
    unit    the distance between the outer eye corners of the mean (points 36 and 45) is 1
    origin  the centre of the mean's rigid points (points.RIGID)
    gauge   identity modes hold no translation, rotation or scale of the mean, so that geometry
            cannot do the pose's work: without the scale mode a joint fit cannot inflate the face
            to save on the expression priors of many frames
Letters: N points (68), K identity modes, E expression modes, T frames.
"""

import typing as tp
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.faces import geometry, points
from affekt.runtime.files import replacing
from affekt.runtime.npz_files import load_npz

OUTER_EYES = (36, 45)  # iBUG-68, image left and right
FORMAT = "affekt-face-model-1"
# ICT's modes have unit variance over people. Its rows and a detector's points mean different spots,
# of the jaw above all, by more than people differ; with 3 the geometry can take that up.
ICT_IDENTITY_STD = 3.0
ICT_EXPRESSION_STD = 0.15  # ours: blend weights of ICT lie in [0, 1], nearly all near 0
# ICT's weights are meant for [0, 1]. A little below is let through: opposite modes are apart there,
# and a bound at 0, where the prior's centre is, makes half of the weights sit on it.
ICT_EXPRESSION_RANGE = (-0.3, 1.0)


@dataclass(frozen=True, eq=False)
class FaceModel:
    """Modes and their prior standard deviations; coefficients are in units of the modes.

    Attributes:
        mean: (N, 3).
        identity, expression: (K, N, 3), (E, N, 3).
        identity_std, expression_std: (K,), (E,), of the coefficients, positive.
        expression_range: (E, 2), lowest and highest plausible coefficient.
        name: what the model is, for records and messages.
    """

    mean: Array
    identity: Array
    expression: Array
    identity_std: Array
    expression_std: Array
    expression_range: Array
    name: str = "unnamed"

    def shapes(self, identity: Array, expression: Array) -> Array:
        """Return faces (..., N, 3) of coefficients (..., K) and (..., E), broadcast (Eq. 1)."""
        neutral = self.mean + np.tensordot(identity, self.identity, 1)
        return neutral + np.tensordot(expression, self.expression, 1)

    def checked(self, source: Path) -> tp.Self:
        """Return the model if its numbers can be a model's.

        Raises:
            ValueError: NaN or infinity, or a standard deviation of 0 or less; the message names
                `source` and the array.
        """
        stds = ("identity_std", "expression_std")
        for what in ("mean", "identity", "expression", *stds, "expression_range"):
            if not np.isfinite(getattr(self, what)).all():
                raise ValueError(f"{source}: {what} holds NaN or infinity")
        for what in stds:
            if (getattr(self, what) <= 0).any():
                raise ValueError(f"{source}: {what} holds a value of 0 or less")
        return self


def project(shape: Array, pose: Array) -> Array:
    """Return image points (..., N, 2) of faces (..., N, 3) under poses (..., 6), broadcast.

    Scaled orthography, EVP Eq. 8: l = s Pr R L + t, with pose = rotation vector (radians), log s,
    tx, ty.
    """
    rotation = geometry.rotation_matrix(pose[..., :3])
    scale = np.exp(pose[..., 3, None, None])
    return scale * (shape @ rotation[..., :2, :].swapaxes(-1, -2)) + pose[..., None, 4:6]


def save_face_model(model: FaceModel, path: Path) -> None:
    """Write `model` as .npz with the attributes' names as keys, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, format=FORMAT, **vars(model))


def load_face_model(path: Path) -> FaceModel:
    """Read a model that `save_face_model` wrote, or ICT-FaceKit's 68-landmark rows.

    The latter has the keys mean, identity, expression in centimetres with y up and z towards the
    viewer (ICT-FaceKit), identity of unit variance and expression weights in [0, 1]; axes and unit
    are converted here.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an .npz, a key missing, a wrong shape, NaN, or a face that is upside down,
            mirrored or inside out; the message names the file, the key and what was wanted.
    """
    arrays = _read_npz(path)
    model = _native(arrays, path) if "format" in arrays else _ict(arrays, path)
    check_orientation(model.checked(path).mean, path)
    return canonical(model)


def canonical(model: FaceModel) -> FaceModel:
    """Return `model` in the unit, origin and gauge of this file; doing it twice changes nothing."""
    unit = float(np.linalg.norm(model.mean[OUTER_EYES[0]] - model.mean[OUTER_EYES[1]]))
    mean = (model.mean - model.mean[list(points.RIGID)].mean(axis=0)) / unit
    return replace(
        model,
        mean=mean,
        identity=without_similarity(model.identity / unit, mean),
        expression=model.expression / unit,
    )


def without_similarity(modes: Array, mean: Array) -> Array:
    """Return modes (K, N, 3) less what moves, turns or scales the face `mean` (N, 3), to 1st order.

    The seven directions are those of a similarity at the identity, over all points, equally
    weighted; least squares.
    """
    N = len(mean)
    centred = mean - mean.mean(axis=0)
    directions = [np.tile(axis, (N, 1)) for axis in np.eye(3)]
    directions += [np.cross(axis, centred) for axis in np.eye(3)]
    directions.append(centred)
    basis, _ = np.linalg.qr(np.stack(directions).reshape(7, -1).T)
    flat = modes.reshape(len(modes), 3 * N)
    return (flat - flat @ basis @ basis.T).reshape(modes.shape)


def _read_npz(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise FileNotFoundError(
            f"no face model {path}; python -m data_prep.face_model learns one from a corpus, "
            "its subcommand `import` takes over a published one"
        )
    return load_npz(path, "wanted a face model, as data_prep.face_model writes it")


def _native(arrays: dict[str, Array], path: Path) -> FaceModel:
    if str(arrays["format"]) != FORMAT:
        raise ValueError(f"{path} is of format {arrays['format']}, this version reads {FORMAT}")
    basis = _basis(arrays, path)
    K, E = len(basis["identity"]), len(basis["expression"])
    shapes = {"identity_std": (K,), "expression_std": (E,), "expression_range": (E, 2)}
    priors = {key: _take(arrays, key, shape, path) for key, shape in shapes.items()}
    return FaceModel(**basis, **priors, name=str(_key(arrays, "name", path)))


def _ict(arrays: dict[str, Array], path: Path) -> FaceModel:
    to_image = np.array([1.0, -1.0, -1.0])  # a half turn about x: y down, z away from the viewer
    basis = {key: array * to_image for key, array in _basis(arrays, path).items()}
    K, E = len(basis["identity"]), len(basis["expression"])
    return FaceModel(
        **basis,
        identity_std=np.full(K, ICT_IDENTITY_STD),
        expression_std=np.full(E, ICT_EXPRESSION_STD),
        expression_range=np.tile(ICT_EXPRESSION_RANGE, (E, 1)),
        name=f"ICT-FaceKit {K}+{E}",
    )


def _basis(arrays: dict[str, Array], path: Path) -> dict[str, Array]:
    N = points.COUNT
    shapes = {"mean": (N, 3), "identity": (None, N, 3), "expression": (None, N, 3)}
    return {key: _take(arrays, key, shape, path) for key, shape in shapes.items()}


def _key(arrays: dict[str, Array], key: str, path: Path) -> Array:
    if key not in arrays:
        raise ValueError(f"{path} has no key '{key}'; it holds {', '.join(sorted(arrays))}")
    return arrays[key]


def _take(arrays: dict[str, Array], key: str, shape: tuple[int | None, ...], path: Path) -> Array:
    return of_shape(_key(arrays, key, path), shape, path, key).astype(np.float64)


def of_shape(array: Array, shape: tuple[int | None, ...], path: Path, key: str) -> Array:
    """Return `array` if it holds numbers of `shape`, where None stands for any size.

    Raises:
        ValueError: it does not; the message names the file and the key, and what was wanted.
    """
    fits = array.ndim == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in "fiu":
        wanted = tuple("any" if size is None else size for size in shape)
        raise ValueError(
            f"{path}: '{key}' is {array.dtype} of shape {array.shape}, wanted numbers of {wanted}"
        )
    return array


def check_orientation(mean: Array, path: Path) -> None:
    """Refuse a mean face (68, 3) whose axes are not x right, y down, z away from the viewer.

    Raises:
        ValueError: it is upside down, mirrored or inside out; the message names `path`.
    """
    ears, chin, nose_tip = mean[[0, 16]], mean[8], mean[30]
    faults = {
        "point 0 is not at the image left of point 16": ears[0, 0] >= ears[1, 0],
        "the chin is not below the brows": chin[1] <= mean[list(points.BROWS), 1].max(),
        "the nose tip is not nearer to the viewer than the jaw's ends": nose_tip[2]
        >= ears[:, 2].min(),
    }
    for fault, found in faults.items():
        if found:
            raise ValueError(
                f"{path}: {fault}; wanted iBUG-68 order with x right, y down, z away from the "
                "viewer"
            )
