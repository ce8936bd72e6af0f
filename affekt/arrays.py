"""The two array types of annotations; shapes stand in docstrings and comments."""

import typing as tp

import numpy as np
from numpy.typing import NDArray

Array = NDArray[tp.Any]
Image = NDArray[np.uint8]  # RGB, (H, W, 3), or (T, H, W, 3) of a clip
