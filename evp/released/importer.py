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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from affekt.runtime import checkpoint
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import replacing_folder, save_npy, sha256, write_json
from affekt.runtime.weights.foreign import summary_lines
from evp.inference.emotion_codes import EmotionCodes, write_codes
from evp.landmark_space import LandmarkSpace, save_space
from evp.networks.audio2lm import Audio2Landmark, Audio2LandmarkConfig, save_network
from evp.networks.encoders import EmotionEncoderConfig, save_description
from evp.released.arrays import (
    Arrays,
    emotion_codes,
    judge_blends,
    landmark_space,
    outside_of_basis,
    pixels,
    read_array,
)
from evp.released.models import Checkpoint, read_model
from evp.released.names import Kind

REPORT = "import.json"
FOLDERS: dict[Kind, str] = {
    "audio2lm": "audio2lm",
    "disentangle": "disentangle",
    "emotion": "pretrain_emotion",
    "content": "pretrain_content",
}
LANDMARKS = "landmarks"


@dataclass
class Found:
    """What the given files hold."""

    checkpoints: dict[Kind, Checkpoint] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=Arrays)
    sources: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)  # names by reason

    def leave_out(self, name: str, reason: str) -> None:
        """Account for something that is not taken."""
        self.left_out.setdefault(reason, []).append(name)


def import_released(files: Sequence[Path], out: Path, speaker: str) -> dict[str, Any]:
    """Write everything that the files hold into `out`; return what import.json says.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: it is damaged, another speaker's or something else, an audio2lm checkpoint is
            without its U and mean, or `out` holds what no import wrote.
    """
    _check_out(out)
    found = read_released(files, speaker)
    landmarks = _landmark_config(found)
    space = landmark_space(found.arrays, speaker, landmarks.components)
    codes = emotion_codes(found.arrays, speaker, _code_length(found))
    if "audio2lm" in found.checkpoints:
        _settle(found.checkpoints["audio2lm"], space)
    for path, reason in judge_blends(found.arrays).items():
        found.leave_out(path.name, reason)
    report = _report(found, speaker, landmarks.components, space, codes)
    if not report["models"] and not report["arrays"]:
        raise ValueError(f"{', '.join(p.name for p in files)}: nothing to import but blends")
    with replacing_folder(out) as folder:
        _write(folder, found, space, codes)
        write_json(folder / REPORT, report)
    return report


def read_released(files: Sequence[Path], speaker: str) -> Found:
    """Read the files of one speaker.

    Raises:
        FileNotFoundError, ValueError: see `import_released`.
    """
    found = Found()
    for path in files:
        _check_speaker(path, speaker)
        source: dict[str, Any] = {"file": path.name}
        if path.suffix == ".npy":
            source["holds"] = read_array(path, found.arrays)
        else:
            read = read_model(path)
            if read.kind in found.checkpoints:
                first = found.checkpoints[read.kind].path
                raise ValueError(f"{path} is of the same kind ({read.kind}) as {first}; give one")
            found.checkpoints[read.kind] = read
            for key, reason in read.left_out.items():
                found.leave_out(f"{path.name}: {key}", reason)
            source |= {"holds": f"the {read.kind} checkpoint", **read.counters}
        found.sources.append(source | {"sha256": sha256(path)})
    return found


def _check_out(out: Path) -> None:
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / REPORT).is_file()):
        raise ValueError(f"{out} holds something of no import (no {REPORT}); name another --out")
    ours = {REPORT, LANDMARKS, *FOLDERS.values()}
    foreign = sorted(path.name for path in out.glob("*") if path.name not in ours)
    if foreign:
        raise ValueError(f"{out} holds {', '.join(foreign[:3])}, of no import; name another --out")


def _check_speaker(path: Path, speaker: str) -> None:
    """Refuse a file whose name is another speaker's: faces and codes of two would be mixed."""
    words = (path.parent.name if path.parent.name.endswith("_feature") else "", path.stem)
    for word in (part for text in words for part in text.split("__")):
        named = re.match(r"([MW]\d{3})(?:_|$)", word)
        if named and named[1] != speaker:
            raise ValueError(f"{path} is of {named[1]}, this import of {speaker}; do one at a time")


def _landmark_config(found: Found) -> Audio2LandmarkConfig:
    model = found.checkpoints.get("audio2lm")
    return model.landmarks if model and model.landmarks else Audio2LandmarkConfig()


def _code_length(found: Found) -> int:
    for kind in ("audio2lm", "disentangle", "emotion"):
        if kind in found.checkpoints:
            return found.checkpoints[kind].encoders.encoders.emotion.dim
    return EmotionEncoderConfig().dim


def _settle(model: Checkpoint, space: LandmarkSpace | None) -> None:
    """Give the landmark network its faces."""
    network = model.parts["model"]
    if space is None or not isinstance(network, Audio2Landmark):
        raise ValueError(
            f"{model.path} predicts in a basis that is not in it: give the speaker's "
            "<ID>_U_106.npy and <ID>_mean_106.npy as well"
        )
    network.settle(space)


def _report(
    found: Found,
    speaker: str,
    components: int,
    space: LandmarkSpace | None,
    codes: EmotionCodes | None,
) -> dict[str, Any]:
    models = {
        FOLDERS[kind]: {
            "parameters": sum(p.numel() for m in read.parts.values() for p in m.parameters()),
            "names": read.names,
        }
        for kind, read in found.checkpoints.items()
    }
    arrays: dict[str, Any] = {}
    if space is not None:
        arrays["landmark_space"] = {"components": components, "scheme": space.scheme.name}
    if codes is not None:
        arrays["emotion_codes"] = sorted(found.arrays.features)
    for name, faces in found.arrays.faces.items():
        away = outside_of_basis(found.arrays, name, components)
        arrays[f"landmarks/{name}"] = {"faces": len(faces), "pixels_outside_of_basis": away}
    return {
        "speaker": speaker,
        "sources": found.sources,
        "models": models,
        "arrays": arrays,
        "left_out": found.left_out,
    }


def _write(
    folder: Path, found: Found, space: LandmarkSpace | None, codes: EmotionCodes | None
) -> None:
    for kind, read in found.checkpoints.items():
        run = folder / FOLDERS[kind]
        run.mkdir()
        save_description(run, read.encoders)
        checkpoint.save(run / "checkpoints", 0, read.parts)
        if read.landmarks is not None and space is not None:
            save_network(run, read.landmarks, space, "2d")
    spoken = folder / FOLDERS["audio2lm"]
    spoken.mkdir(exist_ok=True)
    if space is not None:
        save_space(space, spoken / "landmark_space.npz")
    if codes is not None:
        write_codes(codes, spoken, {"imported": sorted(codes.codes)})
    if not any(spoken.iterdir()):
        spoken.rmdir()
    for name, faces in found.arrays.faces.items():
        save_npy(folder / LANDMARKS / f"{name}.npy", pixels(faces).astype(np.float32))


def summary(report: dict[str, Any]) -> str:
    """Return what an import did, for people."""
    lines = [
        f"read {source['file']}: {source['holds']}  sha256 {source['sha256']}"
        for source in report["sources"]
    ]
    models = {f"{name}/": account for name, account in report["models"].items()}
    lines += summary_lines(models, {})
    for name, account in report["arrays"].items():
        facts = account if isinstance(account, list) else [f"{k} {v}" for k, v in account.items()]
        lines.append(f"wrote {name}: {', '.join(facts)}")
    return "\n".join([*lines, *summary_lines({}, report["left_out"])])


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help=".pth, .pkl or .npy")
    parser.add_argument("--out", type=Path, required=True, help="folder of what is imported")
    parser.add_argument("--speaker", required=True, help="whose files they are, such as M003")
    args = parser.parse_args(argv)
    with user_errors():
        report = import_released(args.files, args.out, args.speaker)
    print(summary(report))  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
