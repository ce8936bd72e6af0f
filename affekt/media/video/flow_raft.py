"""Optical flow by RAFT (Teed and Deng, ECCV 2020): torchvision's networks, weights from a file.

torchvision's own evaluation is followed: RGB in [-1, 1], 12 updates, the last flow. The networks
take sides of multiples of 8, of 128 or more: others are padded on the right and below by repeating
the edge, and the flow is cut to the picture.
"""

import typing as tp
from pathlib import Path
from textwrap import shorten

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.models.optical_flow import raft_large, raft_small

from affekt.arrays import Array, Image
from affekt.media.video.flow import Dis, Estimator, Method
from affekt.runtime.weights import registry as weights

Network = tp.Literal["raft", "raft_small"]

NETWORKS = {"raft": raft_large, "raft_small": raft_small}
UPDATES = 12  # of the flow; torchvision's default, and what its figures are measured with
STRIDE, LEAST = 8, 128  # pixels a side: a multiple of, and at least


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


class Raft:
    """RAFT, on pictures (H, W, 3) RGB."""

    def __init__(self, method: Network, device: str = "cpu", updates: int = UPDATES) -> None:
        """Read the weights.

        Raises:
            FileNotFoundError: they are missing; the message names the file and its place.
            ValueError: they are not the published ones.
        """
        path = weights.find(method)
        self.updates, self.device = updates, device
        self.settings = {"weights": path.name, "updates": updates}
        with torch.device("meta"):  # no time for weights that are replaced
            network = NETWORKS[method](weights=None)
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


def _load(network: nn.Module, path: Path) -> None:
    state = torch.load(path, map_location="cpu", weights_only=True)
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
