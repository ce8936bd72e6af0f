"""Search a face where the corpus says it is: VoxCeleb's boxes, a line a frame at 25 fps.

    Identity  :  id00017                VoxCeleb2 gives x, y, width and height in shares of the
    Reference :  7t6lfzvVaTM            picture's width and height, VoxCeleb1 in pixels: values up
    ...                                 to 2 are taken for shares. The boxes are those of the whole
    FRAME   X      Y      W      H      picture on YouTube, and the first line is that of the clip's
    000245  0.392  0.223  0.253  0.451  first frame.

VoxCeleb2's own videos, 224 x 224, are cut by these boxes already: there they are not used.
"""

from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.faces.detector import Detection, Detector, cut_square
from affekt.media.video.container import MediaError

ENLARGED = 1.8  # side of the searched square in sides of the box: hair and chin, and some air
SHARES = 2.0  # boxes up to here are shares of the picture; they may reach over its border
CUT_ALREADY = (224, 224)  # pixels of VoxCeleb2's own videos
SLACK = 25  # frames that a clip may have more than boxes


def read_boxes(path: Path) -> Array:
    """Return the boxes of a clip's frames, (N, 4): x, y, width, height, as the file gives them.

    Raises:
        MediaError: damaged (no line of a frame, or one that is no box).
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    begin = next((k for k, line in enumerate(lines) if line.split()[:1] == ["FRAME"]), len(lines))
    rows = [line.split() for line in lines[begin + 1 :] if line.strip()]
    try:
        boxes = np.array([[float(value) for value in row[1:5]] for row in rows]).reshape(-1, 4)
    except ValueError:
        boxes = np.zeros((0, 4))
    if not len(boxes) or not np.isfinite(boxes).all() or (boxes[:, 2:] <= 0).any():
        raise MediaError("damaged", f"{path} holds no boxes: wanted lines of FRAME X Y W H")
    return boxes


class BoxedDetector:
    """A detector that looks at a clip's pictures in order, each inside its enlarged box."""

    def __init__(self, detector: Detector, boxes: Array, path: Path) -> None:
        self.version = detector.version
        self._detector, self._boxes, self._path = detector, boxes, path
        self._frame = 0

    def detect(self, picture: Image) -> Detection | None:
        """Return the face in the box of the next frame, pixels of the whole picture.

        Raises:
            MediaError: damaged (the clip goes on for more than a second after its last box).
        """
        height, width = picture.shape[:2]
        if (width, height) == CUT_ALREADY:
            return self._detector.detect(picture)
        frame, self._frame = self._frame, self._frame + 1
        if frame >= len(self._boxes) + SLACK:
            text = (
                f"{self._path} has boxes of {len(self._boxes)} frames, the clip more than {frame}"
            )
            raise MediaError("damaged", text)
        x, y, w, h = self._boxes[min(frame, len(self._boxes) - 1)]
        if self._boxes.max() <= SHARES:
            x, y, w, h = x * width, y * height, w * width, h * height
        side = max(2, round(ENLARGED * max(w, h)))
        left, top = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
        if left >= width or top >= height or left + side <= 0 or top + side <= 0:
            return None
        face = self._detector.detect(np.ascontiguousarray(cut_square(picture, left, top, side)))
        return None if face is None else _moved(face, left, top)


def _moved(face: Detection, left: int, top: int) -> Detection:
    points = face.points + np.array([left, top], np.float32)
    depth = face.points3d
    if depth is not None:
        depth = depth + np.array([left, top, 0], np.float32)
    return Detection(points, depth)
