"""Find a face in one picture: its 68 iBUG landmarks, with depth where the detector gives it.

Every picture is looked at on its own ("static"): a tracking mode follows the frame before, differs
by 0.7 to 1 px at 256 px, and is not used anywhere in this project.

mediapipe (default; its models are inside its wheel): the face is located first, then its mesh is
found in a square around it, scaled to one size. The same face so gives the same landmarks in a full
1080p frame and in a crop of 256 px: they differ by 0.4 to 0.5 px at 256, against 0.7 to 0.9 px when
each picture is given to the mesh whole (four people, 40 frames each). Its networks run in LiteRT
(mesh_networks.py); where that is not installed, and as mediapipe_graph, in mediapipe's own graphs,
which take longer. The two differ by less than 0.01 px at 256, and are two versions all the same.

face-alignment (the detector of most papers): needs two files in the weights folder, which nothing
here downloads.

Coordinates are pixels of the picture: (0, 0) is the centre of the first pixel, x right, y down, z
away from the viewer in the same unit (0 is the middle of the head).
"""

import contextlib
import importlib.util
import os
import tempfile
import typing as tp
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

from affekt.arrays import Array, Image
from affekt.media.faces.crop import block_means
from affekt.runtime.weights import registry as weights_files

DetectorName = tp.Literal["mediapipe", "mediapipe_graph", "face_alignment"]
DetectorDevice = tp.Literal["auto", "cpu", "cuda"]  # of face_alignment; auto: cuda if there is one

# The vertices of mediapipe's mesh that lie where iBUG puts its points; ours, placed by eye on
# pictures. Two vertices: the point between them (a brow's line lies between its two edges).
MESH_VERTICES: tuple[tuple[int, ...], ...] = (
    *((v,) for v in (127, 234, 93, 132, 58, 172, 150, 176, 152)),  # jaw, image left ear to chin
    *((v,) for v in (400, 379, 397, 288, 361, 323, 454, 356)),  # and on to the right ear
    *((70, 46), (63, 53), (105, 52), (66, 65), (107, 55)),  # left brow, outwards in
    *((336, 285), (296, 295), (334, 282), (293, 283), (300, 276)),  # right brow
    *((v,) for v in (168, 197, 5, 4)),  # bridge of the nose
    *((v,) for v in (75, 97, 2, 326, 305)),  # nostrils
    *((v,) for v in (33, 160, 158, 133, 153, 144)),  # left eye
    *((v,) for v in (362, 385, 387, 263, 373, 380)),  # right eye
    *((v,) for v in (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181)),  # outer lips
    *((v,) for v in (78, 82, 13, 312, 308, 317, 14, 87)),  # inner lips
)
MESH_PAIRS = tuple((vertices[0], vertices[-1]) for vertices in MESH_VERTICES)
_PAIRS = np.array(MESH_PAIRS)  # (68, 2)
FRAMING = 2.2  # side of the square that the mesh is found in, in sizes of the located face
FRAMED_SIZE = 256  # pixels of that square: the face fills the mesh network's 192 px
CONFIDENCE = 0.5  # mediapipe's default, for locating and for the mesh

FACE_ALIGNMENT_WEIGHTS = ("fa_s3fd", "fa_2dfan4")  # keys of affekt/runtime/weights/weights.yaml


@dataclass(frozen=True)
class Detection:
    """The face of one picture."""

    points: Array  # (68, 2) float32, pixels
    points3d: Array | None  # (68, 3) float32: the same x and y, and depth in pixels


class Detector(tp.Protocol):
    """Finds the main face of a picture; of several, the largest and most central one."""

    version: str  # of the library and its models; written into a prepared corpus

    def detect(self, picture: Image) -> Detection | None:
        """Return the face of a picture (H, W, 3) uint8 RGB, or None where there is none."""


def make_detector(
    name: DetectorName = "mediapipe", device: DetectorDevice = "cpu", weights: Path | None = None
) -> Detector:
    """Load a detector.

    Args:
        name: which one.
        device: where face-alignment runs; mediapipe runs on the CPU.
        weights: folder of face-alignment's files where $AFFEKT_WEIGHTS names none; None: ./weights.

    Raises:
        FileNotFoundError: weights are missing; the message names them, and where to put them.
        ValueError: unknown name, no such device, or weights that are not the published ones.
    """
    if name == "mediapipe" and _has_litert():
        return _MediapipeDetector(_mesh_networks(), detector_version(name))
    if name in ("mediapipe", "mediapipe_graph"):
        return _MediapipeDetector(_MeshGraphs(), detector_version(name))
    if name == "face_alignment":
        return _FaceAlignmentDetector(device, weights)
    known = ", ".join(repr(name) for name in tp.get_args(DetectorName))
    raise ValueError(f"unknown detector {name!r}; known: {known}")


def detector_version(name: DetectorName) -> str:
    """Return what a detector's landmarks depend on, without loading it."""
    if name in ("mediapipe", "mediapipe_graph"):
        engine = name == "mediapipe" and _has_litert()
        suffix = f", LiteRT {version('ai-edge-litert')}" if engine else ""
        return f"mediapipe {version('mediapipe')}, static, mesh in {FRAMING} faces{suffix}"
    names = (weights_files.entry(key).file for key in FACE_ALIGNMENT_WEIGHTS)
    files = ", ".join(name.partition(".")[0] for name in names)
    return f"face-alignment {version('face-alignment')}, {files}"


def main_face(boxes: Array, size: tuple[int, int]) -> int:
    """Return which of the boxes (N, 4: left, top, right, bottom) shows the main face.

    The one with the largest side, less half the distance from the picture's centre (ours).
    """
    boxes = np.asarray(boxes, float)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    centres = (boxes[:, 2:] + boxes[:, :2]) / 2
    distances = np.linalg.norm(centres - np.array(size) / 2, axis=1)
    return int(np.argmax(sides - distances / 2))


class _Engine(tp.Protocol):
    """What runs mediapipe's networks."""

    def boxes(self, picture: Image) -> Array:
        """Return the faces of a picture, (N, 4): left, top, right, bottom, shares of its sides."""

    def mesh(self, square: Image) -> Array | None:
        """Return the mesh of a face in a picture (S, S, 3), (468 or more, 3), pixels from the
        corner of the first one; z has the unit of x."""


class _MediapipeDetector:
    def __init__(self, engine: _Engine, version: str) -> None:
        self._engine, self.version = engine, version

    def detect(self, picture: Image) -> Detection | None:
        height, width = picture.shape[:2]
        boxes = self._engine.boxes(picture) * (width, height, width, height)
        if not len(boxes):
            return None
        box = boxes[main_face(boxes, (width, height))]
        centre, side = (box[:2] + box[2:]) / 2, FRAMING * float((box[2:] - box[:2]).max())
        framed, corner, scale = _framed(picture, centre, side)
        mesh = self._engine.mesh(framed)
        if mesh is None:
            return None
        points = mesh[_PAIRS].mean(axis=1) / scale
        points[:, :2] += corner - 0.5  # mediapipe's zero is the first pixel's corner
        points = points.astype(np.float32)
        return Detection(points[:, :2].copy(), points)


class _MeshGraphs:
    """mediapipe's own graphs: the definition of what mesh_networks.py computes."""

    def __init__(self) -> None:
        os.environ.setdefault("GLOG_minloglevel", "2")  # errors only
        with _quiet():
            from mediapipe.python.solutions import face_detection, face_mesh

            # Model 0 finds faces within 2 m, in a third of the time of model 1 (up to 5 m).
            self._locators = [
                face_detection.FaceDetection(CONFIDENCE, model_selection=model) for model in (0, 1)
            ]
            self._mesh = face_mesh.FaceMesh(
                static_image_mode=True,
                max_num_faces=1,
                refine_landmarks=True,
                min_detection_confidence=CONFIDENCE,
            )
            blank = np.zeros((FRAMED_SIZE, FRAMED_SIZE, 3), np.uint8)
            for graph in (*self._locators, self._mesh):
                graph.process(blank)  # models report themselves at their first picture
        self._reported = False

    def boxes(self, picture: Image) -> Array:
        for locator in self._locators:
            found = locator.process(picture).detections
            if found:
                boxes = [face.location_data.relative_bounding_box for face in found]
                sides = [(b.xmin, b.ymin, b.xmin + b.width, b.ymin + b.height) for b in boxes]
                return np.array(sides)
        return np.zeros((0, 4))

    def mesh(self, square: Image) -> Array | None:
        # The first face makes mediapipe report once more
        with contextlib.nullcontext() if self._reported else _quiet():
            faces = self._mesh.process(square).multi_face_landmarks
        if not faces:
            return None
        self._reported = True
        return np.array([(p.x, p.y, p.z) for p in faces[0].landmark]) * len(square)


def _has_litert() -> bool:
    return importlib.util.find_spec("ai_edge_litert") is not None


def _mesh_networks() -> _Engine:
    with _quiet():  # LiteRT reports its delegate
        from affekt.media.faces.mesh_networks import MeshNetworks

        return MeshNetworks()


class _FaceAlignmentDetector:
    def __init__(self, device: DetectorDevice, weights: Path | None) -> None:
        paths = weights_files.find_all(FACE_ALIGNMENT_WEIGHTS, weights)
        place = _torch_device(device)
        from face_alignment import FaceAlignment, LandmarksType

        with _hub_of(paths["fa_2dfan4"].parent):
            self._network = FaceAlignment(
                LandmarksType.TWO_D,
                device=place,
                face_detector_kwargs={"path_to_detector": str(paths["fa_s3fd"])},
                compile=False,
            )
        self.version = detector_version("face_alignment")

    def detect(self, picture: Image) -> Detection | None:
        boxes = self._network.face_detector.detect_from_image(picture)
        if not len(boxes):
            return None
        boxes = np.asarray(boxes)[:, :4]
        best = boxes[main_face(boxes, (picture.shape[1], picture.shape[0]))]
        points = self._network.get_landmarks_from_image(picture, detected_faces=[best])[0]
        return Detection(np.asarray(points[:, :2], np.float32), None)


def _framed(picture: Image, centre: Array, side: float) -> tuple[Image, Array, float]:
    """Return the square around a face, its corner in the picture, and its scale.

    What lies outside the picture repeats its border.
    """
    reduction = max(1, int(side / FRAMED_SIZE))  # whole: averaging 4 x 4 pixels is 5x faster than
    length = max(2, round(side / reduction)) * reduction  # 4.1 x 4.1, and leaves little to scale
    left, top = (round(float(value) - length / 2) for value in centre)
    small = (length // reduction, length // reduction)
    if reduction > 2:
        reduced = block_means(picture, (left, top), small, reduction)
    else:
        reduced = cut_square(picture, left, top, length)
        if reduction == 2:
            reduced = cv2.resize(reduced, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
    framed = cv2.resize(reduced, (FRAMED_SIZE, FRAMED_SIZE), interpolation=cv2.INTER_LINEAR)
    return framed.astype(np.uint8, copy=False), np.array([left, top]), FRAMED_SIZE / length


def cut_square(picture: Image, left: int, top: int, side: int) -> Image:
    """Return (side, side, 3) of a picture; what lies outside repeats its border."""
    height, width = picture.shape[:2]
    x0, x1 = np.clip((left, left + side), (0, 1), (width - 1, width))
    y0, y1 = np.clip((top, top + side), (0, 1), (height - 1, height))
    inside = picture[y0:y1, x0:x1]
    margins = (
        max(0, -top),
        max(0, top + side - height),
        max(0, -left),
        max(0, left + side - width),
    )
    if not any(margins):
        return inside
    square = cv2.copyMakeBorder(inside, *margins, cv2.BORDER_REPLICATE)
    return square.astype(np.uint8, copy=False)


def _torch_device(name: DetectorDevice) -> str:
    import torch  # comes with face_alignment; mediapipe does without, and starts 2 s sooner

    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "the detector's device is 'cuda' but torch finds no CUDA device; use 'auto' or 'cpu'"
        )
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


@contextlib.contextmanager
def _hub_of(folder: Path) -> Iterator[None]:
    """Let torch.hub, where face-alignment looks for its files, be a link to the weights folder."""
    import torch

    before = torch.hub.get_dir()
    with tempfile.TemporaryDirectory() as hub:
        (Path(hub) / "checkpoints").symlink_to(folder)
        torch.hub.set_dir(hub)
        try:
            yield
        finally:
            torch.hub.set_dir(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop what C++ libraries write to the standard error stream, past Python's own."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
