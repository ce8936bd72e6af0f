"""Fitted head poses against those that others gave: the EAMM release's, and a renderer's.

    python -m benchmarks.pose released --tar LRW_ABOUT_00001.tar --model weights/face_model.npz
    python -m benchmarks.pose truth --corpus data/mini_lively --truth data/raw/mini/truth \
        --model weights/mini/face_model.npz

`released` finds the face in the frames of the release's LRW clip and prints mean and standard
deviation of fitted minus released yaw, pitch and roll, in degrees, and the correlation; the head
turns by 1.5, 5.2 and 1.8 degrees there, so that only pitch says something. A constant difference
of pitch is the face model's idea of frontal (eamm/inference/pose.py).
`truth` prints the mean angle between fitted and true rotation on held-out clips of a mini corpus,
after one constant turn per speaker (affekt.media.face3d.fit.rotation_error_deg), over all frames
and over those turned by more than 15 degrees, and the jitter: the mean size of second differences.
Each with the plain fit and with each option of affekt/media/face3d/stages.py.
"""

import io
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from affekt.arrays import Array
from affekt.media.corpus import Corpus
from affekt.media.face3d.fit import FitConfig, fit_clip, rotation_error_deg
from affekt.media.face3d.model import FaceModel, load_face_model
from affekt.media.faces import geometry
from affekt.media.faces.crop import Crop
from affekt.media.faces.detector import make_detector
from affekt.runtime.command import CommandParser, user_errors
from affekt.showcase.evp_figures import true_arrays
from benchmarks.harness import table
from eamm.inference.pose import to_release

OPTIONS = {
    "plain": FitConfig(),
    "huber": FitConfig(loss="huber"),
    "geman_mcclure": FitConfig(loss="geman_mcclure"),
}
TURNED_DEG = 15.0
WHOLE = Crop(np.array([[1.0, 0, 0], [0, 1, 0]]), (256, 256), (256, 256))  # the release's own crop


def released_clip(path: Path) -> tuple[Array, Array]:
    """Return landmarks (T, 68, 2) and released poses (T, 6) of the release's LRW archive.

    Raises:
        OSError, ValueError: no such archive, or no face in a frame.
    """
    detector, found = make_detector(), []
    with tarfile.open(path) as archive:
        members = {Path(name).name: name for name in archive.getnames() if "/MFCC/" not in name}
        (poses,) = (name for name in members if name.endswith(".npy"))
        released = np.load(io.BytesIO(_read(archive, members[poses])), allow_pickle=False)
        for index in range(sum(name.endswith(".png") for name in members)):
            coded = np.frombuffer(_read(archive, members[f"{index}.png"]), np.uint8)
            picture = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]  # RGB
            face = detector.detect(np.ascontiguousarray(picture, np.uint8))
            if face is None:
                raise ValueError(f"{path}: no face in {index}.png")
            found.append(face.points)
    return np.stack(found), released[: len(found), :6]


def released_rows(model: FaceModel, landmarks: Array, released: Array) -> list[list[object]]:
    """Return a row per option and angle: mean and standard deviation of differences, correlation.

    Angles in degrees.
    """
    rows: list[list[object]] = []
    for name, config in OPTIONS.items():
        found = to_release(fit_clip(model, landmarks, config).pose, WHOLE)
        for column, angle in enumerate(("yaw", "pitch", "roll")):
            ours, theirs = found[:, column], released[:, column]
            apart, together = ours - theirs, float(np.corrcoef(ours, theirs)[0, 1])
            rows.append([name, angle, float(apart.mean()), float(apart.std()), together])
    return rows


def truth_rows(model: FaceModel, corpus: Corpus, truth_root: Path) -> list[list[object]]:
    """Return a row per option: mean error, of turned frames, and jitter, in degrees."""
    rows: list[list[object]] = []
    for name, config in OPTIONS.items():
        errors, turns, jitter = [], [], []
        for speaker in corpus.speakers:
            clips = corpus.clips("test_sentence", speaker)
            found = [fit_clip(model, clip.landmarks(), config).pose for clip in clips]
            truth = np.concatenate([true_arrays(clip, truth_root)["pose"] for clip in clips])
            errors.append(rotation_error_deg(np.concatenate(found), truth))
            away = geometry.rotation_matrix(truth[:, :3])
            turns.append(geometry.rotation_angle_deg(away, np.eye(3)))
            jitter += [np.linalg.norm(np.diff(pose[:, :3], 2, axis=0), axis=1) for pose in found]
        error, turn = np.concatenate(errors), np.concatenate(turns)
        bend = float(np.degrees(np.concatenate(jitter).mean()))
        rows.append([name, float(error.mean()), float(error[turn > TURNED_DEG].mean()), bend])
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 1 if a file is missing or broken."""
    parser = CommandParser(__doc__)
    commands = parser.add_subparsers(dest="against", required=True)
    released, truth = commands.add_parser("released"), commands.add_parser("truth")
    released.add_argument("--tar", type=Path, required=True, help="the release's LRW clip")
    truth.add_argument("--corpus", type=Path, required=True, help="a prepared mini corpus")
    truth.add_argument("--truth", type=Path, required=True, help="the renderer's truth folder")
    for command in (released, truth):
        command.add_argument("--model", type=Path, required=True, help="a face model, .npz")
    args = parser.parse_args(argv)
    with user_errors():
        model = load_face_model(args.model)
        if args.against == "released":
            header = ["fit", "angle", "mean", "std", "correlation"]
            rows = released_rows(model, *released_clip(args.tar))
        else:
            header = ["fit", "error", f"turned > {TURNED_DEG:.0f}", "jitter"]
            rows = truth_rows(model, Corpus(args.corpus), args.truth)
    print(table(header, rows))
    return 0


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    if member is None:
        raise ValueError(f"{name} of the archive is no file")
    return member.read()


if __name__ == "__main__":
    sys.exit(main())
