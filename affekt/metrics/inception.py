"""The Inception network of FID and KID, and the features of pictures.

torch-fidelity's (0.4.0): the network of December 2015 with its own pooling, TensorFlow 1's bilinear
resizing to 299 px, (x - 128) / 128, 2048 features. Other resizing, or torchvision's network, moves
FID by more than methods differ (Parmar et al. 2022, On Aliased Resizing, arXiv:2104.11222): figures
of pytorch-fid, clean-fid or torchmetrics stand in no common column with these.
"""

import io
import pickle
import typing as tp
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from affekt.arrays import Image

LAYER = "2048"  # the features before the classifier
BATCH = 16  # frames; a choice of speed alone
COUNTER = "num_batches_tracked"  # of batch norms; old files have none, and nothing reads it


class Inception(FeatureExtractorInceptionV3):
    """torch-fidelity's network, built without weights.

    Its own constructor unpickles a file unchecked, or downloads it. This one is given a file of
    nothing, and the weights afterwards.
    """

    def __init__(self) -> None:
        nothing = io.BytesIO()
        torch.save({}, nothing)
        nothing.seek(0)
        with torch.device("meta"):  # no time for weights that are replaced
            super().__init__("inception-v3-compat", [LAYER], feature_extractor_weights_path=nothing)

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False
    ) -> tp.Any:
        """Take weights; the constructor's own call, without any, is let through."""
        return super().load_state_dict(
            state_dict, strict=strict and bool(state_dict), assign=assign
        )


def load_inception(path: Path, device: torch.device | str = "cpu") -> Inception:
    """Return the network with the weights of a file, that of the registry's key "inception_fid".

    Args:
        path: a file that was checked (affekt.runtime.weights.registry.find); nothing in it is
            executed.
        device: where it runs. On a GPU, convolutions round to TF32 where torch's settings say so.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or one of another layout.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is damaged, or holds more than tensors ({reason})") from None
    network = Inception()
    _check_layout(path, state, network)
    counters = {name: torch.tensor(0) for name in network.state_dict() if name.endswith(COUNTER)}
    _fill(network, counters | state)
    network.to(device)
    return network


def random_inception(seed: int) -> Inception:
    """Return the network with random weights, for tests: its FID is an FID of nothing seen before.

    Weights keep the size of activations (He et al. 2015); batch norms change nothing.
    """
    network = Inception()
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, empty in network.state_dict().items():
        value = torch.zeros(empty.shape, dtype=empty.dtype)
        if empty.ndim > 1:
            nn.init.kaiming_normal_(value, nonlinearity="relu", generator=generator)
        elif name.endswith(("bn.weight", "running_var")):
            value += 1
        state[name] = value
    _fill(network, state)
    return network


def features(
    network: Inception, frames: Iterable[Image], batch: int = BATCH
) -> NDArray[np.float32]:
    """Return the features of pictures, (N, 2048) float32.

    Args:
        frames: RGB (H, W, 3) uint8, all of one size; resized inside, whatever their shape.
        batch: frames at a time; changes nothing but the time, and rounding of 1e-6.

    Raises:
        ValueError: no picture, or one of another type or size.
    """
    device = next(network.parameters()).device
    found = []
    with torch.inference_mode():
        for chunk in _chunks(frames, batch):
            pictures = torch.from_numpy(np.stack(chunk)).to(device)
            found.append(network(pictures.movedim(-1, 1))[0].cpu().numpy())
    if not found:
        raise ValueError("no picture to take features of")
    return np.concatenate(found)


def _check_layout(path: Path, state: tp.Any, network: Inception) -> None:
    """Refuse a file whose names or shapes differ from the network's."""
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}, wanted weights by name")
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(getattr(value, "shape", ())) for name, value in state.items()}
    for name in wanted.keys() | found.keys():
        if not name.endswith(COUNTER) and wanted.get(name) != found.get(name):
            raise ValueError(
                f"{path} is of another layout: {name} is {found.get(name, 'missing')}, wanted "
                f"{wanted.get(name, 'no such weight')}; wanted is the Inception of FID "
                "(python test.py weights list), not torchvision's"
            )


def _fill(network: Inception, state: Mapping[str, Tensor]) -> None:
    network.load_state_dict(state, assign=True)
    network.to(torch.float32, memory_format=torch.channels_last)  # 1.5 times as fast on a CPU
    network.requires_grad_(False).eval()


def _chunks(frames: Iterable[Image], size: int) -> Iterator[list[Image]]:
    remaining = iter(frames)
    while chunk := list(islice(remaining, size)):
        found = sorted({f"{frame.dtype} {frame.shape}" for frame in chunk})
        first = chunk[0]
        if len(found) > 1 or first.ndim != 3 or first.shape[2] != 3 or first.dtype != np.uint8:
            raise ValueError(f"wanted pictures (H, W, 3) uint8 of one size, found {found}")
        yield chunk
