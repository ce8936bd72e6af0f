"""The Surrey Face Model and whatever else eos stores (github.com/patrikhuber/eos).

    a model file          uint32 version 1 to 4; shape model; colour model; from version 2 on, a
                          flag whether there is no expression model, and else int32 0 and a PCA
                          model or int32 1 and blendshapes; what follows is not needed
    a PCA model           mean (3V, 1), orthonormal modes (3V, K), variances (K, 1), triangles
    blendshapes           uint64 count, of each its name and its offsets (3V, 1)
as its MorphableModel.hpp, PcaModel.hpp and Blendshape.hpp tell. Version 0 (2015, with OpenCV's
matrices) is refused, as by eos itself.

The share folder of eos holds sfm_shape_3448.bin, expression_blendshapes_3448.bin and
ibug_to_sfm.txt, which names the vertices of 50 of the 68 points: chin, brows, nose, eyes and lips.
It has neither the rest of the jaw nor the inner mouth corners: these must be given.
"""

import typing as tp
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.face3d.model import ICT_EXPRESSION_RANGE, ICT_EXPRESSION_STD
from data_prep.face_formats.basis import Basis, modes_of_columns, of_shape, pca_range
from data_prep.face_formats.cereal import Archive
from data_prep.face_formats.landmark_rows import read_landmarks

VERSIONS = range(1, 5)
SHAPES, BLENDSHAPES = "sfm_shape_*.bin", "expression_blendshapes_*.bin"
LANDMARKS = "ibug_to_sfm.txt"
PCA_MODEL, BLENDSHAPE_MODEL = 0, 1


class Pca(tp.NamedTuple):
    """A PCA model of eos."""

    mean: Array  # (3V,)
    modes: Array  # (3V, K)
    variance: Array  # (K,)
    triangles: Array  # (F, 3)


def read_eos(source: Path) -> Basis:
    """Read a model file, or the Surrey Face Model of a share folder.

    Raises:
        FileNotFoundError: no model, or no blendshapes beside a model without expressions.
        ValueError: a file of another kind or version, or shapes that do not fit each other.
    """
    path = _the_model(source)
    archive = Archive(path, "a model of eos (MorphableModel, versions 1 to 4)")
    version = archive.number("<u4")
    if version not in VERSIONS:
        raise archive.wrong(f"its version is {version}")
    shape = _pca(archive)
    _pca(archive)  # the colours
    own = _own_expression(archive) if version > 1 and not archive.number("u1") else None
    modes, std, ends, offset = own or _blendshapes_beside(path, len(shape.mean))
    if len(modes) != len(shape.mean) or len(offset) != len(modes):
        raise ValueError(
            f"{path} has {len(shape.mean) // 3} vertices, its expressions {len(modes) // 3}"
        )
    named = path.parent / LANDMARKS
    surrey = named.is_file() and path.match(SHAPES)
    return Basis(
        (shape.mean + offset).reshape(-1, 3),
        modes_of_columns(shape.modes),
        modes_of_columns(modes),
        np.sqrt(shape.variance),
        std,
        ends,
        f"eos {path.stem}",
        read_landmarks(named) if surrey else {},
        shape.triangles,
    )


def _the_model(source: Path) -> Path:
    if source.is_file():
        return source
    files = sorted(source.glob(SHAPES))
    if len(files) != 1:
        raise FileNotFoundError(
            f"{len(files)} files {SHAPES} in {source}; expected one, as in eos's share folder, or "
            "name the model file itself as the source"
        )
    return files[0]


def _pca(archive: Archive) -> Pca:
    mean, modes, variance = (archive.matrix() for _ in range(3))
    triangles = archive.triangles()
    if mean.size % 3 or len(modes) != mean.size or variance.size != modes.shape[1]:
        raise archive.wrong(
            f"a PCA model of mean {mean.shape}, modes {modes.shape}, variances {variance.shape}"
        )
    if (variance <= 0).any():
        raise archive.wrong("a variance of 0 or less")
    return Pca(mean.ravel().astype(np.float64), modes, variance.ravel().astype(float), triangles)


Expression = tuple[Array, Array, Array, Array]  # modes (3V, E), std (E,), range (E, 2), mean (3V,)


def _own_expression(archive: Archive) -> Expression:
    kind = archive.number("<i4")
    if kind == PCA_MODEL:
        pca = _pca(archive)
        std = np.sqrt(pca.variance)
        return pca.modes, std, pca_range(std), pca.mean
    if kind != BLENDSHAPE_MODEL:
        raise archive.wrong(f"an expression model of kind {kind}")
    return _blendshapes(archive)


def _blendshapes(archive: Archive) -> Expression:
    """Read blendshapes; their weights are used as ICT-FaceKit's are, in [0, 1]."""
    count = archive.number("<u8")
    offsets = []
    for _ in range(count):
        archive.text()
        offsets.append(of_shape(archive.matrix(), (-1, 1), archive.path, "blendshape").ravel())
    if not offsets or any(len(offset) != len(offsets[0]) for offset in offsets):
        raise archive.wrong(f"{count} blendshapes of different sizes, or none")
    E = len(offsets)
    ends = np.tile(ICT_EXPRESSION_RANGE, (E, 1))
    return np.stack(offsets, 1), np.full(E, ICT_EXPRESSION_STD), ends, np.zeros(len(offsets[0]))


def _blendshapes_beside(model: Path, rows: int) -> Expression:
    files = sorted(model.parent.glob(BLENDSHAPES))
    if len(files) != 1:
        raise FileNotFoundError(
            f"{model} has no expressions of its own and {len(files)} files {BLENDSHAPES} are "
            "beside it; expected one"
        )
    archive = Archive(files[0], f"eos's blendshapes over {rows // 3} vertices")
    found = _blendshapes(archive)
    if not archive.ended or len(found[0]) != rows:
        raise archive.wrong(f"blendshapes over {len(found[0]) // 3} vertices")
    return found
