"""Take over expression coefficients that others computed: expression.npy without a face model.

    python -m data_prep.expression --import FOLDER --format deep3d --corpus data/mead

FOLDER holds, anywhere below it, <clip id>.mat or <clip id>.npz of each clip, a row a frame at 25
frames a second. Format deep3d, Deep3DFaceRecon's coefficients (Deng et al., CVPRW 2019; the layout
of its PyTorch version): `coeff`, `coeff_3dmm` or `full_3dmm` (T, 257) = identity 80, expression 64,
texture 80, angles 3, light 27, translation 3; or `id` (T, 80) and `exp` (T, 64) apart. A file of
another shape or another number of frames is refused in one line and does not stop the others.

Kept are the 64 of expression, and each speaker's mean identity (data_prep/clips/identity.py). Head
pose is that of data_prep.pose, which must have been run, with any face model: Deep3DFaceRecon's own
is in pixels of its 224 px crop, whose place in the video its files do not hold.

Such a corpus trains the expression network on coefficients, as the paper does, and the renderer on
them. There is no face model: nothing can be computed in landmarks, so no landmark loss and no flow
prior. Nor is identity held: Deep3DFaceRecon estimates it anew for each frame, and a part of the
emotion may lie in it.
"""

import functools
import hashlib
import typing as tp
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.corpus import POSE as MAKE_POSE
from affekt.media.corpus import Clip, Corpus
from affekt.media.face3d.coefficients import IDENTITIES, MODEL
from affekt.media.face3d.model import of_shape
from affekt.media.integrity import Row
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.npz_files import load_npz
from data_prep.clips.artefact import CLIP_ERRORS, Results, make_missing
from data_prep.clips.identity import (
    ARTEFACT,
    Identity,
    Outcome,
    identity_lines,
    known_identities,
    save_identities,
    speaker_identities,
    write_corpus_record,
)
from data_prep.face_formats.readers import mat_names, read_mat


class Format(tp.NamedTuple):
    """Coefficients of one kind: where they stand in a row, and what they are called."""

    name: str
    width: int  # of a row
    identity: slice
    expression: slice
    together: tuple[str, ...]  # names of an array of whole rows
    apart: tuple[str, str]  # names of identity and expression alone

    @property
    def digest(self) -> str:
        """What stands for a face model's SHA-256: equal where coefficients mean the same."""
        return hashlib.sha256(f"{self.name} {self.width} {self.expression}".encode()).hexdigest()


DEEP3D = Format(
    name="Deep3DFaceRecon",
    width=257,
    identity=slice(0, 80),
    expression=slice(80, 144),
    together=("coeff", "coeff_3dmm", "full_3dmm"),
    apart=("id", "exp"),
)
FORMATS: Mapping[str, Format] = {"deep3d": DEEP3D}
ENDINGS = (".mat", ".npz")


@dataclass(frozen=True)
class ImportConfig:
    """Corpus, folder of coefficients and their format."""

    corpus: Path  # a prepared corpus whose head poses are fitted
    folder: Path  # of coefficients, a file a clip
    format: str = "deep3d"
    identity_clips: int = 40  # of a speaker that give the identity, at most, evenly spread
    workers: int = 0  # processes; 0: this one
    progress: bool = True

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format is {self.format}, wanted one of {', '.join(FORMATS)}")


def import_coefficients(config: ImportConfig) -> tuple[dict[str, Identity], Results]:
    """Write expression.npy of each clip that has coefficients, and what a corpus' clips share.

    Raises:
        FileNotFoundError: no corpus, no folder, no file of a clip in it, or no head pose.
        ValueError: two files of one clip.
        OSError: the disk is full.
    """
    corpus, layout = Corpus(config.corpus), FORMATS[config.format]
    clips = corpus.clips()
    files = _files_of(config.folder, clips)
    if not any((clip.folder / "pose.npy").is_file() for clip in clips):
        raise FileNotFoundError(f"{config.corpus} has no head poses; {MAKE_POSE} first")
    origin: Row = {"model": layout.name, "sha256": layout.digest, "imported": config.format}
    # Each speaker's identity, then each clip's expression
    estimate = functools.partial(_estimate, layout, files)
    known, most = known_identities(config.corpus), config.identity_clips
    identities, without = speaker_identities(clips, most, origin, known, estimate)
    there = [clip for clip in clips if clip.id in files]
    origins = {clip.id: origin | {"file": _state(files[clip.id])} for clip in there}
    make = functools.partial(_imported, layout, files)
    found = make_missing(ARTEFACT, there, origins, make, config.workers, config.progress)
    for clip in clips:
        if clip.id not in files:
            ARTEFACT.remove(clip)
            found.failed[clip.id] = f"{config.folder} has no {clip.id}.mat or {clip.id}.npz"
    # What the clips share; a face model of an earlier fit is of other coefficients
    save_identities(config.corpus, identities)
    (config.corpus / MODEL).unlink(missing_ok=True)
    modes = layout.expression.stop - layout.expression.start
    counts = {"modes": modes, "clips": len(found.records), "failed": found.failed}
    counts |= {"no_identity": without}
    write_corpus_record(config.corpus, origin | counts, identities, (IDENTITIES,))
    return identities, found


def read_coefficients(path: Path, layout: Format) -> tuple[Array, Array]:
    """Return identity (T, 80) and expression (T, 64) of a file, for the format deep3d.

    Raises:
        FileNotFoundError, ValueError: no such file, a damaged one, none of the arrays in it, or one
            of another shape; the message names the file, the array and what was wanted.
    """
    names = (*layout.together, *layout.apart)
    wanted = f"wanted an array {', '.join(layout.together)} of (frames, {layout.width})"
    found = _mat_arrays(path, names) if path.suffix == ".mat" else load_npz(path, wanted)
    for name in layout.together:
        if name in found:
            rows = of_shape(found[name], (None, layout.width), path, name)
            return rows[:, layout.identity], rows[:, layout.expression]
    parts = []
    for name, place in zip(layout.apart, (layout.identity, layout.expression), strict=True):
        if name not in found:
            raise ValueError(f"{path} holds {', '.join(sorted(found)) or 'no array'}; {wanted}")
        parts.append(of_shape(found[name], (None, place.stop - place.start), path, name))
    return parts[0], parts[1]


def _mat_arrays(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """Return those of the arrays `names` that a .mat file holds."""
    present = mat_names(path)
    chosen = tuple(name for name in names if name in present)
    return read_mat(path, chosen) if chosen else dict.fromkeys(present, np.zeros(0))


def _files_of(folder: Path, clips: Sequence[Clip]) -> dict[str, Path]:
    """Return the file of each clip id that has one."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    names = {clip.id for clip in clips}
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in ENDINGS and path.stem in names:
            if path.stem in found:
                raise ValueError(f"{found[path.stem]} and {path} are of one clip; remove one")
            found[path.stem] = path
    if not found:
        example = f"{clips[0].id}.mat" if clips else "a clip"
        raise FileNotFoundError(
            f"{folder} has coefficients of none of the {len(clips)} clips; wanted files by their "
            f"ids, such as {example}"
        )
    return found


def _state(path: Path) -> list[int]:
    """Return size and time of a file: another one is read anew."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _checked(clip: Clip, layout: Format, files: Mapping[str, Path]) -> tuple[Array, Array]:
    if clip.id not in files:
        raise FileNotFoundError("it has no file of coefficients")
    path = files[clip.id]
    identity, expression = read_coefficients(path, layout)
    if not len(identity) == len(expression) == clip.frames:
        found = f"{len(expression)} frames of expression, {len(identity)} of identity"
        raise ValueError(f"{path} has {found}, wanted the clip's {clip.frames}")
    if not (np.isfinite(identity).all() and np.isfinite(expression).all()):
        raise ValueError(f"{path} holds NaN or infinity")
    return identity, expression


def _estimate(
    layout: Format, files: Mapping[str, Path], clips: Sequence[Clip]
) -> Iterable[Outcome]:
    for clip in clips:
        try:
            identity, _ = _checked(clip, layout, files)
            yield clip.id, identity.mean(axis=0), ""
        except CLIP_ERRORS as error:
            yield clip.id, None, str(error)


def _imported(layout: Format, files: Mapping[str, Path], clip: Clip) -> tuple[Array, Row]:
    """Return a clip's head pose and its coefficients of expression (T, 6 + 64)."""
    _, expression = _checked(clip, layout, files)
    return np.hstack([clip.pose(), expression]).astype(np.float32), {}


def main(argv: Sequence[str], doc: str | None) -> int:
    """Run the command line with --import; return 0 if at least one clip has coefficients."""
    parser = CommandParser(doc)
    add = parser.add_argument
    text = "a folder of coefficients that others computed, a file a clip"
    add("--import", dest="folder", type=Path, required=True, metavar="FOLDER", help=text)
    add("--format", choices=tuple(FORMATS), default="deep3d", help="of the files")
    add("--corpus", type=Path, required=True, help="a prepared corpus")
    add("--workers", type=int, default=0, help="processes (default: this one)")
    with user_errors():
        config = ImportConfig(**vars(parser.parse_args(argv)))
        identities, found = import_coefficients(config)
    said, *failed = found.lines(f"expression coefficients of {FORMATS[config.format].name}")
    limits = "  without a face model: no landmark loss, no flow prior"
    print("\n".join([f"{config.corpus}: {said}", limits, *identity_lines(identities, {}), *failed]))
    return 0 if found.records else 1
