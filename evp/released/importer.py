r"""Turn the files of EVP's release into what this project loads, for one speaker.

    python -m evp.released.importer --speaker M003 --out weights/evp_m003 \
        pth/M003_20.pth basics/M003_U_106.npy basics/M003_mean_106.npy M003_feature/*.npy
    python -m evp.released.importer --speaker M003 --out weights/evp_m003_speech 99_pretrain.pth

Writes, of what the files hold,
    audio2lm/           of <ID>_20.pth with U and mean: a run for generate.py evp --audio2lm;
                        landmark_space.npz of U and mean, emotion_codes.* of the features
    disentangle/        of <epoch>_pretrain.pth: a run for train_audio2lm.py (encoders=)
    pretrain_emotion/   of SER_<epoch>.pkl, for train_disentangle.py (emotion_from=)
    pretrain_content/   of atnet_lstm_18.pth, for train_disentangle.py (content_from=)
and import.json: where each comes from, the new name of every weight, and every weight and file that
is left out with the reason (names without the `module.` of DataParallel). Nothing is executed from
the files, and nothing is written unless everything has its place.

Arrays are recognised by their shape: an emotion feature (E,), `<ID>_feature/happy.npy`, or a blend,
`happy2_sad8.npy`; U (212, >= K), the directions of a speaker's landmarks in its columns; the mean
face (212,) of 106 points. The release's landmarks are pixels of a 256 px face crop over 255; here
they are face frames (affekt.media.faces.geometry).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.emotions import EMOTIONS, canonical
from affekt.media.faces.geometry import FACE_SIZE
from affekt.media.faces.schemes import SENSE106
from affekt.runtime import checkpoint
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import load_npy, replacing_folder
from affekt.runtime.weights.convert import ImportReport, check_out
from evp.inference.emotion_codes import EmotionCodes, write_codes
from evp.landmark_space import LandmarkSpace, flatten, save_space
from evp.networks.audio2lm import COMPONENT, Audio2Landmark, Audio2LandmarkConfig, save_network
from evp.networks.encoders import EmotionEncoderConfig, save_description
from evp.released.models import Checkpoint, Kind, read_model

FOLDERS: dict[Kind, str] = {
    "audio2lm": "audio2lm",
    "disentangle": "disentangle",
    "emotion": "pretrain_emotion",
    "content": "pretrain_content",
}
SIDE = 255  # pixels that are 1 in the release's landmarks
COORDINATES = 2 * SENSE106.count  # 212
ORTHONORMAL = 1e-3  # largest difference of U^T U from the identity; of the public ones 1e-6
LIMITS = (-1.0, 2.0)  # of landmarks; a face lies in 0 ... 1, a predicted one near it
BLENDED = "blends of two emotions: --emotion-blend a:b:w makes (1 - w) a + w b of the codes"
WANTED = "wanted an emotion feature (E,), a basis (212, K) or a mean face (212,) of EVP's release"


@dataclass
class Arrays:
    """What the arrays of one speaker hold."""

    features: dict[str, Array] = field(default_factory=dict)  # by label
    blends: list[str] = field(default_factory=list)  # file names
    basis: Array | None = None  # (212, K)
    mean: Array | None = None  # (212,) in units of the release
    files: dict[str, Path] = field(default_factory=dict)  # by what each became


def import_released(files: Sequence[Path], out: Path, speaker: str) -> ImportReport:
    """Write everything that the files hold into `out`; return what import.json holds.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: it is damaged, another speaker's or something else, an audio2lm checkpoint is
            without its U and mean, or `out` holds what no import wrote.
    """
    check_out(out, FOLDERS.values())
    report = ImportReport()
    models, arrays = read_released(files, speaker, report)
    # Arrays fit the networks given with them, or those of the release
    predictor = models.get("audio2lm")
    sizes = (predictor and predictor.landmarks) or Audio2LandmarkConfig()
    encoders = [models[kind].encoders for kind in FOLDERS if kind in models and kind != "content"]
    dim = encoders[0].encoders.emotion.dim if encoders else EmotionEncoderConfig().dim
    space = landmark_space(arrays, speaker, sizes.components)
    codes = emotion_codes(arrays, speaker, dim)
    if predictor is not None:
        network = predictor.parts["model"]
        if space is None or not isinstance(network, Audio2Landmark):
            raise ValueError(
                f"{predictor.path} predicts in a basis that is not in it: give the speaker's "
                "<ID>_U_106.npy and <ID>_mean_106.npy as well"
            )
        network.set_stats(space)
    # Everything is reported, then everything is written
    if space is not None:
        report.arrays["landmark_space"] = f"{sizes.components} components, {space.scheme.name}"
    if codes is not None:
        report.arrays["emotion_codes"] = ", ".join(sorted(arrays.features))
    if not models and not report.arrays:
        raise ValueError(f"{', '.join(p.name for p in files)}: nothing to import but blends")
    with replacing_folder(out) as folder:
        _write_runs(folder, models, space, codes)
        report.write(folder)
    return report


def read_released(
    files: Sequence[Path], speaker: str, report: ImportReport
) -> tuple[dict[Kind, Checkpoint], Arrays]:
    """Read the files of one speaker: checkpoints by kind, and arrays.

    Raises:
        FileNotFoundError, ValueError: see `import_released`.
    """
    models: dict[Kind, Checkpoint] = {}
    arrays = Arrays()
    for path in files:
        _check_speaker(path, speaker)
        # Arrays: faces, basis, codes
        if path.suffix == ".npy":
            report.add_source(path, holds=read_array(path, arrays))
            continue
        # Checkpoints: one of each kind
        read = read_model(path)
        if read.kind in models:
            first = models[read.kind].path
            raise ValueError(f"{path} is of the same kind ({read.kind}) as {first}; give one")
        models[read.kind] = read
        report.add_source(path, holds=f"the {read.kind} checkpoint", **read.counters)
        report.add_model(FOLDERS[read.kind], read.names, *read.parts.values())
        for key, reason in read.left_out.items():
            report.leave_out(f"{path.name}: {key}", reason)
    for name in arrays.blends:
        report.leave_out(name, BLENDED)
    return models, arrays


def _check_speaker(path: Path, speaker: str) -> None:
    """Refuse a file whose name is another speaker's: faces and codes of two would be mixed."""
    words = (path.parent.name if path.parent.name.endswith("_feature") else "", path.stem)
    for word in (part for text in words for part in text.split("__")):
        named = re.match(r"([MW]\d{3})(?:_|$)", word)
        if named and named[1] != speaker:
            raise ValueError(f"{path} is of {named[1]}, this import of {speaker}; do one at a time")


def _write_runs(
    folder: Path,
    models: Mapping[Kind, Checkpoint],
    space: LandmarkSpace | None,
    codes: EmotionCodes | None,
) -> None:
    for kind, read in models.items():
        run = folder / FOLDERS[kind]
        run.mkdir()
        save_description(run, read.encoders)
        checkpoint.save(run / "checkpoints", 0, read.parts)
        if read.landmarks is not None and space is not None:
            save_network(run, read.landmarks, space, "2d")
    run = folder / FOLDERS["audio2lm"]
    if space is not None:
        save_space(space, run / "landmark_space.npz")
    if codes is not None:
        write_codes(codes, run, {"imported": sorted(codes.codes)})


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
    # Identified by the array's shape
    if array.shape == (COORDINATES,):
        low, high = float(array.min()), float(array.max())
        if low < LIMITS[0] or high > LIMITS[1]:
            raise ValueError(
                f"{path} holds landmarks from {low:g} to {high:g}, wanted fractions of the face "
                f"crop, from 0 to 1; {WANTED}"
            )
        _take(arrays, "mean", path)
        arrays.mean = array.astype(float)
        return "a mean face"
    if array.ndim == 2 and array.shape[0] == COORDINATES:
        return _take_basis(array, path, arrays)
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
    face = flatten(np.float64(SIDE) * arrays.mean.reshape(SENSE106.count, 2))[None]
    basis = np.ascontiguousarray(arrays.basis[:, :components].T, dtype=np.float32)
    deviation = np.full(components, SIDE / FACE_SIZE / COMPONENT, np.float32)
    return LandmarkSpace((speaker,), face, face.copy(), basis, deviation)


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


def _take(arrays: Arrays, what: str, path: Path) -> None:
    """Note the file of something that there is one of."""
    if what in arrays.files:
        raise ValueError(f"{path} is a second {what}, after {arrays.files[what]}; give one")
    arrays.files[what] = path


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help=".pth, .pkl or .npy")
    parser.add_argument("--out", type=Path, required=True, help="folder of what is imported")
    parser.add_argument("--speaker", required=True, help="whose files they are, such as M003")
    args = parser.parse_args(argv)
    with user_errors():
        report = import_released(args.files, args.out, args.speaker)
    print(report)  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
