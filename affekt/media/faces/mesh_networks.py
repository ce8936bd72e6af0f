"""mediapipe's face networks run directly: its face search (BlazeFace) and its mesh with attention.

The networks are those of the installed mediapipe, read from its .tflite files. What surrounds them
is that of its graphs face_detection_short_range, face_detection_full_range and face_landmark_front
(static, one face, refined), and equals them to 0.01 px at 256 px. Run this way a frame costs two
thirds: LiteRT brings a newer XNNPACK, the irises are left out, no picture is copied into messages.

The mesh network has three operators of mediapipe's own: where lips and eyes are, the features
there, and points back from there. They are computed here, between the network's two parts.

Coordinates of pictures: pixels, (0, 0) is the corner of the first pixel.

Letters: N anchors, faces or vertices, C channels, F and W pixels a side of the feature map and of a
window in it.
"""

import hashlib
import importlib.util
import math
import typing as tp
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import flexbuffers

from affekt.arrays import Array, Image
from affekt.media.compiled import compiled

KEYPOINTS = 6  # of BlazeFace: eyes, nose, mouth, ears
OVERLAP = 0.3  # intersection over union from which boxes are of one face
ROI_SCALE = 1.5  # side of the mesh network's square, in sizes of the face's box
PRESENT = 0.0  # least logit of the mesh network that there is a face
MESH_SIZE, FEATURE_SIZE = 192, 48  # pixels a side: the mesh network's input and its feature map
FILE_IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class SearchModel:
    """A BlazeFace network of mediapipe."""

    file: str
    sha256: str
    size: int  # pixels a side of its input
    anchors: tuple[tuple[int, int], ...]  # of each grid: cells a side, anchors a cell
    confidence: float  # least score of a face, as mediapipe's graphs have it


SHORT_RANGE = SearchModel(
    "face_detection/face_detection_short_range.tflite",
    "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    size=128,
    anchors=((16, 2), (8, 6)),
    confidence=0.5,
)
FULL_RANGE = SearchModel(
    "face_detection/face_detection_full_range_sparse.tflite",
    "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
    size=192,
    anchors=((48, 1),),
    confidence=0.6,
)

# The mesh network, and the numbers of those of its tensors where it is taken apart.
MESH_FILE = "face_landmark/face_landmark_with_attention.tflite"
MESH_SHA256 = "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4"
PICTURE = 0  # (1, 192, 192, 3)
MESH, FEATURES, PRESENCE = 186, 35, 710  # (1, 1, 1, 1404) pixels; (1, 48, 48, 32); a logit
WINDOWS = (199, 200, 201)  # (1, 16, 16, 32): lips, left eye, right eye
REFINED = (684, 687, 693)  # (1, 1, 1, 2 N), pixels of the window's


class MeshNetworks:
    """The networks of one detector: faces within 2 m, then within 5 m, and the mesh of a face."""

    def __init__(self) -> None:
        self._searches = [FaceSearch(model) for model in (SHORT_RANGE, FULL_RANGE)]
        self._mesh = FaceMesh(self._searches[0])

    def boxes(self, picture: Image) -> Array:
        """Return the faces of a picture, (N, 4): left, top, right, bottom, shares of its sides."""
        for search in self._searches:
            found = search.faces(picture)
            if len(found):
                break
        return found[:, :2].reshape(-1, 4)

    def mesh(self, square: Image) -> Array | None:
        """Return `FaceMesh.points` of a picture (S, S, 3)."""
        return self._mesh.points(square)


class FaceSearch:
    """Finds the faces of a picture of any size."""

    def __init__(self, model: SearchModel) -> None:
        self.size = model.size
        self.logit = math.log(model.confidence / (1 - model.confidence))
        self._network = _Network(_content(model.file, model.sha256))
        self._anchors = np.concatenate([_grid(*grid) for grid in model.anchors])

    def faces(self, picture: Image) -> Array:
        """Return the faces of a picture (H, W, 3), the surest first.

        Returns:
            (N, 8, 2): the top left and bottom right corners, and 6 key points, in shares of the
            picture's width and height.
        """
        height, width = picture.shape[:2]
        side = max(height, width)
        # The whole picture in the middle of a black square; the network's input is in [-1, 1]
        middle = (width / 2, height / 2)
        small = _warped(picture, middle, side, 0.0, self.size, cv2.BORDER_CONSTANT)
        boxes, logits = self._network.run(_floats(small, 2 / 255, -1.0))
        found = _merged(*_decoded(boxes[0], logits[0, :, 0], self._anchors, self.logit, self.size))
        return (found - 0.5) * (side / width, side / height) + 0.5


class FaceMesh:
    """Finds the mesh of the face that fills much of a square picture."""

    def __init__(self, search: FaceSearch) -> None:
        self._search = search
        content = _content(MESH_FILE, MESH_SHA256)
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        self._regions = [_region(model, window) for window in WINDOWS]
        self._backbone = _Network(_part(model, (PICTURE,), (MESH, FEATURES, PRESENCE)))
        self._heads = _Network(_part(model, WINDOWS, REFINED))

    def points(self, square: Image) -> Array | None:
        """Return the mesh of the surest face in a picture (S, S, 3); None where there is none.

        Returns:
            (468, 3) float64, pixels; z has the unit of x.
        """
        faces = self._search.faces(square)
        if not len(faces):
            return None
        # A square around the face, turned so that the eyes are level
        (left, top), (right, bottom), eye, other = (faces[0, :4] * len(square)).tolist()
        centre = ((left + right) / 2, (top + bottom) / 2)
        side = ROI_SCALE * max(right - left, bottom - top)
        angle = math.atan2(other[1] - eye[1], other[0] - eye[0])
        small = _warped(square, centre, side, angle, MESH_SIZE, cv2.BORDER_REPLICATE)
        mesh, features, presence = self._backbone.run(_floats(small, 1 / 255, 0.0))
        if not presence.item() > PRESENT:
            return None
        # Lips and eyes again, from the features in a window around each
        points = mesh.reshape(-1, 3).astype(np.float64)
        windows = [_window(features[0], points, *region) for region in self._regions]
        refined = self._heads.run(*(window for window, _ in windows))
        for region, (_, matrix), found in zip(self._regions, windows, refined, strict=True):
            _replace(points, region[0], found.reshape(-1), matrix)
        return _placed(points, centre, side, angle)


class _Network:
    """A network in LiteRT, on one thread."""

    def __init__(self, content: bytes) -> None:
        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._inputs = [i["index"] for i in self._interpreter.get_input_details()]
        self._outputs = [o["index"] for o in self._interpreter.get_output_details()]

    def run(self, *inputs: Array) -> list[Array]:
        for index, values in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, values)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def _warped(
    picture: Image, centre: tuple[float, float], side: float, angle: float, size: int, border: int
) -> Image:
    """Return a square of a picture, turned by an angle in radians, as (size, size, 3)."""
    corners = cv2.boxPoints((centre, (side, side), math.degrees(angle)))
    onto = np.array([[0, size], [0, 0], [size, 0], [size, size]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, onto)
    warped = cv2.warpPerspective(picture, matrix, (size, size), borderMode=border)
    return warped.astype(np.uint8, copy=False)


def _grid(cells: int, anchors: int) -> Array:
    """Return the centres of a grid's cells, each as often as it has anchors, (N, 2) in [0, 1]."""
    middle = (np.arange(cells) + 0.5) / cells
    centres = np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2)
    return np.repeat(centres, anchors, axis=0)


def _content(file: str, sha256: str) -> bytes:
    """Return a network's file from the installed mediapipe, if it is the one known here."""
    spec = importlib.util.find_spec("mediapipe")  # found, not imported, which takes a second
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("mediapipe is not installed; its package holds the face networks")
    content = (Path(spec.origin).parent / "modules" / file).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(
            f"the installed mediapipe {version('mediapipe')} has another {file} than 0.10.21; "
            "install that version, or choose the detector 'mediapipe_graph'"
        )
    return content


def _part(model: tp.Any, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """Return the part of a network from some of its tensors to others, as a .tflite file."""
    graph = model.subgraphs[0]
    makers = {int(output): o for o in graph.operators for output in o.outputs}
    needed, wanted = set(inputs), list(outputs)
    while wanted:
        tensor = int(wanted.pop())
        if tensor not in needed and tensor in makers:
            wanted += list(makers[tensor].inputs)
        needed.add(tensor)
    made = needed - set(inputs)
    part, kept = schema.ModelT(), schema.SubGraphT()
    kept.tensors, kept.inputs, kept.outputs = graph.tensors, list(inputs), list(outputs)
    kept.operators = [o for o in graph.operators if int(o.outputs[0]) in made]
    part.version, part.operatorCodes, part.subgraphs = model.version, model.operatorCodes, [kept]
    part.buffers = model.buffers
    builder = flatbuffers.Builder(len(model.buffers))
    builder.Finish(part.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _region(model: tp.Any, window: int) -> tuple[Array, int, int, float, int]:
    """Return what a window is cut around, `_window`'s arguments, from the operator that cuts it."""
    makers = {int(o.outputs[0]): o for o in model.subgraphs[0].operators}
    options = flexbuffers.Loads(bytes(makers[makers[window].inputs[1]].customOptions))
    ends = int(options["left_rotation_idx"]), int(options["right_rotation_idx"])
    vertices = np.array(list(options["subset_idxs"]), np.int64)
    return vertices, *ends, float(options["scale_x"]), int(options["output_width"])


@compiled
def _floats(picture: Image, scale: float, shift: float) -> Array:
    """Return a picture (S, S, 3) as a network's input (1, S, S, 3) float32."""
    values = np.empty((1, *picture.shape), np.float32)
    flat, pixels = values.reshape(-1), picture.reshape(-1)
    factor, offset = np.float32(scale), np.float32(shift)
    for k in range(pixels.size):
        flat[k] = np.float32(pixels[k]) * factor + offset
    return values


@compiled
def _decoded(
    raw: Array, logits: Array, anchors: Array, threshold: float, size: int
) -> tuple[Array, Array]:
    """Decode the boxes of a face search whose score is large enough.

    Args:
        raw: (N, 16), centre, width and height of the box, then key points; pixels from the anchor.
        logits: (N,).
        anchors: (N, 2), in [0, 1].
        threshold: least logit of a face.
        size: pixels a side of the network's input.

    Returns:
        (n, 8, 2), corners and key points in [0, 1]; and scores (n,).
    """
    count = 0
    for k in range(len(logits)):
        count += logits[k] >= threshold
    boxes, scores = np.empty((count, 2 + KEYPOINTS, 2)), np.empty(count)
    n = 0
    for k in range(len(logits)):
        if logits[k] < threshold:
            continue
        scores[n] = 1 / (1 + math.exp(-logits[k]))
        for j in range(2):
            middle, half = raw[k, j] / size + anchors[k, j], max(raw[k, 2 + j], 0.0) / size / 2
            boxes[n, 0, j], boxes[n, 1, j] = middle - half, middle + half
            for p in range(2, 2 + KEYPOINTS):
                boxes[n, p, j] = raw[k, 2 * p + j] / size + anchors[k, j]
        n += 1
    return boxes, scores


@compiled
def _overlap(one: Array, other: Array) -> float:
    """Return the intersection over union of two boxes (8, 2), which begin with their corners."""
    common, area, own = 1.0, 1.0, 1.0
    for j in range(2):
        common *= max(min(one[1, j], other[1, j]) - max(one[0, j], other[0, j]), 0.0)
        area *= other[1, j] - other[0, j]
        own *= one[1, j] - one[0, j]
    return common / (own + area - common)


@compiled
def _merged(boxes: Array, scores: Array) -> Array:
    """Average boxes of one face by score (weighted NMS); the surest face first.

    Args:
        boxes: (n, 8, 2), corners and key points.
        scores: (n,), positive; they are set to 0.
    """
    faces = np.zeros_like(boxes)
    count = 0
    while len(scores) and scores.max() > 0:
        best = scores.argmax()
        total = 0.0
        for k in range(len(scores)):
            if scores[k] > 0 and (k == best or _overlap(boxes[best], boxes[k]) > OVERLAP):
                for p in range(2 + KEYPOINTS):
                    for j in range(2):
                        faces[count, p, j] += scores[k] * boxes[k, p, j]
                total += scores[k]
                scores[k] = 0
        for p in range(2 + KEYPOINTS):
            for j in range(2):
                faces[count, p, j] /= total
        count += 1
    return faces[:count]


@compiled
def _window(
    features: Array, mesh: Array, vertices: Array, left: int, right: int, scale: float, size: int
) -> tuple[Array, Array]:
    """Cut features around some vertices: a box along the line of two of them, bilinear.

    Args:
        features: (F, F, C).
        mesh: (468, 3), pixels of the network's input.
        vertices: (N,), those around which it is cut.
        left, right: ends of the line.
        scale: side of the window, in sides of the vertices' box.
        size: W.

    Returns:
        (1, W, W, C), 0 outside the features; and (2, 3), from the window's pixels to those of the
        feature map.
    """
    F, C = features.shape[0], features.shape[2]
    reduction = FEATURE_SIZE / MESH_SIZE
    # The box, along the line (x) and across it (y)
    cos, sin = mesh[right, 0] - mesh[left, 0], mesh[right, 1] - mesh[left, 1]
    length = np.hypot(cos, sin)
    cos, sin = cos / length, sin / length
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for vertex in vertices:
        x, y = mesh[vertex, 0] * reduction, mesh[vertex, 1] * reduction
        turned = cos * x + sin * y, cos * y - sin * x
        for j in range(2):
            low[j], high[j] = min(low[j], turned[j]), max(high[j], turned[j])
    wide, tall = scale * (high[0] - low[0]) / size, scale * (high[1] - low[1]) / size
    x0, y0 = (high[0] + low[0] - wide * size) / 2, (high[1] + low[1] - tall * size) / 2
    found = np.empty((2, 3))
    found[0] = wide * cos, -tall * sin, cos * x0 - sin * y0
    found[1] = wide * sin, tall * cos, sin * x0 + cos * y0
    # Its pixels; 0.5 is a pixel's centre
    window = np.zeros((1, size, size, C), np.float32)
    for row in range(size):
        for column in range(size):
            u = found[0, 0] * (column + 0.5) + found[0, 1] * (row + 0.5) + found[0, 2] - 0.5
            v = found[1, 0] * (column + 0.5) + found[1, 1] * (row + 0.5) + found[1, 2] - 0.5
            if not (0 <= u <= F - 1 and 0 <= v <= F - 1):
                continue
            i, j = min(int(u), F - 2), min(int(v), F - 2)
            right_share, low_share = np.float32(u - i), np.float32(v - j)
            for c in range(C):
                upper = features[j, i, c] + right_share * (
                    features[j, i + 1, c] - features[j, i, c]
                )
                lower = features[j + 1, i, c]
                lower += right_share * (features[j + 1, i + 1, c] - lower)
                window[0, row, column, c] = upper + low_share * (lower - upper)
    return window, found


@compiled
def _replace(mesh: Array, vertices: Array, refined: Array, window: Array) -> None:
    """Set x and y of some vertices of a mesh (468, 3) to points (2 N,) found in a window."""
    growth = MESH_SIZE / FEATURE_SIZE
    for k, vertex in enumerate(vertices):
        u, v = refined[2 * k], refined[2 * k + 1]  # pixels of the window, in the mesh's scale
        for j in range(2):
            mesh[vertex, j] = window[j, 0] * u + window[j, 1] * v + window[j, 2] * growth


@compiled
def _placed(mesh: Array, centre: tuple[float, float], side: float, angle: float) -> Array:
    """Move a mesh (468, 3) from the network's input back into the picture it was cut from."""
    cos, sin = np.cos(angle), np.sin(angle)
    moved = np.empty_like(mesh)
    for k in range(len(mesh)):
        x, y = mesh[k, 0] / MESH_SIZE - 0.5, mesh[k, 1] / MESH_SIZE - 0.5
        moved[k, 0] = (cos * x - sin * y) * side + centre[0]
        moved[k, 1] = (sin * x + cos * y) * side + centre[1]
        moved[k, 2] = mesh[k, 2] / MESH_SIZE * side
    return moved
