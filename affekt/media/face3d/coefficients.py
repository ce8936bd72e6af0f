"""Read a corpus' expression coefficients: whose face model they are of, and each speaker's face.

data_prep.expression writes them. A clip's own are `Clip.expression()` and `Clip.expression_pose()`;
here stands what they share:

    expression.json        (sealed) face model's name and SHA-256, number of modes E, how they came
    expression_model.npz   a copy of the face model; absent where the coefficients were made by
                           others, whose model is not at hand
    identities.npz         `speakers` (S,), text, and `identities` (S, K): one face a speaker

Letters: S speakers, K identity modes, E expression modes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.corpus import EXPRESSION as MAKE
from affekt.media.corpus import Clip, Corpus
from affekt.media.face3d.model import FaceModel, load_face_model
from affekt.media.integrity import EXPRESSION, Row, read_sealed
from affekt.runtime.files import DamagedFileError, sha256
from affekt.runtime.npz_files import load_npz

MODEL, IDENTITIES = "expression_model.npz", "identities.npz"


@dataclass(frozen=True, eq=False)
class CorpusExpression:
    """What the expression coefficients of a corpus' clips share.

    Attributes:
        name: of the face model, or of the format that the coefficients were imported from.
        sha256: of the face model's file; of a corpus without one, that which its importer gives
            to all coefficients of that format. Equal hashes: the same modes in the same units.
        modes: E.
        identities: of every speaker, (K,).
        face_model: None where the coefficients came without one; see `model`.
    """

    root: Path
    name: str
    sha256: str
    modes: int
    identities: dict[str, Array] = field(repr=False)
    face_model: FaceModel | None = field(repr=False)

    @property
    def model(self) -> FaceModel:
        """The face model that the coefficients are of.

        Raises:
            ValueError: they came without one, so that nothing can be computed in the landmarks.
        """
        if self.face_model is None:
            raise ValueError(
                f"{self.root} has {self.modes} expression coefficients of {self.name} without a "
                "face model: no landmark loss, no flow prior; switch those off (weight 0), or fit "
                "a model of your own with python -m data_prep.expression"
            )
        return self.face_model

    def identity_of(self, speaker: str) -> Array:
        """Return a speaker's identity coefficients (K,).

        Raises:
            ValueError: the corpus has none of that speaker.
        """
        if speaker not in self.identities:
            known = ", ".join(sorted(self.identities))
            raise ValueError(f"{self.root / IDENTITIES} has no speaker {speaker!r}, only {known}")
        return self.identities[speaker]

    def check_clips(self, clips: Iterable[Clip]) -> None:
        """Refuse clips without coefficients, or with those of another face model.

        Raises:
            FileNotFoundError: the first clip that has none.
            ValueError: the first clip whose own are of another model.
        """
        for clip in clips:
            found = read_sealed(clip.folder / EXPRESSION, MAKE).get("sha256")
            if found != self.sha256:
                raise ValueError(
                    f"{clip.folder / EXPRESSION} is of a face model of SHA-256 {found}, that of "
                    f"the corpus has {self.sha256}; {MAKE} again, over the whole corpus"
                )


def open_expression(corpus: Corpus) -> CorpusExpression:
    """Read what the expression coefficients of a corpus share.

    Raises:
        FileNotFoundError: it has none; the message names the command that makes them.
        DamagedFileError: a file is not as it was written.
    """
    record = read_sealed(corpus.root / EXPRESSION, f"{MAKE} with corpus={corpus.root}")
    try:
        name, digest, modes = record["model"], record["sha256"], int(record["modes"])
        described: Row = record["files"]
    except KeyError as error:
        path = corpus.root / EXPRESSION
        raise DamagedFileError(f"{path} is damaged: no entry {error}; {MAKE}") from None
    for file, (_, wanted) in described.items():
        _check(corpus.root / file, wanted)
    face_model = load_face_model(corpus.root / MODEL) if MODEL in described else None
    if face_model is not None and len(face_model.expression) != modes:
        found = len(face_model.expression)
        raise DamagedFileError(f"{corpus.root / MODEL} has {found} modes, wanted {modes}; {MAKE}")
    identities = _identities(corpus.root / IDENTITIES)
    return CorpusExpression(corpus.root, name, digest, modes, identities, face_model)


def _check(path: Path, wanted: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {MAKE}")
    if sha256(path) != wanted:
        raise DamagedFileError(f"{path} is damaged: it is not as it was written; {MAKE}")


def _identities(path: Path) -> dict[str, Array]:
    arrays = load_npz(path, MAKE)
    try:
        speakers, values = arrays["speakers"], arrays["identities"]
        return dict(zip(map(str, speakers), np.asarray(values), strict=True))
    except (KeyError, ValueError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); {MAKE}") from None
