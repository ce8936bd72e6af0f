"""Import a published 3D face model as the project's landmark rows.

    python -m data_prep.face_model import --kind bfm2009 --source BFM --out weights/bfm2009.npz
    python -m data_prep.face_model import --kind ict --source ICT-FaceKit --out weights/ict.npz

Kinds and the files that --source holds (data_prep/face_formats/readers.py has every detail):
    bfm2009  01_MorphableModel.mat, Exp_Pca.bin, std_exp.txt, BFM_exp_idx.mat; 199 + 29 modes as in
             EVP; landmarks of BFM_front_idx.mat and facemodel_info.mat if they are there
    bfm2017  model2017-1_*.h5 (or of 2019); --landmarks is needed
    ict      an ICT-FaceKit checkout
Nothing is downloaded; see the licence of each model.

Next: python -m data_prep.pose.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from affekt.media.face3d.model import FaceModel, canonical, check_orientation, save_face_model
from affekt.media.faces import points
from affekt.runtime.command import CommandParser, user_errors
from data_prep.face_formats.basis import Basis, landmark_vertices, read_landmarks
from data_prep.face_formats.readers import read_bfm2009, read_bfm2017, read_ict

READERS: Mapping[str, Callable[[Path], Basis]] = {
    "bfm2009": read_bfm2009,
    "bfm2017": read_bfm2017,
    "ict": read_ict,
}
PRIORS = ("identity_std", "expression_std", "expression_range")
TO_IMAGE = np.array([1, -1, -1], np.float32)  # a half turn about x: y down, z away from the viewer


@dataclass(frozen=True)
class ImportConfig:
    """Source, kind and output of an import."""

    kind: str
    source: Path
    out: Path
    landmarks: Path | None = None  # vertices of points, before those that the source names

    def __post_init__(self) -> None:
        if self.kind not in READERS:
            raise ValueError(f"kind is {self.kind}, wanted one of {', '.join(READERS)}")


def import_face_model(config: ImportConfig) -> FaceModel:
    """Read a published model and write its landmark rows.

    Raises:
        FileNotFoundError: a file of the model is missing; the message says which was expected.
        ValueError: a file of another kind, landmarks that are missing or of another mesh, or a
            face that is not upright.
    """
    if not config.source.exists():
        raise FileNotFoundError(f"no {config.source}")
    basis = READERS[config.kind](config.source).checked(config.source)
    given = read_landmarks(config.landmarks) if config.landmarks else {}
    source = f"{basis.name} in {config.source}"
    vertices = landmark_vertices(basis.landmarks | given, len(basis.mean), source)
    rows = {
        key: (getattr(basis, key)[..., vertices, :] * TO_IMAGE).astype(np.float64)
        for key in ("mean", "identity", "expression")
    }
    name = f"{basis.name} {len(rows['identity'])}+{len(rows['expression'])}"
    priors = {key: getattr(basis, key) for key in PRIORS}
    model = canonical(FaceModel(**rows, **priors, name=name))
    check_orientation(model.mean, config.source)
    save_face_model(model, config.out)
    return model


def main(argv: Sequence[str]) -> int:
    """Run the command line after `import`; return 0 if a model was written."""
    config = _parse(argv)
    with user_errors():
        model = import_face_model(config)
    print(f"{config.out}: {model.name}, {points.COUNT} landmarks")
    return 0


def _parse(argv: Sequence[str]) -> ImportConfig:
    parser = CommandParser(__doc__, prog="python -m data_prep.face_model import")
    parser.add_argument("--kind", required=True, choices=READERS)
    add = partial(parser.add_argument, type=Path, metavar="PATH")
    add("--source", required=True, help="folder (or, of bfm2017, the file) of the published model")
    add("--out", required=True, help="the .npz of landmark rows to write")
    text = f"vertices of the {points.COUNT} points, or of those that the source lacks"
    add("--landmarks", help=text)
    return ImportConfig(**vars(parser.parse_args(argv)))
