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
    landmarks/          of result/<ID>.npy and template faces: (T, 106, 2) float32, pixels of the
                        256 px face; affekt.media.faces.schemes.to_ibug68 takes iBUG's 68 points of
                        them
and import.json: where each comes from, the new name of every weight, and every weight and file that
is left out with the reason (names without the `module.` of DataParallel). Nothing is executed from
the files, and nothing is written unless everything has its place.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import save_npy
from affekt.runtime.training import checkpoint
from affekt.runtime.weights.convert import ImportReport, check_out, importing
from evp.inference.emotion_codes import EmotionCodes, write_codes
from evp.landmark_space import LandmarkSpace, save_space
from evp.networks.audio2lm import (
    Audio2Landmark,
    Audio2LandmarkConfig,
    PredictorDescription,
    save_network,
)
from evp.networks.encoders import EmotionEncoderConfig, save_description
from evp.released.arrays import (
    BLENDED,
    Arrays,
    emotion_codes,
    landmark_space,
    pixels,
    read_array,
)
from evp.released.models import Checkpoint, Kind, read_model

FOLDERS: dict[Kind, str] = {
    "audio2lm": "audio2lm",
    "disentangle": "disentangle",
    "emotion": "pretrain_emotion",
    "content": "pretrain_content",
}
LANDMARKS = "landmarks"


def import_released(files: Sequence[Path], out: Path, speaker: str) -> ImportReport:
    """Write everything that the files hold into `out`; return what import.json holds.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: it is damaged, another speaker's or something else, an audio2lm checkpoint is
            without its U and mean, or `out` holds what no import wrote.
    """
    check_out(out, [LANDMARKS, *FOLDERS.values()])
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
        _set_faces(predictor, space)
    # Everything is reported, then everything is written
    if space is not None:
        report.arrays["landmark_space"] = f"{sizes.components} components, {space.scheme.name}"
    if codes is not None:
        report.arrays["emotion_codes"] = ", ".join(sorted(arrays.features))
    for name, faces in arrays.faces.items():
        report.arrays[f"{LANDMARKS}/{name}"] = f"{len(faces)} faces"
    if not models and not report.arrays:
        raise ValueError(f"{', '.join(p.name for p in files)}: nothing to import but blends")
    with importing(out, [LANDMARKS, *FOLDERS.values()]) as folder:
        _write_runs(folder, models, space, codes)
        for name, faces in arrays.faces.items():
            save_npy(folder / LANDMARKS / f"{name}.npy", pixels(faces).astype(np.float32))
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


def _set_faces(predictor: Checkpoint, space: LandmarkSpace | None) -> None:
    network = predictor.parts["model"]
    if space is None or not isinstance(network, Audio2Landmark):
        raise ValueError(
            f"{predictor.path} predicts in a basis that is not in it: give the speaker's "
            "<ID>_U_106.npy and <ID>_mean_106.npy as well"
        )
    network.set_stats(space)


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
            # As it was trained; its stored features are mean codes
            description = PredictorDescription(read.landmarks, "2d", "window")
            save_network(run, description, space)
    run = folder / FOLDERS["audio2lm"]
    if space is not None:
        save_space(space, run / "landmark_space.npz")
    if codes is not None:
        write_codes(codes, run, {"imported": sorted(codes.codes)})


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
