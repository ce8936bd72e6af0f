"""Preparation of real clips on one core, against the chain that one would write first.

    python -m benchmarks.prepare --json
    python -m benchmarks.prepare --clips FOLDER --count 5 --processes 1 2

The chain: cv2.VideoCapture, mediapipe's static FaceMesh on every frame, a similarity warp of
scikit-image, one PNG file a frame, and python_speech_features. The sound is read by the product's
reader in both. Both have loaded their networks, and prepare each clip in turn in this process,
which is held on one core; times are seconds of CPU, so that other work on the machine counts less.

`ratio.one_core` holds how many times faster ours is, by material, `ratio.detector` and
`ratio.without_detector` the same of finding landmarks and of all the rest, `share.detector` the
detector's share of our time. `ratio.detector_against_graphs` compares our detector with the one
that mediapipe's own graphs make (mediapipe_graph), `max_abs_diff` is the largest distance between
a landmark of both, in pixels of the stored 256, and `notes` hold the mean one and frames a second.

Wanted: 2 times on GRID (360 x 288) and 3.5 times on MEAD (1080p), 6 times without the detector, and
landmarks within 0.1 px on average.
"""

import argparse
import os
import tempfile
import time
import typing as tp
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import cv2
import numpy as np

from affekt.arrays import Array, Image
from affekt.media.audio.reader import read_audio, write_wav
from affekt.media.constants import SAMPLE_RATE
from affekt.media.faces.crop import choose_crop
from affekt.media.faces.detector import (
    MESH_VERTICES,
    Detection,
    Detector,
    DetectorName,
    make_detector,
)
from affekt.media.faces.track import FramesConfig, track_face
from affekt.media.video.video import keep_buffers, probe
from benchmarks.harness import Result, main
from data_prep.clips.clip import (
    ClipConfig,
    DetectorConfig,
    Engine,
    PrepareJob,
    outcomes,
    prepare_clip,
)
from data_prep.clips.layouts.config import Source

MEDIA = Path(__file__).parents[2] / "shared" / "media"
MATERIAL = {"grid_s1": 10, "mead_av": 5}  # folder of the sample media, clips
VIDEOS = (".mpg", ".mp4", ".mov", ".avi", ".mkv", ".webm")
NAMES: tuple[DetectorName, ...] = ("mediapipe_graph", "mediapipe")
SIZE = 256  # pixels a side of the stored crop


@dataclass
class PrepareResult(Result):
    """With the detector's share of our time, by material."""

    ratio: tp.Any = field(default_factory=dict)  # what is compared, material, figure
    share: dict[str, dict[str, float]] = field(default_factory=dict)

    def note_ratio(self, what: str, material: str, figure: float) -> None:
        """Note how many times faster ours is."""
        self.ratio.setdefault(what, {})[material] = round(float(figure), 3)


class TimedDetector:
    """A detector that adds up its CPU seconds and keeps the faces that it found."""

    def __init__(self, detector: Detector) -> None:
        self._detector, self.version = detector, detector.version
        self.seconds = 0.0

    def detect(self, picture: Image) -> Detection | None:
        """Return the face of a picture."""
        start = time.process_time()
        found = self._detector.detect(picture)
        self.seconds += time.process_time() - start
        return found


class PlainMesh:
    """mediapipe's FaceMesh as its documentation has it, each picture whole."""

    version = "mediapipe FaceMesh, static"

    def __init__(self) -> None:
        from mediapipe.python.solutions import face_mesh

        self._mesh = face_mesh.FaceMesh(static_image_mode=True, max_num_faces=1)

    def detect(self, picture: Image) -> Detection | None:
        """Return the face of a picture."""
        faces = self._mesh.process(picture).multi_face_landmarks
        if not faces:
            return None
        height, width = picture.shape[:2]
        points = np.array([(p.x * width, p.y * height) for p in faces[0].landmark])
        return Detection(np.stack([points[list(v)].mean(axis=0) for v in MESH_VERTICES]), None)


def naive(source: Source, folder: Path, detector: Detector) -> int:
    """Prepare a clip with the usual libraries, a step after the other; return its frames."""
    import python_speech_features
    from skimage.transform import AffineTransform, warp

    capture, crop = cv2.VideoCapture(str(source.video)), None
    landmarks: list[Array] = []
    while True:
        there, frame = capture.read()
        if not there:
            break
        picture = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        face = detector.detect(picture.astype(np.uint8, copy=False))
        landmarks.append(landmarks[-1] if face is None else face.points)
        crop = crop or choose_crop("portrait", landmarks[0], (frame.shape[1], frame.shape[0]), SIZE)
        matrix = np.vstack([crop.matrix, (0, 0, 1)])
        stored = warp(frame, AffineTransform(matrix).inverse, output_shape=(SIZE, SIZE))
        stored = (255 * stored).round().astype(np.uint8)
        cv2.imwrite(str(folder / f"{len(landmarks):06d}.png"), stored)
    capture.release()
    np.save(folder / "landmarks.npy", np.array(landmarks, np.float32))
    samples = read_audio(source.video, "librosa")
    write_wav(folder / "audio.wav", samples)
    mfcc = python_speech_features.mfcc(samples, SAMPLE_RATE, winstep=0.01)
    np.save(folder / "mfcc.npy", mfcc.astype(np.float32))
    return len(landmarks)


def compare(name: str, sources: Sequence[Source], result: PrepareResult) -> None:
    """Prepare clips by turns in both ways, and note ratios, shares and rates under `name`."""
    detectors = SimpleNamespace(ours=make_detector(), naive=PlainMesh())
    warm_up(sources[0], detectors.ours, detectors.naive)
    totals: list[tuple[float, float]] = []  # CPU seconds of ours and naive, a pair a clip
    finding: list[tuple[float, float]] = []  # of these the detectors'
    frames = [0, 0]
    for source in sources:
        spent, found = [], []
        for k, detector in enumerate((detectors.ours, detectors.naive)):
            timed = TimedDetector(detector)
            with tempfile.TemporaryDirectory() as folder:
                start = time.process_time()
                frames[k] += run(source, Path(folder), timed, ours=k == 0)
                spent.append(time.process_time() - start)
            found.append(timed.seconds)
        totals.append((spent[0], spent[1]))
        finding.append((found[0], found[1]))
    whole, detector = np.array(totals), np.array(finding)
    ratios = {
        "one_core": whole[:, 1] / whole[:, 0],
        "detector": detector[:, 1] / detector[:, 0],
        "without_detector": (whole - detector)[:, 1] / (whole - detector)[:, 0],
    }
    for what, values in ratios.items():
        result.note_ratio(what, name, float(np.median(values)))
    share = float(detector[:, 0].sum() / whole[:, 0].sum())
    result.share.setdefault("detector", {})[name] = round(share, 3)
    result.milliseconds[name] = {
        "naive": 1e3 * float(whole[:, 1].sum()) / frames[1],
        "ours": 1e3 * float(whole[:, 0].sum()) / frames[0],
    }
    result.notes[f"{name}, frames a second, naive and ours"] = [
        round(frames[k] / float(whole[:, k].sum()), 1) for k in (1, 0)
    ]
    result.notes[f"{name}, clips a second, naive and ours"] = [
        round(len(sources) / float(whole[:, k].sum()), 3) for k in (1, 0)
    ]


def run(source: Source, folder: Path, detector: Detector, ours: bool) -> int:
    """Prepare one clip in one of the two ways; return its frames."""
    if ours:
        config = ClipConfig(FramesConfig(size=SIZE), sound_required=False)
        return int(prepare_clip(source, folder, detector, config)["frames"])
    return naive(source, folder, detector)


def warm_up(source: Source, *detectors: Detector) -> None:
    """Compile kernels, let libraries load, and let the networks' first faces pass."""
    for k, detector in enumerate(detectors):
        with tempfile.TemporaryDirectory() as folder:
            run(source, Path(folder), detector, ours=k == 0)


def compare_with_graphs(name: str, sources: Sequence[Source], result: PrepareResult) -> None:
    """Note how far our landmarks lie from those of mediapipe's graphs, and who takes how long."""
    apart = []
    graphs, networks = (TimedDetector(make_detector(n)) for n in NAMES)
    for source in sources:
        old, new = (track_face(source.video, each) for each in (graphs, networks))
        apart.append(np.linalg.norm(old.landmarks - new.landmarks, axis=2) * old.crop.scale)
    pixels = np.concatenate(apart)
    result.note_ratio("detector_against_graphs", name, graphs.seconds / networks.seconds)
    result.notes[f"{name}, landmarks apart on average, px"] = round(float(pixels.mean()), 5)
    result.differ(pixels, 0.0)


def scaling(sources: Sequence[Source], processes: Sequence[int]) -> dict[str, float]:
    """Return frames per second of wall time with so many processes, start included."""
    rates = {}
    frames = sum(probe(source.video).frames for source in sources)
    for count in processes:
        with tempfile.TemporaryDirectory() as folder:
            clip = ClipConfig(FramesConfig(size=SIZE), sound_required=False)
            job = PrepareJob(Path(folder), clip, DetectorConfig())
            start = time.perf_counter()
            for _ in outcomes(sources, job, Engine(count)):
                pass
            rates[str(count)] = round(frames / (time.perf_counter() - start), 1)
    return rates


def found_material(args: argparse.Namespace) -> dict[str, list[Source]]:
    """Return the clips to prepare, by material."""
    root = Path(os.environ.get("AFFEKT_MEDIA", MEDIA))
    folders = (
        {args.clips.name: (args.clips, args.count or 10)}
        if args.clips
        else {name: (root / name, args.count or count) for name, count in MATERIAL.items()}
    )
    material = {}
    for name, (folder, count) in folders.items():
        videos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEOS)
        if not videos:
            raise FileNotFoundError(
                f"{folder} holds no videos ({', '.join(VIDEOS)}); give a folder of clips that show "
                "a face as --clips, or the sample media's folder as $AFFEKT_MEDIA"
            )
        material[name] = [
            Source(path, None, name, "neutral", 1, path.stem, path.stem) for path in videos[:count]
        ]
    return material


def measure(args: argparse.Namespace) -> PrepareResult:
    """Compare both ways on every material, then the landmarks, then several processes."""
    cv2.setNumThreads(1)
    keep_buffers()  # as the workers of data_prep.prepare do; both ways have it
    result = PrepareResult("prepare")
    material = found_material(args)
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if cores:
        os.sched_setaffinity(0, {max(cores)})
    for name, sources in material.items():
        compare(name, sources, result)
        compare_with_graphs(name, sources[:2], result)
    if cores:
        os.sched_setaffinity(0, cores)
    for name, sources in material.items() if args.processes else ():
        rates = scaling(sources, args.processes)
        result.notes[f"{name}, frames a second by processes, wall time"] = rates
    result.notes["loading our detector, CPU ms"] = round(1e3 * loading())
    return result


def loading() -> float:
    """Return the CPU seconds of loading the detector once more, its library being imported."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        make_detector()
        seconds.append(time.process_time() - start)
    return median(seconds)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument(
        "--clips", type=Path, help="a folder of clips, in place of the sample media"
    )
    parser.add_argument("--count", type=int, help="clips of each material")
    parser.add_argument("--processes", type=int, nargs="*", default=[], help="also with so many")


if __name__ == "__main__":
    main(__doc__, measure, add_options)
