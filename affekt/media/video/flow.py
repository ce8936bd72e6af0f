"""Backward optical flow between neighbouring frames, and where it is reliable.

The backward flow of frame t gives for each of its pixels where it lay in frame t - 1, as a step in
pixels: frame t is frame t - 1 sampled at (column, row) + flow (what vid2vid, Wang et al. 2018,
warps by). Two ways to it:

    dis    DIS (Kroeger et al., ECCV 2016), as OpenCV has it: no weights
    raft, raft_small
           RAFT (Teed and Deng, ECCV 2020), torchvision's networks, weights from a file.
           torchvision's own evaluation is followed: RGB in [-1, 1], 12 updates, the last flow. The
           networks take sides of multiples of 8, of 128 or more: others are padded on the right
           and below by repeating the edge, and the flow is cut to the picture

A pixel's flow is trusted where forward and backward flow undo one another (Sundaram et al., ECCV
2010, eq. 5) and the pixel came from inside the picture; not where something was uncovered.

Letters: H rows, W columns.
"""

import typing as tp
from pathlib import Path
from textwrap import shorten

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from affekt.arrays import Array, Image
from affekt.runtime.weights import registry as weights
from affekt.runtime.weights.tensor_files import load_torch

Network = tp.Literal["raft", "raft_small"]
Method = tp.Literal["dis", "raft", "raft_small"]

PRESET = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
# Forward-backward check, Sundaram et al. (ECCV 2010), eq. 5: |f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5
RELATIVE, ABSOLUTE = 0.01, 0.5  # of squared pixels; squared pixels
SMALLEST = 16  # pixels a side; below, DIS' patches of 8 pixels have no pyramid

NETWORKS: dict[str, str] = {"raft": "raft_large", "raft_small": "raft_small"}  # in torchvision
UPDATES = 12  # of the flow; torchvision's default, and what its figures are measured with
STRIDE, LEAST = 8, 128  # pixels a side: a multiple of, and at least


class Estimator(tp.Protocol):
    """A method of optical flow."""

    @property
    def settings(self) -> dict[str, tp.Any]:
        """What its flow depends on, in the words of JSON."""

    def __call__(self, before: Image, now: Image) -> tuple[Array, Array]:
        """Return the flow backward, at the pixels of `now`, and forward, at those of `before`.

        Both are (H, W, 2) float32, x then y, pixels.
        """


class Dis:
    """DIS, medium preset, on brightness. Pictures are (H, W, 3) RGB or (H, W) grey."""

    settings: tp.ClassVar[dict[str, tp.Any]] = {"preset": "medium"}

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(PRESET)

    def __call__(self, before: Image, now: Image) -> tuple[Array, Array]:
        """Return the flow backward and forward.

        Raises:
            ValueError: pictures below 16 pixels.
        """
        before, now = _grey(before), _grey(now)
        if min(now.shape) < SMALLEST:
            raise ValueError(f"flow needs {SMALLEST} pixels a side, found {now.shape[::-1]}")
        back, forth = (
            np.asarray(self._flow.calc(*pair, np.empty(0)))  # nothing to start from
            for pair in ((now, before), (before, now))
        )
        return back, forth


class Raft:
    """RAFT, on pictures (H, W, 3) RGB."""

    def __init__(self, method: Network, device: str = "cpu", updates: int = UPDATES) -> None:
        """Read the weights.

        Raises:
            FileNotFoundError: they are missing; the message names the file and its place.
            ValueError: they are not the published ones.
        """
        from torchvision.models import get_model  # for RAFT alone: it imports for seconds

        path = weights.find(method)
        self.updates, self.device = updates, device
        self.settings = {"weights": path.name, "updates": updates}
        with torch.device("meta"):  # no time for weights that are replaced
            network = get_model(NETWORKS[method], weights=None)
        _load(network, path)
        self.network = network.requires_grad_(False).eval().to(device)

    def __call__(self, before: Image, now: Image) -> tuple[Array, Array]:
        """Return the flow backward, at the pixels of `now`, and forward; (H, W, 2) float32."""
        height, width = now.shape[:2]
        pictures_2CHW = _network_input(np.stack([now, before])).to(self.device)
        with torch.inference_mode():
            flow_2CHW = self.network(pictures_2CHW, pictures_2CHW.flip(0), self.updates)[-1]
        back, forth = flow_2CHW[:, :, :height, :width].permute(0, 2, 3, 1).cpu().numpy().copy()
        return back, forth


def make_estimator(method: Method, device: str = "cpu") -> Estimator:
    """Return the estimator of optical flow by its name.

    Args:
        method: "dis", "raft" or "raft_small".
        device: of RAFT: "cpu", "cuda".

    Raises:
        FileNotFoundError: RAFT's weights are missing; the message names the file and its place.
        ValueError: unknown method, no such device, or weights that are not the published ones.
    """
    if method == "dis":
        return Dis()
    if method not in NETWORKS:
        raise ValueError(f"no method of flow is called {method!r}; known: dis, raft, raft_small")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda' but torch finds no CUDA device; use 'cpu'")
    return Raft(method, device)


def confident(back: Array, forth: Array) -> Array:
    """Return (H, W) bool: where backward flow can be trusted, given the forward flow.

    Args:
        back: (H, W, 2), of the pixels now.
        forth: (H, W, 2), of the pixels before.
    """
    height, width = back.shape[:2]
    x, y = origins(back)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    there = sampled(forth, x, y)
    lengths = np.square(back).sum(-1) + np.square(there).sum(-1)
    undone: Array = np.square(back + there).sum(-1) < RELATIVE * lengths + ABSOLUTE
    return inside & undone


def origins(back: Array) -> tuple[Array, Array]:
    """Return columns and rows, (H, W) float32 each, from which pixels came by flow (H, W, 2)."""
    rows, columns = np.indices(back.shape[:2], dtype=np.float32)
    return columns + back[..., 0], rows + back[..., 1]


def sampled(values: Array, x: Array, y: Array) -> Array:
    """Return values (H, W) or (H, W, 2) float32 at columns `x` and rows `y`, bilinearly.

    Beyond the picture its edge repeats.
    """
    return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _grey(picture: Image) -> Image:
    if picture.ndim == 2:
        return picture
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _load(network: nn.Module, path: Path) -> None:
    state = load_torch(path)
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:  # lists every tensor
        reason = shorten(str(error), 200, placeholder=" ...")
        raise ValueError(f"{path} is not of torchvision's layout: {reason}") from None


def _network_input(pictures: Image) -> Tensor:
    """Return (B, 3, H', W') float32 in [-1, 1] of pictures (B, H, W, 3); sides that RAFT takes."""
    values = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    missing = [max(-(-side // STRIDE) * STRIDE, LEAST) - side for side in pictures.shape[1:3]]
    return pad(values, (0, missing[1], 0, missing[0]), mode="replicate").contiguous()
