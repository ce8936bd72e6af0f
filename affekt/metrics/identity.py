"""CSIM: cosine similarity of ArcFace embeddings with the source picture.

EAMM's supplement, Table 1: every generated frame against the neutral picture that was put in, the
mean over frames. Neither paper names its network; here it is InsightFace's w600k_r50.onnx, and
its figures compare with others of the same file and alignment alone. Alignment is InsightFace's
"norm_crop": a similarity of five points onto ArcFace's template (Deng et al., arXiv:1801.07698).
An expression lowers CSIM by itself, so the true video's frames against the same source are the
ceiling, and are reported with every figure.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from affekt.arrays import Array, Image
from affekt.media.faces.geometry import affine, similarity
from affekt.media.faces.points import MOUTH_CORNERS

log = logging.getLogger(__name__)

CUDA = "CUDAExecutionProvider"
SIZE = 112  # pixels a side of an aligned face
EMBEDDING = 512
# Where eyes, nose tip and mouth corners come to lie in it; pixels, InsightFace's numbers.
TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
LEFT_EYE, RIGHT_EYE, NOSE_TIP = tuple(range(36, 42)), tuple(range(42, 48)), 30
MIDDLE = 127.5  # of a channel: the network takes (x - 127.5) / 127.5
BATCH = 16  # faces embedded at once
UNREADABLE = (  # what onnxruntime raises for files; they share no class of their own
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NoModel,
    failures.NotImplemented,
    failures.RuntimeException,
)


def load_arcface(path: Path, device: str = "cpu") -> Any:
    """Return an onnxruntime.InferenceSession of an ArcFace network, of one thread on the CPU.

    On `cuda` it runs where the onnxruntime that is installed can (onnxruntime-gpu; the plain one
    cannot, which is said, and runs on the CPU).

    Raises:
        FileNotFoundError: no such file.
        ValueError: no ONNX network, or not one of faces (N, 3, 112, 112) to (N, 512).
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; wanted is ArcFace's w600k_r50.onnx")
    # One thread: clips are measured in parallel processes
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=_providers(device))
    except UNREADABLE as error:
        raise ValueError(f"{path} is no ONNX network that can be run: {error}") from None
    # Input and output must be those of w600k_r50
    shapes = [list(each.shape) for each in (*session.get_inputs(), *session.get_outputs())]
    if len(shapes) != 2 or shapes[0][1:] != [3, SIZE, SIZE] or shapes[1][1:] != [EMBEDDING]:
        raise ValueError(
            f"{path} maps {shapes[:1]} to {shapes[1:]}, wanted faces (N, 3, {SIZE}, {SIZE}) to "
            f"(N, {EMBEDDING}): w600k_r50.onnx"
        )
    return session


def _providers(device: str) -> list[str]:
    wanted = [CUDA] if device.startswith("cuda") else []
    if wanted and CUDA not in onnxruntime.get_available_providers():
        log.warning("ArcFace runs on the CPU: this onnxruntime has no CUDA (onnxruntime-gpu has)")
        wanted = []
    return [*wanted, "CPUExecutionProvider"]


def five_points(landmarks: Array) -> Array:
    """Return eye centres, nose tip and mouth corners, (..., 5, 2), of (..., 68, 2 or 3)."""
    points = landmarks[..., :2]
    eyes = [points[..., list(eye), :].mean(axis=-2) for eye in (LEFT_EYE, RIGHT_EYE)]
    rest = [points[..., index, :] for index in (NOSE_TIP, *MOUTH_CORNERS)]
    return np.stack([*eyes, *rest], axis=-2)


def aligned_face(frame: Image, landmarks: Array) -> Image:
    """Return the face of a frame (H, W, 3) as ArcFace takes it, (112, 112, 3); black outside.

    Args:
        frame: RGB.
        landmarks: (68, 2 or 3), pixels of the frame.
    """
    matrix = affine(similarity(five_points(landmarks), TEMPLATE))
    face = cv2.warpAffine(frame, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    return face.astype(np.uint8, copy=False)


def embed(session: Any, frames: Iterable[Image], landmarks: Array) -> NDArray[np.float32]:
    """Return the embedding of every frame's face, (T, 512); NaN where there is no face.

    Args:
        session: of `load_arcface`.
        frames: (H, W, 3) uint8 RGB.
        landmarks: (T, 68, 2 or 3) of these very frames, pixels; NaN where there is no face.

    Raises:
        ValueError: not as many frames as landmarks.
    """
    # Align the faces of the frames that show one
    has_face = np.isfinite(landmarks).all(axis=(1, 2))
    faces = [
        aligned_face(frame, points)
        for frame, points, found in zip(frames, landmarks, has_face, strict=True)
        if found
    ]
    # Embed them in batches; a frame without a face has no embedding
    result = np.full((len(landmarks), EMBEDDING), np.nan, np.float32)
    places, name = np.flatnonzero(has_face), session.get_inputs()[0].name
    for start in range(0, len(faces), BATCH):
        levels = np.stack(faces[start : start + BATCH]).astype(np.float32)
        inputs = np.ascontiguousarray(((levels - MIDDLE) / MIDDLE).transpose(0, 3, 1, 2))
        result[places[start : start + BATCH]] = session.run(None, {name: inputs})[0]
    return result


def csim(embeddings: Array, source: Array) -> float | None:
    """Return the mean cosine between frames and the source picture, -1 to 1.

    None where no frame has a face.

    Args:
        embeddings: (T, 512) of `embed`; its rows of NaN, frames without a face, are left out.
        source: (512,), of the picture that was put in.

    Raises:
        ValueError: the source has no face.
    """
    if not np.isfinite(source).all():
        raise ValueError("the source picture has no face; CSIM compares every frame with it")
    # Cosine with the source at each frame with a face
    found = embeddings[np.isfinite(embeddings).all(axis=1)].astype(np.float64)
    if not len(found):
        return None
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(source.astype(np.float64))
    return float((found @ source / lengths).mean())
